//! What the kernel knows of this process, by the names that all exporters use.

use std::fmt;
use std::fs;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::sheet::Sheet;

#[derive(Debug)]
pub struct ProcessState;

impl Collector for ProcessState {
    /// What cannot be read is left out.
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        sheet.seconds_counter(
            "process_cpu_seconds",
            "CPU time that the process took.",
            cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        )?;
        if let Some([virtual_bytes, resident_bytes]) = memory() {
            sheet.gauge(
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM.",
                resident_bytes,
            )?;
            sheet.gauge(
                "process_virtual_memory_bytes",
                "Memory that the process has mapped.",
                virtual_bytes,
            )?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One is that of the folder itself.
            let open = files.count().saturating_sub(1);
            sheet.gauge("process_open_fds", "Open files.", open as f64)?;
        }
        let most = getrlimit(Resource::Nofile).current;
        sheet.gauge(
            "process_max_fds",
            "Files that may be open at the same time.",
            most.map_or(f64::INFINITY, |most| most as f64),
        )?;
        if let Some(start) = *START {
            sheet.gauge(
                "process_start_time_seconds",
                "When the process was started, as Unix time.",
                start,
            )?;
        }
        Ok(())
    }
}

/// Reckoned once: each time it would come out a little off, and look like a restart.
static START: LazyLock<Option<f64>> = LazyLock::new(start_seconds);

/// Mapped and in RAM, in bytes.
fn memory() -> Option<[f64; 2]> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = pages.split(' ').map(|pages| pages.parse::<u64>().ok());
    let mut bytes = || Some(pages.next()?? as f64 * page_size() as f64);
    Some([bytes()?, bytes()?])
}

/// The kernel tells it in ticks since the machine was started.
fn start_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the executable's name, which may hold anything.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let ticks: u64 = after_name.split(' ').nth(19)?.parse().ok()?;
    let uptime = clock_gettime(ClockId::Boottime);
    let uptime = uptime.tv_sec as f64 + uptime.tv_nsec as f64 / 1e9;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs_f64() - uptime + ticks as f64 / clock_ticks_per_second() as f64)
}
