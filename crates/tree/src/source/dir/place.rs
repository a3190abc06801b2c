//! Where directories and files of the source are, and how they are opened without ever following a symbolic
//! link.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat, stat};
use rustix::io::Errno;

use super::recent::Recent;
use crate::error::{TreeError, to_path};
use crate::node::{Timestamp, push_name};

/// The longest path that one system call takes, without the final NUL (Linux's `PATH_MAX` - 1).
pub(super) const MAX_PATH_LEN: usize = 4095;

/// How a directory is opened that only leads to others.
const WAY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// So many names are walked in one step. At the end of each step the directory is kept open for what comes
/// next, so that the time for a tree does not grow with the square of its depth.
const STRIDE: usize = 64;

/// The variable by which the loader puts libraries before libc, such as fakeroot's and pseudo's.
const PRELOAD: &str = "LD_PRELOAD";

/// What an inode is known by: the device of its file system and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { dev: stat.st_dev, ino: stat.st_ino }
    }
}

pub(super) fn mtime(stat: &Stat) -> Timestamp {
    Timestamp { sec: stat.st_mtime, nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) }
}

pub(super) fn ctime(stat: &Stat) -> Timestamp {
    Timestamp { sec: stat.st_ctime, nsec: u32::try_from(stat.st_ctime_nsec).unwrap_or(0) }
}

/// The root of the source, open as long as the source lives: the tree stays the same one if it is renamed.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    path: PathBuf,
    /// Whether openat2 works; kernels before 5.6 and some sandboxes lack it.
    has_openat2: bool,
    /// Whether `O_NOATIME` is worth a try: it is refused on files of other owners.
    noatime: AtomicBool,
    /// `/proc/N/fd/`, if that leads to our own descriptors.
    descriptors: Option<Vec<u8>>,
}

