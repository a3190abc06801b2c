//! Encoded extents: a record for each extent instead of an index of lclusters (`struct z_erofs_extent`,
//! advise bit EXTENTS of a full layout, `z_erofs_map_blocks_ext`; Linux 6.15).
//!
//! ```text
//! record  0 stored length:4 (bits 0-20, bit 27 partial, bits 28-31 algorithm + 1, 0 plain)   4 address:4  8 address, upper:4
//!         12 start in the file:4  16 start, upper:4  20 reserved[12]
//! ```
//!
//! A record has the first 4, 8, 16 or 32 bytes of this. With 4 and 8, all extents but the last have the same
//! power of two of bytes, and no start is stored; with 4, the extents stand one behind the other on disk, and
//! 8 bytes before the first record say where. Addresses and lengths are in bytes: nothing need stand on a
//! block. The last record is that of the fragment, if there is one: its first 4 bytes and its address are the
//! halves of the offset in the packed inode.

use crate::compression::Algorithm;
use crate::datalayout::lcluster::{Shape, check_cover};
use crate::error::{FormatError, units_u64};
use crate::extent::{Coding, Stored, ZExtent};
use crate::map_header::{self, ExtentsHeader, LCLUSTER_BITS_ABOVE_MAX, MapHeader, RecordSize};
use crate::words;

/// The length of the address before records of 4 bytes.
pub const START_SIZE: usize = 8;

const LENGTH_MASK: u32 = (1 << 21) - 1;
const PARTIAL: u32 = 1 << 27;
const FORMAT_SHIFT: u32 = 28;

/// A record as numbers; parts that its size has no room for are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// Stored length, partial reference and algorithm; the lower half of a fragment's offset.
    pub stored: u32,
    /// First byte on disk; the upper half of a fragment's offset. With records of 4 bytes whoever reads them
    /// sums it up: see [`Record::stored_length`].
    pub byte: u64,
    /// First byte in the file.
    pub start: u64,
}

impl Record {
    /// Reads a record of `size`, which stands at byte `at`.
    pub fn decode(size: RecordSize, bytes: &[u8], at: u64) -> Result<Self, FormatError> {
        let short = || FormatError::short("extent record", at, bytes.len(), size.bytes());
        let mut words = bytes
            .get(..size.bytes())
            .ok_or_else(short)?
            .chunks_exact(4)
            .map(|word| word.first_chunk().map_or(0, |word| u64::from(u32::from_le_bytes(*word))));
        let mut next = || words.next().unwrap_or(0);
        let stored = u32::try_from(next()).unwrap_or(0);
        let byte = next() | (next() << 32);
        let start = next() | (next() << 32);
        Ok(Self { stored, byte, start })
    }

    /// How many bytes are stored: how far on disk the next extent is, with records of 4 bytes.
    pub fn stored_length(&self) -> u32 {
        self.stored & LENGTH_MASK
    }

    fn encode(self, size: RecordSize, out: &mut Vec<u8>) {
        let mut bytes = self.stored.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.byte.to_le_bytes());
        bytes.extend_from_slice(&self.start.to_le_bytes());
        bytes.resize(size.bytes(), 0);
        out.extend_from_slice(&bytes);
    }
}

/// Where the records start, in bytes from where `header_end` (the end of the inode's xattrs) counts; with
/// records of 4 bytes the address before them starts there. `None` past 2^64.
pub fn records_at(header_end: u64, record: RecordSize) -> Option<u64> {
    map_header::end(header_end)?.checked_next_multiple_of(units_u64(record.bytes()))
}

/// The length of map header and `count` records, in bytes: what [`encode`] gives. `None` past 2^64.
pub fn encoded_size(header_end: u64, record: RecordSize, count: u64) -> Option<u64> {
    let start = if record == RecordSize::Four { START_SIZE } else { 0 };
    let records = count.checked_mul(units_u64(record.bytes()))?.checked_add(units_u64(start))?;
    records_at(header_end, record)?.checked_add(records)?.checked_sub(map_header::at(header_end)?)
}

/// How many records a file of `size` bytes has.
pub fn count(header: &ExtentsHeader, size: u64) -> u64 {
    if !header.record.is_even() {
        return header.count;
    }
    size.div_ceil(1_u64.checked_shl(u32::from(header.lcluster_bits)).unwrap_or(u64::MAX))
}

