//! Pieces of files that are stored as they are in the original.

/// Where a piece of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere.
    Hole,
    /// From this block of the original on.
    Original(u64),
    /// In blocks of the companion, to be copied.
    Copied,
    /// After the inode in the original.
    Inline,
}

/// Bytes of a file that are in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) place: Place,
}
