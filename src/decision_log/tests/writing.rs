use super::*;

#[tokio::test]
async fn what_waits_together_is_committed_together() {
    let folder = Folder::new();
    let log = folder.open();
    let before = log.written();
    let release = hold(&log).await;
    let records = (0..64).map(|n| {
        let log = log.clone();
        tokio::spawn(async move { log.record(record(&format!("d-{n}"), n)).await })
    });
    let records: Vec<_> = records.collect();
    while log.places.available_permits() > Config::default().queue - 65 {
        tokio::task::yield_now().await;
    }
    drop(release);
    for record in records {
        record.await.unwrap().unwrap();
    }
    let after = log.written();
    assert_eq!(after.commands - before.commands, 64);
    assert_eq!(after.commits - before.commits, 1);
}

#[tokio::test]
async fn a_command_that_fails_takes_no_other_along() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("taken", 0)).await.unwrap();
    let release = hold(&log).await;
    let ids = ["d-1", "taken", "d-2", "d-2", "d-3"];
    let records = ids.map(|id| {
        let log = log.clone();
        tokio::spawn(async move { log.record(record(id, 1)).await })
    });
    while log.places.available_permits() > Config::default().queue - 6 {
        tokio::task::yield_now().await;
    }
    drop(release);
    let mut written = Vec::new();
    for record in records {
        written.push(record.await.unwrap().is_ok());
    }
    assert_eq!(written, [true, false, true, false, true]);
    let page = log
        .list(Filter::default(), Contents::Without, 9, "")
        .await
        .unwrap();
    assert_eq!(super::ids(&page.entries), ["d-3", "d-2", "d-1", "taken"]);
}

#[tokio::test]
async fn what_was_queued_is_written_though_its_caller_left() {
    let folder = Folder::new();
    let log = folder.open();
    let release = hold(&log).await;
    let left = tokio::time::timeout(Duration::from_millis(20), log.record(record("d-1", 0)));
    assert!(left.await.is_err());
    drop(release);
    log.record(record("d-2", 1)).await.unwrap();
    assert!(log.get("d-1").await.unwrap().is_some());
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait_and_forgets_those_that_leave_it() {
    let folder = Folder::new();
    let config = Config {
        queue: 3,
        ..Config::default()
    };
    let log = DecisionLog::open(&folder.file(), config).unwrap();
    // One place is the holder's.
    let release = hold(&log).await;
    let queued = ["d-1", "d-2"].map(|id| {
        let log = log.clone();
        tokio::spawn(async move { log.record(record(id, 0)).await })
    });
    while log.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let third = tokio::time::timeout(Duration::from_millis(20), log.record(record("d-3", 0)));
    assert!(third.await.is_err());
    drop(release);
    for record in queued {
        record.await.unwrap().unwrap();
    }
    log.record(record("d-4", 1)).await.unwrap();
    let page = log
        .list(Filter::default(), Contents::Without, 9, "")
        .await
        .unwrap();
    assert_eq!(super::ids(&page.entries), ["d-4", "d-2", "d-1"]);
}

#[tokio::test]
async fn closing_writes_what_waits_and_leaves_one_file() {
    let folder = Folder::new();
    let log = folder.open();
    let release = hold(&log).await;
    let waiting = {
        let log = log.clone();
        tokio::spawn(async move { log.record(record("d-1", 0)).await })
    };
    while log.places.available_permits() > Config::default().queue - 2 {
        tokio::task::yield_now().await;
    }
    let other = log.clone();
    let closing = tokio::spawn(async move { log.close().await });
    drop(release);
    waiting.await.unwrap().unwrap();
    closing.await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, [FILE_NAME]);

    let closed = other.record(record("d-2", 0)).await;
    assert!(matches!(closed, Err(LogError::Closed)));
    assert!(matches!(other.get("d-1").await, Err(LogError::Closed)));
    let health = other.health().borrow().clone();
    assert!(matches!(health, Some(LogError::Closed)));
    other.close().await;
    assert!(folder.open().get("d-1").await.unwrap().is_some());
}

#[tokio::test]
async fn dropping_the_last_handle_writes_what_waits() {
    let folder = Folder::new();
    let log = folder.open();
    let mut health = log.health();
    let release = hold(&log).await;
    let left = tokio::time::timeout(Duration::from_millis(20), log.record(record("d-1", 0)));
    assert!(left.await.is_err());
    drop(log);
    drop(release);
    let ended = health.wait_for(Option::is_some).await.unwrap().clone();
    assert!(matches!(ended, Some(LogError::Closed)));
    assert!(folder.reader().get("d-1").unwrap().is_some());
}
