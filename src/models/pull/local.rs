use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Job;
use super::error::SourceError;
use super::part::{LOCAL, Part};

/// Copies the file from a path. A copy, not a link: what the user does with
/// the original later must not change what the store has proved.
pub(super) fn fetch(path: &Path, job: &mut Job<'_>) -> Result<u64, SourceError> {
    let path = candidate(path, job)?;
    let unreadable = |source| SourceError::Unreadable {
        path: path.clone(),
        source,
    };
    let mut file = File::open(&path).map_err(unreadable)?;
    let got = file.metadata().map_err(unreadable)?.len();
    if got != job.base.size {
        return Err(SourceError::WrongSize {
            expected: job.base.size,
            got,
        });
    }
    let mut part = Part::open(job, LOCAL, 0, 0)?;
    part.fill(&mut file, job.progress, unreadable)?;
    part.finish()
}

/// The path itself or, in a folder, the file of the right name, else the first
/// `.gguf` of the right size: people rename what they download.
fn candidate(path: &Path, job: &Job<'_>) -> Result<PathBuf, SourceError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let named = path.join(&job.base.file);
    if named.is_file() {
        return Ok(named);
    }
    let entries = fs::read_dir(path).map_err(|source| SourceError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let fits = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "gguf")
            && fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == job.base.size)
    };
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(fits)
        .collect();
    found.sort();
    found
        .into_iter()
        .next()
        .ok_or_else(|| SourceError::NotInFolder {
            folder: path.to_owned(),
            file: job.base.file.clone(),
            size: job.base.size,
        })
}
