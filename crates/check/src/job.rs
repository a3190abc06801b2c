//! One inode on its way from the walk to a worker.

use erofs_image::Inode;

/// An inode that waits for a worker.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The place in the walk, from 1 on.
    pub(crate) order: u64,
    pub(crate) path: Vec<u8>,
    pub(crate) inode: Inode,
    /// Has no name: the packed inode or the metabox.
    pub(crate) special: bool,
}
