//! Whether two names lead to the same file, where device and inode number do not tell.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{OFlags, fstat};
use rustix::io::Errno;

use super::holes::Holes;
use super::place::{DirTable, Root, io_error};
use super::read::read;
use crate::error::TreeError;

/// So many bytes of each file are compared at once.
const PIECE: usize = 256 << 10;

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) dir: u32,
    pub(super) name: &'a [u8],
}

/// Compares contents of regular files.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) root: &'a Root,
    pub(super) dirs: &'a DirTable,
}

impl Contents<'_> {
    /// Whether two files of `size` bytes have the same content.
    pub(super) fn are_equal(&self, one: Name<'_>, other: Name<'_>, size: u64) -> Result<bool, TreeError> {
        if size == 0 {
            return Ok(true);
        }
        let ((fd, holes), (other_fd, other_holes)) = (self.open(one)?, self.open(other)?);
        let (mut bytes, mut others) = (vec![0; PIECE], vec![0; PIECE]);
        let mut at = 0;
        while at < size {
            at = holes.data_from(fd.as_fd(), at).min(other_holes.data_from(other_fd.as_fd(), at));
            let found = read(fd.as_fd(), at, &mut bytes).map_err(|errno| self.error("read", one, errno))?;
            let found_other =
                read(other_fd.as_fd(), at, &mut others).map_err(|errno| self.error("read", other, errno))?;
            if bytes.get(..found) != others.get(..found_other) {
                return Ok(false);
            }
            if found == 0 {
                break;
            }
            at += found as u64;
        }
        Ok(true)
    }

    fn open(&self, name: Name<'_>) -> Result<(OwnedFd, Holes), TreeError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let way = self.dirs.way(name.dir, None);
        let fd =
            self.root.open_file(&way, name.name, flags).map_err(|errno| self.error("open", name, errno))?;
        let stat = fstat(&fd).map_err(|errno| self.error("stat", name, errno))?;
        Ok((fd, Holes::new(&stat)))
    }

    /// The path of a name, for messages.
    pub(super) fn path(&self, name: Name<'_>) -> PathBuf {
        self.root.join(&self.dirs.path_of_entry(name.dir, name.name))
    }

    fn error(&self, action: &'static str, name: Name<'_>, errno: Errno) -> TreeError {
        let path = self.path(name);
        if errno == Errno::NOENT { TreeError::Vanished { path } } else { io_error(action, path, errno) }
    }
}
