//! What an inode needs besides its xattrs, made from the content of its file: the union of the inode, and the
//! index, the extent records or the chunk table that follow it.

use erofs_format::compression::Algorithm;
use erofs_format::datalayout::chunk::{self, ChunkAddress, ChunkFormat};
use erofs_format::datalayout::lcluster;
use erofs_format::datalayout::{DataLayout, compact, extents, full};
use erofs_format::extent::{Coding, Stored, ZExtent};
use erofs_format::map_header::{self, MapHeader};
use erofs_format::{BlkAddr, BlockBits, FormatError};

use super::place::Shape;
use crate::content::{Address, Class, Content, Kind, Record, Tail};
use crate::error::BuildError;
use crate::options::IndexForm;

/// The block number of a chunk table that means "hole".
const HOLE: u32 = u32::MAX;

/// What is the same for all tables of an image.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    pub(crate) block_bits: BlockBits,
    /// Chunk tables have 8 bytes for each chunk, even where 4 would do.
    pub(crate) forces_indexes: bool,
    /// The first blocks of the extra devices in the unified address space (`erofs_map_dev`), device 1 first.
    pub(crate) devices: Vec<u64>,
}

/// What follows the header of an inode, but for its tail, and what the inode says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) layout: DataLayout,
    /// The union of the inode: first block, number of blocks, or form of chunks.
    pub(crate) i_u: u32,
    /// Starts at a multiple of `alignment` bytes.
    pub(crate) table: Vec<u8>,
    pub(crate) alignment: usize,
}

impl Made {
    /// Data that starts at this block, without a table.
    pub(crate) fn flat(layout: DataLayout, start: u64) -> Result<Self, FormatError> {
        Ok(Self { layout, i_u: block_32(start)?, table: Vec::new(), alignment: 1 })
    }
}

fn layout_of(tail: u32) -> DataLayout {
    if tail == 0 { DataLayout::FlatPlain } else { DataLayout::FlatInline }
}

impl Tables {
    /// The shape of a file of `size` bytes whose header has `header` bytes. `bytes` are those of the record,
    /// which may be missing where the file is not compressed.
    pub(crate) fn shape(
        &self,
        record: &Record,
        size: u64,
        header: u64,
        bytes: &[u8],
    ) -> Result<Shape, BuildError> {
        let tail = record.tail();
        let narrow = |table: u64| {
            u32::try_from(table)
                .map_err(|_| FormatError::limit("table of a file", table, "fewer than 2^32 bytes"))
        };
        Ok(match record.kind {
            Kind::Flat => Shape { layout: layout_of(tail), table: 0, tail },
            Kind::Chunked { bits, has_devices } => {
                let format = self.chunk_format(bits, has_devices);
                let table = format.chunks(size, self.block_bits) * format.entry_size() as u64;
                Shape { layout: DataLayout::ChunkBased, table: narrow(table)?, tail }
            }
            Kind::Compressed => {
                let (content, _) = record.decode(bytes)?;
                let made = self.make(&content, record.kind, size, header)?;
                Shape { layout: made.layout, table: narrow(made.table.len() as u64)?, tail }
            }
        })
    }

    /// What the inode of a file of `size` bytes needs, whose header has `header` bytes.
    pub(crate) fn make<B: AsRef<[u8]>>(
        &self,
        content: &Content<B>,
        kind: Kind,
        size: u64,
        header: u64,
    ) -> Result<Made, FormatError> {
        match (kind, content.class) {
            (Kind::Compressed, Class::Compressed { index, lcluster_bits, algorithm }) => {
                let list = self.list(content, algorithm)?;
                let shape =
                    lcluster::Shape { size, block_bits: self.block_bits, lcluster_bits, header_end: header };
                let (layout, table) = index_of(&list, &shape, index)?;
                let blocks = content.blocks(self.block_bits);
                let i_u = u32::try_from(blocks)
                    .map_err(|_| FormatError::limit("compressed blocks of a file", blocks, u32::MAX))?;
                Ok(Made { layout, i_u, table, alignment: map_header::SIZE })
            }
            (Kind::Chunked { bits, has_devices }, _) => self.chunks(content, bits, has_devices, size),
            (Kind::Flat | Kind::Compressed, _) => {
                let start = content.extents.first().and_then(|extent| extent.at);
                let start = start.map_or(Ok(0), |at| self.unified(at))?;
                let tail = content
                    .tail_bytes()
                    .map_or(0, |bytes| u32::try_from(bytes.as_ref().len()).unwrap_or(u32::MAX));
                Made::flat(layout_of(tail), self.block_bits.blocks_floor(start))
            }
        }
    }

