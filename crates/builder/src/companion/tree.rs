//! The tree of an image, as any source would give it, without contents.

use std::collections::BTreeMap;

use erofs_format::Nid;
use erofs_format::filetype::FileType;
use erofs_format::words::noun;
use erofs_format::xattr;
use erofs_format::xattr_prefix::LongPrefix;
use erofs_image::{Image, Step};
use erofs_tree::{ContentRef, Entry, Inode, InodeId, Kind, Progress, Stage, Timestamp, Tree, Xattr};

use super::form::Form;
use crate::error::{BuildError, shown};

/// What overlayfs takes for its own; a longer one of its names stands for one that a layer below is to show.
const OVERLAY: &[u8] = b"trusted.overlay.";
/// A file whose data is in another layer.
const METACOPY: &[u8] = b"trusted.overlay.metacopy";
/// Where it is there.
const REDIRECT: &[u8] = b"trusted.overlay.redirect";
/// The longest path that Linux looks up, in bytes (`PATH_MAX` without its NUL).
const PATH_MAX: usize = 4095;
/// Targets and xattrs may take so many times the length of the image in memory, because inodes may share
/// them.
const MEMORY_FACTOR: u64 = 16;
/// And so many bytes beside, for small images.
const MEMORY_ALWAYS: u64 = 64 << 20;

/// A tree and where each inode is in the image.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) tree: Tree,
    pub(super) nids: Vec<Nid>,
    pub(super) warnings: Vec<String>,
}

/// Reads the tree of an image.
pub(super) fn gather(original: &Image, form: &Form, progress: &dyn Progress) -> Result<Gathered, BuildError> {
    progress.begin(Stage::Scan, 0, 0);
    let mut gathering = Gathering {
        original,
        overlay: matches!(form, Form::Overlay),
        fingerprint: original.ishare_prefix()?,
        inodes: Vec::new(),
        nids: Vec::new(),
        by_nid: BTreeMap::new(),
        above: Vec::new(),
        memory_left: original.primary_len().saturating_mul(MEMORY_FACTOR).saturating_add(MEMORY_ALWAYS),
        hidden: 0,
        whiteouts: 0,
    };
    for step in original.walk_all()? {
        gathering.add(&step?)?;
        progress.advance(1, 0);
    }
    progress.end(Stage::Scan);
    let warnings = gathering.warnings();
    let tree = Tree { inodes: gathering.inodes, root: InodeId(0) };
    Ok(Gathered { tree, nids: gathering.nids, warnings })
}

struct Gathering<'i> {
    original: &'i Image,
    overlay: bool,
    fingerprint: Option<&'i LongPrefix>,
    inodes: Vec<Inode>,
    nids: Vec<Nid>,
    by_nid: BTreeMap<Nid, InodeId>,
    /// The directories on the way to where the walk is.
    above: Vec<InodeId>,
    memory_left: u64,
    hidden: u64,
    whiteouts: u64,
}

