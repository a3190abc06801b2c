//! The tree: an arena of inodes, names that point at them, and a content reference for each regular file.

/// The longest name of a directory entry, in bytes (Linux's `NAME_MAX`).
pub const MAX_NAME_LEN: usize = 255;

/// The longest target of a symbolic link, in bytes (Linux's `PATH_MAX` without the final NUL).
pub const MAX_SYMLINK_LEN: usize = 4095;

/// The place of an inode in [`Tree::inodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub u32);

impl InodeId {
    /// The same as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A point in time: seconds since 1970-01-01 00:00:00 UTC, which may be negative, and nanoseconds after that
/// second, 0 to 999,999,999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub sec: i64,
    /// Nanoseconds after `sec`.
    pub nsec: u32,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// The full name including the namespace, such as `user.comment` or `system.posix_acl_access`; 1 to 255
    /// bytes, without NUL.
    pub name: Box<[u8]>,
    /// The value as the kernel hands it out, 0 to 65,536 bytes. POSIX ACLs are in the kernel's xattr form.
    pub value: Box<[u8]>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 1 to 255 bytes, without NUL and `/`; neither `.` nor `..`.
    pub name: Box<[u8]>,
    /// The inode that the name leads to.
    pub inode: InodeId,
}

/// What kind of file an inode is, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// How its source opens it.
        content: ContentRef,
    },
    /// A directory.
    Directory {
        /// Sorted by the bytes of the name, each name once, without `.` and `..`.
        entries: Vec<Entry>,
    },
    /// A symbolic link.
    Symlink {
        /// 1 to 4,095 bytes, without NUL.
        target: Box<[u8]>,
    },
    /// A character device.
    CharDevice {
        /// The major number of the device it stands for.
        major: u32,
        /// The minor number of the device it stands for.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The major number of the device it stands for.
        major: u32,
        /// The minor number of the device it stands for.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// An inode: what all names that lead to it share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// The low 12 bits of the mode: permissions, set-user-id, set-group-id and sticky.
    pub permissions: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content was last modified.
    pub mtime: Timestamp,
    /// How many names inside the tree lead to it; for a directory 2 and the number of its subdirectories.
    pub links: u32,
    /// Sorted by the bytes of the name, each name once.
    pub xattrs: Box<[Xattr]>,
    /// What it is.
    pub kind: Kind,
}

impl Inode {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }

    /// The names in it, if it is a directory; none otherwise.
    pub fn entries(&self) -> &[Entry] {
        if let Kind::Directory { entries } = &self.kind { entries } else { &[] }
    }

    /// The value of the extended attribute of that full name.
    pub fn xattr(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.xattrs.binary_search_by(|xattr| xattr.name.as_ref().cmp(name)).ok()?;
        self.xattrs.get(at).map(|xattr| xattr.value.as_ref())
    }
}

/// Names the content of a regular file. Opaque to everybody but the source whose scan made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentRef(pub u32);

/// What is to be stored.
///
/// Inodes stand in canonical order: depth first, a directory before what is in it, children by name, and each
/// inode once, where it is first met. Inode 0 is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// All inodes in canonical order.
    pub inodes: Vec<Inode>,
    /// The root directory, which is always inode 0.
    pub root: InodeId,
}

/// How much of everything a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Inodes of every kind.
    pub inodes: u64,
    /// Regular files; one with several names counts once.
    pub files: u64,
    /// Directories including the root.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Character and block devices.
    pub devices: u64,
    /// Named pipes.
    pub fifos: u64,
    /// Sockets.
    pub sockets: u64,
    /// Names beyond the first of inodes that are not directories.
    pub hard_links: u64,
    /// Extended attributes of all inodes.
    pub xattrs: u64,
    /// The sum of the lengths of regular files in bytes; one with several names counts once.
    pub file_bytes: u64,
}

impl Tree {
    /// The inode, if there is one of that number.
    pub fn get(&self, id: InodeId) -> Option<&Inode> {
        self.inodes.get(id.index())
    }

