use rusqlite::{OpenFlags, StatementStatus};
use tokio::sync::{mpsc, oneshot};

use super::*;

const SOON: Duration = Duration::from_secs(30);
/// More than may run at the same time.
const READS: usize = 8;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let timely = tokio::time::timeout(SOON, future).await;
    timely.unwrap_or_else(|_| panic!("{what} waits for long reads"))
}

/// Operators whose lists take minutes; returns while some are read.
async fn read_for_long(log: &DecisionLog) -> tokio::task::JoinSet<Result<(), LogError>> {
    let (began, mut begun) = mpsc::channel(READS);
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..READS {
        let (readers, began) = (log.readers.clone(), began.clone());
        let scan = move |reader: &Reader| {
            let _ = began.try_send(());
            reader.scan_for_long()
        };
        reads.spawn(async move { readers.scan(scan).await });
    }
    begun.recv().await.unwrap();
    reads
}

#[tokio::test]
async fn long_reads_keep_no_request_waiting_and_end_with_their_askers() {
    let folder = Folder::new();
    let log = folder.open();
    let asked = Record {
        request_id: Some("r".to_owned()),
        ..record("d", 0)
    };
    log.record(asked).await.unwrap();
    let mut reads = read_for_long(&log).await;
    let found = soon("a request id", log.find_request("r", at(0))).await;
    assert_eq!(found.unwrap().unwrap().decision.decision_id, "d");
    soon("a state", log.state("none")).await.unwrap();
    soon("a spot check", log.last_spot_check()).await.unwrap();
    reads.shutdown().await;
    let list = log.list(Filter::default(), Contents::Without, 9, "");
    let page = soon("a list", list).await.unwrap();
    assert_eq!(ids(&page.entries), ["d"]);
}

#[tokio::test]
async fn long_reads_do_not_hold_up_the_end() {
    let folder = Folder::new();
    let log = folder.open();
    let mut reads = read_for_long(&log).await;
    soon("the end", log.close()).await;
    while let Some(read) = reads.join_next().await {
        assert!(matches!(read.unwrap(), Err(LogError::Closed)));
    }
    let list = log.list(Filter::default(), Contents::Without, 9, "");
    assert!(matches!(list.await, Err(LogError::Closed)));
}

#[tokio::test]
async fn a_reading_ends_whose_asker_left_before_it_began() {
    let folder = Folder::new();
    let log = folder.open();
    let readers = log.readers.clone();
    let (asked, was_asked) = oneshot::channel();
    let (leave, has_left) = std::sync::mpsc::channel();
    let (end, ended) = oneshot::channel();
    let question = move |reader: &Reader| {
        let _ = asked.send(());
        let _ = has_left.recv();
        let _ = end.send(reader.scan_for_long());
        Ok(())
    };
    let asker = tokio::spawn(async move { readers.scan(question).await });
    was_asked.await.unwrap();
    asker.abort();
    assert!(asker.await.unwrap_err().is_cancelled());
    leave.send(()).unwrap();
    assert!(
        soon("the end of the reading", ended)
            .await
            .unwrap()
            .is_err()
    );
}

#[test]
fn a_look_up_is_planned_once_for_all_request_ids() {
    let folder = Folder::new();
    let _log = folder.open();
    let connection = file::connect(&folder.file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    for since in 0..3 {
        let mut statement = connection.prepare_cached(reader::FIND_REQUEST).unwrap();
        assert!(!statement.exists(("r", since)).unwrap());
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
