//! dm-verity hash trees, their superblock, and detached signatures over root hashes.
//!
//! ```text
//! data ─ format ─► superblock, levels ─► root hash ─ sign ─► PKCS#7
//! data, levels, root hash ─ check ─► the first wrong block, if there is one
//! ```
//!
//! The form of the hash area is that of `veritysetup format`, byte for byte, and that of Linux's `dm-verity`.
//!
//! Reading order: [`io`], [`params`], [`superblock`], [`levels`], [`mod@format`], [`mod@check`] (trees); then
//! [`key`], [`certificate`], [`signature`]. Invariant: order of blocks comes from numbers alone, so the tree
//! does not depend on the number of threads; nothing here knows what the data is.
//!
//! # Example
//!
//! ```
//! use std::sync::Mutex;
//!
//! use erofs_verity::{Params, Request, check, format};
//! use uuid::Uuid;
//!
//! let data = vec![7; 8 * 4096];
//! let params = Params::derived(Uuid::nil(), 8);
//! let area = Mutex::new(Vec::new());
//! let formatted = format(&data, 8, &params, &area, 0, 0)?;
//!
//! let area = area.into_inner().unwrap();
//! let root = Some(formatted.root);
//! let request = Request { data: &data, hashes: &area, hash_offset: 0, root, threads: 0 };
//! assert_eq!(check(&request)?.wrong, None);
//! # Ok::<(), erofs_verity::VerityError>(())
//! ```

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
