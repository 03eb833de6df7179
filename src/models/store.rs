#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use directories::ProjectDirs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::bundle::{Base, Bundle};
use super::progress::Progress;

/// The folder of base files: `<dir>/<first 12 digits of the sha256>/<file>`.
///
/// A file of that name came there by a rename, after its checksum agreed. What
/// is still on its way ends in `.part`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    dir: PathBuf,
}

/// What a look at names tells, without reading a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    Missing,
    /// A pull was cut off after so many bytes; the next one goes on from there.
    Partial {
        bytes: u64,
    },
    /// There; [`Store::verified`] tells whether it is the right file.
    Present,
}

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("model file `{}` is missing", path.display())]
    Missing { path: PathBuf },
    #[error("model file `{}` has {got} bytes instead of {expected}", path.display())]
    WrongSize {
        path: PathBuf,
        expected: u64,
        got: u64,
    },
    #[error("model file `{}` has sha256 `{got}` instead of `{expected}`", path.display())]
    WrongChecksum {
        path: PathBuf,
        expected: String,
        got: String,
    },
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// Remembers that a file was hashed, so that a start need not read a gigabyte.
///
/// It guards against accidents, not against someone who may write to the
/// store: that one could forge it. [`Store::verify_full`] trusts no stamp.
#[derive(PartialEq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified_nanos: u128,
    sha256: String,
}

impl Store {
    pub fn new(dir: impl Into<PathBuf>) -> Store {
        Store { dir: dir.into() }
    }

    /// `judged/models` in the user's data folder; none where there is no home.
    pub fn default_dir() -> Option<PathBuf> {
        ProjectDirs::from("", "", "judged").map(|dirs| dirs.data_dir().join("models"))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file lies, or would lie.
    pub fn path(&self, base: &Base) -> PathBuf {
        self.folder(base).join(&base.file)
    }

    /// What brings a bundle's base file here. Whoever runs it may have another store by default.
    pub fn pull_command(&self, bundle: &Bundle) -> String {
        let handle = bundle.handle(&Bundle::default_dirs());
        format!("judged pull {handle} --model-dir {}", self.dir.display())
    }

    pub fn state(&self, base: &Base) -> FileState {
        match self.path(base).exists() {
            true => FileState::Present,
            false => match self.partial_bytes(base) {
                0 => FileState::Missing,
                bytes => FileState::Partial { bytes },
            },
        }
    }

    /// True if the file was hashed before and has not changed since.
    pub fn is_stamped(&self, base: &Base) -> bool {
        let stamped = || {
            let meta = fs::metadata(self.path(base)).ok()?;
            let text = fs::read(self.stamp_path(base)).ok()?;
            let stamp: Stamp = serde_json::from_slice(&text).ok()?;
            Some(meta.len() == base.size && stamp == Stamp::of(&meta, &base.sha256)?)
        };
        stamped().unwrap_or(false)
    }

    /// The path of a file whose sha256 is proved: by the stamp where it still
    /// matches, else by hashing the file, which then gets a stamp.
    pub fn verified(
        &self,
        base: &Base,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, StoreError> {
        if self.is_stamped(base) {
            return Ok(self.path(base));
        }
        self.verify_full(base, progress)
    }

    /// As [`Store::verified`], but hashes whatever the stamp says.
    pub fn verify_full(
        &self,
        base: &Base,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, StoreError> {
        let path = self.path(base);
        let unreadable = |source| StoreError::Io {
            action: "read",
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { path });
            }
            opened => opened.map_err(unreadable)?,
        };
        // Taken before hashing: a change meanwhile must not get our stamp.
        let meta = file.metadata().map_err(unreadable)?;
        if meta.len() != base.size {
            return Err(StoreError::WrongSize {
                path,
                expected: base.size,
                got: meta.len(),
            });
        }
        let got = sha256_of(file, base.size, progress).map_err(unreadable)?;
        if got != base.sha256 {
            // Bits can rot under an unchanged time of change.
            let _ = fs::remove_file(self.stamp_path(base));
            return Err(StoreError::WrongChecksum {
                path,
                expected: base.sha256.clone(),
                got,
            });
        }
        self.stamp(base, &meta);
        Ok(path)
    }

    pub(super) fn folder(&self, base: &Base) -> PathBuf {
        // The manifest's check makes it 64 ASCII digits; `get` for a hand-made Base.
        self.dir.join(base.sha256.get(..12).unwrap_or(&base.sha256))
    }

    /// Waits until no other process pulls this file; dropping the lock lets go.
    pub(super) fn lock(
        &self,
        base: &Base,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<File, StoreError> {
        let folder = self.folder(base);
        fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
            action: "create folder",
            path: folder.clone(),
            source,
        })?;
        let path = folder.join(".lock");
        let failed = |source| StoreError::Io {
            action: "lock",
            path: path.clone(),
            source,
        };
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress(Progress::Waiting { lock: path.clone() });
                lock.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(lock)
    }

    /// Best effort: where the store is read-only the next start hashes again.
    pub(super) fn stamp(&self, base: &Base, meta: &Metadata) {
        if let Some(text) =
            Stamp::of(meta, &base.sha256).and_then(|stamp| serde_json::to_vec(&stamp).ok())
        {
            let _ = fs::write(self.stamp_path(base), text);
        }
    }

    fn stamp_path(&self, base: &Base) -> PathBuf {
        self.folder(base).join(format!("{}.verified", base.file))
    }

    fn partial_bytes(&self, base: &Base) -> u64 {
        let is_part = |name: &str| name.starts_with(&base.file) && name.ends_with(".part");
        let entries = fs::read_dir(self.folder(base))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_part))
            .filter_map(|entry| entry.metadata().ok())
            .filter(Metadata::is_file)
            .map(|meta| meta.len())
            .max()
            .unwrap_or(0)
    }
}

impl Stamp {
    fn of(meta: &Metadata, sha256: &str) -> Option<Stamp> {
        let modified = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Stamp {
            size: meta.len(),
            modified_nanos: modified.as_nanos(),
            sha256: sha256.to_owned(),
        })
    }
}

/// The sha256 of a file, in lower-case hexadecimal.
pub fn sha256_file(path: &Path, progress: &mut dyn FnMut(Progress)) -> io::Result<String> {
    let file = File::open(path)?;
    let total = file.metadata()?.len();
    sha256_of(file, total, progress)
}

fn sha256_of(mut file: File, total: u64, progress: &mut dyn FnMut(Progress)) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(const_hex::encode(hash.finalize())),
            count => {
                hash.update(&chunk[..count]);
                done += count as u64;
                progress(Progress::Verifying { done, total });
            }
        }
    }
}
