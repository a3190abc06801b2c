//! A place in a file that is not compressed becomes an extent, by the rules of the file's data layout
//! (Linux's `erofs_map_blocks`).

use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{ChunkAddress, ChunkFormat, decode_entry};
use erofs_format::datalayout::flat::Flat;
use erofs_format::extent::{Extent, Place};
use erofs_format::{BlkAddr, FormatError, Rule, words};

use crate::device::Devices;
use crate::error::Result;
use crate::inode::Inode;
use crate::space::Space;

/// How many chunk entries are read at once.
const BATCH: u64 = 512;

/// The extent of `inode` that holds byte `offset`, which must be below its size. The extent may start before
/// it.
pub(crate) fn map(devices: &Devices, space: &Space, inode: &Inode, offset: u64) -> Result<Extent> {
    if offset >= inode.size() {
        let limit = words::bytes(inode.size());
        return Err(FormatError::limit("offset in a file", offset, limit).into());
    }
    match inode.layout() {
        DataLayout::FlatPlain | DataLayout::FlatInline => {
            let inline = inode.layout() == DataLayout::FlatInline;
            let flat = Flat {
                block_bits: devices.block_bits(),
                start: BlkAddr(inode.record.start_block()),
                size: inode.size(),
                inline_at: if inline { Some(inode.header_end()?) } else { None },
                hole: inode.record.is_flat_hole(),
            };
            Ok(flat.map(offset)?)
        }
        DataLayout::ChunkBased => map_chunks(devices, space, inode, offset),
        DataLayout::CompressedFull | DataLayout::CompressedCompact => {
            let layout = inode.layout().name();
            Err(FormatError::limit("data layout", layout, "a place for each byte").into())
        }
    }
}

/// The table of the chunks of a file.
struct Chunks<'a> {
    devices: &'a Devices,
    space: &'a Space,
    format: ChunkFormat,
    /// How many chunks there are, and how many bytes each has but the last.
    count: u64,
    size: u64,
    /// Where the table starts in the metadata space.
    at: u64,
    entry_size: u64,
}

impl<'a> Chunks<'a> {
    fn of(devices: &'a Devices, space: &'a Space, inode: &Inode) -> Result<Self> {
        let bits = devices.block_bits();
        let format = ChunkFormat::decode(inode.record.i_u, inode.at)?;
        let count = format.chunks(inode.size(), bits);
        let size = 1_u64.checked_shl(format.chunk_bits(bits)).unwrap_or(u64::MAX);
        let entry_size = u64::try_from(format.entry_size()).unwrap_or(u64::MAX);
        let too_far = || FormatError::limit("chunk table", count, "entries below byte 2^64");
        let at = format.entries_at(inode.header_end()?).ok_or_else(too_far)?;
        let chunks = Self { devices, space, format, count, size, at, entry_size };
        // The whole table must be there, so that the number of extents is bounded by the size of the image.
        let end = chunks.entry_at(count).ok_or_else(too_far)?;
        if end > space.len() {
            let entries = words::noun(count, "entry", "entries");
            let found = format!("{count} {entries} up to byte {end}");
            let want = format!("an end within {}", words::bytes(space.len()));
            return Err(FormatError::field("chunk table", at, found, want).of(Rule::TableEnd).into());
        }
        Ok(chunks)
    }

    /// Where the entry of a chunk is.
    fn entry_at(&self, number: u64) -> Option<u64> {
        self.at.checked_add(number.checked_mul(self.entry_size)?)
    }

    /// Some entries from that of the chunk `first` on, as bytes; none at the end.
    fn read(&self, first: u64) -> Result<Vec<u8>> {
        let batch = self.count.saturating_sub(first).min(BATCH);
        let too_far = || FormatError::limit("chunk table", self.count, "entries below byte 2^64");
        let at = self.entry_at(first).ok_or_else(too_far)?;
        let bytes = usize::try_from(batch.saturating_mul(self.entry_size)).unwrap_or(usize::MAX);
        self.space.read_vec("chunk table", at, bytes)
    }

