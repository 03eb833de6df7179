use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::*;
use crate::decision_log::schema;

fn refused(folder: &Folder) -> LogError {
    match DecisionLog::open(&folder.file(), Config::default()) {
        Ok(_) => panic!("the file is opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_new_file_is_for_its_owner_alone() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("d-1", 0)).await.unwrap();
    for file in std::fs::read_dir(folder.0.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn the_file_is_set_up_for_durable_commits() {
    let folder = Folder::new();
    let log = folder.open();
    let (sender, receiver) = std::sync::mpsc::channel();
    log.run(move |connection| {
        for pragma in [
            "journal_mode",
            "synchronous",
            "foreign_keys",
            "auto_vacuum",
            "temp_store",
            "user_version",
        ] {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            let value = connection.pragma_query_value(None, pragma, read).unwrap();
            sender.send(value).unwrap();
        }
    })
    .await;
    let found: Vec<_> = receiver.iter().collect();
    let full = 2.into();
    let incremental = 2.into();
    let in_memory = 2.into();
    assert_eq!(
        found,
        [
            "wal".to_owned().into(),
            full,
            1.into(),
            incremental,
            in_memory,
            2.into()
        ]
    );
}

const OLD_DECISION: &str = r#"
    INSERT INTO decisions VALUES (1, 1, 'd-0', NULL, zeroblob(32), 1700000000000000, 'TRAFFIC',
        'ENFORCE', 'RULES', 'PASS', 'p', 'email',
        '{"disposition":"HOLD_FOR_REVIEW","scores":null,"rules":[],"model":null}',
        '{"rationale":"","degraded_reason":null,"usage":{"prompt_tokens":0,"cached_tokens":0,"generated_tokens":0},"timings":{"queue_nanos":0,"prefill_nanos":0,"decode_nanos":0,"total_nanos":0}}',
        0, NULL, NULL);
    INSERT INTO subjects VALUES (1, zeroblob(32), zeroblob(32), '[]', '{}', 'Hi');
"#;

/// The first step's tables with some rows, as the first daemon left them.
fn version_1(folder: &Folder) {
    let connection = Connection::open(folder.file()).unwrap();
    connection.execute_batch(schema::STEPS[0]).unwrap();
    connection
        .execute_batch("INSERT INTO state VALUES ('mode', '\"SHADOW\"')")
        .unwrap();
    connection.execute_batch(OLD_DECISION).unwrap();
    connection
        .pragma_update(None, "application_id", schema::APPLICATION_ID)
        .unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
}

#[tokio::test]
async fn a_file_of_version_1_is_opened_with_what_it_holds() {
    let folder = Folder::new();
    version_1(&folder);
    let log = folder.open();
    let by_crm = Record {
        caller: Some("crm".to_owned()),
        ..record("d-1", 0)
    };
    log.record(by_crm).await.unwrap();
    let mode = log.state("mode").await.unwrap();
    assert_eq!(mode, Some("SHADOW".into()));
    for (id, caller) in [("d-0", None), ("d-1", Some("crm"))] {
        let entry = log.get(id).await.unwrap().unwrap();
        assert_eq!(entry.record.caller.as_deref(), caller, "{id}");
    }
}

#[test]
fn a_file_takes_only_the_steps_that_it_has_not_seen() {
    let folder = Folder::new();
    version_1(&folder);
    let mut connection = Connection::open(folder.file()).unwrap();
    let steps = [
        schema::STEPS[0],
        "ALTER TABLE state ADD COLUMN changed INTEGER",
        "UPDATE state SET changed = 3",
    ];
    schema::migrate(&mut connection, &steps).unwrap();
    schema::migrate(&mut connection, &steps).unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let row: (String, i64) = connection
        .query_row("SELECT key, changed FROM state", [], read)
        .unwrap();
    assert_eq!(row, ("mode".to_owned(), 3));
    assert_eq!(schema::version(&connection).unwrap(), 3);
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    let folder = Folder::new();
    version_1(&folder);
    let mut connection = Connection::open(folder.file()).unwrap();
    let steps = [schema::STEPS[0], "DELETE FROM state", "no step"];
    schema::migrate(&mut connection, &steps).unwrap_err();
    assert_eq!(schema::version(&connection).unwrap(), 1);
    let rows: i64 = connection
        .query_row("SELECT count(*) FROM state", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let folder = Folder::new();
    version_1(&folder);
    let connection = Connection::open(folder.file()).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    drop(connection);
    let before = std::fs::read(folder.file()).unwrap();
    let error = refused(&folder).to_string();
    assert!(
        error.contains("has version 9, and this daemon knows none above 2"),
        "{error}"
    );
    assert!(
        error.contains("forgets a trip of the kill switch"),
        "{error}"
    );
    assert!(matches!(
        Reader::open(&folder.file()),
        Err(LogError::Newer { found: 9, .. })
    ));
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = Folder::new();
    let connection = Connection::open(folder.file()).unwrap();
    connection.execute_batch("CREATE TABLE songs (a)").unwrap();
    drop(connection);
    let before = std::fs::read(folder.file()).unwrap();
    assert!(matches!(refused(&folder), LogError::NotALog(_)));
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_refused_with_what_to_do() {
    let folder = Folder::new();
    std::fs::write(
        folder.file(),
        "not a database, but long enough to look".repeat(99),
    )
    .unwrap();
    let error = refused(&folder);
    assert!(matches!(error, LogError::Corrupt { .. }));
    let message = error.to_string();
    assert!(
        message.contains(&folder.file().display().to_string()),
        "{message}"
    );
    for part in ["move the file away", "forgets a trip of the kill switch"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_folder_in_the_place_of_the_file_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.file()).unwrap();
    let message = refused(&folder).to_string();
    assert!(
        message.starts_with("cannot open the decision log `"),
        "{message}"
    );
    assert!(message.contains(FILE_NAME), "{message}");
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let folder = Folder::new();
    let path = folder.0.path().join("missing").join(FILE_NAME);
    let error = DecisionLog::open(&path, Config::default()).err().unwrap();
    let message = error.to_string();
    assert!(
        message.starts_with("cannot make the decision log `"),
        "{message}"
    );
}

#[test]
fn a_reader_makes_no_file() {
    let folder = Folder::new();
    assert!(Reader::open(&folder.file()).is_err());
    assert!(!folder.file().exists());
}

#[tokio::test]
async fn a_reader_reads_beside_the_daemon_and_after_it() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("d-1", 0)).await.unwrap();
    assert!(folder.reader().get("d-1").unwrap().is_some());
    log.close().await;
    assert!(folder.reader().get("d-1").unwrap().is_some());
}

#[tokio::test]
async fn damage_is_found_at_the_start() {
    let folder = Folder::new();
    let log = folder.open();
    for n in 0..200 {
        log.record(record(&format!("d-{n}"), n)).await.unwrap();
    }
    log.close().await;
    let mut bytes = std::fs::read(folder.file()).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(folder.file(), bytes).unwrap();
    assert!(matches!(refused(&folder), LogError::Corrupt { .. }));
}

#[tokio::test]
async fn a_row_that_belongs_to_no_decision_is_found_at_the_start() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("d-1", 0)).await.unwrap();
    log.close().await;
    let connection = Connection::open(folder.file()).unwrap();
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    connection.execute("DELETE FROM decisions", []).unwrap();
    drop(connection);
    let message = refused(&folder).to_string();
    assert!(
        message.contains("a row of `subjects` belongs to no decision"),
        "{message}"
    );
}
