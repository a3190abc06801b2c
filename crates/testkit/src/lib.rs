//! What the tests share: example trees, mounts, comparison of trees, the peer tools.
//!
//! In reading order:
//!
//! - [`place`]: where the workspace, its target directory and scratch space are;
//! - [`require`]: what a check needs and a machine may lack, and what happens then;
//! - [`peers`]: the programs of erofs-utils, fetched once beside the system;
//! - [`corpora`]: large real trees, fetched once;
//! - [`content`]: file contents and lengths that sit on the edges of a block;
//! - [`trees`]: a tree with one of each thing that a directory can hold;
//! - [`random`]: random trees as proptest values;
//! - [`fingerprint`]: content fingerprints, computed a second way;
//! - [`fuse`]: a file system that says of its files what a test wants;
//! - [`refuse`]: system calls that a sandbox does not allow;
//! - [`mount`]: the running kernel's view of an image;
//! - [`mod@compare`]: everything that lstat, readdir, readlink, listxattr and read can tell, from two trees.
//!
//! The invariant: nothing here uses a crate of the project, so that no mistake of the builder or the reader
//! can hide itself in the means of looking at it.

#![forbid(unsafe_code)]

pub mod compare;
pub mod content;
pub mod corpora;
pub mod error;
pub mod fingerprint;
pub mod fuse;
pub mod mount;
pub mod peers;
pub mod place;
pub mod random;
// What seccompiler makes filters for.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub mod refuse;
pub mod require;
pub mod trees;

pub use compare::{Expect, compare};
pub use error::{Error, Result};
pub use fingerprint::{Digest, Fingerprint};
pub use mount::{Backing, LoopDevice, Mount};
