//! What may be swapped in an EROFS image: the kinds of fingerprint (and, with compression, the compressors).
//!
//! Invariant: sees byte slices, never a file.

pub mod fingerprint;
mod sha256;

/// The key by which equal chunks of data are found: BLAKE3, so that no two different chunks can be made to look alike.
pub fn chunk_key(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
