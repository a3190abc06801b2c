//! From what the walk found to a tree in canonical order, and to the table by which contents are opened.

use std::collections::HashMap;
use std::vec;

use super::place::{DirTable, Identity};
use super::walk::{Found, Leaf, LeafKind, Meta, Part, What};
use crate::error::{TreeError, to_path};
use crate::node::{ContentRef, Entry, Inode, InodeId, Kind, Timestamp, Tree};

/// What the scan saw of each regular file, by content reference.
#[derive(Debug, Default)]
pub(super) struct FileTable {
    records: Vec<FileRecord>,
    /// The names of all files, one after the other.
    names: Vec<u8>,
}

/// A regular file as the scan saw it.
#[derive(Debug)]
pub(super) struct FileRecord {
    pub(super) identity: Identity,
    pub(super) size: u64,
    mtime_sec: i64,
    ctime_sec: i64,
    mtime_nsec: u32,
    ctime_nsec: u32,
    name_start: usize,
    name_len: u8,
    /// The directory of the name under which it is first met.
    pub(super) dir: u32,
}

impl FileRecord {
    pub(super) fn mtime(&self) -> Timestamp {
        Timestamp { sec: self.mtime_sec, nsec: self.mtime_nsec }
    }

    pub(super) fn ctime(&self) -> Timestamp {
        Timestamp { sec: self.ctime_sec, nsec: self.ctime_nsec }
    }
}

impl FileTable {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn get(&self, content: ContentRef) -> Option<&FileRecord> {
        self.records.get(content.0 as usize)
    }

    pub(super) fn name(&self, record: &FileRecord) -> &[u8] {
        let from_name = self.names.get(record.name_start..).unwrap_or_default();
        from_name.get(..usize::from(record.name_len)).unwrap_or_default()
    }

    fn add(&mut self, dir: u32, name: &[u8], leaf: &Leaf, size: u64) -> Result<ContentRef, TreeError> {
        let content = ContentRef(number(self.records.len(), "regular files")?);
        self.records.push(FileRecord {
            identity: leaf.identity,
            size,
            mtime_sec: leaf.meta.mtime.sec,
            ctime_sec: leaf.ctime.sec,
            mtime_nsec: leaf.meta.mtime.nsec,
            ctime_nsec: leaf.ctime.nsec,
            name_start: self.names.len(),
            // The walk has refused longer names.
            name_len: u8::try_from(name.len()).unwrap_or(u8::MAX),
            dir,
        });
        self.names.extend_from_slice(name);
        Ok(content)
    }
}

/// All parts of one directory together.
#[derive(Default)]
struct Listing {
    /// None only until the part that has it is joined, and after the directory is entered.
    meta: Option<Meta>,
    found: Vec<Found>,
}

/// A directory on the way down.
struct Frame {
    inode: InodeId,
    dir: u32,
    found: vec::IntoIter<Found>,
    entries: Vec<Entry>,
    subdirectories: u32,
}

/// Puts the parts in order.
pub(super) fn assemble(
    dirs: &DirTable,
    parts: Vec<Part>,
    hard_dereference: bool,
) -> Result<(Tree, FileTable), TreeError> {
    let mut assembly = Assembly {
        listings: join_parts(dirs.len(), parts),
        dirs,
        inodes: Vec::new(),
        files: FileTable::default(),
        seen: HashMap::new(),
        hard_dereference,
    };
    let mut stack = vec![assembly.enter(0)?];
    while let Some(frame) = stack.last_mut() {
        let Some(Found { name, what }) = frame.found.next() else {
            if let Some(frame) = stack.pop() {
                assembly.leave(frame);
            }
            continue;
        };
        match what {
            What::Leaf(leaf) => {
                let inode = assembly.leaf(frame.dir, &name, leaf)?;
                frame.entries.push(Entry { name, inode });
            }
            What::Directory(dir) => {
                let inner = assembly.enter(dir)?;
                frame.entries.push(Entry { name, inode: inner.inode });
                frame.subdirectories = frame.subdirectories.saturating_add(1);
                stack.push(inner);
            }
        }
    }
    assembly.inodes.shrink_to_fit();
    assembly.files.records.shrink_to_fit();
    assembly.files.names.shrink_to_fit();
    Ok((Tree { inodes: assembly.inodes, root: InodeId(0) }, assembly.files))
}

