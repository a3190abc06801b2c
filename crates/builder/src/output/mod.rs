//! Where outputs go.
//!
//! ```text
//! place (a folder and a name) ─► temporary (a file without that name) ─► commit (all names at once)
//! ```
//!
//! `leftover` knows what a run that fails or is ended by a signal has to take back, [`identity`] which paths
//! mean the same file.

pub mod commit;
pub mod identity;

pub(crate) mod device;
pub(crate) mod leftover;
pub(crate) mod place;
pub(crate) mod temporary;

pub use commit::{Aside, Complete, Set};
pub use identity::Identity;
pub use leftover::take_back_on_signals;
