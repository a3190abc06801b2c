//! What a compressed image announces: feature bits and the configurations of its algorithms.

use erofs_format::compression::{Algorithm, Configs, Lz4Config, records_at};
use erofs_format::device::SLOT_SIZE;
use erofs_format::feature::incompat;
use erofs_format::superblock::Superblock;
use erofs_format::{BlockBits, FormatError};

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
    /// The configurations behind it, and the device table of a companion.
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
        if compression.algorithms.is_empty() {
            return Self { field: 0, records: Vec::new(), devt_slotoff: 0, incompat: 0 };
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

    /// Where the slot of an extra device can stand, in bytes behind the superblock and its extension slots.
    pub(crate) fn device_at(&self, extslots: u8) -> u64 {
        let start = records_at(extslots);
        let end = start + self.records.len() as u64;
        end.next_multiple_of(SLOT_SIZE as u64) - start
    }

    /// Adds the slot of the one extra device.
    pub(crate) fn add_device(&mut self, slot: &[u8], extslots: u8) -> Result<(), FormatError> {
        let behind = self.device_at(extslots);
        let number = (records_at(extslots) + behind) / SLOT_SIZE as u64;
        self.devt_slotoff = u16::try_from(number)
            .map_err(|_| FormatError::limit("place of the device table", number, "0 to 65535"))?;
        self.records.resize(usize::try_from(behind).unwrap_or(self.records.len()), 0);
        self.records.extend_from_slice(slot);
        self.incompat |= incompat::DEVICE_TABLE;
        Ok(())
    }

    /// Adds feature bits.
    pub(crate) fn add_incompat(&mut self, bits: u32) {
        self.incompat |= bits;
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
            | bit(has_packed || sums.compression.references, incompat::FRAGMENTS)
            | bit(compression.index == IndexForm::Extents, incompat::BIT48)
    }
}
