//! Flat data: consecutive blocks from `i_u` on; with the inline layout, the bytes past the last whole block
//! follow the inode and its xattrs, inside one block of the metadata area.

use crate::error::FormatError;
use crate::extent::{Extent, Place};
use crate::units::{BlkAddr, BlockBits};
use crate::words;

/// The address of a flat file that is one hole (`EROFS_NULL_ADDR`), in the 32 bits of an inode without the
/// 48-bit layout.
pub const NULL_BLOCK_32: u32 = u32::MAX;
/// The same in 48 bits.
pub const NULL_BLOCK_48: u64 = 0xffff_ffff_ffff;

/// What a flat inode says about its data.
#[derive(Debug, Clone, Copy)]
pub struct Flat {
    /// Block size.
    pub block_bits: BlockBits,
    /// First block.
    pub start: BlkAddr,
    /// Size of the file in bytes.
    pub size: u64,
    /// Whether the tail is inline, and if so at which byte of the metadata area it starts.
    pub inline_at: Option<u64>,
    /// Whether the file is one hole.
    pub hole: bool,
}

/// How many bytes of a file of `size` bytes are its tail: what is left behind the last whole block. A file
/// without a tail must not have the inline layout, because readers then look for its whole last block behind
/// the inode.
pub fn tail_len(size: u64, block_bits: BlockBits) -> u64 {
    block_bits.within(size)
}

/// Whether a tail of `tail` bytes that starts at byte `at` of the metadata area stays inside one block, as
/// Linux asks for (`erofs_map_blocks`).
pub fn inline_fits(at: u64, tail: u64, block_bits: BlockBits) -> bool {
    block_bits.within(at).checked_add(tail).is_some_and(|end| end <= block_bits.size())
}

impl Flat {
    /// The extent that holds byte `offset`; an error at or past the end of the file, or where the inline tail
    /// crosses a block.
    pub fn map(&self, offset: u64) -> Result<Extent, FormatError> {
        if offset >= self.size {
            return Err(FormatError::limit("offset in a file", offset, words::bytes(self.size)));
        }
        if self.hole {
            return Ok(Extent { start: 0, length: self.size, place: Place::Hole });
        }
        let blocks_end = match self.inline_at {
            // The last block is always the inline one, whole or not (`erofs_map_blocks`: blocks -
            // tailinline).
            Some(_) => {
                let last = self.block_bits.blocks_ceil(self.size).saturating_sub(1);
                self.block_bits.byte_of(BlkAddr(last))?
            }
            None => self.size,
        };
        let tail = self.size.saturating_sub(blocks_end);
        match self.inline_at {
            Some(at) if offset >= blocks_end => {
                if !inline_fits(at, tail, self.block_bits) {
                    let want = "a tail that ends in the block in which it starts";
                    return Err(FormatError::field("inline data", at, words::bytes(tail), want));
                }
                Ok(Extent { start: blocks_end, length: tail, place: Place::Inline { byte: at } })
            }
            _ => {
                let byte = self.block_bits.byte_of(self.start)?;
                Ok(Extent { start: 0, length: blocks_end, place: Place::Device { device: 0, byte } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(size: u64, inline_at: Option<u64>) -> Flat {
        Flat { block_bits: BlockBits::DEFAULT, start: BlkAddr(2), size, inline_at, hole: false }
    }

    #[test]
    fn bytes_are_in_blocks_or_behind_the_inode() {
        let blocks = |length| Extent { start: 0, length, place: Place::Device { device: 0, byte: 8192 } };
        let inline = |start, length| Extent { start, length, place: Place::Inline { byte: 64 } };
        for (file, offset, want) in [
            (flat(5000, None), 4999, blocks(5000)),
            (flat(5000, Some(64)), 4095, blocks(4096)),
            (flat(5000, Some(64)), 4096, inline(4096, 904)),
            (flat(10, Some(64)), 0, inline(0, 10)),
            (flat(8192, Some(64)), 4095, blocks(4096)),
            (
                flat(8192, Some(4096)),
                8191,
                Extent { place: Place::Inline { byte: 4096 }, ..inline(4096, 4096) },
            ),
        ] {
            assert_eq!(file.map(offset).unwrap(), want);
        }
        assert!(flat(10, None).map(10).is_err());
        assert!(flat(4095, Some(64)).map(0).is_err());
        assert!(flat(8192, Some(64)).map(8191).is_err(), "a whole block behind an inode crosses a block");
        let hole = Flat { hole: true, ..flat(10, None) };
        assert_eq!(hole.map(3).unwrap().place, Place::Hole);
    }
}
