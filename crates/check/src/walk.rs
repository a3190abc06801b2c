//! The walk over all names: entries against inodes, `.` and `..`, loops, link counts. It hands every inode to
//! the workers, once.

use erofs_format::Nid;
use erofs_format::filetype::FileType;
use erofs_format::superblock::Superblock;
use erofs_image::{Budget, Cause, Entry, Image, Inode};
use hashbrown::HashMap;

use crate::finding::{Code, Finding};
use crate::job::Job;
use crate::metadata::unit;
use crate::outcome::Outcome;

/// With more subdirectories than this a link count of 1 stands for "many", as for other file systems.
const LINKS_COUNTED: u64 = 65_535;

/// An inode that has been met.
struct Met {
    order: u64,
    file_type: FileType,
    names: u64,
    nlink: u64,
    /// Kept where there should be further names.
    path: Option<Vec<u8>>,
}

struct Directory {
    inode: Inode,
    path: Vec<u8>,
    parent: Nid,
    order: u64,
}

/// A walk over an image.
pub(crate) struct Walk<'a, F> {
    image: &'a Image,
    hand: F,
    met: HashMap<Nid, Met>,
    stack: Vec<Directory>,
    entries: Budget,
    bytes: Budget,
    paths: Budget,
    order: u64,
    outcome: Outcome,
}

impl<'a, F: FnMut(Job)> Walk<'a, F> {
    /// A walk that hands every inode to `hand`.
    pub(crate) fn new(image: &'a Image, hand: F) -> Self {
        let limits = image.limits();
        Self {
            image,
            hand,
            met: HashMap::new(),
            stack: Vec::new(),
            entries: Budget::entries(&limits),
            bytes: Budget::directories(&limits),
            paths: Budget::paths(&limits),
            order: 0,
            outcome: Outcome::default(),
        }
    }

    /// Walks over everything; the number of inodes, and what is wrong.
    pub(crate) fn all(mut self) -> (u64, Outcome) {
        let Superblock { packed_nid, metabox_nid, incompat, .. } = *self.image.superblock();
        let has = |bit| incompat & bit != 0;
        if has(erofs_format::feature::incompat::FRAGMENTS) && packed_nid != Nid(0) {
            self.special(packed_nid, b"(packed inode)");
        }
        if has(erofs_format::feature::incompat::METABOX) {
            self.special(metabox_nid, b"(metabox)");
        }
        match self.image.root() {
            Ok(root) => {
                self.register(&root, b"/");
                if root.nid == Nid(0) {
                    let found = "0, so that readdir(3) leaves out . and .. of it".to_owned();
                    self.tell(Code::RootZero, (b"/", 0), "inode number", found, "another number".into());
                }
                let path = Vec::new();
                self.stack.push(Directory { inode: root, path, parent: root.nid, order: self.order });
            }
            Err(error) => {
                self.outcome.note(error, (b"/", self.image.superblock().root_nid.0, 1), Code::Inode);
            }
        }
        while let Some(directory) = self.stack.pop() {
            self.enter(&directory);
        }
        self.count_names();
        (self.met.len().try_into().unwrap_or(u64::MAX), self.outcome)
    }

    /// An inode without a name.
    fn special(&mut self, nid: Nid, path: &[u8]) {
        self.order = self.order.saturating_add(1);
        match self.image.inode(nid) {
            Ok(inode) => {
                self.outcome.special = self.outcome.special.saturating_add(1);
                (self.hand)(Job { order: self.order, path: path.to_vec(), inode, special: true });
            }
            Err(error) => self.outcome.note(error, (path, nid.0, self.order), Code::Inode),
        }
    }

    /// An inode that is met for the first time.
    fn register(&mut self, inode: &Inode, path: &[u8]) {
        self.order = self.order.saturating_add(1);
        let nlink = u64::from(inode.record.nlink);
        let keep = !inode.is_dir() && nlink != 1;
        let met = Met {
            order: self.order,
            file_type: inode.file_type,
            names: 1,
            nlink,
            path: keep.then(|| path.to_vec()),
        };
        self.met.insert(inode.nid, met);
        (self.hand)(Job { order: self.order, path: path.to_vec(), inode: *inode, special: false });
    }

    fn tell(&mut self, code: Code, directory: (&[u8], u64), what: &str, found: String, wanted: String) {
        let (path, nid) = directory;
        let path = if path.is_empty() { b"/" } else { path };
        self.outcome.findings.push(Finding::new(code, what, found, wanted).at(path, nid).ordered(self.order));
    }

