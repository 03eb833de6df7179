use rusqlite::Connection;

use super::*;
use crate::decision_log::file::LogFile;

/// A log of decisions `d-0` …, each with a draft of so many bytes and an
/// outcome, and a spot check.
async fn filled(folder: &Folder, count: u64, bytes: usize) -> LogFile {
    let log = folder.open();
    for n in 0..count {
        let draft = format!("{n} {}", "x".repeat(bytes));
        let subject = Subject::of(&case("{}", &draft), &Mask::default());
        let id = format!("d-{n}");
        let record = Record {
            subject,
            ..record(&id, n)
        };
        log.record(record).await.unwrap();
        log.report(outcome(&id, Finding::Right)).await.unwrap();
    }
    let check = SpotCheck {
        run_id: "s".to_owned(),
        time: at(0),
        suite_sha256: String::new(),
        probes: Default::default(),
        model: None,
    };
    log.record_spot_check(check).await.unwrap();
    log.close().await;
    LogFile::open(&folder.file()).unwrap()
}

fn sweep_all(retention: Retention, connection: &mut Connection, now: SystemTime) {
    for _ in 0..10_000 {
        if !retention.sweep(connection, now).unwrap() {
            return;
        }
    }
    panic!("the sweep has no end");
}

fn count(connection: &Connection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn decisions_beyond_their_age_go_with_their_outcomes_and_spot_checks_stay() {
    let folder = Folder::new();
    let mut file = filled(&folder, 200, 10).await;
    let retention = Retention {
        max_age: Some(Duration::from_secs(50)),
        max_bytes: None,
    };
    sweep_all(retention, &mut file.connection, at(200));
    for table in ["decisions", "subjects", "outcomes"] {
        assert_eq!(count(&file.connection, table), 50, "{table}");
    }
    assert_eq!(count(&file.connection, "spot_checks"), 1);
    let oldest: i64 = file
        .connection
        .query_row("SELECT min(received) FROM decisions", [], |row| row.get(0))
        .unwrap();
    assert_eq!(oldest, time::to_micros(at(150)));
}

#[tokio::test]
async fn the_oldest_go_while_the_file_is_too_large_and_the_file_shrinks() {
    let folder = Folder::new();
    let mut file = filled(&folder, 400, 20_000).await;
    let bytes = || std::fs::metadata(folder.file()).unwrap().len();
    assert!(bytes() > 8_000_000);
    let retention = Retention {
        max_age: None,
        max_bytes: Some(2_000_000),
    };
    sweep_all(retention, &mut file.connection, at(0));
    file.finish().unwrap();
    // What stays free is for the next decisions.
    assert!(bytes() < 2_000_000 + 256 * 4096 + 4096, "{}", bytes());
    let left = count(&file.connection, "decisions");
    assert!((30..100).contains(&left), "{left}");
    let newest = folder.reader().get("d-399").unwrap();
    assert!(newest.is_some());
}

#[tokio::test]
async fn one_sweep_is_small_so_that_nobody_waits_for_long() {
    let folder = Folder::new();
    let mut file = filled(&folder, 200, 10).await;
    let retention = Retention {
        max_age: Some(Duration::ZERO),
        max_bytes: None,
    };
    let more = retention.sweep(&mut file.connection, at(1_000)).unwrap();
    assert!(more);
    assert_eq!(count(&file.connection, "decisions"), 200 - 64);
}

#[tokio::test]
async fn nothing_goes_that_no_limit_names() {
    let folder = Folder::new();
    let mut file = filled(&folder, 3, 10).await;
    sweep_all(Retention::default(), &mut file.connection, at(1 << 32));
    let both = Retention {
        max_age: Some(Duration::MAX),
        max_bytes: Some(1 << 40),
    };
    sweep_all(both, &mut file.connection, at(1 << 32));
    assert_eq!(count(&file.connection, "decisions"), 3);
}

#[tokio::test]
async fn the_daemon_sweeps_by_itself() {
    let folder = Folder::new();
    drop(filled(&folder, 100, 10).await);
    let config = Config {
        retention: Retention {
            max_age: Some(Duration::from_secs(3600)),
            max_bytes: None,
        },
        ..Config::default()
    };
    let log = DecisionLog::open(&folder.file(), config).unwrap();
    let fresh = Record {
        received: SystemTime::now(),
        ..record("fresh", 0)
    };
    log.record(fresh).await.unwrap();
    for _ in 0..6_000 {
        let page = log
            .list(Filter::default(), Contents::Without, 9, "")
            .await
            .unwrap();
        if ids(&page.entries) == ["fresh"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the old decisions are still there");
}
