//! Zstandard frames, by `ruzstd`, which is more lenient than Linux: what it does not look at is looked at
//! here.

use std::io::Read as _;

use ruzstd::decoding::StreamingDecoder;
use twox_hash::XxHash64;

use crate::error::Wrong;
use erofs_format::words;

/// `ZSTD_MAGICNUMBER`.
const MAGIC: u32 = 0xfd2f_b528;
/// The bit of the frame header descriptor that says that the whole content is one segment, which is the
/// window.
const SINGLE_SEGMENT: u8 = 0x20;
/// The bit that must not be set.
const RESERVED: u8 = 0x08;
/// The bit that says that a checksum of the content follows the last block.
const CHECKSUM: u8 = 0x04;
/// The bits of the compression modes of sequences that must not be set.
const RESERVED_MODES: u8 = 0x03;

/// Fills `output` with all that `input` decodes to.
pub(crate) fn whole(input: &[u8], output: &mut [u8], window: u32) -> Result<(), Wrong> {
    run(input, output, window, false)
}

/// Fills `output` with the first bytes that `input` decodes to.
pub(crate) fn part(input: &[u8], output: &mut [u8], window: u32) -> Result<(), Wrong> {
    run(input, output, window, true)
}

fn run(input: &[u8], output: &mut [u8], window: u32, more: bool) -> Result<(), Wrong> {
    let frame = Frame::of(input);
    if !more && let Some(frame) = &frame {
        frame.check(output.len())?;
    }
    let mut decoder =
        StreamingDecoder::new_with_max_window_size(input, u64::from(window)).map_err(Wrong::corrupt)?;
    let mut filled = 0;
    while let Some(space) = output.get_mut(filled..).filter(|space| !space.is_empty()) {
        match decoder.read(space) {
            Ok(0) => return Err(Wrong::Length(filled)),
            Ok(more) => filled = filled.saturating_add(more),
            Err(error) => return Err(Wrong::corrupt(error)),
        }
    }
    if more {
        return Ok(());
    }
    match decoder.read(&mut [0]) {
        Ok(0) => frame.map_or(Ok(()), |frame| frame.check_sum(output)),
        Ok(_) => Err(Wrong::Length(filled.saturating_add(1))),
        Err(error) => Err(Wrong::corrupt(error)),
    }
}

/// A frame as far as its headers go (RFC 8878, section 3.1.1).
struct Frame<'a> {
    descriptor: u8,
    /// The length of the content, where the header has it.
    length: Option<u64>,
    /// Behind the header.
    blocks: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `input`; `None` if there is none, which the decoder says better.
    fn of(input: &'a [u8]) -> Option<Self> {
        let (magic, rest) = input.split_first_chunk::<4>()?;
        let (&descriptor, rest) = rest.split_first()?;
        if u32::from_le_bytes(*magic) != MAGIC {
            return None;
        }
        let single = descriptor & SINGLE_SEGMENT != 0;
        let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3))?;
        let (_, field) = rest.split_at_checked(usize::from(!single).checked_add(*dictionary)?)?;
        let (length, size) = match (descriptor >> 6, single) {
            (0, false) => (None, 0),
            (0, true) => (Some(u64::from(*field.first()?)), 1),
            (1, _) => (Some(u64::from(u16::from_le_bytes(*field.first_chunk()?)).checked_add(256)?), 2),
            (2, _) => (Some(u64::from(u32::from_le_bytes(*field.first_chunk()?))), 4),
            _ => (Some(u64::from_le_bytes(*field.first_chunk()?)), 8),
        };
        Some(Self { descriptor, length, blocks: field.get(size..)? })
    }

    /// What Linux refuses before it decodes to `length` bytes.
    fn check(&self, length: usize) -> Result<(), Wrong> {
        if self.descriptor & RESERVED != 0 {
            return Err(Wrong::corrupt("a reserved bit in the header of the frame"));
        }
        if let Some(stated) = self.length.filter(|stated| u64::try_from(length) != Ok(*stated)) {
            return Err(Wrong::corrupt(format!("a content of {} by its header", words::bytes(stated))));
        }
        let mut rest = self.blocks;
        while let Some((block, behind)) = Block::of(rest) {
            if block.kind == COMPRESSED
                && modes(block.content).is_some_and(|modes| modes & RESERVED_MODES != 0)
            {
                return Err(Wrong::corrupt("reserved bits in the modes of sequences"));
            }
            if block.last {
                break;
            }
            rest = behind;
        }
        Ok(())
    }

    /// Whether the checksum, if there is one, is that of what was decoded.
    fn check_sum(&self, output: &[u8]) -> Result<(), Wrong> {
        if self.descriptor & CHECKSUM == 0 {
            return Ok(());
        }
        let mut rest = self.blocks;
        while let Some((block, behind)) = Block::of(rest) {
            rest = behind;
            if block.last {
                break;
            }
        }
        let [a, b, c, d, ..] = XxHash64::oneshot(0, output).to_le_bytes();
        if rest.first_chunk() == Some(&[a, b, c, d]) {
            Ok(())
        } else {
            Err(Wrong::corrupt("another checksum of the content"))
        }
    }
}

