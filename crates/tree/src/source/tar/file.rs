//! An archive that is read at offsets.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use erofs_tar::{BLOCK, Parser};

use super::decompress::{PEEK, decompressed, form};
use super::{Found, Stored, TarOptions};
use crate::error::TreeError;
use crate::node::{ContentRef, Tree};
use crate::progress::{Progress, Stage};
use crate::source::port::{Content, Source};

/// How many bytes of headers are read at once.
const WINDOW: usize = 64 * 1024;

/// A tar archive whose contents are read by their offsets. The tree is the one that GNU tar makes if root
/// unpacks into an empty directory.
///
/// What is no regular file, such as a pipe, or is [compressed](super::decompressed), is copied to a
/// temporary file first.
///
/// # Paths
///
/// Slashes in front of a path, and `.` in it, mean nothing; `..` is an error. Directories that are missing
/// are [made](TarOptions::made). Of the same path twice the last counts; a directory twice keeps what is in
/// it; another file replaces a directory only if that is empty. A hard link needs the entry that it leads to
/// in front of it, and its own metadata do not count. An entry below a symbolic link, or another file that is
/// no directory, is an error.
#[derive(Debug)]
pub struct TarSource {
    file: File,
    path: PathBuf,
    options: TarOptions,
    /// What the file was when it was opened; none of a temporary file.
    seen: Option<Seen>,
    found: Found,
}

/// What changes if a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

fn seen(file: &File) -> io::Result<Seen> {
    let meta = file.metadata()?;
    let (mtime, ctime) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    Ok(Seen { size: meta.len(), mtime, ctime })
}

fn is_compressed(file: &File) -> io::Result<bool> {
    let mut bytes = [0; PEEK];
    let length = usize::try_from(file.metadata()?.len()).map_or(PEEK, |length| length.min(PEEK));
    let start = bytes.get_mut(..length).unwrap_or_default();
    file.read_exact_at(start, 0)?;
    Ok(form(start).is_some())
}

impl TarSource {
    /// Opens an archive; nothing of a regular file is read before [`scan`](Source::scan).
    ///
    /// # Errors
    /// [`TreeError::Io`] if it cannot be opened, or copied if it is no regular file.
    pub fn open(path: impl Into<PathBuf>, options: TarOptions) -> Result<Self, TreeError> {
        let path = path.into();
        let failed = |action| {
            let path = path.clone();
            move |source| TreeError::Io { action, path, source }
        };
        let file = File::open(&path).map_err(failed("open"))?;
        let is_regular = file.metadata().map_err(failed("stat"))?.is_file();
        if !is_regular || is_compressed(&file).map_err(failed("read"))? {
            return Self::spooled(file, &path, options);
        }
        let seen = seen(&file).map_err(failed("stat"))?;
        let found = Found::new(path.clone(), &options);
        Ok(Self { file, path, options, seen: Some(seen), found })
    }

    /// Copies what `input` yields, [decompressed](super::decompressed), to a temporary file (in `$TMPDIR`, or
    /// `/tmp`) and takes that as the archive. `name` is for messages.
    ///
    /// # Errors
    /// [`TreeError::Io`].
    pub fn spooled(
        input: impl io::Read + Send,
        name: impl Into<PathBuf>,
        options: TarOptions,
    ) -> Result<Self, TreeError> {
        let path = name.into();
        let mut file = tempfile::tempfile().map_err(|source| TreeError::Io {
            action: "make a temporary file in",
            path: std::env::temp_dir(),
            source,
        })?;
        let copied = decompressed(input).and_then(|mut input| io::copy(&mut input, &mut file));
        copied.map_err(|source| TreeError::Io { action: "copy", path: path.clone(), source })?;
        let found = Found::new(path.clone(), &options);
        Ok(Self { file, path, options, seen: None, found })
    }

    /// The archive as it was given.
    pub fn archive(&self) -> &Path {
        &self.path
    }

