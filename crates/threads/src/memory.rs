//! How much memory this process can still have, as far as the system tells.

use std::fs::read_to_string;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// What is taken for the memory of a machine that does not tell, in bytes.
const UNKNOWN: u64 = 4 << 30;

/// Memory that can be had without pushing anything out and without reaching a limit, in bytes: the least of
///
/// - `MemAvailable` of `/proc/meminfo`;
/// - what the limits on the address space (`RLIMIT_AS`, `ulimit -v`) and on data (`RLIMIT_DATA`, `ulimit -d`)
///   leave;
/// - what `memory.max` of the control group (version 2) and of those above it leaves, cached files not
///   counted.
///
/// 4 GiB where none of them tells.
pub fn free() -> u64 {
    let known = [available(), address_space(), data(), groups()];
    known.into_iter().flatten().min().unwrap_or(UNKNOWN)
}

/// What is left of the address space, in bytes; `None` where it is not limited.
pub fn address_space() -> Option<u64> {
    left(Resource::As, "VmSize:")
}

fn data() -> Option<u64> {
    left(Resource::Data, "VmData:")
}

fn left(resource: Resource, line: &str) -> Option<u64> {
    let limit = getrlimit(resource).current?;
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    Some(limit.saturating_sub(kibibytes(&status, line).unwrap_or(0)))
}

fn available() -> Option<u64> {
    kibibytes(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// The value of a line `NAME: NUMBER kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn groups() -> Option<u64> {
    let own = read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Path::new("/sys/fs/cgroup").join(path).ancestors().filter_map(group).min()
}

/// What a control group leaves, if it has a limit.
fn group(folder: &Path) -> Option<u64> {
    let read = |name: &str| read_to_string(folder.join(name)).ok();
    let (limit, current) = (read("memory.max")?, read("memory.current")?);
    left_of_group(&limit, &current, &read("memory.stat").unwrap_or_default())
}

fn left_of_group(limit: &str, current: &str, stat: &str) -> Option<u64> {
    let (limit, current): (u64, u64) = (limit.trim().parse().ok()?, current.trim().parse().ok()?);
    let part = |name: &str| {
        let found = stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        found.unwrap_or(0)
    };
    let cached = part("active_file ").saturating_add(part("inactive_file "));
    Some(limit.saturating_sub(current.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_understood() {
        let text =
            "MemTotal:       16 kB\nMemAvailable:   24000000 kB\nBad: 7\nHuge: 18446744073709551615 kB\n";
        for (name, bytes) in
            [("MemAvailable:", Some(24_000_000 << 10)), ("Bad:", None), ("Huge:", None), ("None:", None)]
        {
            assert_eq!(kibibytes(text, name), bytes, "{name}");
        }
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
        assert!(free() <= available().unwrap_or(u64::MAX).saturating_mul(2));
    }

    #[test]
    fn control_groups_leave_what_their_limit_says() {
        let stat = "anon 100\nfile 60\ninactive_file 40\nactive_file 10\n";
        for (limit, current, stat, left) in [
            ("1000\n", "300\n", "", Some(700)),
            ("1000\n", "300\n", stat, Some(750)),
            ("1000\n", "20\n", stat, Some(1000)),
            ("100\n", "300\n", "", Some(0)),
            ("max\n", "300\n", stat, None),
        ] {
            assert_eq!(left_of_group(limit, current, stat), left, "{limit} {current}");
        }
    }
}
