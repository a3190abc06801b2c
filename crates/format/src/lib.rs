//! The EROFS on-disk format: bytes become values and values become bytes.
//!
//! Every number of the format lives here and nowhere else: where the superblock is, how an inode is laid out,
//! which bit means what, how names are ordered. The sources of these rules are Linux's `fs/erofs/erofs_fs.h`,
//! the readers beside it, and the on-disk documentation of the EROFS project.
//!
//! Invariant: no I/O, no clock, no policy. Reading and writing bytes, and choosing between two correct forms,
//! are for the caller. Decoding never trusts a byte: arithmetic is checked, slices are taken with `get`, and
//! a wrong value is an error that names the field, the byte and both values.
//!
//! Reading order: [`units`], [`error`], [`feature`], [`superblock`], [`inode`], [`filetype`], [`dirent`],
//! [`xattr`], [`xattr_prefix`], [`device`], [`compression`], [`extent`], [`datalayout`], [`map_header`].
//!
//! # Example
//!
//! ```
//! use erofs_format::superblock::Superblock;
//!
//! let written = Superblock { blocks: 2, inodes: 1, ..Superblock::default() };
//! let mut bytes = written.encode()?;
//! assert_eq!(Superblock::decode(&bytes)?, written);
//!
//! // Bytes are never trusted: an error names the field, the byte, the value found and the value wanted.
//! bytes[0] ^= 1;
//! let error = Superblock::decode(&bytes).unwrap_err().to_string();
//! assert!(error.contains("magic"), "{error}");
//! # Ok::<(), erofs_format::FormatError>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions, clippy::panic)
)]

mod algorithm;
pub mod compression;
pub mod datalayout;
pub mod device;
pub mod dirent;
pub mod error;
pub mod extent;
pub mod feature;
pub mod filetype;
pub mod hash;
pub mod inode;
pub mod map_header;
mod printable;
pub mod superblock;
pub mod units;
pub mod words;
pub mod xattr;
pub mod xattr_prefix;

pub use error::{FormatError, Rule};
pub use printable::printable;
pub use units::{BlkAddr, BlockBits, Nid};
