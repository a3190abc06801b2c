//! The trait of sources that can be read only once, such as an archive on a pipe.

use std::path::PathBuf;

use crate::error::TreeError;
use crate::node::{ContentRef, Inode, Tree};

/// A regular file of a stream, whose content comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streamed {
    /// By what the tree will refer to its content. No two files of a stream have the same.
    pub content: ContentRef,
    /// Its length in bytes.
    pub size: u64,
    /// Its path from the root without a leading slash, as it is known now: for patterns and messages.
    pub path: Vec<u8>,
    /// Its inode as it is known now. The tree may have another one in the end, but its extended attributes
    /// may not take more space: how many bytes of the content can follow the inode is decided now.
    pub inode: Inode,
}

/// A source whose contents come once, in an order that the source decides. The tree is known at the end.
///
/// The calls: [`next`](Self::next) until it returns `None`, each followed by as many [`read`](Self::read) as
/// the file has bytes for, then [`finish`](Self::finish). What the tree does not refer to in the end, such as
/// a file that a later entry of the stream replaces, stays in the image as bytes that no file has.
pub trait Stream: Send {
    /// The next regular file; those without content may be left out.
    ///
    /// # Errors
    /// Those of what the stream is read from, and of its form.
    fn next(&mut self) -> Result<Option<Streamed>, TreeError>;

    /// Fills `buf` with the next bytes of the content of the last file, never more than are left of it.
    ///
    /// # Errors
    /// [`next`](Self::next)'s; also if the stream ends before the buffer is full.
    fn read(&mut self, buf: &mut [u8]) -> Result<(), TreeError>;

    /// The whole tree, in canonical order; called once, when all files have been read.
    ///
    /// # Errors
    /// Those of the tree that came about.
    fn finish(&mut self) -> Result<Tree, TreeError>;

    /// The path of a content that was returned before, for messages; empty if it is unknown.
    fn path(&self, content: ContentRef) -> PathBuf;

    /// What could not be taken as it is: one line each. Asked for after [`finish`](Self::finish).
    fn warnings(&self) -> Vec<String>;
}
