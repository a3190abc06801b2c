//! An extent: a run of a file's bytes and where they are; the answer to `erofs_map_blocks` of Linux's
//! `data.c` and to `z_erofs_map_blocks_iter` of its `zmap.c`.

use crate::compression::{Algorithm, PCLUSTER_MAX_DSIZE, PCLUSTER_MAX_SIZE};
use crate::error::FormatError;
use crate::units::BlockBits;
use crate::words;

/// Where the bytes of an extent are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: they are zeros.
    Hole,
    /// In a file that is stored compressed: the bytes that are there are not, or not in this order, those of
    /// the file. The [`ZExtent`] says what they are.
    Encoded(Stored),
    /// On a device, from this byte on. Device 0 with `unified` set means that the address lies in the unified
    /// space of all devices.
    Device {
        /// Number of the device; 0 is the primary one or, where the image has a device table, the unified
        /// space.
        device: u16,
        /// First byte.
        byte: u64,
    },
    /// In the metadata area that holds the inode, from this byte of that area's device or metabox on.
    Inline {
        /// First byte.
        byte: u64,
    },
}

/// A run of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte in the file.
    pub start: u64,
    /// How many bytes; never 0, never past the end of the file.
    pub length: u64,
    /// Where they are.
    pub place: Place,
}

/// How the stored bytes of a compressed file's extent become its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coding {
    /// They are its bytes, from the first stored one on (`Z_EROFS_COMPRESSION_SHIFTED`).
    Shifted,
    /// They are its bytes, turned so that each stands at the same place of a block on disk as in the file
    /// (`Z_EROFS_COMPRESSION_INTERLACED`); see [`interlace_split`].
    Interlaced,
    /// They are compressed.
    Compressed(Algorithm),
}

/// Where the stored bytes of a compressed file's extent are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stored {
    /// Nowhere: the extent is zeros. Extent records have them from Linux 6.15 on; those of a full index are
    /// read by Linux 7.2 but not by 6.18.
    Hole,
    /// On disk: a pcluster.
    Pcluster {
        /// First byte, in the unified address space.
        byte: u64,
        /// How many bytes: 1 to 1,048,576; whole blocks except in encoded extents.
        length: u32,
    },
    /// Behind the index, in the metadata space of the inode; the file's last extent only (ztailpacking).
    Inline {
        /// First byte in the metadata space. Encoders do not look at it: the bytes follow the index.
        byte: u64,
        /// How many bytes; they must lie within one block.
        length: u16,
    },
    /// Uncompressed in the content of the packed inode; the file's last extent only.
    Fragment {
        /// First byte in the packed inode.
        offset: u64,
    },
}

/// A run of bytes of a compressed file, which is decoded as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZExtent {
    /// First byte in the file.
    pub start: u64,
    /// How many bytes of the file it is; never 0; at most 12 MiB where something is stored.
    pub length: u64,
    /// Where it is stored.
    pub stored: Stored,
    /// How it is stored. Holes and fragments are [`Coding::Shifted`].
    pub coding: Coding,
    /// The stored bytes decode to more than `length` bytes, of which the first are meant
    /// (`Z_EROFS_LI_PARTIAL_REF`).
    pub partial: bool,
}

impl ZExtent {
    /// Where the extent ends in the file.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// Holds the extent of a file of `size` bytes to what Linux asks for (`z_erofs_map_sanity_check`):
    /// lengths within their limits, plain data that is all there, no more stored than it becomes.
    pub fn check(&self, size: u64) -> Result<(), FormatError> {
        let Stored::Pcluster { byte, length: stored } = self.stored else { return self.check_inline() };
        let wrong = |found: u64, want: &str| {
            let found = format!("{} at byte {} of the file", words::bytes(found), self.start);
            Err(FormatError::field("pcluster", byte, found, want))
        };
        if stored == 0 || stored > PCLUSTER_MAX_SIZE {
            return wrong(u64::from(stored), "1 to 1048576 stored bytes");
        }
        if self.length > PCLUSTER_MAX_DSIZE {
            return wrong(self.length, "at most 12582912 bytes of the file");
        }
        let plain = !matches!(self.coding, Coding::Compressed(_));
        if plain && self.length > u64::from(stored) {
            return wrong(u64::from(stored), "plain data as long as the extent");
        }
        if !plain && !self.partial && self.length < u64::from(stored) && self.end() < size {
            return wrong(u64::from(stored), "no more stored bytes than the extent has");
        }
        if byte.checked_add(u64::from(stored)).is_none() {
            return wrong(u64::from(stored), "an end below 2^64");
        }
        Ok(())
    }

