//! Owners that a user namespace does not map: `stat` gives the same number for all of them.

use crate::error::{TreeError, show_path, to_path};
use crate::node::{Inode, Tree};

/// What becomes of owners that this user namespace does not map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmapped {
    /// They do not matter, because another owner is stored.
    Ignore,
    /// They are counted in a warning.
    #[default]
    Warn,
    /// They are an error.
    Refuse,
}

/// Users or groups.
struct Kind {
    what: &'static str,
    map: &'static str,
    overflow: &'static str,
    of: fn(&Inode) -> u32,
    advice: &'static str,
}

const USERS: Kind = Kind {
    what: "owner",
    map: "/proc/self/uid_map",
    overflow: "/proc/sys/kernel/overflowuid",
    of: |inode| inode.uid,
    advice: "--all-root and --force-uid set one",
};
const GROUPS: Kind = Kind {
    what: "group",
    map: "/proc/self/gid_map",
    overflow: "/proc/sys/kernel/overflowgid",
    of: |inode| inode.gid,
    advice: "--all-root and --force-gid set one",
};

/// The number that stands for all owners which are not mapped (Linux's `DEFAULT_OVERFLOWUID`), where the
/// system does not tell it.
const OVERFLOW: u32 = 65_534;

/// Looks for owners and groups that are not mapped; gives one line for each kind, or an error where that is
/// wanted.
pub(super) fn check(tree: &Tree, users: Unmapped, groups: Unmapped) -> Result<Vec<String>, TreeError> {
    let mut warnings = Vec::new();
    for (kind, rule) in [(&USERS, users), (&GROUPS, groups)] {
        if rule == Unmapped::Ignore {
            continue;
        }
        // Without proc nothing is known.
        let Ok(map) = std::fs::read_to_string(kind.map) else { continue };
        let overflow = std::fs::read_to_string(kind.overflow).ok();
        let overflow = overflow.and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW);
        let Some(meaning) = meaning(&map, overflow) else { continue };
        let mut found = tree.iter().filter(|(_, inode)| (kind.of)(inode) == overflow);
        let Some((first, _)) = found.next() else { continue };
        let count = 1 + found.count();
        let path = to_path(&tree.path_of(first));
        if rule == Unmapped::Refuse {
            return Err(TreeError::Unmapped { path, what: kind.what, found: overflow, count });
        }
        let (what, advice) = (kind.what, kind.advice);
        let files = if count == 1 { "1 file has" } else { &format!("{count} files have") };
        warnings.push(format!(
            "{files} the {what} {overflow}, {meaning} (first is {}); {advice}",
            show_path(&path)
        ));
    }
    Ok(warnings)
}

/// What the overflow number means in a namespace with this map (`user_namespaces(7)`); `None` where all
/// numbers are mapped.
fn meaning(map: &str, overflow: u32) -> Option<&'static str> {
    let lines = map.lines().filter_map(|line| {
        let mut words = line.split_whitespace().map(str::parse::<u64>);
        let (inside, _outside, count) = (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?);
        Some(inside..inside.saturating_add(count))
    });
    let ranges: Vec<_> = lines.collect();
    let mapped: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    if mapped >= u64::from(u32::MAX) {
        return None;
    }
    Some(if ranges.iter().any(|range| range.contains(&u64::from(overflow))) {
        "which in this user namespace is also what is not mapped"
    } else {
        "which stands for all that this user namespace does not map"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let (only, also) = (
            Some("which stands for all that this user namespace does not map"),
            Some("which in this user namespace is also what is not mapped"),
        );
        for (map, overflow, wanted) in [
            ("         0          0 4294967295\n", 65_534, None),
            ("0 0 2147483648\n2147483648 2147483648 2147483647\n", 65_534, None),
            ("         0       1000          1\n", 65_534, only),
            ("0 1000 1\n1 100000 65536\n", 65_534, also),
            ("0 1000 1\n1 100000 65533\n", 65_534, only),
            ("0 1000 1\n1 100000 65533\n", 65_533, also),
            ("", 65_534, only),
        ] {
            assert_eq!(meaning(map, overflow), wanted, "{map:?} {overflow}");
        }
    }
}
