//! What can keep a check from being made. What is wrong with the image itself is a [`crate::Finding`].

use erofs_image::DecodeError;
use erofs_image::{Cause, Excess, ImageError};

/// Why an image could not be checked, in whole or in part.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckError {
    /// The image, or something in it, could not be read: the system, or devices that were not given.
    #[error(transparent)]
    Read(#[from] ImageError),
}

/// Whether the error says that something could not be read, as opposed to the image being wrong. That goes
/// for contents that are too long for the time there is, such as those of sparse files; directories are not.
pub(crate) fn is_operational(error: &ImageError) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other causes are about the image")]
    match error.cause() {
        Cause::Io { .. }
        | Cause::Source(_)
        | Cause::DeviceAbsent { .. }
        | Cause::DeviceCount { .. }
        | Cause::Decode { source: DecodeError::Memory { .. }, .. } => true,
        Cause::TooMuch { excess, .. } => *excess == Excess::TooLong,
        _ => false,
    }
}
