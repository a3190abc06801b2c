//! What inodes are written to: the image itself, or the metabox, an inode whose content is all others, so
//! that they are compressed (`erofs_init_metabuf`, Linux 6.17).
//!
//! Inodes, their xattrs, tables and tails have places in the metabox, counted from its first byte; the blocks
//! of directories and long links stay on the device.

use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::store::Spool;

/// What inodes are written to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum InodeArea<'a> {
    /// The image itself.
    Image(&'a ImageFile),
    /// The content of the metabox.
    Metabox(&'a Spool),
}

impl<'a> InodeArea<'a> {
    /// The metabox, if there is one.
    pub(crate) fn new(image: &'a ImageFile, metabox: Option<&'a Spool>) -> Self {
        metabox.map_or(Self::Image(image), Self::Metabox)
    }

    /// Writes bytes at a place that the layout gave them. May be called from several threads.
    pub(crate) fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), BuildError> {
        match self {
            Self::Image(image) => image.write_at(at, bytes),
            Self::Metabox(metabox) => metabox.write_at(at, bytes).map_err(BuildError::spool),
        }
    }
}
