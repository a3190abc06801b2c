//! The compression algorithms: number on disk, name, first kernel (`Z_EROFS_COMPRESSION_*` of Linux's
//! `erofs_fs.h`).

use crate::feature::KernelVersion;

/// A compression algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// LZ4 blocks.
    Lz4,
    /// `MicroLZMA`.
    Lzma,
    /// Raw DEFLATE.
    Deflate,
    /// Zstandard frames.
    Zstd,
}

/// Algorithm, number on disk, name, first kernel.
const TABLE: [(Algorithm, u8, &str, KernelVersion); 4] = [
    (Algorithm::Lz4, 0, "lz4", KernelVersion(5, 4)),
    (Algorithm::Lzma, 1, "lzma", KernelVersion(5, 16)),
    (Algorithm::Deflate, 2, "deflate", KernelVersion(6, 6)),
    (Algorithm::Zstd, 3, "zstd", KernelVersion(6, 10)),
];

impl Algorithm {
    /// Every algorithm, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Lz4, Self::Lzma, Self::Deflate, Self::Zstd];

    fn row(self) -> (u8, &'static str, KernelVersion) {
        TABLE
            .iter()
            .find(|row| row.0 == self)
            .map_or((0, "", KernelVersion(0, 0)), |row| (row.1, row.2, row.3))
    }

    /// The number on disk.
    pub fn number(self) -> u8 {
        self.row().0
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The first kernel that decodes it.
    pub fn since(self) -> KernelVersion {
        self.row().2
    }

    /// The algorithm behind a number on disk.
    pub fn from_number(number: u8) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// Its bit in `available_compr_algs`.
    pub fn bit(self) -> u16 {
        1_u16.checked_shl(u32::from(self.number())).unwrap_or(0)
    }
}
