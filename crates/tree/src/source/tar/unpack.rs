//! The tree that the entries of an archive make, as GNU tar makes it when root unpacks into an empty
//! directory.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::mem;

use erofs_tar::{Entry, Kind as Type};

use super::options::TarOptions;
use crate::canonical::{Growing, number};
use crate::error::{TreeError, show_bytes};
use crate::merge::{GONE, OPAQUE};
use crate::node::{ContentRef, Inode, InodeId, Kind, Timestamp, Tree, Xattr};
use crate::validate::{check_name, check_symlink};

/// What makes a directory of an overlayfs layer hide those below it, with the value `y`.
const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

/// What is wrong with an entry: the field, its value, and what it has to be.
pub(super) type Flaw = (&'static str, String, &'static str);

/// An error of an entry.
pub(super) enum Wrong {
    Entry(Flaw),
    Tree(TreeError),
}

impl From<Flaw> for Wrong {
    fn from(flaw: Flaw) -> Self {
        Self::Entry(flaw)
    }
}

impl From<TreeError> for Wrong {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

/// Entries of an archive as a tree in the making.
#[derive(Debug)]
pub(super) struct Unpacked {
    nodes: Vec<Node>,
    /// Whether names of whiteouts are those of overlayfs in the tree.
    whiteouts: bool,
    /// Whether each name becomes an inode of its own.
    hard_dereference: bool,
    no_xattrs: bool,
    made: Timestamp,
}

/// Names in a directory, and the nodes that they lead to.
type Children = BTreeMap<Box<[u8]>, usize>;

#[derive(Debug)]
struct Node {
    /// Without names, if it is a directory.
    inode: Inode,
    children: Children,
    /// Whether a whiteout says that nothing of layers below is in it.
    is_opaque: bool,
    /// Whether it is a mark that a name is gone.
    is_whiteout: bool,
}

impl Unpacked {
    /// Nothing but a root, which is like parents that no entry has: of root with mode 0755 and this time.
    pub(super) fn new(options: &TarOptions) -> Self {
        let TarOptions { whiteouts, hard_dereference, no_xattrs, made, .. } = *options;
        let mut unpacked = Self { nodes: Vec::new(), whiteouts, hard_dereference, no_xattrs, made };
        let root = unpacked.missing();
        unpacked.nodes.push(root);
        unpacked
    }

    fn missing(&self) -> Node {
        let inode = Inode {
            permissions: 0o755,
            uid: 0,
            gid: 0,
            mtime: self.made,
            links: 2,
            xattrs: [].into(),
            kind: Kind::Directory { entries: Vec::new() },
        };
        node(inode)
    }

    /// Adds an entry, which is called `content` if it is a regular file.
    pub(super) fn add(&mut self, entry: &Entry, content: ContentRef) -> Result<(), Wrong> {
        let mut names = names(&entry.path)?;
        let Some(name) = names.pop() else {
            // The root itself.
            let Type::Directory = entry.kind else {
                return Err(("path", show_bytes(&entry.path).to_string(), "a directory as the root").into());
            };
            return self.update(0, entry);
        };
        let parent = self.parent(&names)?;
        if self.whiteouts && self.whiteout(parent, name, entry)? {
            return Ok(());
        }
        let before = self.child(parent, name);
        if let Type::HardLink { target } = &entry.kind {
            let id = self.target(target)?;
            return self.put(parent, name, before.filter(|&before| before != id), id);
        }
        let is_directory = entry.kind == Type::Directory;
        if let Some(before) = before.filter(|&id| is_directory && self.is_directory(id)) {
            return self.update(before, entry);
        }
        let hides = before.and_then(|id| self.nodes.get(id)).is_some_and(|before| before.is_whiteout);
        let inode = inode(entry, content)?;
        let id = self.push(Node { is_opaque: hides && is_directory, ..node(inode) })?;
        self.put(parent, name, before, id)
    }

