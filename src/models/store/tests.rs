use tempfile::TempDir;

use super::*;

/// A store, and a base file whose bytes are `abc`.
fn store() -> (TempDir, Store, Base) {
    let dir = TempDir::new().unwrap();
    let store = Store::new(dir.path());
    let base = Base {
        file: "sample.gguf".to_owned(),
        size: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        sources: Vec::new(),
    };
    fs::create_dir(dir.path().join("ba7816bf8f01")).unwrap();
    (dir, store, base)
}

/// How many times the file was read while its path was asked for.
fn readings(store: &Store, base: &Base) -> usize {
    let mut count = 0;
    store.verified(base, &mut |_| count += 1).unwrap();
    count
}

#[test]
fn a_file_is_hashed_once_and_again_after_a_change() {
    let (_dir, store, base) = store();
    fs::write(store.path(&base), "abc").unwrap();
    assert_eq!((readings(&store, &base), readings(&store, &base)), (1, 0));
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    File::options()
        .write(true)
        .open(store.path(&base))
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert!(!store.is_stamped(&base));
    assert_eq!(readings(&store, &base), 1);
}

#[test]
fn a_stamp_of_another_checksum_does_not_count() {
    let (_dir, store, base) = store();
    fs::write(store.path(&base), "abc").unwrap();
    let other = Base {
        sha256: base.sha256.replace("15ad", "15ae"),
        ..base.clone()
    };
    store.verified(&base, &mut |_| ()).unwrap();
    let error = store.verified(&other, &mut |_| ()).unwrap_err();
    assert!(matches!(error, StoreError::WrongChecksum { .. }), "{error}");
}

#[test]
fn a_full_verification_trusts_no_stamp_and_deletes_a_wrong_one() {
    let (_dir, store, base) = store();
    fs::write(store.path(&base), "abd").unwrap();
    store.stamp(&base, &fs::metadata(store.path(&base)).unwrap());
    assert!(store.verified(&base, &mut |_| ()).is_ok());
    let error = store.verify_full(&base, &mut |_| ()).unwrap_err();
    assert!(matches!(error, StoreError::WrongChecksum { .. }), "{error}");
    assert!(!store.is_stamped(&base));
}

#[test]
fn a_torn_stamp_is_no_stamp() {
    let (_dir, store, base) = store();
    fs::write(store.path(&base), "abc").unwrap();
    fs::write(store.stamp_path(&base), "{\"size\":3,").unwrap();
    assert_eq!(readings(&store, &base), 1);
}

#[test]
fn the_state_tells_missing_partial_and_present_apart() {
    let (_dir, store, base) = store();
    assert_eq!(store.state(&base), FileState::Missing);
    fs::write(store.folder(&base).join("sample.gguf.hub.part"), "ab").unwrap();
    fs::write(store.folder(&base).join("sample.gguf.pip.part"), "a").unwrap();
    assert_eq!(store.state(&base), FileState::Partial { bytes: 2 });
    fs::write(store.path(&base), "abc").unwrap();
    assert_eq!(store.state(&base), FileState::Present);
}

#[test]
fn a_file_that_is_missing_or_has_the_wrong_size_is_named() {
    let (_dir, store, base) = store();
    let error = store.verified(&base, &mut |_| ()).unwrap_err();
    assert!(matches!(&error, StoreError::Missing { path } if *path == store.path(&base)));
    fs::write(store.path(&base), "abcd").unwrap();
    let error = store.verified(&base, &mut |_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::WrongSize {
                expected: 3,
                got: 4,
                ..
            }
        ),
        "{error}"
    );
}
