//! Contents that are stored already, on another device than the image.

use std::ops::Range;

use crate::content::Content;

/// Where the bytes of a file are. Its extents name the device on which they are; those that are to be copied
/// into the image have no address yet.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Extents, and the stored bytes that follow the inode.
    pub(crate) content: Content<Vec<u8>>,
    /// Extents that are to be copied, by their index in the content, in ascending order.
    pub(crate) copies: Vec<(usize, Copied)>,
    /// It gets a fingerprint, if files get one.
    pub(crate) has_fingerprint: bool,
}

/// What is to be copied into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Copied {
    /// These bytes of the file.
    Content(Range<u64>),
    /// A pcluster, which fills a block.
    Pcluster(Vec<u8>),
}
