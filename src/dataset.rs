//! Labelled cases from JSONL files, in the two formats that are recognised line by line, and drafts
//! without a label.

pub mod case;
pub mod draft;
mod pair;
mod plain;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::context::Context;
use case::Case;

#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` has no file that ends in `.jsonl`", .0.display())]
    NoFile(PathBuf),
    #[error("{place}: {problem}")]
    Line { place: Place, problem: String },
    #[error("{place}: id `{id}` stands at {first} already")]
    Twice {
        place: Place,
        id: String,
        first: Place,
    },
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, line {}", self.path.display(), self.line)
    }
}

/// Reads files, and the `.jsonl` files of folders in the order of their names.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Case>, DatasetError> {
    let mut cases = Vec::new();
    let mut seen: HashMap<String, Place> = HashMap::new();
    for (place, text) in lines(paths)? {
        let found = parse(&text).map_err(|problem| DatasetError::Line {
            place: place.clone(),
            problem,
        })?;
        for case in found {
            if let Some(first) = seen.insert(case.id.clone(), place.clone()) {
                let id = case.id;
                return Err(DatasetError::Twice { place, id, first });
            }
            cases.push(case);
        }
    }
    Ok(cases)
}

/// The lines that say something, each with its place.
fn lines(paths: &[PathBuf]) -> Result<Vec<(Place, String)>, DatasetError> {
    let mut lines = Vec::new();
    for path in files(paths)? {
        let text = fs::read_to_string(&path).map_err(|source| DatasetError::Read {
            path: path.clone(),
            source,
        })?;
        for (line, text) in (1..).zip(text.lines()) {
            if !text.trim().is_empty() {
                let path = path.clone();
                lines.push((Place { path, line }, text.to_owned()));
            }
        }
    }
    Ok(lines)
}

/// The cases of one line: none, one, or the two of a pair.
pub fn parse(line: &str) -> Result<Vec<Case>, String> {
    let cases = with_contexts(line)?.into_iter();
    Ok(cases.map(|(case, _)| case).collect())
}

/// The same, each with its context as it is read.
pub fn with_contexts(line: &str) -> Result<Vec<(Case, Context)>, String> {
    /// What tells the formats apart.
    #[derive(serde::Deserialize)]
    struct Marks {
        pair_id: Option<IgnoredAny>,
        id: Option<IgnoredAny>,
    }
    let marks: Marks = typed(line)?;
    let cases = match (marks.pair_id, marks.id) {
        (Some(_), _) => pair::cases(typed(line)?)?,
        (None, Some(_)) => vec![plain::case(typed(line)?)?],
        (None, None) => {
            return Err("neither a pair (no `pair_id`) nor a labelled case (no `id`)".to_owned());
        }
    };
    let read = |case: Case| match Context::parse(&case.context_json) {
        Ok(context) => Ok((case, context)),
        Err(error) => Err(format!("`context`: {error}")),
    };
    cases.into_iter().map(read).collect()
}

/// Reads one value; an error names its field.
fn typed<T: DeserializeOwned>(line: &str) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_str(line);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        match field.as_str() {
            "." => error.into_inner().to_string(),
            field => format!("`{field}`: {}", error.inner()),
        }
    })?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DatasetError> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(files_of(path)?),
            false => files.push(path.clone()),
        }
    }
    Ok(files)
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let failed = |source| DatasetError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(DatasetError::NoFile(folder.to_owned())),
        false => Ok(files),
    }
}
