//! Where everything goes: pure functions from a tree and options to places and bytes.

pub(crate) mod compose;
pub(crate) mod dirs;
pub(crate) mod foreign;
mod gaps;
pub(crate) mod order;
pub(crate) mod plan;
pub(crate) mod xattrs;
pub(crate) mod zone;
