//! Extended attributes of one inode, read without following symbolic links.
//!
//! The kernel has no calls that take a directory descriptor and a name before Linux 6.13. Most inodes have no
//! attributes, and asking by the path from the root is by far the cheapest way to learn that: opening each
//! file costs half as much again, and `/proc/self/fd/DIR/NAME` makes threads wait for each other. But a path
//! may lead elsewhere when directories are replaced meanwhile. Values are therefore never read by it: an
//! inode that has any is opened, or reached through proc if it cannot be, and [`Leaves::confirm`] shows
//! afterwards that the path has led to the same directory.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{
    FileType, Mode, OFlags, fgetxattr, flistxattr, fstat, lgetxattr, llistxattr, llistxattr_query, openat,
    stat,
};
use rustix::io::Errno;

use super::place::{Identity, MAX_PATH_LEN, Root};
use crate::error::TreeError;
use crate::node::{MAX_NAME_LEN, Xattr, push_name};

/// Most inodes have no attributes or few; the kernel allocates as much as it is offered.
const SMALL_LEN: usize = 512;
/// The longest list of names and the longest value (Linux's `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`).
const LARGE_LEN: usize = 65_536;

/// How an inode is reached.
#[derive(Clone, Copy)]
pub(super) enum Handle<'a> {
    Fd(BorrowedFd<'a>),
    Path(&'a CStr),
}

impl Handle<'_> {
    fn list(self, buf: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Fd(fd) => flistxattr(fd, buf),
            Self::Path(path) => llistxattr(path, buf),
        }
    }

    fn value(self, name: &CStr, buf: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Fd(fd) => fgetxattr(fd, name, buf),
            Self::Path(path) => lgetxattr(path, name, buf),
        }
    }
}

/// The path from the root is asked only for directories of so many names: to follow one takes time for each
/// name.
pub(super) const NAMES_MAX: usize = 64;

/// Reads attributes of the entries of one open directory that are not directories themselves.
pub(super) struct Leaves<'a> {
    root: &'a Root,
    dir: BorrowedFd<'a>,
    /// The path of the directory from the root, if it may be asked.
    short: Option<&'a [u8]>,
    /// The path of the directory from the root.
    rel: &'a dyn Fn() -> Vec<u8>,
    /// The path of the directory with a slash and room for a name; none if that is longer than a call takes.
    question: Option<Prefix>,
    /// The same through the descriptor, made when it is first needed.
    answer: Option<Prefix>,
    /// Whether anything was believed because of the path.
    asked: bool,
}

impl<'a> Leaves<'a> {
    /// Without `short` nothing is asked by a path from the root.
    pub(super) fn new(
        root: &'a Root,
        dir: BorrowedFd<'a>,
        short: Option<&'a [u8]>,
        rel: &'a dyn Fn() -> Vec<u8>,
    ) -> Self {
        let question = short.and_then(|short| {
            let path = root.join(short);
            let path = path.as_os_str().as_bytes();
            (path.len() + 1 + MAX_NAME_LEN <= MAX_PATH_LEN).then(|| Prefix::new(path.to_vec()))
        });
        Self { root, dir, short, rel, question, answer: None, asked: false }
    }

    /// All attributes of the entry of this name, sorted by name; see [`read`].
    pub(super) fn read(
        &mut self,
        name: &CStr,
        kind: FileType,
        made_up: &dyn Fn(&[u8]),
    ) -> Result<Box<[Xattr]>, TreeError> {
        if let Some(question) = &mut self.question
            && matches!(llistxattr_query(question.with(name)), Ok(0) | Err(Errno::NOTSUP))
        {
            self.asked = true;
            return Ok(Box::default());
        }
        let rel = || {
            let mut path = (self.rel)();
            push_name(&mut path, name.to_bytes());
            path
        };
        if kind == FileType::RegularFile {
            let flags =
                OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // A file that may not be opened may still show its attributes.
            if let Ok(fd) = openat(self.dir, name, flags, Mode::empty()) {
                return read(self.root, Handle::Fd(fd.as_fd()), &rel, made_up);
            }
        }
        let answer = self.answer.get_or_insert_with(|| Prefix::new(self.root.call_path(self.dir, self.rel)));
        read(self.root, Handle::Path(answer.with(name)), &rel, made_up)
    }

