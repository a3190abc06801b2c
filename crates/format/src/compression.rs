//! The configurations of the compression algorithms, stored after the superblock (`z_erofs_*_cfgs` of Linux's
//! `erofs_fs.h`, read by `z_erofs_parse_cfgs`).
//!
//! ```text
//! each record, at a multiple of 4:  0 length:2, then so many bytes
//! lz4      2 max_distance:2  4 max_pclusterblks:2  6 reserved[10]
//! lzma     2 dict_size:4     6 format:2            8 reserved[8]
//! deflate  2 windowbits:1    3 reserved[5]
//! zstd     2 format:1        3 windowlog - 10:1    4 reserved[4]
//! ```
//!
//! The records follow the superblock and its extension slots, in the order of the algorithms' numbers.

pub use crate::algorithm::Algorithm;
use crate::error::{FormatError, units_u64};
use crate::feature::incompat;
use crate::superblock::{self, Superblock};
use crate::units::BlockBits;

/// The largest stored size of a pcluster, in bytes (`Z_EROFS_PCLUSTER_MAX_SIZE`).
pub const PCLUSTER_MAX_SIZE: u32 = 1 << 20;
/// The most bytes that a pcluster may become (`Z_EROFS_PCLUSTER_MAX_DSIZE`).
pub const PCLUSTER_MAX_DSIZE: u64 = 12 << 20;
/// The largest LZMA dictionary that Linux takes, in bytes (`Z_EROFS_LZMA_MAX_DICT_SIZE`).
pub const LZMA_DICT_MAX: u32 = 8 << 20;
/// The smallest LZMA dictionary that Linux takes, in bytes.
pub const LZMA_DICT_MIN: u32 = 4096;
/// The smallest window of a Zstandard configuration, as a power of two (`ZSTD_WINDOWLOG_ABSOLUTEMIN`).
pub const ZSTD_WINDOWLOG_MIN: u8 = 10;
/// The largest window that Linux takes, as a power of two (`Z_EROFS_ZSTD_MAX_DICT_SIZE`).
pub const ZSTD_WINDOWLOG_MAX: u8 = 20;
/// The largest DEFLATE window, as a power of two.
pub const DEFLATE_WINDOWBITS_MAX: u8 = 15;
/// The most bytes that the records can take: one of 65,536 bytes for each algorithm, with its length and
/// padding.
pub const RECORDS_MAX: usize = 4 * (65_536 + 4);

/// The algorithms that an image announces. Without compression configurations the bitmap's field holds LZ4's
/// maximum distance, and LZ4 is the only algorithm; images from before the zero padding need a distance to
/// say that they have it.
pub fn announced_algorithms(superblock: &Superblock) -> Vec<Algorithm> {
    if superblock.incompat & incompat::COMPR_CFGS == 0 {
        let lz4 = superblock.incompat & incompat::LZ4_0PADDING != 0 || superblock.compression != 0;
        return if lz4 { vec![Algorithm::Lz4] } else { Vec::new() };
    }
    let bits = superblock.compression;
    Algorithm::ALL.into_iter().filter(|algorithm| bits & algorithm.bit() != 0).collect()
}

/// The names of the algorithms that an image announces; see [`announced_algorithms`].
pub fn announced(superblock: &Superblock) -> Vec<&'static str> {
    announced_algorithms(superblock).into_iter().map(Algorithm::name).collect()
}

/// What the superblock says about LZ4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lz4Config {
    /// The farthest distance of a match, in bytes; 0 means 65,535.
    pub max_distance: u16,
    /// The largest pcluster, in blocks; 0 means 1.
    pub max_pclusterblks: u16,
}

/// The configurations of an image's algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Configs {
    /// LZ4.
    pub lz4: Option<Lz4Config>,
    /// The largest LZMA dictionary, in bytes: 4096 to 8 MiB.
    pub lzma_dict_size: Option<u32>,
    /// The largest DEFLATE window, as a power of two: up to 15.
    pub deflate_windowbits: Option<u8>,
    /// The largest Zstandard window, as a power of two: 10 to 20.
    pub zstd_windowlog: Option<u8>,
}

/// Where the records start: right behind the superblock and its extension slots, in bytes from the start of
/// the image.
pub fn records_at(extslots: u8) -> u64 {
    superblock::OFFSET.saturating_add(units_u64(superblock::record_size(extslots)))
}

