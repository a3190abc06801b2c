//! The model: mounts, files that were looked up, and the pages in memory. One kernel rule, one function.
//!
//! A file that is looked up joins the hidden inode of its key or keeps pages of its own, for as long as it is
//! in memory. Reads and mappings use the pages of the key, `sendfile` and its like those of the file. The key
//! lives as long as a file that joined it is in memory, and its pages with it (Linux's `fs/erofs/ishare.c`).

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::cached::Cached;
use crate::facts::ImageFacts;
use crate::kernel::KernelModel;
use crate::pages::{PAGE_SIZE, PageSet, pages_of, saturating_sum};
use crate::readahead::{FileAccess, Geometry, Readahead};
use crate::scenario::{Backend, Method};

/// The readahead window of a device of which nothing is said, and of mounts of image files, in pages
/// (`VM_READAHEAD_PAGES`).
const WINDOW_PAGES: u64 = 32;
/// The longest request in pages of a disk (`max_sectors_kb` 4096, `BLK_DEF_MAX_SECTORS_CAP`), of a loop
/// device (`max_sectors_kb` 1280), and of a mount of an image file (`bdi_init`).
const REQUEST_PAGES: u64 = 1024;
const LOOP_REQUEST_PAGES: u64 = 320;
const FILE_REQUEST_PAGES: u64 = 32;
/// How many steps of readahead the accesses may take altogether, and how many more for each access: an image
/// may claim files of any length. A step is a call, a window or a folio, so this is enough for a tebibyte.
const STEPS_MAX: u64 = 1 << 24;
const STEPS_OF_ACCESS: u64 = 1 << 10;

/// Which files can share with each other at all: those that the kernel reads by the same functions
/// (`erofs_get_aops`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Compressed data, on whatever backend.
    Compressed,
    /// Plain data on a block device.
    PlainBlock,
    /// Plain data on a mount of an image file.
    PlainFile,
}

/// Why a file keeps pages of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The mount does not share: no `inode_share`, or the image does not announce fingerprints.
    MountDoesNotShare,
    /// The file has no fingerprint that counts.
    NoFingerprint,
    /// The first file with this key has another size.
    OtherSize,
    /// The first file with this key is of another class.
    OtherClass,
}

/// What the kernel answers to a mount that it refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// The options contradict each other (`EINVAL`).
    #[error("mount {mount}: the kernel refuses {what} (EINVAL)")]
    Refused {
        /// The mount.
        mount: String,
        /// The option.
        what: &'static str,
    },
    /// Files of the mount are open or mapped (`EBUSY`).
    #[error("mount {mount}: the kernel does not end it while files are open or mapped (EBUSY)")]
    Busy {
        /// The mount.
        mount: String,
    },
    /// The image claims more than can be simulated.
    #[error("mount {mount}: reading {path} takes more steps of readahead than the limit of {STEPS_MAX}")]
    Steps {
        /// The mount.
        mount: String,
        /// The file.
        path: String,
    },
    /// Linux 7.2 dereferences a null pointer here.
    #[error(
        "mount {mount}: looking up a file after a remount with inode_share and no domain crashes the kernel"
    )]
    Crash {
        /// The mount.
        mount: String,
    },
    /// A mount has a name that another one has.
    #[error("mount {mount}: is there already")]
    Taken {
        /// The mount.
        mount: String,
    },
    /// A name is used that nothing has.
    #[error("{what} {name}: {problem}")]
    Name {
        /// Mount, or file.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A mount's options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// What lies under it.
    pub backend: Backend,
    /// The device, where several mounts of an image may be of the same one.
    pub device: Option<String>,
    /// `inode_share`.
    pub inode_share: bool,
    /// `domain_id`.
    pub domain: Option<String>,
    /// `dax` or `dax=always`, which excludes `inode_share`.
    pub dax: bool,
    /// The readahead window of its block device in pages, which private pages are read by; 32 where nothing
    /// is said, and for mounts of image files.
    pub window_pages: Option<u64>,
}

