use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::Job;
use super::error::SourceError;
use crate::models::bundle::Base;
use crate::models::progress::Progress;
use crate::models::store::Store;

/// The sources by the names of their parts: what one source left is never
/// mixed with what another gives.
pub(super) const HUB: &str = "hub";
pub(super) const PIP: &str = "pip";
pub(super) const LOCAL: &str = "local";

/// The file on its way: `<file>.<source>.part`, hashed while it is written.
pub(super) struct Part<'a> {
    base: &'a Base,
    store: &'a Store,
    source: &'static str,
    file: File,
    hash: Sha256,
    len: u64,
    /// How much of it an earlier run left.
    kept: u64,
    /// Two answers or more gave what is there.
    joined: bool,
    fetched: u64,
}

impl<'a> Part<'a> {
    /// Opens the part and keeps at most `keep` bytes of what is there. `room`
    /// is what the source needs on disk beside the file itself.
    pub(super) fn open(
        job: &mut Job<'a>,
        source: &'static str,
        keep: u64,
        room: u64,
    ) -> Result<Part<'a>, SourceError> {
        let (base, store) = (job.base, job.store);
        let path = part_path(base, store, source);
        let failed = disk_error(&path);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(&failed)?;
        let there = file.metadata().map_err(&failed)?.len();
        let kept = if there > base.size {
            0
        } else {
            there.min(keep)
        };
        file.set_len(kept).map_err(&failed)?;
        require_space(&store.folder(base), (base.size - kept).saturating_add(room))?;

        let mut hash = Sha256::new();
        let mut chunk = vec![0; 1 << 20];
        let mut done = 0;
        loop {
            match file.read(&mut chunk).map_err(&failed)? {
                0 => break,
                count => hash.update(&chunk[..count]),
            }
            done = (done + chunk.len() as u64).min(kept);
            (job.progress)(Progress::Verifying { done, total: kept });
        }
        Ok(Part {
            base,
            store,
            source,
            file,
            hash,
            len: kept,
            kept,
            joined: false,
            fetched: 0,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_complete(&self) -> bool {
        self.len == self.base.size
    }

    /// Whether the pieces of it may be of different files: an earlier run left the first, or
    /// several answers gave them.
    pub(super) fn is_pieced(&self) -> bool {
        self.kept > 0 || self.joined
    }

    /// What is filled in next comes from another answer than what is there.
    pub(super) fn join(&mut self) {
        self.joined = self.len > 0;
    }

    /// Appends all that the reader gives. `broken` words a failure to read.
    pub(super) fn fill(
        &mut self,
        reader: &mut dyn Read,
        progress: &mut dyn FnMut(Progress),
        broken: impl Fn(io::Error) -> SourceError,
    ) -> Result<(), SourceError> {
        let mut chunk = vec![0; 1 << 16];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => self.write(&chunk[..count])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error)),
            }
            progress(Progress::Bytes {
                done: self.len,
                total: self.base.size,
            });
        }
    }

    pub(super) fn restart(&mut self) -> Result<(), SourceError> {
        let failed = disk_error(&part_path(self.base, self.store, self.source));
        self.file.set_len(0).map_err(&failed)?;
        io::Seek::rewind(&mut self.file).map_err(&failed)?;
        self.hash = Sha256::new();
        self.len = 0;
        self.kept = 0;
        self.joined = false;
        Ok(())
    }

    /// Gives the file its name if it is the one that the manifest pins, and
    /// deletes it if not. Returns the bytes fetched by this run.
    pub(super) fn finish(self) -> Result<u64, SourceError> {
        let (base, store) = (self.base, self.store);
        let (part, path) = (part_path(base, store, self.source), store.path(base));
        if self.len != base.size {
            discard(base, store, self.source);
            return Err(SourceError::WrongSize {
                expected: base.size,
                got: self.len,
            });
        }
        let got = const_hex::encode(self.hash.finalize());
        if got != base.sha256 {
            discard(base, store, self.source);
            return Err(SourceError::WrongChecksum {
                expected: base.sha256.clone(),
                got,
            });
        }
        // The bytes reach the disk before the name does, so that a power cut
        // leaves no hollow file under the final name.
        self.file.sync_all().map_err(disk_error(&part))?;
        fs::rename(&part, &path).map_err(disk_error(&path))?;
        sync_folder(&store.folder(base));
        if let Ok(meta) = self.file.metadata() {
            store.stamp(base, &meta);
        }
        for source in [HUB, PIP, LOCAL] {
            discard(base, store, source);
        }
        let _ = fs::remove_dir_all(wheels_path(base, store));
        Ok(self.fetched)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        let len = self.len + bytes.len() as u64;
        if len > self.base.size {
            discard(self.base, self.store, self.source);
            return Err(SourceError::TooLong {
                expected: self.base.size,
            });
        }
        self.file.write_all(bytes).map_err(|error| {
            let folder = self.store.folder(self.base);
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SourceError::NoSpace {
                    needed: self.base.size - self.len,
                    free: free_space(&folder).unwrap_or(0),
                    folder,
                },
                _ => disk_error(&part_path(self.base, self.store, self.source))(error),
            }
        })?;
        self.hash.update(bytes);
        self.len = len;
        self.fetched += bytes.len() as u64;
        Ok(())
    }
}

/// What a source remembers about its part between runs, beside it as JSON.
pub(super) fn read_note<T: DeserializeOwned>(job: &Job<'_>, source: &str) -> Option<T> {
    let text = fs::read(note_path(job.base, job.store, source)).ok()?;
    // A torn note is no note: the part then starts again.
    serde_json::from_slice(&text).ok()
}

pub(super) fn write_note(
    job: &Job<'_>,
    source: &str,
    note: &impl Serialize,
) -> Result<(), SourceError> {
    let path = note_path(job.base, job.store, source);
    let text = serde_json::to_vec(note)
        .map_err(io::Error::from)
        .map_err(disk_error(&path))?;
    fs::write(&path, text).map_err(disk_error(&path))
}

pub(super) fn part_path(base: &Base, store: &Store, source: &str) -> PathBuf {
    store
        .folder(base)
        .join(format!("{}.{source}.part", base.file))
}

/// The folder where pip leaves its wheels.
pub(super) fn wheels_path(base: &Base, store: &Store) -> PathBuf {
    store
        .folder(base)
        .join(format!("{}.wheels.part", base.file))
}

/// Says no before a gigabyte is fetched in vain. Where the system does not
/// tell, writing will.
pub(super) fn require_space(folder: &Path, needed: u64) -> Result<(), SourceError> {
    match free_space(folder) {
        Some(free) if free < needed => Err(SourceError::NoSpace {
            folder: folder.to_owned(),
            needed,
            free,
        }),
        _ => Ok(()),
    }
}

/// The bytes that are free to this user.
fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

pub(super) fn disk_error(path: &Path) -> impl Fn(io::Error) -> SourceError + use<> {
    let path = path.to_owned();
    move |source| SourceError::Disk {
        path: path.clone(),
        source,
    }
}

fn note_path(base: &Base, store: &Store, source: &str) -> PathBuf {
    store
        .folder(base)
        .join(format!("{}.{source}.part.json", base.file))
}

/// Best effort: what stays is cut or overwritten by the next run.
fn discard(base: &Base, store: &Store, source: &str) {
    let _ = fs::remove_file(part_path(base, store, source));
    let _ = fs::remove_file(note_path(base, store, source));
}

/// Makes the rename itself last. Not every system can sync a folder.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
