//! One inode by itself: features that it needs, the ranges that are its own, its blocks.

use erofs_format::BlkAddr;
use erofs_format::compression::Algorithm;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::ChunkFormat;
use erofs_format::extent::{Coding, Extent, Place, Stored};
use erofs_format::feature::incompat;
use erofs_format::inode::Version;
use erofs_format::map_header;
use erofs_image::{Budget, FileData, Image, ImageError, Inode, ReadAt};

use crate::finding::{Code, Finding};
use crate::metadata::index_end;
use crate::ranges::{Kind, Range};

/// The number of no user and no group (`INVALID_UID`); Linux shows others in its place.
const NO_ID: u32 = u32::MAX;
/// The space of the metabox.
const METABOX: u32 = u32::MAX;

/// What an inode takes of the devices, and what is wrong with that.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) ranges: Vec<Range>,
    pub(crate) findings: Vec<Finding>,
    /// Bits of `feature_incompat` that the inode needs.
    pub(crate) needs: u32,
    tailpacked: bool,
    fragment: bool,
    /// The first algorithm of the inode's pclusters.
    algorithm: Option<Algorithm>,
    /// There is another one.
    second: bool,
}

/// Where inodes of a metadata space start: the number of the space and a byte.
fn metadata(image: &Image, inode: &Inode) -> Result<(u32, u64), ImageError> {
    let superblock = image.superblock();
    if inode.nid.in_metabox() {
        return Ok((METABOX, inode.nid.byte()?));
    }
    let base = superblock.block_bits.byte_of(BlkAddr(u64::from(superblock.meta_blkaddr)))?;
    Ok((0, inode.nid.byte()?.saturating_add(base)))
}

/// Looks at the extents of an inode that is the `owner`th of the walk.
pub(crate) fn look(
    image: &Image,
    primary: &dyn ReadAt,
    inode: &Inode,
    owner: u64,
    budget: &Budget,
) -> Result<Taken, ImageError> {
    let mut taken = Taken::default();
    let (space, at) = metadata(image, inode)?;
    let header = u64::try_from(inode.record.header_size()).unwrap_or(u64::MAX);
    let mut end = at.saturating_add(header);
    let filled = inode.has_data() && inode.size() > 0;
    if filled {
        let mut add = |start: u64, length: u64| {
            let end = start.saturating_add(length);
            taken.ranges.push(Range { space, start, end, kind: Kind::Metadata, owner });
        };
        match inode.layout() {
            DataLayout::ChunkBased => {
                let format = ChunkFormat::decode(inode.record.i_u, at)?;
                let entry = u64::try_from(format.entry_size()).unwrap_or(u64::MAX);
                let count = format.chunks(inode.size(), image.superblock().block_bits);
                if let Some(table) = format.entries_at(end) {
                    add(table, count.saturating_mul(entry));
                }
            }
            DataLayout::CompressedFull | DataLayout::CompressedCompact => {
                // The index of an inode in the metabox is in nobody's way but that of its neighbours there.
                let index = if space == METABOX { None } else { index_end(image, primary, inode, at) };
                end = index.or_else(|| map_header::end(end)).unwrap_or(end);
            }
            DataLayout::FlatPlain | DataLayout::FlatInline => {}
        }
        extents(image, inode, (owner, space), budget, &mut taken)?;
    }
    record(inode, &mut taken);
    taken.ranges.push(Range { space, start: at, end, kind: Kind::Metadata, owner });
    features(image, inode, &mut taken);
    Ok(taken)
}

