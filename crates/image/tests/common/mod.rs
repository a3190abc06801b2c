//! Small images made by hand from the records of the format, right ones and wrong ones.
//!
//! Blocks are 512 bytes. The metadata area starts at block 3, right behind the superblock's own, and inodes
//! are put where the caller says, one slot after the other, so that a test can say in bytes what stands
//! where.

use std::sync::Arc;

use erofs_format::datalayout::DataLayout;
use erofs_format::dirent::{Dirent, encode_block};
use erofs_format::filetype::FileType;
use erofs_format::inode::{Inode, Mtime, Version, xattr_icount};
use erofs_format::superblock::{self, Superblock};
use erofs_format::xattr::{BodyHeader, Entry};
use erofs_format::{BlockBits, Nid};
use erofs_image::{Image, ImageError, OpenOptions, ReadAt};

pub(crate) const BLOCK: usize = 512;
/// The first block of the metadata area.
pub(crate) const META: usize = 3;

/// An image in the making.
pub(crate) struct Maker {
    pub(crate) bytes: Vec<u8>,
    pub(crate) superblock: Superblock,
}

/// A compact inode without xattrs.
pub(crate) fn inode(file_type: FileType, layout: DataLayout, size: u64) -> Inode {
    Inode {
        version: Version::Compact,
        layout,
        bit4: false,
        xattr_icount: 0,
        mode: file_type.mode_bits() | 0o644,
        size,
        mtime: Mtime::SinceEpoch(0),
        i_u: 0,
        hi: 0,
        ino: 1,
        uid: 0,
        gid: 0,
        nlink: 1,
    }
}

/// The bytes of one directory block.
pub(crate) fn dir_block(entries: &[(&[u8], Nid, FileType)]) -> Vec<u8> {
    let entries: Vec<Dirent<'_>> =
        entries.iter().map(|(name, nid, kind)| Dirent { nid: *nid, file_type: Some(*kind), name }).collect();
    let mut bytes = Vec::new();
    encode_block(&entries, &mut bytes).unwrap();
    bytes
}

/// The bytes behind an inode: header, shared ids, inline entries (name index, name, value).
pub(crate) fn xattr_body(filter: u32, shared: &[u32], inline: &[(u8, &[u8], &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    BodyHeader { name_filter: filter, shared_count: u8::try_from(shared.len()).unwrap() }.encode(&mut body);
    body.extend(shared.iter().flat_map(|id| id.to_le_bytes()));
    for &(name_index, name, value) in inline {
        Entry { name_index, name, value }.encode(&mut body).unwrap();
    }
    body
}

impl Maker {
    /// An image of so many blocks, all zeros, whose root directory is to be put at nid 0.
    pub(crate) fn new(blocks: usize) -> Self {
        let superblock = Superblock {
            block_bits: BlockBits::new(9).unwrap(),
            meta_blkaddr: u32::try_from(META).unwrap(),
            root_nid: Nid(0),
            blocks: blocks as u64,
            epoch: 1_000_000_000,
            ..Superblock::default()
        };
        Self { bytes: vec![0; blocks * BLOCK], superblock }
    }

    /// Where the inode `nid` of the metadata area starts.
    pub(crate) fn byte_of(nid: Nid) -> usize {
        META * BLOCK + usize::try_from(nid.byte().unwrap()).unwrap()
    }

    /// Puts bytes at a place.
    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Puts an inode, its xattrs and what follows them.
    pub(crate) fn inode(&mut self, nid: u64, record: Inode, xattrs: &[u8], tail: &[u8]) -> Nid {
        let nid = Nid(nid);
        let record = Inode { xattr_icount: xattr_icount(xattrs.len()).unwrap(), ..record };
        let bytes = [record.encode().unwrap().as_slice(), xattrs, tail].concat();
        self.put(Self::byte_of(nid), &bytes);
        nid
    }

    /// Puts a directory whose entries follow its inode; `.` and `..` lead to itself and to `parent`.
    pub(crate) fn dir(&mut self, nid: u64, parent: Nid, entries: &[(&[u8], Nid, FileType)]) -> Nid {
        let dots: [(&[u8], Nid, FileType); 2] =
            [(b".", Nid(nid), FileType::Directory), (b"..", parent, FileType::Directory)];
        let mut all: Vec<_> = dots.iter().chain(entries).copied().collect();
        all.sort_unstable_by_key(|entry| entry.0);
        let block = dir_block(&all);
        let record = inode(FileType::Directory, DataLayout::FlatInline, block.len() as u64);
        self.inode(nid, record, &[], &block)
    }

    /// Puts a regular file whose content follows its inode.
    pub(crate) fn file(&mut self, nid: u64, xattrs: &[u8], content: &[u8]) -> Nid {
        let record = inode(FileType::Regular, DataLayout::FlatInline, content.len() as u64);
        self.inode(nid, record, xattrs, content)
    }

    /// Puts a symbolic link.
    pub(crate) fn link(&mut self, nid: u64, target: &[u8]) -> Nid {
        let record = inode(FileType::Symlink, DataLayout::FlatInline, target.len() as u64);
        self.inode(nid, record, &[], target)
    }

    /// The image's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let superblock = self.superblock.encode().unwrap();
        let at = usize::try_from(superblock::OFFSET).unwrap();
        bytes[at..at + superblock.len()].copy_from_slice(&superblock);
        bytes
    }

    /// Opens the image.
    pub(crate) fn open(&self) -> Result<Image, ImageError> {
        open(self.bytes())
    }
}

/// Opens an image without extra devices.
pub(crate) fn open(bytes: Vec<u8>) -> Result<Image, ImageError> {
    open_with(Arc::new(bytes), Vec::new())
}

/// Opens an image.
pub(crate) fn open_with(primary: Arc<dyn ReadAt>, extra: Vec<Arc<dyn ReadAt>>) -> Result<Image, ImageError> {
    Image::open(primary, extra, &OpenOptions::default())
}