/// The extent that holds byte `offset`, which must be below the size of the file. `load` reads a record by
/// its number; with records of 4 bytes it fills in the address. `shape` lends size and block size. At most 64
/// records are read.
pub fn map<E: From<FormatError>>(
    shape: &Shape,
    header: &ExtentsHeader,
    offset: u64,
    load: &mut impl FnMut(u64) -> Result<Record, E>,
) -> Result<ZExtent, E> {
    let size = shape.size;
    if offset >= size {
        return Err(FormatError::limit("offset in a file", offset, words::bytes(size)).into());
    }
    let all = count(header, size);
    if header.record.is_even() {
        let number = offset.checked_shr(u32::from(header.lcluster_bits)).unwrap_or(0);
        let unit = 1_u64.checked_shl(u32::from(header.lcluster_bits)).unwrap_or(u64::MAX);
        let start = number.saturating_mul(unit);
        let record = Record { start, ..load(number)? };
        let last = number.saturating_add(1) >= all;
        let end = start.saturating_add(unit).min(size);
        return Ok(extent(shape, header, record, end, last)?);
    }
    let (mut low, mut high) = (0, all);
    let (mut found, mut end) = (None, size);
    while low < high {
        let middle = low.saturating_add(high.saturating_sub(low) / 2);
        let record = load(middle)?;
        if record.start <= offset {
            low = middle.saturating_add(1);
            found = Some(record);
        } else if record.start > end {
            let want = format!("a start up to byte {end} of the file");
            return Err(FormatError::limit("extent record", record.start, want).into());
        } else {
            high = middle;
            end = record.start;
        }
    }
    match found {
        Some(record) => Ok(extent(shape, header, record, end, low >= all)?),
        // Nothing is said about the bytes before the first record.
        None => Ok(ZExtent {
            start: 0,
            length: end,
            stored: Stored::Hole,
            coding: Coding::Shifted,
            partial: false,
        }),
    }
}

/// Whether Linux finds the same extents from every byte: its search wants starts that ascend. `load` reads a
/// record by its number; every one is read.
pub fn check<E: From<FormatError>>(
    shape: &Shape,
    header: &ExtentsHeader,
    load: &mut impl FnMut(u64) -> Result<Record, E>,
) -> Result<(), E> {
    if header.record.is_even() {
        return Ok(());
    }
    let mut last = None;
    for number in 0..header.count {
        let start = load(number)?.start;
        if start >= shape.size || last.is_some_and(|last| start <= last) {
            let want = format!("starts that ascend, below {}", words::bytes(shape.size));
            return Err(FormatError::limit("start of an extent record", start, want).into());
        }
        last = Some(start);
    }
    Ok(())
}

fn extent(
    shape: &Shape,
    header: &ExtentsHeader,
    record: Record,
    end: u64,
    last: bool,
) -> Result<ZExtent, FormatError> {
    let mut extent = ZExtent {
        start: record.start,
        length: end.saturating_sub(record.start),
        stored: Stored::Hole,
        coding: Coding::Shifted,
        partial: false,
    };
    let length = record.stored_length();
    if last && header.fragment {
        let high = if header.record == RecordSize::Four { 0 } else { record.byte & 0xffff_ffff };
        extent.stored = Stored::Fragment { offset: u64::from(record.stored) | (high << 32) };
    } else if length != 0 {
        extent.stored = Stored::Pcluster { byte: record.byte, length };
        extent.partial = record.stored & PARTIAL != 0;
        extent.coding = match (record.stored >> FORMAT_SHIFT).checked_sub(1) {
            Some(number) => Coding::Compressed(algorithm(number, &record)?),
            None if header.interlaced && whole_blocks(shape, record.byte, length) => Coding::Interlaced,
            None => Coding::Shifted,
        };
    }
    extent.check(shape.size)?;
    Ok(extent)
}

fn algorithm(number: u32, record: &Record) -> Result<Algorithm, FormatError> {
    u8::try_from(number).ok().and_then(Algorithm::from_number).ok_or_else(|| {
        let found = format!("{number} at byte {} of the file", record.start);
        FormatError::limit("algorithm of an extent record", found, "0 to 3")
    })
}

fn whole_blocks(shape: &Shape, byte: u64, length: u32) -> bool {
    shape.block_bits.within(byte | u64::from(length)) == 0
}

