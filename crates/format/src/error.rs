//! What can be wrong with bytes of the format, and with values that are to become bytes.

use crate::words;

/// A rule of the format that bytes or values break. Every message names the place, what was found and what
/// was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes where a superblock should be are those of something else.
    #[error("not an EROFS image: found the magic number {found:#010x} at byte {at}, want {want:#010x}")]
    NotErofs {
        /// The number that was found.
        found: u32,
        /// Where it is, in bytes.
        at: u64,
        /// The magic number of EROFS.
        want: u32,
    },
    /// A field holds a value that the format does not allow.
    #[error("{field} at byte {at}: found {found}, want {want}")]
    Field {
        /// The kind of rule, for callers that act on it.
        rule: Rule,
        /// The structure and the field, such as `superblock.blkszbits`.
        field: &'static str,
        /// Where the field starts, in bytes from the start of whatever was being read.
        at: u64,
        /// The value that was found.
        found: String,
        /// The values that are allowed.
        want: String,
    },
    /// A structure is longer than the bytes that are there for it.
    #[error("{structure} at byte {at}: found {}, want at least {want}", words::bytes(*found))]
    Short {
        /// The structure.
        structure: &'static str,
        /// Where it starts, in bytes.
        at: u64,
        /// How many bytes are there.
        found: u64,
        /// How many it needs.
        want: u64,
    },
    /// A value is too large, or of a kind that the format has no room for.
    #[error("{what}: found {found}, the format holds {limit}")]
    Limit {
        /// What was to be stored.
        what: &'static str,
        /// Its value.
        found: String,
        /// What the format has room for.
        limit: String,
    },
}

/// What kind of rule a field breaks: the field's name is for people, this is for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// None of the others: a value is not one of those that are allowed.
    Value,
    /// The superblock's checksum.
    Checksum,
    /// An incompatible feature bit that is not known.
    Feature,
    /// A compression algorithm that is not known.
    Algorithm,
    /// A field of an inode.
    Inode,
    /// An entry of a directory.
    Dirent,
    /// The order of the names of a directory.
    NameOrder,
    /// An extended attribute, or the table of long name prefixes.
    Xattr,
    /// A table must end where the space that holds it ends.
    TableEnd,
}

impl FormatError {
    /// A [`FormatError::Field`] from values that print themselves.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over literals and numbers")]
    pub fn field(field: &'static str, at: u64, found: impl ToString, want: impl ToString) -> Self {
        let (found, want) = (found.to_string(), want.to_string());
        Self::Field { rule: Rule::Value, field, at, found, want }
    }

    /// The same error with the kind of rule that is broken; only a [`FormatError::Field`] has one.
    #[must_use]
    pub fn of(mut self, broken: Rule) -> Self {
        if let Self::Field { rule, .. } = &mut self {
            *rule = broken;
        }
        self
    }

    /// A [`FormatError::Limit`] from values that print themselves.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over literals and numbers")]
    pub fn limit(what: &'static str, found: impl ToString, limit: impl ToString) -> Self {
        Self::Limit { what, found: found.to_string(), limit: limit.to_string() }
    }

    /// A [`FormatError::Short`]; lengths in bytes.
    pub fn short(structure: &'static str, at: u64, found: usize, want: usize) -> Self {
        Self::Short { structure, at, found: units_u64(found), want: units_u64(want) }
    }
}

/// A length in memory as a 64-bit number; lossless on every platform that Rust runs on today.
pub(crate) fn units_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
