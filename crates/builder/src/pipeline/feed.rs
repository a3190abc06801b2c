//! The units of work: segments of large files, and runs of small ones, in the order in which they are stored.
//!
//! Units depend on the source alone, never on the number of threads, so that the image does not either.

use erofs_tree::ContentRef;

use crate::coder::codecs::Choice;
use crate::coder::plain::SEGMENT_SIZE;
use crate::error::BuildError;
use crate::stored::Stored;

/// A run of small files ends after this many bytes or files.
pub(super) const BATCH_BYTES: u64 = SEGMENT_SIZE as u64;
pub(super) const BATCH_FILES: usize = 512;

/// A regular file with content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct File {
    /// How the source opens it.
    pub(crate) content: ContentRef,
    /// Length in bytes, not 0.
    pub(crate) size: u64,
    /// How it is encoded.
    pub(crate) choice: Choice,
    /// As many bytes of its end may follow its inode if it is stored as it is.
    pub(crate) tail_room: u32,
    /// Whether another file may have the same content.
    pub(crate) may_have_duplicate: bool,
}

/// A unit of work.
#[derive(Debug)]
pub(crate) struct Unit {
    /// The number of its first file, counted in the order of the feed.
    pub(crate) first: usize,
    pub(crate) files: Vec<File>,
    pub(crate) part: Part,
}

/// What of its files a unit is.
#[derive(Debug)]
pub(crate) enum Part {
    /// All of them, which have to be read.
    Whole,
    /// All of them, which are in the buffer already, one behind the other.
    Filled,
    /// A part of the only one.
    Segment(Segment),
    /// The same, in the buffer already.
    FilledSegment(Segment),
    /// A part of the only one that is zeros and need not be read: whole segments, or all up to its end.
    Hole(Hole),
    /// Where each of them is stored already.
    Stored(Vec<Stored>),
}

/// A part of a large file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// First byte.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: usize,
    /// Whether the file ends with it.
    pub(crate) last: bool,
}

/// A part of a large file that is zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// First byte.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: u64,
    /// Whether the file ends with it.
    pub(crate) last: bool,
}

/// Where units come from.
pub(crate) trait Feed: Send {
    /// The next unit; `None` behind the last one. Only one thread asks at a time. A feed that gets contents
    /// in an order that it cannot choose puts them into `buffer`, and says so.
    ///
    /// # Errors
    /// Those of the source.
    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Unit>, BuildError>;
}
