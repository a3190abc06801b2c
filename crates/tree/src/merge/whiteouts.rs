//! How a layer says what it takes away from those below it.

use crate::error::{TreeError, show_bytes, to_path};
use crate::node::{Entry, Inode, InodeId, Kind, Tree, Xattr};

/// How a layer says which names of the layers below are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Whiteouts {
    /// It does not: all names are names like others.
    #[default]
    None,
    /// As overlayfs keeps it in its upper directory (Documentation/filesystems/overlayfs.rst, "Whiteouts and
    /// opaque directories"). A name is gone if it leads to a character device 0/0. A directory hides those
    /// below it if its attribute `overlay.opaque` is `y`; if it is `x`, empty regular files in it with an
    /// attribute `overlay.whiteout` are whiteouts too (Linux 6.8). That the root of a layer is opaque means
    /// nothing to overlayfs. Attributes of both name spaces count, `trusted.` and `user.` (the mount option
    /// `userxattr`).
    ///
    /// Attributes `overlay.*` are not in the result, as they are not in a mounted overlay; those that it
    /// escapes (`overlay.overlay.*`, Linux 6.7) lose one `overlay.`.
    Overlay,
    /// As AUFS had it and OCI layers have it (OCI Image Layer Filesystem Changeset, "Whiteouts"). A name with
    /// `.wh.` in front says that the rest of it is gone from the layers below; the same layer may have that
    /// name anew. A directory with a name `.wh..wh..opq` hides those below it. Other names that begin with
    /// `.wh..wh.` are notes of AUFS.
    Oci,
}

/// The beginnings of names of attributes that are overlayfs's own.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// What follows them where the attribute of a file of the overlay itself begins with one of them.
const ESCAPE: &[u8] = b"overlay.";
/// What precedes a name that is gone.
pub(crate) const GONE: &[u8] = b".wh.";
/// The rest of the name that says that a directory is opaque.
pub(crate) const OPAQUE: &[u8] = b".wh..opq";

/// What an inode of an overlayfs layer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Itself.
    Plain,
    /// Its names are gone from the layers below.
    Whiteout,
    /// The same in a directory that [says so](Self::HasFiles), else a file.
    WhiteoutFile,
    /// A directory that hides those below it.
    Opaque,
    /// A directory in which files can be whiteouts.
    HasFiles,
}

/// What the inodes of the upper tree mean.
pub(super) struct Marks {
    whiteouts: Whiteouts,
    /// One for each inode, if inodes mean something.
    inodes: Vec<Mark>,
}

/// The names of a directory of the upper tree, each in the order of bytes.
pub(super) struct Sifted {
    pub(super) kept: Vec<Entry>,
    /// Names that the lower tree loses.
    pub(super) deleted: Vec<Box<[u8]>>,
    /// Whether it loses all.
    pub(super) is_opaque: bool,
}

impl Marks {
    /// Finds the marks of inodes, and takes away the attributes that they consist of.
    pub(super) fn take(upper: &mut Tree, whiteouts: Whiteouts) -> Result<Self, TreeError> {
        let mut inodes = Vec::new();
        if whiteouts == Whiteouts::Overlay {
            if let Some((id, name)) = upper.iter().find_map(|(id, inode)| Some((id, elsewhere(inode)?))) {
                return Err(TreeError::Invalid {
                    path: to_path(&upper.path_of(id)),
                    what: "overlayfs attribute",
                    found: show_bytes(name).to_string(),
                    wanted: "a layer without redirected directories and metadata copies",
                });
            }
            inodes = upper.inodes.iter().map(mark).collect();
            // ovl_get_layers() and ovl_get_root() take the roots of all layers as they are.
            if let Some(root) = inodes.get_mut(upper.root.index())
                && *root == Mark::Opaque
            {
                *root = Mark::Plain;
            }
            upper.inodes.iter_mut().for_each(clean);
        }
        Ok(Self { whiteouts, inodes })
    }

