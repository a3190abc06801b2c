//! The last stage: everything that is not the content of a file.
//!
//! ```text
//! gaps ─► inodes, directories ─► internal inodes (metabox, packed inode) ─► UUID ─► superblock, last of all
//! ```

pub(crate) mod announce;
pub(crate) mod area;
pub(crate) mod context;
pub(crate) mod front;
pub(crate) mod inodes;
mod internal;
mod superblock;

use erofs_tree::Stage;

use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::store::Spool;
use area::InodeArea;
pub(crate) use context::{Contents, Context, Finished, PackedContent};
use context::{clear, write_zeros};
use front::Front;

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