impl Root {
    /// Opens the root; it may be a symbolic link to a directory.
    pub(super) fn open(path: PathBuf) -> Result<Self, TreeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, &path, flags, Mode::empty())
            .map_err(|errno| io_error("open the directory", path.clone(), errno))?;
        // Libc has no function for openat2. pseudo knows of descriptors what the functions that it wraps have
        // opened, and fails in `fstatat` below any other.
        let is_wrapped = std::env::var_os(PRELOAD).is_some_and(|libraries| !libraries.is_empty());
        let probe = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let has_openat2 =
            !is_wrapped && openat2(&fd, c".", probe, Mode::empty(), ResolveFlags::NO_SYMLINKS).is_ok();
        let descriptors = own_descriptors(fd.as_fd());
        Ok(Self { fd, path, has_openat2, noatime: AtomicBool::new(true), descriptors })
    }

    /// As the user gave it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something inside, for messages and for calls that know nothing but paths.
    pub(super) fn join(&self, rel: &[u8]) -> PathBuf {
        if rel.is_empty() { self.path.clone() } else { self.path.join(to_path(rel)) }
    }

    /// The error for a failed call on something inside. What is missing now was there when it was listed.
    pub(super) fn error(&self, action: &'static str, rel: &[u8], errno: Errno) -> TreeError {
        let path = self.join(rel);
        if errno == Errno::NOENT { TreeError::Vanished { path } } else { io_error(action, path, errno) }
    }

    /// A path by which calls that know no descriptors reach an open directory: through the descriptor, or its
    /// path from the root where proc is not mounted.
    pub(super) fn call_path(&self, dir: BorrowedFd<'_>, rel: impl Fn() -> Vec<u8>) -> Vec<u8> {
        match &self.descriptors {
            Some(descriptors) => [descriptors, dir.as_raw_fd().to_string().as_bytes()].concat(),
            None => self.join(&rel()).as_os_str().as_bytes().to_vec(),
        }
    }

    /// The error for a directory that is no longer the same one.
    pub(super) fn moved(&self, rel: &[u8], found: Identity, wanted: Identity) -> TreeError {
        TreeError::Changed {
            path: self.join(rel),
            what: "inode",
            found: found.to_string(),
            wanted: wanted.to_string(),
        }
    }

    /// Opens the directory at the end of a way to read it.
    pub(super) fn open_directory(&self, way: &Way, recent: Option<&Recent>) -> Result<OwnedFd, Errno> {
        let (from, rest) = self.approach(way, recent)?;
        self.open_from(self.from(from.as_ref()), rest, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// The directory at the end of a way, to open what is in it.
    pub(super) fn reach(&self, way: &Way, recent: &Recent) -> Result<OwnedFd, Errno> {
        let (from, rest) = self.approach(way, Some(recent))?;
        self.walk(self.from(from.as_ref()), rest, WAY)
    }

    /// Opens the file of this name in the directory at the end of a way.
    pub(super) fn open_file(&self, way: &Way, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let (from, rest) = self.approach(way, None)?;
        let mut path = rest.to_vec();
        push_name(&mut path, name);
        self.open_from(self.from(from.as_ref()), &path, flags)
    }

    /// Goes all steps of a way but the last one. The directories where a step ends stay open in `recent`.
    fn approach<'w>(
        &self,
        way: &'w Way,
        recent: Option<&Recent>,
    ) -> Result<(Option<Arc<OwnedFd>>, &'w [u8]), Errno> {
        let mut from = way.from.clone();
        let Some((last, before)) = way.steps.split_last() else { return Ok((from, &[])) };
        for step in before {
            let reached = Arc::new(self.walk(self.from(from.as_ref()), &step.path, WAY)?);
            if let Some(recent) = recent {
                recent.keep(step.to, &reached);
            }
            from = Some(reached);
        }
        Ok((from, &last.path))
    }

    fn from<'f>(&'f self, from: Option<&'f Arc<OwnedFd>>) -> BorrowedFd<'f> {
        from.map_or(&self.fd, AsRef::as_ref).as_fd()
    }

    /// Opens what is at a path from a directory, that itself at the empty path. No part of the path is
    /// followed if it is a symbolic link, and access times stay as they are where the kernel allows it. Paths
    /// may be of any length.
    pub(super) fn open_from(
        &self,
        from: BorrowedFd<'_>,
        rel: &[u8],
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if self.noatime.load(Ordering::Relaxed) {
            match self.walk(from, rel, flags | OFlags::NOATIME) {
                Err(Errno::PERM) => {}
                done => return done,
            }
            let done = self.walk(from, rel, flags)?;
            self.noatime.store(false, Ordering::Relaxed);
            return Ok(done);
        }
        self.walk(from, rel, flags)
    }

    fn walk(&self, start: BorrowedFd<'_>, rel: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        if rel.is_empty() {
            return self.step(start, b".", flags);
        }
        let mut reached: Option<OwnedFd> = None;
        let mut rest = rel;
        loop {
            let (piece, after) = self.first_piece(rest);
            let from = reached.as_ref().map_or(start, AsFd::as_fd);
            let Some(after) = after else {
                return self.step(from, piece, flags);
            };
            reached = Some(self.step(from, piece, WAY)?);
            rest = after;
        }
    }

    /// As much of a path as one call can take, and what is left of it after the slash.
    fn first_piece<'p>(&self, path: &'p [u8]) -> (&'p [u8], Option<&'p [u8]>) {
        if self.has_openat2 && path.len() <= MAX_PATH_LEN {
            return (path, None);
        }
        let slash = if self.has_openat2 {
            path.iter().take(MAX_PATH_LEN + 1).rposition(|&byte| byte == b'/')
        } else {
            path.iter().position(|&byte| byte == b'/')
        };
        match slash.and_then(|at| path.split_at_checked(at)) {
            Some((piece, after)) => (piece, after.get(1..)),
            None => (path, None),
        }
    }

    fn step(&self, from: BorrowedFd<'_>, piece: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.has_openat2 {
            openat2(from, piece, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        } else {
            openat(from, piece, flags, Mode::empty())
        }
    }
}

/// `/proc/N/fd/`, if proc is mounted and the descriptor is found there.
///
/// The number is taken from the link `/proc/self`, which is right in every pid namespace.
fn own_descriptors(fd: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let number = readlinkat(CWD, c"/proc/self", Vec::new()).ok()?;
    let prefix = [b"/proc/", number.as_bytes(), b"/fd/"].concat();
    let through = [prefix.as_slice(), fd.as_raw_fd().to_string().as_bytes(), b"/"].concat();
    let found = stat(through.as_slice()).ok()?;
    let wanted = fstat(fd).ok()?;
    (Identity::of(&found) == Identity::of(&wanted)).then_some(prefix)
}

