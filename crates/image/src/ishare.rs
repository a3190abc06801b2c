//! The fingerprint of a file, as the kernel takes it to find the files that share pages
//! (Linux's `erofs_xattr_fill_inode_fingerprint`).

use erofs_format::feature::compat;

use crate::error::Result;
use crate::image::Image;
use crate::inode::Inode;

/// What the kernel makes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fingerprint {
    /// The value that is compared between images. With equal size and layout class, files of equal value
    /// share pages.
    Value(Vec<u8>),
    /// The file keeps its pages for itself.
    Private(Private),
}

/// Why a file keeps its pages for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Private {
    /// The image does not have the feature `ISHARE_XATTRS`.
    NoFeature,
    /// Only regular files share.
    NotAFile,
    /// The file has no attribute of that name.
    Absent,
    /// The attribute has no value.
    Empty,
    /// The value is longer than a block of this image.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The block size in bytes.
        limit: usize,
    },
}

impl Fingerprint {
    /// The value, if the file shares.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Value(value) => Some(value),
            Self::Private(_) => None,
        }
    }
}

impl Image {
    /// The fingerprint of a file, or why it has none that counts.
    pub fn fingerprint(&self, inode: &Inode) -> Result<Fingerprint> {
        if self.superblock().compat & compat::ISHARE_XATTRS == 0 {
            return Ok(Fingerprint::Private(Private::NoFeature));
        }
        if !inode.is_file() {
            return Ok(Fingerprint::Private(Private::NotAFile));
        }
        let Some(prefix) = self.ishare_prefix()? else {
            return Ok(Fingerprint::Private(Private::NoFeature));
        };
        // The kernel takes the infix as a string that ends at its first NUL.
        let name = prefix.infix.split(|byte| *byte == 0).next().unwrap_or_default();
        let limit = self.superblock().block_bits.bytes();
        Ok(match self.xattr_by_index(inode, prefix.base_index, name)? {
            None => Fingerprint::Private(Private::Absent),
            Some(value) if value.is_empty() => Fingerprint::Private(Private::Empty),
            Some(value) if value.len() > limit => {
                Fingerprint::Private(Private::TooLong { length: value.len(), limit })
            }
            Some(value) => Fingerprint::Value(value),
        })
    }
}
