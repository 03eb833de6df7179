//! What ended a daemon that did not end by itself.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// As llama.cpp ends itself, and a stuck daemon.
    Abort,
    Segfault,
    Bus,
    IllegalInstruction,
    Arithmetic,
    /// By hand, or since no memory was left.
    Kill,
    OtherSignal,
    Panic,
}

/// What Rust's runtime ends with after a panic of the main thread.
const PANICKED: i32 = 101;

impl Cause {
    pub const ALL: [Cause; 8] = [
        Cause::Abort,
        Cause::Segfault,
        Cause::Bus,
        Cause::IllegalInstruction,
        Cause::Arithmetic,
        Cause::Kill,
        Cause::OtherSignal,
        Cause::Panic,
    ];

    /// `None` where the daemon ended by its own will.
    pub fn of(status: ExitStatus) -> Option<Self> {
        if status.code() == Some(PANICKED) {
            return Some(Cause::Panic);
        }
        let number = status.signal()?;
        let known = |cause: &Cause| cause.signal().is_some_and(|own| own.as_raw() == number);
        let cause = Cause::ALL.into_iter().find(known);
        Some(cause.unwrap_or(Cause::OtherSignal))
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Abort => "SIGABRT",
            Cause::Segfault => "SIGSEGV",
            Cause::Bus => "SIGBUS",
            Cause::IllegalInstruction => "SIGILL",
            Cause::Arithmetic => "SIGFPE",
            Cause::Kill => "SIGKILL",
            Cause::OtherSignal => "other",
            Cause::Panic => "panic",
        }
    }

    const fn signal(self) -> Option<Signal> {
        match self {
            Cause::Abort => Some(Signal::ABORT),
            Cause::Segfault => Some(Signal::SEGV),
            Cause::Bus => Some(Signal::BUS),
            Cause::IllegalInstruction => Some(Signal::ILL),
            Cause::Arithmetic => Some(Signal::FPE),
            Cause::Kill => Some(Signal::KILL),
            Cause::OtherSignal | Cause::Panic => None,
        }
    }
}

/// For a person.
pub fn told(status: ExitStatus) -> String {
    match (status.signal(), Cause::of(status)) {
        (Some(number), None | Some(Cause::OtherSignal)) => format!("signal {number} ended it"),
        (_, Some(Cause::Panic)) => "a panic ended it".to_owned(),
        (_, Some(cause)) => format!("{} ended it", cause.as_str()),
        (None, None) => "it ended by itself".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_chose_is_no_crash_and_what_it_did_not_choose_is_one() {
        for code in [0, 1, 2, 6] {
            assert_eq!(Cause::of(ExitStatus::from_raw(code << 8)), None);
        }
        for (raw, cause, text) in [
            (6, Cause::Abort, "SIGABRT ended it"),
            // With a core dump.
            (11 | 0x80, Cause::Segfault, "SIGSEGV ended it"),
            (9, Cause::Kill, "SIGKILL ended it"),
            (31, Cause::OtherSignal, "signal 31 ended it"),
            (101 << 8, Cause::Panic, "a panic ended it"),
        ] {
            let status = ExitStatus::from_raw(raw);
            assert_eq!(Cause::of(status), Some(cause));
            assert_eq!(told(status), text);
        }
    }
}
