//! The walk over a directory tree: many directories at once, few open descriptors, no recursion.
//!
//! Each task reads one directory, or one batch of the names of a large one, and puts what it found into a
//! shared list. Nothing here depends on order; `assemble` sorts.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use erofs_threads::{Tasks, until_done};
use rustix::fs::{AtFlags, FileType, RawDir, Stat, fstat, major, minor, readlinkat_raw, statat};
use rustix::io::Errno;

use super::kept::{Kept, Refused};
use super::options::DirOptions;
use super::place::{DirTable, Identity, Root, ctime, mtime};
use super::recent::Recent;
use super::skip::Skip;
use super::trust::Trust;
use super::xattrs::{self, Handle, Leaves};
use crate::error::TreeError;
use crate::exclude::Exclude;
use crate::node::{MAX_SYMLINK_LEN, Timestamp, Xattr, push_name};
use crate::progress::Progress;
use crate::validate::{check_name, check_symlink};

/// How many names of a directory one task looks at; a larger directory is shared out.
const BATCH: usize = 1024;
/// How many batches wait at most. Each keeps its directory open.
const BATCHES_MAX: usize = 64;
/// How many bytes of directory entries are read at once.
const READ_LEN: usize = 16 * 1024;

/// What every inode has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) permissions: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: Box<[Xattr]>,
}

impl Meta {
    fn new(stat: &Stat, xattrs: Box<[Xattr]>) -> Self {
        let permissions = (stat.st_mode & 0o7777) as u16;
        Self { permissions, uid: stat.st_uid, gid: stat.st_gid, mtime: mtime(stat), xattrs }
    }
}

/// An inode that is not a directory, as seen under one of its names.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) meta: Meta,
    pub(super) identity: Identity,
    pub(super) ctime: Timestamp,
    /// Whether it has more names, inside the tree or elsewhere.
    pub(super) has_more_names: bool,
    pub(super) trust: Trust,
    pub(super) kind: LeafKind,
}

#[derive(Debug)]
pub(super) enum LeafKind {
    /// The content is there if the file says that it is empty and is not.
    File {
        size: u64,
        kept: Option<Box<[u8]>>,
    },
    Symlink {
        target: Box<[u8]>,
    },
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
    Socket,
}

/// A name in a directory and what it leads to.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: Box<[u8]>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A directory, by its number in the table.
    Directory(u32),
    Leaf(Leaf),
}

/// What one task found: some of the entries of a directory, sorted by name, and once its metadata.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) dir: u32,
    pub(super) meta: Option<Meta>,
    pub(super) found: Vec<Found>,
}

/// What the whole walk found.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) dirs: DirTable,
    pub(super) parts: Vec<Part>,
    pub(super) excluded: u64,
    pub(super) notes: Notes,
}

/// What was left out and is to be said. Both are sorted, so that messages do not depend on the order of the
/// walk.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Paths of entries that were to be skipped.
    pub(super) skipped: Vec<Vec<u8>>,
    /// Names of attributes that the kernel makes up, with the first path that has one.
    pub(super) made_up: BTreeMap<Box<[u8]>, Vec<u8>>,
    /// Paths of files that say that they are empty and are not.
    pub(super) kept: Vec<Vec<u8>>,
}

/// Walks the whole tree, but for what is excluded, on as many threads as the options say.
pub(super) fn walk(
    root: &Root,
    options: &DirOptions,
    exclude: &Exclude,
    progress: &dyn Progress,
) -> Result<Walked, TreeError> {
    let walk = Walk {
        root,
        options,
        exclude,
        progress,
        skip: Skip::new(root.path(), &options.skip, &options.skip_files),
        dirs: Mutex::new(DirTable::new()),
        recent: Recent::default(),
        kept: Kept::default(),
        waiting: AtomicUsize::new(0),
        parts: Mutex::default(),
        errors: Mutex::default(),
        notes: Mutex::default(),
        excluded: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let threads = erofs_threads::count(options.threads);
    until_done("scan", threads, Task::Directory { dir: 0 }, |task, tasks| walk.run(tasks, task));
    let mut errors = walk.errors.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Several threads may fail before all have stopped.
    errors.sort_by(|a, b| a.path().cmp(&b.path()));
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    let mut notes = walk.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    notes.skipped.sort_unstable();
    notes.kept.sort_unstable();
    notes.kept.dedup();
    Ok(Walked {
        dirs: walk.dirs.into_inner().unwrap_or_else(PoisonError::into_inner),
        parts: walk.parts.into_inner().unwrap_or_else(PoisonError::into_inner),
        excluded: walk.excluded.into_inner(),
        notes,
    })
}

struct Walk<'a> {
    root: &'a Root,
    options: &'a DirOptions,
    exclude: &'a Exclude,
    progress: &'a dyn Progress,
    skip: Skip,
    dirs: Mutex<DirTable>,
    recent: Recent,
    kept: Kept,
    /// Batches that nobody has looked at.
    waiting: AtomicUsize,
    parts: Mutex<Vec<Part>>,
    errors: Mutex<Vec<TreeError>>,
    notes: Mutex<Notes>,
    excluded: AtomicU64,
    stop: AtomicBool,
}

