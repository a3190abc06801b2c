//! Why something was not extracted.

use std::io;

use anyhow::anyhow;
use erofs_image::ImageError;

/// Why something was not extracted.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The image says something wrong.
    Image(ImageError),
    /// Data is on a device that was not given.
    DeviceAbsent(ImageError),
    /// The host refuses; the rest may still work.
    Host(String),
    /// There is no use in going on.
    End(anyhow::Error),
}

impl From<ImageError> for Trouble {
    /// Without its devices, no other file of the image can be read either.
    fn from(error: ImageError) -> Self {
        if error.is_device_absent() { Self::DeviceAbsent(error) } else { Self::Image(error) }
    }
}

/// The host's refusal to do `what`. A full or read-only file system ends everything.
pub(super) fn host(what: &str, error: &io::Error) -> Trouble {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::ReadOnlyFilesystem];
    if kinds.contains(&error.kind()) {
        return Trouble::End(anyhow!("{what}: {error}"));
    }
    Trouble::Host(format!("{what}: {error}"))
}
