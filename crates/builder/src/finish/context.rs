//! What every step of the last stage needs, and zeros where the target does not start out with them.

use erofs_format::superblock::Superblock;
use erofs_tree::{InodeId, Progress};

use super::announce::Announced;
use super::front::Front;
use crate::coder::codecs::Codecs;
use crate::content::Record;
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::layout::place::Layout;
use crate::layout::table::Tables;
use crate::options::BuildOptions;
use crate::store::Spool;
use crate::summary::{MetaboxSummary, Sums};

/// Zeros are written in pieces of this size where a target does not start out as zeros.
const ZERO_PIECE: usize = 1 << 20;

/// What became of the contents of files.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Where the records are.
    pub(crate) records: Spool,
    /// That of each inode of the tree that is a regular file with content.
    pub(crate) by_inode: Vec<Option<Record>>,
    /// First byte behind the data.
    pub(crate) end: u64,
    /// Bytes that are to be zeros and were not written: first one and length.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Hash of all contents and their places.
    pub(crate) key: u128,
    pub(crate) sums: Sums,
}

impl Contents {
    /// The record of an inode.
    pub(crate) fn record(&self, id: InodeId) -> Option<Record> {
        self.by_inode.get(id.index()).copied().flatten()
    }
}

/// The content of the packed inode.
#[derive(Debug)]
pub(crate) enum PackedContent {
    /// These bytes, and those of directories, if they go there.
    Spool(Spool),
    /// On another device, so many bytes.
    Stored(Record, u64),
}

/// What every step of the stage needs.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) layout: &'a Layout<'a>,
    pub(crate) contents: &'a Contents,
    pub(crate) tables: &'a Tables,
    pub(crate) front: &'a Front,
    pub(crate) codecs: &'a Codecs,
    pub(crate) announced: &'a Announced,
    pub(crate) image: &'a ImageFile,
    pub(crate) options: &'a BuildOptions,
    pub(crate) progress: &'a dyn Progress,
}

/// What the superblock says, and how long the image is.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) superblock: Superblock,
    pub(crate) image_bytes: u64,
    pub(crate) metabox: Option<MetaboxSummary>,
}

/// Makes everything from byte `from` on zeros, up to byte `to` where that is not so by itself. An equal file
/// may have given its places back there.
pub(super) fn clear(image: &ImageFile, from: u64, to: u64) -> Result<(), BuildError> {
    if image.starts_as_zeros() { image.cut(from) } else { write_zeros(image, from, to) }
}

pub(super) fn write_zeros(image: &ImageFile, from: u64, to: u64) -> Result<(), BuildError> {
    let zeros = vec![0; ZERO_PIECE];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).map_or(ZERO_PIECE, |rest| rest.min(ZERO_PIECE));
        image.write_at(at, &zeros[..length])?;
        at += length as u64;
    }
    Ok(())
}
