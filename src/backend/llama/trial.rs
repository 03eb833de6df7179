//! A GPU is tried by another process first: where a driver fails, llama.cpp ends the process.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{ContextConfig, Files};
use crate::backend::offload::Wish;
use crate::backend::speed::Speed;

/// Who tries.
#[derive(Clone, Debug)]
pub struct Trial {
    /// An executable that has the subcommand of [`arguments`].
    pub program: PathBuf,
    /// A trial that takes longer has failed.
    pub limit: Duration,
}

/// What a trial that went well found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Outcome {
    pub device: String,
    pub layers: u32,
    pub gpu: Speed,
    /// Of the CPU alone.
    pub cpu: Speed,
}

pub const SUBCOMMAND: &str = "gpu-trial";

impl Trial {
    /// The error says how it failed.
    pub fn run(
        &self,
        wish: &Wish,
        files: &Files,
        context: ContextConfig,
    ) -> Result<Outcome, String> {
        let mut child = Command::new(&self.program)
            .args(arguments(wish, files, context))
            .env("GGML_NO_BACKTRACE", "1")
            // What is wrong, and nothing else, as `last_words` reads it.
            .env("JUDGED_LOG", "error")
            .env("JUDGED_LOG_FORMAT", "text")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start `{}`: {error}", self.program.display()))?;
        let answer = read_aside(child.stdout.take());
        let complaints = read_aside(child.stderr.take());
        let status = self.wait(child)?;
        let (answer, complaints) = (answer.join(), complaints.join());
        if !status.success() {
            let complaints = complaints.unwrap_or_default();
            return Err(format!("{}: {}", ending(status), last_words(&complaints)));
        }
        serde_json::from_str(&answer.unwrap_or_default())
            .map_err(|error| format!("its answer is no outcome: {error}"))
    }

    fn wait(&self, mut child: Child) -> Result<ExitStatus, String> {
        let started = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if started.elapsed() > self.limit => {
                    let _ = child.kill();
                    // Inside a driver it may not end for long, and the engine must not wait for it.
                    std::thread::spawn(move || child.wait());
                    return Err(format!("it took longer than {:?}", self.limit));
                }
                Ok(None) => std::thread::sleep(POLL),
                Err(error) => return Err(format!("its end is not known: {error}")),
            }
        }
    }
}

const POLL: Duration = Duration::from_millis(20);

/// The command line of the trial: [`crate::cli`] reads it.
fn arguments(wish: &Wish, files: &Files, context: ContextConfig) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![SUBCOMMAND.into()];
    let mut flag = |name: &str, value: OsString| {
        arguments.push(name.into());
        arguments.push(value);
    };
    flag("--base", path(&files.base));
    if let Some(adapter) = files.adapter.as_ref().filter(|adapter| !adapter.merged) {
        flag("--adapter", path(&adapter.path));
        flag("--scale", adapter.scale.to_string().into());
    }
    flag("--gpu-layers", wish.layers.to_string().into());
    if let Some(device) = &wish.device {
        flag("--gpu-device", device.into());
    }
    for (name, number) in [
        ("--cells", context.cells),
        ("--batch", context.batch),
        ("--sequences", context.sequences),
        ("--threads", context.threads),
        // Without whom it ends.
        ("--parent", std::process::id()),
    ] {
        flag(name, number.to_string().into());
    }
    arguments
}

fn path(path: &Path) -> OsString {
    path.as_os_str().to_owned()
}

/// Reads a pipe to its end, so that a full one stops nobody.
fn read_aside(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("it died of signal {signal}"),
        (None, Some(code)) => format!("it ended with {code}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// What the process said last, and in brackets the first of what llama.cpp complained of: where a
/// driver fails, that is the cause, and the rest its consequences.
fn last_words(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines.next_back().unwrap_or("it said nothing");
    let complaints = lines.filter_map(|line| {
        let (_, told) = line.split_once(" llama-cpp-2: ")?;
        let told = told.split(" module=").next().unwrap_or_default();
        Some(told.trim())
    });
    let complaints: Vec<&str> = complaints.take(COMPLAINTS).collect();
    match complaints.is_empty() {
        true => last.to_owned(),
        false => format!("{last} ({})", complaints.join("; ")),
    }
}

/// The first may tell only which operation failed.
const COMPLAINTS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_takes_too_long_is_killed_and_leaves_no_process() {
        let trial = Trial {
            program: PathBuf::from("sleep"),
            limit: Duration::from_millis(50),
        };
        let child = Command::new(&trial.program).arg("60").spawn().unwrap();
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let error = trial.wait(child).unwrap_err();
        assert!(error.contains("longer than 50ms"), "{error}");
        let started = Instant::now();
        while process.exists() {
            assert!(started.elapsed() < Duration::from_secs(10), "it is there");
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn the_last_words_come_with_what_was_wrong_first() {
        let text = "\
2026-01-01T00:00:00Z ERROR llama-cpp-2: RMS_NORM failed module=\"ggml::compute\"
2026-01-01T00:00:00Z ERROR load: llama-cpp-2: CUDA error: an illegal memory access
2026-01-01T00:00:00Z ERROR llama-cpp-2:   current device: 0
cuda.cu:1: CUDA error

";
        let told = "cuda.cu:1: CUDA error (RMS_NORM failed; CUDA error: an illegal memory access)";
        assert_eq!(last_words(text), told);
        assert_eq!(last_words("error: no device\n"), "error: no device");
        assert_eq!(last_words("\n"), "it said nothing");
    }
}
