//! What the running kernel says of its page cache and its EROFS mounts.
//!
//! Two halves. The first looks at a machine and says whether it can share page cache between images, and what to change:
//! [`mountinfo`], [`kernel`] and [`defects`] (what texts and versions mean), [`system`] (what is read, below any root
//! directory), [`backing`] (what lies under a mount), [`doctor`] (from there to findings, without I/O). The second looks
//! into the page cache: `sys` (the system calls without a safe form), [`resident`] (which pages of which files are in
//! memory, and in which page frames), [`predict`] (what the model says of the same images), [`trace`] (samples as a list
//! of accesses).
//!
//! Invariant: nothing here changes anything on the machine, except that looking at a file looks it up and that listing a
//! directory reads it.

pub mod backing;
pub mod defects;
pub mod doctor;
pub mod error;
mod gzip;
pub mod kernel;
pub mod mountinfo;
pub mod predict;
pub mod resident;
mod sys;
pub mod system;
pub mod trace;

pub use error::{LiveError, Result};