impl MountOptions {
    /// Whether both are of the same block device, provided that they are of the same image.
    fn is_of_device(&self, other: &Self) -> bool {
        let looped = |backend| matches!(backend, Backend::Loop | Backend::LoopBuffered);
        let on_device = match self.backend {
            Backend::Block | Backend::Verity => other.backend == self.backend,
            Backend::Loop | Backend::LoopBuffered => looped(other.backend),
            Backend::File | Backend::FileDirectio => false,
        };
        on_device && self.device.is_some() && self.device == other.device
    }
}

/// An open file: how far its readahead is, through the shared pages and through those of the file's own, each
/// of which has its own state (the file of the hidden inode, `backing_file_open`).
#[derive(Debug, Clone)]
pub struct Stream {
    shared: Readahead,
    own: Readahead,
}

/// What an access did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effect {
    /// Pages that came into memory.
    pub added: u64,
    /// Pages that left it.
    pub dropped: u64,
}

pub(crate) type Key = Vec<u8>;
type FileIndex = usize;

/// A file that is in memory.
#[derive(Debug, Clone, Default)]
struct Member {
    /// The key it joined, or why it did not.
    key: Option<Key>,
    reason: Option<Reason>,
    private: Cached,
    opens: u32,
    /// Mappings of the whole file.
    maps: u32,
}

/// The hidden inode of a key.
#[derive(Debug, Clone)]
struct Shared<'f> {
    class: Class,
    size: u64,
    cached: Cached,
    /// Superblock and file, newest first: the first one provides what is read.
    members: VecDeque<(usize, FileIndex)>,
    /// Which file of which image pages were last read from, the latest last.
    filled: Vec<(Range<u64>, Source<'f>)>,
}

/// The pages of a file, its sizes, and where the pages came from if they are those of a key.
type Pages<'a, 'f> = (&'a mut Cached, Geometry, Option<&'a mut Vec<(Range<u64>, Source<'f>)>>);

/// A file that pages were read from.
type Source<'f> = (&'f ImageFacts, FileIndex);

#[derive(Debug, Clone)]
struct Superblock<'f> {
    facts: &'f ImageFacts,
    options: MountOptions,
    shares: bool,
    /// Mounts of it, and overlays above it.
    mounts: u32,
    inodes: BTreeMap<FileIndex, Member>,
    /// Whether the pages of its directories are in memory.
    listed: bool,
}

impl Superblock<'_> {
    fn is_busy(&self) -> bool {
        self.inodes.values().any(|member| member.opens > 0 || member.maps > 0)
    }

    /// The readahead window of private pages and the longest request for them, in pages.
    fn device_pages(&self) -> (u64, u64) {
        let window = self.options.window_pages.unwrap_or(WINDOW_PAGES);
        match self.options.backend {
            Backend::File | Backend::FileDirectio => (WINDOW_PAGES, FILE_REQUEST_PAGES),
            Backend::Loop | Backend::LoopBuffered => (window, LOOP_REQUEST_PAGES),
            Backend::Block | Backend::Verity => (window, REQUEST_PAGES),
        }
    }
}

/// A mount, or an overlay.
#[derive(Debug, Clone)]
struct Mounted {
    /// The superblock whose files it shows.
    superblock: usize,
    /// Of an overlay: that of the mount with its names, if it is another one.
    names: Option<usize>,
    is_overlay: bool,
    /// Files that are open or mapped through it.
    uses: u32,
}

/// Everything that is mounted and in memory.
#[derive(Debug, Clone)]
pub struct World<'f> {
    kernel: KernelModel,
    superblocks: BTreeMap<usize, Superblock<'f>>,
    next: usize,
    mounts: BTreeMap<String, Mounted>,
    keys: BTreeMap<Key, Shared<'f>>,
    /// How many more steps of readahead may be simulated.
    steps_left: u64,
}

impl<'f> World<'f> {
    /// A machine that has just started.
    pub fn new(kernel: KernelModel) -> Self {
        Self {
            kernel,
            superblocks: BTreeMap::new(),
            next: 0,
            mounts: BTreeMap::new(),
            keys: BTreeMap::new(),
            steps_left: STEPS_MAX,
        }
    }

