//! Extents of compressed files through every form of index and back.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use erofs_format::compression::Algorithm;
use erofs_format::datalayout::lcluster::{Index, Lcluster, Shape};
use erofs_format::datalayout::{DataLayout, compact, extents, full};
use erofs_format::extent::{Coding, Stored, ZExtent};
use erofs_format::map_header::{self, MapHeader, RecordSize};
use erofs_format::{BlockBits, FormatError};

const BLOCK: u64 = 4096;
const LZ4: Coding = Coding::Compressed(Algorithm::Lz4);
const ZSTD: Coding = Coding::Compressed(Algorithm::Zstd);

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

fn shape(size: u64, header_end: u64) -> Shape {
    Shape { size, block_bits: BlockBits::DEFAULT, lcluster_bits: 12, header_end }
}

/// All extents that an encoded index gives, found from their first bytes, and each of them again from `also`
/// other places.
fn read_back(
    shape: &Shape,
    layout: DataLayout,
    bytes: &[u8],
    numbers: &mut Numbers,
) -> Result<Vec<ZExtent>, FormatError> {
    let base = map_header::at(shape.header_end).unwrap();
    let at = |byte: u64| usize::try_from(byte - base).unwrap();
    let header = MapHeader::decode(bytes, base, layout, shape.block_bits)?;
    let map: Box<dyn Fn(u64) -> Result<ZExtent, FormatError>> = match header {
        MapHeader::Fragment { .. } => unreachable!("no test encodes whole fragments"),
        MapHeader::Index(header) => {
            let is_full = layout == DataLayout::CompressedFull;
            let mut load = move |lcluster: u64| {
                if is_full {
                    let place = full::index_at(shape).unwrap() + lcluster * 8;
                    return full::decode(&bytes[at(place)..], place);
                }
                let pack = compact::pack_of(shape, header.compacted_2b, lcluster)?;
                compact::decode(&header, pack, &bytes[at(pack.at)..], lcluster)
            };
            let compact_end = compact::index_end(shape, header.compacted_2b);
            let end = if is_full { full::index_end(shape) } else { compact_end }.unwrap();
            assert_eq!(end - base, bytes.len() as u64, "the index ends where the bytes end");
            let index = Index::open(*shape, layout, header, end, &mut load)?;
            let load = std::cell::RefCell::new(load);
            Box::new(move |offset| index.map(offset, &mut *load.borrow_mut()))
        }
        MapHeader::Extents(header) => {
            let records = extents::records_at(shape.header_end, header.record).unwrap();
            let count = extents::count(&header, shape.size);
            assert_eq!(
                extents::encoded_size(shape.header_end, header.record, count),
                Some(bytes.len() as u64)
            );
            Box::new(move |offset| {
                let read = |number: u64, from: u64| {
                    let place = from + number * header.record.bytes() as u64;
                    extents::Record::decode(header.record, &bytes[at(place)..], place)
                };
                extents::map(shape, &header, offset, &mut |number| {
                    if header.record != RecordSize::Four {
                        return read(number, records);
                    }
                    let start = *bytes[at(records)..].first_chunk().unwrap();
                    let mut byte = u64::from_le_bytes(start);
                    for before in 0..number {
                        byte += u64::from(read(before, records + 8)?.stored_length());
                    }
                    Ok(extents::Record { byte, ..read(number, records + 8)? })
                })
            })
        }
    };
    let mut found = Vec::new();
    let mut offset = 0;
    while offset < shape.size {
        let extent = map(offset)?;
        assert_eq!(extent.start, offset);
        for _ in 0..2 {
            let inside = offset + numbers.below(extent.length);
            assert_eq!(map(inside)?, extent, "from byte {inside}");
        }
        offset = extent.end();
        found.push(extent);
    }
    assert!(map(shape.size).is_err());
    Ok(found)
}

/// What an inline extent's place becomes once the index is there.
fn placed(mut extents: Vec<ZExtent>, index_end: u64) -> Vec<ZExtent> {
    if let Some(ZExtent { stored: Stored::Inline { byte, .. }, .. }) = extents.last_mut() {
        *byte = index_end;
    }
    extents
}

struct Wanted {
    scattered: bool,
    interlaced: bool,
    big: bool,
    tail: u64,
}