    /// The entries in bytes of the table.
    fn decode(
        &self,
        bytes: &[u8],
    ) -> impl Iterator<Item = std::result::Result<Option<ChunkAddress>, FormatError>> {
        bytes
            .chunks_exact(self.format.entry_size())
            .map(|entry| decode_entry(self.format, entry, self.at, self.devices.mask()))
    }
}

fn map_chunks(devices: &Devices, space: &Space, inode: &Inode, offset: u64) -> Result<Extent> {
    let bits = devices.block_bits();
    let chunks = Chunks::of(devices, space, inode)?;
    let first = offset.checked_div(chunks.size).unwrap_or(0);
    let bytes = chunks.read(first)?;
    let mut entries = chunks.decode(&bytes);
    let too_far = || FormatError::limit("chunk table", chunks.count, "entries below byte 2^64");
    let head = entries.next().ok_or_else(too_far)??;
    let mut run = 1_u64;
    for entry in entries {
        if entry? != follower(head, run, bits.blocks_floor(chunks.size)) {
            break;
        }
        run = run.saturating_add(1);
    }
    let start = first.checked_mul(chunks.size).ok_or_else(too_far)?;
    let length = run.saturating_mul(chunks.size).min(inode.size().saturating_sub(start));
    let place = match head {
        None => Place::Hole,
        Some(chunk) => Place::Device { device: chunk.device, byte: bits.byte_of(BlkAddr(chunk.block))? },
    };
    Ok(Extent { start, length, place })
}

/// The first byte within a page of `page` bytes at which Linux begins another extent of a file that is not
/// compressed: where its bytes go on elsewhere, where data and holes meet, where the tail behind the inode
/// begins, and where a block of the chunk table ends (`erofs_map_chunks` looks at no more entries at once).
/// Nothing if every page is one extent.
pub(crate) fn extent_within_page(
    devices: &Devices,
    space: &Space,
    inode: &Inode,
    page: u64,
) -> Result<Option<u64>> {
    let bits = devices.block_bits();
    let within = |offset: &u64| offset.checked_rem(page).is_some_and(|rest| rest != 0);
    match inode.layout() {
        DataLayout::FlatInline => {
            // The tail is the last block or a part of it.
            let tail = bits.blocks_ceil(inode.size()).saturating_sub(1).checked_mul(bits.size());
            Ok(tail.filter(within))
        }
        DataLayout::ChunkBased => {
            let chunks = Chunks::of(devices, space, inode)?;
            if chunks.size.checked_rem(page) == Some(0) {
                return Ok(None);
            }
            chunk_within_page(&chunks, within)
        }
        DataLayout::FlatPlain | DataLayout::CompressedFull | DataLayout::CompressedCompact => Ok(None),
    }
}

fn chunk_within_page(chunks: &Chunks<'_>, within: impl Fn(&u64) -> bool) -> Result<Option<u64>> {
    let bits = chunks.devices.block_bits();
    let blocks = bits.blocks_floor(chunks.size);
    // A hole goes on as a hole.
    let goes_on = |last: Option<ChunkAddress>| follower(last, 1, blocks);
    let (mut number, mut last) = (0_u64, None);
    while number < chunks.count {
        for entry in chunks.decode(&chunks.read(number)?) {
            let entry = entry?;
            let offset = number.saturating_mul(chunks.size);
            let new_block = chunks.entry_at(number).is_some_and(|at| bits.within(at) == 0);
            let begins = number != 0 && (new_block || entry != goes_on(last));
            if begins && within(&offset) {
                return Ok(Some(offset));
            }
            last = entry;
            number = number.saturating_add(1);
        }
    }
    Ok(None)
}

/// The chunk that continues `head` after `run` chunks of `blocks` blocks: `head` and it are one extent.
fn follower(head: Option<ChunkAddress>, run: u64, blocks: u64) -> Option<ChunkAddress> {
    let head = head?;
    // Past 2^64 the address wraps to none that an entry can hold, because entries have 48 bits.
    let block = head.block.saturating_add(run.saturating_mul(blocks));
    Some(ChunkAddress { device: head.device, block })
}
