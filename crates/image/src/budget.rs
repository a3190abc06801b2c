//! How much work an image may make: one rule for everything that reads one. Overlapping structures, holes and
//! data that decodes to far more than it is make an image claim more than its size; past these limits it is
//! not read on.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::error::{Cause, Excess, Result};

/// So much always, and so much for each byte of the devices.
type Rule = (u64, u64);

/// The fewest bytes that an entry takes in a directory that is stored as it is: the record and one byte of
/// name.
const ENTRY_MIN: u64 = 13;
/// Entries that even the smallest image may have.
const ENTRIES_ALWAYS: u64 = 64;
/// Entries of directories that are compressed, or whose inodes are: each takes half a byte at least, because
/// it differs from the others in its name, and has an inode.
const ENCODED_ENTRIES: Rule = (1 << 16, 2);
/// Bytes of such directories: no longer than entries of 267 bytes that take one.
const ENCODED_DIRECTORIES: Rule = (16 << 20, 256);
/// Bytes of all paths together: deep directories make each of many names long. Real trees have some hundred
/// for each inode, and 30,000 directories one in the other have as many as the first number.
const PATHS: Rule = (1 << 30, 128);
/// Bytes of inodes and of attributes behind them where inodes are compressed; else each is in the image once.
const ENCODED_INODES: Rule = (4 << 20, 256);
/// Bytes of chunk tables and indexes of compressed files: each stands in the image once. The first is for
/// small images, whose tables can be longer than what is left of them.
const TABLES: Rule = (4096, 1);
/// The same where inodes are compressed.
const ENCODED_TABLES: Rule = (4 << 20, 16);
/// Bytes of contents: holes, chunks that are the same, and compressed zeros make more than a lifetime has
/// time for.
const CONTENTS: Rule = (1 << 40, 64);
/// Entries of indexes of compressed files: each takes 2 bytes at least (less in a metabox) and is looked at
/// some times.
const INDEX_ENTRIES: Rule = (1 << 24, 256);

/// The least that an entry of an index takes, in bytes: packs of 16 in 32.
pub const ENTRY_BYTES: u64 = 2;

/// The most that is read of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of all directories.
    pub entries: u64,
    /// Bytes of all directories.
    pub directory_bytes: u64,
    /// Bytes of the paths of all entries.
    pub path_bytes: u64,
    /// Bytes of inodes and of attributes behind them.
    pub inode_bytes: u64,
    /// Bytes of tables of chunks and of indexes of compressed files.
    pub table_bytes: u64,
    /// Bytes of contents, holes included, where all of them are read.
    pub content_bytes: u64,
    /// Bytes that are decoded.
    pub decoded_bytes: u64,
    /// Entries of indexes that are looked at.
    pub index_entries: u64,
}

impl Limits {
    /// Those of an image whose devices have `length` bytes together, which has compressed data or not, and
    /// compressed inodes or not.
    pub fn of(length: u64, compressed: bool, metabox: bool) -> Self {
        let of = |(always, each): Rule| length.saturating_mul(each).saturating_add(always);
        let (entries, directory_bytes) = if compressed {
            (of(ENCODED_ENTRIES), of(ENCODED_DIRECTORIES))
        } else {
            ((length / ENTRY_MIN).saturating_add(ENTRIES_ALWAYS), length)
        };
        Self {
            entries,
            directory_bytes,
            path_bytes: of(PATHS),
            inode_bytes: if metabox { of(ENCODED_INODES) } else { length },
            table_bytes: of(if metabox { ENCODED_TABLES } else { TABLES }),
            content_bytes: of(CONTENTS),
            decoded_bytes: of(CONTENTS),
            index_entries: of(INDEX_ENTRIES),
        }
    }
}

/// A limit that is used up, by several threads if need be.
#[derive(Debug)]
pub struct Budget {
    excess: Excess,
    what: &'static str,
    unit: &'static str,
    limit: u64,
    left: AtomicU64,
}

impl Budget {
    /// So much of `unit`, for `what`, of which a right image can have more; both are for messages.
    pub fn new(what: &'static str, unit: &'static str, limit: u64) -> Self {
        Self { excess: Excess::TooLong, what, unit, limit, left: AtomicU64::new(limit) }
    }

    /// So much of the directories, of which no right image has more.
    fn directories_of(unit: &'static str, limit: u64) -> Self {
        Self { excess: Excess::Impossible, ..Self::new("directories", unit, limit) }
    }

    /// That of the entries of all directories.
    pub fn entries(limits: &Limits) -> Self {
        Self::directories_of("entries", limits.entries)
    }

    /// That of the bytes of all directories.
    pub fn directories(limits: &Limits) -> Self {
        Self::directories_of("bytes", limits.directory_bytes)
    }

    /// That of the paths of all entries.
    pub fn paths(limits: &Limits) -> Self {
        Self::new("paths", "bytes", limits.path_bytes)
    }

    /// That of the bytes of inodes with what stands right behind them, which are nobody else's.
    pub fn inodes(limits: &Limits) -> Self {
        Self::new("inodes with their attributes", "bytes", limits.inode_bytes)
    }

    /// That of the extents of all files, of which a table has one for each entry, or an index for 2 bytes.
    pub fn extents(limits: &Limits) -> Self {
        Self::new("extents", "of them", limits.table_bytes / ENTRY_BYTES)
    }

    /// That of the contents of all files.
    pub fn contents(limits: &Limits) -> Self {
        Self::new("contents", "bytes", limits.content_bytes)
    }

    /// Takes so much; an error, and nothing is taken, if there is not so much left.
    pub fn take(&self, amount: u64) -> Result<()> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(amount));
        let &Self { excess, what, unit, limit, .. } = self;
        taken.map(|_| ()).map_err(|_| Cause::TooMuch { excess, what, unit, limit }.into())
    }
}

/// What reading compressed data of one image may cost.
#[derive(Debug)]
pub(crate) struct Work {
    /// Bytes that are decoded.
    pub(crate) decoded: Budget,
    /// Entries of indexes.
    pub(crate) entries: Budget,
}

impl Work {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            decoded: Budget::new("compressed data", "decoded bytes", limits.decoded_bytes),
            entries: Budget::new("indexes of compressed files", "entries", limits.index_entries),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone() {
        let budget = Budget::new("things", "pieces", 10);
        budget.take(4).unwrap();
        let message = budget.take(7).unwrap_err().to_string();
        assert_eq!(
            message,
            "things: found more than 10 pieces, want no more than is read of an image of this size"
        );
        budget.take(6).unwrap();
        assert!(budget.take(1).is_err());
        assert!(budget.take(u64::MAX).is_err());
    }

    #[test]
    fn limits_grow_with_the_image_and_never_overflow() {
        let (small, large) = (Limits::of(1 << 16, false, false), Limits::of(1 << 30, false, false));
        assert_eq!((small.entries, small.directory_bytes), (5105, 1 << 16));
        assert!(small.content_bytes < large.content_bytes && small.index_entries < large.index_entries);
        let (plain, encoded) = (Limits::of(1 << 16, false, false), Limits::of(1 << 16, true, true));
        assert!(plain.directory_bytes < encoded.directory_bytes && plain.entries < encoded.entries);
        assert!(plain.table_bytes < encoded.table_bytes);
        assert_eq!(Limits::of(u64::MAX, true, true).directory_bytes, u64::MAX);
    }
}
