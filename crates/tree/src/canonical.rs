//! Making a tree of the parts of others, in canonical order.

use std::{mem, vec};

use crate::error::{TreeError, to_path};
use crate::node::{Entry, Inode, InodeId, Kind, Tree};

/// A tree whose inodes are moved to another one.
#[derive(Debug)]
pub(crate) struct Parts(Vec<Part>);

#[derive(Debug)]
enum Part {
    Here(Inode),
    /// A directory, or an inode whose number in the new tree is not known yet.
    Taken,
    /// Its number in the new tree.
    Moved(InodeId),
}

/// What a name of the old tree leads to.
#[derive(Debug)]
pub(crate) enum Taken {
    /// An inode that no name has led to before.
    New(Inode),
    /// One that is in the new tree already, under this number.
    Moved(InodeId),
}

impl Parts {
    pub(crate) fn new(tree: Tree) -> Self {
        Self(tree.inodes.into_iter().map(Part::Here).collect())
    }

    /// The inode, if it was not taken.
    pub(crate) fn get(&self, id: InodeId) -> Option<&Inode> {
        if let Some(Part::Here(inode)) = self.0.get(id.index()) { Some(inode) } else { None }
    }

    /// Takes what a name leads to.
    ///
    /// # Errors
    /// [`TreeError::Invalid`] if there is no such inode, or if it is a directory that another name leads to.
    pub(crate) fn take(&mut self, id: InodeId) -> Result<Taken, TreeError> {
        let part = self.0.get_mut(id.index()).ok_or_else(|| broken(id, "one that the tree does not have"))?;
        if let Part::Moved(moved) = part {
            return Ok(Taken::Moved(*moved));
        }
        let Part::Here(inode) = mem::replace(part, Part::Taken) else {
            return Err(broken(id, "a second name of a directory"));
        };
        Ok(Taken::New(inode))
    }

    /// Takes a directory.
    ///
    /// # Errors
    /// Those of [`Self::take`], and [`TreeError::Invalid`] if it is another kind of file.
    pub(crate) fn take_directory(&mut self, id: InodeId) -> Result<Inode, TreeError> {
        match self.take(id)? {
            Taken::New(root) if root.is_directory() => Ok(root),
            Taken::New(_) | Taken::Moved(_) => Err(broken(id, "another kind of file")),
        }
    }

    /// Notes the number that a taken inode has in the new tree, for its other names.
    pub(crate) fn moved(&mut self, from: InodeId, to: InodeId) {
        if let Some(part) = self.0.get_mut(from.index()) {
            *part = Part::Moved(to);
        }
    }
}

/// The names in a directory, which has none after this.
pub(crate) fn take_entries(directory: &mut Inode) -> vec::IntoIter<Entry> {
    let Kind::Directory { entries } = &mut directory.kind else { return Vec::new().into_iter() };
    mem::take(entries).into_iter()
}

/// The number of the next one of so many.
///
/// # Errors
/// [`TreeError::TooMany`].
pub(crate) fn number(len: usize, what: &'static str) -> Result<u32, TreeError> {
    u32::try_from(len)
        .ok()
        .filter(|&number| number < u32::MAX)
        .ok_or(TreeError::TooMany { what, limit: u64::from(u32::MAX) })
}

fn broken(id: InodeId, found: &str) -> TreeError {
    let path = to_path(format!("inode {}", id.0).as_bytes());
    TreeError::Invalid {
        path,
        what: "inode",
        found: found.into(),
        wanted: "inodes with names, each directory with one",
    }
}

/// A tree in the making. Names are added in the order of a walk: a directory is entered, gets its names
/// sorted by their bytes, and is left. Link counts are those of the names that were added.
#[derive(Debug)]
pub(crate) struct Growing {
    inodes: Vec<Inode>,
    /// The directories that are entered, the innermost last.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    inode: InodeId,
    entries: Vec<Entry>,
    subdirectories: u32,
}

impl Growing {
    /// Enters the root.
    pub(crate) fn new(root: Inode) -> Self {
        let open = Open { inode: InodeId(0), entries: Vec::new(), subdirectories: 0 };
        Self { inodes: vec![root], open: vec![open] }
    }

    /// Adds a directory and enters it. What names it had before does not count.
    ///
    /// # Errors
    /// [`TreeError::TooMany`].
    pub(crate) fn enter(&mut self, name: Box<[u8]>, directory: Inode) -> Result<(), TreeError> {
        let inode = self.push(directory)?;
        self.name(name, inode);
        if let Some(parent) = self.open.last_mut() {
            parent.subdirectories = parent.subdirectories.saturating_add(1);
        }
        self.open.push(Open { inode, entries: Vec::new(), subdirectories: 0 });
        Ok(())
    }

    /// Leaves the innermost directory.
    pub(crate) fn leave(&mut self) {
        let Some(Open { inode, mut entries, subdirectories }) = self.open.pop() else { return };
        entries.shrink_to_fit();
        if let Some(directory) = self.inodes.get_mut(inode.index()) {
            directory.links = subdirectories.saturating_add(2);
            directory.kind = Kind::Directory { entries };
        }
    }

    /// Adds what is no directory, under the first of its names, and returns its number.
    ///
    /// # Errors
    /// [`TreeError::TooMany`].
    pub(crate) fn add(&mut self, name: Box<[u8]>, inode: Inode) -> Result<InodeId, TreeError> {
        let id = self.push(Inode { links: 1, ..inode })?;
        self.name(name, id);
        Ok(id)
    }

    /// Adds another name of an inode that was [added](Self::add).
    pub(crate) fn link(&mut self, name: Box<[u8]>, id: InodeId) {
        if let Some(inode) = self.inodes.get_mut(id.index()) {
            inode.links = inode.links.saturating_add(1);
        }
        self.name(name, id);
    }

    /// An inode that was added.
    pub(crate) fn get(&self, id: InodeId) -> Option<&Inode> {
        self.inodes.get(id.index())
    }

    /// Leaves all directories.
    pub(crate) fn finish(mut self) -> Tree {
        while !self.open.is_empty() {
            self.leave();
        }
        self.inodes.shrink_to_fit();
        Tree { inodes: self.inodes, root: InodeId(0) }
    }

    fn name(&mut self, name: Box<[u8]>, inode: InodeId) {
        if let Some(directory) = self.open.last_mut() {
            directory.entries.push(Entry { name, inode });
        }
    }

    fn push(&mut self, inode: Inode) -> Result<InodeId, TreeError> {
        let next = number(self.inodes.len(), "inodes")?;
        self.inodes.push(inode);
        Ok(InodeId(next))
    }
}
