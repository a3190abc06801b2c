//! The feature bits: name, first kernel that reads them, and which unknown ones must stop a reader.
//!
//! Compatible features may be ignored by a reader that does not know them, incompatible ones may not
//! (`EROFS_FEATURE_COMPAT_*` and `EROFS_FEATURE_INCOMPAT_*` of Linux's `erofs_fs.h`).

use crate::error::{FormatError, Rule};

/// A Linux version: major, minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion(pub u8, pub u8);

impl std::fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// One feature bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// The bit.
    pub bit: u32,
    /// The name, as the kernel spells it in lower case.
    pub name: &'static str,
    /// The first kernel that makes use of the bit (compatible) or mounts an image that has it (incompatible).
    pub since: KernelVersion,
}

/// Bits of `feature_compat`.
pub mod compat {
    /// The superblock carries a checksum.
    pub const SB_CHKSUM: u32 = 0x01;
    /// Times are modification times, not change times.
    pub const MTIME: u32 = 0x02;
    /// Inline xattr headers carry a filter over the names.
    pub const XATTR_FILTER: u32 = 0x04;
    /// Shared xattrs live in the metabox inode.
    pub const SHARED_EA_IN_METABOX: u32 = 0x08;
    /// Long xattr prefixes stand on the device itself, not in the packed or metabox inode.
    pub const PLAIN_XATTR_PFX: u32 = 0x10;
    /// Regular files carry content fingerprints under the prefix `ishare_xattr_prefix_id`.
    pub const ISHARE_XATTRS: u32 = 0x20;
}

/// Bits of `feature_incompat`.
pub mod incompat {
    /// LZ4 data ends at the end of its cluster.
    pub const LZ4_0PADDING: u32 = 0x01;
    /// Compression configurations follow the superblock; clusters may be larger than a block.
    pub const COMPR_CFGS: u32 = 0x02;
    /// Files made of chunks.
    pub const CHUNKED_FILE: u32 = 0x04;
    /// A device table, or a second compression algorithm per file: the kernel shares one bit between both.
    pub const DEVICE_TABLE: u32 = 0x08;
    /// Heads of a second compression algorithm in the index of a file: the same bit.
    pub const COMPR_HEAD2: u32 = DEVICE_TABLE;
    /// Compressed tails follow the inode.
    pub const ZTAILPACKING: u32 = 0x10;
    /// Fragments in a packed inode, or deduplicated extents: one bit for both.
    pub const FRAGMENTS: u32 = 0x20;
    /// A table of long xattr name prefixes.
    pub const XATTR_PREFIXES: u32 = 0x40;
    /// 48-bit block addresses and encoded extents.
    pub const BIT48: u32 = 0x80;
    /// Metadata inside a (compressed) metabox inode.
    pub const METABOX: u32 = 0x100;
}

const fn row(bit: u32, name: &'static str, major: u8, minor: u8) -> Feature {
    Feature { bit, name, since: KernelVersion(major, minor) }
}

/// Every compatible feature.
pub const COMPAT: [Feature; 6] = [
    row(compat::SB_CHKSUM, "sb_chksum", 5, 5),
    row(compat::MTIME, "mtime", 5, 12),
    row(compat::XATTR_FILTER, "xattr_filter", 6, 6),
    row(compat::SHARED_EA_IN_METABOX, "shared_ea_in_metabox", 6, 17),
    row(compat::PLAIN_XATTR_PFX, "plain_xattr_pfx", 6, 17),
    row(compat::ISHARE_XATTRS, "ishare_xattrs", 7, 0),
];

/// Every incompatible feature.
pub const INCOMPAT: [Feature; 9] = [
    row(incompat::LZ4_0PADDING, "lz4_0padding", 5, 4),
    row(incompat::COMPR_CFGS, "compr_cfgs", 5, 13),
    row(incompat::CHUNKED_FILE, "chunked_file", 5, 15),
    row(incompat::DEVICE_TABLE, "device_table", 5, 16),
    row(incompat::ZTAILPACKING, "ztailpacking", 5, 17),
    row(incompat::FRAGMENTS, "fragments", 6, 1),
    row(incompat::XATTR_PREFIXES, "xattr_prefixes", 6, 4),
    row(incompat::BIT48, "48bit", 6, 15),
    row(incompat::METABOX, "metabox", 6, 17),
];

