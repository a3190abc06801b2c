//! The two checksums of the format, from well-kept crates.

/// The seed of the superblock checksum: CRC-32C's register after the magic number and a checksum of 0
/// (Linux's `erofs_superblock_csum_verify` starts there and skips both fields).
const SUPERBLOCK_SEED: u32 = 0x5045_B54A;

/// CRC-32C as Linux's `crc32c()` computes it behind magic number and checksum field, without the final
/// inversion.
pub fn superblock_crc32c(bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!SUPERBLOCK_SEED, bytes)
}

/// XXH32, the hash of the xattr name filter.
pub fn xxh32(bytes: &[u8], seed: u32) -> u32 {
    twox_hash::XxHash32::oneshot(seed, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_the_register_after_magic_and_zeroed_checksum() {
        let start = [0xE2, 0xE1, 0xF5, 0xE0, 0, 0, 0, 0];
        assert_eq!(!crc32c::crc32c(&start), SUPERBLOCK_SEED);
    }

    #[test]
    fn xxh32_matches_the_reference_vector() {
        assert_eq!(xxh32(b"", 0), 0x02CC_5D05);
    }
}
