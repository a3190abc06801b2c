//! A place in a file that is not compressed becomes an extent, by the rules of the file's data layout (Linux's `erofs_map_blocks`).

use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{ChunkAddress, ChunkFormat, decode_entry};
use erofs_format::datalayout::flat::Flat;
use erofs_format::extent::{Extent, Place};
use erofs_format::{BlkAddr, FormatError};

use crate::device::Devices;
use crate::error::Result;
use crate::inode::Inode;
use crate::space::Space;

/// How many chunk entries are read at once.
const BATCH: u64 = 512;

/// The extent of `inode` that holds byte `offset`, which must be below its size. The extent may start before it.
pub(crate) fn map(devices: &Devices, space: &Space, inode: &Inode, offset: u64) -> Result<Extent> {
    if offset >= inode.size() {
        let limit = format!("{} bytes", inode.size());
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

fn map_chunks(devices: &Devices, space: &Space, inode: &Inode, offset: u64) -> Result<Extent> {
    let bits = devices.block_bits();
    let format = ChunkFormat::decode(inode.record.i_u, inode.at)?;
    let count = format.chunks(inode.size(), bits);
    let chunk_bits = format.chunk_bits(bits);
    let first = offset.checked_shr(chunk_bits).unwrap_or(0);
    let chunk_size = 1_u64.checked_shl(chunk_bits).unwrap_or(u64::MAX);
    let entry_size = u64::try_from(format.entry_size()).unwrap_or(u64::MAX);
    let too_far = || FormatError::limit("chunk table", count, "entries below byte 2^64");
    let table = format.entries_at(inode.header_end()?).ok_or_else(too_far)?;
    let entry_at = |number: u64| table.checked_add(number.checked_mul(entry_size)?);
    // The whole table must be there, so that the number of extents is bounded by the size of the image.
    let end = entry_at(count).ok_or_else(too_far)?;
    if end > space.len() {
        let found = format!("{count} entries up to byte {end}");
        return Err(FormatError::field(
            "chunk table",
            table,
            found,
            format!("an end within {} bytes", space.len()),
        )
        .into());
    }
    let batch = count.saturating_sub(first).min(BATCH);
    let at = entry_at(first).ok_or_else(too_far)?;
    let bytes = usize::try_from(batch.saturating_mul(entry_size)).unwrap_or(usize::MAX);
    let bytes = space.read_vec("chunk table", at, bytes)?;
    let mut entries = bytes.chunks_exact(format.entry_size());
    let decode = |entry: &[u8]| decode_entry(format, entry, at, devices.mask());
    let Some(head) = entries.next() else { return Err(too_far().into()) };
    let head = decode(head)?;
    let mut run = 1_u64;
    for entry in entries {
        if decode(entry)? != follower(head, run, bits.blocks_floor(chunk_size)) {
            break;
        }
        run = run.saturating_add(1);
    }
    let start = first.checked_mul(chunk_size).ok_or_else(too_far)?;
    let length = run.saturating_mul(chunk_size).min(inode.size().saturating_sub(start));
    let place = match head {
        None => Place::Hole,
        Some(chunk) => Place::Device { device: chunk.device, byte: bits.byte_of(BlkAddr(chunk.block))? },
    };
    Ok(Extent { start, length, place })
}

/// The chunk that continues `head` after `run` chunks of `blocks` blocks: `head` and it are one extent.
fn follower(head: Option<ChunkAddress>, run: u64, blocks: u64) -> Option<ChunkAddress> {
    let head = head?;
    // Past 2^64 the address wraps to none that an entry can hold, because entries have 48 bits.
    let block = head.block.saturating_add(run.saturating_mul(blocks));
    Some(ChunkAddress { device: head.device, block })
}
