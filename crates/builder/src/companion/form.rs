//! What companions there are.

use crate::options::FingerprintOptions;

/// The number of the original among the devices.
pub(super) const ORIGINAL: u16 = 1;

/// What a companion is for.
#[derive(Debug, Clone)]
pub enum Form {
    /// To be mounted itself, with the original as its device.
    Index {
        /// The fingerprints that its files get; computed, never those of the original.
        fingerprint: FingerprintOptions,
    },
    /// To be the upper of two lower layers of overlayfs, the original being the lower one, which is for data
    /// only. There are no fingerprints: what would be shared are the holes of this image under the name of
    /// real contents.
    Overlay,
}