    pub(super) fn sift(&self, directory: InodeId, entries: impl Iterator<Item = Entry>) -> Sifted {
        let own = self.of(directory);
        let mut sifted = Sifted { kept: Vec::new(), deleted: Vec::new(), is_opaque: own == Mark::Opaque };
        for entry in entries {
            match self.whiteouts {
                Whiteouts::None => sifted.kept.push(entry),
                Whiteouts::Overlay => match self.of(entry.inode) {
                    Mark::Whiteout => sifted.deleted.push(entry.name),
                    Mark::WhiteoutFile if own == Mark::HasFiles => sifted.deleted.push(entry.name),
                    Mark::WhiteoutFile | Mark::Plain | Mark::Opaque | Mark::HasFiles => {
                        sifted.kept.push(entry);
                    }
                },
                Whiteouts::Oci => match entry.name.strip_prefix(GONE) {
                    None => sifted.kept.push(entry),
                    Some(OPAQUE) => sifted.is_opaque = true,
                    Some(rest) if rest.starts_with(GONE) => {}
                    Some(rest) => sifted.deleted.push(rest.into()),
                },
            }
        }
        sifted
    }

    fn of(&self, id: InodeId) -> Mark {
        self.inodes.get(id.index()).copied().unwrap_or(Mark::Plain)
    }
}

fn mark(inode: &Inode) -> Mark {
    let attribute = |name: &[u8]| own(inode).find_map(|(rest, value)| (rest == name).then_some(value));
    match &inode.kind {
        Kind::CharDevice { major: 0, minor: 0 } => Mark::Whiteout,
        Kind::File { size: 0, .. } if attribute(b"whiteout").is_some() => Mark::WhiteoutFile,
        Kind::Directory { .. } if attribute(b"opaque") == Some(b"y") => Mark::Opaque,
        Kind::Directory { .. } if attribute(b"opaque") == Some(b"x") => Mark::HasFiles,
        Kind::File { .. }
        | Kind::Directory { .. }
        | Kind::Symlink { .. }
        | Kind::CharDevice { .. }
        | Kind::BlockDevice { .. }
        | Kind::Fifo
        | Kind::Socket => Mark::Plain,
    }
}

/// The attributes that are overlayfs's own: what follows the beginning of the name, and the value.
fn own(inode: &Inode) -> impl Iterator<Item = (&[u8], &[u8])> {
    inode.xattrs.iter().filter_map(|xattr| Some((after(&xattr.name)?.1, &*xattr.value)))
}

/// The beginning of the name of an attribute of overlayfs, and the rest.
fn after(name: &[u8]) -> Option<(&'static [u8], &[u8])> {
    OVERLAY.into_iter().find_map(|beginning| Some((beginning, name.strip_prefix(beginning)?)))
}

/// The name of an attribute by which a name or a content is elsewhere in the layers below.
fn elsewhere(inode: &Inode) -> Option<&[u8]> {
    let is_elsewhere = |xattr: &&Xattr| {
        after(&xattr.name).is_some_and(|(_, rest)| matches!(rest, b"redirect" | b"metacopy"))
    };
    inode.xattrs.iter().find(is_elsewhere).map(|xattr| &*xattr.name)
}

/// Takes away the attributes that are overlayfs's own, and one escape of the others.
fn clean(inode: &mut Inode) {
    if own(inode).next().is_none() {
        return;
    }
    let cleaned = |xattr: &Xattr| match after(&xattr.name) {
        None => Some(xattr.clone()),
        Some((beginning, rest)) => {
            let rest = rest.strip_prefix(ESCAPE)?;
            Some(Xattr { name: [beginning, rest].concat().into(), value: xattr.value.clone() })
        }
    };
    let mut xattrs: Vec<Xattr> = inode.xattrs.iter().filter_map(cleaned).collect();
    xattrs.sort_unstable();
    inode.xattrs = xattrs.into();
}
