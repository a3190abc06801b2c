//! The map header of a compressed inode: 8 bytes at the first multiple of 8 behind the inode and its xattrs
//! (`struct z_erofs_map_header`, read by `z_erofs_fill_inode`).
//!
//! ```text
//! index      0 fragment offset:4, or 0:2 inline size:2   4 advise:2  6 algorithms:1 (HEAD1 | HEAD2 << 4)  7 lcluster bits:1
//! extents    0 count:4                                   4 advise:2  6 count, upper half:2  (records of 16 and 32 bytes)
//!            0 0:4                                       4 advise:2  6 0:1                  7 lcluster bits:1  (4 and 8)
//! fragment   0 offset in the packed inode:8, with bit 63 set: the whole file is there
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::compression::Algorithm;
use crate::datalayout::DataLayout;
use crate::error::{FormatError, Rule};
use crate::units::BlockBits;

/// The length of a map header, in bytes; it stands at a multiple of as many.
pub const SIZE: usize = 8;
/// The most that lcluster bits can be above the block bits.
pub const LCLUSTER_BITS_ABOVE_MAX: u8 = 15;

/// The most lcluster bits of a file with an index. Linux takes the bytes from a head to the end of its lcluster
/// for one extent (`z_erofs_map_blocks_fo`) and refuses extents above 12 MiB (`Z_EROFS_PCLUSTER_MAX_DSIZE`).
pub const LCLUSTER_BITS_MAX: u8 = 23;

#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Record {
    low: U32,
    advise: U16,
    algorithms: u8,
    clusterbits: u8,
}

const _: () = assert!(size_of::<Record>() == SIZE);

const FRAGMENT_INODE: u64 = 1 << 63;

/// Bits of `h_advise`.
pub mod advise {
    /// Compact index: packs of 2 bytes per lcluster are in use.
    pub const COMPACTED_2B: u16 = 0x01;
    /// Full layout: extent records instead of an index.
    pub const EXTENTS: u16 = 0x01;
    /// HEAD1 pclusters may be larger than a block.
    pub const BIG_PCLUSTER_1: u16 = 0x02;
    /// PLAIN and HEAD2 pclusters may be larger than a block.
    pub const BIG_PCLUSTER_2: u16 = 0x04;
    /// The last pcluster follows the index.
    pub const INLINE_PCLUSTER: u16 = 0x08;
    /// Plain data stands at the same place of a block on disk as in the file.
    pub const INTERLACED_PCLUSTER: u16 = 0x10;
    /// The last extent is in the packed inode.
    pub const FRAGMENT_PCLUSTER: u16 = 0x20;
    /// Extent records: their size is 4 bytes shifted by the two bits from here on.
    pub const EXTENT_RECORD_SHIFT: u32 = 1;
    /// The mask of those two bits.
    pub const EXTENT_RECORD_MASK: u16 = 0x03;
}

/// Where the map header of an inode stands, whose xattrs end at `header_end`; `None` past 2^64.
pub fn at(header_end: u64) -> Option<u64> {
    header_end.checked_next_multiple_of(8)
}

/// Where what follows the map header starts: packs of a compact index, extent records after alignment, and
/// the 8 reserved bytes before a full index (`Z_EROFS_MAP_HEADER_END`); `None` past 2^64.
pub fn end(header_end: u64) -> Option<u64> {
    at(header_end)?.checked_add(8)
}

/// The size of an extent record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordSize {
    /// Stored lengths alone: extents of one logical size, one behind the other on disk.
    Four,
    /// With the lower half of the address: extents of one logical size anywhere below 4 GiB.
    Eight,
    /// With the whole address and a logical start below 4 GiB.
    Sixteen,
    /// With the whole of both.
    ThirtyTwo,
}

impl RecordSize {
    /// Every size, smallest first.
    pub const ALL: [Self; 4] = [Self::Four, Self::Eight, Self::Sixteen, Self::ThirtyTwo];

