//! What a compressed image announces: feature bits and the configurations of its algorithms.

use erofs_format::compression::{Algorithm, Configs, Lz4Config, records_at};
use erofs_format::device::SLOT_SIZE;
use erofs_format::feature::incompat;
use erofs_format::superblock::Superblock;
use erofs_format::{BlockBits, FormatError};

use crate::coder::codecs::{Codecs, Rules, limit};
use crate::coder::pcluster::Sizes;
use crate::options::IndexForm;
use crate::summary::Sums;

/// The farthest distance of a match in an LZ4 block.
const LZ4_DISTANCE: u16 = 65_535;

/// The most blocks that LZ4's configuration may announce. Linux reads it before it knows the size of a block,
/// and holds it to the pages of the largest pcluster (`z_erofs_load_lz4_config`); it makes room for as many
/// pages, which is enough for smaller blocks.
const LZ4_BLOCKS_MAX: u64 = 256;

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

/// What data of another image needs that is read as part of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Foreign {
    /// The configurations of the algorithms that it is compressed with.
    pub(crate) configs: Configs,
    /// The feature bits of that image that it needs.
    pub(crate) incompat: u32,
}

impl Announced {
    /// What is known before anything is encoded: every algorithm that the options name.
    pub(crate) fn new(codecs: &Codecs, block_bits: BlockBits) -> Self {
        let block = block_bits.bytes();
        let unaligned = codecs.rules.is_unaligned();
        let largest = limit(codecs.largest_pcluster, unaligned, block);
        let pcluster = largest as usize;
        let input = erofs_encode::MAX_INPUT;
        let sizes = Sizes {
            block,
            pcluster,
            input,
            unaligned: false,
            plain: block,
            squeeze: false,
            interlaced: false,
        };
        let mut configs = Configs::default();
        for index in 0..codecs.algorithms.len() {
            let Some(params) = codecs.params(index, sizes) else { continue };
            let bits = |size: u32| u8::try_from(size.max(1).ilog2()).unwrap_or(0);
            match Algorithm::from_number(params.algorithm.number) {
                Some(Algorithm::Lz4) => {
                    // Linux sizes its buffers by this number; a pcluster that starts anywhere touches one
                    // more.
                    let more = u64::from(unaligned);
                    let blocks = (block_bits.blocks_ceil(u64::from(largest)) + more).min(LZ4_BLOCKS_MAX);
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
        if codecs.algorithms.is_empty() {
            return Self { field: 0, records: Vec::new(), devt_slotoff: 0, incompat: 0 };
        }
        let small = pcluster <= block && !unaligned;
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

    /// Adds what data of another image needs, before anything is placed behind the configurations. There is
    /// one for each algorithm, so the larger one counts. An error if LZ4 data would have zeros before it in
    /// one image and not in the other.
    pub(crate) fn merge(&mut self, foreign: &Foreign, block_bits: BlockBits) -> Result<(), FormatError> {
        let own = if self.incompat & incompat::COMPR_CFGS != 0 {
            Configs::decode(self.field, &self.records, 0, block_bits)?
        } else {
            let lz4 = Lz4Config { max_distance: self.field, max_pclusterblks: 1 };
            Configs {
                lz4: Some(lz4).filter(|_| self.incompat & incompat::LZ4_0PADDING != 0),
                ..Configs::default()
            }
        };
        let theirs = &foreign.configs;
        if theirs.lz4.is_some() && foreign.incompat & incompat::LZ4_0PADDING == 0 {
            if own.lz4.is_some() {
                let want =
                    "another algorithm or none beside files in lz4 without zeros before their pclusters";
                return Err(FormatError::limit("algorithm of the metadata", "lz4", want));
            }
            self.incompat &= !incompat::LZ4_0PADDING;
        }
        let merged = Configs {
            lz4: larger_lz4(own.lz4, theirs.lz4),
            lzma_dict_size: own.lzma_dict_size.max(theirs.lzma_dict_size),
            deflate_windowbits: own.deflate_windowbits.max(theirs.deflate_windowbits),
            zstd_windowlog: own.zstd_windowlog.max(theirs.zstd_windowlog),
        };
        self.incompat |= foreign.incompat;
        if self.incompat & incompat::COMPR_CFGS != 0 || merged.bits() & !Algorithm::Lz4.bit() != 0 {
            self.incompat |= incompat::COMPR_CFGS;
            self.field = merged.bits();
            self.records = merged.encode();
        } else if let Some(lz4) = merged.lz4 {
            self.field = lz4.max_distance;
        }
        Ok(())
    }

    /// Writes what does not depend on contents into the superblock.
    pub(crate) fn announce(&self, superblock: &mut Superblock) {
        superblock.compression = self.field;
        superblock.extra_devices = u16::from(self.devt_slotoff != 0);
        superblock.devt_slotoff = self.devt_slotoff;
        superblock.incompat |= self.incompat;
    }

    /// The feature bits of an image with these contents. Big pclusters share their bit with configurations.
    pub(crate) fn incompat(&self, sums: &Sums, rules: &Rules) -> u32 {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        self.incompat
            | bit(sums.compression.big_pclusters, incompat::COMPR_CFGS)
            | bit(sums.chunked, incompat::CHUNKED_FILE)
            | bit(sums.compression.inline_pclusters, incompat::ZTAILPACKING)
            | bit(sums.compression.two_heads, incompat::COMPR_HEAD2)
            // Kernels that do not know this bit would not turn interlaced blocks.
            | bit(
                sums.compression.references || sums.compression.interlaced,
                incompat::FRAGMENTS,
            )
            | bit(rules.index == IndexForm::Extents, incompat::BIT48)
    }
}

/// The configuration of LZ4 that is enough for both.
fn larger_lz4(one: Option<Lz4Config>, other: Option<Lz4Config>) -> Option<Lz4Config> {
    let (Some(a), Some(b)) = (one, other) else { return one.or(other) };
    let far = |config: Lz4Config| if config.max_distance == 0 { LZ4_DISTANCE } else { config.max_distance };
    Some(Lz4Config {
        max_distance: far(a).max(far(b)),
        max_pclusterblks: a.max_pclusterblks.max(b.max_pclusterblks).max(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PADDED: u32 = incompat::LZ4_0PADDING;
    const RECORDS: u32 = incompat::LZ4_0PADDING | incompat::COMPR_CFGS;

    fn lz4(max_distance: u16, max_pclusterblks: u16) -> Configs {
        Configs { lz4: Some(Lz4Config { max_distance, max_pclusterblks }), ..Configs::default() }
    }

    fn zstd(log: u8) -> Configs {
        Configs { zstd_windowlog: Some(log), ..Configs::default() }
    }

    fn announced(field: u16, configs: &Configs, incompat: u32) -> Announced {
        Announced { field, records: configs.encode(), devt_slotoff: 0, incompat }
    }

    #[test]
    fn one_configuration_is_enough_for_both() {
        let none = Configs::default();
        let both = Configs { zstd_windowlog: Some(15), ..lz4(400, 1) };
        let old = |field| Announced { field, records: Vec::new(), devt_slotoff: 0, incompat: PADDED };
        let nothing = announced(0, &none, 0);
        for (own, configs, incompat, want) in [
            (nothing.clone(), none, 0, nothing.clone()),
            (nothing.clone(), lz4(400, 1), PADDED, old(400)),
            (nothing.clone(), lz4(400, 1), 0, Announced { incompat: 0, ..old(400) }),
            (nothing.clone(), lz4(0, 4), RECORDS, announced(1, &lz4(0, 4), RECORDS)),
            (old(65_535), lz4(400, 1), PADDED, old(65_535)),
            (old(65_535), lz4(400, 16), RECORDS, announced(1, &lz4(65_535, 16), RECORDS)),
            (announced(8, &zstd(15), RECORDS), zstd(12), RECORDS, announced(8, &zstd(15), RECORDS)),
            (announced(8, &zstd(15), RECORDS), zstd(17), RECORDS, announced(8, &zstd(17), RECORDS)),
            (announced(8, &zstd(15), RECORDS), lz4(400, 1), PADDED, announced(9, &both, RECORDS)),
            (announced(8, &zstd(15), RECORDS), lz4(400, 1), 0, announced(9, &both, incompat::COMPR_CFGS)),
        ] {
            let mut found = own.clone();
            found.merge(&Foreign { configs, incompat }, BlockBits::DEFAULT).unwrap();
            assert_eq!(found, want, "{own:?} {configs:?} {incompat:#x}");
        }
        let foreign = Foreign { configs: lz4(400, 1), incompat: 0 };
        assert!(old(65_535).merge(&foreign, BlockBits::DEFAULT).is_err());
    }
}