    /// A byte of a device in the unified address space.
    fn unified(&self, at: Address) -> Result<u64, FormatError> {
        let Some(device) = usize::from(at.device).checked_sub(1) else { return Ok(at.byte) };
        let start = self.devices.get(device).copied().unwrap_or_default();
        let start = self.block_bits.byte_of(BlkAddr(start))?;
        let far = || FormatError::limit("address of data", at.byte, "less than 2^48 blocks");
        let byte = at.byte.checked_add(start).ok_or_else(far)?;
        if self.block_bits.blocks_floor(byte) >> 48 == 0 { Ok(byte) } else { Err(far()) }
    }

    /// Only indexes name a device.
    fn chunk_format(&self, bits: u8, has_devices: bool) -> ChunkFormat {
        let blkbits = bits.saturating_sub(self.block_bits.bits());
        ChunkFormat { blkbits, indexes: self.forces_indexes || has_devices, wide: false }
    }

    fn chunks<B>(
        &self,
        content: &Content<B>,
        bits: u8,
        has_devices: bool,
        size: u64,
    ) -> Result<Made, FormatError> {
        let format = self.chunk_format(bits, has_devices);
        let mut table = Vec::new();
        let mut extents = content.extents.iter().peekable();
        for chunk in 0..format.chunks(size, self.block_bits) {
            let start = chunk << bits;
            while extents.next_if(|extent| extent.end() <= start).is_some() {}
            let address = extents.peek().and_then(|extent| {
                let at = extent.at?;
                Some((at.device, at.byte + (start - extent.start)))
            });
            // Linux takes device 0 for the unified address space too; erofs-utils (1.9.4) reads from the
            // primary device what does not name another.
            let address = match address {
                Some((device, byte)) => {
                    let block = u64::from(block_32(self.block_bits.blocks_floor(byte))?);
                    Some(ChunkAddress { device, block })
                }
                None => None,
            };
            chunk::encode_entry(format, address, &mut table)?;
        }
        Ok(Made {
            layout: DataLayout::ChunkBased,
            i_u: format.encode(),
            table,
            alignment: format.entry_size(),
        })
    }

    /// The extents of a compressed file as indexes and records have them.
    fn list<B: AsRef<[u8]>>(
        &self,
        content: &Content<B>,
        algorithm: Algorithm,
    ) -> Result<Vec<ZExtent>, FormatError> {
        let mut list = Vec::with_capacity(content.extents.len() + 1);
        for extent in &content.extents {
            let stored = match extent.at {
                None => Stored::Hole,
                Some(at) => {
                    let length = u32::try_from(extent.stored).map_err(|_| {
                        FormatError::limit("pcluster", extent.stored, "at most 1048576 bytes")
                    })?;
                    Stored::Pcluster { byte: self.unified(at)?, length }
                }
            };
            list.push(ZExtent {
                start: extent.start,
                length: extent.length,
                stored,
                coding: extent.coding,
                partial: extent.partial,
            });
        }
        let start = content.end();
        let end = |length: u32, stored, coding| ZExtent {
            start,
            length: u64::from(length),
            stored,
            coding,
            partial: false,
        };
        match &content.tail {
            Tail::None | Tail::Plain(_) => {}
            Tail::Pcluster { length, coding, bytes } => {
                let stored = u16::try_from(bytes.as_ref().len()).unwrap_or(u16::MAX);
                list.push(end(*length, Stored::Inline { byte: 0, length: stored }, *coding));
            }
            Tail::Fragment { length, offset } => {
                // Before Linux 7.0 a fragment whose head says "plain" was taken for damage.
                let first = content.extents.iter().find_map(|extent| match extent.coding {
                    Coding::Compressed(algorithm) => Some(algorithm),
                    Coding::Shifted | Coding::Interlaced => None,
                });
                let coding = Coding::Compressed(first.unwrap_or(algorithm));
                list.push(end(*length, Stored::Fragment { offset: *offset }, coding));
            }
        }
        Ok(list)
    }
}

