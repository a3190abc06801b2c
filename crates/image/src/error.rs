//! What can go wrong when an image is read: a cause, with the inode and the path that it belongs to where
//! they are known.

use std::fmt;
use std::io;
use std::sync::Arc;

use erofs_decode::DecodeError;
use erofs_format::{FormatError, Nid, Rule, printable, words};

/// An error of reading an image. It prints as one line: path, nid, cause.
#[derive(Debug, Clone)]
pub struct ImageError(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    path: Option<Vec<u8>>,
    nid: Option<Nid>,
    cause: Cause,
}

/// Why something could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Bytes of the image break a rule of the format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The bytes could not be read.
    #[error("{what}: {} at byte {at} of {space}: {source}", words::bytes(*length))]
    Io {
        /// What was being read.
        what: &'static str,
        /// Where it was read from: a device, or the metabox.
        space: String,
        /// First byte.
        at: u64,
        /// Number of bytes.
        length: u64,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Something is said to lie past the end of a device.
    #[error(
        "{what} at byte {at}: found {}, want an end within {space}, which has {}",
        words::bytes(*length),
        words::bytes(*end)
    )]
    Beyond {
        /// What was to be read.
        what: &'static str,
        /// Where it would be.
        space: String,
        /// First byte.
        at: u64,
        /// Number of bytes.
        length: u64,
        /// Length of the space in bytes.
        end: u64,
    },
    /// The path to an image or device cannot serve as one.
    #[error("{0}")]
    Source(String),
    /// A device of the image was not given.
    #[error("data on extra device {device}{}: found no such device, want {extra} given ({reason})", tagged(.tag))]
    DeviceAbsent {
        /// Its number.
        device: u16,
        /// What the device table calls it, such as the UUID of the original of a companion; can be empty.
        tag: Vec<u8>,
        /// How many there are.
        extra: usize,
        /// Why the primary device cannot stand in for it.
        reason: &'static str,
    },
    /// The number of devices given is not that of the device table.
    #[error("extra devices: found {given} given, want {wanted} as in superblock.extra_devices")]
    DeviceCount {
        /// Devices given.
        given: usize,
        /// Devices in the table.
        wanted: usize,
    },
    /// Compressed data could not be decoded.
    #[error("{} at byte {start} of the file, stored at byte {at}: {source}", words::bytes(*length))]
    Decode {
        /// First byte of the extent in the file.
        start: u64,
        /// Length of the extent in bytes.
        length: u64,
        /// First byte that is stored.
        at: u64,
        /// What the decoder says.
        source: DecodeError,
    },
    /// A fragment in an image without a packed inode, or in the packed inode itself.
    #[error(
        "fragment at byte {offset} of the packed inode: found no packed inode, want one where a fragment is"
    )]
    NoPackedInode {
        /// First byte of the fragment.
        offset: u64,
    },
    /// A nid with the metabox bit in an image that has none.
    #[error("nid: found {nid:#x} with the metabox bit, want a nid without it in an image without a metabox")]
    NoMetabox {
        /// The nid.
        nid: u64,
    },
    /// A path that leads nowhere.
    #[error("no such file or directory")]
    NotFound,
    /// A directory was wanted.
    #[error("is a {found}, want a directory")]
    NotADirectory {
        /// What it is.
        found: &'static str,
    },
    /// A regular file was wanted.
    #[error("is a {found}, want a regular file")]
    NotAFile {
        /// What it is.
        found: &'static str,
    },
    /// A symbolic link on the way, where links are not to be followed.
    #[error("is a symbolic link, which is not followed here")]
    Link,
    /// Too many symbolic links on the way.
    #[error("too many symbolic links: found more than {limit}")]
    LinkLoop {
        /// How many are followed.
        limit: u32,
    },
    /// A directory inside itself, or with two names.
    #[error("directory nid {nid} has a second name here, want one name for each directory")]
    DirectoryTwice {
        /// The directory.
        nid: u64,
    },
    /// More than is read of an image of this size; see [`crate::budget`].
    #[error("{what}: found more than {limit} {unit}, want no more than is read of an image of this size")]
    TooMuch {
        /// What that says of the image.
        excess: Excess,
        /// Of what there is too much.
        what: &'static str,
        /// What is counted.
        unit: &'static str,
        /// How much there can be.
        limit: u64,
    },
}

/// What it says of an image that there is more of something than is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// No right image of this size has so much: directories that overlap or are inside themselves.
    Impossible,
    /// A right image can have it, and reading it would take too long: a sparse file.
    TooLong,
}

/// The tag of a device for messages.
fn tagged(tag: &[u8]) -> String {
    if tag.is_empty() { String::new() } else { format!(" ({})", printable(tag)) }
}

/// The result of reading an image.
pub type Result<T> = std::result::Result<T, ImageError>;

impl ImageError {
    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The inode, where it is known.
    pub fn nid(&self) -> Option<Nid> {
        self.0.nid
    }

    /// The path inside the image, where it is known.
    pub fn path(&self) -> Option<&[u8]> {
        self.0.path.as_deref()
    }

    /// The same error with an inode, unless it has one.
    #[must_use]
    pub fn at_nid(mut self, nid: Nid) -> Self {
        self.0.nid.get_or_insert(nid);
        self
    }

    /// The same error with a path, unless it has one.
    #[must_use]
    pub fn at_path(mut self, path: &[u8]) -> Self {
        self.0.path.get_or_insert_with(|| path.to_vec());
        self
    }

    /// Whether the path is not there, as opposed to the image being wrong.
    pub fn is_not_found(&self) -> bool {
        matches!(self.0.cause, Cause::NotFound)
    }

    /// Whether the data is on a device that was not given, so that no other data will be found either.
    pub fn is_device_absent(&self) -> bool {
        matches!(self.0.cause, Cause::DeviceAbsent { .. })
    }

    /// Whether this version cannot read something that may be right: a compression algorithm that it does not
    /// know.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0.cause, Cause::Format(FormatError::Field { rule: Rule::Algorithm, .. }))
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{}: ", printable(path))?;
        }
        if let Some(nid) = self.0.nid {
            write!(f, "nid {}: ", nid.0)?;
        }
        write!(f, "{}", self.0.cause)
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        None
    }
}

impl<T: Into<Cause>> From<T> for ImageError {
    fn from(cause: T) -> Self {
        Self(Box::new(Inner { path: None, nid: None, cause: cause.into() }))
    }
}

impl From<ImageError> for io::Error {
    fn from(error: ImageError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_path_inode_and_cause() {
        let error = ImageError::from(Cause::NotFound).at_nid(Nid(36)).at_path(b"/a\n").at_path(b"/later");
        assert_eq!(error.to_string(), "/a\\x0a: nid 36: no such file or directory");
        assert!(error.is_not_found());
        let format = ImageError::from(FormatError::field("inode.i_size", 8, 1, 2));
        assert_eq!(format.to_string(), "inode.i_size at byte 8: found 1, want 2");
    }
}
