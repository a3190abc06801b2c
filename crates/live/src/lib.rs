//! What the running kernel says of its page cache and its EROFS mounts.
//!
//! Two halves. The first looks at a machine and says whether it can share page cache between images, and what
//! to change: [`mountinfo`], [`kernel`] and [`defects`] (what texts and versions mean), [`system`] (what is
//! read, below any root directory), [`backing`] (what lies under a mount), [`doctor`] (from there to
//! findings, without I/O). The second looks into the page cache: `sys` (the system calls without a safe
//! form), [`resident`] (which pages of which files are in memory, and in which page frames), [`predict`]
//! (what the model says of the same images), [`trace`] (samples as a list of accesses).
//!
//! Invariant: nothing here changes anything on the machine, except that looking at a file looks it up and
//! that listing a directory reads it.
//!
//! # Example
//!
//! ```
//! use erofs_live::kernel::Version;
//! use erofs_live::mountinfo;
//!
//! let line = b"42 27 7:0 / /mnt/app ro,relatime shared:3 - erofs /dev/loop0 ro,inode_share\n";
//! let mounts = mountinfo::parse(line)?;
//! assert!(mounts[0].is_erofs() && mounts[0].has("inode_share"));
//! let version = Version::parse("7.2.13+deb14-amd64").expect("a release");
//! assert_eq!(version.to_string(), "7.2.13");
//! # Ok::<(), erofs_live::LiveError>(())
//! ```

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