/// Extents that an lcluster index can hold.
fn random_extents(numbers: &mut Numbers, size: u64, wanted: &Wanted) -> Vec<ZExtent> {
    let mut list = Vec::new();
    let mut byte = 37 * BLOCK;
    let mut start = 0;
    while start < size {
        let plain = numbers.one_in(4);
        let most = if numbers.one_in(5) { 60 } else { 4 };
        let longest = if plain { BLOCK } else { BLOCK * (1 + numbers.below(most)) };
        // At least to the end of the lcluster, so that the next one starts in another, and at least what is
        // stored.
        let least = if plain { BLOCK - start % BLOCK } else { BLOCK };
        let mut length = least + numbers.below(longest - least + 1);
        if size - start - length.min(size - start) < BLOCK || numbers.one_in(40) {
            length = size - start;
        }
        let length = length.min(size - start);
        let plain = plain && length <= BLOCK;
        let owned = (start + length) / BLOCK - start / BLOCK;
        let most = if wanted.big && owned > 1 && !plain { length / BLOCK } else { 1 };
        let blocks = 1 + numbers.below(most.clamp(1, 256));
        let stored = u32::try_from(blocks * BLOCK).unwrap();
        let coding = match (plain, wanted.interlaced) {
            (true, false) => Coding::Shifted,
            (true, true) => Coding::Interlaced,
            (false, _) if wanted.scattered && numbers.one_in(3) => ZSTD,
            (false, _) => LZ4,
        };
        let partial = wanted.scattered && !plain && numbers.one_in(5);
        list.push(ZExtent {
            start,
            length,
            stored: Stored::Pcluster { byte, length: stored },
            coding,
            partial,
        });
        byte += blocks * BLOCK;
        if wanted.scattered && numbers.one_in(3) {
            byte = (1 + numbers.below(1 << 31)) * BLOCK;
        }
        start += length;
    }
    if let Some(last) = list.last_mut() {
        match wanted.tail {
            1 => {
                let coding = if last.length <= 3000 && numbers.one_in(2) { Coding::Shifted } else { LZ4 };
                last.stored = Stored::Inline { byte: 0, length: 3000 };
                last.coding = coding;
                last.partial = false;
            }
            2 => {
                let high = if wanted.scattered { numbers.below(1 << 20) << 32 } else { 0 };
                let offset = numbers.below(1 << 32) | high;
                let stored = Stored::Fragment { offset };
                *last = ZExtent { stored, coding: Coding::Shifted, partial: false, ..*last };
            }
            _ => {}
        }
    }
    list
}

/// Where the index would end so that inline data of 3000 bytes fits its block, or not.
fn inline_fits(end: u64) -> bool {
    end % BLOCK + 3000 <= BLOCK
}

#[test]
fn random_extents_survive_both_indexes() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut compacts, mut fulls) = (0, 0);
    for round in 0..3000_u64 {
        let size = 1 + numbers.below(if round % 50 == 0 { 1 << 23 } else { 1 << 18 });
        let shape = shape(size, 32 + 4 * numbers.below(40));
        let wanted = Wanted {
            scattered: round % 2 == 1,
            interlaced: numbers.one_in(2),
            big: numbers.one_in(2),
            tail: numbers.below(3),
        };
        let list = random_extents(&mut numbers, size, &wanted);
        let inline = wanted.tail == 1;
        if !wanted.scattered {
            let bytes = compact::encode(&shape, &list).unwrap();
            assert_eq!(compact::encoded_size(&shape), Some(bytes.len() as u64));
            let end = compact::index_end(&shape, true).unwrap();
            if !inline || inline_fits(end) {
                let found = read_back(&shape, DataLayout::CompressedCompact, &bytes, &mut numbers).unwrap();
                assert_eq!(found, placed(list.clone(), end), "compact, round {round}");
                compacts += 1;
            }
        }
        let bytes = full::encode(&shape, &list).unwrap();
        assert_eq!(full::encoded_size(&shape), Some(bytes.len() as u64));
        let end = full::index_end(&shape).unwrap();
        if !inline || inline_fits(end) {
            let found = read_back(&shape, DataLayout::CompressedFull, &bytes, &mut numbers).unwrap();
            assert_eq!(found, placed(list, end), "full, round {round}");
            fulls += 1;
        }
    }
    assert!(compacts > 900 && fulls > 1900, "{compacts} {fulls}");
}