    /// In bytes; records stand at a multiple of it.
    pub fn bytes(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
            Self::Sixteen => 16,
            Self::ThirtyTwo => 32,
        }
    }

    /// Whether every extent but the last has the same logical size, so that no logical start is stored.
    pub fn is_even(self) -> bool {
        matches!(self, Self::Four | Self::Eight)
    }

    fn from_advise(bits: u16) -> Self {
        match (bits >> advise::EXTENT_RECORD_SHIFT) & advise::EXTENT_RECORD_MASK {
            0 => Self::Four,
            1 => Self::Eight,
            2 => Self::Sixteen,
            _ => Self::ThirtyTwo,
        }
    }

    fn advise(self) -> u16 {
        let number = match self {
            Self::Four => 0,
            Self::Eight => 1,
            Self::Sixteen => 2,
            Self::ThirtyTwo => 3_u16,
        };
        number << advise::EXTENT_RECORD_SHIFT
    }
}

/// Where the last extent of an indexed file is, unless it is a pcluster like the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tail {
    /// A pcluster.
    None,
    /// So many bytes behind the index.
    Inline(u16),
    /// At this byte of the packed inode: the lower half of the offset; a full index has the upper one.
    Fragment(u32),
}

/// The header of an index of lclusters, full or compact.
#[expect(clippy::struct_excessive_bools, reason = "they are bits on disk, each with a meaning of its own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexHeader {
    /// Compact: packs of 2 bytes per lcluster are in use.
    pub compacted_2b: bool,
    /// HEAD1 pclusters may be larger than a block.
    pub big_pcluster_1: bool,
    /// PLAIN and HEAD2 pclusters may be larger than a block; the same as `big_pcluster_1` in a compact index.
    pub big_pcluster_2: bool,
    /// Plain pclusters are interlaced.
    pub interlaced: bool,
    /// What is special about the last extent.
    pub tail: Tail,
    /// The algorithms of HEAD1 and HEAD2.
    pub algorithms: [Algorithm; 2],
    /// The size of an lcluster as a power of two of bytes.
    pub lcluster_bits: u8,
}

/// The header of extent records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentsHeader {
    /// The size of a record.
    pub record: RecordSize,
    /// How many records there are; with records of 4 and 8 bytes it is not stored but follows from the file's
    /// size, and is 0 here.
    pub count: u64,
    /// The logical size of every extent but the last, as a power of two of bytes; of no meaning with records
    /// of 16 and 32.
    pub lcluster_bits: u8,
    /// Plain pclusters of whole blocks are interlaced.
    pub interlaced: bool,
    /// The last extent is in the packed inode.
    pub fragment: bool,
}

/// A map header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapHeader {
    /// The whole file is in the packed inode.
    Fragment {
        /// First byte in the packed inode; below 2^63.
        offset: u64,
    },
    /// Extent records follow.
    Extents(ExtentsHeader),
    /// An index of lclusters follows.
    Index(IndexHeader),
}

impl MapHeader {
    /// Reads the header at the start of `bytes`, which stand at byte `at`. What Linux refuses is refused:
    /// unknown algorithms, and big pclusters for one kind of head only in a compact index.
    pub fn decode(
        bytes: &[u8],
        at: u64,
        layout: DataLayout,
        block_bits: BlockBits,
    ) -> Result<Self, FormatError> {
        let raw: [u8; SIZE] =
            *bytes.first_chunk().ok_or_else(|| FormatError::short("map header", at, bytes.len(), SIZE))?;
        let whole = u64::from_le_bytes(raw);
        if whole & FRAGMENT_INODE != 0 {
            return Ok(Self::Fragment { offset: whole ^ FRAGMENT_INODE });
        }
        let record: Record = zerocopy::transmute!(raw);
        let (bits, low) = (record.advise.get(), record.low.get());
        let lcluster_bits = block_bits.bits().saturating_add(record.clusterbits & LCLUSTER_BITS_ABOVE_MAX);
        if layout == DataLayout::CompressedFull && bits & advise::EXTENTS != 0 {
            let record = RecordSize::from_advise(bits);
            return Ok(Self::Extents(ExtentsHeader {
                record,
                // The upper half stands in the last two bytes of the header.
                count: if record.is_even() { 0 } else { u64::from(low) | (whole >> 48 << 32) },
                lcluster_bits: if record.is_even() { lcluster_bits } else { 0 },
                interlaced: bits & advise::INTERLACED_PCLUSTER != 0,
                fragment: bits & advise::FRAGMENT_PCLUSTER != 0,
            }));
        }
        if lcluster_bits > LCLUSTER_BITS_MAX {
            let (at, found) = (at.saturating_add(7), format!("lclusters of 2^{lcluster_bits} bytes"));
            let want = format!("at most 2^{LCLUSTER_BITS_MAX}");
            return Err(FormatError::field("map header.h_clusterbits", at, found, want));
        }
        let inline = u16::try_from(low >> 16).unwrap_or(0);
        let tail = if bits & advise::FRAGMENT_PCLUSTER != 0 {
            Tail::Fragment(low)
        } else if bits & advise::INLINE_PCLUSTER != 0 && inline != 0 {
            Tail::Inline(inline)
        } else {
            Tail::None
        };
        let header = IndexHeader {
            compacted_2b: layout == DataLayout::CompressedCompact && bits & advise::COMPACTED_2B != 0,
            big_pcluster_1: bits & advise::BIG_PCLUSTER_1 != 0,
            big_pcluster_2: bits & advise::BIG_PCLUSTER_2 != 0,
            interlaced: bits & advise::INTERLACED_PCLUSTER != 0,
            tail,
            algorithms: [algorithm(record.algorithms & 15, at)?, algorithm(record.algorithms >> 4, at)?],
            lcluster_bits,
        };
        if layout == DataLayout::CompressedCompact && header.big_pcluster_1 != header.big_pcluster_2 {
            let want = "big pclusters for both heads or none in a compact index";
            return Err(FormatError::field(
                "map header.h_advise",
                at.saturating_add(4),
                format!("{bits:#x}"),
                want,
            ));
        }
        Ok(Self::Index(header))
    }