    /// Mounts an image under `name`.
    ///
    /// # Errors
    /// What the kernel refuses, and a name that is taken.
    pub fn mount(
        &mut self,
        name: &str,
        facts: &'f ImageFacts,
        options: &MountOptions,
    ) -> Result<(), WorldError> {
        self.new_name(name)?;
        let refused = |what| WorldError::Refused { mount: name.into(), what };
        if options.domain.as_deref() == Some("") {
            return Err(refused("an empty domain_id"));
        }
        if options.inode_share && options.domain.is_none() {
            return Err(refused("inode_share without domain_id"));
        }
        if options.inode_share && options.dax {
            return Err(refused("inode_share with dax"));
        }
        // A block device that is mounted already keeps its superblock; the options of later mounts count for
        // nothing.
        let same = |sb: &Superblock<'_>| std::ptr::eq(sb.facts, facts) && options.is_of_device(&sb.options);
        let known = self.superblocks.iter().find(|(_, sb)| same(sb)).map(|(id, _)| *id);
        if let Some(known) = known.and_then(|id| self.superblocks.get_mut(&id)) {
            // The window is the device's.
            known.options.window_pages = options.window_pages;
        }
        let id = known.unwrap_or_else(|| {
            let shares = options.inode_share && facts.announces_fingerprints;
            let inodes = BTreeMap::new();
            let options = options.clone();
            let superblock = Superblock { facts, options, shares, mounts: 0, inodes, listed: false };
            self.superblocks.insert(self.next, superblock);
            self.next += 1;
            self.next - 1
        });
        self.add_mount(name, Mounted { superblock: id, names: None, is_overlay: false, uses: 0 });
        Ok(())
    }

    /// Puts an overlay over a mount, whose files it shows; `over` is the mount that has their names instead,
    /// if another one does. What is below stays mounted as long as the overlay is.
    ///
    /// # Errors
    /// A mount that is not there, and a name that is taken.
    pub fn overlay(&mut self, name: &str, lower: &str, over: Option<&str>) -> Result<(), WorldError> {
        let superblock = self.superblock_of(lower)?;
        let names = over.map(|over| self.superblock_of(over)).transpose()?;
        self.new_name(name)?;
        self.add_mount(name, Mounted { superblock, names, is_overlay: true, uses: 0 });
        Ok(())
    }

    fn new_name(&self, name: &str) -> Result<(), WorldError> {
        if self.mounts.contains_key(name) {
            return Err(WorldError::Taken { mount: name.into() });
        }
        Ok(())
    }

    fn add_mount(&mut self, name: &str, mounted: Mounted) {
        for id in std::iter::once(mounted.superblock).chain(mounted.names) {
            if let Some(superblock) = self.superblocks.get_mut(&id) {
                superblock.mounts += 1;
            }
        }
        self.mounts.insert(name.into(), mounted);
    }

