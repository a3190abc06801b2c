//! Checks an image as a whole: what the reader refuses, what only shows when all inodes are looked at together, and whether
//! fingerprints are those of the content.
//!
//! ```text
//! source ─ superblock ─► walk (one thread: names, links) ─► inodes in batches ─► workers (attributes, extents, content)
//!                                                                                  │
//!                       report ◄─ overlaps, link counts, conflicts ◄───────────────┘
//! ```
//!
//! Invariant: whatever is wrong with an image is a [`Finding`], never an error and never a panic; an error is only what keeps the
//! check from being made. Work and memory are bounded by the size of the image: no directory is entered twice, no inode is
//! looked at twice, no more is kept than its names and extents, and of contents that are far larger than the image not all is
//! read, which the report says.
//!
//! Reading order: [`error`], [`finding`], `options`, `report`, `source`, `superblock`, `ranges`, `fingerprint`, `metadata`,
//! `canonical`, `acl`, `attributes`, `pages`, `inode`, `content`,
//! `held`, `job`, `outcome`, `worker`, `queue`, `walk`, [`mod@check`], [`domain`].

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions, clippy::panic)
)]

mod acl;
mod attributes;
mod canonical;
pub mod check;
mod content;
pub mod domain;
pub mod error;
pub mod finding;
mod fingerprint;
mod held;
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
