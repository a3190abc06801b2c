//! Where bytes go: addresses of the image, and temporary files for what has no address yet.

pub(crate) mod area;
pub(crate) mod spool;
pub(crate) mod target;

pub(crate) use area::Area;
pub(crate) use spool::Spool;
