//! What can go wrong while an image is built.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use erofs_format::FormatError;
use erofs_format::words;
use erofs_tree::TreeError;

use crate::option_error::OptionError;

/// Why no image was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The source could not be read, or changed while it was read. The message names the path.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Something that the format has no room for; names the path in the tree.
    #[error("{path}: {cause}")]
    Format {
        /// The path in the tree.
        path: String,
        /// The rule of the format.
        cause: FormatError,
    },
    /// A structure without a path of its own does not fit the format.
    #[error(transparent)]
    Structure(#[from] FormatError),
    /// The original of a companion could not be read.
    #[error(transparent)]
    Original(#[from] erofs_image::ImageError),
    /// A companion cannot refer to what its original holds.
    #[error("{path}: found {found}, want {want}")]
    Refer {
        /// The path in the original.
        path: String,
        /// What is there.
        found: String,
        /// What a companion can refer to, and why.
        want: &'static str,
    },
    /// The image could not be written.
    #[error("{}: {action}: {cause}", erofs_tree::show_path(path))]
    Write {
        /// The image.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file for what does not fit into memory could not be used.
    #[error("temporary file: {0}")]
    Spool(std::io::Error),
    /// There is not enough memory.
    #[error("{what}; fewer threads, smaller pclusters or another algorithm take less")]
    Memory {
        /// What it was wanted for.
        what: String,
    },
    /// Options that exclude each other, or values out of range.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// A file must not carry the xattr that names the fingerprint (`--strict`).
    #[error("{path}: the source has an xattr {name}, which is the key of the fingerprints")]
    OwnFingerprint {
        /// The file.
        path: String,
        /// The xattr.
        name: String,
    },
    /// Fingerprints were to come from the source, and this file has none or a wrong one.
    #[error(
        "{path}: the fingerprint xattr {name} of the source has {}, want 1 to {want}",
        words::bytes(*found)
    )]
    SourceFingerprint {
        /// The file.
        path: String,
        /// The xattr.
        name: String,
        /// Its length in bytes; 0 if it is missing.
        found: usize,
        /// The block size, which is the longest value that Linux takes.
        want: u64,
    },
    /// A file is longer than the work on it has room or time for, which only files with holes can be.
    #[error("{path}: found a file of {found} bytes, want at most {most}: {why}")]
    Long {
        /// The path in the tree.
        path: String,
        /// Its length in bytes.
        found: u64,
        /// The longest that would do, in bytes.
        most: u128,
        /// What there is no room or time for.
        why: &'static str,
    },
    /// A file was shorter or longer than the scan had seen.
    #[error(
        "{}: changed while it was read: found {}, want {want}",
        erofs_tree::show_path(path),
        words::bytes(*found)
    )]
    Resized {
        /// The file.
        path: PathBuf,
        /// Bytes that were read.
        found: u64,
        /// Bytes that the scan had seen.
        want: u64,
    },
    /// A file has other bytes than when it was read at first.
    #[error(
        "{}: changed while it was read: found other content than a moment before",
        erofs_tree::show_path(path)
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A promise that this crate makes to itself was broken. A defect of the program: no image is written.
    #[error("internal: {0}")]
    Internal(String),
}

impl BuildError {
    /// A [`BuildError::Spool`].
    pub(crate) fn spool(cause: std::io::Error) -> Self {
        Self::Spool(cause)
    }

    /// The same with the path of a file, if it is a rule of the format that names none.
    pub(crate) fn in_file(self, path: impl FnOnce() -> Vec<u8>) -> Self {
        if let Self::Structure(cause) = self { Self::at(&path(), cause) } else { self }
    }

    /// A [`BuildError::Format`] for the file at `path` of the tree.
    pub(crate) fn at(path: &[u8], cause: FormatError) -> Self {
        Self::Format { path: shown(path), cause }
    }
}

/// A path of the tree as messages show it: on one line, whatever its bytes are.
pub(crate) fn shown(path: &[u8]) -> String {
    erofs_tree::show_path(Path::new(OsStr::from_bytes(path))).to_string()
}
