use std::fs;
use std::os::unix::fs::FileExt;

use rusqlite::Connection;

use super::*;

/// Probes come quickly.
fn open(folder: &Folder) -> DecisionLog {
    let config = Config {
        probe_every: Duration::from_millis(20),
        ..Config::default()
    };
    DecisionLog::open(&folder.file(), config).unwrap()
}

async fn pragma(log: &DecisionLog, name: &'static str, value: i64) {
    log.run(move |connection| connection.pragma_update(None, name, value).unwrap())
        .await;
}

/// A log with decisions in its file and others in its WAL.
async fn filled(folder: &Folder) -> DecisionLog {
    let log = open(folder);
    for n in 0..200 {
        log.record(record(&format!("d-{n}"), n)).await.unwrap();
    }
    log.close().await;
    let log = open(folder);
    log.record(record("d-200", 200)).await.unwrap();
    // After the writer has looked for old decisions: what others do to the file
    // while it works there itself is not seen at once.
    log.run(|_| ()).await;
    until_the_clock_of_files_goes_on(folder).await;
    log
}

/// What changes the file now gets another time than what the writer did last. That clock goes
/// on some hundred times a second only.
async fn until_the_clock_of_files_goes_on(folder: &Folder) {
    let own = fs::metadata(folder.file()).unwrap().modified().unwrap();
    let probe = folder.0.path().join("probe");
    loop {
        fs::write(&probe, "x").unwrap();
        let now = fs::metadata(&probe).unwrap().modified().unwrap();
        if now != own {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fs::remove_file(probe).unwrap();
}

async fn refused(log: &DecisionLog) -> LogError {
    log.record(record("refused", 0)).await.unwrap_err()
}

#[tokio::test]
async fn a_full_file_refuses_says_so_and_recovers_without_traffic() {
    let folder = Folder::new();
    let log = open(&folder);
    log.record(record("before", 0)).await.unwrap();
    // The least is what is used already.
    pragma(&log, "max_page_count", 1).await;
    let large = Subject::of(&case("{}", &"x".repeat(100_000)), &Mask::default());
    let large = Record {
        subject: large,
        ..record("large", 1)
    };
    let error = log.record(large.clone()).await.unwrap_err();
    assert!(matches!(error, LogError::Full(_)), "{error}");
    health_is(&log, false).await;
    let reason = log.health().borrow().clone().unwrap().to_string();
    assert!(reason.starts_with("no space is left for the decision log `"));
    // What was recorded can still be read.
    assert!(log.get("before").await.unwrap().is_some());
    assert!(log.get("large").await.unwrap().is_none());

    pragma(&log, "max_page_count", 1_000_000).await;
    health_is(&log, true).await;
    log.record(large).await.unwrap();
}

#[tokio::test]
async fn the_next_command_is_tried_though_the_last_one_failed() {
    let folder = Folder::new();
    let config = Config {
        probe_every: Duration::from_secs(3600),
        ..Config::default()
    };
    let log = DecisionLog::open(&folder.file(), config).unwrap();
    pragma(&log, "query_only", 1).await;
    let error = refused(&log).await;
    assert!(matches!(error, LogError::ReadOnly(_)), "{error}");
    assert!(log.health().borrow().is_some());
    pragma(&log, "query_only", 0).await;
    log.record(record("d-1", 0)).await.unwrap();
    assert!(log.health().borrow().is_none());
}

#[tokio::test]
async fn a_lock_of_another_process_is_told_and_waited_out() {
    let folder = Folder::new();
    let log = open(&folder);
    pragma(&log, "busy_timeout", 5).await;
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = refused(&log).await;
    assert!(matches!(error, LogError::Busy(_)), "{error}");
    other.execute_batch("COMMIT").unwrap();
    health_is(&log, true).await;
    log.record(record("d-1", 0)).await.unwrap();
}

#[tokio::test]
async fn trouble_at_the_start_is_known_before_the_first_decision() {
    let folder = Folder::new();
    open(&folder).close().await;
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let log = open(&folder);
    let health = log.health().borrow().clone();
    assert!(matches!(health, Some(LogError::Busy(_))), "{health:?}");
    other.execute_batch("COMMIT").unwrap();
    health_is(&log, true).await;
}

/// It would wake for the sweep without pause.
#[test]
fn in_trouble_the_writer_wakes_to_try_again_and_for_no_sweep_that_is_due() {
    let folder = Folder::new();
    let now = Instant::now();
    let next_probe = now + Duration::from_secs(1);
    let (_messages, inbox) = sync_channel(1);
    let (trouble, _) = watch::channel(Some(LogError::Full(folder.file())));
    let writer = Writer {
        file: LogFile::open(&folder.file()).unwrap(),
        config: Config::default(),
        inbox,
        counts: Arc::default(),
        trouble,
        clock: SweepClock::new(now, SystemTime::now()),
        next_sweep: now,
        next_probe,
    };
    assert_eq!(writer.next_wake(), next_probe);
    writer.trouble.send_replace(None);
    assert_eq!(writer.next_wake(), now);
}

#[tokio::test]
async fn a_deleted_file_stops_the_log_until_a_restart() {
    for end in ["", "-wal", "-shm"] {
        let folder = Folder::new();
        let log = filled(&folder).await;
        let gone = format!("{}{end}", folder.file().display());
        fs::remove_file(&gone).unwrap();
        for _ in 0..2 {
            let error = refused(&log).await;
            assert!(matches!(error, LogError::Gone(_)), "{error}");
            for part in [gone.as_str(), "forgets a trip of the kill switch"] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
        assert!(matches!(log.get("d-1").await, Err(LogError::Gone(_))));
        let health = log.health().borrow().clone();
        assert!(matches!(health, Some(LogError::Gone(_))));
        log.close().await;
    }
}

#[tokio::test]
async fn after_a_deleted_file_a_restart_begins_a_new_one() {
    let folder = Folder::new();
    let log = filled(&folder).await;
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{end}", folder.file().display())).unwrap();
    }
    refused(&log).await;
    log.close().await;
    let log = open(&folder);
    log.record(record("d-1", 0)).await.unwrap();
    assert!(log.get("d-2").await.unwrap().is_none());
}

#[tokio::test]
async fn a_replaced_file_stops_the_log() {
    let folder = Folder::new();
    let log = filled(&folder).await;
    let copy = folder.0.path().join("copy");
    fs::copy(folder.file(), &copy).unwrap();
    fs::rename(&copy, folder.file()).unwrap();
    assert!(matches!(refused(&log).await, LogError::Gone(_)));
}

#[tokio::test]
async fn a_file_that_is_overwritten_under_the_daemon_stops_it_at_the_next_decision() {
    let folder = Folder::new();
    let log = filled(&folder).await;
    let file = fs::File::options().write(true).open(folder.file()).unwrap();
    let middle = file.metadata().unwrap().len() / 2 / 4096 * 4096;
    file.write_all_at(&[0xa5; 4096], middle).unwrap();
    let error = refused(&log).await;
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
    assert!(matches!(refused(&log).await, LogError::Corrupt { .. }));
    assert!(matches!(
        log.get("d-1").await,
        Err(LogError::Corrupt { .. })
    ));
    let health = log.health().borrow().clone();
    assert!(matches!(health, Some(LogError::Corrupt { .. })));
}

#[tokio::test]
async fn a_file_that_is_cut_off_under_the_daemon_stops_it_at_the_next_decision() {
    let folder = Folder::new();
    let log = filled(&folder).await;
    let file = fs::File::options().write(true).open(folder.file()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let error = refused(&log).await;
    assert!(error.is_of_storage(), "{error}");
    assert!(refused(&log).await.is_of_storage());
    assert!(log.health().borrow().is_some());
}

#[tokio::test]
async fn a_change_that_leaves_the_file_whole_stops_nothing() {
    let folder = Folder::new();
    let log = filled(&folder).await;
    let other = Connection::open(folder.file()).unwrap();
    other
        .execute_batch("INSERT INTO state VALUES ('by hand', '1')")
        .unwrap();
    log.record(record("d-201", 201)).await.unwrap();
    assert_eq!(log.state("by hand").await.unwrap(), Some(1.into()));
}