#[test]
fn long_extents_and_holes_survive_a_full_index() {
    let extent = |start, length, stored, coding| ZExtent { start, length, stored, coding, partial: false };
    let pcluster = |byte, length| Stored::Pcluster { byte, length };
    let size = (24 << 20) + 5;
    let list = vec![
        extent(0, 12 << 20, pcluster(BLOCK, 1 << 20), LZ4),
        extent(12 << 20, 11 << 20, Stored::Hole, Coding::Shifted),
        extent(23 << 20, (1 << 20) + 5, Stored::Fragment { offset: 1 << 50 }, Coding::Shifted),
    ];
    let shape = shape(size, 64);
    let bytes = full::encode(&shape, &list).unwrap();
    assert_eq!(read_back(&shape, DataLayout::CompressedFull, &bytes, &mut Numbers(7)).unwrap(), list);
    assert!(compact::encode(&shape, &list).is_err());
}

/// Extents for records: of one power of two or not, below 4 GiB of the disk or anywhere, one behind the other
/// or not, and beyond 4 GiB of the file or not.
fn random_records(numbers: &mut Numbers, round: u64) -> Vec<ZExtent> {
    let (even, near, contiguous) = (round.is_multiple_of(2), round % 4 < 2, round % 8 < 4);
    let zeros = |start, length| ZExtent {
        start,
        length,
        stored: Stored::Hole,
        coding: Coding::Shifted,
        partial: false,
    };
    let unit = BLOCK << numbers.below(8);
    let mut list = Vec::new();
    let mut byte = numbers.below(1 << 31);
    let mut start = if round % 16 == 15 { u64::from(u32::MAX) - 40_000 } else { 0 };
    if start > 0 {
        list.push(zeros(0, start));
    }
    let count = 1 + numbers.below(40);
    for number in 0..count {
        let whole = even && (number + 1 < count || numbers.one_in(2));
        let length = if whole { unit } else { 1 + numbers.below(unit) };
        let mut extent = zeros(start, length);
        if !numbers.one_in(12) {
            let plain = numbers.one_in(4);
            let stored = if plain { length } else { 1 + numbers.below(length.min(1 << 20)) };
            let packed = if numbers.one_in(2) { LZ4 } else { ZSTD };
            extent.coding = if plain { Coding::Shifted } else { packed };
            extent.partial = !plain && numbers.one_in(6);
            extent.stored = Stored::Pcluster { byte, length: u32::try_from(stored).unwrap() };
            byte += stored;
        }
        if !contiguous {
            byte = numbers.below(if near { 1 << 32 } else { 1 << 59 });
        }
        list.push(extent);
        start += length;
    }
    if numbers.one_in(3) {
        let offset = numbers.below(if contiguous { 1 << 32 } else { 1 << 60 });
        let end = list.last_mut().unwrap();
        *end = ZExtent { stored: Stored::Fragment { offset }, ..zeros(end.start, end.length) };
    }
    list
}

