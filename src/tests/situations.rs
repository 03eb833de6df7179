//! Situations as text files: commands, what happened indented below each, and why behind `#`.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

/// Plays all in a folder of `tests/data`, each with an `obey` of its own. `UPDATE_EXPECT=1` writes
/// what happened into them.
pub fn check<Obey: FnMut(&str) -> Vec<String>>(folder: &str, begin: impl Fn() -> Obey) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(folder);
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 9, "{files:?}");
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let happened = play(&text, begin());
        if env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, happened).unwrap();
        } else if happened != text {
            wrong.push(format!("{}:\n{happened}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The text again, with what happened below each command.
fn play(text: &str, mut obey: impl FnMut(&str) -> Vec<String>) -> String {
    let mut played = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(played, "{line}").unwrap();
        if !line.is_empty() && !line.starts_with('#') {
            for happened in obey(line) {
                writeln!(played, "  {happened}").unwrap();
            }
        }
    }
    played
}