pub(super) fn io_error(action: &'static str, path: PathBuf, errno: Errno) -> TreeError {
    TreeError::Io { action, path, source: errno.into() }
}

/// All directories of the source, by number; each knows its parent and its name. Number 0 is the root.
#[derive(Debug)]
pub(super) struct DirTable {
    records: Vec<DirRecord>,
}

#[derive(Debug)]
struct DirRecord {
    parent: u32,
    name: Box<[u8]>,
}

impl DirTable {
    pub(super) fn new() -> Self {
        Self { records: vec![DirRecord { parent: 0, name: Box::default() }] }
    }

    /// Adds a directory and gives its number.
    pub(super) fn add(&mut self, parent: u32, name: &[u8]) -> Result<u32, TreeError> {
        let number = u32::try_from(self.records.len())
            .map_err(|_| TreeError::TooMany { what: "directories", limit: u64::from(u32::MAX) })?;
        self.records.push(DirRecord { parent, name: name.into() });
        Ok(number)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The directory above; the root is above itself.
    fn parent(&self, dir: u32) -> u32 {
        self.records.get(dir as usize).map_or(0, |record| record.parent)
    }

    /// The path from the root of a directory, without a leading slash.
    pub(super) fn path(&self, dir: u32) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = dir;
        while let Some(record) = self.records.get(at as usize).filter(|_| at != 0) {
            names.push(record.name.as_ref());
            at = record.parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The path from the root of a directory, if it has at most so many names.
    pub(super) fn short_path(&self, dir: u32, names_max: usize) -> Option<Vec<u8>> {
        let mut at = dir;
        for _ in 0..names_max {
            at = self.parent(at);
        }
        (at == 0).then(|| self.path(dir))
    }

    /// The way to a directory from the nearest one above it that is open, or from the root if none is to be
    /// looked for.
    pub(super) fn way(&self, dir: u32, recent: Option<&Recent>) -> Way {
        let mut from = None;
        let mut numbers = Vec::new();
        let mut at = dir;
        while at != 0 {
            from = recent.and_then(|recent| recent.get(at));
            if from.is_some() {
                break;
            }
            numbers.push(at);
            at = self.parent(at);
        }
        numbers.reverse();
        let step = |numbers: &[u32]| {
            let names = numbers.iter().filter_map(|&number| self.records.get(number as usize));
            let names: Vec<&[u8]> = names.map(|record| record.name.as_ref()).collect();
            Step { path: names.join(&b'/'), to: numbers.last().copied().unwrap_or(0) }
        };
        Way { from, steps: numbers.chunks(STRIDE).map(step).collect() }
    }

    /// The path from the root of an entry of a directory.
    pub(super) fn path_of_entry(&self, dir: u32, name: &[u8]) -> Vec<u8> {
        let mut path = self.path(dir);
        push_name(&mut path, name);
        path
    }
}

/// A way to a directory: from one that is open, or else from the root.
#[derive(Debug)]
pub(super) struct Way {
    from: Option<Arc<OwnedFd>>,
    steps: Vec<Step>,
}

impl Way {
    /// The way to a directory that is open.
    pub(super) fn at(fd: Arc<OwnedFd>) -> Self {
        Self { from: Some(fd), steps: Vec::new() }
    }

    /// Whether the directory itself is open, or is the root.
    pub(super) fn is_there(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the way takes more than one step.
    pub(super) fn is_long(&self) -> bool {
        self.steps.len() > 1
    }
}

/// A part of a way: up to [`STRIDE`] names.
#[derive(Debug)]
struct Step {
    path: Vec<u8>,
    /// The directory to which it leads.
    to: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_into_pieces_that_a_call_can_take() {
        let dir = tempfile::tempdir().unwrap();
        let mut root = Root::open(dir.path().to_owned()).unwrap();
        let long = [b'n'; 255];
        let path = [long.as_slice(); 40].join(&b'/');
        for has_openat2 in [true, false] {
            root.has_openat2 = has_openat2;
            let mut rest = path.as_slice();
            let mut pieces = Vec::new();
            loop {
                let (piece, after) = root.first_piece(rest);
                assert!(piece.len() <= MAX_PATH_LEN && !piece.is_empty());
                pieces.push(piece);
                let Some(after) = after else { break };
                rest = after;
            }
            assert_eq!(pieces.join(&b'/'), path);
            assert_eq!(pieces.len(), if has_openat2 { 3 } else { 40 });
        }
    }

    #[test]
    fn symbolic_links_are_never_followed_with_and_without_openat2() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("real/deep")).unwrap();
        std::fs::write(dir.path().join("real/deep/file"), b"x").unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("real/deep/link")).unwrap();
        let mut root = Root::open(dir.path().to_owned()).unwrap();
        let mut dirs = DirTable::new();
        let link = dirs.add(0, b"link").unwrap();
        let in_link = dirs.add(link, b"deep").unwrap();
        let real = dirs.add(0, b"real").unwrap();
        let deep = dirs.add(real, b"deep").unwrap();
        let file = dirs.add(deep, b"file").unwrap();
        for has_openat2 in [true, false] {
            root.has_openat2 = has_openat2;
            for (dir, name, want) in [
                (0, &b"link"[..], Err(Errno::LOOP)),
                (real, b"deep", Ok(())),
                (deep, b"file", Ok(())),
                (deep, b"link", Err(Errno::LOOP)),
                (deep, b"none", Err(Errno::NOENT)),
            ] {
                let recent = Recent::default();
                let way = dirs.way(dir, None);
                let open = |way: &Way| root.open_file(way, name, OFlags::RDONLY).map(drop);
                assert_eq!(open(&way), want);
                let reached = Arc::new(root.reach(&way, &recent).unwrap());
                assert_eq!(open(&Way::at(reached)), want);
                root.open_directory(&way, Some(&recent)).unwrap();
            }
            for (dir, name) in [(in_link, &b"file"[..]), (file, b"x")] {
                let way = dirs.way(dir, None);
                assert!(matches!(root.reach(&way, &Recent::default()), Err(Errno::LOOP | Errno::NOTDIR)));
                let opened = root.open_file(&way, name, OFlags::RDONLY);
                assert!(matches!(opened, Err(Errno::LOOP | Errno::NOTDIR)));
            }
        }
    }