/// The header with the smallest records that hold these extents of a file of `shape`, whose `lcluster_bits`
/// are not looked at. An error if extent records cannot hold them: gaps, inline data, a fragment anywhere but
/// at the end, interlaced data that is not whole blocks or stands beside whole blocks of other plain data.
pub fn header_for(shape: &Shape, extents: &[ZExtent]) -> Result<ExtentsHeader, FormatError> {
    check_cover(extents, shape.size)?;
    let interlaced = extents.iter().any(|extent| extent.coding == Coding::Interlaced);
    let mut contiguous = true;
    let mut near = true;
    let mut next: Option<u64> = None;
    for extent in extents {
        let last = extent.end() == shape.size;
        let wrong = |found: &str, want: &str| {
            let found = format!("{found} at byte {} of the file", extent.start);
            Err(FormatError::limit("extent of extent records", found, want))
        };
        match extent.stored {
            Stored::Inline { .. } => return wrong("inline data", "pclusters and fragments"),
            Stored::Fragment { .. } if !last => return wrong("a fragment", "fragments at the end"),
            Stored::Fragment { offset } => contiguous &= offset >> 32 == 0,
            Stored::Hole if last && extent.partial => return wrong("a hole", "holes that are whole"),
            Stored::Hole => {}
            Stored::Pcluster { byte, length } => {
                let whole = whole_blocks(shape, byte, length);
                match extent.coding {
                    Coding::Interlaced if !whole => return wrong("interlaced data", "whole blocks of it"),
                    Coding::Shifted if interlaced && whole => {
                        return wrong("blocks of shifted data", "interlaced data only");
                    }
                    Coding::Interlaced | Coding::Shifted | Coding::Compressed(_) => {}
                }
                contiguous &= next.is_none_or(|next| next == byte);
                near &= byte >> 32 == 0;
                next = byte.checked_add(u64::from(length));
            }
        }
    }
    let even = even_bits(shape, extents);
    let record = match even {
        Some(_) if contiguous => RecordSize::Four,
        Some(_) if near => RecordSize::Eight,
        _ if extents.last().is_none_or(|last| last.start >> 32 == 0) => RecordSize::Sixteen,
        _ => RecordSize::ThirtyTwo,
    };
    Ok(ExtentsHeader {
        record,
        count: if record.is_even() { 0 } else { units_u64(extents.len()) },
        lcluster_bits: even.filter(|_| record.is_even()).unwrap_or(0),
        interlaced,
        fragment: matches!(extents.last().map(|last| last.stored), Some(Stored::Fragment { .. })),
    })
}

/// The power of two that all extents but the last have as their length, and the last at most.
fn even_bits(shape: &Shape, extents: &[ZExtent]) -> Option<u8> {
    let least = shape.block_bits.bits();
    let (end, others) = extents.split_last()?;
    let unit = match others.first() {
        Some(first) => first.length,
        None => end.length.checked_next_power_of_two()?.max(shape.block_bits.size()),
    };
    let even =
        unit.is_power_of_two() && end.length <= unit && others.iter().all(|other| other.length == unit);
    let bits = u8::try_from(unit.trailing_zeros()).ok()?;
    let most = least.saturating_add(LCLUSTER_BITS_ABOVE_MAX);
    (even && (least..=most).contains(&bits)).then_some(bits)
}

/// Map header, alignment and records of a file with these extents, to stand at [`map_header::at`] of the
/// shape's `header_end`. The records are as small as [`header_for`] says, or an error with it. A file that is
/// one fragment is better off with [`MapHeader::Fragment`].
pub fn encode(shape: &Shape, extents: &[ZExtent]) -> Result<Vec<u8>, FormatError> {
    let header = header_for(shape, extents)?;
    let mut out = MapHeader::Extents(header).encode(shape.block_bits)?.to_vec();
    let too_far = || FormatError::limit("end of the xattrs", shape.header_end, "less than 2^64 - 64");
    let start = map_header::at(shape.header_end).ok_or_else(too_far)?;
    let records = records_at(shape.header_end, header.record).ok_or_else(too_far)?;
    out.resize(usize::try_from(records.saturating_sub(start)).unwrap_or(0), 0);
    if header.record == RecordSize::Four {
        let first = extents.iter().find_map(|extent| match extent.stored {
            Stored::Pcluster { byte, .. } => Some(byte),
            Stored::Hole | Stored::Inline { .. } | Stored::Fragment { .. } => None,
        });
        out.extend_from_slice(&first.unwrap_or(0).to_le_bytes());
    }
    for extent in extents {
        record_of(extent).encode(header.record, &mut out);
    }
    Ok(out)
}

fn record_of(extent: &ZExtent) -> Record {
    let (stored, byte) = match extent.stored {
        Stored::Hole | Stored::Inline { .. } => (0, 0),
        Stored::Fragment { offset } => (u32::try_from(offset & 0xffff_ffff).unwrap_or(0), offset >> 32),
        Stored::Pcluster { byte, length } => {
            let format = match extent.coding {
                Coding::Compressed(algorithm) => u32::from(algorithm.number()).saturating_add(1),
                Coding::Shifted | Coding::Interlaced => 0,
            };
            let partial = if extent.partial { PARTIAL } else { 0 };
            (length | partial | (format << FORMAT_SHIFT), byte)
        }
    };
    Record { stored, byte, start: extent.start }
}
