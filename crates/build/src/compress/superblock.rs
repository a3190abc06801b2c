//! What a compressed image announces: feature bits and the configurations of its algorithms.

use erofs_format::BlockBits;
use erofs_format::compression::{Algorithm, Configs, Lz4Config};
use erofs_format::feature::incompat;
use erofs_format::superblock::Superblock;

use super::encode::Sizes;
use super::work::{limit, params};
use crate::options::{CompressionOptions, IndexForm};
use crate::summary::Sums;

/// The farthest distance of a match in an LZ4 block.
const LZ4_DISTANCE: u16 = 65_535;

/// What the superblock says about compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Its field for algorithms, or for LZ4's distance where there are no configurations.
    pub(crate) field: u16,
    /// The configurations behind it, or the device table of an image that is not compressed.
    pub(crate) records: Vec<u8>,
    /// Where the table of the one extra device is, in slots; 0 without one.
    devt_slotoff: u16,
    incompat: u32,
}

impl Announced {
    /// What is known before anything is encoded: every algorithm that the options name.
    pub(crate) fn new(compression: &CompressionOptions, block_bits: BlockBits) -> Self {
        let block = block_bits.bytes();
        let tight = compression.index == IndexForm::Extents;
        let largest = limit(compression.largest_pcluster(), tight, block);
        let pcluster = largest as usize;
        let sizes = Sizes { block, pcluster, input: erofs_encode::MAX_INPUT, tight: false, squeeze: false };
        let mut configs = Configs::default();
        for index in 0..compression.algorithms.len() {
            let Some(params) = params(compression, index, sizes) else { continue };
            let bits = |size: u32| u8::try_from(size.max(1).ilog2()).unwrap_or(0);
            match Algorithm::from_number(params.algorithm.number) {
                Some(Algorithm::Lz4) => {
                    // Linux sizes its buffers by this number; a pcluster that starts anywhere touches one more.
                    let more = u64::from(tight);
                    let blocks = block_bits.blocks_ceil(u64::from(largest)) + more;
                    let blocks = u16::try_from(blocks).unwrap_or(u16::MAX);
                    configs.lz4 = Some(Lz4Config { max_distance: LZ4_DISTANCE, max_pclusterblks: blocks });
                }
                Some(Algorithm::Lzma) => {
                    configs.lzma_dict_size = configs.lzma_dict_size.max(Some(params.dict_size));
                }
                Some(Algorithm::Deflate) => {
                    configs.deflate_windowbits = configs.deflate_windowbits.max(Some(bits(params.dict_size)));
                }
                Some(Algorithm::Zstd) => {
                    configs.zstd_windowlog = configs.zstd_windowlog.max(Some(bits(params.dict_size)));
                }
                None => {}
            }
        }
        let small = pcluster <= block && !tight;
        if small && configs.bits() == Algorithm::Lz4.bit() {
            // What Linux 5.4 can read.
            return Self {
                field: LZ4_DISTANCE,
                records: Vec::new(),
                devt_slotoff: 0,
                incompat: incompat::LZ4_0PADDING,
            };
        }
        let incompat = incompat::LZ4_0PADDING | incompat::COMPR_CFGS;
        Self { field: configs.bits(), records: configs.encode(), devt_slotoff: 0, incompat }
    }

    /// What an image that is not compressed says: `table`, which starts at slot `devt_slotoff`, and these feature bits.
    pub(crate) fn with_device(table: Vec<u8>, devt_slotoff: u16, incompat: u32) -> Self {
        Self { field: 0, records: table, devt_slotoff, incompat }
    }

    /// Writes what does not depend on contents into the superblock.
    pub(crate) fn announce(&self, superblock: &mut Superblock) {
        superblock.compression = self.field;
        superblock.extra_devices = u16::from(self.devt_slotoff != 0);
        superblock.devt_slotoff = self.devt_slotoff;
        superblock.incompat |= self.incompat;
    }

    /// The feature bits of an image with these contents. Big pclusters share their bit with configurations.
    pub(crate) fn incompat(&self, sums: &Sums, compression: &CompressionOptions, has_packed: bool) -> u32 {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        self.incompat
            | bit(sums.compression.big_pclusters, incompat::COMPR_CFGS)
            | bit(sums.compression.inline_pclusters, incompat::ZTAILPACKING)
            | bit(has_packed, incompat::FRAGMENTS)
            | bit(compression.index == IndexForm::Extents, incompat::BIT48)
    }
}
