//! Checks an image as a whole: what the reader refuses, what only shows when all inodes are looked at
//! together, and whether fingerprints match the content.
//!
//! ```text
//! source ─ superblock ─► walk (one thread: names, links) ─► inodes in batches ─► workers (attributes, extents, content)
//!                                                                                  │
//!                       report ◄─ overlaps, link counts, conflicts ◄───────────────┘
//! ```
//!
//! Invariant: whatever is wrong with an image is a [`Finding`], never an error and never a panic; an error is
//! only what keeps the check from being made. Work and memory are bounded by the size of the image: no
//! directory is entered twice, no inode is looked at twice, no more is kept than its names and extents, and
//! of contents that are far larger than the image not all is read, which the report says.
//!
//! Reading order: [`error`], [`finding`], `options`, `report`, `source`, `superblock`, `ranges`,
//! `fingerprint`, `metadata`, `canonical`, `acl`, `attributes`, `pages`, `inode`, `content`, `batch`, `job`,
//! `outcome`, `worker`, `queue`, `walk`, [`mod@check`], [`domain`].
//!
//! # Example
//!
//! ```
//! use erofs_check::{Options, Source, check};
//!
//! # use erofs_builder::{BuildOptions, ImageFile};
//! # use erofs_tree::{DirOptions, DirSource, Silent};
//! # let folder = tempfile::tempdir()?;
//! # let source = folder.path().join("source");
//! # std::fs::create_dir(&source)?;
//! # std::fs::write(source.join("hello"), "world\n")?;
//! # let path = folder.path().join("hello.img");
//! # let mut source = DirSource::new(source, DirOptions::default())?;
//! # erofs_builder::build(&mut source, ImageFile::create(&path, 0)?, &BuildOptions::default(), &Silent)?;
//! # let no_devices: [&std::path::Path; 0] = [];
//! // `path` is an image that erofs-builder made.
//! let report = check(&Source::open_path(&path, &no_devices, 0)?, &Options::default())?;
//! assert!(report.findings.is_empty(), "{:?}", report.findings);
//! assert_eq!(report.inodes, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions, clippy::panic)
)]

mod acl;
mod attributes;
mod batch;
mod canonical;
pub mod check;
mod content;
pub mod domain;
pub mod error;
pub mod finding;
mod fingerprint;
mod inode;
mod job;
mod metadata;
mod options;
mod outcome;
mod pages;
mod queue;
mod ranges;
mod report;
mod source;
mod superblock;
mod walk;
mod worker;

pub use check::check;
pub use domain::conflicts;
pub use error::CheckError;
pub use finding::{Area, Code, Finding};
pub use fingerprint::Content;
pub use options::{Options, Profile};
pub use report::Report;
pub use source::Source;
