//! Arbitrary bytes as the map of a compressed file, in each of its forms: full index, compact index, extent
//! records. Whatever is found holds the offset that was asked for and lies inside the file, and what an
//! encoder makes of it is found again.

#![no_main]

use std::collections::HashMap;

use erofs_format::datalayout::extents::{self, Record};
use erofs_format::datalayout::lcluster::{Index, Shape};
use erofs_format::datalayout::{DataLayout, compact, full};
use erofs_format::extent::{Stored, ZExtent};
use erofs_format::map_header::{self, ExtentsHeader, IndexHeader, MapHeader, RecordSize};
use erofs_format::{BlockBits, FormatError};
use libfuzzer_sys::fuzz_target;

/// What a map says, from byte 0 of the inode's space on.
struct Map<'a> {
    shape: Shape,
    layout: DataLayout,
    bytes: &'a [u8],
}

fn wrong() -> FormatError {
    FormatError::limit("bytes", 0, "more")
}

impl Map<'_> {
    fn at(&self, place: u64) -> Result<&[u8], FormatError> {
        let place = place.checked_sub(map_header::at(self.shape.header_end).ok_or_else(wrong)?);
        let place = place.and_then(|place| usize::try_from(place).ok()).ok_or_else(wrong)?;
        self.bytes.get(place..).ok_or_else(wrong)
    }

    fn index(&self, header: IndexHeader, offset: u64) -> Result<ZExtent, FormatError> {
        let shape = Shape { lcluster_bits: header.lcluster_bits, ..self.shape };
        let mut loads = 0;
        let mut load = |lcluster| {
            loads += 1;
            assert!(loads <= 3 * 65_536 + 2, "an endless chain");
            if self.layout == DataLayout::CompressedCompact {
                let pack = compact::pack_of(&shape, header.compacted_2b, lcluster)?;
                return compact::decode(&header, pack, self.at(pack.at)?, lcluster);
            }
            let place = full::index_at(&shape).and_then(|start| start.checked_add(lcluster.checked_mul(8)?));
            full::decode(self.at(place.ok_or_else(wrong)?)?, 0)
        };
        let index = Index::open(shape, self.layout, header, 4096, &mut load)?;
        index.map(offset, &mut load)
    }

    fn records(&self, header: ExtentsHeader, offset: u64) -> Result<ZExtent, FormatError> {
        let start = extents::records_at(self.shape.header_end, header.record).ok_or_else(wrong)?;
        let size = header.record.bytes() as u64;
        let mut seen: HashMap<u64, Record> = HashMap::new();
        let found = extents::map(&self.shape, &header, offset, &mut |number| {
            let place = number.checked_mul(size).and_then(|far| start.checked_add(far)).ok_or_else(wrong)?;
            let record = Record::decode(header.record, self.at(place)?, place)?;
            seen.insert(number, record);
            Ok::<_, FormatError>(record)
        });
        assert!(seen.len() <= 64, "{} records for one offset", seen.len());
        found
    }

    fn map(&self, offset: u64) -> Result<ZExtent, FormatError> {
        match MapHeader::decode(self.bytes, 0, self.layout, self.shape.block_bits)? {
            MapHeader::Fragment { .. } => Err(wrong()),
            MapHeader::Index(header) => self.index(header, offset),
            MapHeader::Extents(header) => self.records(header, offset),
        }
    }
}

/// Extents that were found one behind the other, up to a few, through every encoder that takes them.
fn again(map: &Map<'_>, extents: &[ZExtent]) {
    let Some(last) = extents.last() else { return };
    if extents.first().is_none_or(|first| first.start != 0) || matches!(last.stored, Stored::Inline { .. }) {
        return;
    }
    let block_bits = map.shape.block_bits;
    let shape = Shape { size: last.end(), lcluster_bits: block_bits.bits(), ..map.shape };
    if shape.size > 1 << 24 {
        return;
    }
    for (layout, bytes) in [
        (DataLayout::CompressedCompact, compact::encode(&shape, extents)),
        (DataLayout::CompressedFull, full::encode(&shape, extents)),
        (DataLayout::CompressedFull, extents::encode(&shape, extents)),
    ] {
        let Ok(bytes) = bytes else { continue };
        let made = Map { shape, layout, bytes: &bytes };
        if let Ok(MapHeader::Extents(ExtentsHeader { record: RecordSize::Four, .. })) =
            MapHeader::decode(&bytes, 0, layout, block_bits)
        {
            continue;
        }
        for extent in extents {
            assert_eq!(made.map(extent.start).as_ref(), Ok(extent), "{layout:?}");
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_first_chunk::<8>() else { return };
    let [form, bits, size_bits, a, b, c, offset, xattrs] = *head;
    let Some(block_bits) = BlockBits::new(9 + bits % 8) else { return };
    let size = u64::from(u32::from_le_bytes([a, b, c, 0])) << (size_bits % 20);
    let layout = if form % 2 == 0 { DataLayout::CompressedFull } else { DataLayout::CompressedCompact };
    let header_end = 32 + 4 * u64::from(xattrs);
    let shape = Shape { size, block_bits, lcluster_bits: block_bits.bits(), header_end };
    let map = Map { shape, layout, bytes: rest };
    let mut at = u64::from(offset) << (size_bits % 20);
    let mut extents = Vec::new();
    for _ in 0..8 {
        let Ok(extent) = map.map(at) else { break };
        assert!(extent.start <= at && at < extent.end() && extent.end() <= size, "{extent:?} for {at} of {size}");
        extent.check(size).expect("what is found was checked");
        if extents.last().is_none_or(|before: &ZExtent| before.end() == extent.start) {
            extents.push(extent);
        }
        at = extent.end();
    }
    again(&map, &extents);
});