enum Task {
    /// Read a directory and look at what is in it.
    Directory { dir: u32 },
    /// Look at these names of a directory.
    Batch { open: Arc<Open>, names: Names },
}

/// Names of directory entries, each with a final NUL, in one allocation.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    items: Vec<(usize, FileType)>,
}

impl Names {
    fn push(&mut self, name: &CStr, file_type: FileType) {
        self.items.push((self.bytes.len(), file_type));
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    fn iter(&self) -> impl Iterator<Item = (&CStr, FileType)> {
        self.items.iter().map(|&(start, file_type)| {
            let bytes = self.bytes.get(start..).unwrap_or_default();
            (CStr::from_bytes_until_nul(bytes).unwrap_or_default(), file_type)
        })
    }
}

/// An open directory that is being looked at.
struct Open {
    dir: u32,
    fd: Arc<OwnedFd>,
    /// The device of its file system.
    dev: u64,
    trust: Trust,
    /// Names that are left out.
    skipped: Vec<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Walk<'_> {
    fn run(&self, tasks: &Tasks<Task>, task: Task) {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let done = match task {
            Task::Directory { dir } => self.directory(tasks, dir),
            Task::Batch { open, names } => self.batch(tasks, &open, &names),
        };
        match done {
            Ok(part) => {
                self.progress.advance(part.found.len() as u64, 0);
                lock(&self.parts).push(part);
            }
            Err(error) => {
                self.stop.store(true, Ordering::Relaxed);
                lock(&self.errors).push(error);
            }
        }
    }

    fn directory(&self, tasks: &Tasks<Task>, dir: u32) -> Result<Part, TreeError> {
        let fd = self.open_directory(dir)?;
        // Its metadata come from the open directory and not from its name, so that entries and metadata
        // belong together and a mount that begins here is taken by its own root.
        let stat = fstat(&fd).map_err(|errno| self.error("stat", dir, None, errno))?;
        let trust =
            Trust::of(fd.as_fd()).map_err(|errno| self.error("find the file system of", dir, None, errno))?;
        let xattrs = if self.options.read_xattrs {
            let made_up = |xattr: &[u8]| self.note_made_up(xattr, || self.path(dir, None));
            xattrs::read(self.root, Handle::Fd(fd.as_fd()), &|| self.path(dir, None), &made_up)?
        } else {
            Box::default()
        };
        let skipped = self.skip.names(&lock(&self.dirs), dir, Identity::of(&stat));
        let open = Arc::new(Open { dir, fd: Arc::new(fd), dev: stat.st_dev, trust, skipped });
        let names = self.names(&open, |names| self.hand_out(tasks, &open, names))?;
        let found = self.look(tasks, &open, &names)?;
        Ok(Part { dir, meta: Some(Meta::new(&stat, xattrs)), found })
    }

    /// Lets others look at a batch, or looks at it now if enough of them wait.
    fn hand_out(&self, tasks: &Tasks<Task>, open: &Arc<Open>, names: Names) {
        let task = Task::Batch { open: Arc::clone(open), names };
        if self.waiting.fetch_add(1, Ordering::Relaxed) < BATCHES_MAX {
            tasks.add(task);
        } else {
            self.run(tasks, task);
        }
    }

    fn batch(&self, tasks: &Tasks<Task>, open: &Open, names: &Names) -> Result<Part, TreeError> {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(Part { dir: open.dir, meta: None, found: self.look(tasks, open, names)? })
    }

