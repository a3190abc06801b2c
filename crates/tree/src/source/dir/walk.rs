//! The walk over a directory tree: many directories at once, one open descriptor for each thread, no recursion.
//!
//! Each task reads one directory, or one batch of the names of a large one, and puts what it found into a shared list.
//! Nothing here depends on order; `assemble` sorts.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use erofs_threads::{Tasks, until_done};
use rustix::fs::{AtFlags, FileType, RawDir, Stat, fstat, major, minor, readlinkat_raw, statat};
use rustix::io::Errno;

use super::DirOptions;
use super::place::{DirTable, Identity, Root, ctime, mtime, push_name};
use super::xattrs::{self, Handle, Leaves};
use crate::error::TreeError;
use crate::node::{MAX_SYMLINK_LEN, Timestamp, Xattr};
use crate::progress::Progress;
use crate::validate::{check_name, check_symlink};

/// How many names of a directory one task looks at; a larger directory is shared out.
const BATCH: usize = 1024;
/// How many bytes of directory entries are read at once.
const READ_LEN: usize = 16 * 1024;

/// What every inode has.
#[derive(Debug)]
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
    pub(super) kind: LeafKind,
}

#[derive(Debug)]
pub(super) enum LeafKind {
    File { size: u64 },
    Symlink { target: Box<[u8]> },
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
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

/// What was left out and is to be said. Both are sorted, so that messages do not depend on the order of the walk.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Paths of entries that were to be skipped.
    pub(super) skipped: Vec<Vec<u8>>,
    /// Names of attributes that the kernel makes up, with the first path that has one.
    pub(super) made_up: BTreeMap<Box<[u8]>, Vec<u8>>,
}

