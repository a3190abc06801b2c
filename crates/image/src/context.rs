//! What all compressed files of an image have in common.

use std::fmt;
use std::sync::Arc;

use erofs_format::BlockBits;
use erofs_format::compression::Algorithm;

use crate::budget::Work;
use crate::read_at::ReadAt;

/// What a compressed file depends on besides its inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compression {
    /// Block size.
    pub(crate) block_bits: BlockBits,
    /// The bits of the algorithms that the image announces.
    pub(crate) announced: u16,
    /// Pclusters may be larger than a block.
    pub(crate) big_pclusters: bool,
}

/// What compressed files of an image share.
#[derive(Clone)]
pub(crate) struct Context {
    /// What the superblock says.
    pub(crate) compression: Compression,
    /// LZ4 data ends at the end of its pcluster, with zeros before it.
    pub(crate) lz4_padding: bool,
    /// How far back the data of each algorithm refers at most, in bytes; Linux has no more memory for it.
    pub(crate) windows: [(Algorithm, u32); 4],
    /// What reading compressed data may cost, all files together.
    pub(crate) work: Arc<Work>,
    /// The packed inode; none for itself and for the metabox.
    pub(crate) packed: Option<Arc<dyn ReadAt>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self { compression, lz4_padding, windows, .. } = self;
        let mut shown = f.debug_struct("Context");
        shown
            .field("compression", &compression)
            .field("lz4_padding", &lz4_padding)
            .field("windows", &windows);
        shown.finish_non_exhaustive()
    }
}
