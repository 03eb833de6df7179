//! The file that holds the answered cases, one JSON line each, written as they come.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::record::Record;

/// Open for more; this process alone writes to it.
pub struct Results {
    file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    #[error("cannot {action} the results file `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("another process writes to the results file `{}`", .0.display())]
    Busy(PathBuf),
    #[error("`{}`, line {line} is no line of a results file: {reason}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        reason: serde_json::Error,
    },
}

/// What a file holds. A last line that was cut off is left out.
pub fn read(path: &Path) -> Result<Vec<Record>, ResultsError> {
    let text = std::fs::read(path).map_err(failed("read", path))?;
    Ok(parse(path, &text)?.0)
}

impl Results {
    /// Opens or makes the file; a last line that was cut off is cut off wholly.
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>), ResultsError> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed("open", path))?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => ResultsError::Busy(path.to_owned()),
            std::fs::TryLockError::Error(source) => failed("lock", path)(source),
        })?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed("read", path))?;
        let (records, whole) = parse(path, &text)?;
        file.set_len(whole as u64)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(failed("mend", path))?;
        Ok((Self { file }, records))
    }

    /// Writes a line, which a later crash of this process does not lose.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// The records, and how many bytes the whole lines have.
fn parse(path: &Path, text: &[u8]) -> Result<(Vec<Record>, usize), ResultsError> {
    let end = text.iter().rposition(|byte| *byte == b'\n');
    let (whole, torn) = text.split_at(end.map_or(0, |at| at + 1));
    let no_line = |line: usize, reason| ResultsError::Line {
        path: path.to_owned(),
        line,
        reason,
    };
    let mut records = Vec::new();
    let mut last = 1;
    for (line, text) in (1..).zip(whole.split(|byte| *byte == b'\n')) {
        last = line;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let record = serde_json::from_slice(text).map_err(|reason| no_line(line, reason))?;
        records.push(record);
    }
    // Where no line is ours the file may be somebody else's, who would miss what is cut off.
    if records.is_empty() {
        check_torn(torn.trim_ascii()).map_err(|reason| no_line(last, reason))?;
    }
    Ok((records, whole.len()))
}

/// Each line of ours begins with it.
const BEGINNING: &[u8] = br#"{"id":""#;

/// Whether a line may be the beginning of one of ours.
fn check_torn(line: &[u8]) -> Result<(), serde_json::Error> {
    let begins = line.starts_with(BEGINNING) || BEGINNING.starts_with(line);
    match serde_json::from_slice::<Record>(line) {
        Err(reason) if !(begins && reason.is_eof()) => Err(reason),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ResultsError {
    let path = path.to_owned();
    move |source| ResultsError::Io {
        action,
        path,
        source,
    }
}