/// The first kernel that mounts any image of today's format: the core, with 4096-byte blocks.
pub const CORE_SINCE: KernelVersion = KernelVersion(5, 4);
/// The first kernel that mounts block sizes other than its page size.
pub const SUBPAGE_BLOCKS_SINCE: KernelVersion = KernelVersion(6, 4);
/// The first kernel that shares page cache between images that carry fingerprints.
pub const PAGE_CACHE_SHARE_SINCE: KernelVersion = KernelVersion(7, 0);

/// Something in an image that older kernels do not mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelNeed {
    /// The name of a feature or algorithm, or the block size.
    pub name: String,
    /// The first kernel that mounts it.
    pub since: KernelVersion,
}

/// The rows of `table` whose bits are set in `bits`, in ascending order.
pub fn named(table: &'static [Feature], bits: u32) -> impl Iterator<Item = &'static Feature> {
    table.iter().filter(move |feature| bits & feature.bit != 0)
}

/// The incompatible features of an image with these bits. That of a device table stands for a second
/// algorithm in files where the image has no devices.
pub fn incompatible(bits: u32, has_devices: bool) -> impl Iterator<Item = Feature> {
    let second = row(incompat::COMPR_HEAD2, "compr_head2", 5, 16);
    named(&INCOMPAT, bits).map(move |feature| {
        let is_second = feature.bit == second.bit && !has_devices;
        if is_second { second } else { *feature }
    })
}

/// The bits that no row of `table` explains.
pub fn unknown(table: &[Feature], bits: u32) -> u32 {
    table.iter().fold(bits, |rest, feature| rest & !feature.bit)
}

/// Refuses incompatible bits that this table does not know; `at` is the byte of `feature_incompat`.
pub fn check_incompat(bits: u32, at: u64) -> Result<(), FormatError> {
    match unknown(&INCOMPAT, bits) {
        0 => Ok(()),
        rest => Err(FormatError::field(
            "superblock.feature_incompat",
            at,
            format!("{bits:#x} with unknown bits {rest:#x}"),
            "bits 0x1 to 0x100 only",
        )
        .of(Rule::Feature)),
    }
}

/// The first kernel that mounts an image with these incompatible features and this block size, on a machine
/// with 4096-byte pages. What its algorithms need comes on top: see `Superblock::first_kernel`.
pub fn first_kernel(incompat_bits: u32, block_bits: crate::units::BlockBits) -> KernelVersion {
    let blocks =
        if block_bits == crate::units::BlockBits::DEFAULT { CORE_SINCE } else { SUBPAGE_BLOCKS_SINCE };
    named(&INCOMPAT, incompat_bits).map(|feature| feature.since).fold(blocks, Ord::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::BlockBits;

    #[test]
    fn one_bit_has_two_names() {
        for (has_devices, want) in
            [(true, ["compr_cfgs", "device_table"]), (false, ["compr_cfgs", "compr_head2"])]
        {
            let bits = incompat::COMPR_CFGS | incompat::DEVICE_TABLE;
            let names: Vec<&str> = incompatible(bits, has_devices).map(|feature| feature.name).collect();
            assert_eq!(names, want);
        }
    }

    #[test]
    fn tables_are_in_order_and_cover_the_low_bits() {
        for table in [&COMPAT[..], &INCOMPAT[..]] {
            for (index, feature) in table.iter().enumerate() {
                assert_eq!(feature.bit, 1 << index, "{}", feature.name);
            }
        }
    }

    #[test]
    fn unknown_incompatible_bits_are_refused_by_value() {
        check_incompat(0x1ff, 1104).unwrap();
        let message = check_incompat(0x240, 1104).unwrap_err().to_string();
        assert_eq!(
            message,
            "superblock.feature_incompat at byte 1104: found 0x240 with unknown bits 0x200, want bits 0x1 to 0x100 only"
        );
    }

    #[test]
    fn the_first_kernel_is_the_newest_need() {
        let small = BlockBits::new(9).unwrap();
        assert_eq!(first_kernel(0, BlockBits::DEFAULT).to_string(), "5.4");
        assert_eq!(first_kernel(incompat::CHUNKED_FILE, BlockBits::DEFAULT).to_string(), "5.15");
        assert_eq!(first_kernel(incompat::XATTR_PREFIXES, BlockBits::DEFAULT).to_string(), "6.4");
        assert_eq!(first_kernel(0, small).to_string(), "6.4");
    }
}
