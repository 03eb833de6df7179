//! Promise: whatever bytes come, each reader of them answers or refuses, and what it lets
//! pass is what it says. What is asked of each reader stands in `fuzz/src`, where `make fuzz`
//! asks it of millions of inputs; here it is asked of those that are kept, and of others near
//! them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

#[path = "support/hostile.rs"]
mod hostile;
#[path = "../fuzz/src/lib.rs"]
mod readers;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hostile::Chance;
use readers::READERS;

/// Inputs that are made of the kept ones, for each reader.
const SPOILT: usize = 1_000;
/// All kept inputs together, in bytes.
const KEPT: u64 = 1 << 20;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Those of one reader, in the order of their names.
fn kept(reader: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(reader);
    let entries = fs::read_dir(&folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_kept_input_is_read_or_refused() {
    for (reader, check) in READERS {
        let kept = kept(reader);
        assert!(kept.len() >= 5, "{reader} has {} inputs", kept.len());
        for (path, bytes) in kept {
            // So that a panic is told with the input that it came of.
            eprintln!("{}", path.display());
            check(&bytes);
        }
    }
}

#[test]
fn a_spoilt_input_is_read_or_refused() {
    for (reader, check) in READERS {
        let kept = kept(reader);
        let mut chance = Chance(reader.len() as u64);
        for round in 0..SPOILT {
            let one = &kept[chance.below(kept.len())].1;
            let other = &kept[chance.below(kept.len())].1;
            let bytes = spoilt(&mut chance, one, other);
            eprintln!(
                "{reader}, round {round}: {:?}",
                String::from_utf8_lossy(&bytes)
            );
            check(&bytes);
        }
    }
}

/// One with some of its bytes changed, or with the end of another.
fn spoilt(chance: &mut Chance, one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = one.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, chance.next() as u8),
            2 => {
                bytes.truncate(at);
                bytes.extend(&other[chance.below(other.len() + 1)..]);
            }
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 if at < bytes.len() => bytes[at] = [0, 1, b'"', 0x80, 0xff][chance.below(5)],
            _ if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            _ => {}
        }
    }
    bytes
}

#[test]
fn every_reader_has_a_target_of_its_name() {
    let named: BTreeSet<String> = READERS.map(|(name, _)| name.to_owned()).into();
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let stems = paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
        stems.collect()
    };
    assert_eq!(names("fuzz_targets"), named);
    assert_eq!(names("corpus"), named);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in named {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn what_is_kept_is_small() {
    let sizes = READERS.map(|(reader, _)| {
        let kept = kept(reader);
        kept.iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum::<u64>()
    });
    let all: u64 = sizes.iter().sum();
    assert!(all < KEPT, "{all} bytes in all");
}
