//! What committing leaves to be done, by any thread: writes, records, and digests of large files.

use std::ops::Range;
use std::sync::Arc;

use erofs_algo::fingerprint::Hasher;

use super::feed::File;
use super::work::Buffers;
use crate::content::{Content, Record};

/// Bytes of a unit's buffers that go to consecutive bytes of the image.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) at: u64,
    /// Whether they are encoded or content.
    pub(crate) encoded: bool,
    pub(crate) range: Range<usize>,
}

/// Bytes of a file that are read once more, because they are copied into the image.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) at: u64,
    pub(crate) file: File,
    pub(crate) range: Range<u64>,
}

/// Where the bytes of a tail are until they are in a record.
#[derive(Debug, Clone)]
pub(crate) enum TailBytes {
    /// In the content of the unit.
    Content(Range<usize>),
    /// Here.
    Bytes(Vec<u8>),
}

impl TailBytes {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Content(range) => range.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A record that has its place in the spool.
#[derive(Debug)]
pub(crate) struct NewRecord {
    pub(crate) record: Record,
    pub(crate) content: Content<TailBytes>,
    pub(crate) fingerprint: Vec<u8>,
}

/// Bytes on their way to the image and the spools.
#[derive(Debug)]
pub(crate) struct WriteJob {
    /// The buffers of the unit.
    pub(crate) buffers: Arc<Buffers>,
    /// What of them goes where in the image, in ascending order of places.
    pub(crate) runs: Vec<Run>,
    pub(crate) copies: Vec<Copy>,
    /// Other bytes and where they go.
    pub(crate) blocks: Vec<(u64, Vec<u8>)>,
    /// What of their content goes where in the packed inode.
    pub(crate) fragments: Vec<Run>,
    /// What inodes will need.
    pub(crate) records: Vec<NewRecord>,
    /// The large file of which this is a part, and the first byte of the part.
    pub(crate) large: Option<(usize, u64)>,
}

impl WriteJob {
    pub(super) fn new(buffers: Buffers) -> Self {
        Self {
            buffers: Arc::new(buffers),
            runs: Vec::new(),
            copies: Vec::new(),
            blocks: Vec::new(),
            fragments: Vec::new(),
            records: Vec::new(),
            large: None,
        }
    }

    pub(super) fn push(&mut self, at: u64, encoded: bool, range: Range<usize>) {
        push(&mut self.runs, Run { at, encoded, range });
    }
}

/// Adds a run, to the last one where both sides continue.
pub(super) fn push(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) = runs.last_mut()
        && last.encoded == run.encoded
        && last.range.end == run.range.start
        && last.at + last.range.len() as u64 == run.at
    {
        last.range.end = run.range.end;
    } else if !run.range.is_empty() {
        runs.push(run);
    }
}

/// The next part of a large file for its digest.
pub(crate) struct HashJob {
    pub(crate) file: usize,
    pub(crate) hasher: Box<dyn Hasher>,
    pub(crate) bytes: ToHash,
}

/// Where the bytes of a part are that is to be hashed.
pub(crate) enum ToHash {
    /// In memory.
    Memory(Arc<Buffers>),
    /// In the image, from this byte on, so many.
    Image(u64, usize),
    /// They are zeros.
    Zeros(u64),
}
