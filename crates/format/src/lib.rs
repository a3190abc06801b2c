//! The EROFS on-disk format: bytes become values and values become bytes.
//!
//! Every number of the format lives here and nowhere else: where the superblock is, how an inode is laid out, which
//! bit says what, how names are ordered. The sources of these rules are Linux's `fs/erofs/erofs_fs.h`, the readers
//! beside it, and the on-disk documentation of the EROFS project.
//!
//! Invariant: no I/O, no clock, no policy. Whoever wants bytes read or written does so elsewhere, whoever must choose
//! between two correct forms does so elsewhere. Decoding never trusts a byte: arithmetic is checked, slices are taken
//! with `get`, and a wrong value is an error that names the field, the byte and both values.
//!
//! Reading order: [`units`], [`error`], [`feature`], [`superblock`], [`inode`], [`filetype`], [`dirent`], [`xattr`],
//! [`xattr_prefix`], [`device`], [`compression`], [`extent`], [`datalayout`],
//! [`map_header`].

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
pub mod xattr;
pub mod xattr_prefix;

pub use error::{FormatError, Rule};
pub use printable::printable;
pub use units::{BlkAddr, BlockBits, Nid};