/// Values of the record that Linux takes and nobody can use.
fn record(inode: &Inode, taken: &mut Taken) {
    for (what, id) in [("inode.i_uid", inode.record.uid), ("inode.i_gid", inode.record.gid)] {
        if id == NO_ID {
            let wanted = "a number below 2^32 - 1, which stands for no owner";
            taken.findings.push(Finding::new(Code::Inode, what, id, wanted));
        }
    }
    if !inode.has_data() && inode.size() > 0 {
        let what = format!("inode.i_size of a {}", inode.file_type.name());
        taken.findings.push(Finding::new(Code::Inode, what, inode.size(), "0, because it has no content"));
    }
    // Linux decodes the chunk format of empty files, links and devices too (`erofs_read_inode`).
    if inode.layout() == DataLayout::ChunkBased && ChunkFormat::decode(inode.record.i_u, 0).is_err() {
        let found = format!("{:#x}", inode.record.i_u);
        let wanted = "a chunk format without unknown bits, because the layout of the inode is chunk-based";
        taken.findings.push(Finding::new(Code::Inode, "inode.i_u", found, wanted));
    }
}

fn extents(
    image: &Image,
    inode: &Inode,
    (owner, space): (u64, u32),
    budget: &Budget,
    taken: &mut Taken,
) -> Result<(), ImageError> {
    let data = image.data(inode)?;
    data.check_map()?;
    let bits = image.superblock().block_bits;
    let plain = match inode.layout() {
        DataLayout::ChunkBased => {
            let format = ChunkFormat::decode(inode.record.i_u, 0)?;
            Kind::Chunks(1_u64.checked_shl(format.chunk_bits(bits)).unwrap_or(u64::MAX))
        }
        DataLayout::FlatPlain
        | DataLayout::FlatInline
        | DataLayout::CompressedFull
        | DataLayout::CompressedCompact => Kind::Flat(inode.size()),
    };
    let compressed = matches!(inode.layout(), DataLayout::CompressedFull | DataLayout::CompressedCompact);
    let (mut offset, mut blocks, mut last) = (0, 0_u64, None);
    while offset < data.len() {
        budget.take(1)?;
        let (extent, coding) = extent_at(&data, offset, taken)?;
        let kind = coding.map_or(plain, Kind::Pcluster);
        let (start, length, place) = match extent.place {
            Place::Hole | Place::Encoded(Stored::Hole) => (0, 0, None),
            Place::Inline { byte } => (byte, extent.length, None),
            Place::Device { device, byte } => (byte, extent.length, Some(device)),
            Place::Encoded(Stored::Pcluster { byte, length }) => {
                if last != Some(byte) {
                    blocks = blocks.saturating_add(bits.blocks_ceil(u64::from(length)));
                }
                last = Some(byte);
                (byte, u64::from(length), Some(0))
            }
            Place::Encoded(Stored::Inline { byte, length }) => {
                taken.tailpacked = true;
                (byte, u64::from(length), None)
            }
            Place::Encoded(Stored::Fragment { .. }) => {
                taken.fragment = true;
                (0, 0, None)
            }
        };
        if length > 0 {
            let end = start.saturating_add(length);
            match place {
                None => taken.ranges.push(Range { space, start, end, kind: Kind::Metadata, owner }),
                Some(device) => on_device(image, device, (start, end), (kind, owner), taken),
            }
        }
        offset = extent.start.saturating_add(extent.length).max(offset.saturating_add(1));
    }
    let stored = u64::from(inode.record.i_u);
    // Deduplication counts what is shared once, encoded extents have lengths in bytes: then it is a limit.
    let exact = image.superblock().incompat & (incompat::FRAGMENTS | incompat::BIT48) == 0;
    if compressed && (stored > blocks || exact && stored != blocks) {
        let what = "inode.i_u, the number of compressed blocks";
        taken.findings.push(Finding::new(
            Code::Blocks,
            what,
            stored,
            format!("{blocks}, those of the pclusters"),
        ));
    }
    Ok(())
}

/// The extent of a file that holds byte `offset`, with its coding if the file is compressed.
fn extent_at(
    data: &FileData,
    offset: u64,
    taken: &mut Taken,
) -> Result<(Extent, Option<Coding>), ImageError> {
    let Some(extent) = data.zmap(offset)? else { return Ok((data.map(offset)?, None)) };
    if let Coding::Compressed(algorithm) = extent.coding {
        taken.second |= *taken.algorithm.get_or_insert(algorithm) != algorithm;
    }
    let place = Place::Encoded(extent.stored);
    Ok((Extent { start: extent.start, length: extent.length, place }, Some(extent.coding)))
}

