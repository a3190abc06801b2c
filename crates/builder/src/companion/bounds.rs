//! What the original has room for, and what of it is used up: hostile tables that overlap must cost no more
//! than their bytes.

use erofs_format::datalayout::chunk::{ChunkFormat, MAP_ENTRY_SIZE};
use erofs_format::datalayout::{DataLayout, extents};
use erofs_format::feature::incompat;
use erofs_format::map_header::MapHeader;
use erofs_format::units::INODE_SLOT_SIZE;
use erofs_format::words;
use erofs_format::{BlockBits, FormatError};
use erofs_image::budget::ENTRY_BYTES;
use erofs_image::{Budget, FileData, Image};

use super::pages::PAGE;
use crate::error::BuildError;

/// The original by its sizes.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) block_bits: BlockBits,
    /// Blocks of the original.
    pub(super) blocks: u64,
    /// LZ4 data ends at the end of its pcluster.
    pub(super) lz4_padding: bool,
    /// The companion may have extent records, which name bytes.
    pub(super) may_name_bytes: bool,
    /// Bytes of tables.
    tables: Budget,
    /// Blocks of the companion that hold contents.
    copies: Budget,
}

impl Bounds {
    pub(super) fn of(original: &Image, may_name_bytes: bool) -> Self {
        let superblock = original.superblock();
        let block_bits = superblock.block_bits;
        let length = original.primary_len();
        Self {
            block_bits,
            blocks: if superblock.blocks == 0 { block_bits.blocks_ceil(length) } else { superblock.blocks },
            lz4_padding: superblock.incompat & incompat::LZ4_0PADDING != 0,
            may_name_bytes,
            tables: Budget::new("tables of files", "bytes", original.limits().table_bytes),
            copies: Budget::new("contents to be copied", "blocks", copies_max(block_bits, length)),
        }
    }

    /// Length of the original in bytes, as its superblock says.
    pub(super) fn original_bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_bits.size())
    }

    /// An error unless so many bytes from byte `byte` on lie within the original.
    pub(super) fn check(&self, byte: u64, length: u64) -> Result<(), FormatError> {
        if byte.checked_add(length).is_some_and(|end| end <= self.original_bytes()) {
            return Ok(());
        }
        let want = format!("an end within the {} of the image", words::blocks(self.blocks));
        Err(FormatError::field("extent", byte, words::bytes(length), want))
    }

    /// Counts blocks that are copied.
    pub(super) fn take_copies(&self, blocks: u64) -> Result<(), BuildError> {
        Ok(self.copies.take(blocks)?)
    }

    /// Counts the bytes of so many chunks.
    pub(super) fn take_chunks(&self, chunks: u64) -> Result<(), BuildError> {
        Ok(self.tables.take(chunks.saturating_mul(MAP_ENTRY_SIZE as u64))?)
    }

    /// Counts the bytes of a file's table.
    pub(super) fn take_table(&self, data: &FileData) -> Result<(), BuildError> {
        let inode = data.inode();
        if inode.layout() == DataLayout::ChunkBased {
            let format = ChunkFormat::decode(inode.record.i_u, 0)?;
            return self.take_chunks(format.chunks(inode.size(), self.block_bits));
        }
        if !inode.layout().is_compressed() {
            return Ok(());
        }
        let bytes = entries(data.map_header(), data.len()).saturating_mul(ENTRY_BYTES);
        Ok(self.tables.take(bytes)?)
    }
}

/// The most blocks of contents that are copied: a page for each block of the original, and a block for each
/// inode, which takes 32 bytes. More would be the same blocks again and again.
fn copies_max(block_bits: BlockBits, length: u64) -> u64 {
    let pages = block_bits.blocks_ceil(length).saturating_mul(block_bits.blocks_ceil(PAGE).max(1));
    pages.saturating_add(length / INODE_SLOT_SIZE)
}

/// How many lclusters the index of a compressed file of `size` bytes has, or extent records.
fn entries(header: Option<MapHeader>, size: u64) -> u64 {
    match header {
        Some(MapHeader::Extents(header)) => extents::count(&header, size),
        Some(MapHeader::Index(header)) => (size >> header.lcluster_bits).saturating_add(1),
        Some(MapHeader::Fragment { .. }) | None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use erofs_format::map_header::{ExtentsHeader, RecordSize};

    #[test]
    fn extents_end_within_the_image() {
        let bounds = Bounds {
            block_bits: BlockBits::DEFAULT,
            blocks: 3,
            lz4_padding: true,
            may_name_bytes: false,
            tables: Budget::new("tables of files", "bytes", 80),
            copies: Budget::new("contents to be copied", "blocks", 1),
        };
        bounds.check(8192, 4096).unwrap();
        for (byte, length) in [(8192, 4097), (12_288, 1), (u64::MAX, 2)] {
            let message = bounds.check(byte, length).unwrap_err().to_string();
            assert!(message.contains("want an end within the 3 blocks of the image"), "{message}");
        }
        bounds.take_chunks(20).unwrap();
        assert!(bounds.take_chunks(1).is_err());
    }

    #[test]
    fn records_and_lclusters_are_entries() {
        let records = |record, count| {
            let header =
                ExtentsHeader { record, count, lcluster_bits: 16, interlaced: false, fragment: false };
            Some(MapHeader::Extents(header))
        };
        for (header, want) in [
            (Some(MapHeader::Fragment { offset: 7 }), 1),
            (records(RecordSize::Four, 0), 16),
            (records(RecordSize::Sixteen, 1 << 40), 1 << 40),
            (None, 1),
        ] {
            assert_eq!(entries(header, 1 << 20), want, "{header:?}");
        }
    }
}
