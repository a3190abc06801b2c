//! dm-verity hash trees, their superblock, and detached signatures over root hashes.
//!
//! ```text
//! data ─ format ─► superblock, levels ─► root hash ─ sign ─► PKCS#7
//! data, levels, root hash ─ check ─► the first wrong block, if there is one
//! ```
//!
//! The form of the hash area is that of `veritysetup format`, byte for byte, and that of Linux's `dm-verity`.
//!
//! Reading order: [`io`], [`params`], [`superblock`], [`levels`], [`mod@format`], [`mod@check`] (trees); then [`key`],
//! [`certificate`], [`signature`]. Invariant: order of blocks comes from numbers alone, so the tree does not depend on
//! the number of threads; nothing here knows what the data is.

#![forbid(unsafe_code)]

pub mod certificate;
pub mod check;
pub mod error;
pub mod format;
pub mod io;
pub mod key;
pub mod levels;
pub mod params;
pub mod signature;
pub mod superblock;

mod hash;
mod purpose;
mod threads;
mod wipe;

pub use certificate::Certificates;
pub use check::{Checked, Request, Wrong, check};
pub use error::VerityError;
pub use format::{Formatted, format};
pub use io::{FileBytes, ReadAt, WriteAt};
pub use key::PrivateKey;
pub use params::{BlockSize, Params, RootHash, Salt};
pub use signature::{Signer, Trust};
pub use superblock::Superblock;