/// Walks the whole tree on as many threads as the options say.
pub(super) fn walk(root: &Root, options: &DirOptions, progress: &dyn Progress) -> Result<Walked, TreeError> {
    let walk = Walk {
        root,
        options,
        progress,
        dirs: Mutex::new(DirTable::new()),
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
    progress: &'a dyn Progress,
    dirs: Mutex<DirTable>,
    parts: Mutex<Vec<Part>>,
    errors: Mutex<Vec<TreeError>>,
    notes: Mutex<Notes>,
    excluded: AtomicU64,
    stop: AtomicBool,
}

enum Task {
    /// Read a directory and look at what is in it.
    Directory { dir: u32 },
    /// Look at these names of a directory that is known to be this one.
    Batch { dir: u32, identity: Identity, names: Names },
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
struct Open<'a> {
    dir: u32,
    rel: &'a [u8],
    fd: BorrowedFd<'a>,
}

impl Open<'_> {
    fn path(&self, name: &CStr) -> Vec<u8> {
        let mut path = self.rel.to_vec();
        push_name(&mut path, name.to_bytes());
        path
    }
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
            Task::Batch { dir, identity, names } => self.batch(tasks, dir, identity, &names),
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
        let rel = lock(&self.dirs).path(dir);
        let fd = self.open_directory(&rel)?;
        // Its metadata come from the open directory and not from its name, so that entries and metadata belong together
        // and a mount that begins here is taken by its own root.
        let stat = fstat(&fd).map_err(|errno| self.root.error("stat", &rel, errno))?;
        let xattrs = if self.options.read_xattrs {
            let made_up = |xattr: &[u8]| self.note_made_up(xattr, || rel.clone());
            xattrs::read(self.root, Handle::Fd(fd.as_fd()), &|| rel.clone(), &made_up)?
        } else {
            Box::default()
        };
        let open = Open { dir, rel: &rel, fd: fd.as_fd() };
        let names = self.names(&open, |names| {
            tasks.add(Task::Batch { dir, identity: Identity::of(&stat), names });
        })?;
        let found = self.look(tasks, &open, &names)?;
        Ok(Part { dir, meta: Some(Meta::new(&stat, xattrs)), found })
    }

    fn batch(
        &self,
        tasks: &Tasks<Task>,
        dir: u32,
        identity: Identity,
        names: &Names,
    ) -> Result<Part, TreeError> {
        let rel = lock(&self.dirs).path(dir);
        let fd = self.open_directory(&rel)?;
        let stat = fstat(&fd).map_err(|errno| self.root.error("stat", &rel, errno))?;
        let found = Identity::of(&stat);
        if found != identity {
            return Err(self.root.moved(&rel, found, identity));
        }
        let open = Open { dir, rel: &rel, fd: fd.as_fd() };
        Ok(Part { dir, meta: None, found: self.look(tasks, &open, names)? })
    }

    fn open_directory(&self, rel: &[u8]) -> Result<std::os::fd::OwnedFd, TreeError> {
        self.root.open_directory(rel).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => TreeError::Changed {
                path: self.root.join(rel),
                what: "file type",
                found: "another kind of file".into(),
                wanted: "a directory".into(),
            },
            _ => self.root.error("open the directory", rel, errno),
        })
    }

    /// Reads the names of a directory; hands out full batches and returns the rest.
    fn names(&self, open: &Open<'_>, mut hand_out: impl FnMut(Names)) -> Result<Names, TreeError> {
        let mut buf = [MaybeUninit::uninit(); READ_LEN];
        let mut names = Names::default();
        let mut dir = RawDir::new(open.fd, &mut buf);
        while let Some(entry) = dir.next() {
            let entry = entry.map_err(|errno| self.root.error("read the directory", open.rel, errno))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if !self.options.exclude.is_empty() && self.options.exclude.matches(&open.path(name)) {
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
    fn look(&self, tasks: &Tasks<Task>, open: &Open<'_>, names: &Names) -> Result<Vec<Found>, TreeError> {
        let mut found = Vec::with_capacity(names.items.len());
        let mut leaves = Leaves::new(self.root, open.fd, open.rel);
        for (name, file_type) in names.iter() {
            check_name(name.to_bytes()).map_err(|flaw| self.invalid(&open.path(name), flaw))?;
            let what = if file_type == FileType::Directory {
                None
            } else {
                let stat = statat(open.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|errno| self.root.error("stat", &open.path(name), errno))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    None
                } else if self.options.skip.contains(&(stat.st_dev, stat.st_ino)) {
                    lock(&self.notes).skipped.push(open.path(name));
                    continue;
                } else {
                    Some(What::Leaf(self.leaf(open, &mut leaves, name, &stat)?))
                }
            };
            // Directories get their numbers together below.
            let what = what.unwrap_or(What::Directory(0));
            found.push(Found { name: name.to_bytes().into(), what });
        }
        leaves.confirm()?;
        self.number_directories(tasks, open.dir, &mut found)?;
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn number_directories(
        &self,
        tasks: &Tasks<Task>,
        parent: u32,
        found: &mut [Found],
    ) -> Result<(), TreeError> {
        let mut dirs = lock(&self.dirs);
        let mut numbers = Vec::new();
        for entry in found {
            if let What::Directory(number) = &mut entry.what {
                *number = dirs.add(parent, &entry.name)?;
                numbers.push(*number);
            }
        }
        drop(dirs);
        for dir in numbers {
            tasks.add(Task::Directory { dir });
        }
        Ok(())
    }

    fn leaf(
        &self,
        open: &Open<'_>,
        leaves: &mut Leaves<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<Leaf, TreeError> {
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let kind = match file_type {
            FileType::RegularFile => LeafKind::File { size: u64::try_from(stat.st_size).unwrap_or(0) },
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
                return Err(
                    self.invalid(&open.path(name), ("file type", found, "a kind of file that Linux has"))
                );
            }
        };
        let xattrs = if self.options.read_xattrs {
            leaves.read(name, file_type, &|xattr| self.note_made_up(xattr, || open.path(name)))?
        } else {
            Box::default()
        };
        Ok(Leaf {
            meta: Meta::new(stat, xattrs),
            identity: Identity::of(stat),
            ctime: ctime(stat),
            has_more_names: stat.st_nlink > 1,
            kind,
        })
    }

    fn symlink(&self, open: &Open<'_>, name: &CStr) -> Result<Box<[u8]>, TreeError> {
        // One byte more than the longest target shows that one is longer.
        let mut buf = [0; MAX_SYMLINK_LEN + 1];
        let len = readlinkat_raw(open.fd, name, &mut buf)
            .map_err(|errno| self.root.error("read the symbolic link", &open.path(name), errno))?;
        let target = buf.get(..len).unwrap_or_default();
        check_symlink(target).map_err(|flaw| self.invalid(&open.path(name), flaw))?;
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

    fn invalid(&self, rel: &[u8], (what, found, wanted): (&'static str, String, &'static str)) -> TreeError {
        TreeError::Invalid { path: self.root.join(rel), what, found, wanted }
    }
}
