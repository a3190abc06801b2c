//! The order of inodes in the image: that in which a walk of the mounted tree asks for them.
//!
//! Whoever walks a tree reads a directory, then stats everything in it, then goes into its subdirectories one
//! after the other. So the inodes of a directory's entries stand together, in the order of their names,
//! behind the directory's own blocks; then follow, subdirectory by subdirectory, theirs. An inode with
//! several names stands where it is first met.

use erofs_tree::{InodeId, Tree};

/// One step of laying out a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The inode comes here.
    Inode(InodeId),
    /// The whole blocks of this directory come here.
    Blocks(InodeId),
}

/// The inodes in the order in which they are laid out.
pub(crate) fn walk(tree: &Tree) -> Vec<InodeId> {
    let inode = |step| match step {
        Step::Inode(id) => Some(id),
        Step::Blocks(_) => None,
    };
    steps(tree).into_iter().filter_map(inode).collect()
}

/// Every inode of the tree once, and every directory's blocks once. The root is first.
pub(crate) fn steps(tree: &Tree) -> Vec<Step> {
    let mut steps = Vec::with_capacity(tree.inodes.len() + tree.inodes.len() / 8);
    let mut placed = vec![false; tree.inodes.len()];
    let mut pending = vec![tree.root];
    placed[tree.root.index()] = true;
    steps.push(Step::Inode(tree.root));
    while let Some(directory) = pending.pop() {
        steps.push(Step::Blocks(directory));
        let entries = tree.inodes[directory.index()].entries();
        for entry in entries {
            let seen = &mut placed[entry.inode.index()];
            if !std::mem::replace(seen, true) {
                steps.push(Step::Inode(entry.inode));
            }
        }
        pending.extend(
            entries
                .iter()
                .rev()
                .map(|entry| entry.inode)
                .filter(|&inode| tree.inodes[inode.index()].is_directory()),
        );
    }
    steps
}
