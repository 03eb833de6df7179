//! The bytes of a header: every length is checked against the file before anything is allocated.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::Problem;

/// What all kept values may take together. The longest real ones are chat templates of a few KiB.
const KEPT_LIMIT: u64 = 16 * 1024 * 1024;

pub(super) struct Source {
    file: BufReader<File>,
    position: u64,
    len: u64,
    kept: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        // Opening a pipe could block for ever, and a device has no length to check against.
        if !std::fs::metadata(path).map_err(Problem::Io)?.is_file() {
            return Err(Problem::NotRegular);
        }
        let file = File::open(path).map_err(Problem::Io)?;
        let len = file.metadata().map_err(Problem::Io)?.len();
        Ok(Self {
            file: BufReader::with_capacity(256 * 1024, file),
            position: 0,
            len,
            kept: 0,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Problem> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string's length, held to the limit and to what the file still has.
    pub(super) fn length(&mut self, what: &'static str, limit: u64) -> Result<u64, Problem> {
        let found = self.u64()?;
        if found > limit {
            return Err(Problem::OverLimit { what, found, limit });
        }
        self.ensure(found)?;
        Ok(found)
    }

    pub(super) fn bytes(&mut self, what: &'static str, limit: u64) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        self.bytes_into(&mut bytes, what, limit)?;
        Ok(bytes)
    }

    pub(super) fn bytes_into(
        &mut self,
        bytes: &mut Vec<u8>,
        what: &'static str,
        limit: u64,
    ) -> Result<(), Problem> {
        let len = self.length(what, limit)?;
        bytes.clear();
        // Never more than `limit`, so the cast cannot cut.
        bytes.resize(len as usize, 0);
        self.fill(bytes)
    }

    pub(super) fn name(&mut self, what: &'static str, limit: u64) -> Result<String, Problem> {
        let name = self.bytes(what, limit)?;
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return Err(Problem::Name { what, name });
        }
        String::from_utf8(name).map_err(|error| Problem::Name {
            what,
            name: error.into_bytes(),
        })
    }

    /// Refuses a count that is too high or could not fit into the rest of the file.
    pub(super) fn check_count(
        &self,
        what: &'static str,
        found: u64,
        limit: u64,
        least_bytes_each: u64,
    ) -> Result<(), Problem> {
        if found > limit {
            return Err(Problem::OverLimit { what, found, limit });
        }
        self.ensure(found.saturating_mul(least_bytes_each))
    }

    /// Counts memory that a value will hold, before it is allocated.
    pub(super) fn keep(&mut self, bytes: u64) -> Result<(), Problem> {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept > KEPT_LIMIT {
            return Err(Problem::OverLimit {
                what: "the memory for metadata",
                found: self.kept,
                limit: KEPT_LIMIT,
            });
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), Problem> {
        self.ensure(bytes)?;
        match i64::try_from(bytes) {
            Ok(relative) => self.file.seek_relative(relative).map_err(Problem::Io)?,
            Err(_) => return self.seek(self.position.saturating_add(bytes)),
        }
        self.position += bytes;
        Ok(())
    }

    pub(super) fn seek(&mut self, position: u64) -> Result<(), Problem> {
        self.file
            .seek(SeekFrom::Start(position))
            .map_err(Problem::Io)?;
        self.position = position;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Problem> {
        let count = bytes.len() as u64;
        self.ensure(count)?;
        self.file.read_exact(bytes).map_err(Problem::Io)?;
        self.position += count;
        Ok(())
    }

    /// The file must have this many more bytes.
    pub(super) fn ensure(&self, bytes: u64) -> Result<(), Problem> {
        let expected = self.position.saturating_add(bytes);
        if expected > self.len {
            return Err(Problem::Truncated {
                expected,
                found: self.len,
            });
        }
        Ok(())
    }
}