    /// The directory of these names from the root; those that are missing are made.
    fn parent(&mut self, names: &[&[u8]]) -> Result<usize, Wrong> {
        let mut at = 0;
        for &name in names {
            at = match self.child(at, name) {
                Some(id) if self.is_directory(id) => id,
                Some(_) => {
                    let wanted = "directories above it, no symbolic link or another file";
                    return Err(("path", format!("{} above it", show_bytes(name)), wanted).into());
                }
                None => {
                    let made = self.missing();
                    let id = self.push(made)?;
                    self.put(at, name, None, id)?;
                    id
                }
            };
        }
        Ok(at)
    }

    /// Takes a name that stands for a whiteout; false if it does not.
    fn whiteout(&mut self, parent: usize, name: &[u8], entry: &Entry) -> Result<bool, Wrong> {
        let Some(gone) = name.strip_prefix(GONE) else { return Ok(false) };
        if gone == OPAQUE {
            self.hide(parent);
            return Ok(true);
        }
        // Notes of AUFS.
        if gone.starts_with(GONE) {
            return Ok(true);
        }
        check_name(gone)?;
        if let Some(before) = self.child(parent, gone) {
            // The layer has the name anew, and a directory of that name hides the one below.
            if self.is_directory(before) {
                self.hide(before);
            }
            return Ok(true);
        }
        let mark = Inode {
            permissions: 0,
            kind: Kind::CharDevice { major: 0, minor: 0 },
            xattrs: [].into(),
            ..inode(entry, ContentRef(0))?
        };
        let id = self.push(Node { is_whiteout: true, ..node(mark) })?;
        self.put(parent, gone, None, id)?;
        Ok(true)
    }

    fn hide(&mut self, id: usize) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.is_opaque = true;
        }
    }

    /// What a hard link leads to.
    fn target(&self, target: &[u8]) -> Result<usize, Wrong> {
        let mut at = Some(0);
        for name in names(target)? {
            at = at.and_then(|at| self.child(at, name));
        }
        let found = || format!("a hard link to {}", show_bytes(target));
        match at {
            Some(id) if !self.is_directory(id) => Ok(id),
            Some(_) => Err(("target", found(), "a file that is no directory").into()),
            None => Err(("target", found(), "the path of an entry in front of it").into()),
        }
    }

    /// Gives a name to a node, in place of the one that has it.
    fn put(&mut self, parent: usize, name: &[u8], before: Option<usize>, id: usize) -> Result<(), Wrong> {
        if before.and_then(|before| self.nodes.get(before)).is_some_and(|before| !before.children.is_empty())
        {
            return Err((
                "type",
                "another kind of file in place of a directory".into(),
                "an empty directory",
            )
                .into());
        }
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.children.insert(name.into(), id);
        }
        Ok(())
    }

    /// Gives a directory that is there the metadata of an entry.
    fn update(&mut self, id: usize, entry: &Entry) -> Result<(), Wrong> {
        let inode = inode(entry, ContentRef(0))?;
        if let Some(node) = self.nodes.get_mut(id) {
            node.inode = inode;
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<usize, TreeError> {
        let id = self.nodes.len();
        number(id, "inodes")?;
        self.nodes.push(node);
        Ok(id)
    }

    fn child(&self, parent: usize, name: &[u8]) -> Option<usize> {
        self.nodes.get(parent)?.children.get(name).copied()
    }

    fn is_directory(&self, id: usize) -> bool {
        self.nodes.get(id).is_some_and(|node| node.inode.is_directory())
    }

    /// The tree, in canonical order.
    ///
    /// # Errors
    /// [`TreeError::TooMany`], and [`TreeError::Invalid`] for extended attributes that no file can have.
    pub(super) fn finish(mut self) -> Result<Tree, TreeError> {
        let Some((root, children)) = self.take(0) else {
            return Err(TreeError::TooMany { what: "roots", limit: 1 });
        };
        let mut growing = Growing::new(root);
        let mut stack: Vec<btree_map::IntoIter<Box<[u8]>, usize>> = vec![children.into_iter()];
        let mut moved: HashMap<usize, InodeId> = HashMap::new();
        while let Some(level) = stack.last_mut() {
            let Some((name, id)) = level.next() else {
                stack.pop();
                growing.leave();
                continue;
            };
            if let Some(&other) = moved.get(&id) {
                growing.link(name, other);
                continue;
            }
            let Some((inode, children)) = self.take(id) else { continue };
            if inode.is_directory() {
                growing.enter(name, inode)?;
                stack.push(children.into_iter());
            } else if self.hard_dereference {
                growing.add(name, inode)?;
            } else {
                moved.insert(id, growing.add(name, inode)?);
            }
        }
        let tree = growing.finish();
        tree.validate()?;
        Ok(tree)
    }

    /// Moves a node out, with the attribute of what it hides.
    fn take(&mut self, id: usize) -> Option<(Inode, Children)> {
        let node = self.nodes.get_mut(id)?;
        let mut inode = node.inode.clone();
        // Another name takes an inode once more where each has its own.
        if !self.hard_dereference {
            node.inode.xattrs = [].into();
        }
        if self.no_xattrs {
            inode.xattrs = [].into();
        }
        if node.is_opaque {
            let mut xattrs: Vec<Xattr> = inode.xattrs.into();
            xattrs.retain(|xattr| &*xattr.name != OPAQUE_XATTR);
            xattrs.push(Xattr { name: OPAQUE_XATTR.into(), value: b"y".as_slice().into() });
            xattrs.sort_unstable();
            inode.xattrs = xattrs.into();
        }
        Some((inode, mem::take(&mut node.children)))
    }
}

fn node(inode: Inode) -> Node {
    Node { inode, children: BTreeMap::new(), is_opaque: false, is_whiteout: false }
}

/// The names of a path. Slashes in front and `.` mean nothing.
fn names(path: &[u8]) -> Result<Vec<&[u8]>, Flaw> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.map(|name| check_name(name).map(|()| name)).collect()
}

