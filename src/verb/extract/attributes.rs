//! Owner, mode, extended attributes and time of an extracted file, in the order in which none undoes another:
//! a change of owner clears set-id bits and capabilities, an ACL changes the mode, everything changes the
//! time.
//!
//! Everything is done to an open descriptor and nothing to a name: whoever can write to the directory can put
//! a link to another file in the place of a name, and root would change that file. Symbolic links and special
//! files cannot be opened for reading or writing, so their descriptors only say where they are (`O_PATH`);
//! system calls reach them through `/proc/self/fd`, which leads to the file itself, whatever its names are by
//! now.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;

use erofs_image::{Image, Inode, Xattr, printable};
use rustix::fs::{AtFlags, CWD, Gid, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::trouble::{Trouble, host};

/// The set-user-id and set-group-id bits.
const SET_ID: u16 = 0o6000;
/// The id that means "leave it" to the system, so that no file can be given it.
const NO_ID: u32 = u32::MAX;
/// Namespaces that only root can write.
const PRIVILEGED: [&[u8]; 2] = [b"trusted.", b"security."];
/// The capabilities of a program, which belong to its owner as set-id bits do.
const CAPABILITIES: &[u8] = b"security.capability";

/// What is restored.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    pub(super) image: &'a Image,
    /// Owner and group, and what makes programs run with more rights: set-id bits and capabilities.
    pub(super) owner: bool,
    /// Extended attributes.
    pub(super) xattrs: bool,
    /// Root runs this, so that every namespace of extended attributes can be written.
    pub(super) privileged: bool,
}

/// The file that is to have the attributes.
#[derive(Debug)]
pub(super) enum On<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A symbolic link or special file, by a descriptor that only says where it is.
    Place(OwnedFd),
}

/// What became of extended attributes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct XattrCount {
    pub(super) restored: u64,
    /// Left out because only root can write them, or because they belong to an owner that is not restored.
    pub(super) skipped: u64,
}

impl Attributes<'_> {
    /// Gives `file` what `inode` says, as far as it can be had; the rest is in the list.
    pub(super) fn apply(&self, file: &On<'_>, inode: &Inode) -> (XattrCount, Vec<Trouble>) {
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
        let count = if self.xattrs {
            self.restore_xattrs(file, inode, owned, &mut troubles)
        } else {
            XattrCount::default()
        };
        troubles.extend(file.set_time(inode).err().map(|error| host("time", &error)));
        (count, troubles)
    }

    fn restore_xattrs(
        &self,
        file: &On<'_>,
        inode: &Inode,
        owned: bool,
        troubles: &mut Vec<Trouble>,
    ) -> XattrCount {
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
                Ok(xattr) if !owned && xattr.name == CAPABILITIES => count.skipped += 1,
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
    /// The path by which a file is reached that only its place is known of.
    fn path(fd: &OwnedFd) -> String {
        format!("/proc/self/fd/{}", fd.as_raw_fd())
    }

    fn set_owner(&self, inode: &Inode) -> io::Result<()> {
        let (uid, gid) = (inode.record.uid, inode.record.gid);
        if uid == NO_ID || gid == NO_ID {
            return Err(io::Error::other(format!("{uid}:{gid} is not an owner that the system can set")));
        }
        match self {
            // Those of rustix for descriptors, and its chmodat, are system calls even with its feature
            // `use-libc`, and fakeroot and pseudo see the functions of libc alone.
            Self::Open(fd) => std::os::unix::fs::fchown(fd, Some(uid), Some(gid)),
            Self::Place(fd) => match std::os::unix::fs::chown(Self::path(fd), Some(uid), Some(gid)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                    Ok(rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH)?)
                }
                outcome => outcome,
            },
        }
    }

    fn set_mode(&self, mode: u16) -> io::Result<()> {
        let mode = Permissions::from_mode(mode.into());
        match self {
            Self::Open(fd) => File::from(fd.try_clone_to_owned()?).set_permissions(mode),
            Self::Place(fd) => {
                let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
                std::fs::set_permissions(Self::path(fd), mode)
                    .map_err(|error| if absent(&error) { needs_proc(Errno::NOENT) } else { error })
            }
        }
    }

    fn set_xattr(&self, xattr: &Xattr) -> io::Result<()> {
        let (name, value) = (xattr.name.as_slice(), xattr.value.as_slice());
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())?,
            Self::Place(fd) => {
                rustix::fs::setxattr(Self::path(fd), name, value, XattrFlags::empty()).map_err(needs_proc)?;
            }
        }
        Ok(())
    }

    fn set_time(&self, inode: &Inode) -> io::Result<()> {
        let time = Timespec { tv_sec: inode.mtime_sec, tv_nsec: inode.mtime_nsec.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, &times)?,
            Self::Place(fd) => {
                match rustix::fs::utimensat(CWD, Self::path(fd), &times, AtFlags::empty()) {
                    // Linux 5.8.
                    Err(Errno::NOENT) => rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH)?,
                    outcome => outcome?,
                }
            }
        }
        // A file system that cannot hold a time stores another one, and says nothing.
        let stat = match self {
            Self::Open(fd) => rustix::fs::fstat(fd)?,
            Self::Place(fd) => rustix::fs::fstat(fd)?,
        };
        if stat.st_mtime == inode.mtime_sec {
            return Ok(());
        }
        let text = format!("the file system made {} of {} seconds", stat.st_mtime, inode.mtime_sec);
        Err(io::Error::other(text))
    }
}

