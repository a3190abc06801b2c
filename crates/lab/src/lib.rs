//! Runs scenarios of page cache sharing on a real kernel, in a virtual machine.
//!
//! ```text
//! scenario ─ plan ─► disks + initial file system ─ machine (qemu) ─► guest ─► lines ─► report
//! ```
//!
//! The guest (`src/bin/lab-guest`) carries out each event with the exact system call and reads the kernel's
//! own counters before and after it. The host knows nothing of the model that predicts the same figures, so
//! neither can hide a mistake of the other.
//!
//! Reading order: [`protocol`], [`lab`], [`mod@plan`], [`report`], [`workload`]; `machine` and `cpio` are the
//! means.

pub mod protocol;

#[cfg(feature = "host")]
pub mod conformance;
#[cfg(feature = "host")]
mod cpio;
#[cfg(feature = "host")]
pub mod error;
#[cfg(feature = "host")]
mod hash_tree;
#[cfg(feature = "host")]
pub mod lab;
#[cfg(feature = "host")]
mod machine;
#[cfg(feature = "host")]
pub mod plan;
#[cfg(feature = "host")]
pub mod random;
#[cfg(feature = "host")]
pub mod recipe;
#[cfg(feature = "host")]
pub mod report;
#[cfg(feature = "host")]
pub mod workload;

#[cfg(feature = "host")]
pub use error::LabError;
#[cfg(feature = "host")]
pub use lab::{Lab, Limits};
#[cfg(feature = "host")]
pub use plan::Located;
#[cfg(feature = "host")]
pub use report::{Report, ScenarioReport};