/// Gathers the parts of each directory and sorts its entries by name.
fn join_parts(dirs: usize, parts: Vec<Part>) -> Vec<Listing> {
    let mut listings: Vec<Listing> = Vec::new();
    listings.resize_with(dirs, Listing::default);
    for mut part in parts {
        let Some(listing) = listings.get_mut(part.dir as usize) else { continue };
        listing.meta = listing.meta.take().or(part.meta);
        if listing.found.is_empty() {
            listing.found = part.found;
        } else {
            listing.found.append(&mut part.found);
        }
    }
    for listing in &mut listings {
        // The parts are sorted in themselves, which this kind of sort makes use of.
        listing.found.sort_by(|a, b| a.name.cmp(&b.name));
        // A file system may list a name twice while names come and go.
        listing.found.dedup_by(|a, b| a.name == b.name);
    }
    listings
}

struct Assembly<'a> {
    dirs: &'a DirTable,
    listings: Vec<Listing>,
    inodes: Vec<Inode>,
    files: FileTable,
    /// Inodes with several names that have been met.
    seen: HashMap<Identity, InodeId>,
    hard_dereference: bool,
}

impl Assembly<'_> {
    fn enter(&mut self, dir: u32) -> Result<Frame, TreeError> {
        let listing = self.listings.get_mut(dir as usize).map(std::mem::take).unwrap_or_default();
        let inode = self.next_inode()?;
        let Some(meta) = listing.meta else {
            return Err(TreeError::Invalid {
                path: to_path(&self.dirs.path(dir)),
                what: "directory",
                found: "no metadata".into(),
                wanted: "each directory walked once",
            });
        };
        let entries = Vec::with_capacity(listing.found.len());
        self.inodes.push(new_inode(meta, 2, Kind::Directory { entries: Vec::new() }));
        Ok(Frame { inode, dir, found: listing.found.into_iter(), entries, subdirectories: 0 })
    }

    fn leave(&mut self, frame: Frame) {
        if let Some(inode) = self.inodes.get_mut(frame.inode.index()) {
            inode.links = frame.subdirectories.saturating_add(2);
            inode.kind = Kind::Directory { entries: frame.entries };
        }
    }

    fn leaf(&mut self, dir: u32, name: &[u8], leaf: Leaf) -> Result<InodeId, TreeError> {
        let shared = leaf.has_more_names && !self.hard_dereference;
        if let Some(&known) = self.seen.get(&leaf.identity).filter(|_| shared) {
            if let Some(inode) = self.inodes.get_mut(known.index()) {
                inode.links = inode.links.saturating_add(1);
            }
            return Ok(known);
        }
        let id = self.next_inode()?;
        if shared {
            self.seen.insert(leaf.identity, id);
        }
        let kind = match leaf.kind {
            LeafKind::File { size } => Kind::File { size, content: self.files.add(dir, name, &leaf, size)? },
            LeafKind::Symlink { target } => Kind::Symlink { target },
            LeafKind::CharDevice { major, minor } => Kind::CharDevice { major, minor },
            LeafKind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
            LeafKind::Fifo => Kind::Fifo,
            LeafKind::Socket => Kind::Socket,
        };
        self.inodes.push(new_inode(leaf.meta, 1, kind));
        Ok(id)
    }

    fn next_inode(&self) -> Result<InodeId, TreeError> {
        number(self.inodes.len(), "inodes").map(InodeId)
    }
}

fn number(len: usize, what: &'static str) -> Result<u32, TreeError> {
    u32::try_from(len)
        .ok()
        .filter(|&number| number < u32::MAX)
        .ok_or(TreeError::TooMany { what, limit: u64::from(u32::MAX) })
}

fn new_inode(meta: Meta, links: u32, kind: Kind) -> Inode {
    let Meta { permissions, uid, gid, mtime, xattrs } = meta;
    Inode { permissions, uid, gid, mtime, links, xattrs, kind }
}
