//! The metabox: an inode whose content is all others, so that they are compressed (`erofs_init_metabuf`, Linux 6.17).
//!
//! Inodes, their xattrs, tables and tails have places in the metabox, counted from its first byte; the blocks of
//! directories and long links stay on the device. When all inodes are written, the metabox is stored like any file, and
//! its own inode stands outside.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::compress::Spool;
use crate::error::BuildError;
use crate::image_file::{ImageFile, Scratch};

/// The content of the metabox while it is written.
#[derive(Debug)]
pub(crate) struct Metabox(Mutex<Spool>);

impl Metabox {
    /// An empty one, which waits in memory or in a temporary file.
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self(Mutex::new(Spool::new(scratch)))
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(at, bytes)
    }

    /// All `length` bytes of it.
    pub(crate) fn into_content(self, length: u64) -> Result<Spool, BuildError> {
        let mut content = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        if content.len() < length {
            content.write(length - 1, &[0]).map_err(BuildError::spool)?;
        }
        Ok(content)
    }
}

/// What inodes are written to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum InodeArea<'a> {
    /// The image itself.
    Image(&'a ImageFile),
    /// The metabox.
    Metabox(&'a Metabox),
}

impl<'a> InodeArea<'a> {
    /// The metabox, if there is one.
    pub(crate) fn new(image: &'a ImageFile, metabox: Option<&'a Metabox>) -> Self {
        metabox.map_or(Self::Image(image), Self::Metabox)
    }

    /// Writes bytes at a place that the plan gave them. May be called from several threads.
    pub(crate) fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), BuildError> {
        match self {
            Self::Image(image) => image.write_at(at, bytes),
            Self::Metabox(metabox) => metabox.write_at(at, bytes).map_err(BuildError::spool),
        }
    }
}
