//! What the tests of the directory source share.

use std::path::{Path, PathBuf};

use erofs_tree::{
    ContentRef, DirOptions, DirSource, Inode, InodeId, Kind, Silent, Source as _, Timestamp, Tree,
};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tempfile::TempDir;

/// Two threads and everything else by default.
pub(crate) fn options() -> DirOptions {
    DirOptions { threads: 2, ..DirOptions::default() }
}

/// Scans and checks that the tree keeps its promises.
pub(crate) fn scan_with(root: &Path, options: DirOptions) -> (DirSource, Tree) {
    let mut source = DirSource::new(root, options).unwrap();
    let tree = source.scan(&Silent).unwrap();
    tree.validate().unwrap();
    (source, tree)
}

pub(crate) fn scan(root: &Path) -> (DirSource, Tree) {
    scan_with(root, options())
}

/// The error of a scan, as its debug form and its message.
pub(crate) fn scan_error(root: &Path) -> erofs_tree::TreeError {
    let mut source = DirSource::new(root, options()).unwrap();
    source.scan(&Silent).unwrap_err()
}

pub(crate) fn id(tree: &Tree, path: impl AsRef<[u8]>) -> InodeId {
    let path = path.as_ref();
    tree.lookup(path).unwrap_or_else(|| panic!("{} is not in the tree", path.escape_ascii()))
}

pub(crate) fn inode(tree: &Tree, path: impl AsRef<[u8]>) -> &Inode {
    tree.get(id(tree, path)).unwrap()
}

pub(crate) fn content(tree: &Tree, path: impl AsRef<[u8]>) -> ContentRef {
    let kind = &inode(tree, path).kind;
    let Kind::File { content, .. } = kind else { panic!("not a file: {kind:?}") };
    *content
}

/// All paths of the tree, each with its inode number, in the order of the walk.
pub(crate) fn paths(tree: &Tree) -> Vec<(String, u32)> {
    let mut paths = Vec::new();
    let mut stack = vec![(String::new(), tree.root)];
    while let Some((path, at)) = stack.pop() {
        let entries = tree.get(at).unwrap().entries();
        for entry in entries.iter().rev() {
            stack.push((format!("{path}/{}", entry.name.escape_ascii()), entry.inode));
        }
        paths.push((path, at.0));
    }
    paths
}

pub(crate) fn set_mtime(path: &Path, time: Timestamp) {
    let time = Timespec { tv_sec: time.sec, tv_nsec: time.nsec.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says loudly that a test needs another user; true if it can run.
pub(crate) fn runs_as_root(what: &str) -> bool {
    if !is_root() {
        eprintln!("NOT TESTED: {what} needs root");
    }
    is_root()
}

/// The opposite: root may do everything.
pub(crate) fn runs_as_user(what: &str) -> bool {
    if is_root() {
        eprintln!("NOT TESTED: {what} needs a user who is not root");
    }
    !is_root()
}

/// A directory on a file system with user xattrs.
pub(crate) fn xattr_dir() -> TempDir {
    let places: [PathBuf; 3] =
        [std::env::temp_dir(), env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from("/dev/shm")];
    for place in &places {
        let Ok(dir) = TempDir::new_in(place) else { continue };
        if xattr::set(dir.path(), "user.probe", b"1").is_ok() {
            xattr::remove(dir.path(), "user.probe").unwrap();
            return dir;
        }
    }
    panic!("user xattrs work in none of {places:?}: set TMPDIR to a file system that has them");
}