/// The kinds of blocks that have more or fewer bytes than they decode to.
const REPEATED: u32 = 1;
const COMPRESSED: u32 = 2;

/// A block of a frame.
struct Block<'a> {
    last: bool,
    kind: u32,
    content: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block at the start of `bytes`, and what is behind it.
    fn of(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([a, b, c], rest) = bytes.split_first_chunk()?;
        let header = u32::from_le_bytes([*a, *b, *c, 0]);
        let kind = (header >> 1) & 3;
        let size = if kind == REPEATED { 1 } else { usize::try_from(header >> 3).ok()? };
        let (content, behind) = rest.split_at_checked(size)?;
        Some((Self { last: header & 1 != 0, kind, content }, behind))
    }
}

/// The byte with the compression modes of a compressed block; `None` without sequences.
fn modes(block: &[u8]) -> Option<u8> {
    let first = *block.first()?;
    let field = |bytes: usize, from: u32, bits: u32| {
        let stored = block.get(..bytes)?;
        let number = stored.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        usize::try_from((number >> from) & (1_u64 << bits).checked_sub(1)?).ok()
    };
    // Type of the literals, form of their sizes: the length of the header, and of what is stored behind it.
    let (header, stored) = match (first & 3, (first >> 2) & 3) {
        (0, 0 | 2) => (1, field(1, 3, 5)?),
        (0, 1) => (2, field(2, 4, 12)?),
        (0, _) => (3, field(3, 4, 20)?),
        (1, 0 | 2) => (1, 1),
        (1, 1) => (2, 1),
        (1, _) => (3, 1),
        (_, 0 | 1) => (3, field(3, 14, 10)?),
        (_, 2) => (4, field(4, 18, 14)?),
        _ => (5, field(5, 22, 18)?),
    };
    let sequences = block.get(stored.checked_add(header)?..)?;
    let skip = match sequences.first()? {
        0 => return None,
        1..=127 => 1,
        128..=254 => 2,
        255 => 3,
    };
    sequences.get(skip).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_how_long_the_content_is() {
        for (header, want) in [
            (&[0x20, 9][..], Some(Some(9))),
            (&[0x00, 0x58], Some(None)),
            (&[0x60, 1, 1], Some(Some(513))),
            (&[0x40, 0x58, 1, 1], Some(Some(513))),
            (&[0xa0, 1, 0, 1, 0], Some(Some(65_537))),
            (&[0xe1, 7, 1, 0, 0, 0, 0, 0, 0, 0], Some(Some(1))),
            (&[0x60, 1], None),
        ] {
            let frame = [&MAGIC.to_le_bytes(), header].concat();
            assert_eq!(Frame::of(&frame).map(|frame| frame.length), want, "{header:?}");
        }
        assert!(Frame::of(b"something else").is_none());
    }

    #[test]
    fn modes_stand_behind_literals() {
        for (block, want) in [
            // Raw literals: two of them, then one sequence.
            (&[0x10, 9, 9, 1, 7][..], Some(7)),
            (&[0x24, 0, 9, 9, 200, 1, 7], Some(7)),
            (&[0x2c, 0, 0, 9, 9, 255, 1, 1, 7], Some(7)),
            // One literal so many times.
            (&[0x11, 9, 1, 7], Some(7)),
            (&[0x0d, 1, 0, 9, 1, 7], Some(7)),
            // Compressed ones of 2 bytes.
            (&[0x02, 0x80, 0, 9, 9, 1, 7], Some(7)),
            (&[0x0a, 0, 8, 0, 9, 9, 1, 7], Some(7)),
            (&[0x0e, 0, 0x80, 0, 0, 9, 9, 1, 7], Some(7)),
            // No sequences, and a block that is cut.
            (&[0x10, 9, 9, 0], None),
            (&[0x10, 9, 9, 1], None),
            (&[0x10, 9], None),
            (&[], None),
        ] {
            assert_eq!(modes(block), want, "{block:x?}");
        }
    }
}
