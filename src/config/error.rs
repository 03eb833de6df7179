//! Why there are no settings, or none that can be used.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the settings file `{}`", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("settings file `{}`: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("the settings cannot be used:\n{}", list(.0))]
    Invalid(Vec<String>),
}

fn list(problems: &[String]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("  - {problem}"))
        .collect();
    lines.join("\n")
}
