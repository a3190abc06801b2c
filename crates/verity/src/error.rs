//! What can go wrong. A wrong block is no error but the result of [`crate::check()`].

use std::io;

/// Why a tree, a key, a certificate or a signature cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VerityError {
    /// Bytes could not be read or written.
    #[error("{what} at byte {at}: {cause}")]
    Io {
        /// What the bytes are.
        what: &'static str,
        /// Where they begin.
        at: u64,
        /// Why not.
        cause: io::Error,
    },
    /// A parameter is out of range.
    #[error("{what}: found {found}, want {want}")]
    Range {
        /// The parameter.
        what: &'static str,
        /// Its value.
        found: String,
        /// The values that it can have.
        want: &'static str,
    },
    /// A field of a superblock has a value that it cannot have.
    #[error("verity superblock.{field} at byte {at}: found {found}, want {want}")]
    Superblock {
        /// The field.
        field: &'static str,
        /// Where it stands.
        at: u64,
        /// Its value.
        found: String,
        /// The values that it can have.
        want: String,
    },
    /// There is less than the superblock speaks of.
    #[error("{what}: found {found} of at least {want} bytes")]
    Short {
        /// The data or the hash area.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much there should be.
        want: u64,
    },
    /// A private key cannot be used.
    #[error("private key: {0}")]
    Key(String),
    /// A certificate cannot be used.
    #[error("certificate: {0}")]
    Certificate(String),
    /// A signature cannot be used, or does not hold.
    #[error("signature: {0}")]
    Signature(String),
}
