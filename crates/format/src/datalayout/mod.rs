//! The data layouts: how an inode says where its bytes are (`EROFS_INODE_FLAT_PLAIN` and so on).

pub mod chunk;
pub mod compact;
pub mod extents;
pub mod flat;
pub mod full;
pub mod lcluster;

/// The data layout of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataLayout {
    /// Consecutive blocks.
    FlatPlain,
    /// Compressed, with an index of 8 bytes per logical cluster, or with encoded extents.
    CompressedFull,
    /// Consecutive blocks, and the tail behind the inode.
    FlatInline,
    /// Compressed, with a packed index.
    CompressedCompact,
    /// Chunks of equal size, each with an address of its own.
    ChunkBased,
}

/// Layout, number in `i_format`, name.
const TABLE: [(DataLayout, u16, &str); 5] = [
    (DataLayout::FlatPlain, 0, "flat plain"),
    (DataLayout::CompressedFull, 1, "compressed full"),
    (DataLayout::FlatInline, 2, "flat inline"),
    (DataLayout::CompressedCompact, 3, "compressed compact"),
    (DataLayout::ChunkBased, 4, "chunk-based"),
];

impl DataLayout {
    /// The number in bits 1 to 3 of `i_format`.
    pub fn number(self) -> u16 {
        TABLE.iter().find(|row| row.0 == self).map_or(0, |row| row.1)
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }

    /// The layout behind a number; 5 to 7 are reserved.
    pub fn from_number(number: u16) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// Whether the data is compressed.
    pub fn is_compressed(self) -> bool {
        matches!(self, Self::CompressedFull | Self::CompressedCompact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_the_layout() {
        for (layout, number, _) in TABLE {
            assert_eq!(layout.number(), number);
            assert_eq!(DataLayout::from_number(number), Some(layout));
        }
        assert_eq!(DataLayout::from_number(5), None);
        assert!(DataLayout::CompressedFull.is_compressed());
        assert!(!DataLayout::ChunkBased.is_compressed());
    }
}