/// The path of an entry from the root, without slashes in front and behind.
pub(super) fn clean_path(path: &[u8]) -> Vec<u8> {
    names(path).map(|names| names.join(&b'/')).unwrap_or_default()
}

/// An inode of an entry that is no hard link.
pub(super) fn inode(entry: &Entry, content: ContentRef) -> Result<Inode, Flaw> {
    let id = |what, value: u64| {
        // The largest number means "none" to chown(2).
        let id = u32::try_from(value).ok().filter(|&id| id != u32::MAX);
        id.ok_or_else(|| (what, value.to_string(), "at most 4294967294"))
    };
    let kind = match &entry.kind {
        Type::File | Type::HardLink { .. } => Kind::File { size: entry.size, content },
        Type::Directory => Kind::Directory { entries: Vec::new() },
        Type::Symlink { target } => {
            check_symlink(target)?;
            Kind::Symlink { target: target.as_slice().into() }
        }
        Type::CharDevice { major, minor } => Kind::CharDevice { major: *major, minor: *minor },
        Type::BlockDevice { major, minor } => Kind::BlockDevice { major: *major, minor: *minor },
        Type::Fifo => Kind::Fifo,
    };
    let xattr = |xattr: &erofs_tar::Xattr| Xattr {
        name: xattr.name.as_slice().into(),
        value: xattr.value.as_slice().into(),
    };
    Ok(Inode {
        // Links of permissions 0777 are what every program makes.
        permissions: if let Type::Symlink { .. } = entry.kind { 0o777 } else { entry.mode },
        uid: id("uid", entry.uid)?,
        gid: id("gid", entry.gid)?,
        mtime: Timestamp { sec: entry.mtime.seconds, nsec: entry.mtime.nanoseconds },
        links: 1,
        xattrs: entry.xattrs.iter().map(xattr).collect(),
        kind,
    })
}
