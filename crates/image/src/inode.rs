//! An inode read from a metadata space: the compact and the extended form become one value.

use erofs_format::datalayout::DataLayout;
use erofs_format::filetype::{FileType, MODE_PERMISSION_MASK};
use erofs_format::inode::{COMPACT_SIZE, EXTENDED_SIZE, Inode as Record, Mtime, decode_device};
use erofs_format::superblock::Superblock;
use erofs_format::{FormatError, Nid, Rule};

use crate::error::{ImageError, Result};
use crate::space::Space;

/// An inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub nid: Nid,
    /// The record as it is stored.
    pub record: Record,
    /// The type of the file.
    pub file_type: FileType,
    /// Modification time, seconds since 1970.
    pub mtime_sec: i64,
    /// Modification time, nanoseconds below 10^9.
    pub mtime_nsec: u32,
    /// Where the record starts in its metadata space, in bytes.
    pub(crate) at: u64,
}

impl Inode {
    /// Reads the inode `nid` from `space`.
    pub(crate) fn read(space: &Space, superblock: &Superblock, nid: Nid) -> Result<Self> {
        Self::read_bare(space, superblock, nid).map_err(|error| error.at_nid(nid))
    }

    fn read_bare(space: &Space, superblock: &Superblock, nid: Nid) -> Result<Self> {
        let at = space.byte_of(nid)?;
        let mut buf = [0; EXTENDED_SIZE];
        let bytes = space.read_into("inode", at, COMPACT_SIZE, &mut buf)?;
        let record = Record::decode(bytes, at)?;
        let (sec, nsec) = match record.mtime {
            Mtime::SinceEpoch(delta) => {
                (superblock.epoch.saturating_add(i64::from(delta)), superblock.fixed_nsec)
            }
            Mtime::Absolute { sec, nsec } => (sec, nsec),
        };
        if nsec >= 1_000_000_000 {
            let wrong =
                FormatError::field("inode.i_mtime_nsec", at.saturating_add(40), nsec, "0 to 999999999")
                    .of(Rule::Inode);
            return Err(wrong.into());
        }
        let file_type = record.file_type()?;
        Ok(Self { nid, record, file_type, mtime_sec: sec, mtime_nsec: nsec, at })
    }

    /// Size in bytes; below 2^63.
    pub fn size(&self) -> u64 {
        self.record.size
    }

    /// Type and permissions, as `st_mode` has them.
    pub fn mode(&self) -> u16 {
        self.record.mode
    }

    /// Permissions, with the set-id and sticky bits.
    pub fn permissions(&self) -> u16 {
        self.record.mode & MODE_PERMISSION_MASK
    }

    /// The data layout.
    pub fn layout(&self) -> DataLayout {
        self.record.layout
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type == FileType::Regular
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type == FileType::Symlink
    }

    /// Whether the file has content: regular files, directories and symbolic links do.
    pub fn has_data(&self) -> bool {
        self.is_dir() || self.is_file() || self.is_symlink()
    }

    /// Major and minor number of a device node.
    pub fn device(&self) -> Option<(u32, u32)> {
        matches!(self.file_type, FileType::CharDevice | FileType::BlockDevice)
            .then(|| decode_device(self.record.i_u))
    }

    /// Whether a directory stores no entry for `.`, because it stands for the directory itself (Linux 6.15).
    pub fn dot_omitted(&self) -> bool {
        self.is_dir() && self.record.bit4
    }

    /// Where the xattrs start in the metadata space, in bytes.
    pub(crate) fn xattrs_at(&self) -> Result<u64> {
        self.behind(self.record.version.size())
    }

    /// Where the chunk table or the inline tail may start: behind the xattrs.
    pub(crate) fn header_end(&self) -> Result<u64> {
        self.behind(self.record.header_size())
    }

    fn behind(&self, size: usize) -> Result<u64> {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let too_far =
            || ImageError::from(FormatError::limit("place of an inode", self.at, "bytes below 2^64"));
        self.at.checked_add(size).ok_or_else(|| too_far().at_nid(self.nid))
    }
}
