//! The compression algorithms: their bits in the superblock's `available_compr_algs` and their names (`Z_EROFS_COMPRESSION_*` of
//! Linux's `erofs_fs.h`).

use crate::feature::incompat;
use crate::superblock::Superblock;

/// Names of the algorithms; the place in the table is the number on disk and the bit in the superblock.
const NAMES: [&str; 4] = ["lz4", "lzma", "deflate", "zstd"];

/// The names of the algorithms that an image announces. Without compression configurations the bitmap's field holds
/// LZ4's maximum distance, and LZ4 is the only algorithm.
pub fn announced(superblock: &Superblock) -> Vec<&'static str> {
    if superblock.incompat & incompat::COMPR_CFGS == 0 {
        let lz4 = superblock.incompat & incompat::LZ4_0PADDING != 0;
        return NAMES.into_iter().take(usize::from(lz4)).collect();
    }
    let bits = superblock.compression;
    NAMES
        .into_iter()
        .enumerate()
        .filter(|(number, _)| (bits >> number) & 1 == 1)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_superblock_names_its_algorithms() {
        for (bits, compression, want) in [
            (0, 0, &[][..]),
            (incompat::LZ4_0PADDING, 0xffff, &["lz4"]),
            (incompat::LZ4_0PADDING | incompat::COMPR_CFGS, 1, &["lz4"]),
            (incompat::COMPR_CFGS, 0b1010, &["lzma", "zstd"]),
        ] {
            let superblock = Superblock { incompat: bits, compression, ..Superblock::default() };
            assert_eq!(announced(&superblock), want);
        }
    }
}
