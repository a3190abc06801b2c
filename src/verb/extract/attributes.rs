//! Owner, mode, extended attributes and time of an extracted file, in the order in which none undoes another: a change of
//! owner clears set-id bits and capabilities, an ACL changes the mode, everything changes the time.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;

use erofs_image::{Image, Inode, Xattr, printable};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use super::{Trouble, host};

/// The set-user-id and set-group-id bits.
const SET_ID: u16 = 0o6000;
/// The id that means "leave it" to the system, so that no file can be given it.
const NO_ID: u32 = u32::MAX;
/// Namespaces that only root can write.
const PRIVILEGED: [&[u8]; 2] = [b"trusted.", b"security."];

/// What is restored.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    pub(super) image: &'a Image,
    /// Owner, group and set-id bits.
    pub(super) owner: bool,
    /// Extended attributes.
    pub(super) xattrs: bool,
    /// Root runs this, so that every namespace of extended attributes can be written.
    pub(super) privileged: bool,
}

/// The file that is to have the attributes.
#[derive(Debug, Clone, Copy)]
pub(super) enum On<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A name in an open directory; a link is not followed.
    Name(BorrowedFd<'a>, &'a [u8]),
}

/// What became of extended attributes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct XattrCount {
    pub(super) restored: u64,
    /// Left out because only root can write them.
    pub(super) skipped: u64,
}

impl Attributes<'_> {
    /// Gives `file` what `inode` says, as far as it can be had; the rest is in the list.
    pub(super) fn apply(&self, file: On<'_>, inode: &Inode) -> (XattrCount, Vec<Trouble>) {
        let mut troubles = Vec::new();
        let mut note = |what: &str, outcome: io::Result<()>| {
            let done = outcome.is_ok();
            troubles.extend(outcome.err().map(|error| host(what, &error)));
            done
        };
        let owned = self.owner && note("owner", file.set_owner(inode));
        if !inode.is_symlink() {
            let keep = if owned { inode.permissions() } else { inode.permissions() & !SET_ID };
            note("mode", file.set_mode(keep));
        }
        let count =
            if self.xattrs { self.restore_xattrs(file, inode, &mut troubles) } else { XattrCount::default() };
        troubles.extend(file.set_time(inode).err().map(|error| host("time", &error)));
        (count, troubles)
    }

    fn restore_xattrs(&self, file: On<'_>, inode: &Inode, troubles: &mut Vec<Trouble>) -> XattrCount {
        let mut count = XattrCount::default();
        let xattrs = match self.image.xattrs(inode) {
            Ok(xattrs) => xattrs,
            Err(error) => {
                troubles.push(error.into());
                return count;
            }
        };
        for xattr in xattrs {
            match xattr {
                // The kernel shows hidden ones to nobody, and no file system of the host would take them.
                Ok(xattr) if xattr.hidden => {}
                Ok(xattr) if !self.privileged && is_privileged(&xattr.name) => count.skipped += 1,
                Ok(xattr) => match file.set_xattr(&xattr) {
                    Ok(()) => count.restored += 1,
                    Err(error) => {
                        troubles.push(host(&format!("xattr {}", printable(&xattr.name)), &error));
                    }
                },
                Err(error) => troubles.push(error.into()),
            }
        }
        count
    }
}

fn is_privileged(name: &[u8]) -> bool {
    PRIVILEGED.iter().any(|namespace| name.starts_with(namespace))
}

impl On<'_> {
    fn set_owner(self, inode: &Inode) -> io::Result<()> {
        let (uid, gid) = (inode.record.uid, inode.record.gid);
        if uid == NO_ID || gid == NO_ID {
            return Err(io::Error::other(format!("{uid}:{gid} is not an owner that the system can set")));
        }
        match self {
            // Those of rustix for descriptors, and its chmodat, are system calls even with its feature
            // `use-libc`, and fakeroot and pseudo see the functions of libc alone.
            Self::Open(fd) => std::os::unix::fs::fchown(fd, Some(uid), Some(gid)),
            Self::Name(dir, name) => {
                let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                Ok(rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
            }
        }
    }

    fn set_mode(self, mode: u16) -> io::Result<()> {
        let mode = Permissions::from_mode(mode.into());
        match self {
            Self::Open(fd) => File::from(fd.try_clone_to_owned()?).set_permissions(mode),
            Self::Name(dir, name) => {
                // Through a descriptor of the file itself, so that no link is followed that takes the name
                // meanwhile.
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
                std::fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
            }
        }
    }

    fn set_xattr(self, xattr: &Xattr) -> io::Result<()> {
        let (name, value) = (xattr.name.as_slice(), xattr.value.as_slice());
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())?,
            Self::Name(dir, file) => {
                // There is no call that takes a directory and a name.
                let place = format!("/proc/self/fd/{}/", dir.as_raw_fd());
                let path = [place.as_bytes(), file].concat();
                rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    fn set_time(self, inode: &Inode) -> io::Result<()> {
        let time = Timespec { tv_sec: inode.mtime_sec, tv_nsec: inode.mtime_nsec.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, &times)?,
            Self::Name(dir, name) => {
                rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }
}
