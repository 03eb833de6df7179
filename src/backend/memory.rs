//! How much memory this process may still take.

use std::fs;

/// The least of what the machine has free and what the cgroup allows; `None`
/// where neither is known.
pub fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| free_of_machine(&text));
    let cgroup = free_of_cgroup(
        &[
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ],
        &[
            "/sys/fs/cgroup/memory.current",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ],
        &[
            "/sys/fs/cgroup/memory.stat",
            "/sys/fs/cgroup/memory/memory.stat",
        ],
    );
    machine.into_iter().chain(cgroup).min()
}

fn free_of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Version 2, or 1; without a limit the file says `max` or a huge number.
fn free_of_cgroup(limits: &[&str], usages: &[&str], stats: &[&str]) -> Option<u64> {
    let number = |path: &&str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = limits.iter().find_map(number)?;
    let usage = usages.iter().find_map(number)?;
    let stat = stats.iter().find_map(|path| fs::read_to_string(path).ok());
    let cached = stat.map_or(0, |text| cached_files(&text));
    Some(limit.saturating_sub(usage.saturating_sub(cached)))
}

/// What the kernel keeps of files counts as used, but is given up for whoever wants memory.
fn cached_files(stat: &str) -> u64 {
    let lines = stat.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(name, _)| matches!(*name, "active_file" | "inactive_file"))
        .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_free_memory_is_read_from_its_line() {
        let meminfo = "MemTotal:  100 kB\nMemFree:  10 kB\nMemAvailable:      64 kB\n";
        assert_eq!(free_of_machine(meminfo), Some(64 * 1024));
        assert_eq!(free_of_machine("MemTotal: 100 kB\n"), None);
    }

    #[test]
    fn a_cgroup_without_a_limit_bounds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (limit, unlimited) = (file("limit", "1000\n"), file("unlimited", "max\n"));
        let usage = file("usage", "400\n");
        assert_eq!(free_of_cgroup(&[&limit], &[&usage], &[]), Some(600));
        assert_eq!(free_of_cgroup(&[&unlimited], &[&usage], &[]), None);
        assert_eq!(free_of_cgroup(&["/nowhere"], &[&usage], &[]), None);
        let stat = "anon 90\nfile 310\ninactive_file 200\nactive_file 100\n";
        let stat = file("stat", stat);
        assert_eq!(free_of_cgroup(&[&limit], &[&usage], &[&stat]), Some(900));
    }
}
