//! Which bytes belong to whom: a list of ranges, and those of them that overlap and may not.

use erofs_format::extent::Coding;

/// What a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An inode, its attributes, chunk table, index or inline tail, a shared attribute, or the superblock.
    Metadata,
    /// The blocks of a flat file of this many bytes. Files of equal content may share them from the first on;
    /// the end of one can follow its inode instead.
    Flat(u64),
    /// Chunks of this many bytes; each may be shared.
    Chunks(u64),
    /// A pcluster, which deduplication shares from its first byte on. All files give it the same length and
    /// coding: Linux keeps those of the first reader for all others (`z_erofs_pcluster_begin`), so that what a
    /// file contains would depend on which one is read first.
    Pcluster(Coding),
}

/// The number of the owner of what belongs to no inode.
pub(crate) const NO_INODE: u64 = 0;
/// That of shared attributes.
pub(crate) const SHARED_XATTRS: u64 = u64::MAX;

/// A range of bytes of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    /// The unified space, a device outside of it, or the metabox.
    pub(crate) space: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) kind: Kind,
    /// The place of the inode in the walk.
    pub(crate) owner: u64,
}

/// An overlap: the range that comes first, and the one that begins inside it.
pub(crate) type Overlap = (Range, Range);

/// The overlaps that no right image has. For each range at most one with metadata and one with data is
/// reported.
pub(crate) fn overlaps(mut ranges: Vec<Range>) -> Vec<Overlap> {
    // The stable sort, because what comes is in parts that are sorted already.
    ranges.sort();
    let mut found = Vec::new();
    let mut before: [Option<Range>; 2] = [None, None];
    for range in ranges {
        let index = usize::from(range.kind != Kind::Metadata);
        for other in before.iter().flatten() {
            if other.space == range.space && range.start < other.end && !may_overlap(other, &range) {
                found.push((*other, range));
            }
        }
        if let Some(slot) = before.get_mut(index) {
            let goes_on = slot.is_some_and(|last| last.space == range.space && last.end >= range.end);
            if !goes_on {
                *slot = Some(range);
            }
        }
    }
    found
}

fn may_overlap(first: &Range, second: &Range) -> bool {
    let apart = second.start.saturating_sub(first.start);
    match (first.kind, second.kind) {
        (Kind::Flat(one), Kind::Flat(other)) => apart == 0 && one == other,
        (Kind::Chunks(one), Kind::Chunks(other)) => apart.checked_rem(one.min(other)) == Some(0),
        (Kind::Chunks(size), Kind::Flat(_)) | (Kind::Flat(_), Kind::Chunks(size)) => {
            apart.checked_rem(size) == Some(0)
        }
        (Kind::Pcluster(one), Kind::Pcluster(other)) => apart == 0 && one == other && first.end == second.end,
        (Kind::Metadata | Kind::Pcluster(_), _) | (_, Kind::Metadata | Kind::Pcluster(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use erofs_format::compression::Algorithm;

    use super::*;

    const LZ4: Kind = Kind::Pcluster(Coding::Compressed(Algorithm::Lz4));
    const PLAIN: Kind = Kind::Pcluster(Coding::Shifted);

    #[test]
    fn what_may_share_bytes_and_what_not() {
        let range = |kind, start, end, owner| Range { space: 0, start, end, kind, owner };
        for (one, other, wrong) in [
            (range(Kind::Metadata, 0, 64, 1), range(Kind::Metadata, 64, 96, 2), false),
            (range(Kind::Metadata, 0, 64, 1), range(Kind::Metadata, 32, 96, 2), true),
            (range(Kind::Metadata, 0, 64, 1), range(Kind::Flat(64), 32, 96, 2), true),
            (range(Kind::Flat(4000), 0, 4096, 1), range(Kind::Flat(4000), 0, 4096, 2), false),
            (range(Kind::Flat(4000), 0, 4096, 1), range(Kind::Flat(3999), 0, 4096, 2), true),
            // The last 4 bytes of one follow its inode.
            (range(Kind::Flat(8196), 0, 8192, 1), range(Kind::Flat(8196), 0, 12_288, 2), false),
            (range(Kind::Flat(8192), 0, 8192, 1), range(Kind::Flat(8192), 4096, 12_288, 2), true),
            (range(Kind::Chunks(4096), 0, 8192, 1), range(Kind::Chunks(4096), 4096, 8192, 2), false),
            (range(Kind::Chunks(4096), 0, 8192, 1), range(Kind::Chunks(4096), 512, 4608, 2), true),
            (range(LZ4, 0, 8192, 1), range(LZ4, 0, 8192, 2), false),
            (range(LZ4, 0, 8192, 1), range(LZ4, 0, 4096, 2), true),
            (range(LZ4, 0, 8192, 1), range(PLAIN, 0, 8192, 2), true),
            (range(LZ4, 0, 8192, 1), range(LZ4, 4096, 8192, 2), true),
            (range(LZ4, 0, 8192, 1), range(Kind::Flat(8192), 0, 8192, 2), true),
        ] {
            assert_eq!(!overlaps(vec![other, one]).is_empty(), wrong, "{one:?} {other:?}");
        }
        let mut elsewhere = range(Kind::Metadata, 0, 64, 1);
        elsewhere.space = 1;
        assert!(overlaps(vec![elsewhere, range(Kind::Metadata, 0, 64, 2)]).is_empty());
        // A long range is not forgotten behind short ones inside it.
        let three = vec![
            range(Kind::Metadata, 0, 100, 1),
            range(Kind::Metadata, 10, 20, 2),
            range(Kind::Metadata, 50, 60, 3),
        ];
        assert_eq!(overlaps(three).len(), 2);
    }
}