    /// Where the content of a file of the last scan is in the archive, if all of it is stored in one piece:
    /// its offset and length in bytes. For images whose contents stay in the archive.
    pub fn place(&self, content: ContentRef) -> Option<(u64, u64)> {
        let stored = self.found.stored(content).ok().filter(|stored| stored.pieces.is_none())?;
        Some((stored.data_offset, stored.size))
    }

    fn read(&mut self, progress: &dyn Progress) -> Result<Tree, TreeError> {
        let mut found = Found::new(self.path.clone(), &self.options);
        let mut parser = Parser::new(self.options.format.clone());
        let length = match self.seen {
            Some(seen) => seen.size,
            None => self.file.metadata().map_err(|error| found.io(error))?.len(),
        };
        let mut window = Window { bytes: Vec::new(), start: 0 };
        loop {
            let rest = window.at(&self.file, parser.offset(), length).map_err(|error| found.io(error))?;
            let Some(block) = rest.first_chunk::<BLOCK>() else {
                parser.finish(length, rest).map_err(|error| found.damaged(error))?;
                break;
            };
            if let Some(entry) = parser.push(block).map_err(|error| found.damaged(error))? {
                found.add(&entry)?;
                progress.advance(1, 0);
            }
        }
        self.check()?;
        let tree = found.tree()?;
        self.found = found;
        Ok(tree)
    }

    /// An error if the file is no longer what it was.
    fn check(&self) -> Result<(), TreeError> {
        let Some(wanted) = self.seen else { return Ok(()) };
        let found = seen(&self.file).map_err(|error| self.found.io(error))?;
        if found == wanted {
            return Ok(());
        }
        let show = |seen: Seen| format!("{} bytes of {}.{:09}", seen.size, seen.mtime.0, seen.mtime.1);
        Err(TreeError::Changed {
            path: self.path.clone(),
            what: "archive",
            found: show(found),
            wanted: show(wanted),
        })
    }
}

/// A part of the archive.
struct Window {
    bytes: Vec<u8>,
    start: u64,
}

impl Window {
    /// What is at an offset: a block, or what is left in front of `length`.
    fn at(&mut self, file: &File, offset: u64, length: u64) -> io::Result<&[u8]> {
        let end = length.min(offset.saturating_add(BLOCK as u64));
        let is_there = self.start <= offset && end <= self.start + self.bytes.len() as u64;
        if !is_there {
            let count = length.saturating_sub(offset).min(WINDOW as u64);
            self.bytes.clear();
            self.start = offset;
            self.bytes.resize(usize::try_from(count).unwrap_or(WINDOW), 0);
            file.read_exact_at(&mut self.bytes, offset)?;
        }
        let at = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        Ok(self.bytes.get(at..).unwrap_or_default())
    }
}

impl Source for TarSource {
    fn scan(&mut self, progress: &dyn Progress) -> Result<Tree, TreeError> {
        progress.begin(Stage::Scan, 0, 0);
        let scanned = self.read(progress);
        progress.end(Stage::Scan);
        scanned
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        Ok(Box::new(Part { source: self, stored: self.found.stored(content)? }))
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.found.path(content)
    }

    fn warnings(&self) -> Vec<String> {
        self.found.warnings()
    }
}

/// The content of one file.
struct Part<'a> {
    source: &'a TarSource,
    stored: &'a Stored,
}

impl Content for Part<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, TreeError> {
        let left = self.stored.size.saturating_sub(offset);
        let count = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let wanted = buf.get_mut(..count).unwrap_or_default();
        let read =
            |at: u64, piece: &mut [u8]| self.source.file.read_exact_at(piece, self.stored.data_offset + at);
        self.stored.fill(offset, wanted, read).map_err(|error| self.source.found.io(error))?;
        Ok(count)
    }

    fn data_from(&self, offset: u64) -> u64 {
        self.stored.piece(offset).map_or(self.stored.size, |piece| piece.offset.max(offset))
    }

    fn finish(&self) -> Result<(), TreeError> {
        self.source.check()
    }
}
