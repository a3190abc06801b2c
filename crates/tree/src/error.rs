//! What can go wrong while a tree is gathered, and the one way in which paths are written in messages.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use erofs_format::printable;

/// An error of this crate: the place, the value found, and what was wanted.
///
/// The message is one line in lower case; the operating system's reason, where there is one, is the
/// [source](std::error::Error::source) and is not repeated in the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A system call on a path failed.
    #[error("cannot {action} {}", show_path(path))]
    Io {
        /// What was attempted, as it follows "cannot": `open`, `read the directory`.
        action: &'static str,
        /// The path as the user would write it: the source's root joined with the path inside.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The names of an inode's extended attributes could not be listed.
    #[error("cannot list the extended attributes of {}", show_path(path))]
    XattrList {
        /// The path of the inode.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The value of one extended attribute could not be read.
    #[error("cannot read extended attribute {} of {}", show_bytes(name), show_path(path))]
    XattrRead {
        /// The path of the inode.
        path: PathBuf,
        /// The full name of the attribute.
        name: Box<[u8]>,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An extended attribute was listed, but there was none when it was read (`ENODATA`).
    #[error(
        "{}: extended attribute {} was listed but has no data: it was removed meanwhile, or the file system lists \
         what it does not hold",
        show_path(path),
        show_bytes(name)
    )]
    XattrVanished {
        /// The path of the inode.
        path: PathBuf,
        /// The full name of the attribute.
        name: Box<[u8]>,
    },
    /// An inode is no longer what the scan saw.
    #[error("{}: {what} changed while the source was read: found {found}, wanted {wanted}", show_path(path))]
    Changed {
        /// The path of the inode.
        path: PathBuf,
        /// What differs: `file type`, `inode`, `size`, `mtime`, `ctime`.
        what: &'static str,
        /// The value now.
        found: String,
        /// The value that the scan saw.
        wanted: String,
    },
    /// A name that was listed or scanned is no longer there.
    #[error("{}: vanished while the source was read", show_path(path))]
    Vanished {
        /// The path that is gone.
        path: PathBuf,
    },
    /// A tree breaks one of its promises, or holds what no tree may hold.
    #[error("{}: {what}: found {found}, wanted {wanted}", show_path(path))]
    Invalid {
        /// The path inside the tree, from `/`, or in the source.
        path: PathBuf,
        /// The field.
        what: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// An archive is not as it has to be.
    #[error("{}: {error}", show_path(path))]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Place, value, and what was wanted.
        error: erofs_tar::Error,
    },
    /// An entry of an archive cannot be a part of a tree.
    #[error(
        "{}, byte {offset}: {}: {what}: found {found}, wanted {wanted}",
        show_path(archive),
        show_path(path)
    )]
    ArchiveEntry {
        /// The archive.
        archive: PathBuf,
        /// Where the headers of the entry begin, in bytes.
        offset: u64,
        /// The path of the entry, as the archive has it.
        path: PathBuf,
        /// The field.
        what: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// A user or group identifier with its offset is larger than any that a file can have.
    #[error("{}: {what} {value} with offset {offset} is more than 4294967294", show_path(path))]
    IdOverflow {
        /// The path inside the tree, from `/`.
        path: PathBuf,
        /// `uid` or `gid`.
        what: &'static str,
        /// The identifier before the offset.
        value: u32,
        /// The offset.
        offset: u32,
    },
    /// Owners or groups that this user namespace does not map are not to be stored.
    #[error(
        "{}: {what} {found}, which in this user namespace stands for what is not mapped, and {} more of \
         this: wanted mapped ones, or another {what} to store",
        show_path(path),
        count.saturating_sub(1)
    )]
    Unmapped {
        /// The first path inside the tree, from `/`.
        path: PathBuf,
        /// `owner` or `group`.
        what: &'static str,
        /// The number that stands for all of them.
        found: u32,
        /// How many inodes have it.
        count: usize,
    },
    /// A pattern of what to exclude cannot be used.
    #[error("exclude pattern {}: {reason}", show_bytes(pattern.as_bytes()))]
    BadExclude {
        /// The pattern as given.
        pattern: String,
        /// Why not, in one line.
        reason: String,
    },
    /// The source holds more of something than a tree can count.
    #[error("too many {what}: a tree holds at most {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The largest number.
        limit: u64,
    },
    /// A content reference was not made by this source's last scan.
    #[error("content reference {found} is unknown: the scan found {files} files")]
    UnknownContent {
        /// The reference.
        found: u32,
        /// How many files the source knows.
        files: usize,
    },
}

impl TreeError {
    /// The path that the error is about, if it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::XattrList { path, .. }
            | Self::XattrRead { path, .. }
            | Self::XattrVanished { path, .. }
            | Self::Changed { path, .. }
            | Self::Vanished { path }
            | Self::Invalid { path, .. }
            | Self::Archive { path, .. }
            | Self::ArchiveEntry { path, .. }
            | Self::Unmapped { path, .. }
            | Self::IdOverflow { path, .. } => Some(path),
            Self::BadExclude { .. } | Self::TooMany { .. } | Self::UnknownContent { .. } => None,
        }
    }
}

/// A path for a message of one line; see [`printable`].
pub fn show_path(path: &Path) -> impl Display + use<> {
    printable(path.as_os_str().as_bytes())
}

/// The same for a bare sequence of bytes, such as the name of an extended attribute.
pub(crate) fn show_bytes(bytes: &[u8]) -> impl Display + use<> {
    printable(bytes)
}

/// Bytes of a path as a `PathBuf`.
pub(crate) fn to_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_on_one_line() {
        let cases: [(&[u8], &str); 6] = [
            (b"usr/bin/true", "usr/bin/true"),
            (b"a\nb", "a\\x0ab"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("gr\u{fc}n".as_bytes(), "gr\u{fc}n"),
            (b"back\\slash", "back\\\\slash"),
            (b"\x1b[2J", "\\x1b[2J"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(show_path(&to_path(bytes)).to_string(), shown);
        }
    }

    #[test]
    fn messages_are_one_lower_case_line() {
        let path = to_path(b"src/a\nb");
        let errors = [
            TreeError::Vanished { path: path.clone() },
            TreeError::XattrVanished { path: path.clone(), name: b"user.a".as_slice().into() },
            TreeError::IdOverflow { path, what: "uid", value: 1, offset: u32::MAX },
            TreeError::UnknownContent { found: 3, files: 2 },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
            assert_eq!(text.to_lowercase(), text);
        }
    }
}