    /// The 8 bytes of this header. An error if a value has no room.
    pub fn encode(&self, block_bits: BlockBits) -> Result<[u8; SIZE], FormatError> {
        match self {
            Self::Fragment { offset } if offset & FRAGMENT_INODE != 0 => {
                Err(FormatError::limit("offset in the packed inode", offset, "less than 2^63"))
            }
            Self::Fragment { offset } => Ok((offset | FRAGMENT_INODE).to_le_bytes()),
            Self::Extents(header) => header.encode(block_bits),
            Self::Index(header) => header.encode(block_bits),
        }
    }
}

fn algorithm(number: u8, at: u64) -> Result<Algorithm, FormatError> {
    let at = at.saturating_add(6);
    Algorithm::from_number(number).ok_or_else(|| {
        FormatError::field("map header.h_algorithmtype", at, number, "0 to 3").of(Rule::Algorithm)
    })
}

fn above(lcluster_bits: u8, block_bits: BlockBits) -> Result<u8, FormatError> {
    lcluster_bits.checked_sub(block_bits.bits()).filter(|above| *above <= LCLUSTER_BITS_ABOVE_MAX).ok_or_else(
        || {
            let limit = "a block and up to 15 powers of two more";
            FormatError::limit("lcluster size, as a power of two", lcluster_bits, limit)
        },
    )
}

fn flag(set: bool, bit: u16) -> u16 {
    if set { bit } else { 0 }
}

impl IndexHeader {
    fn encode(&self, block_bits: BlockBits) -> Result<[u8; SIZE], FormatError> {
        let (low, tail) = match self.tail {
            Tail::None => (0, 0),
            Tail::Inline(length) => (u32::from(length) << 16, advise::INLINE_PCLUSTER),
            Tail::Fragment(offset) => (offset, advise::FRAGMENT_PCLUSTER),
        };
        let bits = tail
            | flag(self.compacted_2b, advise::COMPACTED_2B)
            | flag(self.big_pcluster_1, advise::BIG_PCLUSTER_1)
            | flag(self.big_pcluster_2, advise::BIG_PCLUSTER_2)
            | flag(self.interlaced, advise::INTERLACED_PCLUSTER);
        let [first, second] = self.algorithms;
        let record = Record {
            low: U32::new(low),
            advise: U16::new(bits),
            algorithms: first.number() | (second.number() << 4),
            clusterbits: above(self.lcluster_bits, block_bits)?,
        };
        Ok(zerocopy::transmute!(record))
    }
}