    fn open_directory(&self, dir: u32) -> Result<OwnedFd, TreeError> {
        let open = |recent: Option<&Recent>| {
            let way = lock(&self.dirs).way(dir, recent);
            self.root.open_directory(&way, recent)
        };
        let opened = match open(Some(&self.recent)) {
            // Directories that nobody needs must not take the descriptors.
            Err(Errno::MFILE | Errno::NFILE) => {
                self.recent.clear();
                open(None)
            }
            done => done,
        };
        opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => TreeError::Changed {
                path: self.root.join(&self.path(dir, None)),
                what: "file type",
                found: "another kind of file".into(),
                wanted: "a directory".into(),
            },
            _ => self.error("open the directory", dir, None, errno),
        })
    }

    /// The path from the root of a directory, or of an entry of it.
    fn path(&self, dir: u32, name: Option<&CStr>) -> Vec<u8> {
        let dirs = lock(&self.dirs);
        name.map_or_else(|| dirs.path(dir), |name| dirs.path_of_entry(dir, name.to_bytes()))
    }

    fn error(&self, action: &'static str, dir: u32, name: Option<&CStr>, errno: Errno) -> TreeError {
        self.root.error(action, &self.path(dir, name), errno)
    }

    /// Reads the names of a directory; hands out full batches and returns the rest.
    fn names(&self, open: &Open, mut hand_out: impl FnMut(Names)) -> Result<Names, TreeError> {
        let mut buf = [MaybeUninit::uninit(); READ_LEN];
        let mut names = Names::default();
        let rel = (!self.exclude.is_empty()).then(|| self.path(open.dir, None));
        let is_excluded = |name: &CStr| {
            rel.as_ref().is_some_and(|rel| {
                let mut path = rel.clone();
                push_name(&mut path, name.to_bytes());
                self.exclude.matches(&path)
            })
        };
        let mut dir = RawDir::new(&*open.fd, &mut buf);
        while let Some(entry) = dir.next() {
            let entry = entry.map_err(|errno| self.error("read the directory", open.dir, None, errno))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if is_excluded(name) {
                self.excluded.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if names.items.len() == BATCH {
                hand_out(mem::take(&mut names));
            }
            names.push(name, entry.file_type());
        }
        Ok(names)
    }

    /// Looks at each of these names, and sets a task for each directory among them.
    fn look(&self, tasks: &Tasks<Task>, open: &Open, names: &Names) -> Result<Vec<Found>, TreeError> {
        let short = lock(&self.dirs).short_path(open.dir, xattrs::NAMES_MAX);
        let way = || self.path(open.dir, None);
        let mut leaves = Leaves::new(self.root, open.fd.as_fd(), short.as_deref(), &way);
        let (mut found, mut skipped) = self.leaves(open, names, &mut leaves)?;
        if let Err(moved) = leaves.confirm() {
            if open.trust.numbers {
                return Err(moved);
            }
            // It may be the same directory under a new number.
            let mut leaves = Leaves::new(self.root, open.fd.as_fd(), None, &way);
            (found, skipped) = self.leaves(open, names, &mut leaves)?;
        }
        lock(&self.notes).skipped.append(&mut skipped);
        self.number_directories(tasks, open, &mut found)?;
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// What these names lead to, without the numbers of directories, and the paths of those that are left
    /// out.
    fn leaves(
        &self,
        open: &Open,
        names: &Names,
        leaves: &mut Leaves<'_>,
    ) -> Result<(Vec<Found>, Vec<Vec<u8>>), TreeError> {
        let mut found = Vec::with_capacity(names.items.len());
        let mut skipped = Vec::new();
        for (name, file_type) in names.iter() {
            check_name(name.to_bytes()).map_err(|flaw| self.invalid(open, name, flaw))?;
            let mut what = What::Directory(0);
            if file_type != FileType::Directory {
                let stat = statat(&*open.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|errno| self.error("stat", open.dir, Some(name), errno))?;
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                let is_left_out = open.skipped.iter().any(|skipped| skipped == name.to_bytes());
                if !is_directory && (is_left_out || self.skip.has(Identity::of(&stat))) {
                    skipped.push(self.path(open.dir, Some(name)));
                    continue;
                }
                if !is_directory {
                    what = What::Leaf(self.leaf(open, leaves, name, &stat)?);
                }
            }
            found.push(Found { name: name.to_bytes().into(), what });
        }
        Ok((found, skipped))
    }

    fn number_directories(
        &self,
        tasks: &Tasks<Task>,
        open: &Open,
        found: &mut [Found],
    ) -> Result<(), TreeError> {
        let mut dirs = lock(&self.dirs);
        let mut numbers = Vec::new();
        for entry in found {
            if let What::Directory(number) = &mut entry.what {
                *number = dirs.add(open.dir, &entry.name)?;
                numbers.push(*number);
            }
        }
        drop(dirs);
        if !numbers.is_empty() {
            self.recent.keep(open.dir, &open.fd);
        }
        for dir in numbers {
            tasks.add(Task::Directory { dir });
        }
        Ok(())
    }

    fn leaf(
        &self,
        open: &Open,
        leaves: &mut Leaves<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<Leaf, TreeError> {
        let file_type = FileType::from_raw_mode(stat.st_mode);
        // Another device is another file system, mounted on the file.
        let trust = if stat.st_dev == open.dev { open.trust } else { Trust::default() };
        let kind = match file_type {
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let kept = if size == 0 && !trust.sizes { self.keep(open, name)? } else { None };
                LeafKind::File { size, kept }
            }
            FileType::Symlink => LeafKind::Symlink { target: self.symlink(open, name)? },
            FileType::CharacterDevice => {
                LeafKind::CharDevice { major: major(stat.st_rdev), minor: minor(stat.st_rdev) }
            }
            FileType::BlockDevice => {
                LeafKind::BlockDevice { major: major(stat.st_rdev), minor: minor(stat.st_rdev) }
            }
            FileType::Fifo => LeafKind::Fifo,
            FileType::Socket => LeafKind::Socket,
            FileType::Directory | FileType::Unknown => {
                let found = format!("mode {:#o}", stat.st_mode);
                return Err(self.invalid(open, name, ("file type", found, "a kind of file that Linux has")));
            }
        };
        let xattrs = if self.options.read_xattrs {
            let path = || self.path(open.dir, Some(name));
            leaves.read(name, file_type, &|xattr| self.note_made_up(xattr, path))?
        } else {
            Box::default()
        };
        Ok(Leaf {
            meta: Meta::new(stat, xattrs),
            identity: Identity::of(stat),
            ctime: ctime(stat),
            has_more_names: stat.st_nlink > 1,
            trust,
            kind,
        })
    }

    /// The content of a file that says it is empty, if it is not.
    fn keep(&self, open: &Open, name: &CStr) -> Result<Option<Box<[u8]>>, TreeError> {
        let content = self.kept.read(self.root, open.fd.as_fd(), name.to_bytes());
        let content = content.map_err(|refused| match refused {
            Refused::Open(errno) => self.error("open", open.dir, Some(name), errno),
            Refused::Read(errno) => self.error("read", open.dir, Some(name), errno),
            Refused::Long => {
                let found = "0 and too much content to keep".to_owned();
                self.invalid(open, name, ("size", found, "the length of the content"))
            }
        })?;
        if content.is_empty() {
            return Ok(None);
        }
        lock(&self.notes).kept.push(self.path(open.dir, Some(name)));
        Ok(Some(content))
    }

    fn symlink(&self, open: &Open, name: &CStr) -> Result<Box<[u8]>, TreeError> {
        // One byte more than the longest target shows that one is longer.
        let mut buf = [0; MAX_SYMLINK_LEN + 1];
        let len = readlinkat_raw(&*open.fd, name, &mut buf)
            .map_err(|errno| self.error("read the symbolic link", open.dir, Some(name), errno))?;
        let target = buf.get(..len).unwrap_or_default();
        check_symlink(target).map_err(|flaw| self.invalid(open, name, flaw))?;
        Ok(target.into())
    }

    fn note_made_up(&self, name: &[u8], path: impl Fn() -> Vec<u8>) {
        let path = path();
        let mut notes = lock(&self.notes);
        match notes.made_up.get_mut(name) {
            Some(first) if *first <= path => {}
            Some(first) => *first = path,
            None => {
                notes.made_up.insert(name.into(), path);
            }
        }
    }

    fn invalid(
        &self,
        open: &Open,
        name: &CStr,
        (what, found, wanted): (&'static str, String, &'static str),
    ) -> TreeError {
        TreeError::Invalid { path: self.root.join(&self.path(open.dir, Some(name))), what, found, wanted }
    }
}
