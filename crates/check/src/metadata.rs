//! Where the metadata of an inode that stands in the metadata area is: its record, the end of its compressed
//! index, the shared attributes that it refers to. Inodes in the metabox have all this in a file, out of the
//! way of everything else.

use std::collections::BTreeMap;

use erofs_format::BlkAddr;
use erofs_format::datalayout::lcluster::Shape;
use erofs_format::datalayout::{DataLayout, compact, extents, full};
use erofs_format::feature::compat;
use erofs_format::map_header::{self, MapHeader};
use erofs_format::xattr::{
    BodyHeader, ENTRY_SIZE, EntryHead, HEADER_SIZE, SHARED_ID_SIZE, SHARED_ID_UNIT, decode_shared_id,
    padded_size,
};
use erofs_image::{Image, Inode, ReadAt};

/// The byte at which an inode starts on the primary device; `None` for one in the metabox.
pub(crate) fn byte_of(image: &Image, inode: &Inode) -> Option<u64> {
    let superblock = image.superblock();
    let base = superblock.block_bits.byte_of(BlkAddr(u64::from(superblock.meta_blkaddr))).ok()?;
    if inode.nid.in_metabox() { None } else { inode.nid.byte().ok()?.checked_add(base) }
}

/// A length in memory as a 64-bit number.
pub(crate) fn unit(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Where an inode and its attributes end in their metadata space, counted from the start of its device or of
/// the metabox.
pub(crate) fn end_of_inode(image: &Image, inode: &Inode) -> Option<u64> {
    let start = if inode.nid.in_metabox() { inode.nid.byte().ok()? } else { byte_of(image, inode)? };
    start.checked_add(unit(inode.record.header_size()))
}

/// Bytes of the primary device, if they are all there.
pub(crate) fn read(primary: &dyn ReadAt, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    primary.read_at(at, &mut bytes).ok()?;
    Some(bytes)
}

/// Where the index of a compressed file ends, whose inode starts at byte `at`; `None` if its map header is
/// not understood, which is reported when the file is mapped.
pub(crate) fn index_end(image: &Image, primary: &dyn ReadAt, inode: &Inode, at: u64) -> Option<u64> {
    let header_end = at.checked_add(u64::try_from(inode.record.header_size()).ok()?)?;
    let header_at = map_header::at(header_end)?;
    let block_bits = image.superblock().block_bits;
    let bytes = read(primary, header_at, map_header::SIZE)?;
    let layout = inode.layout();
    let lcluster_bits = block_bits.bits();
    let shape = Shape { size: inode.size(), block_bits, lcluster_bits, header_end };
    match MapHeader::decode(&bytes, header_at, layout, block_bits).ok()? {
        MapHeader::Fragment { .. } => map_header::end(header_end),
        MapHeader::Extents(header) => {
            let count = extents::count(&header, inode.size());
            header_at.checked_add(extents::encoded_size(header_end, header.record, count)?)
        }
        MapHeader::Index(header) => {
            let shape = Shape { lcluster_bits: header.lcluster_bits, ..shape };
            if layout == DataLayout::CompressedCompact {
                compact::index_end(&shape, header.compacted_2b)
            } else {
                full::index_end(&shape)
            }
        }
    }
}

/// Shared attributes by the byte at which they start, with their ends.
pub(crate) type Shared = BTreeMap<u64, u64>;

/// Adds the shared attributes that an inode refers to. Those that cannot be read are reported where its
/// attributes are.
pub(crate) fn add_shared(
    image: &Image,
    primary: &dyn ReadAt,
    inode: &Inode,
    known: &mut Shared,
) -> Option<()> {
    let superblock = image.superblock();
    if superblock.compat & compat::SHARED_EA_IN_METABOX != 0 {
        return None;
    }
    let size = u64::try_from(inode.record.version.size()).ok()?;
    let at = byte_of(image, inode)?.checked_add(size)?;
    let header = BodyHeader::decode(&read(primary, at, HEADER_SIZE)?, at).ok()?;
    let ids = usize::from(header.shared_count).checked_mul(SHARED_ID_SIZE)?;
    let ids = read(primary, at.checked_add(u64::try_from(HEADER_SIZE).ok()?)?, ids)?;
    let area = superblock.block_bits.byte_of(BlkAddr(u64::from(superblock.xattr_blkaddr))).ok()?;
    for id in ids.chunks_exact(SHARED_ID_SIZE) {
        let start =
            area.checked_add(u64::from(decode_shared_id(id, at).ok()?).checked_mul(SHARED_ID_UNIT)?)?;
        if known.contains_key(&start) {
            continue;
        }
        let head = EntryHead::decode(&read(primary, start, ENTRY_SIZE)?, start).ok()?;
        let length = u64::try_from(padded_size(head.name_len, head.value_len)).ok()?;
        known.insert(start, start.checked_add(length)?);
    }
    Some(())
}
