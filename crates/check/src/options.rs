//! How an image is checked.

use uuid::Uuid;

/// What an image has to keep to beyond the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The plain format: flat and chunk-based files, one device, no compression, 32-bit addresses.
    Core,
    /// That, in canonical form, with a checksum and a right fingerprint of every file with content.
    Hardened,
}

/// How an image is checked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The profile that the image has to keep to.
    pub profile: Option<Profile>,
    /// The namespace of fingerprints that need one to be recomputed.
    pub namespace: Option<Uuid>,
    /// How many threads work; 0 is one per processor.
    pub threads: usize,
}
