//! How much memory this process may still take.

use std::fs;
use std::path::Path;

/// The least of what the machine has free and what the cgroups allow; `None`
/// where neither is known.
pub fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| free_of_machine(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let cgroups = free_of_cgroups(Path::new("/sys/fs/cgroup"), &groups);
    machine.into_iter().chain(cgroups).min()
}

fn free_of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least that a cgroup of this process allows, or one above it. `groups` is what
/// /proc/self/cgroup says.
fn free_of_cgroups(mount: &Path, groups: &str) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        let version = match controllers {
            "" => &VERSION_2,
            _ if controllers.split(',').any(|name| name == "memory") => &VERSION_1,
            _ => continue,
        };
        let root = mount.join(version.folder);
        // In a container only the root may be there, which is its own group then.
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            least = least
                .into_iter()
                .chain(version.free(&root.join(group)))
                .min();
        }
    }
    least
}

/// Where a version of cgroups tells what a group may take and has taken.
struct Version {
    folder: &'static str,
    limit: &'static str,
    usage: &'static str,
}

const VERSION_2: Version = Version {
    folder: "",
    limit: "memory.max",
    usage: "memory.current",
};
const VERSION_1: Version = Version {
    folder: "memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
};

impl Version {
    /// Without a limit the file says `max` or a huge number.
    fn free(&self, group: &Path) -> Option<u64> {
        let number = |name: &str| {
            let text = fs::read_to_string(group.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let (limit, usage) = (number(self.limit)?, number(self.usage)?);
        let stat = fs::read_to_string(group.join("memory.stat"));
        let cached = stat.map_or(0, |text| cached_files(&text));
        Some(limit.saturating_sub(usage.saturating_sub(cached)))
    }
}

/// What the kernel keeps of files counts as used, but is given up for whoever wants memory.
fn cached_files(stat: &str) -> u64 {
    let sum = |names: [&str; 2]| -> u64 {
        let lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter(|(name, _)| names.contains(name))
            .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
            .sum()
    };
    // Version 1 adds up what the groups below have under names of their own.
    let below = sum(["total_active_file", "total_inactive_file"]);
    below.max(sum(["active_file", "inactive_file"]))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_machines_free_memory_is_read_from_its_line() {
        let meminfo = "MemTotal:  100 kB\nMemFree:  10 kB\nMemAvailable:      64 kB\n";
        assert_eq!(free_of_machine(meminfo), Some(64 * 1024));
        assert_eq!(free_of_machine("MemTotal: 100 kB\n"), None);
    }

    /// Writes the files of a group below the mount point.
    fn group(mount: &TempDir, path: &str, files: &[(&str, &str)]) {
        let folder = mount.path().join(path);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn a_cgroup_without_a_limit_bounds_nothing() {
        let mount = tempfile::tempdir().unwrap();
        let free = || free_of_cgroups(mount.path(), "0::/\n");
        assert_eq!(free(), None);
        group(&mount, "", &[("memory.current", "400\n")]);
        assert_eq!(free(), None);
        group(&mount, "", &[("memory.max", "max\n")]);
        assert_eq!(free(), None);
        group(&mount, "", &[("memory.max", "1000\n")]);
        assert_eq!(free(), Some(600));
        let stat = "anon 90\nfile 310\ninactive_file 200\nactive_file 100\n";
        group(&mount, "", &[("memory.stat", stat)]);
        assert_eq!(free(), Some(900));
    }

    #[test]
    fn the_least_that_a_group_of_the_process_or_one_above_it_allows_is_what_counts() {
        let mount = tempfile::tempdir().unwrap();
        let taken = |limit| [("memory.max", limit), ("memory.current", "400\n")];
        group(&mount, "system.slice", &taken("max\n"));
        group(&mount, "system.slice/judged.service", &taken("1000\n"));
        group(&mount, "other.slice", &taken("500\n"));
        let free = |groups| free_of_cgroups(mount.path(), groups);
        let own = "0::/system.slice/judged.service\n";
        assert_eq!(free(own), Some(600));
        group(&mount, "system.slice", &taken("700\n"));
        assert_eq!(free(own), Some(300));
        assert_eq!(free("0::/other.slice/gone\n"), Some(100));
        assert_eq!(free("0::/none\n"), None);
        assert_eq!(free(""), None);
    }

    #[test]
    fn the_first_version_of_cgroups_has_a_hierarchy_for_memory() {
        let mount = tempfile::tempdir().unwrap();
        let taken = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "400\n"),
        ];
        group(&mount, "memory/judged", &taken);
        let groups = "9:cpu,cpuacct:/\n4:hugetlb,memory:/judged/within\n0::/judged\n";
        let free = || free_of_cgroups(mount.path(), groups);
        assert_eq!(free(), Some(600));
        let stat = "active_file 10\ntotal_active_file 100\ntotal_inactive_file 200\n";
        group(&mount, "memory/judged", &[("memory.stat", stat)]);
        assert_eq!(free(), Some(900));
    }
}
