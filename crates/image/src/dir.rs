//! Directories: entries in order, the look-up of a name, and the way from a path to an inode.

use std::cmp::Ordering;

use erofs_format::dirent::{DirBlock, Dirent, NAME_MAX};
use erofs_format::filetype::FileType;
use erofs_format::printable;
use erofs_format::{FormatError, Nid, Rule};

use crate::data::FileData;
use crate::error::{Cause, ImageError, Result};
use crate::image::Image;
use crate::inode::Inode;

/// How many symbolic links are followed on the way of one path, as in Linux.
pub const LINKS_MAX: u32 = 40;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, 1 to 255 bytes without `/` and NUL; `.` and `..` are names as well.
    pub name: Vec<u8>,
    /// The inode.
    pub nid: Nid,
    /// The type that the entry says, which the inode may contradict.
    pub file_type: Option<FileType>,
}

impl Entry {
    /// Whether this is `.` or `..`.
    pub fn is_dot(&self) -> bool {
        is_dot(&self.name)
    }
}

/// Whether a name is `.` or `..`.
pub(crate) fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// What happens at a symbolic link on the way of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It is an error, unless it is the last name.
    Never,
    /// It is followed inside the image, unless it is the last name.
    Parents,
    /// It is followed inside the image.
    All,
}

/// The entries of a directory in order, block by block. Ends after the first error.
#[derive(Debug)]
pub struct Entries {
    data: FileData,
    block_size: usize,
    /// Where the current block starts in the directory.
    start: u64,
    /// The next entry of the current block.
    index: usize,
    block: Vec<u8>,
    last: Vec<u8>,
    ended: bool,
}

impl Entries {
    fn new(data: FileData, block_size: usize) -> Self {
        Self { data, block_size, start: 0, index: 0, block: Vec::new(), last: Vec::new(), ended: false }
    }

    /// The directory.
    pub fn inode(&self) -> &Inode {
        self.data.inode()
    }

    /// Gives back the memory of the current block; the next entry reads it again.
    pub(crate) fn rest(&mut self) {
        self.block = Vec::new();
    }

    /// The next entry, whose name stays in the block that it was read from.
    pub(crate) fn next_ref(&mut self) -> Option<Result<Dirent<'_>>> {
        if self.ended {
            return None;
        }
        // Unless an entry is found, there is none behind it either.
        self.ended = true;
        let nid = self.data.inode().nid;
        match self.find_next() {
            Ok(true) => Some(self.take().map_err(|error| error.at_nid(nid))),
            Ok(false) => None,
            Err(error) => Some(Err(error.at_nid(nid))),
        }
    }

    /// Goes on to the block of the next entry, if there is one.
    fn find_next(&mut self) -> Result<bool> {
        while self.start < self.data.len() {
            if self.block.is_empty() {
                read_block(&self.data, self.start, self.block_size, &mut self.block)?;
            }
            if self.index < DirBlock::new(&self.block, self.start)?.count() {
                return Ok(true);
            }
            self.start = self.start.saturating_add(u64::try_from(self.block_size).unwrap_or(u64::MAX));
            self.index = 0;
            self.block.clear();
        }
        Ok(false)
    }

    /// The entry that was found.
    fn take(&mut self) -> Result<Dirent<'_>> {
        let entry = DirBlock::new(&self.block, self.start)?.entry(self.index)?;
        check_order(&self.last, entry.name, self.start)?;
        self.index = self.index.saturating_add(1);
        self.last.clear();
        self.last.extend_from_slice(entry.name);
        self.ended = false;
        Ok(entry)
    }
}

impl Iterator for Entries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_ref().map(|entry| entry.map(|entry| owned(&entry)))
    }
}

fn read_block(data: &FileData, start: u64, block_size: usize, block: &mut Vec<u8>) -> Result<()> {
    block.resize(block_size, 0);
    let length = data.read_range(start, block)?;
    block.truncate(length);
    Ok(())
}

/// Names ascend through the whole directory: look-up is a binary search, and what is not in order is not
/// found by it.
fn check_order(last: &[u8], name: &[u8], at: u64) -> Result<()> {
    if last < name {
        return Ok(());
    }
    let found = format!("{} after {}", printable(name), printable(last));
    Err(FormatError::field("directory block", at, found, "ascending, unique names")
        .of(Rule::NameOrder)
        .into())
}

fn owned(entry: &Dirent<'_>) -> Entry {
    Entry { name: entry.name.to_vec(), nid: entry.nid, file_type: entry.file_type }
}