impl Gathering<'_> {
    fn add(&mut self, step: &Step) -> Result<(), BuildError> {
        let known = self.by_nid.get(&step.inode.nid).copied().filter(|_| !step.first);
        let id = match known {
            Some(id) => id,
            None => self.add_inode(step)?,
        };
        self.above.truncate(step.depth);
        if let Some(parent) = self.above.last() {
            let is_directory = self.inodes[id.index()].is_directory();
            let parent = &mut self.inodes[parent.index()];
            if let Kind::Directory { entries } = &mut parent.kind {
                entries.push(Entry { name: step.name().into(), inode: id });
            }
            parent.links = parent.links.saturating_add(u32::from(is_directory));
            let inode = &mut self.inodes[id.index()];
            inode.links = inode.links.saturating_add(u32::from(!is_directory));
        }
        if step.inode.is_dir() {
            self.above.push(id);
        }
        Ok(())
    }

    fn add_inode(&mut self, step: &Step) -> Result<InodeId, BuildError> {
        let number = u32::try_from(self.inodes.len());
        let id = InodeId(number.map_err(|_| refused(step, "2^32 inodes", "fewer"))?);
        let inode = &step.inode;
        let content = ContentRef(id.0);
        let (major, minor) = inode.device().unwrap_or_default();
        let kind = match inode.file_type {
            FileType::Regular => Kind::File { size: inode.size(), content },
            FileType::Directory => Kind::Directory { entries: Vec::new() },
            FileType::Symlink => {
                let target = self.original.link_target(inode).map_err(|error| error.at_path(&step.path))?;
                self.pay(step, target.len())?;
                Kind::Symlink { target: target.into() }
            }
            FileType::CharDevice => {
                self.whiteouts += u64::from((major, minor) == (0, 0));
                Kind::CharDevice { major, minor }
            }
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
        };
        let xattrs = self.xattrs(step)?;
        self.inodes.push(Inode {
            permissions: inode.permissions(),
            uid: inode.record.uid,
            gid: inode.record.gid,
            mtime: Timestamp { sec: inode.mtime_sec, nsec: inode.mtime_nsec },
            links: if inode.is_dir() { 2 } else { 0 },
            xattrs,
            kind,
        });
        self.nids.push(inode.nid);
        self.by_nid.insert(inode.nid, id);
        Ok(id)
    }

    /// All xattrs but fingerprints and those that nobody can see, sorted.
    fn xattrs(&mut self, step: &Step) -> Result<Box<[Xattr]>, BuildError> {
        let mut kept = Vec::new();
        let stored = self.original.xattrs(&step.inode).map_err(|error| error.at_path(&step.path))?;
        for own in stored {
            let own = own.map_err(|error| error.at_path(&step.path))?;
            self.pay(step, own.name.len().saturating_add(own.value.len()))?;
            let (base, rest) = xattr::split_name(&own.name)
                .filter(|_| !own.hidden)
                .unwrap_or((xattr::INDEX_NONE, &own.name));
            let named = |prefix: &LongPrefix| prefix.base_index == base && prefix.infix == rest;
            if step.inode.is_file() && self.fingerprint.is_some_and(named) {
                continue;
            }
            if own.hidden {
                self.hidden += 1;
                continue;
            }
            let name = match own.name.strip_prefix(OVERLAY) {
                // Escaped, as Linux 6.7 and newer undo it, because it is not meant for the overlay that is
                // made here.
                Some(rest) if self.overlay => [OVERLAY, b"overlay.", rest].concat(),
                _ => own.name,
            };
            kept.push(Xattr { name: name.into(), value: own.value.into() });
        }
        if self.overlay && step.inode.is_file() && step.inode.size() != 0 {
            if step.path.len() > PATH_MAX {
                let found = format!("a path of {} bytes", step.path.len());
                return Err(refused(step, &found, "at most 4095 bytes, because overlayfs looks it up"));
            }
            self.pay(step, step.path.len())?;
            kept.push(Xattr { name: METACOPY.into(), value: Box::default() });
            kept.push(Xattr { name: REDIRECT.into(), value: step.path.as_slice().into() });
        }
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(kept.into())
    }

    /// Counts bytes that stay in memory.
    fn pay(&mut self, step: &Step, bytes: usize) -> Result<(), BuildError> {
        match self.memory_left.checked_sub(bytes as u64) {
            Some(left) => {
                self.memory_left = left;
                Ok(())
            }
            None => Err(refused(
                step,
                "more bytes of links and xattrs than an image of this size needs",
                "at most 16 times its length and 64 MiB",
            )),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.hidden != 0 {
            let xattrs = noun(self.hidden, "xattr", "xattrs");
            warnings.push(format!("{} hidden {xattrs} left out: nothing can read them", self.hidden));
        }
        if self.overlay && self.whiteouts != 0 {
            warnings.push(format!(
                "{} {} with number 0:0 will not be seen: overlayfs takes such a device for a deleted file",
                self.whiteouts,
                noun(self.whiteouts, "character device", "character devices")
            ));
        }
        warnings
    }
}

fn refused(step: &Step, found: &str, want: &'static str) -> BuildError {
    BuildError::Refer { path: shown(&step.path), found: found.to_owned(), want }
}
