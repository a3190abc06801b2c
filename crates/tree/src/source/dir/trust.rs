//! Which numbers of a file system can be relied on.

use std::os::fd::BorrowedFd;

use rustix::fs::{FsWord, fstatfs};
use rustix::io::Errno;

/// File systems of Linux that give each inode a number of its own and keep it as long as the inode is there,
/// and whose `st_size` is the length of the content: `f_type` of statfs(2), from the kernel's `linux/magic.h`
/// and, where that lacks it, the file system's own source. Not among them are those that make up numbers
/// (FUSE, vfat, 9p), take them from elsewhere (overlayfs, NFS, CIFS) or make up content when it is read
/// (proc, sysfs).
const LOCAL: [i128; 12] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0xf2f5_2010, // F2FS
    0xe0f5_e1e2, // EROFS
    0x7371_7368, // SquashFS
    0xca45_1a4e, // bcachefs
    0x2fc1_2fc1, // ZFS
    0x3153_464a, // JFS
    0x2405_1905, // UBIFS
];
/// overlayfs takes its numbers from the file systems below it, where two files may have the same one.
const OVERLAY: i128 = 0x794c_7630;

/// What can be relied on in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// The device and inode number stand for one file, as long as the source is read.
    pub(super) numbers: bool,
    /// `st_size` is the length of the content.
    pub(super) sizes: bool,
}

impl Trust {
    /// What holds for the file system of an open file.
    pub(super) fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        Ok(Self::in_kind(fstatfs(fd)?.f_type))
    }

    fn in_kind(kind: FsWord) -> Self {
        // The width and the sign of the field depend on the machine; the number is one of 32 bits.
        let kind = i128::from(kind).rem_euclid(1 << 32);
        let numbers = LOCAL.contains(&kind);
        Self { numbers, sizes: numbers || kind == OVERLAY }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn local_file_systems_are_trusted() {
        let all = Trust { numbers: true, sizes: true };
        for (kind, wanted) in [
            (0xef53, all),
            (0x9123_683e, all),
            (0x0102_1994, all),
            (0x794c_7630, Trust { numbers: false, sizes: true }),
            (0x6573_5546, Trust::default()), // FUSE
            (0x6969, Trust::default()),      // NFS
            (0x9fa0, Trust::default()),      // proc
        ] {
            assert_eq!(Trust::in_kind(kind), wanted, "{kind:#x}");
        }
    }

    #[test]
    fn an_open_file_tells_its_file_system() {
        let proc = File::open("/proc/self/status").unwrap();
        assert_eq!(Trust::of(proc.as_fd()), Ok(Trust::default()));
        let trust = Trust::of(tempfile::tempfile().unwrap().as_fd()).unwrap();
        assert!(trust.sizes || !trust.numbers);
    }
}
