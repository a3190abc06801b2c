//! The trait that every source has, and the contents it opens.

use std::path::PathBuf;

use crate::error::TreeError;
use crate::exclude::Exclude;
use crate::node::{ContentRef, Tree};
use crate::progress::Progress;

/// Something that a tree can be made of.
pub trait Source: Sync {
    /// Gathers everything but the contents of files, and reports it as [`Stage::Scan`](crate::Stage::Scan).
    ///
    /// Scanning again gives a new tree, and content references of the former one are no longer valid.
    fn scan(&mut self, progress: &dyn Progress) -> Result<Tree, TreeError>;

    /// Has later scans leave out entries by these rules, in place of those of an earlier call. Returns
    /// whether they will; if not, the rules are for the one who asks to apply ([`Shaped`](crate::Shaped)
    /// does, with [`prune`](crate::prune)). A source that can saves the work on what nobody wants.
    fn leave_out(&mut self, exclude: &Exclude) -> bool {
        let _ = exclude;
        false
    }

    /// Opens the content of a regular file of the last scan; an error if it is not what the scan saw.
    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError>;

    /// The path of a content, for messages; empty if the reference is unknown.
    fn path(&self, content: ContentRef) -> PathBuf;

    /// What the last scan left out or could not take as it is: one line each, in an order that depends on the
    /// source alone.
    fn warnings(&self) -> Vec<String>;
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn scan(&mut self, progress: &dyn Progress) -> Result<Tree, TreeError> {
        (**self).scan(progress)
    }

    fn leave_out(&mut self, exclude: &Exclude) -> bool {
        (**self).leave_out(exclude)
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        (**self).open(content)
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        (**self).path(content)
    }

    fn warnings(&self) -> Vec<String> {
        (**self).warnings()
    }
}

/// The bytes of one regular file.
pub trait Content: Send + Sync {
    /// Fills `buf` from `offset` as far as the file goes and returns how many bytes that are; fewer than
    /// asked for only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, TreeError>;

    /// The first byte from `offset` on that may be other than zero, no more than the length of the file: what
    /// is in front of it is a hole, and need not be read. Holes that the source does not know of are data.
    fn data_from(&self, offset: u64) -> u64 {
        offset
    }

    /// To be called after the last read: an error with the path if the file is no longer what the scan saw.
    /// Bytes that were read before count only after this.
    fn finish(&self) -> Result<(), TreeError>;
}
