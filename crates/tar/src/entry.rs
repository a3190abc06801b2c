//! What an archive holds.

/// A file of an archive with its metadata, and where its content is.
///
/// Names are bytes as the archive has them. Nothing is said of whether they are safe: they can be absolute,
/// contain `..`, or lead through symbolic links. They are not empty and contain no NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path; that of a directory may end with slashes.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The low 12 bits of the mode: permissions, set-user-id, set-group-id and sticky.
    pub mode: u16,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// When the content was last modified.
    pub mtime: Time,
    /// The length of the content in bytes, holes included.
    pub size: u64,
    /// Where the first header of the entry begins, in bytes; a header of PAX records or a long name, if there
    /// is one.
    pub header_offset: u64,
    /// Where the content begins, in bytes. It is a multiple of 512.
    pub data_offset: u64,
    /// How many bytes of the archive the content takes, without the padding to 512: `size` for a file without
    /// holes.
    pub stored: u64,
    /// Of a sparse file, where the stored bytes belong, in order and without overlap; what lies between them
    /// is zeros. None if the file has no map, which means that all of it is stored.
    pub segments: Option<Vec<Segment>>,
    /// Extended attributes, sorted by the bytes of their names, each name once.
    pub xattrs: Vec<Xattr>,
    /// All PAX records of the entry itself, as they are and in their order. Those of global headers are
    /// [`Parser::globals`](crate::Parser::globals).
    pub records: Vec<Record>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: Vec<u8>,
    },
    /// Another name of an entry that came before. It can have a content, which is then that of the file.
    HardLink {
        /// The path of that entry.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00:00 UTC, which may be negative.
    pub seconds: i64,
    /// Nanoseconds after that second, 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// A part of a sparse file that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; not 0.
    pub length: u64,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// The full name, such as `user.comment`; not empty, without NUL.
    pub name: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// A PAX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The keyword.
    pub key: Vec<u8>,
    /// The value, which may contain any byte.
    pub value: Vec<u8>,
    /// Where the record begins in the archive, in bytes.
    pub offset: u64,
}