/// What a missing `/proc/self/fd/N` means.
fn needs_proc(error: Errno) -> io::Error {
    match error {
        Errno::NOENT => {
            io::Error::other("/proc is not mounted, without which it could be set in another file")
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::extract::target::Target;
    use erofs_image::{Follow, OpenOptions};
    use erofs_testkit::require::{Absent, need};
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::Path;

    /// An image with a FIFO of mode 0666 and a symbolic link.
    fn image(dir: &Path) -> Image {
        let tree = dir.join("tree");
        fs::create_dir(&tree).unwrap();
        rustix::fs::mknodat(CWD, tree.join("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::empty(), 0)
            .unwrap();
        fs::set_permissions(tree.join("fifo"), Permissions::from_mode(0o666)).unwrap();
        symlink("nowhere", tree.join("link")).unwrap();
        let path = dir.join("image");
        let mut source = erofs_tree::DirSource::new(&tree, erofs_tree::DirOptions::default()).unwrap();
        let file = erofs_builder::ImageFile::create(&path, 0).unwrap();
        let options = erofs_builder::BuildOptions::default();
        erofs_builder::build(&mut source, file, &options, &erofs_tree::Silent).unwrap();
        OpenOptions::new().cached(true).open(&path).unwrap()
    }

    #[test]
    fn a_link_in_the_place_of_a_new_file_is_not_followed() {
        let proc = Path::new("/proc/self/fd").is_dir();
        let proc = if proc { Ok(()) } else { Err(Absent::because("/proc is not mounted")) };
        let Some(()) = need("attributes of special files", proc) else { return };
        let dir = erofs_testkit::place::scratch().unwrap();
        let image = image(dir.path());
        let victim = dir.path().join("victim");
        fs::write(&victim, "secret").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        let before = fs::metadata(&victim).unwrap();
        let out = dir.path().join("out");
        let target = Target::open(&out).unwrap();
        let attributes = Attributes { image: &image, owner: true, xattrs: true, privileged: false };
        for name in ["fifo", "link"] {
            let inode = image.resolve(name.as_bytes(), Follow::Parents).unwrap();
            let made = if name == "fifo" {
                target.special(b"fifo", &inode)
            } else {
                target.symlink(b"link", b"nowhere")
            };
            // Somebody else moves it away and puts a link to the victim in its place.
            fs::rename(out.join(name), out.join("moved")).unwrap();
            symlink(&victim, out.join(name)).unwrap();
            let (_, troubles) = attributes.apply(&On::Place(made.unwrap()), &inode);
            assert!(troubles.is_empty(), "{name}: {troubles:?}");
            let moved = fs::symlink_metadata(out.join("moved")).unwrap();
            assert_eq!((moved.mode() & 0o7777, moved.mtime()), (inode.permissions().into(), inode.mtime_sec));
            let after = fs::metadata(&victim).unwrap();
            assert_eq!((after.mode(), after.mtime()), (before.mode(), before.mtime()), "{name}");
            fs::remove_file(out.join("moved")).unwrap();
        }
    }
}