    /// How many inodes there are.
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Whether there is not even a root, which only an unfinished tree lacks.
    pub fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }

    /// All inodes with their numbers, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (InodeId, &Inode)> {
        (0..).map(InodeId).zip(&self.inodes)
    }

    /// The inode at a path from the root; slashes may stand doubled, in front and behind. Symbolic links are
    /// not followed, and `.` and `..` are no names.
    pub fn lookup(&self, path: &[u8]) -> Option<InodeId> {
        let mut id = self.root;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let entries = self.get(id)?.entries();
            let at = entries.binary_search_by(|entry| entry.name.as_ref().cmp(name)).ok()?;
            id = entries.get(at)?.inode;
        }
        self.get(id).map(|_| id)
    }

    /// The first path that leads to the inode, from `/`, which is itself the path of the root. For messages:
    /// it searches the directories on the way. An unknown inode or one that no name leads to is shown as
    /// `inode N`.
    pub fn path_of(&self, id: InodeId) -> Vec<u8> {
        if id == self.root && !self.is_empty() {
            return b"/".to_vec();
        }
        // In canonical order everything below a directory lies between it and its next sibling. The
        // directories that can be on the way are therefore, at each level, the last whose number is below the
        // wanted one.
        let mut path = Vec::new();
        let mut found = None;
        let mut at = Some(self.root);
        while let Some(entries) = at.and_then(|dir| self.get(dir)).map(Inode::entries) {
            if let Some(entry) = entries.iter().find(|entry| entry.inode == id) {
                found = Some([path.as_slice(), b"/", entry.name.as_ref()].concat());
            }
            let next = entries
                .iter()
                .filter(|entry| Some(entry.inode) > at && entry.inode < id)
                .filter(|entry| self.get(entry.inode).is_some_and(Inode::is_directory))
                .max_by_key(|entry| entry.inode);
            if let Some(entry) = next {
                path.push(b'/');
                path.extend_from_slice(&entry.name);
            }
            at = next.map(|entry| entry.inode);
        }
        found.unwrap_or_else(|| format!("inode {}", id.0).into_bytes())
    }

    /// Every inode once, in canonical order, with the first path that leads to it: from the root, without a
    /// leading slash, and empty for the root itself.
    pub fn for_each_path(&self, mut visit: impl FnMut(InodeId, &[u8])) {
        visit(self.root, &[]);
        let entries = |id: InodeId| self.get(id).map_or(&[][..], Inode::entries).iter();
        let mut path = Vec::new();
        let mut last = self.root;
        // Entries that are still to be visited, and the length of the path of their directory.
        let mut stack = vec![(entries(self.root), 0)];
        while let Some((rest, length)) = stack.last_mut() {
            let Some(entry) = rest.next() else {
                stack.pop();
                continue;
            };
            // Inodes are numbered in the order in which they are met, so others have been visited.
            if entry.inode <= last {
                continue;
            }
            last = entry.inode;
            path.truncate(*length);
            push_name(&mut path, &entry.name);
            visit(entry.inode, &path);
            if self.get(entry.inode).is_some_and(Inode::is_directory) {
                stack.push((entries(entry.inode), path.len()));
            }
        }
    }

    /// How much of everything there is.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for inode in &self.inodes {
            counts.inodes += 1;
            counts.xattrs += inode.xattrs.len() as u64;
            match &inode.kind {
                Kind::File { size, .. } => {
                    counts.files += 1;
                    counts.file_bytes = counts.file_bytes.saturating_add(*size);
                }
                Kind::Directory { .. } => counts.directories += 1,
                Kind::Symlink { .. } => counts.symlinks += 1,
                Kind::CharDevice { .. } | Kind::BlockDevice { .. } => counts.devices += 1,
                Kind::Fifo => counts.fifos += 1,
                Kind::Socket => counts.sockets += 1,
            }
            if !inode.is_directory() {
                counts.hard_links += u64::from(inode.links.saturating_sub(1));
            }
        }
        counts
    }
}

/// Appends a name to a path from the root, which has no leading slash.
pub(crate) fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
