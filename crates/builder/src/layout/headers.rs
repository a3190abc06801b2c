//! What is in front of an inode's data: its form and its xattrs, and how long they are. Depends on the tree
//! and the options alone.

use erofs_format::datalayout::{DataLayout, flat};
use erofs_format::dirent::{self, BlockPlan};
use erofs_format::inode::{Version, compact_holds};
use erofs_format::units::INODE_SLOT_SIZE;
use erofs_format::{BlockBits, FormatError};
use erofs_tree::{Entry, Inode, InodeId, Kind, Timestamp, Tree};

use super::prefixes::Prefixes;
use super::xattrs::{self, Xattrs, carries_fingerprint};
use crate::error::BuildError;
use crate::options::{BuildOptions, FingerprintValue, InodeForm, LayoutOptions};

/// The least room for xattrs of the root that is not none: a header alone is refused by Linux.
const ROOT_XATTR_MIN: usize = erofs_format::xattr::HEADER_SIZE + erofs_format::xattr::ENTRY_SIZE;

/// Where the value of a fingerprint comes from, as far as its length goes.
#[derive(Debug, Clone)]
enum FingerprintLength {
    /// There are none.
    None,
    /// Each value has so many bytes.
    Fixed(usize),
    /// That of the source's own attribute of this name.
    Source(Vec<u8>),
}

/// As many bytes of the end of a file may follow its inode if it is stored as it is. Asked before the tree is
/// complete: neither whether xattrs will be shared nor which form the inode will have is known, so it is for
/// the longest header that the inode can get.
#[derive(Debug, Clone)]
pub(crate) struct TailRoom {
    block: u64,
    fingerprint: FingerprintLength,
    is_wanted: bool,
}

impl TailRoom {
    pub(crate) fn new(options: &BuildOptions) -> Self {
        let content = &options.content;
        // Linux 7.2 returns zeros instead of a tail after an inode where a file is read through shared pages
        // and blocks are smaller than a page, if whole blocks come before the tail.
        let is_shared = content.fingerprint.is_some() && content.block_bits < BlockBits::DEFAULT;
        Self {
            block: content.block_bits.size(),
            fingerprint: FingerprintLength::wanted(options),
            is_wanted: content.inline_data && !is_shared,
        }
    }

    /// The room after `inode`, a regular file with content: 0 to less than a block.
    pub(crate) fn of(&self, inode: &Inode) -> u32 {
        if !self.is_wanted {
            return 0;
        }
        let xattrs = xattrs::longest_body(inode, self.fingerprint.of(inode));
        let header = (Version::Extended.size() + xattrs) as u64;
        // A header that is longer than a block can be placed so that the tail begins right after a block's
        // start.
        let room = if header < self.block { self.block - header } else { self.block - INODE_SLOT_SIZE };
        u32::try_from(room.min(self.block - INODE_SLOT_SIZE)).unwrap_or(0)
    }
}

impl FingerprintLength {
    fn wanted(options: &BuildOptions) -> Self {
        match options.content.fingerprint.as_ref().map(|wanted| (&wanted.value, &wanted.key)) {
            Some((FingerprintValue::Computed { kind, .. }, _)) => {
                Self::Fixed(kind.tag.len() + kind.digest_len)
            }
            Some((FingerprintValue::Source, key)) => Self::Source(key.clone()),
            None => Self::None,
        }
    }
}

impl FingerprintLength {
    /// The length of the fingerprint that an inode will carry.
    fn of(&self, inode: &Inode) -> Option<usize> {
        if !carries_fingerprint(inode) {
            return None;
        }
        match self {
            Self::None => None,
            Self::Fixed(length) => Some(*length),
            Self::Source(key) => inode.xattr(key).map(<[u8]>::len),
        }
    }
}

/// The headers of all inodes of a tree.
#[derive(Debug)]
pub(crate) struct Headers<'t> {
    /// The tree that they are for.
    pub(crate) tree: &'t Tree,
    pub(crate) xattrs: Xattrs<'t>,
    pub(crate) block_bits: BlockBits,
    /// Time of compact inodes.
    pub(crate) epoch: Timestamp,
    pub(crate) has_metabox: bool,
    fingerprint: FingerprintLength,
    root_xattr_isize: usize,
    options: LayoutOptions,
}

impl<'t> Headers<'t> {
    pub(crate) fn new(tree: &'t Tree, options: &BuildOptions, prefixes: Prefixes) -> Self {
        let mut headers = Self {
            tree,
            xattrs: Xattrs::plan(tree, options, prefixes),
            block_bits: options.content.block_bits,
            epoch: Timestamp { sec: options.layout.build_time, nsec: 0 },
            has_metabox: options.layout.metabox.is_some(),
            fingerprint: FingerprintLength::wanted(options),
            root_xattr_isize: options.layout.root_xattr_isize as usize,
            options: options.layout.clone(),
        };
        headers.epoch = headers.choose_epoch();
        headers
    }

    /// The form of an inode, and the length of its xattrs in bytes.
    pub(crate) fn of(&self, id: InodeId) -> Result<(Version, usize), BuildError> {
        self.found(id).map_err(|cause| BuildError::at(&self.tree.path_of(id), cause))
    }

    fn found(&self, id: InodeId) -> Result<(Version, usize), FormatError> {
        let inode = &self.tree.inodes[id.index()];
        let version = self.version_of(inode)?;
        let mut xattr_size = self.xattrs.body_size(inode, self.fingerprint.of(inode))?;
        if id == self.tree.root && self.root_xattr_isize > xattr_size {
            xattr_size =
                self.root_xattr_isize.next_multiple_of(erofs_format::xattr::ALIGNMENT).max(ROOT_XATTR_MIN);
        }
        erofs_format::inode::xattr_icount(xattr_size)?;
        Ok((version, xattr_size))
    }

