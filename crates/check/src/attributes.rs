//! Attributes that the reader can read and Linux does not give out: it lists them, and then has no value or
//! an error.

use erofs_format::filetype::FileType;
use erofs_format::words;
use erofs_format::xattr::{
    CAPABILITY, INDEX_ACL_ACCESS, INDEX_ACL_DEFAULT, INDEX_SECURITY, INDEX_USER, NAME_MAX, filter_bit,
    split_name,
};
use erofs_image::{Inode, Xattr, printable};
use hashbrown::HashSet;

use crate::acl;
use crate::finding::{Code, Finding};

/// How many attributes of one inode are reported: it can have 65,534.
const FINDINGS_MAX: usize = 8;
/// `VFS_CAP_REVISION_2` and `VFS_CAP_REVISION_3`, with the length of each form in bytes (`XATTR_CAPS_SZ_*`).
const CAPABILITY_FORMS: [(u32, usize); 2] = [(0x0200_0000, 20), (0x0300_0000, 24)];
/// `VFS_CAP_FLAGS_EFFECTIVE`, the only flag.
const CAPABILITY_EFFECTIVE: u32 = 1;
/// Where form 3 has its user, whose number must be one.
const CAPABILITY_USER_AT: usize = 20;

/// What is wrong with the attributes of an inode. `filter` is its name filter, where Linux believes it.
pub(crate) fn check(inode: &Inode, attributes: &[Xattr], filter: Option<u32>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = HashSet::new();
    for attribute in attributes.iter().filter(|attribute| !attribute.hidden) {
        if findings.len() >= FINDINGS_MAX {
            break;
        }
        let wrong = of_name(inode, attribute, filter, seen.insert(attribute.name.as_slice()));
        let wrong = wrong.or_else(|| of_value(attribute));
        if let Some((code, found, wanted)) = wrong {
            findings.push(Finding::new(code, format!("xattr {}", printable(&attribute.name)), found, wanted));
        }
    }
    findings
}

/// A warning where so many inodes in the metabox have shared attributes outside of it. Linux 6.17 to 7.2 goes
/// on from a page of the metabox to one of the device, and takes the first for the second where both have the
/// same number (`erofs_xattr_iter_shared` changes the mapping of a buffer whose page `erofs_bread` compares
/// by its number alone).
pub(crate) fn misread(inodes: u64) -> Option<Finding> {
    let wanted = "them in the metabox (shared_ea_in_metabox), because Linux may read other bytes for them";
    let noun = words::noun(inodes, "inode", "inodes");
    let found = format!("{inodes} {noun} in the metabox with shared attributes outside of it");
    (inodes > 0).then(|| Finding::new(Code::XattrMisread, "superblock.feature_compat", found, wanted))
}

type Wrong = (Code, String, String);

fn malformed(found: impl Into<String>, wanted: &str) -> Wrong {
    (Code::Xattr, found.into(), wanted.to_owned())
}

fn hidden(found: impl Into<String>, wanted: &str) -> Wrong {
    (Code::XattrHidden, found.into(), wanted.to_owned())
}

fn of_name(inode: &Inode, attribute: &Xattr, filter: Option<u32>, first: bool) -> Option<Wrong> {
    let name = &attribute.name;
    let Some((index, rest)) = split_name(name) else {
        // Only the ACLs have names that are whole.
        return Some(malformed("a name that goes on behind that of an ACL", "the name alone"));
    };
    let is_acl = matches!(index, INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT);
    if rest.is_empty() && !is_acl {
        return Some(malformed("a namespace alone", "a name behind it"));
    }
    if name.len() > NAME_MAX {
        return Some(malformed(format!("a name of {} bytes", name.len()), "at most 255, the limit of Linux"));
    }
    if !first {
        return Some(hidden("two of this name", "one, because Linux gives the first"));
    }
    if filter.is_some_and(|filter| filter & filter_bit(index, rest) != 0) {
        return Some(hidden("a name filter that hides it", "one that lets it be found"));
    }
    // Sockets have them since Linux 7.2.
    let takes_user = inode.is_file() || inode.is_dir() || inode.file_type == FileType::Socket;
    if index == INDEX_USER && !takes_user {
        let found = format!("one of a {}", inode.file_type.name());
        return Some(hidden(found, "attributes of users at regular files and directories only"));
    }
    if is_acl && inode.is_symlink() {
        return Some(hidden("one of a symbolic link", "ACLs of other files only"));
    }
    None
}

fn of_value(attribute: &Xattr) -> Option<Wrong> {
    match split_name(&attribute.name)? {
        (INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT, _) => {
            let wrong = acl::wrong(&attribute.value)?;
            Some(malformed(wrong, "an ACL that Linux takes (posix_acl_from_xattr, posix_acl_valid)"))
        }
        (INDEX_SECURITY, CAPABILITY) => {
            let wrong = wrong_capability(&attribute.value)?;
            Some(malformed(wrong, "file capabilities of form 2 or 3 (struct vfs_ns_cap_data)"))
        }
        _ => None,
    }
}

/// What Linux refuses in file capabilities (`cap_inode_getsecurity`).
fn wrong_capability(value: &[u8]) -> Option<String> {
    let word = |at: usize| value.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let Some(magic) = word(0) else { return Some(words::bytes(value.len())) };
    let form = magic & !CAPABILITY_EFFECTIVE;
    if !CAPABILITY_FORMS.contains(&(form, value.len())) {
        return Some(format!("{} of form {form:#x}", words::bytes(value.len())));
    }
    (word(CAPABILITY_USER_AT) == Some(u32::MAX)).then(|| "no user".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_two_forms() {
        let value = |magic: u32, length: usize| {
            let mut value = magic.to_le_bytes().to_vec();
            value.resize(length, 0);
            value
        };
        for (value, right) in [
            (value(0x0200_0000, 20), true),
            (value(0x0200_0001, 20), true),
            (value(0x0300_0001, 24), true),
            (value(0x0200_0002, 20), false),
            (value(0x0200_0001, 24), false),
            (value(0x0300_0001, 20), false),
            (value(0x0100_0000, 12), false),
            (value(0x0200_0000, 3), false),
            (Vec::new(), false),
            ([value(0x0300_0001, 20), vec![0xff; 4]].concat(), false),
        ] {
            assert_eq!(wrong_capability(&value).is_none(), right, "{value:?}");
        }
    }
}
