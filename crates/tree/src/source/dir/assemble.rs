//! From what the walk found to a tree in canonical order, and to the table by which contents are opened.

use std::collections::HashMap;
use std::vec;

use super::place::{DirTable, Identity};
use super::same::{Contents, Name};
use super::trust::Trust;
use super::walk::{Found, Leaf, LeafKind, Meta, Part, What};
use crate::canonical::{Growing, number};
use crate::error::{TreeError, to_path};
use crate::node::{ContentRef, Inode, InodeId, Kind, Timestamp, Tree};

/// So many inodes with the same device and inode number are remembered. Where there are more, later names get
/// inodes of their own: to compare each with all others would take forever.
const LIKE_MAX: usize = 8;

/// What the scan saw of each regular file, by content reference.
#[derive(Debug, Default)]
pub(super) struct FileTable {
    records: Vec<FileRecord>,
    /// The names of all files, one after the other.
    names: Vec<u8>,
    /// Contents that came with the scan.
    kept: HashMap<ContentRef, Box<[u8]>>,
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
    pub(super) trust: Trust,
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

    /// The content of a file that says it is empty, if it is not.
    pub(super) fn kept(&self, content: ContentRef) -> Option<&[u8]> {
        self.kept.get(&content).map(AsRef::as_ref)
    }

    /// The name under which a file was first met.
    fn place(&self, content: ContentRef) -> Option<Name<'_>> {
        let record = self.get(content)?;
        Some(Name { dir: record.dir, name: self.name(record) })
    }

    fn add(
        &mut self,
        at: Name<'_>,
        seen: &Seen,
        size: u64,
        mtime: Timestamp,
    ) -> Result<ContentRef, TreeError> {
        let content = ContentRef(number(self.records.len(), "regular files")?);
        self.records.push(FileRecord {
            identity: seen.identity,
            size,
            mtime_sec: mtime.sec,
            ctime_sec: seen.ctime.sec,
            mtime_nsec: mtime.nsec,
            ctime_nsec: seen.ctime.nsec,
            name_start: self.names.len(),
            // The walk has refused longer names.
            name_len: u8::try_from(at.name.len()).unwrap_or(u8::MAX),
            trust: seen.trust,
            dir: at.dir,
        });
        self.names.extend_from_slice(at.name);
        Ok(content)
    }
}

/// What was seen of an inode beside what is stored of it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    identity: Identity,
    ctime: Timestamp,
    trust: Trust,
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
    dir: u32,
    found: vec::IntoIter<Found>,
}

/// Puts the parts in order.
pub(super) fn assemble(
    contents: Contents<'_>,
    parts: Vec<Part>,
    hard_dereference: bool,
) -> Result<(Tree, FileTable), TreeError> {
    let mut listings = Listings { dirs: contents.dirs, listings: join_parts(contents.dirs.len(), parts) };
    let (root, frame) = listings.take(0)?;
    let mut assembly = Assembly {
        contents,
        growing: Growing::new(root),
        files: FileTable::default(),
        seen: HashMap::new(),
        hard_dereference,
    };
    let mut stack = vec![frame];
    while let Some(frame) = stack.last_mut() {
        let Some(Found { name, what }) = frame.found.next() else {
            stack.pop();
            assembly.growing.leave();
            continue;
        };
        match what {
            What::Leaf(leaf) => assembly.leaf(frame.dir, name, leaf)?,
            What::Directory(dir) => {
                let (inode, inner) = listings.take(dir)?;
                assembly.growing.enter(name, inode)?;
                stack.push(inner);
            }
        }
    }
    assembly.files.records.shrink_to_fit();
    assembly.files.names.shrink_to_fit();
    Ok((assembly.growing.finish(), assembly.files))
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

/// The directories that have not been entered.
struct Listings<'a> {
    dirs: &'a DirTable,
    listings: Vec<Listing>,
}

impl Listings<'_> {
    /// A directory without names, and the names that belong to it.
    fn take(&mut self, dir: u32) -> Result<(Inode, Frame), TreeError> {
        let Listing { meta, found } =
            self.listings.get_mut(dir as usize).map(std::mem::take).unwrap_or_default();
        let Some(meta) = meta else {
            return Err(TreeError::Invalid {
                path: to_path(&self.dirs.path(dir)),
                what: "directory",
                found: "no metadata".into(),
                wanted: "each directory walked once",
            });
        };
        let inode = new_inode(meta, Kind::Directory { entries: Vec::new() });
        Ok((inode, Frame { dir, found: found.into_iter() }))
    }
}

struct Assembly<'a> {
    contents: Contents<'a>,
    growing: Growing,
    files: FileTable,
    /// Inodes with several names that have been met. There is more than one of a number where numbers are not
    /// unique.
    seen: HashMap<Identity, Vec<(InodeId, Timestamp)>>,
    hard_dereference: bool,
}