    /// Extension slots of the superblock: the one that holds the nid of the metabox.
    pub(crate) fn extslots(&self) -> u8 {
        u8::from(self.has_metabox)
    }

    /// How the data of an inode is laid out that is not a regular file with content, and how many bytes of it
    /// follow an inode with a header of so many bytes.
    pub(crate) fn inline(&self, inode: &Inode, header: u64) -> (DataLayout, u64) {
        let tail = flat::tail_len(self.size_of(inode), self.block_bits);
        let block = self.block_bits.size();
        let fits = header + tail <= block || (header > block && tail + INODE_SLOT_SIZE <= block);
        if tail != 0 && fits { (DataLayout::FlatInline, tail) } else { (DataLayout::FlatPlain, 0) }
    }

    /// The time that compact inodes have. It is the build time, unless a build time was given and another
    /// time, not later, would spare more extended inodes: then the superblock tells the build time as a
    /// distance from it.
    fn choose_epoch(&self) -> Timestamp {
        let build = Timestamp { sec: self.options.build_time, nsec: 0 };
        if self.options.ignore_mtime || self.options.inodes != InodeForm::ByNeed || build.sec <= 0 {
            return build;
        }
        let small = |inode: &&Inode| compact_holds(size_of_data(inode), inode.uid, inode.gid, inode.links);
        let mut times: Vec<Timestamp> =
            self.tree.inodes.iter().filter(small).map(|inode| inode.mtime).collect();
        times.sort_unstable();
        let reachable = |time: &Timestamp| {
            build.sec.checked_sub(time.sec).is_some_and(|distance| u32::try_from(distance).is_ok())
        };
        let groups = times.chunk_by(|a, b| a == b).filter(|group| reachable(&group[0]));
        // The first of the longest runs, so that the choice depends on the times alone.
        let best = groups.max_by(|a, b| a.len().cmp(&b.len()).then(b[0].cmp(&a[0])));
        best.map_or(build, |group| group[0])
    }

    /// Seconds from the epoch to the build time.
    pub(crate) fn build_time_delta(&self) -> u32 {
        // Every epoch that is chosen is this near.
        u32::try_from(self.options.build_time.saturating_sub(self.epoch.sec)).unwrap_or(0)
    }

    /// The blocks of a directory, `.` and `..` among its entries.
    pub(crate) fn directory_plan(&self, entries: &[Entry]) -> Vec<BlockPlan> {
        let names = super::dirs::names(entries, self.dot_omitted());
        dirent::plan_blocks(names.map(<[u8]>::len), self.block_bits.bytes())
    }

    /// The size that an inode states.
    pub(crate) fn size_of(&self, inode: &Inode) -> u64 {
        match &inode.kind {
            Kind::Directory { entries } => {
                dirent::directory_size(&self.directory_plan(entries), self.block_bits.bytes())
            }
            Kind::File { .. }
            | Kind::Symlink { .. }
            | Kind::CharDevice { .. }
            | Kind::BlockDevice { .. }
            | Kind::Fifo
            | Kind::Socket => size_of_data(inode),
        }
    }

    /// Whether directories have no entry for themselves.
    pub(crate) fn dot_omitted(&self) -> bool {
        self.options.dot_omitted
    }

    /// Whether directories are in the packed inode.
    pub(crate) fn packs_directories(&self) -> bool {
        self.options.pack_directories
    }

    fn version_of(&self, inode: &Inode) -> Result<Version, FormatError> {
        let holds = compact_holds(self.size_of(inode), inode.uid, inode.gid, inode.links);
        let timely = inode.mtime == self.epoch;
        let fits = holds && (timely || self.options.ignore_mtime);
        match self.options.inodes {
            InodeForm::ByNeed | InodeForm::Compact if fits => Ok(Version::Compact),
            InodeForm::ByNeed | InodeForm::Extended => Ok(Version::Extended),
            InodeForm::Compact => {
                let Inode { uid, gid, links, mtime, .. } = inode;
                let size = self.size_of(inode);
                let found = format!(
                    "size {size}, uid {uid}, gid {gid}, links {links}, mtime {}.{:09}",
                    mtime.sec, mtime.nsec
                );
                let limit = format!(
                    "sizes below 2^32, ids and links up to 65535, mtime {} in a compact inode",
                    self.epoch.sec
                );
                Err(FormatError::limit("forced compact inode", found, limit))
            }
        }
    }

    /// Whether fingerprints are wanted at all.
    pub(crate) fn wants_fingerprints(&self) -> bool {
        self.xattrs.fingerprint_prefix().is_some()
    }

    /// The fingerprint that the source gave an inode, in that mode.
    pub(crate) fn source_fingerprint(&self, id: InodeId) -> Option<&'t [u8]> {
        let FingerprintLength::Source(key) = &self.fingerprint else { return None };
        self.tree.inodes[id.index()].xattr(key)
    }
}

/// The size that an inode states, if directories are left out: those depend on the block size and on options.
fn size_of_data(inode: &Inode) -> u64 {
    match &inode.kind {
        Kind::File { size, .. } => *size,
        Kind::Symlink { target } => target.len() as u64,
        Kind::Directory { .. }
        | Kind::CharDevice { .. }
        | Kind::BlockDevice { .. }
        | Kind::Fifo
        | Kind::Socket => 0,
    }
}