    fn check_inline(&self) -> Result<(), FormatError> {
        let Stored::Inline { byte, length } = self.stored else { return Ok(()) };
        let plain = !matches!(self.coding, Coding::Compressed(_));
        if self.length > PCLUSTER_MAX_DSIZE || (plain && self.length > u64::from(length)) {
            let found = format!("{} for {} of the file", words::bytes(length), self.length);
            return Err(FormatError::field("inline pcluster", byte, found, "bytes for the whole extent"));
        }
        Ok(())
    }
}

/// Where an interlaced extent is split: its first so many bytes stand at the end of its `stored` bytes, the
/// others before them, from the first stored byte on (`z_erofs_transform_plain`). `start` is its first byte
/// in the file.
pub fn interlace_split(start: u64, length: u64, block_bits: BlockBits) -> u64 {
    block_bits.size().saturating_sub(block_bits.within(start)).min(length)
}

/// Where the first byte of an interlaced extent stands among its `stored` bytes; its head is
/// [`interlace_split`] long. An error if that does not fit.
pub fn interlace_head_at(start: u64, stored: u32, block_bits: BlockBits) -> Result<u64, FormatError> {
    let head = block_bits.size().saturating_sub(block_bits.within(start));
    u64::from(stored)
        .checked_sub(head)
        .ok_or_else(|| FormatError::limit("stored bytes of an interlaced extent", stored, "whole blocks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_held_to_the_limits_of_linux() {
        let good = ZExtent {
            start: 0,
            length: 8192,
            stored: Stored::Pcluster { byte: 4096, length: 4096 },
            coding: Coding::Compressed(Algorithm::Lz4),
            partial: false,
        };
        let stored = |length| Stored::Pcluster { byte: 4096, length };
        for (name, extent, right) in [
            ("good", good, true),
            ("too long", ZExtent { stored: stored((1 << 20) + 1), ..good }, false),
            ("nothing stored", ZExtent { stored: stored(0), ..good }, false),
            ("bomb", ZExtent { length: (12 << 20) + 1, ..good }, false),
            ("grows inside", ZExtent { length: 4000, ..good }, false),
            ("grows, referred to in part", ZExtent { length: 4000, partial: true, ..good }, true),
            ("grows at the end", ZExtent { start: 96_000, length: 4000, ..good }, true),
            ("plain", ZExtent { coding: Coding::Shifted, length: 4096, ..good }, true),
            ("plain and short", ZExtent { coding: Coding::Interlaced, ..good }, false),
            (
                "past the end",
                ZExtent { stored: Stored::Pcluster { byte: u64::MAX, length: 2 }, ..good },
                false,
            ),
        ] {
            assert_eq!(extent.check(100_000).is_ok(), right, "{name}");
        }
    }

    #[test]
    fn interlaced_extents_turn_around_the_block() {
        let bits = BlockBits::DEFAULT;
        assert_eq!(interlace_split(4096, 4096, bits), 4096);
        assert_eq!(interlace_split(4196, 4096, bits), 3996);
        assert_eq!(interlace_split(4196, 10, bits), 10);
        assert_eq!(interlace_head_at(4196, 4096, bits).unwrap(), 100);
        assert!(interlace_head_at(4096, 4095, bits).is_err());
    }
}
