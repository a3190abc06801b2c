//! How a directory is read.

use std::path::PathBuf;

use super::owners::Unmapped;

/// How a directory is read.
#[derive(Clone, Debug)]
pub struct DirOptions {
    /// Whether every name gets an inode of its own, instead of one for all names of the same file.
    pub hard_dereference: bool,
    /// Whether extended attributes are read; without them every inode has none.
    pub read_xattrs: bool,
    /// Paths of files to be left out with a warning: the image and what is written beside it. Other names of
    /// the same files are files like any other.
    pub skip: Vec<PathBuf>,
    /// Files to be left out with a warning under every name, by device and inode number: those that are
    /// written while the source is read.
    pub skip_files: Vec<(u64, u64)>,
    /// What becomes of owners that this user namespace does not map.
    pub unmapped_users: Unmapped,
    /// What becomes of groups that this user namespace does not map.
    pub unmapped_groups: Unmapped,
    /// How many threads walk; 0 takes as many as there are processors to run them.
    pub threads: usize,
}

impl Default for DirOptions {
    /// Everything with its extended attributes, on all processors.
    fn default() -> Self {
        Self {
            hard_dereference: false,
            read_xattrs: true,
            skip: Vec::new(),
            skip_files: Vec::new(),
            unmapped_users: Unmapped::default(),
            unmapped_groups: Unmapped::default(),
            threads: 0,
        }
    }
}
