//! Magic numbers of other file systems, which an owner or a time in an inode may happen to be.
//!
//! libblkid (util-linux 2.43, `libblkid/src/superblocks`) looks for some file systems and RAIDs by a number
//! of three or four bytes in a fixed place alone. An inode there whose group is 72020, which is UFS's
//! 0x00011954, makes the result ambivalent, and neither udev nor mount(8) sees an image. Such an inode gets
//! the next place.
//!
//! Longer numbers do not come about by accident, other fields of inodes never lie in these places, and places
//! at the start of a block, such as those of VMFS at 1 and 2 MiB, cannot hold a time, which is in the middle
//! of an inode.

use erofs_format::inode::Version;
use erofs_tree::Inode;

/// Bytes of an image, and the places that make them a magic number.
type Magic = (&'static [u8], &'static [u64]);

/// UFS: `fs_magic` is at byte 1372 of its superblock, which may be in four places (`probe_ufs`).
const UFS: [u64; 4] = [1372, (8 << 10) + 1372, (64 << 10) + 1372, (256 << 10) + 1372];
/// System V: `s_magic` in three of its four places (`probe_sysv`); the first is before the image's
/// superblock.
const SYSV: [u64; 3] = [10_232, 16_376, 19_448];

const MAGICS: [Magic; 18] = [
    (&0x0001_1954_u32.to_le_bytes(), &UFS),
    (&0x5419_0100_u32.to_le_bytes(), &UFS),
    (&0x1954_0119_u32.to_le_bytes(), &UFS),
    (&0x1901_5419_u32.to_le_bytes(), &UFS),
    (&0x0019_5612_u32.to_le_bytes(), &UFS),
    (&0x1256_1900_u32.to_le_bytes(), &UFS),
    (&0x0009_5014_u32.to_le_bytes(), &UFS),
    (&0x1450_0900_u32.to_le_bytes(), &UFS),
    (&0x0061_2195_u32.to_le_bytes(), &UFS),
    (&0x9521_6100_u32.to_le_bytes(), &UFS),
    (&0x0523_1994_u32.to_le_bytes(), &UFS),
    (&0x9419_2305_u32.to_le_bytes(), &UFS),
    (&0xfd18_7e20_u32.to_le_bytes(), &SYSV),
    (&0x207e_18fd_u32.to_le_bytes(), &SYSV),
    // Xenix.
    (b"\x2b\x55\x44", &[2048]),
    (b"\x44\x55\x2b", &[2048]),
    // RAID of HighPoint's 37x: healthy, and degraded.
    (b"\xf0\x16\x78\x5a", &[4640]),
    (b"\xfd\x16\x78\x5a", &[4640]),
];

/// Where owner and time are in an inode of either form, in bytes.
const OWNER_AT: u64 = 24;

/// Owner and time of an inode as they will be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnerAndTime([u8; 16]);

impl OwnerAndTime {
    /// Those of an inode without a name, or in the metabox, which are no magic number anywhere.
    pub(crate) const NONE: Self = Self([0; 16]);

    /// Those of `inode` in this form: compact inodes have owners of two bytes each, and no time of four.
    pub(crate) fn of(inode: &Inode, version: Version) -> Self {
        let mut bytes = [0; 16];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let (user, group) = (inode.uid.to_le_bytes(), inode.gid.to_le_bytes());
        match version {
            Version::Extended => {
                put(0, &user);
                put(4, &group);
                put(8, &inode.mtime.sec.to_le_bytes());
            }
            Version::Compact => {
                put(0, &user[..2]);
                put(2, &group[..2]);
            }
        }
        Self(bytes)
    }

    /// The first of the places that `next` gives at which they are no magic number. The others stay unused.
    pub(crate) fn first_clear(self, mut next: impl FnMut() -> u64) -> u64 {
        loop {
            let at = next();
            if !self.are_foreign_at(at) {
                return at;
            }
        }
    }

    /// Whether they are the magic number of another file system if the inode starts at byte `at` of the
    /// image.
    fn are_foreign_at(&self, at: u64) -> bool {
        let from = at.saturating_add(OWNER_AT);
        MAGICS.iter().any(|(magic, places)| {
            let starts = places.iter().filter_map(|place| usize::try_from(place.checked_sub(from)?).ok());
            starts.into_iter().any(|start| self.0.get(start..).is_some_and(|rest| rest.starts_with(magic)))
        })
    }
}

#[cfg(test)]
mod tests {
    use erofs_tree::{Kind, Timestamp};

    use super::*;

    #[test]
    fn numbers_count_in_their_places_alone() {
        let inode = |uid, gid, sec| Inode {
            permissions: 0,
            uid,
            gid,
            mtime: Timestamp { sec, nsec: 0 },
            links: 1,
            xattrs: [].into(),
            kind: Kind::Fifo,
        };
        let extended = |uid, gid, sec| OwnerAndTime::of(&inode(uid, gid, sec), Version::Extended);
        let compact = |uid, gid| OwnerAndTime::of(&inode(uid, gid, 0), Version::Compact);
        let places = |fields: OwnerAndTime| -> Vec<u64> {
            (0..1 << 16).map(|slot| slot * 32).filter(|&at| fields.are_foreign_at(at)).collect()
        };
        assert_eq!(places(extended(0, 72_020, 0)), UFS.map(|place| place - 28));
        assert_eq!(places(extended(72_020, 0, 0)), []);
        assert_eq!(places(extended(0xfd18_7e20, 0, 0)), SYSV.map(|place| place - 24));
        assert_eq!(places(compact(0x7e20, 0xfd18)), SYSV.map(|place| place - 24));
        assert_eq!(places(extended(0, 0, 1_517_819_632)), [4640 - 32]);
        assert_eq!(places(extended(0, 0, 0x0144_552b)), [2048 - 32]);
        assert_eq!(places(extended(1000, 1000, 1_700_000_000)), []);
    }
}
