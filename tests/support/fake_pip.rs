//! A stand-in for pip: a script that hands out the wheels beside it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Copies `<package>.whl` to the folder after `-d`, or fails as pip does.
const SCRIPT: &str = r#"
here=$(dirname "$0")
while [ $# -gt 1 ]; do
    if [ "$1" = -d ]; then dir=$2; fi
    shift
done
echo "$1" >> "$here/asked"
if ! cp "$here/${1%%==*}.whl" "$dir/" 2> /dev/null; then
    echo "ERROR: No matching distribution found for $1" >&2
    exit 1
fi
"#;

pub struct FakePip {
    dir: TempDir,
}

impl FakePip {
    pub fn new() -> FakePip {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("pip.sh"), SCRIPT).unwrap();
        FakePip { dir }
    }

    pub fn command(&self) -> Vec<String> {
        let script = self.dir.path().join("pip.sh");
        vec!["sh".to_owned(), script.to_str().unwrap().to_owned()]
    }

    /// The wheel of a package, with one file in it.
    pub fn offer(&self, package: &str, member: &str, bytes: &[u8]) {
        let path = self.dir.path().join(format!("{package}.whl"));
        let mut wheel = ZipWriter::new(File::create(path).unwrap());
        let top = Path::new(package).join(member);
        wheel
            .start_file(top.to_str().unwrap(), SimpleFileOptions::default())
            .unwrap();
        wheel.write_all(bytes).unwrap();
        wheel.finish().unwrap();
    }

    /// What was asked for, in order, as `package==version`.
    pub fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.dir.path().join("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }
}
