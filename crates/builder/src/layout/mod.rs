//! Where everything goes: pure functions from a tree, options and contents to places and bytes.
//!
//! ```text
//! tree ─► headers (form and xattrs of each inode) ─► place (with the shapes of contents) ─► compose, dirs, table: bytes
//! ```

pub(crate) mod compose;
pub(crate) mod dirs;
pub(crate) mod foreign;
mod gaps;
pub(crate) mod headers;
pub(crate) mod order;
pub(crate) mod place;
pub(crate) mod prefixes;
pub(crate) mod table;
pub(crate) mod xattrs;
pub(crate) mod zone;
