//! A local directory as a source.
//!
//! The scan looks at everything once (`walk`), then sorts it into a tree (`assemble`). What it saw of each
//! regular file is kept and compared when the file is opened and again after it is read, so that a tree that
//! changes underneath gives an error and never a wrong image. Compared is the file, not the way to it: where
//! a directory is moved meanwhile, its files may still be found.

mod assemble;
mod holes;
mod kept;
mod options;
mod owners;
mod place;
mod read;
mod recent;
mod same;
mod skip;
mod trust;
mod walk;
mod xattrs;

use std::fmt::{self, Display};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FileType, OFlags, Stat, fadvise, fstat};
use rustix::io::Errno;

use self::assemble::{FileRecord, FileTable, assemble};
use self::holes::Holes;
pub use self::options::DirOptions;
pub use self::owners::Unmapped;
use self::place::{DirTable, Identity, Root, Way, ctime, io_error, mtime};
use self::recent::Recent;
use self::same::Contents;
use self::walk::{Notes, walk};
use super::port::{Content, Source};
use crate::error::{TreeError, show_bytes, show_path, to_path};
use crate::exclude::Exclude;
use crate::node::{ContentRef, Timestamp, Tree};
use crate::progress::{Progress, Stage};

/// From this length on in bytes the kernel is told that a file is read from the beginning to the end.
const SEQUENTIAL_LEN: u64 = 1 << 20;

/// A local directory.
///
/// Symbolic links are stored and never followed, but for the root itself, which may be one. Mounts inside are
/// entered. Names with the same device and inode number, a link count above one and the same metadata are one
/// inode with several names; on file systems whose numbers are made up, the content has to be the same as
/// well.
///
/// All metadata are read through functions of libc, so that they are those that fakeroot and pseudo show.
#[derive(Debug)]
pub struct DirSource {
    root: Root,
    options: DirOptions,
    exclude: Exclude,
    dirs: DirTable,
    recent: Recent,
    files: FileTable,
    excluded: u64,
    warnings: Vec<String>,
}

impl DirSource {
    /// Opens the directory; nothing is read before [`scan`](Source::scan). A relative path has to lead to the
    /// same directory until the scan is over.
    ///
    /// # Errors
    ///
    /// [`TreeError::Io`] if it cannot be opened or is no directory.
    pub fn new(root: impl Into<PathBuf>, options: DirOptions) -> Result<Self, TreeError> {
        Ok(Self {
            root: Root::open(root.into())?,
            options,
            exclude: Exclude::new(),
            dirs: DirTable::new(),
            recent: Recent::default(),
            files: FileTable::default(),
            excluded: 0,
            warnings: Vec::new(),
        })
    }

    /// The directory as it was given.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// How many entries the last scan left out by rules ([`Source::leave_out`]); a directory counts once,
    /// whatever is in it.
    pub fn excluded(&self) -> u64 {
        self.excluded
    }

    fn record(&self, content: ContentRef) -> Result<&FileRecord, TreeError> {
        let unknown = TreeError::UnknownContent { found: content.0, files: self.files.len() };
        self.files.get(content).ok_or(unknown)
    }

    fn path_of(&self, record: &FileRecord) -> PathBuf {
        self.root.join(&self.dirs.path_of_entry(record.dir, self.files.name(record)))
    }

    fn check(&self, record: &FileRecord, stat: &Stat) -> Result<(), TreeError> {
        let found = FileType::from_raw_mode(stat.st_mode);
        if found != FileType::RegularFile {
            return Err(self.changed(
                record,
                "file type",
                &kind_name(found),
                &kind_name(FileType::RegularFile),
            ));
        }
        let found = Identity::of(stat);
        // Some file systems number a file anew whenever it is looked up.
        let is_same =
            if record.trust.numbers { found == record.identity } else { found.dev == record.identity.dev };
        if !is_same {
            return Err(self.changed(record, "inode", &found, &record.identity));
        }
        let found = u64::try_from(stat.st_size).unwrap_or(0);
        if found != record.size {
            return Err(self.changed(record, "size", &found, &record.size));
        }
        for (what, found, wanted) in
            [("mtime", mtime(stat), record.mtime()), ("ctime", ctime(stat), record.ctime())]
        {
            if found != wanted {
                return Err(self.changed(record, what, &Seconds(found), &Seconds(wanted)));
            }
        }
        Ok(())
    }

    fn changed(
        &self,
        record: &FileRecord,
        what: &'static str,
        found: &dyn Display,
        wanted: &dyn Display,
    ) -> TreeError {
        let path = self.path_of(record);
        TreeError::Changed { path, what, found: found.to_string(), wanted: wanted.to_string() }
    }

    /// Opens a file from the nearest directory above it that is open, or from the root.
    fn open_in_place(&self, record: &FileRecord, flags: OFlags) -> Result<OwnedFd, Errno> {
        let name = self.files.name(record);
        match self.open_nearby(record, name, flags) {
            // Directories must not take the descriptors that files need.
            Err(Errno::MFILE | Errno::NFILE) => {
                self.recent.clear();
                self.root.open_file(&self.dirs.way(record.dir, None), name, flags)
            }
            done => done,
        }
    }

