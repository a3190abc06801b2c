//! The units of the format: block sizes, block addresses, inode numbers, and every rule of rounding.

use crate::error::FormatError;

/// Inodes stand on slots of this many bytes; a [`Nid`] counts slots (`EROFS_ISLOTBITS` of Linux's
/// `internal.h`).
pub const INODE_SLOT_SIZE: u64 = 32;

/// The block size as a power of two: 9 (512 bytes) to 16 (65,536 bytes). The kernel mounts sizes up to its
/// page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockBits(u8);

impl BlockBits {
    /// 4096 bytes, the size that every machine with Linux can mount.
    pub const DEFAULT: Self = Self(12);
    /// The smallest and the largest block size that the format's readers take, as powers of two.
    pub const RANGE: std::ops::RangeInclusive<u8> = 9..=16;

    /// A block size from the superblock's `blkszbits`; `None` outside 9 to 16.
    pub fn new(bits: u8) -> Option<Self> {
        Self::RANGE.contains(&bits).then_some(Self(bits))
    }

    /// A block size from its number of bytes; `None` unless it is a power of two from 512 to 65,536.
    pub fn from_size(bytes: u64) -> Option<Self> {
        let bits = u8::try_from(bytes.trailing_zeros()).ok()?;
        if bytes.is_power_of_two() { Self::new(bits) } else { None }
    }

    /// The power of two.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The size in bytes.
    pub fn size(self) -> u64 {
        1_u64.checked_shl(u32::from(self.0)).unwrap_or(0)
    }

    /// The size in bytes, for lengths in memory.
    pub fn bytes(self) -> usize {
        1_usize.checked_shl(u32::from(self.0)).unwrap_or(0)
    }

    /// How many whole blocks `bytes` hold.
    pub fn blocks_floor(self, bytes: u64) -> u64 {
        bytes.checked_shr(u32::from(self.0)).unwrap_or(0)
    }

    /// How many blocks `bytes` need.
    pub fn blocks_ceil(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.size())
    }

    /// Where byte `offset` stands inside its block.
    pub fn within(self, offset: u64) -> u64 {
        offset & self.size().wrapping_sub(1)
    }

    /// The byte where block `address` starts, or an error past 2^64.
    pub fn byte_of(self, address: BlkAddr) -> Result<u64, FormatError> {
        let too_far = || FormatError::limit("block address", address.0, "byte addresses below 2^64");
        address.0.checked_mul(self.size()).ok_or_else(too_far)
    }
}

/// The address of a block: blocks from the start of the device that it belongs to, or of the unified address
/// space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlkAddr(pub u64);

/// The number of an inode: slots of [`INODE_SLOT_SIZE`] bytes from `meta_blkaddr`; bit 63 says that the slots
/// are those of the metabox inode (`EROFS_DIRENT_NID_METABOX_BIT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nid(pub u64);

impl Nid {
    /// The bit that says "in the metabox inode".
    pub const METABOX_BIT: u64 = 1 << 63;

    /// Whether the inode lives in the metabox inode.
    pub fn in_metabox(self) -> bool {
        self.0 & Self::METABOX_BIT != 0
    }

    /// The byte where the inode starts, from the start of its metadata space; an error past 2^64.
    pub fn byte(self) -> Result<u64, FormatError> {
        let slots = self.0 & !Self::METABOX_BIT;
        let too_far = || FormatError::limit("nid", self.0, "byte addresses below 2^64");
        slots.checked_mul(INODE_SLOT_SIZE).ok_or_else(too_far)
    }

    /// The nid of the inode that starts at `byte` of its metadata space, which must be a multiple of 32.
    pub fn at_byte(byte: u64) -> Result<Self, FormatError> {
        if !byte.is_multiple_of(INODE_SLOT_SIZE) {
            return Err(FormatError::limit("place of an inode", byte, "multiples of 32 bytes"));
        }
        Ok(Self(byte / INODE_SLOT_SIZE))
    }
}

/// `value` rounded up to a multiple of `unit`, which must not be 0; `None` past 2^64.
pub fn round_up(value: u64, unit: u64) -> Option<u64> {
    value.checked_next_multiple_of(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_are_powers_of_two_from_512_to_65536() {
        for (bytes, bits) in [
            (512, Some(9)),
            (4096, Some(12)),
            (65536, Some(16)),
            (256, None),
            (131_072, None),
            (0, None),
            (1000, None),
        ] {
            assert_eq!(BlockBits::from_size(bytes).map(BlockBits::bits), bits, "{bytes}");
        }
        assert_eq!(BlockBits::DEFAULT.size(), 4096);
        assert_eq!(BlockBits::DEFAULT.blocks_ceil(4097), 2);
        assert_eq!(BlockBits::DEFAULT.blocks_floor(8191), 1);
        assert_eq!(BlockBits::DEFAULT.within(4097), 1);
    }

    #[test]
    fn nids_count_slots() {
        assert_eq!(Nid::at_byte(1152).unwrap(), Nid(36));
        assert_eq!(Nid(36).byte().unwrap(), 1152);
        assert!(Nid::at_byte(33).is_err());
        assert!(Nid(Nid::METABOX_BIT | 2).in_metabox());
        assert_eq!(Nid(Nid::METABOX_BIT | 2).byte().unwrap(), 64);
        assert!(Nid(u64::MAX >> 1).byte().is_err());
    }

    #[test]
    fn rounding() {
        assert_eq!(round_up(1, 4), Some(4));
        assert_eq!(round_up(4, 4), Some(4));
        assert_eq!(round_up(u64::MAX, 4), None);
        assert_eq!(BlockBits::DEFAULT.byte_of(BlkAddr(3)).unwrap(), 12288);
        assert!(BlockBits::DEFAULT.byte_of(BlkAddr(u64::MAX)).is_err());
    }
}