    fn enter(&mut self, directory: &Directory) {
        let here = (shown(&directory.path), directory.inode.nid.0, directory.order);
        if let Err(error) = self.bytes.take(directory.inode.size()) {
            return self.outcome.note(error, here, Code::Directory);
        }
        let entries = match self.image.entries(&directory.inode) {
            Ok(entries) => entries,
            Err(error) => return self.outcome.note(error, here, Code::Directory),
        };
        let first_child = self.stack.len();
        let (mut dots, mut subdirectories) = ([0_u32; 2], 0_u64);
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.outcome.note(error, here, Code::Directory);
                    break;
                }
            };
            // Of . and .. no path is kept.
            let length = unit(directory.path.len().saturating_add(entry.name.len()));
            let length = if entry.is_dot() { 0 } else { length };
            if let Err(error) = self.entries.take(1).and_then(|()| self.paths.take(length)) {
                return self.outcome.note(error, here, Code::Directory);
            }
            if entry.is_dot() {
                self.dot(directory, &entry, &mut dots);
            } else if self.child(directory, &entry) {
                subdirectories = subdirectories.saturating_add(1);
            }
        }
        // The first child comes next, as in the order of names.
        if let Some(children) = self.stack.get_mut(first_child..) {
            children.reverse();
        }
        self.dots_and_links(directory, dots, subdirectories);
    }

    fn dot(&mut self, directory: &Directory, entry: &Entry, dots: &mut [u32; 2]) {
        let (want, index) = if entry.name == b"." { (directory.inode.nid, 0) } else { (directory.parent, 1) };
        if let Some(count) = dots.get_mut(index) {
            *count = count.saturating_add(1);
        }
        if entry.nid != want {
            let what = format!("entry {}", erofs_image::printable(&entry.name));
            let here = (directory.path.as_slice(), directory.inode.nid.0);
            self.tell(Code::Dots, here, &what, format!("nid {}", entry.nid.0), format!("nid {}", want.0));
        }
        if entry.file_type != Some(FileType::Directory) {
            let path = [directory.path.as_slice(), b"/", &entry.name].concat();
            self.other_type((&path, entry.nid.0), entry, FileType::Directory);
        }
    }

    fn dots_and_links(&mut self, directory: &Directory, dots: [u32; 2], subdirectories: u64) {
        let here = (directory.path.as_slice(), directory.inode.nid.0);
        let [dot, dotdot] = dots;
        let wanted = u32::from(!directory.inode.dot_omitted());
        if dot != wanted || dotdot != 1 {
            let found = format!("{dot} of . and {dotdot} of ..");
            self.tell(Code::Dots, here, "entries", found, format!("{wanted} of . and 1 of .."));
        }
        let links = subdirectories.saturating_add(2);
        let nlink = u64::from(directory.inode.record.nlink);
        if nlink != links && !(nlink == 1 && links > LINKS_COUNTED) {
            let wanted = format!("{links}, two and one for each subdirectory");
            self.tell(Code::LinkCount, here, "link count", nlink.to_string(), wanted);
        }
    }

    /// Looks at an entry; whether it is a directory.
    fn child(&mut self, directory: &Directory, entry: &Entry) -> bool {
        let mut path = directory.path.clone();
        path.push(b'/');
        path.extend_from_slice(&entry.name);
        let is_known = self.met.get_mut(&entry.nid).map(|met| {
            met.names = met.names.saturating_add(1);
            if met.path.is_none() {
                met.path = Some(path.clone());
            }
            met.file_type
        });
        let file_type = if let Some(file_type) = is_known {
            if file_type == FileType::Directory {
                let twice = Cause::DirectoryTwice { nid: entry.nid.0 }.into();
                self.outcome.note(twice, (&path, entry.nid.0, self.order), Code::DirectoryLoop);
            }
            file_type
        } else {
            match self.image.inode(entry.nid) {
                Ok(inode) => {
                    self.register(&inode, &path);
                    if inode.is_dir() {
                        let order = self.order;
                        self.stack.push(Directory {
                            inode,
                            path: path.clone(),
                            parent: directory.inode.nid,
                            order,
                        });
                    }
                    inode.file_type
                }
                Err(error) => {
                    self.outcome.note(error, (&path, entry.nid.0, self.order), Code::Inode);
                    return entry.file_type == Some(FileType::Directory);
                }
            }
        };
        if entry.file_type != Some(file_type) {
            self.other_type((&path, entry.nid.0), entry, file_type);
        }
        if entry.nid == Nid(0) {
            let found = "0, so that readdir(3) leaves out the name".to_owned();
            self.tell(Code::InodeZero, (&path, 0), "inode number", found, "another number".to_owned());
        }
        file_type == FileType::Directory
    }

    fn other_type(&mut self, place: (&[u8], u64), entry: &Entry, file_type: FileType) {
        let found = entry.file_type.map_or("unknown", FileType::name).to_owned();
        let wanted = format!("{}, as the inode says", file_type.name());
        self.tell(Code::FileType, place, "file type of the entry", found, wanted);
    }

    fn count_names(&mut self) {
        for (nid, met) in &mut self.met {
            if met.file_type == FileType::Directory || met.names == met.nlink {
                continue;
            }
            let wanted = format!("{}, the number of names", met.names);
            let finding = Finding::new(Code::LinkCount, "link count", met.nlink, wanted);
            let path = met.path.take().unwrap_or_default();
            self.outcome.findings.push(finding.at(&path, nid.0).ordered(met.order));
        }
    }
}

fn shown(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}
