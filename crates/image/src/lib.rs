//! The EROFS reader: opens an image and its extra devices, walks it, and reads it, in the process, without a
//! mount.
//!
//! Invariant: it never trusts a byte and never writes one. A malformed image gives an error that names field,
//! byte and values; never a panic, never more memory than the image is long (and a block for each open
//! directory, and at most 40 MiB for each compressed file while a pcluster of it is decoded: 1 MiB stored,
//! and 12 MiB each for it, for extents that are kept, and for the window of the decoder), never an endless
//! walk. What the bytes mean is decided in `erofs-format`; here they are fetched.
//!
//! Reading order: [`error`], [`budget`], [`read_at`], [`cache`], [`space`], [`device`], [`inode`], `map`,
//! `context`, `compressed`, `pcluster`, [`data`], [`image`], [`dir`], [`xattr`], [`ishare`], [`walk`],
//! [`census`].
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use erofs_image::{Follow, Image, OpenOptions, ReadAt as _};
//!
//! # use erofs_format::Nid;
//! # use erofs_format::datalayout::DataLayout::FlatInline;
//! # use erofs_format::dirent::{Dirent, encode_block};
//! # use erofs_format::filetype::FileType::{self, Directory, Regular};
//! # use erofs_format::inode::{Inode, Mtime, Version};
//! # use erofs_format::superblock::{self, Superblock};
//! # // One block with a superblock, and one with two inodes, which have their data after them.
//! # let inode = |kind: FileType, size: usize| Inode {
//! #     version: Version::Compact, layout: FlatInline, bit4: false, xattr_icount: 0,
//! #     mode: kind.mode_bits() | 0o644, size: size as u64, mtime: Mtime::SinceEpoch(0),
//! #     i_u: 0, hi: 0, ino: 1, uid: 0, gid: 0, nlink: 1,
//! # };
//! # let entry = |name, nid, kind| Dirent { nid: Nid(nid), file_type: Some(kind), name };
//! # let mut names = Vec::new();
//! # let (this, parent) = (entry(b".".as_slice(), 1, Directory), entry(b"..", 1, Directory));
//! # encode_block(&[this, parent, entry(b"hello", 4, Regular)], &mut names)?;
//! # let mut bytes = vec![0; 8192];
//! # let root_nid = Nid(1);
//! # let superblock = Superblock { root_nid, inodes: 2, blocks: 2, meta_blkaddr: 1, ..Superblock::default() };
//! # for (at, part) in [
//! #     (1024, superblock.encode()?),
//! #     (4096 + 32, [inode(Directory, names.len()).encode()?, names].concat()),
//! #     (4096 + 128, [inode(Regular, 6).encode()?, b"world\n".to_vec()].concat()),
//! # ] {
//! #     bytes[at..at + part.len()].copy_from_slice(&part);
//! # }
//! // `Image::open_path` opens a file or a block device; here the image is in memory.
//! let image = Image::open(Arc::new(bytes), Vec::new(), &OpenOptions::default())?;
//!
//! let mut paths = Vec::new();
//! for step in image.walk_all()? {
//!     paths.push(String::from_utf8(step?.path)?);
//! }
//! assert_eq!(paths, ["/", "/hello"]);
//!
//! let hello = image.data(&image.resolve(b"/hello", Follow::All)?)?;
//! let mut content = vec![0; 6];
//! hello.read_at(0, &mut content)?;
//! assert_eq!(content, b"world\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions, clippy::panic)
)]

pub mod budget;
pub mod cache;
pub mod census;
mod compressed;
mod context;
pub mod data;
pub mod device;
pub mod dir;
pub mod error;
pub mod image;
pub mod inode;
pub mod ishare;
mod map;
mod pcluster;
pub mod read_at;
pub mod space;
pub mod walk;
pub mod xattr;

pub use budget::{Budget, Limits};
pub use cache::Cached;
pub use data::{FileData, Piece};
pub use dir::{Entry, Follow};
pub use erofs_decode::DecodeError;
pub use erofs_format::printable;
pub use error::{Cause, Excess, ImageError};
pub use image::{Image, OpenOptions};
pub use inode::Inode;
pub use ishare::{Fingerprint, Private};
pub use read_at::{FileSource, FrontView, OffsetView, ReadAt};
pub use walk::Step;
pub use xattr::Xattr;