impl Configs {
    /// The value of `available_compr_algs`.
    pub fn bits(&self) -> u16 {
        let mut bits = 0;
        for (there, algorithm) in [
            (self.lz4.is_some(), Algorithm::Lz4),
            (self.lzma_dict_size.is_some(), Algorithm::Lzma),
            (self.deflate_windowbits.is_some(), Algorithm::Deflate),
            (self.zstd_windowlog.is_some(), Algorithm::Zstd),
        ] {
            bits |= if there { algorithm.bit() } else { 0 };
        }
        bits
    }

    /// The records, to stand at [`records_at`]. The values are the caller's to keep inside their ranges: see
    /// [`Configs::check`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut record = |length: u16, bytes: &[u8]| {
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(bytes);
            out.resize(out.len().saturating_add(usize::from(length).saturating_sub(bytes.len())), 0);
        };
        if let Some(lz4) = self.lz4 {
            let [a, b] = lz4.max_distance.to_le_bytes();
            let [c, d] = lz4.max_pclusterblks.to_le_bytes();
            record(14, &[a, b, c, d]);
        }
        if let Some(dict_size) = self.lzma_dict_size {
            record(14, &dict_size.to_le_bytes());
        }
        if let Some(windowbits) = self.deflate_windowbits {
            record(6, &[windowbits]);
        }
        if let Some(windowlog) = self.zstd_windowlog {
            record(6, &[0, windowlog.saturating_sub(ZSTD_WINDOWLOG_MIN)]);
        }
        out
    }

    /// Reads the records of the algorithms whose bits are set in `bits` (`available_compr_algs`) from
    /// `bytes`, which stand at byte `at` of the image, and holds them to [`Configs::check`]. [`RECORDS_MAX`]
    /// bytes are always enough.
    pub fn decode(bits: u16, bytes: &[u8], at: u64, block_bits: BlockBits) -> Result<Self, FormatError> {
        let known = Algorithm::ALL.into_iter().fold(0, |known, algorithm| known | algorithm.bit());
        if bits & !known != 0 {
            let found = format!("{bits:#x}");
            let field = "superblock.available_compr_algs";
            return Err(FormatError::field(
                field,
                superblock::OFFSET.saturating_add(84),
                found,
                "bits 0 to 3 only",
            ));
        }
        let mut configs = Self::default();
        let mut rest = bytes;
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| bits & algorithm.bit() != 0) {
            let here = at.saturating_add(units_u64(bytes.len().saturating_sub(rest.len())));
            let short = |want| FormatError::short("compression configuration", here, rest.len(), want);
            let (length, body) = rest.split_first_chunk::<2>().ok_or_else(|| short(2))?;
            // As for all length-prefixed metadata, 0 stands for 65,536 (`erofs_read_metadata`).
            let length = match u16::from_le_bytes(*length) {
                0 => 65_536,
                length => usize::from(length),
            };
            let record = body.get(..length).ok_or_else(|| short(length.saturating_add(2)))?;
            configs.decode_record(algorithm, record, here)?;
            let next = length.saturating_add(2).next_multiple_of(4);
            rest = rest.get(next..).unwrap_or_default();
        }
        configs.check(block_bits)?;
        Ok(configs)
    }

    fn decode_record(&mut self, algorithm: Algorithm, record: &[u8], at: u64) -> Result<(), FormatError> {
        let least = if matches!(algorithm, Algorithm::Lz4 | Algorithm::Lzma) { 14 } else { 6 };
        let short = || FormatError::short("compression configuration", at, record.len(), least);
        if record.len() < least {
            return Err(short());
        }
        // The first six bytes are enough for all: the rest of every record is reserved.
        let (long, rest) = record.split_first_chunk::<4>().ok_or_else(short)?;
        let (first, second) = long.split_first_chunk::<2>().ok_or_else(short)?;
        let second = second.first_chunk::<2>().ok_or_else(short)?;
        match algorithm {
            Algorithm::Lz4 => {
                let max_distance = u16::from_le_bytes(*first);
                self.lz4 = Some(Lz4Config { max_distance, max_pclusterblks: u16::from_le_bytes(*second) });
            }
            Algorithm::Lzma => {
                let format = u16::from_le_bytes(*rest.first_chunk().ok_or_else(short)?);
                check_format("lzma configuration.format", at, format)?;
                self.lzma_dict_size = Some(u32::from_le_bytes(*long));
            }
            Algorithm::Deflate => {
                let [windowbits, _] = *first;
                self.deflate_windowbits = Some(windowbits);
            }
            Algorithm::Zstd => {
                let [format, windowlog] = *first;
                check_format("zstd configuration.format", at, u16::from(format))?;
                self.zstd_windowlog = Some(windowlog.saturating_add(ZSTD_WINDOWLOG_MIN));
            }
        }
        Ok(())
    }

    /// Whether Linux takes these values (`z_erofs_load_*_config`); the error names the first that it refuses.
    pub fn check(&self, block_bits: BlockBits) -> Result<(), FormatError> {
        let blocks = block_bits.blocks_floor(u64::from(PCLUSTER_MAX_SIZE));
        if let Some(lz4) = self.lz4.filter(|lz4| u64::from(lz4.max_pclusterblks) > blocks) {
            let limit = format!("at most {blocks} blocks");
            return Err(FormatError::limit("lz4 pcluster size", lz4.max_pclusterblks, limit));
        }
        if let Some(size) = self.lzma_dict_size.filter(|size| !(LZMA_DICT_MIN..=LZMA_DICT_MAX).contains(size))
        {
            return Err(FormatError::limit("lzma dictionary size", size, "4096 to 8388608 bytes"));
        }
        if let Some(bits) = self.deflate_windowbits.filter(|bits| *bits > DEFLATE_WINDOWBITS_MAX) {
            return Err(FormatError::limit("deflate window bits", bits, "at most 15"));
        }
        let zstd = ZSTD_WINDOWLOG_MIN..=ZSTD_WINDOWLOG_MAX;
        if let Some(log) = self.zstd_windowlog.filter(|log| !zstd.contains(log)) {
            return Err(FormatError::limit("zstd window log", log, "10 to 20"));
        }
        Ok(())
    }
}

