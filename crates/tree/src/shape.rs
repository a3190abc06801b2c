//! Rules that change what the source says: owners and times, applied once to the whole tree.

use crate::error::{TreeError, to_path};
use crate::node::{Timestamp, Tree};

/// What becomes of modification times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeRule {
    /// They stay as the source has them.
    #[default]
    Keep,
    /// All become this one.
    Fixed(Timestamp),
    /// Those that are later than this one, or equal to it, become this one.
    Clamp(Timestamp),
}

/// What is changed in every inode of a tree. The default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShapeOptions {
    /// The owner of everything, before the offset.
    pub force_uid: Option<u32>,
    /// The group of everything, before the offset.
    pub force_gid: Option<u32>,
    /// Added to every owner.
    pub uid_offset: u32,
    /// Added to every group.
    pub gid_offset: u32,
    /// What becomes of modification times.
    pub time: TimeRule,
}

/// Applies the rules to every inode, the root included: first the forced owner, then the offset, as
/// mkfs.erofs does.
///
/// # Errors
///
/// [`TreeError::IdOverflow`] with the first path whose owner or group with its offset exceeds 32 bits; the
/// tree is then unchanged.
pub fn apply(tree: &mut Tree, options: &ShapeOptions) -> Result<(), TreeError> {
    for (id, inode) in tree.iter() {
        let owners = [
            ("uid", options.force_uid.unwrap_or(inode.uid), options.uid_offset),
            ("gid", options.force_gid.unwrap_or(inode.gid), options.gid_offset),
        ];
        for (what, value, offset) in owners {
            // The largest number means "none" to chown(2), so no file can have it.
            if value.checked_add(offset).is_none_or(|sum| offset != 0 && sum == u32::MAX) {
                let path = to_path(&tree.path_of(id));
                return Err(TreeError::IdOverflow { path, what, value, offset });
            }
        }
    }
    for inode in &mut tree.inodes {
        // The loop above has shown that neither sum wraps.
        inode.uid = options.force_uid.unwrap_or(inode.uid).wrapping_add(options.uid_offset);
        inode.gid = options.force_gid.unwrap_or(inode.gid).wrapping_add(options.gid_offset);
        inode.mtime = match options.time {
            TimeRule::Keep => inode.mtime,
            TimeRule::Fixed(time) => time,
            TimeRule::Clamp(time) => inode.mtime.min(time),
        };
    }
    Ok(())
}