    /// Changes whether a mount shares, for files that are looked up from now on. The domain stays what it
    /// was.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn remount(&mut self, name: &str, inode_share: bool) -> Result<(), WorldError> {
        let id = self.superblock_of(name)?;
        if let Some(superblock) = self.superblocks.get_mut(&id) {
            // The checks of mounting are not repeated, not even whether the image announces fingerprints.
            superblock.shares = inode_share;
        }
        Ok(())
    }

    /// Ends a mount or an overlay; with the last one of a superblock all its files leave memory.
    ///
    /// # Errors
    /// A mount that is not there, and one through which files are open or mapped.
    pub fn umount(&mut self, name: &str) -> Result<Effect, WorldError> {
        self.superblock_of(name)?;
        if self.mounts.get(name).is_some_and(|mounted| mounted.uses > 0) {
            return Err(WorldError::Busy { mount: name.into() });
        }
        self.umount_lazily(name)
    }

    /// Ends a mount that may be in use (`umount -l`). While files of it are open or mapped it goes on without
    /// its name.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn umount_lazily(&mut self, name: &str) -> Result<Effect, WorldError> {
        self.superblock_of(name)?;
        let before = self.resident();
        let Some(mounted) = self.mounts.remove(name) else { return Ok(Effect::default()) };
        for id in std::iter::once(mounted.superblock).chain(mounted.names) {
            let Some(superblock) = self.superblocks.get_mut(&id) else { continue };
            superblock.mounts = superblock.mounts.saturating_sub(1);
            if superblock.mounts == 0 && !superblock.is_busy() {
                let files: Vec<FileIndex> = superblock.inodes.keys().copied().collect();
                for file in files {
                    self.evict(id, file);
                }
                self.superblocks.remove(&id);
            }
        }
        Ok(Effect { added: 0, dropped: before.saturating_sub(self.resident()) })
    }

    fn superblock_of(&self, mount: &str) -> Result<usize, WorldError> {
        let unknown = || WorldError::Name { what: "mount", name: mount.into(), problem: "is not there" };
        self.mounts.get(mount).map(|mounted| mounted.superblock).ok_or_else(unknown)
    }

    /// Reads all directories of a mount, which looks no file up.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn list(&mut self, mount: &str) -> Result<(), WorldError> {
        let id = self.superblock_of(mount)?;
        let names = self.mounts.get(mount).and_then(|mounted| mounted.names);
        for id in std::iter::once(id).chain(names) {
            if let Some(superblock) = self.superblocks.get_mut(&id) {
                superblock.listed = true;
            }
        }
        Ok(())
    }

    /// Pages of directories in memory, of mounts that were listed as a whole.
    pub fn directory_pages(&self) -> u64 {
        let listed = self.superblocks.values().filter(|superblock| superblock.listed);
        saturating_sum(listed.map(|superblock| pages_of(superblock.facts.directory_bytes)))
    }

    /// Looks a file up. If it is not in memory it joins its key, becomes the first of it, or stays on its
    /// own.
    ///
    /// # Errors
    /// A mount or file that is not there, and the lookup that crashes the kernel.
    pub fn lookup(&mut self, mount: &str, file: FileIndex) -> Result<Option<Reason>, WorldError> {
        let id = self.superblock_of(mount)?;
        let unknown = || WorldError::Name { what: "file", name: file.to_string(), problem: "is not there" };
        let superblock = self.superblocks.get_mut(&id).ok_or_else(unknown)?;
        if let Some(member) = superblock.inodes.get(&file) {
            return Ok(member.reason);
        }
        let facts = superblock.facts.files.get(file).ok_or_else(unknown)?;
        let mut member = Member::default();
        let value = facts.fingerprint.as_deref();
        member.reason = match (superblock.shares, value, &superblock.options.domain) {
            (false, _, _) => Some(Reason::MountDoesNotShare),
            (true, _, None) => return Err(WorldError::Crash { mount: mount.into() }),
            (true, None, Some(_)) => Some(Reason::NoFingerprint),
            (true, Some(value), Some(domain)) => {
                let key = key_of(self.kernel, domain, value);
                let class = class_of(facts.compressed, superblock.options.backend);
                let shared = self.keys.entry(key.clone()).or_insert_with(|| Shared {
                    class,
                    size: facts.size,
                    cached: Cached::noted(),
                    members: VecDeque::new(),
                    filled: Vec::new(),
                });
                let reason = conflict(shared, class, facts.size);
                if reason.is_none() {
                    shared.members.push_front((id, file));
                    member.key = Some(key);
                }
                reason
            }
        };
        let reason = member.reason;
        superblock.inodes.insert(file, member);
        Ok(reason)
    }

    /// Opens a file: it stays in memory until it is closed.
    ///
    /// # Errors
    /// As for [`Self::lookup`].
    pub fn open(&mut self, mount: &str, file: FileIndex) -> Result<Stream, WorldError> {
        let stream = self.stream(mount, file)?;
        self.hold(mount, file, |member| &mut member.opens, 1)?;
        Ok(stream)
    }

    /// Closes a file that was opened.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn close(&mut self, mount: &str, file: FileIndex) -> Result<(), WorldError> {
        self.hold(mount, file, |member| &mut member.opens, -1)
    }

    /// Counts a use of a file more or less, for the file and for the mount it is through.
    fn hold(
        &mut self,
        mount: &str,
        file: FileIndex,
        counter: fn(&mut Member) -> &mut u32,
        change: i32,
    ) -> Result<(), WorldError> {
        let id = self.superblock_of(mount)?;
        let member = self.superblocks.get_mut(&id).and_then(|sb| sb.inodes.get_mut(&file));
        let Some(held) = member.map(counter) else { return Ok(()) };
        let Some(changed) = held.checked_add_signed(change) else { return Ok(()) };
        *held = changed;
        if let Some(mounted) = self.mounts.get_mut(mount) {
            mounted.uses = mounted.uses.saturating_add_signed(change);
        }
        Ok(())
    }

    /// A file that was just opened, with the windows that are set now.
    fn stream(&mut self, mount: &str, file: FileIndex) -> Result<Stream, WorldError> {
        self.lookup(mount, file)?;
        let id = self.superblock_of(mount)?;
        let (window, _) = self.superblocks.get(&id).map_or((WINDOW_PAGES, 0), Superblock::device_pages);
        Ok(Stream { shared: Readahead::new(self.kernel.window_pages), own: Readahead::new(window) })
    }

    /// Maps a whole file, touches every page of it, and keeps the mapping: pages that are mapped stay in
    /// memory.
    ///
    /// # Errors
    /// As for [`Self::lookup`].
    pub fn map(&mut self, mount: &str, file: FileIndex) -> Result<Effect, WorldError> {
        let effect = self.access(mount, file, &FileAccess::whole(Method::Mmap), None)?;
        self.hold(mount, file, |member| &mut member.maps, 1)?;
        Ok(effect)
    }

    /// Ends a mapping that was kept.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn unmap(&mut self, mount: &str, file: FileIndex) -> Result<(), WorldError> {
        self.hold(mount, file, |member| &mut member.maps, -1)
    }

    /// Sets how many more steps of readahead the accesses may take: calls, windows, and folios.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps_left = steps;
    }

    /// Sets the readahead window of shared pages, in pages: that of the hidden device (`pseudo_erofs-1`).
    pub fn set_window(&mut self, pages: u64) {
        self.kernel.window_pages = pages;
    }

    /// The keys and private files whose pages are mapped, and therefore stay in memory.
    fn mapped(&self, id: usize, file: FileIndex) -> bool {
        let maps = |(id, file): &(usize, FileIndex)| {
            let member = self.superblocks.get(id).and_then(|sb| sb.inodes.get(file));
            member.is_some_and(|member| member.maps > 0)
        };
        let member = self.superblocks.get(&id).and_then(|sb| sb.inodes.get(&file));
        match member.and_then(|member| member.key.as_ref()).and_then(|key| self.keys.get(key)) {
            Some(shared) => shared.members.iter().any(maps),
            None => maps(&(id, file)),
        }
    }

    /// Asks for bytes of a file, through an open one or else through one that is opened for it.
    ///
    /// # Errors
    /// As for [`Self::lookup`], and when it takes too many steps.
    pub fn access(
        &mut self,
        mount: &str,
        file: FileIndex,
        access: &FileAccess,
        stream: Option<&mut Stream>,
    ) -> Result<Effect, WorldError> {
        let mut opened = self.stream(mount, file)?;
        let Stream { shared, own } = stream.unwrap_or(&mut opened);
        let source = self.source(mount, file)?;
        let shares = shares_pages(self.kernel, access.method);
        let left = self.steps_left.saturating_add(STEPS_OF_ACCESS);
        let (cached, geometry, filled) = self.pages_for(mount, file, shares)?;
        let state = if filled.is_some() { shared } else { own };
        let begun = state.steps();
        let added = state.access(cached, geometry, access, left);
        note_source(cached, filled, source, added);
        self.steps_left = left.saturating_sub(state.steps().saturating_sub(begun));
        if self.steps_left == 0 {
            return Err(WorldError::Steps { mount: mount.into(), path: self.path_of(mount, file) });
        }
        Ok(Effect { added, dropped: 0 })
    }

    /// The path of a file, for messages.
    fn path_of(&self, mount: &str, file: FileIndex) -> String {
        let superblock = self.superblock_of(mount).ok().and_then(|id| self.superblocks.get(&id));
        let path = superblock.and_then(|sb| sb.facts.files.get(file)).map(|facts| facts.path.as_slice());
        String::from_utf8_lossy(path.unwrap_or_default()).into_owned()
    }

    /// The file that is read for a missing page of this one: of the files of its key the one that joined
    /// last.
    fn source(&self, mount: &str, file: FileIndex) -> Result<Option<Source<'f>>, WorldError> {
        let id = self.superblock_of(mount)?;
        let member = self.superblocks.get(&id).and_then(|sb| sb.inodes.get(&file));
        let shared = member.and_then(|member| member.key.as_ref()).and_then(|key| self.keys.get(key));
        let (id, file) = shared.and_then(|shared| shared.members.front().copied()).unwrap_or((id, file));
        Ok(self.superblocks.get(&id).map(|sb| (sb.facts, file)))
    }

    /// The image, as its facts, and the number of the file in it that this page in memory was read from; of a
    /// file that shares with nobody its own. That image may be mounted no longer.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn page_source(
        &self,
        mount: &str,
        file: FileIndex,
        page: u64,
    ) -> Result<Option<(&'f ImageFacts, FileIndex)>, WorldError> {
        let id = self.superblock_of(mount)?;
        let Some(superblock) = self.superblocks.get(&id) else { return Ok(None) };
        let key = superblock.inodes.get(&file).and_then(|member| member.key.as_ref());
        let Some(shared) = key.and_then(|key| self.keys.get(key)) else {
            return Ok(Some((superblock.facts, file)));
        };
        let latest = shared.filled.iter().rev().find(|(pages, _)| pages.contains(&page));
        Ok(latest.map(|(_, source)| *source))
    }

    /// The pages that an access uses: those of the key, with where they came from, or the file's own.
    fn pages_for(&mut self, mount: &str, file: FileIndex, shared: bool) -> Result<Pages<'_, 'f>, WorldError> {
        let id = self.superblock_of(mount)?;
        let unknown = || WorldError::Name { what: "file", name: file.to_string(), problem: "is not there" };
        let superblock = self.superblocks.get_mut(&id).ok_or_else(unknown)?;
        let size = superblock.facts.files.get(file).map(|facts| facts.size).ok_or_else(unknown)?;
        let (_, request) = superblock.device_pages();
        let member = superblock.inodes.get_mut(&file).ok_or_else(unknown)?;
        match member.key.as_ref().filter(|_| shared).and_then(|key| self.keys.get_mut(key)) {
            Some(shared) => {
                let (large, request) = (self.kernel.shared_large_folios, self.kernel.request_pages);
                Ok((&mut shared.cached, Geometry { size, large, request }, Some(&mut shared.filled)))
            }
            // Every regular file of EROFS may have large folios (`erofs_fill_inode`).
            None => Ok((&mut member.private, Geometry { size, large: true, request }, None)),
        }
    }

    /// `POSIX_FADV_DONTNEED`: whole pages of `length` bytes from `offset` on leave memory, for everybody who
    /// shares them; a length of 0, or none, means to the end of the file (`generic_fadvise`).
    ///
    /// # Errors
    /// As for [`Self::lookup`].
    pub fn dontneed(
        &mut self,
        mount: &str,
        file: FileIndex,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Effect, WorldError> {
        self.lookup(mount, file)?;
        let id = self.superblock_of(mount)?;
        if self.mapped(id, file) {
            return Ok(Effect::default());
        }
        let (cached, Geometry { size, .. }, _) = self.pages_for(mount, file, true)?;
        let end = length.filter(|length| *length != 0).and_then(|length| offset.checked_add(length));
        // A page that is only partly in the range stays, unless the range ends exactly with the file.
        let last = match end {
            None => pages_of(size),
            Some(end) if end == size => pages_of(size),
            Some(end) => end / PAGE_SIZE,
        };
        let first = offset.div_ceil(PAGE_SIZE);
        Ok(Effect { added: 0, dropped: cached.drop_pages(first..last.max(first)) })
    }

    /// Exactly the pages of a range come into memory, without any that the kernel reads ahead: for lists of
    /// pages that were seen in memory.
    ///
    /// # Errors
    /// As for [`Self::lookup`].
    pub fn touch(&mut self, mount: &str, file: FileIndex, range: Range<u64>) -> Result<Effect, WorldError> {
        self.lookup(mount, file)?;
        let source = self.source(mount, file)?;
        let (cached, Geometry { size, .. }, filled) = self.pages_for(mount, file, true)?;
        let added = cached.insert(range.start / PAGE_SIZE..pages_of(range.end.min(size)));
        note_source(cached, filled, source, added);
        Ok(Effect { added, dropped: 0 })
    }

    /// Files with pages of their own: the mount, the number of the file, why it shares with nobody (nothing
    /// for one that could, and was copied by a call), and how many pages.
    pub fn private_files(&self) -> impl Iterator<Item = (&str, FileIndex, Option<Reason>, u64)> {
        self.superblocks.iter().flat_map(|(id, superblock)| {
            let mount = self.name_of(*id).unwrap_or_default();
            let own = superblock.inodes.iter().filter(|(_, member)| !member.private.resident().is_empty());
            own.map(move |(file, member)| (mount, *file, member.reason, member.private.resident().len()))
        })
    }

    /// The name of a mount of this superblock; that of an overlay if there is no other.
    fn name_of(&self, id: usize) -> Option<&str> {
        let of_it = self.mounts.iter().filter(|(_, mounted)| mounted.superblock == id);
        of_it.min_by_key(|(_, mounted)| mounted.is_overlay).map(|(name, _)| name.as_str())
    }

    /// `/proc/sys/vm/drop_caches`: 1 drops pages, 2 files that nobody uses, 3 first the one, then the other.
    /// The kernel sweeps again as long as it frees several objects (`drop_slab`), so that on a machine in use
    /// no file that was used recently is spared.
    pub fn drop_caches(&mut self, value: u8) -> Effect {
        let before = self.resident();
        if value & 1 != 0 {
            let superblocks = &self.superblocks;
            for shared in self.keys.values_mut() {
                let maps = |(id, file): &(usize, FileIndex)| {
                    superblocks
                        .get(id)
                        .and_then(|sb| sb.inodes.get(file))
                        .is_some_and(|member| member.maps > 0)
                };
                if !shared.members.iter().any(maps) {
                    shared.cached = Cached::noted();
                }
            }
            self.superblocks.values_mut().for_each(|superblock| superblock.listed = false);
            for member in self.superblocks.values_mut().flat_map(|sb| sb.inodes.values_mut()) {
                // A mapping of a file that joined a key is one of the key's pages, not of its own.
                if member.maps == 0 || member.key.is_some() {
                    member.private = Cached::default();
                }
            }
        }
        if value & 2 != 0 {
            let mut idle = Vec::new();
            for (id, superblock) in &self.superblocks {
                for (file, member) in &superblock.inodes {
                    // A file with pages of its own is not on the list that is swept, nor is one that is open.
                    let in_use = member.opens > 0 || member.maps > 0;
                    if !in_use && member.private.resident().is_empty() {
                        idle.push((*id, *file));
                    }
                }
            }
            for (id, file) in idle {
                self.evict(id, file);
            }
        }
        Effect { added: 0, dropped: before.saturating_sub(self.resident()) }
    }

    /// A file leaves memory; its key goes with its last file, and the pages with the key.
    fn evict(&mut self, id: usize, file: FileIndex) {
        let member = self.superblocks.get_mut(&id).and_then(|sb| sb.inodes.remove(&file));
        let Some(key) = member.and_then(|member| member.key) else { return };
        if let Some(shared) = self.keys.get_mut(&key) {
            shared.members.retain(|other| *other != (id, file));
            if shared.members.is_empty() {
                self.keys.remove(&key);
            }
        }
    }

    /// All pages in memory.
    pub fn resident(&self) -> u64 {
        let shared = self.keys.values().map(|shared| shared.cached.resident().len());
        let members = self.superblocks.values().flat_map(|sb| sb.inodes.values());
        saturating_sum(shared.chain(members.map(|member| member.private.resident().len())))
    }

    /// The mount whose device is read for a page of this file that is missing: that of the file which joined
    /// last. The file's own where it shares with nobody.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn provider(&self, mount: &str, file: FileIndex) -> Result<Option<&str>, WorldError> {
        let id = self.superblock_of(mount)?;
        let member = self.superblocks.get(&id).and_then(|sb| sb.inodes.get(&file));
        let head = member
            .and_then(|member| member.key.as_ref())
            .and_then(|key| self.keys.get(key))
            .and_then(|shared| shared.members.front())
            .map_or(id, |head| head.0);
        Ok(self.name_of(head))
    }

    /// The pages that reads of a file use, those in memory: what `mincore` shows. Nothing if it was not
    /// looked up.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn pages_in_memory(&self, mount: &str, file: FileIndex) -> Result<Option<&PageSet>, WorldError> {
        let id = self.superblock_of(mount)?;
        let member = self.superblocks.get(&id).and_then(|sb| sb.inodes.get(&file));
        Ok(member.map(|member| {
            let shared = member.key.as_ref().and_then(|key| self.keys.get(key));
            shared.map_or(member.private.resident(), |shared| shared.cached.resident())
        }))
    }

    /// Whether a file is a member of a key.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn is_member(&self, mount: &str, file: FileIndex) -> Result<bool, WorldError> {
        let id = self.superblock_of(mount)?;
        let member = self.superblocks.get(&id).and_then(|sb| sb.inodes.get(&file));
        Ok(member.is_some_and(|member| member.key.is_some()))
    }

    /// What `mincore` (the pages that reads use) and `cachestat` (the file's own pages) show of a file, in
    /// pages.
    ///
    /// # Errors
    /// A mount that is not there.
    pub fn visible(&self, mount: &str, file: FileIndex) -> Result<(u64, u64), WorldError> {
        let id = self.superblock_of(mount)?;
        let Some(member) = self.superblocks.get(&id).and_then(|sb| sb.inodes.get(&file)) else {
            return Ok((0, 0));
        };
        let own = member.private.resident().len();
        let used = member.key.as_ref().and_then(|key| self.keys.get(key));
        Ok((used.map_or(own, |shared| shared.cached.resident().len()), own))
    }
}