#[test]
fn random_extents_survive_extent_records() {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let mut seen = [0; 4];
    for round in 0..4000_u64 {
        let list = random_records(&mut numbers, round);
        let shape = shape(list.last().unwrap().end(), 32 + 4 * numbers.below(40));
        let header = extents::header_for(&shape, &list).unwrap();
        seen[RecordSize::ALL.iter().position(|size| *size == header.record).unwrap()] += 1;
        let bytes = extents::encode(&shape, &list).unwrap();
        let found = read_back(&shape, DataLayout::CompressedFull, &bytes, &mut numbers).unwrap();
        assert_eq!(found, list, "round {round}, {header:?}");
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

#[test]
fn what_an_index_cannot_hold_is_refused() {
    let pcluster = |byte, length| Stored::Pcluster { byte, length };
    let extent = |start, length, stored| ZExtent { start, length, stored, coding: LZ4, partial: false };
    let good = vec![extent(0, 5000, pcluster(BLOCK, 4096)), extent(5000, 7000, pcluster(2 * BLOCK, 4096))];
    let shape = shape(12_000, 32);
    compact::encode(&shape, &good).unwrap();
    full::encode(&shape, &good).unwrap();
    let with = |number: usize, extent: ZExtent| {
        let mut list = good.clone();
        list[number] = extent;
        list
    };
    for (name, list, only_compact) in [
        ("a gap", with(1, extent(5001, 6999, pcluster(BLOCK, 4096))), false),
        ("short of the end", vec![good[0]], false),
        (
            "two starts",
            vec![extent(0, 100, pcluster(BLOCK, 4096)), extent(100, 11_900, pcluster(BLOCK, 4096))],
            false,
        ),
        ("between blocks", with(0, extent(0, 5000, pcluster(BLOCK + 1, 4096))), false),
        ("part of a block", with(1, extent(5000, 7000, pcluster(BLOCK, 4095))), false),
        ("far", with(0, extent(0, 5000, pcluster(1 << 44, 4096))), false),
        ("inline inside", with(0, extent(0, 5000, Stored::Inline { byte: 0, length: 9 })), false),
        ("two blocks for one lcluster", with(0, extent(0, 5000, pcluster(BLOCK, 8192))), false),
        ("not contiguous", with(1, extent(5000, 7000, pcluster(3 * BLOCK, 4096))), true),
        ("partial", with(1, ZExtent { partial: true, ..good[1] }), true),
        ("hole", with(1, ZExtent { stored: Stored::Hole, coding: Coding::Shifted, ..good[1] }), true),
        ("far fragment", with(1, extent(5000, 7000, Stored::Fragment { offset: 1 << 32 })), true),
    ] {
        assert!(compact::encode(&shape, &list).is_err(), "{name}");
        assert_eq!(full::encode(&shape, &list).is_ok(), only_compact, "{name}");
    }
}

/// What an index says of an lcluster.
type Load = Box<dyn Fn(u64) -> Lcluster>;

#[test]
fn wrong_indexes_are_errors() {
    let shape = shape(1 << 30, 32);
    let header = MapHeader::decode(&[0; 8], 0, DataLayout::CompressedFull, shape.block_bits).unwrap();
    let MapHeader::Index(header) = header else { unreachable!("no bits are set") };
    let back = |distance| erofs_format::datalayout::lcluster::Back::Distance(distance);
    let blocks = erofs_format::datalayout::lcluster::Back::Blocks(2);
    let head = |offset| Lcluster::Head {
        kind: erofs_format::datalayout::lcluster::HeadKind::Head1,
        offset,
        block: 9,
        partial: false,
        hole: false,
    };
    let nonhead = |back, ahead| Lcluster::Nonhead { back, ahead };
    let cases: [(&str, Load, &str); 7] = [
        ("an endless way back", Box::new(move |_| nonhead(back(1), 1)), "no head"),
        ("a way that leads nowhere", Box::new(move |_| nonhead(back(0), 1)), "found 0 in lcluster"),
        ("a way before the file", Box::new(move |_| nonhead(back(2047), 1)), "found 2047 in lcluster"),
        ("a count without big pclusters", Box::new(move |_| nonhead(blocks, 1)), "a block count"),
        ("an offset past the lcluster", Box::new(move |_| head(4096)), "offset 4096"),
        (
            "a next head past its lcluster",
            Box::new(move |lcluster| if lcluster == 150_000 { head(0) } else { head(4096) }),
            "offset 4096",
        ),
        (
            "an endless way ahead",
            Box::new(move |lcluster| if lcluster == 150_000 { head(0) } else { nonhead(back(1), 1) }),
            "no next head",
        ),
    ];
    for (name, load, want) in cases {
        let mut loads = 0;
        let mut load = |lcluster| {
            loads += 1;
            Ok::<_, FormatError>(load(lcluster))
        };
        let index = Index::open(shape, DataLayout::CompressedFull, header, 0, &mut load).unwrap();
        let offset = if want == "no head" { 100_000 * BLOCK } else { 150_000 * BLOCK };
        let message = index.map(offset, &mut load).unwrap_err().to_string();
        assert!(message.contains(want), "{name}: {message}");
        assert!(loads < 140_000, "{name}: {loads} entries read");
    }
}

#[test]
fn an_extent_may_end_with_the_file_and_not_behind_it() {
    let shape = shape(30_000, 32);
    let header = MapHeader::decode(&[0; 8], 0, DataLayout::CompressedFull, shape.block_bits).unwrap();
    let MapHeader::Index(header) = header else { unreachable!("no bits are set") };
    // The file ends at byte 0x530 of its last lcluster.
    for (end, want) in [(0x52f, true), (0x530, true), (0x531, false), (0xfff, false)] {
        let mut load = |lcluster: u64| {
            let kind = erofs_format::datalayout::lcluster::HeadKind::Head1;
            let head = |offset| Lcluster::Head { kind, offset, block: 9, partial: false, hole: false };
            let back = erofs_format::datalayout::lcluster::Back::Distance(1);
            let nonhead = Lcluster::Nonhead { back, ahead: 1 };
            Ok::<_, FormatError>(match lcluster {
                0 => head(0),
                7 => head(end),
                _ => nonhead,
            })
        };
        let index = Index::open(shape, DataLayout::CompressedFull, header, 0, &mut load).unwrap();
        assert_eq!(index.map(5000, &mut load).is_ok(), want, "{end:#x}");
    }
}
