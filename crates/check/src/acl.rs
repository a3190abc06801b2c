//! POSIX ACLs as attributes store them: a version, then 8 bytes for each entry (`struct
//! posix_acl_xattr_entry`).

use erofs_format::words;

/// The only version (`POSIX_ACL_XATTR_VERSION`).
const VERSION: u32 = 2;
const HEADER_SIZE: usize = 4;
const ENTRY_SIZE: usize = 8;
/// The bits of read, write and execute.
const PERMISSIONS: u16 = 7;
/// No user and no group (`ACL_UNDEFINED_ID`).
const NO_ID: u32 = u32::MAX;

/// The tags of entries in the order in which they have to come, with whether there can be several of each.
const TAGS: [(u16, bool); 6] =
    [(USER_OBJ, false), (USER, true), (GROUP_OBJ, false), (GROUP, true), (MASK, false), (OTHER, false)];
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What Linux refuses in an ACL, when it reads one (`posix_acl_from_xattr`) or when one is set
/// (`posix_acl_valid`): one that could not have been set is not evaluated as its author wanted.
pub(crate) fn wrong(value: &[u8]) -> Option<String> {
    let Some((version, entries)) = value.split_first_chunk::<HEADER_SIZE>() else {
        return Some(words::bytes(value.len()));
    };
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Some(format!("version {version}"));
    }
    if entries.len() % ENTRY_SIZE != 0 {
        return Some(format!("{} of entries", words::bytes(entries.len())));
    }
    let (mut last, mut met) = (None, 0);
    for entry in entries.chunks_exact(ENTRY_SIZE) {
        let (Some(tag), Some(permissions), Some(id)) = (half(entry, 0), half(entry, 2), word(entry, 4))
        else {
            return Some("a part of an entry".to_owned());
        };
        let Some(place) = TAGS.iter().position(|row| row.0 == tag) else {
            return Some(format!("tag {tag:#x}"));
        };
        let again = TAGS.get(place).is_some_and(|row| row.1);
        if last.is_some_and(|last| place < last || place == last && !again) {
            return Some(format!("tag {tag:#x} out of order"));
        }
        if permissions & !PERMISSIONS != 0 {
            return Some(format!("permissions {permissions:#x}"));
        }
        if matches!(tag, USER | GROUP) && id == NO_ID {
            return Some(format!("tag {tag:#x} without a number"));
        }
        last = Some(place);
        met |= tag;
    }
    let named = met & (USER | GROUP) != 0;
    let needed = USER_OBJ | GROUP_OBJ | OTHER | if named { MASK } else { 0 };
    let absent = needed & !met;
    (absent != 0).then(|| format!("no entry with tag {:#x}", 1_u16 << absent.trailing_zeros()))
}

fn half(entry: &[u8], at: usize) -> Option<u16> {
    entry.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn word(entry: &[u8], at: usize) -> Option<u32> {
    entry.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    #[test]
    fn what_linux_refuses_is_wrong() {
        let (owner, group, other) = ((USER_OBJ, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID));
        let (user, mask) = ((USER, 5, 1000), (MASK, 5, NO_ID));
        let small = acl(&[owner, group, other]);
        let whole = acl(&[owner, user, (USER, 1, 7), group, (GROUP, 4, 33), mask, other]);
        for (value, want) in [
            (small.clone(), None),
            (whole, None),
            (acl(&[(USER_OBJ, 6, 5), group, other]), None),
            (Vec::new(), Some("0 bytes")),
            (small[..7].to_vec(), Some("3 bytes of entries")),
            ([&[1, 0, 0, 0], &small[4..]].concat(), Some("version 1")),
            (acl(&[]), Some("no entry with tag 0x1")),
            (acl(&[owner, group]), Some("no entry with tag 0x20")),
            (acl(&[owner, user, group, other]), Some("no entry with tag 0x10")),
            (acl(&[owner, (USER, 5, NO_ID), group, mask, other]), Some("tag 0x2 without a number")),
            (acl(&[group, owner, other]), Some("tag 0x1 out of order")),
            (acl(&[owner, owner, group, other]), Some("tag 0x1 out of order")),
            (acl(&[owner, (0x40, 5, 0), group, other]), Some("tag 0x40")),
            (acl(&[(USER_OBJ, 8, NO_ID), group, other]), Some("permissions 0x8")),
        ] {
            assert_eq!(wrong(&value).as_deref(), want, "{value:?}");
        }
    }
}
