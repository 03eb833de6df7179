//! Work whose time grows with what a caller sent.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// Work on so few bytes is done at once: moving it would cost more than it helps.
const INLINE_BYTES: usize = 16 * 1024;

/// So many long works go on at the same time: the engine needs the cores too.
const PLACES: usize = 2;
static FREE: Semaphore = Semaphore::const_new(PLACES);

/// Works here. Where there are many bytes it waits for its turn, and gives this thread's other tasks
/// to another thread meanwhile: rules and tokenizer may need seconds for a context of a megabyte, and
/// the runtime has few workers. Dropped while it waits, it does nothing.
pub async fn work_on<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let flavor = Handle::current().runtime_flavor();
    if bytes <= INLINE_BYTES || flavor != RuntimeFlavor::MultiThread {
        return work();
    }
    // Never closed.
    let _turn = FREE.acquire().await;
    block_in_place(work)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const LONG: usize = INLINE_BYTES + 1;

    /// One test, since all of the process share the turns.
    #[test]
    fn long_work_takes_turns_and_leaves_the_workers_of_the_runtime_to_others() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (begins, begun) = mpsc::channel();
        let patience = Duration::from_secs(20);
        let long = || {
            let (ends, ended) = mpsc::channel::<()>();
            let begins = begins.clone();
            let work = runtime.spawn(work_on(LONG, move || {
                begins.send(()).unwrap();
                ended.recv_timeout(patience)
            }));
            (work, ends)
        };
        let (first, ends_first) = long();
        begun.recv_timeout(patience).unwrap();
        // The only worker is busy, and yet the second begins.
        let (second, ends_second) = long();
        begun.recv_timeout(patience).unwrap();
        let (third, ends_third) = long();
        let (fourth, _ends_fourth) = long();
        assert_eq!(runtime.block_on(runtime.spawn(async { 7 })).unwrap(), 7);
        assert!(begun.try_recv().is_err());
        fourth.abort();
        assert!(runtime.block_on(fourth).unwrap_err().is_cancelled());
        ends_first.send(()).unwrap();
        begun.recv_timeout(patience).unwrap();
        ends_third.send(()).unwrap();
        assert_eq!(runtime.block_on(first).unwrap(), Ok(()));
        assert_eq!(runtime.block_on(third).unwrap(), Ok(()));
        drop(ends_second);
        assert!(runtime.block_on(second).unwrap().is_err());
        assert_eq!(FREE.available_permits(), PLACES);
    }

    #[tokio::test]
    async fn on_a_runtime_of_one_thread_it_is_done_at_once() {
        assert_eq!(work_on(LONG, || 7).await, 7);
    }
}