fn check_format(field: &'static str, at: u64, found: u16) -> Result<(), FormatError> {
    if found == 0 { Ok(()) } else { Err(FormatError::field(field, at, found, "0")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_superblock_names_its_algorithms() {
        for (bits, compression, want) in [
            (0, 0, &[][..]),
            (0, 65535, &["lz4"]),
            (incompat::LZ4_0PADDING, 0xffff, &["lz4"]),
            (incompat::LZ4_0PADDING | incompat::COMPR_CFGS, 1, &["lz4"]),
            (incompat::COMPR_CFGS, 0b1010, &["lzma", "zstd"]),
        ] {
            let superblock = Superblock { incompat: bits, compression, ..Superblock::default() };
            assert_eq!(announced(&superblock), want);
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_number(algorithm.number()), Some(algorithm));
        }
        assert_eq!(Algorithm::from_number(4), None);
    }

    fn all() -> Configs {
        Configs {
            lz4: Some(Lz4Config { max_distance: 65535, max_pclusterblks: 16 }),
            lzma_dict_size: Some(1 << 20),
            deflate_windowbits: Some(15),
            zstd_windowlog: Some(16),
        }
    }

    #[test]
    fn decoding_undoes_encoding() {
        for configs in [
            all(),
            Configs::default(),
            Configs { lz4: None, deflate_windowbits: None, ..all() },
            Configs { lzma_dict_size: None, ..all() },
        ] {
            let bytes = configs.encode();
            assert_eq!(Configs::decode(configs.bits(), &bytes, 1152, BlockBits::DEFAULT).unwrap(), configs);
        }
        assert_eq!(all().encode().len(), 16 + 16 + 8 + 8);
        assert_eq!(records_at(1), 1024 + 144);
    }

    #[test]
    fn wrong_records_are_named() {
        let block = BlockBits::DEFAULT;
        let message = Configs::decode(0x1f, &[], 1152, block).unwrap_err().to_string();
        assert_eq!(
            message,
            "superblock.available_compr_algs at byte 1108: found 0x1f, want bits 0 to 3 only"
        );
        let bytes = all().encode();
        let message = Configs::decode(15, &bytes[..20], 1152, block).unwrap_err().to_string();
        assert_eq!(message, "compression configuration at byte 1168: found 4 bytes, want at least 16");
        for (wrong, want) in [
            (Configs { lz4: Some(Lz4Config { max_distance: 0, max_pclusterblks: 257 }), ..all() }, "lz4"),
            (Configs { lzma_dict_size: Some(4095), ..all() }, "lzma"),
            (Configs { deflate_windowbits: Some(16), ..all() }, "deflate"),
            (Configs { zstd_windowlog: Some(21), ..all() }, "zstd"),
        ] {
            let message = Configs::decode(15, &wrong.encode(), 0, block).unwrap_err().to_string();
            assert!(message.starts_with(want), "{message}");
        }
    }
}
