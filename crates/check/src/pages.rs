//! Files of which a page has its bytes in several places. Kernels that share page cache (measured: Linux
//! 7.2.13 and 7.3.4) read such a file wrong or crash when it has a fingerprint: the inode that holds the
//! shared pages has blocks of one page, so that iomap takes the page as read when the first of its extents
//! has come.

use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::ChunkFormat;
use erofs_format::extent::{Extent, Place};
use erofs_image::{FileData, Image, ImageError, Inode};

use crate::finding::{Code, Finding};
use crate::metadata::{end_of_inode, unit};

/// The size of a page in bytes, on most machines.
const PAGE: u64 = 4096;

/// A page of a file with a fingerprint that has its bytes in several places.
pub(crate) fn check(image: &Image, inode: &Inode) -> Result<Option<Finding>, ImageError> {
    let bits = image.superblock().block_bits;
    if bits.size() >= PAGE || inode.layout().is_compressed() {
        return Ok(None);
    }
    let boundary = match index_boundary(image, inode)? {
        Some(offset) => Some(offset),
        None => boundary(&image.data(inode)?)?,
    };
    Ok(boundary.map(|offset| {
        let found = format!("another place from byte {offset} on");
        let wanted = "one place for the bytes of each page of 4096 bytes, which Linux needs for shared pages";
        Finding::new(Code::SubPageExtents, "an extent of the file", found, wanted)
    }))
}

/// The first byte within a page at which a file goes on elsewhere.
fn boundary(data: &FileData) -> Result<Option<u64>, ImageError> {
    let mut last: Option<Extent> = None;
    let mut offset = 0;
    while offset < data.len() {
        let extent = data.map(offset)?;
        let goes_on = last.is_none_or(|last| follows(&last, &extent));
        if !goes_on && extent.start.checked_rem(PAGE) != Some(0) {
            return Ok(Some(extent.start));
        }
        offset = extent.start.saturating_add(extent.length).max(offset.saturating_add(1));
        last = Some(extent);
    }
    Ok(None)
}

fn follows(last: &Extent, next: &Extent) -> bool {
    match (last.place, next.place) {
        (Place::Hole, Place::Hole) => true,
        (Place::Device { device, byte }, Place::Device { device: other, byte: next }) => {
            device == other && byte.saturating_add(last.length) == next
        }
        _ => false,
    }
}

/// The first byte within a page at which Linux 7.2 ends an extent because a block of the chunk table ends
/// (`erofs_map_chunks`, which looks at no more entries at once).
fn index_boundary(image: &Image, inode: &Inode) -> Result<Option<u64>, ImageError> {
    if inode.layout() != DataLayout::ChunkBased {
        return Ok(None);
    }
    let bits = image.superblock().block_bits;
    let format = ChunkFormat::decode(inode.record.i_u, 0)?;
    let chunk = 1_u64.checked_shl(format.chunk_bits(bits)).unwrap_or(u64::MAX);
    let (count, entry) = (format.chunks(inode.size(), bits), unit(format.entry_size()));
    let Some(table) = end_of_inode(image, inode).and_then(|end| format.entries_at(end)) else {
        return Ok(None);
    };
    let to_end = bits.size().saturating_sub(bits.within(table));
    let (first, step) = (to_end.checked_div(entry), bits.size().checked_div(entry));
    let (Some(mut chunks), Some(step)) = (first, step) else { return Ok(None) };
    // The places repeat after as many blocks as there are chunks in a page.
    for _ in 0..=PAGE.checked_div(chunk).unwrap_or(0) {
        let offset = chunks.saturating_mul(chunk);
        if chunks >= count {
            return Ok(None);
        }
        if offset.checked_rem(PAGE) != Some(0) {
            return Ok(Some(offset));
        }
        chunks = chunks.saturating_add(step);
    }
    Ok(None)
}
