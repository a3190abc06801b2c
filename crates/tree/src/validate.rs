//! What a tree promises, checked: the two sides of a promise between sources and builder.

use crate::error::{TreeError, show_bytes, to_path};
use crate::node::{Entry, Inode, InodeId, Kind, MAX_NAME_LEN, MAX_SYMLINK_LEN, Tree};

/// The longest name of an extended attribute in bytes (Linux's `XATTR_NAME_MAX`).
const MAX_XATTR_NAME_LEN: usize = 255;
/// The longest value of an extended attribute in bytes (Linux's `XATTR_SIZE_MAX`).
const MAX_XATTR_VALUE_LEN: usize = 65_536;

/// What is wrong with a field: its name, its value, and what it has to be.
type Flaw = (&'static str, String, &'static str);

/// A directory on the way down.
struct Frame {
    dir: InodeId,
    next_entry: usize,
    subdirectories: u32,
}

impl Tree {
    /// Checks everything that a tree promises: canonical order, sorted and valid names, link counts, sorted
    /// xattrs, lengths and ranges.
    ///
    /// # Errors
    ///
    /// [`TreeError::Invalid`] with the path and the field of the first promise that is broken.
    pub fn validate(&self) -> Result<(), TreeError> {
        validate(self)
    }
}

fn validate(tree: &Tree) -> Result<(), TreeError> {
    let mut names = vec![0_u32; tree.inodes.len()];
    let mut next_new = 1_u32;
    let mut stack = vec![root_frame(tree).map_err(|flaw| invalid(tree, &[], flaw))?];
    while let Some(frame) = stack.last_mut() {
        let entries = tree.get(frame.dir).map_or(&[][..], Inode::entries);
        let at = frame.next_entry;
        let Some(entry) = entries.get(at) else {
            if let Some(links) = names.get_mut(frame.dir.index()) {
                *links = frame.subdirectories.saturating_add(2);
            }
            stack.pop();
            continue;
        };
        frame.next_entry += 1;
        let before = at.checked_sub(1).and_then(|before| entries.get(before));
        let checked = check_entry(before, entry)
            .and_then(|()| check_target(tree, entry.inode, next_new))
            .map_err(|flaw| invalid(tree, &stack, flaw))?;
        if let Some(links) = names.get_mut(entry.inode.index()) {
            *links = links.saturating_add(1);
        }
        if entry.inode.0 < next_new {
            continue;
        }
        next_new += 1;
        if checked.is_directory() {
            if let Some(parent) = stack.last_mut() {
                parent.subdirectories += 1;
            }
            stack.push(Frame { dir: entry.inode, next_entry: 0, subdirectories: 0 });
        }
    }
    check_links(tree, &names, next_new)
}

fn root_frame(tree: &Tree) -> Result<Frame, Flaw> {
    if tree.root != InodeId(0) {
        return Err(("root", tree.root.0.to_string(), "inode 0"));
    }
    match tree.get(tree.root) {
        Some(root) if root.is_directory() => {
            check_inode(root)?;
            Ok(Frame { dir: tree.root, next_entry: 0, subdirectories: 0 })
        }
        Some(_) => Err(("root", "another kind of file".into(), "a directory")),
        None => Err(("root", "no inodes".into(), "a directory")),
    }
}

fn check_entry(before: Option<&Entry>, entry: &Entry) -> Result<(), Flaw> {
    let name = entry.name.as_ref();
    check_name(name)?;
    if before.is_some_and(|before| before.name.as_ref() >= name) {
        return Err(("order of names", show_bytes(name).to_string(), "each name once, sorted by bytes"));
    }
    Ok(())
}

/// Whether a directory entry may have this name.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Flaw> {
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(("length of the name", format!("{} bytes", name.len()), "1 to 255 bytes"));
    }
    if name.contains(&0) || name.contains(&b'/') || name == b"." || name == b".." {
        return Err(("name", show_bytes(name).to_string(), "no NUL, no slash, neither . nor .."));
    }
    Ok(())
}

/// Whether a symbolic link may have this target.
pub(crate) fn check_symlink(target: &[u8]) -> Result<(), Flaw> {
    if target.is_empty() || target.len() > MAX_SYMLINK_LEN {
        return Err(("length of the symbolic link", format!("{} bytes", target.len()), "1 to 4095 bytes"));
    }
    if target.contains(&0) {
        return Err(("symbolic link", show_bytes(target).to_string(), "no NUL"));
    }
    Ok(())
}

fn check_target(tree: &Tree, id: InodeId, next_new: u32) -> Result<&Inode, Flaw> {
    let Some(inode) = tree.get(id) else {
        return Err(("inode", id.0.to_string(), "an inode of the tree"));
    };
    if id.0 > next_new {
        return Err(("inode", id.0.to_string(), "inodes numbered in the order in which they are met"));
    }
    if id.0 < next_new && inode.is_directory() {
        return Err(("directory", format!("inode {} again", id.0), "one name for a directory"));
    }
    check_inode(inode)?;
    Ok(inode)
}

fn check_inode(inode: &Inode) -> Result<(), Flaw> {
    if inode.permissions > 0o7777 {
        return Err(("permissions", format!("{:#o}", inode.permissions), "0 to 0o7777"));
    }
    if inode.mtime.nsec > 999_999_999 {
        return Err(("nanoseconds of mtime", inode.mtime.nsec.to_string(), "0 to 999999999"));
    }
    if let Kind::Symlink { target } = &inode.kind {
        check_symlink(target)?;
    }
    let mut before: &[u8] = &[];
    for xattr in &inode.xattrs {
        let name = xattr.name.as_ref();
        if name.is_empty() || name.len() > MAX_XATTR_NAME_LEN || name.contains(&0) {
            return Err(("xattr name", show_bytes(name).to_string(), "1 to 255 bytes without NUL"));
        }
        if before >= name {
            return Err(("order of xattrs", show_bytes(name).to_string(), "each name once, sorted by bytes"));
        }
        if xattr.value.len() > MAX_XATTR_VALUE_LEN {
            return Err(("length of an xattr value", xattr.value.len().to_string(), "0 to 65536 bytes"));
        }
        before = name;
    }
    Ok(())
}

fn check_links(tree: &Tree, names: &[u32], met: u32) -> Result<(), TreeError> {
    if met as usize != tree.inodes.len() {
        let found = format!("{} inodes of which names lead to {met}", tree.inodes.len());
        return Err(invalid(tree, &[], ("inodes", found, "a name for each inode")));
    }
    for ((id, inode), &links) in tree.iter().zip(names) {
        if inode.links != links {
            return Err(TreeError::Invalid {
                path: to_path(&tree.path_of(id)),
                what: "links",
                found: format!("{} where the tree has {links}", inode.links),
                wanted: "the names that lead to an inode, or 2 and the subdirectories",
            });
        }
    }
    Ok(())
}

/// The error for a flaw in the entry that was taken last from the innermost frame.
fn invalid(tree: &Tree, stack: &[Frame], (what, found, wanted): Flaw) -> TreeError {
    let mut path = Vec::new();
    for frame in stack {
        let entries = tree.get(frame.dir).map_or(&[][..], Inode::entries);
        if let Some(entry) = frame.next_entry.checked_sub(1).and_then(|at| entries.get(at)) {
            path.push(b'/');
            path.extend_from_slice(&entry.name);
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    TreeError::Invalid { path: to_path(&path), what, found, wanted }
}
