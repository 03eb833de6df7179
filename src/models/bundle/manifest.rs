//! The manifest as it is written, and what makes one valid.
//!
//! A manifest may come from anywhere, and its names become paths, URLs and
//! arguments: each is held to the few characters that it needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{Base, BundleError, ContextFormat, HubSource, PipSource, Source};
use crate::verdict::Label;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) revision: String,
    pub(super) description: String,
    pub(super) license: String,
    pub(super) base: Base,
    pub(super) adapter: Option<AdapterTable>,
    pub(super) prompt: PromptTable,
    pub(super) answer: AnswerTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdapterTable {
    pub(super) file: String,
    pub(super) sha256: String,
    #[serde(default = "full_scale")]
    pub(super) scale: f32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PromptTable {
    pub(super) template: String,
    pub(super) context: ContextFormat,
    pub(super) max_tokens: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerTable {
    pub(super) grammar: String,
    pub(super) evidence_grammar: Option<String>,
    pub(super) max_rationale_tokens: u32,
    pub(super) max_rationale_bytes: u32,
    #[serde(default)]
    pub(super) rules: BTreeMap<String, Label>,
}

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Manifest, BundleError> {
        let text = fs::read_to_string(path).map_err(|source| BundleError::Read {
            path: path.to_owned(),
            source,
        })?;
        let manifest: Manifest = toml::from_str(&text).map_err(|error| BundleError::Syntax {
            path: path.to_owned(),
            place: place(&text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let problems = manifest.problems(stem);
        if problems.is_empty() {
            Ok(manifest)
        } else {
            Err(BundleError::Invalid {
                path: path.to_owned(),
                problems,
            })
        }
    }

    fn problems(&self, file_stem: Option<&str>) -> Vec<String> {
        let mut check = Check(Vec::new());
        // Decisions name the bundle, and the command line finds it, by one name.
        check.that(
            "name",
            &self.name,
            file_stem == Some(&self.name),
            "is not the manifest's own name",
        );
        check.that(
            "revision",
            &self.revision,
            !self.revision.trim().is_empty(),
            "is empty",
        );
        check.file("base.file", &self.base.file);
        check.sha256("base.sha256", &self.base.sha256);
        check.positive("base.size", self.base.size);
        for (index, source) in self.base.sources.iter().enumerate() {
            let key = |name: &str| format!("base.source[{index}].{name}");
            match source {
                Source::Hub(hub) => check.hub(hub, key),
                Source::Pip(pip) => check.pip(pip, key),
            }
        }
        if let Some(adapter) = &self.adapter {
            check.file("adapter.file", &adapter.file);
            check.sha256("adapter.sha256", &adapter.sha256);
            check.that(
                "adapter.scale",
                adapter.scale,
                adapter.scale.is_finite(),
                "is not a number",
            );
        }
        check.file("prompt.template", &self.prompt.template);
        check.positive("prompt.max_tokens", self.prompt.max_tokens.into());
        check.file("answer.grammar", &self.answer.grammar);
        if let Some(grammar) = &self.answer.evidence_grammar {
            check.file("answer.evidence_grammar", grammar);
        }
        for rule in self.answer.rules.keys() {
            check.that(
                "answer.rules",
                rule,
                is_plain(rule, ""),
                "is no rule's name",
            );
        }
        check.0
    }
}

/// Gathers all problems, so that a manifest is mended in one go.
struct Check(Vec<String>);

impl Check {
    fn that(&mut self, key: &str, value: impl ToString, holds: bool, problem: &str) {
        if !holds {
            self.0.push(format!(
                "`{key}` {problem}: `{}`",
                value.to_string().escape_debug()
            ));
        }
    }

    fn positive(&mut self, key: &str, value: u64) {
        self.that(key, value, value > 0, "must be more than zero");
    }

    fn file(&mut self, key: &str, name: &str) {
        let plain = is_plain(name, "-_.+") && !name.starts_with(['.', '-']);
        self.that(key, name, plain, "is not a plain file name");
    }

    fn sha256(&mut self, key: &str, digest: &str) {
        let lower_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let valid = digest.len() == 64 && digest.bytes().all(lower_hex);
        self.that(
            key,
            digest,
            valid,
            "is not 64 lower-case hexadecimal digits",
        );
    }

    /// A path of plain names, which cannot climb out of its folder.
    fn path(&mut self, key: &str, path: &str, extra: &str) {
        let plain = path
            .split('/')
            .all(|name| is_plain(name, extra) && !name.starts_with('.'));
        self.that(key, path, plain, "is not a plain relative path");
    }

    fn hub(&mut self, hub: &HubSource, key: impl Fn(&str) -> String) {
        self.path(&key("repo"), &hub.repo, "-_.");
        self.path(&key("revision"), &hub.revision, "-_.");
        self.path(&key("path"), &hub.path, "-_.+");
    }

    fn pip(&mut self, pip: &PipSource, key: impl Fn(&str) -> String) {
        // What pip would read as an option or as an address must not get there.
        let name =
            is_plain(&pip.package, "-_.{}") && pip.package.starts_with(char::is_alphanumeric);
        self.that(&key("package"), &pip.package, name, "is not a package name");
        self.that(
            &key("version"),
            &pip.version,
            is_plain(&pip.version, "-_.+!"),
            "is not a version",
        );
        self.path(&key("member"), &pip.member, "-_.{}");
        self.that(
            &key("parts"),
            pip.parts,
            (1..=999).contains(&pip.parts),
            "is not from 1 to 999",
        );
        let differ =
            pip.parts == 1 || pip.package(1) != pip.package(2) || pip.member(1) != pip.member(2);
        self.that(
            &key("package"),
            &pip.package,
            differ,
            "names the same for all parts, without `{n}`",
        );
    }
}

fn is_plain(name: &str, extra: &str) -> bool {
    let allowed = |char: char| char.is_ascii_alphanumeric() || extra.contains(char);
    !name.is_empty() && name.chars().all(allowed)
}

/// The line with its number: the parser's message alone does not name the key.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    format!("line {number} (`{}`)", line.trim())
}

fn full_scale() -> f32 {
    1.0
}