/// The map header with what follows it, and the data layout that says how to read it.
fn index_of(
    list: &[ZExtent],
    shape: &lcluster::Shape,
    form: IndexForm,
) -> Result<(DataLayout, Vec<u8>), FormatError> {
    if let [ZExtent { stored: Stored::Fragment { offset }, .. }] = list {
        let header = MapHeader::Fragment { offset: *offset }.encode(shape.block_bits)?;
        return Ok((DataLayout::CompressedFull, header.to_vec()));
    }
    match form {
        // What a compact index cannot hold, the full one can.
        IndexForm::Compact => match compact::encode(shape, list) {
            Ok(table) => Ok((DataLayout::CompressedCompact, table)),
            Err(_) => full::encode(shape, list).map(|table| (DataLayout::CompressedFull, table)),
        },
        IndexForm::Full => full::encode(shape, list).map(|table| (DataLayout::CompressedFull, table)),
        IndexForm::Extents => extents::encode(shape, list).map(|table| (DataLayout::CompressedFull, table)),
    }
}

/// A block address in 32 bits, below the one that means "nowhere".
pub(crate) fn block_32(block: u64) -> Result<u32, FormatError> {
    u32::try_from(block)
        .ok()
        .filter(|&narrow| narrow != HOLE)
        .ok_or_else(|| FormatError::limit("block address", block, "fewer than 2^32 - 1 blocks"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Extent;

    fn tables() -> Tables {
        Tables { block_bits: BlockBits::DEFAULT, forces_indexes: false, devices: vec![1000] }
    }

    fn content(class: Class, extents: &[(u64, Option<(u16, u64)>)]) -> Content<&'static [u8]> {
        let mut content = Content::new(class);
        for &(length, at) in extents {
            let at = at.map(|(device, byte)| Address { device, byte });
            let stored = if at.is_some() { length.next_multiple_of(4096) } else { 0 };
            content.push(Extent { start: 0, length, stored, at, coding: Coding::Shifted, partial: false });
        }
        content
    }

    #[test]
    fn plain_files_have_a_block_or_a_table_of_chunks() {
        let plain = Class::Plain { chunk_bits: None };
        for (extents, size, layout, i_u, entries) in [
            (vec![(5000, Some((0, 8192)))], 5000, DataLayout::FlatPlain, 2, 0),
            (vec![(5000, Some((1, 8192)))], 5000, DataLayout::ChunkBased, 0x33, 2),
            (vec![(8192, Some((0, 8192))), (100, None)], 8292, DataLayout::ChunkBased, 1, 2),
            (vec![(4096, Some((1, 8192))), (100, Some((0, 4096)))], 4196, DataLayout::ChunkBased, 0x20, 4),
        ] {
            let content = content(plain, &extents);
            let record = Record::new(&content, 0, 0).unwrap();
            let made = tables().make(&content, record.kind, size, 64).unwrap();
            assert_eq!((made.layout, made.i_u, made.table.len() / 4), (layout, i_u, entries), "{extents:?}");
            let shape = tables().shape(&record, size, 64, &[]).unwrap();
            assert_eq!(shape, Shape { layout, table: u32::try_from(made.table.len()).unwrap(), tail: 0 });
        }
    }

    #[test]
    fn addresses_move_by_where_their_device_starts() {
        let at = |device, byte| tables().unified(Address { device, byte }).ok();
        assert_eq!(at(0, 8193), Some(8193));
        assert_eq!(at(1, 8193), Some(8193 + 1000 * 4096));
        assert_eq!(at(1, ((1 << 48) - 1000) << 12), None);
        assert_eq!(at(1, u64::MAX), None);
    }
}