fn want_directory(inode: &Inode) -> Result<()> {
    if inode.is_dir() {
        return Ok(());
    }
    Err(ImageError::from(Cause::NotADirectory { found: inode.file_type.name() }).at_nid(inode.nid))
}

impl Image {
    /// The entries of `dir` in order, with `.` and `..` where they are stored. An error if it is not a
    /// directory.
    pub fn entries(&self, dir: &Inode) -> Result<Entries> {
        want_directory(dir)?;
        let block_size = self.superblock().block_bits.bytes();
        Ok(Entries::new(self.data(dir)?, block_size))
    }

    /// Looks up `name` in `dir` by binary search over the blocks and then inside one (Linux's `erofs_namei`);
    /// `None` if it is not there.
    pub fn lookup(&self, dir: &Inode, name: &[u8]) -> Result<Option<Entry>> {
        want_directory(dir)?;
        if name.is_empty() || name.len() > NAME_MAX {
            return Ok(None);
        }
        let data = self.data(dir)?;
        self.find(&data, name).map_err(|error| error.at_nid(dir.nid))
    }

    fn find(&self, data: &FileData, name: &[u8]) -> Result<Option<Entry>> {
        let bits = self.superblock().block_bits;
        let (mut low, mut high) = (0, bits.blocks_ceil(data.len()));
        let mut block = Vec::new();
        let mut candidate = Vec::new();
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            let start = middle.saturating_mul(bits.size());
            read_block(data, start, bits.bytes(), &mut block)?;
            let first = DirBlock::new(&block, start)?.entry(0)?;
            match name.cmp(first.name) {
                Ordering::Equal => return Ok(Some(owned(&first))),
                Ordering::Less => high = middle,
                Ordering::Greater => {
                    low = middle.saturating_add(1);
                    std::mem::swap(&mut block, &mut candidate);
                }
            }
        }
        if candidate.is_empty() {
            return Ok(None);
        }
        let start = low.saturating_sub(1).saturating_mul(bits.size());
        find_in_block(DirBlock::new(&candidate, start)?, name)
    }

    /// The inode at `path`, from the root. Repeated and trailing slashes do not count; `..` leads to the
    /// directory that the way came through, at the root to the root.
    pub fn resolve(&self, path: &[u8], follow: Follow) -> Result<Inode> {
        self.walk_path(path, follow).map_err(|error| error.at_path(path))
    }

    fn walk_path(&self, path: &[u8], follow: Follow) -> Result<Inode> {
        let root = self.root()?;
        // The directories above the current one; the way back for "..", whatever the entries of that name
        // say.
        let mut above: Vec<Inode> = Vec::new();
        let mut current = root;
        let mut names: Vec<Vec<u8>> = names_reversed(path);
        let mut links = 0_u32;
        while let Some(name) = names.pop() {
            match name.as_slice() {
                b"." => want_directory(&current)?,
                b".." => {
                    want_directory(&current)?;
                    current = above.pop().unwrap_or(root);
                }
                _ => {
                    let entry = self.lookup(&current, &name)?.ok_or(Cause::NotFound)?;
                    let inode = self.inode(entry.nid)?;
                    let follows = match follow {
                        Follow::Never => false,
                        Follow::Parents => !names.is_empty(),
                        Follow::All => true,
                    };
                    if !inode.is_symlink() || (!follows && names.is_empty()) {
                        above.push(current);
                        current = inode;
                    } else if follows {
                        links = links.saturating_add(1);
                        if links > LINKS_MAX {
                            return Err(Cause::LinkLoop { limit: LINKS_MAX }.into());
                        }
                        let target = self.link_target(&inode)?;
                        if target.starts_with(b"/") {
                            above.clear();
                            current = root;
                        }
                        names.extend(names_reversed(&target));
                    } else {
                        return Err(ImageError::from(Cause::Link).at_nid(inode.nid));
                    }
                }
            }
        }
        Ok(current)
    }
}

fn names_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    names.rev().map(<[u8]>::to_vec).collect()
}

fn find_in_block(block: DirBlock<'_>, name: &[u8]) -> Result<Option<Entry>> {
    let (mut low, mut high) = (0, block.count());
    while low < high {
        let middle = low.saturating_add(high.saturating_sub(low) / 2);
        let entry = block.entry(middle)?;
        match name.cmp(entry.name) {
            Ordering::Equal => return Ok(Some(owned(&entry))),
            Ordering::Less => high = middle,
            Ordering::Greater => low = middle.saturating_add(1),
        }
    }
    Ok(None)
}
