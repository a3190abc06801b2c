//! Arbitrary numbers through the maps of the plain data layouts: extents hold the offset that was asked for,
//! lie inside the file, and chunk entries encode to what they were read from.

#![no_main]

use erofs_format::datalayout::chunk::{ChunkFormat, decode_entry, encode_entry};
use erofs_format::datalayout::flat::Flat;
use erofs_format::{BlkAddr, BlockBits};
use libfuzzer_sys::fuzz_target;

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

fn flat(bytes: &[u8], block_bits: BlockBits) {
    let (size, offset, at) = (number(bytes, 1), number(bytes, 9), number(bytes, 17));
    for inline_at in [None, Some(at)] {
        for hole in [false, true] {
            let flat = Flat { block_bits, start: BlkAddr(number(bytes, 25)), size, inline_at, hole };
            if let Ok(extent) = flat.map(offset) {
                let end = extent.start.checked_add(extent.length).expect("an extent ends below 2^64");
                assert!(
                    extent.start <= offset && offset < end && end <= size,
                    "{flat:?} {offset} {extent:?}"
                );
            }
        }
    }
}

fn chunks(bytes: &[u8], block_bits: BlockBits) {
    let i_u = number(bytes, 1) as u32;
    let Ok(format) = ChunkFormat::decode(i_u, 0) else { return };
    assert_eq!(format.encode(), i_u & 0xffff);
    let size = number(bytes, 9);
    let count = format.chunks(size, block_bits);
    assert_eq!(count == 0, size == 0);
    let _ = format.entries_at(number(bytes, 17));
    for entry in bytes.get(25..).unwrap_or_default().chunks(format.entry_size()) {
        if let Ok(chunk) = decode_entry(format, entry, 0, u16::MAX) {
            let mut again = Vec::new();
            encode_entry(format, chunk, &mut again).expect("what was read has room");
            assert_eq!(decode_entry(format, &again, 0, u16::MAX), Ok(chunk));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some(block_bits) = bytes.first().and_then(|bits| BlockBits::new(9 + bits % 8)) else { return };
    flat(bytes, block_bits);
    chunks(bytes, block_bits);
});
