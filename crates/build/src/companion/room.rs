//! What the original has room for, and what of it is used up: hostile tables that overlap must cost no more than their bytes.

use erofs_format::datalayout::chunk::MAP_ENTRY_SIZE;
use erofs_format::datalayout::extents;
use erofs_format::feature::incompat;
use erofs_format::map_header::MapHeader;
use erofs_format::{BlockBits, FormatError};
use erofs_image::budget::ENTRY_BYTES;
use erofs_image::{FileData, Image};

/// The original by its sizes.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) block_bits: BlockBits,
    /// Blocks of the original.
    pub(super) blocks: u64,
    /// LZ4 data ends at the end of its pcluster.
    pub(super) lz4_padding: bool,
    /// The companion may have extent records, which name bytes.
    pub(super) may_name_bytes: bool,
    /// Blocks of the companion that hold contents.
    pub(super) own_blocks: u64,
    /// Those among them that hold nothing.
    pub(super) gaps: Vec<u64>,
    tables: u64,
    /// How many more chunks the original can have.
    chunks_left: u64,
    /// How many more lclusters or extent records.
    entries_left: u64,
}

impl Room {
    pub(super) fn of(original: &Image, may_name_bytes: bool) -> Self {
        let superblock = original.superblock();
        let block_bits = superblock.block_bits;
        let length = original.primary_len();
        let tables = original.limits().table_bytes;
        Self {
            block_bits,
            blocks: if superblock.blocks == 0 { block_bits.blocks_ceil(length) } else { superblock.blocks },
            lz4_padding: superblock.incompat & incompat::LZ4_0PADDING != 0,
            may_name_bytes,
            own_blocks: 0,
            gaps: Vec::new(),
            tables,
            chunks_left: tables / MAP_ENTRY_SIZE as u64,
            entries_left: tables / ENTRY_BYTES,
        }
    }

    /// One without anything.
    #[cfg(test)]
    pub(super) fn empty() -> Self {
        Self {
            block_bits: BlockBits::DEFAULT,
            blocks: 0,
            lz4_padding: true,
            may_name_bytes: false,
            own_blocks: 0,
            gaps: Vec::new(),
            tables: 0,
            chunks_left: 0,
            entries_left: 0,
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
        let want = format!("an end within the {} blocks of the image", self.blocks);
        Err(FormatError::field("extent", byte, format!("{length} bytes"), want))
    }

    /// One more block of the companion for contents, by its number.
    pub(super) fn take_block(&mut self) -> u64 {
        let block = self.own_blocks;
        self.own_blocks += 1;
        block
    }

    /// Counts the chunks of a file.
    pub(super) fn take_chunks(&mut self, chunks: u64) -> Result<(), FormatError> {
        let left = self.chunks_left.checked_sub(chunks);
        self.chunks_left = left.ok_or_else(|| self.too_many("chunks of all files", chunks))?;
        Ok(())
    }

    /// Counts what the index of a compressed file has.
    pub(super) fn take_index(&mut self, data: &FileData) -> Result<(), FormatError> {
        let entries = entries(data.map_header(), data.len());
        let left = self.entries_left.checked_sub(entries);
        self.entries_left = left.ok_or_else(|| self.too_many("index entries of all files", entries))?;
        Ok(())
    }

    fn too_many(&self, what: &'static str, more: u64) -> FormatError {
        let found = format!("{more} more");
        FormatError::limit(what, found, format!("as many as {} bytes of tables have room for", self.tables))
    }
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
    fn tables_are_counted_until_the_image_has_no_room() {
        let mut room = Room { blocks: 3, tables: 80, chunks_left: 20, entries_left: 40, ..Room::empty() };
        room.take_chunks(19).unwrap();
        let message = room.take_chunks(2).unwrap_err().to_string();
        assert!(message.starts_with("chunks of all files: found 2 more"), "{message}");
        room.take_chunks(1).unwrap();
        room.check(8192, 4096).unwrap();
        for (byte, length) in [(8192, 4097), (12_288, 1), (u64::MAX, 2)] {
            let message = room.check(byte, length).unwrap_err().to_string();
            assert!(message.contains("want an end within the 3 blocks of the image"), "{message}");
        }
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
