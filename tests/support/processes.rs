//! Processes as the kernel lists them.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

use std::fs;
use std::time::{Duration, Instant};

/// The one child of a process, when there is another than the one before.
pub fn child_after(pid: u32, before: Option<u32>) -> u32 {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let children = children(pid);
        if let [child] = children[..]
            && Some(child) != before
        {
            return child;
        }
        assert!(Instant::now() < end, "{pid} has the children {children:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn until_gone(pid: u32, limit: Duration) {
    let end = Instant::now() + limit;
    while stat(pid).is_some_and(|(state, _)| state != "Z") {
        assert!(Instant::now() < end, "{pid} does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Those that live.
fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let of_parent = |pid: &u32| {
        stat(*pid).is_some_and(|(state, its_parent)| its_parent == parent && state != "Z")
    };
    pids.filter(of_parent).collect()
}

/// State and parent; `None` for a process that there is not.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}