    fn open_nearby(&self, record: &FileRecord, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut way = self.dirs.way(record.dir, Some(&self.recent));
        let is_repeated = self.recent.is_repeated(record.dir);
        if !way.is_there() && (is_repeated || way.is_long()) {
            let dir = Arc::new(self.root.reach(&way, &self.recent)?);
            self.recent.keep(record.dir, &dir);
            way = Way::at(dir);
        }
        self.root.open_file(&way, name, flags)
    }

    fn open_error(&self, record: &FileRecord, errno: Errno) -> TreeError {
        match errno {
            Errno::NOENT => TreeError::Vanished { path: self.path_of(record) },
            // A symbolic link, a path that goes through one, and a socket.
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO => {
                self.changed(record, "file type", &"another kind of file", &kind_name(FileType::RegularFile))
            }
            _ => io_error("open", self.path_of(record), errno),
        }
    }
}

impl Source for DirSource {
    fn scan(&mut self, progress: &dyn Progress) -> Result<Tree, TreeError> {
        progress.begin(Stage::Scan, 0, 0);
        let walked = walk(&self.root, &self.options, &self.exclude, progress);
        let scanned = walked.and_then(|walked| {
            let contents = Contents { root: &self.root, dirs: &walked.dirs };
            let (tree, files) = assemble(contents, walked.parts, self.options.hard_dereference)?;
            let owners = owners::check(&tree, self.options.unmapped_users, self.options.unmapped_groups)?;
            self.dirs = walked.dirs;
            // Numbers begin anew.
            self.recent = Recent::default();
            self.files = files;
            self.excluded = walked.excluded;
            self.warnings = describe(&walked.notes);
            self.warnings.extend(owners);
            Ok(tree)
        });
        progress.end(Stage::Scan);
        scanned
    }

    fn leave_out(&mut self, exclude: &Exclude) -> bool {
        self.exclude = exclude.clone();
        true
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        let record = self.record(content)?;
        if let Some(kept) = self.files.kept(content) {
            return Ok(Box::new(KeptContent(kept)));
        }
        // Without O_NONBLOCK a pipe that has taken the place of the file would hang here for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_in_place(record, flags).map_err(|errno| self.open_error(record, errno))?;
        let stat = fstat(&fd).map_err(|errno| io_error("stat", self.path_of(record), errno))?;
        self.check(record, &stat)?;
        let file = OpenFile { source: self, record, fd, holes: Holes::new(&stat) };
        if record.size >= SEQUENTIAL_LEN {
            // Advice that is not taken costs time only.
            let _ = fadvise(&file.fd, 0, None, Advice::Sequential);
        }
        Ok(Box::new(file))
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.record(content).map(|record| self.path_of(record)).unwrap_or_default()
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

/// An open regular file of a directory source.
struct OpenFile<'a> {
    source: &'a DirSource,
    record: &'a FileRecord,
    fd: OwnedFd,
    holes: Holes,
}

impl Content for OpenFile<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, TreeError> {
        let failed = |errno| io_error("read", self.source.path_of(self.record), errno);
        let filled = self.holes.read(self.fd.as_fd(), offset, buf).map_err(failed)?;
        let end = offset.saturating_add(filled as u64);
        // The size of a local file is checked by `finish`; others may have more content than they say.
        if !self.record.trust.sizes && end >= self.record.size && filled == buf.len() {
            let more = read::read(self.fd.as_fd(), end.max(self.record.size), &mut [0]).map_err(failed)?;
            if more != 0 {
                return Err(TreeError::Invalid {
                    path: self.source.path_of(self.record),
                    what: "size",
                    found: format!("{} and content behind that", self.record.size),
                    wanted: "the length of the content",
                });
            }
        }
        Ok(filled)
    }

    fn data_from(&self, offset: u64) -> u64 {
        self.holes.data_from(self.fd.as_fd(), offset)
    }

    fn finish(&self) -> Result<(), TreeError> {
        let stat =
            fstat(&self.fd).map_err(|errno| io_error("stat", self.source.path_of(self.record), errno))?;
        self.source.check(self.record, &stat)
    }
}

/// A content that came with the scan.
struct KeptContent<'a>(&'a [u8]);

impl Content for KeptContent<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, TreeError> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }

    fn finish(&self) -> Result<(), TreeError> {
        Ok(())
    }
}

/// One line for each thing that was left out or is not what it says.
fn describe(notes: &Notes) -> Vec<String> {
    let skipped = notes
        .skipped
        .iter()
        .map(|path| format!("{}: skipped, it is being written", show_path(&to_path(path))));
    let made_up = notes.made_up.iter().map(|(name, path)| {
        let path = if path.is_empty() { to_path(b"/") } else { to_path(path) };
        format!(
            "extended attribute {} is made up by the kernel and is not stored (first on {})",
            show_bytes(name),
            show_path(&path)
        )
    });
    let kept = notes.kept.first().map(|first| {
        let files = match notes.kept.len() {
            1 => "1 file says that it is empty and has".to_owned(),
            count => format!("{count} files say that they are empty and have"),
        };
        format!(
            "{files} content, which is stored as it was when the source was scanned (first is {})",
            show_path(&to_path(first))
        )
    });
    skipped.chain(made_up).chain(kept).collect()
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "an unknown kind of file",
    }
}

impl Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on device {}:{}", self.ino, rustix::fs::major(self.dev), rustix::fs::minor(self.dev))
    }
}

/// A time as seconds and nanoseconds since the epoch.
struct Seconds(Timestamp);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.sec, self.0.nsec)
    }
}
