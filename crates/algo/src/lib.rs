//! Content fingerprints of EROFS images: digest algorithms, and the attribute values made of them.
//!
//! Invariant: sees byte slices, never a file.
//!
//! # Example
//!
//! ```
//! use erofs_algo::fingerprint;
//!
//! let kind = fingerprint::by_name("sha256").expect("a row of the table");
//! let found = fingerprint::of(kind, uuid::Uuid::nil(), b"abc");
//! // The value of the attribute: a tag, and the raw bytes of the digest.
//! assert!(found.value.starts_with(b"sha256:") && found.value.len() == 7 + 32);
//! ```

pub mod fingerprint;
mod sha256;

/// The key by which equal chunks of data are found: BLAKE3, so that no two different chunks can be made to
/// look alike.
pub fn chunk_key(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
