//! The EROFS reader: opens an image and its extra devices, walks it, and reads it, in the process, without a mount.
//!
//! Invariant: it never trusts a byte and never writes one. A malformed image gives an error that names field, byte and
//! values; never a panic, never more memory than the image is long (and a block for each open directory, and 16 MiB for each open compressed file), never an endless
//! walk. What the bytes mean is decided in `erofs-format`; here they are fetched.
//!
//! Reading order: [`error`], [`budget`], [`read_at`], [`cache`], [`space`], [`device`], [`inode`], `map`,
//! `context`, `compressed`, `pcluster`, [`data`], [`image`], [`dir`], [`xattr`],
//! [`ishare`], [`walk`], [`census`].

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
