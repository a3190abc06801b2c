//! The directory that is extracted into. Every name is used relative to an open directory and never followed,
//! so that no name and no link of an image leads out of it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use erofs_format::filetype::FileType as ImageType;
use erofs_image::Inode;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

/// What a new file or directory may be used by until its own mode is set: its owner.
const PRIVATE_FILE: Mode = Mode::from_bits_retain(0o600);
const PRIVATE_DIR: Mode = Mode::from_bits_retain(0o700);

/// The directory that is extracted into, and where in it the extraction stands.
#[derive(Debug)]
pub(super) struct Target {
    root: OwnedFd,
    /// The innermost open directory. Only two are open at any time, however deep the tree is.
    here: OwnedFd,
    levels: Vec<Level>,
    /// The path of that directory in the image; one for all levels, because deep trees have long paths.
    path: Vec<u8>,
}

#[derive(Debug)]
struct Level {
    name: Vec<u8>,
    inode: Inode,
    /// Device and inode number of the directory above, which the way back must lead to.
    parent: (u64, u64),
}

/// A directory that was left.
pub(super) struct Left {
    /// Still open.
    pub(super) directory: OwnedFd,
    /// What the image says about it.
    pub(super) inode: Inode,
    /// Its path in the image.
    pub(super) path: Vec<u8>,
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn identity(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Whether a directory has no entries.
fn is_empty(fd: BorrowedFd<'_>) -> io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(fd)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn replaced() -> io::Error {
    io::Error::other("what was made here has been replaced by somebody else")
}

impl Target {
    /// Opens the directory, which is made if it is not there. The way to it is the user's own and may lead
    /// over links.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match rustix::fs::mkdirat(CWD, path, PRIVATE_DIR) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = directory_flags().difference(OFlags::NOFOLLOW);
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let here = root.try_clone()?;
        Ok(Self { root, here, levels: Vec::new(), path: Vec::new() })
    }

    /// How many directories below the one that is extracted into.
    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The names of the directories that lead here.
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        self.levels.iter().map(|level| level.name.clone()).collect()
    }

    /// The innermost open directory.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }

    /// Makes a directory and goes into it. One that exists, and is a directory and no link, will do if
    /// `existing`.
    pub(super) fn enter(&mut self, name: &[u8], path: &[u8], inode: Inode, existing: bool) -> io::Result<()> {
        let is_new = match rustix::fs::mkdirat(&self.here, name, PRIVATE_DIR) {
            Err(rustix::io::Errno::EXIST) if existing => false,
            outcome => outcome.map(|()| true)?,
        };
        let parent = identity(self.here())?;
        let directory = rustix::fs::openat(&self.here, name, directory_flags(), Mode::empty())?;
        if is_new && !is_empty(directory.as_fd())? {
            return Err(replaced());
        }
        self.here = directory;
        self.levels.push(Level { name: name.to_vec(), inode, parent });
        self.path.clear();
        self.path.extend_from_slice(path);
        Ok(())
    }

    /// Goes back to the directory above; an error if somebody has moved the directory meanwhile.
    pub(super) fn leave(&mut self) -> io::Result<Left> {
        let level = self.levels.pop().ok_or(io::ErrorKind::NotFound)?;
        let parent = rustix::fs::openat(&self.here, "..", directory_flags(), Mode::empty())?;
        if identity(parent.as_fd())? != level.parent {
            return Err(io::Error::other("the directory was moved by somebody else"));
        }
        let directory = std::mem::replace(&mut self.here, parent);
        let path = self.path.clone();
        self.path.truncate(path.len().saturating_sub(level.name.len()).saturating_sub(1));
        Ok(Left { directory, inode: level.inode, path })
    }

    /// Makes a regular file here; an error if the name is taken.
    pub(super) fn file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.here, name, flags, PRIVATE_FILE)?.into())
    }

    /// Makes a symbolic link here; returns where it is.
    pub(super) fn symlink(&self, name: &[u8], target: &[u8]) -> io::Result<OwnedFd> {
        rustix::fs::symlinkat(target, &self.here, name)?;
        self.place(name, FileType::Symlink, None)
    }

    /// Makes a device node, FIFO or socket here; returns where it is.
    pub(super) fn special(&self, name: &[u8], inode: &Inode) -> io::Result<OwnedFd> {
        let kind = match inode.file_type {
            ImageType::CharDevice => FileType::CharacterDevice,
            ImageType::BlockDevice => FileType::BlockDevice,
            ImageType::Fifo => FileType::Fifo,
            ImageType::Socket => FileType::Socket,
            ImageType::Regular | ImageType::Directory | ImageType::Symlink => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        };
        let device = inode.device().map(|(major, minor)| rustix::fs::makedev(major, minor));
        rustix::fs::mknodat(&self.here, name, kind, PRIVATE_FILE, device.unwrap_or(0))?;
        self.place(name, kind, device)
    }

    /// Where the file is that was made here a moment ago, if the name still leads to one like it. Others who
    /// can write to the directory may have put another one in its place.
    fn place(&self, name: &[u8], kind: FileType, device: Option<u64>) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.here, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let is_kind = FileType::from_raw_mode(stat.st_mode) == kind;
        let is_device = device.is_none_or(|device| stat.st_rdev == device);
        // A new file has no other name; some file systems count none.
        if is_kind && is_device && stat.st_nlink <= 1 { Ok(fd) } else { Err(replaced()) }
    }

    /// Links `name` here to the file whose names from the root are `first`.
    pub(super) fn link(&self, first: &[Vec<u8>], name: &[u8]) -> io::Result<()> {
        let (file, above) = first.split_last().ok_or(io::ErrorKind::NotFound)?;
        let mut directory = self.root.try_clone()?;
        for part in above {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            directory = rustix::fs::openat(&directory, part.as_slice(), flags, Mode::empty())?;
        }
        // Symbolic links are not followed: whatever is there by now gets another name in this tree, and
        // nothing else.
        Ok(rustix::fs::linkat(&directory, file.as_slice(), &self.here, name, AtFlags::empty())?)
    }

    /// Removes `name` here unless it is a directory, which is an error. That nothing has this name is none.
    pub(super) fn remove(&self, name: &[u8]) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.here, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_was_replaced_is_not_taken_for_what_was_made() {
        let dir = erofs_testkit::place::scratch().unwrap();
        let path = |name: &str| dir.path().join(name);
        let target = Target::open(dir.path()).unwrap();
        let fifo =
            |name: &str| rustix::fs::mknodat(CWD, path(name), FileType::Fifo, PRIVATE_FILE, 0).unwrap();
        fifo("one");
        fifo("two");
        fs::hard_link(path("two"), path("other")).unwrap();
        fs::write(path("file"), "").unwrap();
        symlink("one", path("link")).unwrap();
        for (name, kind, device, taken) in [
            ("one", FileType::Fifo, None, true),
            ("one", FileType::Socket, None, false),
            ("two", FileType::Fifo, None, false),
            ("file", FileType::Fifo, None, false),
            ("link", FileType::Fifo, None, false),
            ("link", FileType::Symlink, None, true),
        ] {
            assert_eq!(target.place(name.as_bytes(), kind, device).is_ok(), taken, "{name} {kind:?}");
        }
        fs::create_dir(path("full")).unwrap();
        fs::create_dir(path("empty")).unwrap();
        fs::write(path("full/file"), "").unwrap();
        for (name, empty) in [("full", false), ("empty", true)] {
            let open = rustix::fs::openat(target.here(), name, directory_flags(), Mode::empty()).unwrap();
            assert_eq!(is_empty(open.as_fd()).unwrap(), empty, "{name}");
        }
    }
}
