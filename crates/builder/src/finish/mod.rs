//! The last stage: everything that is not the content of a file.
//!
//! ```text
//! gaps ─► inodes, directories ─► internal inodes (metabox, packed inode) ─► UUID ─► superblock, last of all
//! ```

pub(crate) mod announce;
pub(crate) mod area;
pub(crate) mod front;
pub(crate) mod inodes;
mod internal;
mod superblock;

use erofs_tree::{InodeId, Progress, Stage};

use crate::coder::codecs::Codecs;
use crate::content::Record;
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::layout::place::Layout;
use crate::layout::table::Tables;
use crate::options::BuildOptions;
use crate::store::Spool;
use crate::summary::{MetaboxSummary, Sums};
use announce::Announced;
use area::InodeArea;
use erofs_format::superblock::Superblock;
use front::Front;

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

/// Writes the rest of the image, which then is complete but for its length and name.
pub(crate) fn finish(context: &Context<'_>, packed: Option<PackedContent>) -> Result<Finished, BuildError> {
    let Context { layout, contents, image, front, announced, progress, .. } = *context;
    let headers = &layout.headers;
    progress.begin(Stage::Write, headers.tree.inodes.len() as u64, 0);
    for (first, length) in &contents.gaps {
        write_zeros(image, *first, first + length)?;
    }
    clear(image, contents.end, layout.end)?;
    let metabox = headers.has_metabox.then(|| Spool::new(image.scratch()));
    let directories = match &packed {
        Some(PackedContent::Spool(bytes)) if headers.packs_directories() => Some(bytes),
        Some(_) | None => None,
    };
    inodes::write(context, InodeArea::new(image, metabox.as_ref()), directories)?;
    if let Some(metabox) = metabox.as_ref().filter(|metabox| metabox.len() < layout.inodes_end) {
        metabox.reserve(layout.inodes_end - metabox.len());
    }
    let internal = internal::write(context, metabox.as_ref(), packed)?;
    image.write_at(front.records_at, &announced.records)?;
    let superblock = superblock::write(context, &internal)?;
    progress.end(Stage::Write);
    let image_bytes = superblock.blocks * headers.block_bits.size();
    Ok(Finished { superblock, image_bytes, metabox: internal.metabox_summary })
}

/// Begins the image, and fills what is in front of the data with zeros where the target holds something else.
/// To be called before anything is written.
pub(crate) fn begin(front: &Front, image: &ImageFile) -> Result<(), BuildError> {
    image.begin()?;
    if image.starts_as_zeros() { Ok(()) } else { write_zeros(image, 0, front.data_at) }
}

/// Makes everything from byte `from` on zeros, up to byte `to` where that is not so by itself. An equal file
/// may have given its places back there.
fn clear(image: &ImageFile, from: u64, to: u64) -> Result<(), BuildError> {
    if image.starts_as_zeros() { image.cut(from) } else { write_zeros(image, from, to) }
}

fn write_zeros(image: &ImageFile, from: u64, to: u64) -> Result<(), BuildError> {
    let zeros = vec![0; ZERO_PIECE];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).map_or(ZERO_PIECE, |rest| rest.min(ZERO_PIECE));
        image.write_at(at, &zeros[..length])?;
        at += length as u64;
    }
    Ok(())
}