    #[test]
    fn ways_start_at_the_nearest_open_directory() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path().to_owned()).unwrap();
        let mut dirs = DirTable::new();
        let mut path = place.path().to_owned();
        let chain: Vec<u32> = (0..150)
            .map(|number| {
                path.push("d");
                std::fs::create_dir(&path).unwrap();
                dirs.add(number, b"d").unwrap()
            })
            .collect();
        let last = chain[149];
        assert_eq!(dirs.short_path(last, 149), None);
        assert_eq!(dirs.short_path(last, 150), Some([b"d".as_slice(); 150].join(&b'/')));
        assert_eq!(dirs.short_path(0, 0), Some(Vec::new()));

        let recent = Recent::default();
        let steps = |way: &Way| way.steps.iter().map(|step| step.path.len().div_ceil(2)).collect::<Vec<_>>();
        let way = dirs.way(last, Some(&recent));
        assert_eq!((steps(&way), way.is_long(), way.is_there()), (vec![64, 64, 22], true, false));
        recent.keep(last, &Arc::new(root.reach(&way, &recent).unwrap()));
        assert!(dirs.way(last, Some(&recent)).is_there());
        for (dir, want) in
            [(149, vec![21]), (129, vec![1]), (128, vec![]), (127, vec![63]), (65, vec![1]), (63, vec![63])]
        {
            let way = dirs.way(dir, Some(&recent));
            assert_eq!(steps(&way), want, "{dir}");
            root.open_directory(&way, Some(&recent)).unwrap();
        }
        let found = Identity::of(&fstat(root.reach(&dirs.way(last, None), &recent).unwrap()).unwrap());
        assert_eq!(found, Identity::of(&stat(&path).unwrap()));
    }
}