    /// Checks that the path still leads to the directory, if anything was learnt by it.
    pub(super) fn confirm(&self) -> Result<(), TreeError> {
        let Some(rel) = self.short.filter(|_| self.asked) else { return Ok(()) };
        let error = |errno| self.root.error("stat", rel, errno);
        let by_path = stat(self.root.join(rel)).map_err(error)?;
        let by_fd = fstat(self.dir).map_err(error)?;
        let (found, wanted) = (Identity::of(&by_path), Identity::of(&by_fd));
        if found == wanted { Ok(()) } else { Err(self.root.moved(rel, found, wanted)) }
    }
}

/// A path of a directory to which names are appended one after the other.
struct Prefix {
    path: Vec<u8>,
    len: usize,
}

impl Prefix {
    fn new(mut path: Vec<u8>) -> Self {
        path.push(b'/');
        let len = path.len();
        Self { path, len }
    }

    fn with(&mut self, name: &CStr) -> &CStr {
        self.path.truncate(self.len);
        self.path.extend_from_slice(name.to_bytes_with_nul());
        CStr::from_bytes_until_nul(&self.path).unwrap_or_default()
    }
}

/// Reads all attributes of the inode at a path from the root, sorted by name.
///
/// Names of the namespace `system` other than the two POSIX ACLs are made up by the kernel from other
/// metadata; they are handed to `made_up` and left out.
pub(super) fn read(
    root: &Root,
    handle: Handle<'_>,
    rel: &dyn Fn() -> Vec<u8>,
    made_up: &dyn Fn(&[u8]),
) -> Result<Box<[Xattr]>, TreeError> {
    let mut small = [0; SMALL_LEN];
    let mut large = Vec::new();
    let list = match with_room(&mut small, &mut large, |buf| handle.list(buf)) {
        Ok(list) => list,
        // The file system has no attributes at all.
        Err(Errno::NOTSUP) => return Ok(Box::default()),
        Err(Errno::NOENT) => return Err(TreeError::Vanished { path: root.join(&rel()) }),
        Err(errno) => return Err(TreeError::XattrList { path: root.join(&rel()), source: errno.into() }),
    };
    let mut xattrs = Vec::new();
    for name in
        list.split_inclusive(|&byte| byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok())
    {
        if name.is_empty() {
            continue;
        }
        if is_made_up(name.to_bytes()) {
            made_up(name.to_bytes());
            continue;
        }
        let value = read_value(handle, name).map_err(|errno| value_error(root, &rel(), name, errno))?;
        xattrs.push(Xattr { name: name.to_bytes().into(), value });
    }
    xattrs.sort_unstable();
    xattrs.dedup_by(|a, b| a.name == b.name);
    Ok(xattrs.into_boxed_slice())
}

fn is_made_up(name: &[u8]) -> bool {
    name.starts_with(b"system.") && name != b"system.posix_acl_access" && name != b"system.posix_acl_default"
}

fn read_value(handle: Handle<'_>, name: &CStr) -> Result<Box<[u8]>, Errno> {
    let mut small = [0; SMALL_LEN];
    let mut large = Vec::new();
    with_room(&mut small, &mut large, |buf| handle.value(name, buf)).map(Into::into)
}

fn value_error(root: &Root, rel: &[u8], name: &CStr, errno: Errno) -> TreeError {
    let path = root.join(rel);
    let name = name.to_bytes().into();
    match errno {
        Errno::NODATA => TreeError::XattrVanished { path, name },
        Errno::NOENT => TreeError::Vanished { path },
        _ => TreeError::XattrRead { path, name, source: errno.into() },
    }
}

/// Runs a call with the small buffer and, if that is too small for the answer, with the largest the kernel
/// fills.
fn with_room<'b>(
    small: &'b mut [u8],
    large: &'b mut Vec<u8>,
    mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<&'b [u8], Errno> {
    match call(small) {
        Ok(len) => small.get(..len).ok_or(Errno::RANGE),
        Err(Errno::RANGE) => {
            large.resize(LARGE_LEN, 0);
            let len = call(large)?;
            large.get(..len).ok_or(Errno::RANGE)
        }
        Err(errno) => Err(errno),
    }
}
