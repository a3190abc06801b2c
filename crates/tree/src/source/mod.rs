//! Where trees come from: the trait that every source has, and one file for each source.
//! [`shaped`] and [`layers`] make a source of others.

pub mod dir;
pub mod layers;
pub mod port;
pub mod shaped;
pub mod stream;
pub mod tar;