impl ExtentsHeader {
    fn encode(&self, block_bits: BlockBits) -> Result<[u8; SIZE], FormatError> {
        let bits = advise::EXTENTS
            | self.record.advise()
            | flag(self.interlaced, advise::INTERLACED_PCLUSTER)
            | flag(self.fragment, advise::FRAGMENT_PCLUSTER);
        let advise = U16::new(bits);
        if self.record.is_even() {
            let clusterbits = above(self.lcluster_bits, block_bits)?;
            return Ok(zerocopy::transmute!(Record { low: U32::new(0), advise, algorithms: 0, clusterbits }));
        }
        // Bit 63 of the header says that the whole file is a fragment.
        if self.count >> 47 != 0 {
            return Err(FormatError::limit("extents of a file", self.count, "fewer than 2^47"));
        }
        let low = self.count & 0xffff_ffff;
        Ok((low | (u64::from(bits) << 32) | (self.count >> 32 << 48)).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: DataLayout = DataLayout::CompressedFull;
    const COMPACT: DataLayout = DataLayout::CompressedCompact;

    fn index() -> IndexHeader {
        IndexHeader {
            compacted_2b: false,
            big_pcluster_1: true,
            big_pcluster_2: true,
            interlaced: false,
            tail: Tail::None,
            algorithms: [Algorithm::Zstd, Algorithm::Lz4],
            lcluster_bits: 12,
        }
    }

    #[test]
    fn decoding_undoes_encoding() {
        let extents = ExtentsHeader {
            record: RecordSize::Four,
            count: 0,
            lcluster_bits: 20,
            interlaced: false,
            fragment: true,
        };
        for (layout, header) in [
            (FULL, MapHeader::Fragment { offset: (1 << 63) - 1 }),
            (FULL, MapHeader::Index(index())),
            (FULL, MapHeader::Index(IndexHeader { big_pcluster_2: false, interlaced: true, ..index() })),
            (
                COMPACT,
                MapHeader::Index(IndexHeader { compacted_2b: true, tail: Tail::Inline(65535), ..index() }),
            ),
            (
                COMPACT,
                MapHeader::Index(IndexHeader {
                    tail: Tail::Fragment(u32::MAX),
                    lcluster_bits: 14,
                    ..index()
                }),
            ),
            (FULL, MapHeader::Extents(extents)),
            (
                FULL,
                MapHeader::Extents(ExtentsHeader { record: RecordSize::Eight, interlaced: true, ..extents }),
            ),
            (
                FULL,
                MapHeader::Extents(ExtentsHeader {
                    record: RecordSize::Sixteen,
                    count: (1 << 47) - 1,
                    lcluster_bits: 0,
                    ..extents
                }),
            ),
            (
                FULL,
                MapHeader::Extents(ExtentsHeader {
                    record: RecordSize::ThirtyTwo,
                    count: 3,
                    lcluster_bits: 0,
                    fragment: false,
                    ..extents
                }),
            ),
        ] {
            let bytes = header.encode(BlockBits::DEFAULT).unwrap();
            assert_eq!(MapHeader::decode(&bytes, 0, layout, BlockBits::DEFAULT).unwrap(), header);
        }
    }

    #[test]
    fn what_has_no_room_or_sense_is_refused() {
        let bits = BlockBits::DEFAULT;
        assert!(MapHeader::Fragment { offset: 1 << 63 }.encode(bits).is_err());
        assert!(MapHeader::Index(IndexHeader { lcluster_bits: 11, ..index() }).encode(bits).is_err());
        assert!(MapHeader::Index(IndexHeader { lcluster_bits: 28, ..index() }).encode(bits).is_err());
        let one = MapHeader::Index(IndexHeader { big_pcluster_1: false, ..index() }).encode(bits).unwrap();
        let message = MapHeader::decode(&one, 64, COMPACT, bits).unwrap_err().to_string();
        assert!(message.starts_with("map header.h_advise at byte 68: found 0x4"), "{message}");
        let message =
            MapHeader::decode(&[0, 0, 0, 0, 0, 0, 0, 0x4c], 64, FULL, bits).unwrap_err().to_string();
        assert_eq!(
            message,
            "map header.h_clusterbits at byte 71: found lclusters of 2^24 bytes, want at most 2^23"
        );
        let message =
            MapHeader::decode(&[0, 0, 0, 0, 0, 0, 0x40, 0], 64, FULL, bits).unwrap_err().to_string();
        assert_eq!(message, "map header.h_algorithmtype at byte 70: found 4, want 0 to 3");
        assert!(MapHeader::decode(&[0; 7], 0, FULL, bits).is_err());
        assert_eq!((at(44), end(44), at(u64::MAX)), (Some(48), Some(56), None));
    }
}