/// Writes down what the pages that just came in were read from, for the pages of a key.
fn note_source<'f>(
    cached: &mut Cached,
    filled: Option<&mut Vec<(Range<u64>, Source<'f>)>>,
    source: Option<Source<'f>>,
    added: u64,
) {
    let (Some(filled), Some(source)) = (filled, source) else { return };
    if added == cached.resident().len() {
        // There was none before.
        filled.clear();
    }
    filled.extend(cached.take_fresh().into_iter().map(|pages| (pages, source)));
}

/// The key of a fingerprint in a domain (`erofs_xattr_fill_inode_fingerprint`).
pub(crate) fn key_of(kernel: KernelModel, domain: &str, value: &[u8]) -> Key {
    let delimiter: &[u8] = if kernel.delimited_key { b"\0" } else { b"" };
    [domain.as_bytes(), delimiter, value].concat()
}

/// The class of a file (`erofs_get_aops`).
pub fn class_of(compressed: bool, backend: Backend) -> Class {
    match backend {
        _ if compressed => Class::Compressed,
        Backend::Block | Backend::Loop | Backend::LoopBuffered | Backend::Verity => Class::PlainBlock,
        Backend::File | Backend::FileDirectio => Class::PlainFile,
    }
}

/// Whether a file cannot join a key that another one made (`erofs_ishare_fill_inode`).
fn conflict(shared: &Shared<'_>, class: Class, size: u64) -> Option<Reason> {
    if shared.class != class {
        return Some(Reason::OtherClass);
    }
    (shared.size != size).then_some(Reason::OtherSize)
}

/// Whether an access goes to the pages of the key (`erofs_ishare_fops`).
pub(crate) fn shares_pages(kernel: KernelModel, method: Method) -> bool {
    match method {
        Method::Read | Method::Mmap | Method::Exec | Method::Willneed => true,
        Method::Sendfile | Method::Splice | Method::CopyUp => kernel.shared_splice,
    }
}
