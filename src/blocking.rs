//! Work whose time grows with what a caller sent.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Work on so many bytes takes about a millisecond: moving it would cost more than it helps.
const INLINE_BYTES: usize = 16 * 1024;

/// Works here, and gives this thread's other tasks to another thread meanwhile if there are many
/// bytes: rules and tokenizer may need seconds for a context of a megabyte, and the runtime has
/// few workers.
pub fn work_on<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let is_long = bytes > INLINE_BYTES;
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if is_long && matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        block_in_place(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn long_work_leaves_the_workers_of_the_runtime_to_others() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, receiver) = mpsc::channel();
        let (begins, begun) = mpsc::channel();
        let long = runtime.spawn(async move {
            work_on(INLINE_BYTES + 1, || {
                begins.send(()).unwrap();
                receiver.recv_timeout(Duration::from_secs(20))
            })
        });
        begun.recv().unwrap();
        runtime.spawn(async move { sender.send("others go on") });
        assert_eq!(runtime.block_on(long).unwrap(), Ok("others go on"));
    }

    #[tokio::test]
    async fn on_a_runtime_of_one_thread_it_is_done_at_once() {
        assert_eq!(work_on(INLINE_BYTES + 1, || 7), 7);
    }

    #[test]
    fn it_needs_no_runtime() {
        assert_eq!(work_on(INLINE_BYTES + 1, || 7), 7);
    }
}