/// Adds a range of file data in the unified space, or on a device outside of it.
fn on_device(
    image: &Image,
    device: u16,
    (start, end): (u64, u64),
    (kind, owner): (Kind, u64),
    taken: &mut Taken,
) {
    let bits = image.superblock().block_bits;
    let bytes = |blocks| bits.byte_of(BlkAddr(blocks)).unwrap_or(u64::MAX);
    let slots = image.devices().slots();
    // The contents of an extra device may be those of another image, with chunks of another size.
    let kind = if device != 0 && matches!(kind, Kind::Chunks(_)) { Kind::Chunks(bits.size()) } else { kind };
    let (space, start, end, limit) = if device == 0 {
        let inside = slots.iter().find(|slot| {
            slot.uniaddr != 0
                && (bytes(slot.uniaddr)..bytes(slot.uniaddr.saturating_add(slot.blocks))).contains(&start)
        });
        let limit =
            inside.map_or(image.primary_len(), |slot| bytes(slot.uniaddr.saturating_add(slot.blocks)));
        (0, start, end, limit)
    } else {
        let Some(slot) = slots.get(usize::from(device).saturating_sub(1)) else {
            if taken.findings.iter().all(|finding| finding.code != Code::Bounds) {
                let found = format!("device {device}");
                let wanted = format!("one of {} in the device table", slots.len());
                taken.findings.push(Finding::new(Code::Bounds, "an extent", found, wanted));
            }
            return;
        };
        let limit = bytes(slot.blocks);
        if slot.uniaddr == 0 {
            (u32::from(device), start, end, limit)
        } else {
            let base = bytes(slot.uniaddr);
            (0, start.saturating_add(base), end.saturating_add(base), limit.saturating_add(base))
        }
    };
    // One finding is enough: a table can have as many wrong entries as the image has bytes.
    if end > limit && taken.findings.iter().all(|finding| finding.code != Code::Bounds) {
        let what = format!("an extent at byte {start}");
        let wanted = format!("at most {limit}, the length of its device");
        taken.findings.push(Finding::new(Code::Bounds, what, format!("an end at byte {end}"), wanted));
    }
    taken.ranges.push(Range { space, start, end, kind, owner });
}

/// Features that the inode needs and the superblock does not announce.
fn features(image: &Image, inode: &Inode, taken: &mut Taken) {
    let record = &inode.record;
    let chunked = inode.has_data() && record.layout == DataLayout::ChunkBased;
    let wide_chunks = chunked && ChunkFormat::decode(record.i_u, 0).is_ok_and(|format| format.wide);
    let one_link = record.bit4 && record.version == Version::Compact;
    let needs = [
        (chunked, incompat::CHUNKED_FILE, "a chunk-based file"),
        (wide_chunks || one_link || record.bit4, incompat::BIT48, "a form of the 48-bit layout"),
        (taken.tailpacked, incompat::ZTAILPACKING, "a compressed tail behind the inode"),
        (taken.fragment, incompat::FRAGMENTS, "a fragment"),
    ];
    // Linux reads a second algorithm without this bit too.
    taken.needs |= if taken.second { incompat::COMPR_HEAD2 } else { 0 };
    for (needed, bit, what) in needs {
        taken.needs |= if needed { bit } else { 0 };
        if needed && image.superblock().incompat & bit == 0 {
            let wanted = format!("bit {bit:#x} where there is {what}");
            let found = format!("{:#x}", image.superblock().incompat);
            taken.findings.push(Finding::new(
                Code::FeatureMissing,
                "superblock.feature_incompat",
                found,
                wanted,
            ));
        }
    }
}
