//! One tree over another, as layers of container images lie over each other.

mod whiteouts;

use std::cmp::Ordering;
use std::iter::Peekable;
use std::vec;

pub use self::whiteouts::Whiteouts;
pub(crate) use self::whiteouts::{GONE, OPAQUE};
use self::whiteouts::{Marks, Sifted};
use crate::canonical::{Growing, Parts, Taken, number, take_entries};
use crate::error::TreeError;
use crate::node::{ContentRef, Entry, Inode, InodeId, Kind, Tree};

/// Where a content of a merged tree comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// From the lower tree, which refers to it by this.
    Lower(ContentRef),
    /// From the upper tree, which refers to it by this.
    Upper(ContentRef),
}

/// Two trees in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The tree. Its content references are indexes of `contents`.
    pub tree: Tree,
    /// Where each content is from, in the order in which the tree refers to them.
    pub contents: Vec<Origin>,
}

/// Puts `upper` over `lower`.
///
/// Directories of both are united, with the metadata of the upper one. Everything else of the upper tree
/// replaces what the lower one has under the name, and hides what is below it. Names that are hard links on
/// their side stay links, as far as they stay; link counts are those of the names that stay. Content
/// references are numbered anew.
///
/// Marks of `whiteouts` are followed in the upper tree and are not in the result: a name that is deleted,
/// whether the lower tree has it or not, and directories of which nothing of the lower tree stays. The lower
/// tree is taken as it is; to follow the marks in the lowest layer of several, put it over a tree that is
/// empty, as [`Layers`](crate::Layers) does.
///
/// # Errors
///
/// [`TreeError::Invalid`] if one of the trees breaks a promise, or if an overlayfs layer moves directories or
/// contents by attributes (`redirect`, `metacopy`), which needs more than two trees to follow.
/// [`TreeError::TooMany`] if the result has too many inodes.
///
/// # Example
///
/// ```
/// use erofs_tree::{DirOptions, DirSource, Silent, Source as _, Whiteouts, merge};
///
/// let layer = |names: &[&str]| -> Result<_, Box<dyn std::error::Error>> {
///     let folder = tempfile::tempdir()?;
///     for name in names {
///         std::fs::write(folder.path().join(name), name)?;
///     }
///     Ok(DirSource::new(folder.path(), DirOptions::default())?.scan(&Silent)?)
/// };
/// let lower = layer(&["kept", "deleted"])?;
/// let upper = layer(&[".wh.deleted", "new"])?;
/// let merged = merge(lower, upper, Whiteouts::Oci)?;
/// let root = &merged.tree.inodes[0];
/// assert_eq!(root.entries().iter().map(|entry| &*entry.name).collect::<Vec<_>>(), [&b"kept"[..], b"new"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn merge(lower: Tree, mut upper: Tree, whiteouts: Whiteouts) -> Result<Merged, TreeError> {
    lower.validate()?;
    upper.validate()?;
    let marks = Marks::take(&mut upper, whiteouts)?;
    let (below, above) = (lower.root, upper.root);
    let mut sides = Sides { lower: Parts::new(lower), upper: Parts::new(upper), marks, contents: Vec::new() };
    let mut root = sides.upper.take_directory(above)?;
    let mut stack = vec![sides.level(Some(below), above, &mut root)?];
    let mut growing = Growing::new(root);
    while let Some(level) = stack.last_mut() {
        let Some(next) = level.next() else {
            stack.pop();
            growing.leave();
            continue;
        };
        if let Some(inner) = sides.place(&mut growing, next)? {
            stack.push(inner);
        }
    }
    let merged = Merged { tree: growing.finish(), contents: sides.contents };
    merged.tree.validate()?;
    Ok(merged)
}

/// What is left of both trees, and what was taken of them.
struct Sides {
    lower: Parts,
    upper: Parts,
    marks: Marks,
    contents: Vec<Origin>,
}

impl Sides {
    /// Puts what a name leads to into the new tree. A directory is entered, and its names are returned.
    fn place(&mut self, growing: &mut Growing, named: Named) -> Result<Option<Level>, TreeError> {
        let Named { name, lower, upper } = named;
        let (parts, id) = match (lower, upper) {
            (_, Some(id)) => (&mut self.upper, id),
            (Some(id), None) => (&mut self.lower, id),
            (None, None) => return Ok(None),
        };
        let mut inode = match parts.take(id)? {
            Taken::New(inode) => inode,
            Taken::Moved(moved) => {
                growing.link(name, moved);
                return Ok(None);
            }
        };
        if inode.is_directory() {
            let level = if upper.is_some() {
                self.level(lower, id, &mut inode)?
            } else {
                Level::new(take_entries(&mut inode).collect(), Vec::new())
            };
            growing.enter(name, inode)?;
            return Ok(Some(level));
        }
        if let Kind::File { content, .. } = &mut inode.kind {
            let origin = if upper.is_some() { Origin::Upper } else { Origin::Lower };
            let next = number(self.contents.len(), "regular files")?;
            self.contents.push(origin(*content));
            *content = ContentRef(next);
        }
        parts.moved(id, growing.add(name, inode)?);
        Ok(None)
    }

    /// The names of a directory of the upper tree that was just taken, and of a directory under it.
    fn level(
        &mut self,
        lower: Option<InodeId>,
        upper: InodeId,
        directory: &mut Inode,
    ) -> Result<Level, TreeError> {
        let Sifted { kept, deleted, is_opaque } = self.marks.sift(upper, take_entries(directory));
        let is_directory = |id: &InodeId| self.lower.get(*id).is_some_and(Inode::is_directory);
        let Some(lower) = lower.filter(is_directory).filter(|_| !is_opaque) else {
            return Ok(Level::new(Vec::new(), kept));
        };
        let mut below = self.lower.take_directory(lower)?;
        let is_kept = |entry: &Entry| deleted.binary_search(&entry.name).is_err();
        Ok(Level::new(take_entries(&mut below).filter(is_kept).collect(), kept))
    }
}

/// The names of one directory of the new tree that are still to come.
struct Level {
    lower: Peekable<vec::IntoIter<Entry>>,
    upper: Peekable<vec::IntoIter<Entry>>,
}

/// A name, and what it leads to on both sides.
struct Named {
    name: Box<[u8]>,
    lower: Option<InodeId>,
    upper: Option<InodeId>,
}

impl Level {
    fn new(lower: Vec<Entry>, upper: Vec<Entry>) -> Self {
        Self { lower: lower.into_iter().peekable(), upper: upper.into_iter().peekable() }
    }

    /// The next name in the order of bytes.
    fn next(&mut self) -> Option<Named> {
        let order = match (self.lower.peek(), self.upper.peek()) {
            (Some(lower), Some(upper)) => lower.name.cmp(&upper.name),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let lower = if order.is_le() { self.lower.next() } else { None };
        let upper = if order.is_ge() { self.upper.next() } else { None };
        let (lower_id, upper_id) =
            (lower.as_ref().map(|entry| entry.inode), upper.as_ref().map(|entry| entry.inode));
        let Entry { name, .. } = upper.or(lower)?;
        Some(Named { name, lower: lower_id, upper: upper_id })
    }
}