impl Assembly<'_> {
    fn leaf(&mut self, dir: u32, name: Box<[u8]>, leaf: Leaf) -> Result<(), TreeError> {
        let at = Name { dir, name: &name };
        let shared = leaf.has_more_names && !self.hard_dereference;
        let seen = Seen { identity: leaf.identity, ctime: leaf.ctime, trust: leaf.trust };
        let (mut inode, kept) = inode_of(leaf);
        if let Some(known) = if shared { self.known(at, &seen, &inode, kept.as_deref())? } else { None } {
            self.growing.link(name, known);
            return Ok(());
        }
        if let Kind::File { size, content } = &mut inode.kind {
            *content = self.files.add(at, &seen, *size, inode.mtime)?;
            if let Some(kept) = kept {
                self.files.kept.insert(*content, kept);
            }
        }
        let id = self.growing.add(name, inode)?;
        if shared {
            let others = self.seen.entry(seen.identity).or_default();
            if others.len() < LIKE_MAX {
                others.push((id, seen.ctime));
            }
        }
        Ok(())
    }

    /// The inode to which a name leads, if it was met under another name. Device and inode number alone do
    /// not decide: two files may have the same ones where a file system makes them up. An inode is the same
    /// if all that was seen of it is, and, where numbers cannot be trusted, its content.
    fn known(
        &self,
        at: Name<'_>,
        seen: &Seen,
        inode: &Inode,
        kept: Option<&[u8]>,
    ) -> Result<Option<InodeId>, TreeError> {
        for &(id, ctime) in self.seen.get(&seen.identity).into_iter().flatten() {
            let Some(known) = self.growing.get(id) else { continue };
            let known_content = content_of(known);
            let known_kept = known_content.and_then(|content| self.files.kept(content));
            let difference = if ctime == seen.ctime { difference(known, inode) } else { Some("ctime") };
            let difference = difference.or_else(|| (known_kept != kept).then_some("content"));
            match difference {
                Some(what) if seen.trust.numbers => return Err(self.changed(at, what)),
                Some(_) => continue,
                None if seen.trust.numbers || kept.is_some() => return Ok(Some(id)),
                None => {}
            }
            let (Kind::File { size, .. }, Some(known)) =
                (&inode.kind, known_content.and_then(|content| self.files.place(content)))
            else {
                return Ok(Some(id));
            };
            if self.contents.are_equal(known, at, *size)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The error for a name of an inode that is no longer what it was under another name.
    fn changed(&self, at: Name<'_>, what: &'static str) -> TreeError {
        TreeError::Changed {
            path: self.contents.path(at),
            what,
            found: "another value under this name of the file".into(),
            wanted: "that under its first name".into(),
        }
    }
}

fn new_inode(meta: Meta, kind: Kind) -> Inode {
    let Meta { permissions, uid, gid, mtime, xattrs } = meta;
    Inode { permissions, uid, gid, mtime, links: 1, xattrs, kind }
}

/// An inode with one name, and its content if that came with the scan. The content is not in the table of
/// files yet.
fn inode_of(leaf: Leaf) -> (Inode, Option<Box<[u8]>>) {
    let mut content = None;
    let kind = match leaf.kind {
        LeafKind::File { size, kept } => {
            let size = kept.as_ref().map_or(size, |kept| kept.len() as u64);
            content = kept;
            Kind::File { size, content: ContentRef(u32::MAX) }
        }
        LeafKind::Symlink { target } => Kind::Symlink { target },
        LeafKind::CharDevice { major, minor } => Kind::CharDevice { major, minor },
        LeafKind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
        LeafKind::Fifo => Kind::Fifo,
        LeafKind::Socket => Kind::Socket,
    };
    (new_inode(leaf.meta, kind), content)
}

fn content_of(inode: &Inode) -> Option<ContentRef> {
    if let Kind::File { content, .. } = inode.kind { Some(content) } else { None }
}

/// What two views of an inode differ in, but for the content of a regular file.
fn difference(one: &Inode, other: &Inode) -> Option<&'static str> {
    let same_kind = match (&one.kind, &other.kind) {
        (Kind::File { .. }, Kind::File { .. }) => true,
        (one, other) => one == other,
    };
    let sizes = |inode: &Inode| if let Kind::File { size, .. } = inode.kind { size } else { 0 };
    [
        ("file type", same_kind),
        ("size", sizes(one) == sizes(other)),
        ("mtime", one.mtime == other.mtime),
        ("mode", one.permissions == other.permissions),
        ("owner", (one.uid, one.gid) == (other.uid, other.gid)),
        ("extended attributes", one.xattrs == other.xattrs),
    ]
    .into_iter()
    .find_map(|(what, same)| (!same).then_some(what))
}
