//! A tar archive as a source: one that can be read at offsets, or one that comes once.

mod decompress;
mod file;
mod options;
mod stream;
mod unpack;

use std::path::PathBuf;

use erofs_tar::{Entry, Segment};

pub use self::decompress::decompressed;
pub use self::file::TarSource;
pub use self::options::TarOptions;
pub use self::stream::TarStream;
use self::unpack::{Unpacked, Wrong, clean_path};
use crate::canonical::number;
use crate::error::{TreeError, show_bytes, to_path};
use crate::node::{ContentRef, Tree};

/// What was read of an archive.
#[derive(Debug)]
struct Found {
    /// The archive, for messages.
    archive: PathBuf,
    unpacked: Unpacked,
    files: Vec<Stored>,
    /// How many entries have records whose meaning is not stored, and the first of them.
    unread: Option<(u64, Vec<u8>, Vec<u8>)>,
}

/// Where the content of a regular file is in its archive.
#[derive(Debug)]
struct Stored {
    /// From the root, without a slash in front.
    path: Box<[u8]>,
    size: u64,
    data_offset: u64,
    /// Where pieces of it are; none if all of it is stored in one.
    pieces: Option<Box<[Piece]>>,
}

/// A piece of a file with holes.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where it is in the file.
    offset: u64,
    length: u64,
    /// Where it is in what the archive stores of the file.
    stored: u64,
}

impl Found {
    fn new(archive: PathBuf, options: &TarOptions) -> Self {
        let unpacked = Unpacked::new(options);
        Self { archive, unpacked, files: Vec::new(), unread: None }
    }

    /// Adds an entry; the number of its content, if it is a regular file.
    fn add(&mut self, entry: &Entry) -> Result<Option<ContentRef>, TreeError> {
        let is_file = entry.kind == erofs_tar::Kind::File;
        let content = ContentRef(number(self.files.len(), "regular files")?);
        self.unpacked.add(entry, content).map_err(|wrong| self.wrong(entry, wrong))?;
        if let Some(record) = entry.records.iter().find(|record| is_unread(&record.key)) {
            let first = self.unread.get_or_insert_with(|| (0, record.key.clone(), entry.path.clone()));
            first.0 += 1;
        }
        if !is_file {
            return Ok(None);
        }
        self.files.push(Stored {
            path: clean_path(&entry.path).into(),
            size: entry.size,
            data_offset: entry.data_offset,
            pieces: entry.segments.as_deref().map(pieces),
        });
        Ok(Some(content))
    }

    fn wrong(&self, entry: &Entry, wrong: Wrong) -> TreeError {
        match wrong {
            Wrong::Tree(error) => error,
            Wrong::Entry((what, found, wanted)) => TreeError::ArchiveEntry {
                archive: self.archive.clone(),
                offset: entry.header_offset,
                path: to_path(&entry.path),
                what,
                found,
                wanted,
            },
        }
    }

    fn stored(&self, content: ContentRef) -> Result<&Stored, TreeError> {
        let unknown = TreeError::UnknownContent { found: content.0, files: self.files.len() };
        self.files.get(content.0 as usize).ok_or(unknown)
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.stored(content).map(|stored| self.archive.join(to_path(&stored.path))).unwrap_or_default()
    }

    fn warnings(&self) -> Vec<String> {
        let warn = |(count, key, path): &(u64, Vec<u8>, Vec<u8>)| {
            let (key, path) = (show_bytes(key), show_bytes(path));
            format!("{count} entries have {key} or others like it, which is not stored (first is {path})")
        };
        self.unread.iter().map(warn).collect()
    }

    fn damaged(&self, error: erofs_tar::Error) -> TreeError {
        TreeError::Archive { path: self.archive.clone(), error }
    }

    fn io(&self, source: std::io::Error) -> TreeError {
        TreeError::Io { action: "read", path: self.archive.clone(), source }
    }

    /// The tree; called once.
    fn tree(&mut self) -> Result<Tree, TreeError> {
        std::mem::replace(&mut self.unpacked, Unpacked::new(&TarOptions::default())).finish()
    }
}

/// Whether a PAX record holds access rules in a form of tar alone: ACLs and security labels as text. Where
/// these are extended attributes as well, they are stored.
fn is_unread(key: &[u8]) -> bool {
    key.starts_with(b"SCHILY.acl.") || key.starts_with(b"RHT.security.")
}

fn pieces(segments: &[Segment]) -> Box<[Piece]> {
    let mut stored = 0;
    let piece = |segment: &Segment| {
        let piece = Piece { offset: segment.offset, length: segment.length, stored };
        stored += segment.length;
        piece
    };
    segments.iter().map(piece).collect()
}

impl Stored {
    /// The first piece that ends behind `offset`: its end in the file, and where it is.
    fn piece(&self, offset: u64) -> Option<Piece> {
        let Some(pieces) = &self.pieces else {
            return (offset < self.size).then_some(Piece { offset: 0, length: self.size, stored: 0 });
        };
        let at = pieces.partition_point(|piece| piece.offset + piece.length <= offset);
        pieces.get(at).copied()
    }

    /// Fills `buf` with the content from `offset` on. `read` fills a slice from an offset of what is stored.
    fn fill<E>(
        &self,
        offset: u64,
        mut buf: &mut [u8],
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = offset;
        while !buf.is_empty() {
            let piece = self.piece(at);
            let hole = piece.map_or(u64::MAX, |piece| piece.offset.saturating_sub(at));
            let length = match piece {
                Some(piece) if hole == 0 => piece.offset + piece.length - at,
                _ => hole,
            };
            let count = usize::try_from(length).map_or(buf.len(), |length| length.min(buf.len()));
            let (now, rest) = buf.split_at_mut(count);
            match piece {
                Some(piece) if hole == 0 => read(piece.stored + (at - piece.offset), now)?,
                _ => now.fill(0),
            }
            at = at.saturating_add(count as u64);
            buf = rest;
        }
        Ok(())
    }
}
