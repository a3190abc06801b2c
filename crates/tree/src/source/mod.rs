//! Where trees come from: the trait that every source has, and one file for each source.

pub mod dir;
pub mod port;
pub mod stream;
