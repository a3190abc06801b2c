//! A walk over every path below a directory, in the order of the entries, parents before children. It ends on
//! any image: no directory is entered twice, and no more directory data is read than the devices can hold.

use erofs_format::Nid;
use hashbrown::HashSet;

use crate::budget::Budget;
use crate::dir::{Entries, is_dot};
use crate::error::{Cause, ImageError, Result};
use crate::image::Image;
use crate::inode::Inode;

/// A path of the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The path inside the image, from `/` on; that of the start without a trailing slash, `/` for the root.
    pub path: Vec<u8>,
    /// How many directories below the start; 0 is the start itself.
    pub depth: usize,
    /// The inode.
    pub inode: Inode,
    /// This inode has not been met before in this walk; false for further names of a hard link.
    pub first: bool,
}

impl Step {
    /// The last name of the path; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// A walk. An entry that cannot be read is an error with its path, and the walk goes on behind it.
#[derive(Debug)]
pub struct Walk<'a> {
    image: &'a Image,
    start: Option<(Vec<u8>, Inode)>,
    stack: Vec<Level>,
    path: Vec<u8>,
    seen: HashSet<Nid>,
    entries: Budget,
    bytes: Budget,
    paths: Budget,
}

#[derive(Debug)]
struct Level {
    entries: Entries,
    path_len: usize,
}

impl Image {
    /// Walks over `start`, which is at `path`, and everything below it.
    pub fn walk(&self, path: &[u8], start: Inode) -> Walk<'_> {
        let limits = self.limits();
        let trimmed = match path.iter().rposition(|byte| *byte != b'/') {
            Some(last) => path.get(..=last).unwrap_or_default(),
            None => &[],
        };
        Walk {
            image: self,
            start: Some((trimmed.to_vec(), start)),
            stack: Vec::new(),
            path: Vec::new(),
            seen: HashSet::new(),
            entries: Budget::entries(&limits),
            bytes: Budget::directories(&limits),
            paths: Budget::paths(&limits),
        }
    }

    /// Walks over everything, from the root.
    pub fn walk_all(&self) -> Result<Walk<'_>> {
        Ok(self.walk(b"/", self.root()?))
    }
}

impl Walk<'_> {
    fn begin(&mut self, path: Vec<u8>, inode: Inode) -> Result<Step> {
        self.path = path;
        self.seen.insert(inode.nid);
        if inode.is_dir() {
            self.enter(&inode).map_err(|error| error.at_path(b"/"))?;
        }
        let path = if self.path.is_empty() { b"/".to_vec() } else { self.path.clone() };
        Ok(Step { path, depth: 0, inode, first: true })
    }

    fn enter(&mut self, dir: &Inode) -> Result<()> {
        self.bytes.take(dir.size())?;
        if let Some(level) = self.stack.last_mut() {
            level.entries.rest();
        }
        self.stack.push(Level { entries: self.image.entries(dir)?, path_len: self.path.len() });
        Ok(())
    }

    fn step(&mut self, nid: Nid) -> Result<Step> {
        let inode = self.image.inode(nid)?;
        let first = self.seen.insert(inode.nid);
        let depth = self.stack.len();
        if inode.is_dir() {
            if !first {
                return Err(Cause::DirectoryTwice { nid: inode.nid.0 }.into());
            }
            self.enter(&inode)?;
        }
        Ok(Step { path: self.path.clone(), depth, inode, first })
    }

    fn stop(&mut self, error: ImageError) -> ImageError {
        self.stack.clear();
        error
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((path, inode)) = self.start.take() {
            return Some(self.begin(path, inode));
        }
        loop {
            let level = self.stack.last_mut()?;
            self.path.truncate(level.path_len);
            let entry = match level.entries.next_ref() {
                None => {
                    self.stack.pop();
                    continue;
                }
                Some(Err(error)) => return Some(Err(error.at_path(shown(&self.path)))),
                Some(Ok(entry)) => entry,
            };
            // There is no path with . or .. in it.
            let dot = is_dot(entry.name);
            let length = if dot { 0 } else { self.path.len().saturating_add(entry.name.len()) };
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            if let Err(error) = self.entries.take(1).and_then(|()| self.paths.take(length)) {
                return Some(Err(self.stop(error)));
            }
            if dot {
                continue;
            }
            self.path.push(b'/');
            self.path.extend_from_slice(entry.name);
            let nid = entry.nid;
            return Some(self.step(nid).map_err(|error| error.at_path(&self.path)));
        }
    }
}

fn shown(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}
