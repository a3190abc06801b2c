//! The plan of an image: where every inode, every directory block and the data area will be, before any content is
//! read. Sizes are known from the scan, so the plan is pure: tree and options in, places out.

use erofs_format::datalayout::{DataLayout, chunk::ChunkFormat, flat};
use erofs_format::dirent::{self, BlockPlan};
use erofs_format::inode::{Version, compact_holds};
use erofs_format::units::INODE_SLOT_SIZE;
use erofs_format::{BlockBits, FormatError, Nid, compression};
use erofs_tree::{Entry, Inode, InodeId, Kind, Timestamp, Tree};

use super::foreign::OwnerAndTime;
use super::order::{Step, steps};
use super::xattrs::{Xattrs, carries_fingerprint};
use super::zone::Zone;
use crate::error::BuildError;
use crate::options::{BuildOptions, ChunkTable, FingerprintValue, InodeForm, LayoutOptions};

/// The least room for xattrs of the root that is not none: a header alone is refused by Linux.
const ROOT_XATTR_MIN: usize = erofs_format::xattr::HEADER_SIZE + erofs_format::xattr::ENTRY_SIZE;

/// What a map header's place is a multiple of.
const MAP_ALIGNMENT: u64 = erofs_format::map_header::SIZE as u64;

/// Where and how one inode is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    /// First byte of the inode.
    pub(crate) at: u64,
    /// Length of its xattrs in bytes.
    pub(crate) xattr_size: u32,
    /// Bytes behind inode and xattrs that were reserved: the inline tail or the chunk table.
    pub(crate) reserved: u32,
    /// Compact or extended.
    pub(crate) version: Version,
    /// How the data is laid out, if the content does not ask for chunks.
    pub(crate) layout: DataLayout,
    /// First block of a directory or long symlink that has whole blocks in the metadata area.
    pub(crate) blocks_at: u64,
    /// Serial number from 1, in layout order, for 32-bit `stat`.
    pub(crate) serial: u32,
}

impl Placed {
    /// Length of inode and xattrs.
    pub(crate) fn header_size(&self) -> u64 {
        u64::from(self.xattr_size) + self.version.size() as u64
    }
}

/// How the content of a file is stored, where that is known before its inode has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The data layout.
    pub(crate) layout: DataLayout,
    /// Bytes from the map header on: index or records.
    pub(crate) table: u32,
    /// Bytes behind them, which must end in the block in which they start.
    pub(crate) tail: u32,
}

/// A directory that is a fragment, of which the map header tells the place (`z_erofs_fill_inode`).
const PACKED_DIRECTORY: Shape = Shape { layout: DataLayout::CompressedFull, table: 8, tail: 0 };
const _: () = assert!(erofs_format::map_header::SIZE == 8);

/// The plan of an image.
#[derive(Debug)]
pub(crate) struct Plan<'t> {
    /// The tree it is for.
    pub(crate) tree: &'t Tree,
    /// One place for each inode of the tree.
    pub(crate) placed: Vec<Placed>,
    /// Inodes in the order in which they are laid out.
    pub(crate) order: Vec<InodeId>,
    /// The xattrs.
    pub(crate) xattrs: Xattrs<'t>,
    /// Block size.
    pub(crate) block_bits: BlockBits,
    /// Time of compact inodes.
    pub(crate) epoch: Timestamp,
    /// First byte of the data area, at a block.
    pub(crate) data_at: u64,
    /// The byte from which nids and shared xattrs count, at a block: the metadata area of an image whose data stands
    /// in front of it, else 0.
    pub(crate) meta_at: u64,
    /// Whether inodes stand in the metabox: then their places count from its first byte.
    pub(crate) has_metabox: bool,
    /// First byte behind the inodes, at a block.
    pub(crate) inodes_end: u64,
    /// The packed inode, where there is one: its place and size.
    pub(crate) packed: Option<(Placed, u64)>,
    /// The block of the unified address space at which the one extra device starts, where there is one.
    pub(crate) device_at: Option<u32>,
    /// The table of long xattr prefixes and where it starts.
    pub(crate) prefix_table: (u64, Vec<u8>),
    /// The form of chunk tables where chunks are wanted for every file.
    pub(crate) chunk_format: Option<ChunkFormat>,
    /// The length of each fingerprint's value; `None` if they come from the source or are not wanted.
    fingerprint_len: Option<usize>,
    fingerprint_from_source: Option<Vec<u8>>,
    root_xattr_isize: usize,
    options: LayoutOptions,
    inline_data: bool,
}

impl<'t> Plan<'t> {
    /// Plans the image of a tree whose contents stand behind its metadata.
    pub(crate) fn new(
        tree: &'t Tree,
        options: &BuildOptions,
        configurations: u64,
    ) -> Result<Self, BuildError> {
        let mut plan = Self::prepare(tree, options)?;
        let mut zone = plan.front(configurations)?;
        plan.lay_out(&mut zone, None)?;
        plan.data_at = zone.end();
        Ok(plan)
    }

    /// Everything that does not depend on places.
    pub(crate) fn prepare(tree: &'t Tree, options: &BuildOptions) -> Result<Self, BuildError> {
        let block_bits = options.content.block_bits;
        let mut plan = Self {
            tree,
            placed: Vec::with_capacity(tree.inodes.len()),
            order: Vec::with_capacity(tree.inodes.len()),
            xattrs: Xattrs::plan(tree, options)?,
            block_bits,
            epoch: Timestamp { sec: options.layout.build_time, nsec: 0 },
            data_at: 0,
            meta_at: 0,
            has_metabox: options.layout.metabox.is_some(),
            inodes_end: 0,
            packed: None,
            device_at: None,
            prefix_table: (0, Vec::new()),
            chunk_format: options.content.chunks.map(|chunks| ChunkFormat {
                blkbits: chunks.bits - block_bits.bits(),
                indexes: options.layout.chunk_table == ChunkTable::Indexes,
                wide: false,
            }),
            fingerprint_len: None,
            fingerprint_from_source: None,
            root_xattr_isize: options.layout.root_xattr_isize as usize,
            options: options.layout.clone(),
            // Linux 7.2 shows zeros instead of a tail behind an inode to those who read a file through shared pages,
            // where blocks are smaller than a page and whole blocks stand before the tail.
            inline_data: options.content.inline_data
                && (options.content.fingerprint.is_none() || block_bits >= BlockBits::DEFAULT),
        };
        match options.content.fingerprint.as_ref().map(|wanted| (&wanted.value, &wanted.key)) {
            Some((FingerprintValue::Computed { kind, .. }, _)) => {
                plan.fingerprint_len = Some(kind.tag.len() + kind.digest_len);
            }
            Some((FingerprintValue::Source, key)) => plan.fingerprint_from_source = Some(key.clone()),
            None => {}
        }
        plan.epoch = plan.choose_epoch();
        Ok(plan)
    }

    /// Plans what stands in front of data and metadata: the superblock, `configurations` bytes of compression
    /// configurations behind it, and the table of long prefixes.
    pub(crate) fn front(&mut self, configurations: u64) -> Result<Zone, BuildError> {
        let start = compression::records_at(self.extslots()) + configurations;
        let mut zone = Zone::new(self.block_bits, start);
        let table = self.xattrs.prefix_table()?;
        let table_at = zone.append(table.len() as u64);
        self.prefix_table = (table_at, table);
        Ok(zone)
    }

    /// Extension slots of the superblock: the one that holds the nid of the metabox.
    pub(crate) fn extslots(&self) -> u8 {
        u8::from(self.has_metabox)
    }

    /// The nid of the inode of a file at byte `at`.
    pub(crate) fn nid(&self, at: u64) -> Result<Nid, FormatError> {
        if self.has_metabox {
            return Nid::at_byte(at).map(|nid| Nid(nid.0 | Nid::METABOX_BIT));
        }
        Nid::at_byte(at - self.meta_at)
    }

    /// Plans the metadata behind the data, which ends at byte `end`. `shapes` has one entry per inode, for regular
    /// files with content; `packed` is for the packed inode, of so many bytes, which has no place yet where there is a
    /// metabox.
    pub(crate) fn behind(
        &mut self,
        end: u64,
        shapes: &[Option<Shape>],
        packed: Option<(Shape, u64)>,
    ) -> Result<u64, BuildError> {
        self.meta_at = end.next_multiple_of(self.block_bits.size());
        // Nid 0 stays unused: it would be inode number 0, whose name readdir(3) does not return.
        let mut zone = Zone::new(self.block_bits, self.meta_at + INODE_SLOT_SIZE);
        self.lay_out(&mut zone, Some(shapes))?;
        if let Some((shape, size)) = packed.filter(|_| !self.has_metabox) {
            self.packed = Some((self.place_nameless(&shape, 1, &mut zone)?, size));
        }
        Ok(zone.end())
    }

    /// Gives an inode without a name, the `number`th of the image, a place outside the metabox.
    pub(crate) fn place_nameless(
        &self,
        shape: &Shape,
        number: usize,
        zone: &mut Zone,
    ) -> Result<Placed, FormatError> {
        let placed = self.place_shape(Version::Extended.size() as u64, shape, OwnerAndTime::NONE, zone)?;
        let serial = u32::try_from(self.order.len() + number).unwrap_or(u32::MAX);
        Ok(Placed { serial, ..placed })
    }

    /// The time that compact inodes have. It is the build time, unless a build time was given and another time, not
    /// later, would spare more extended inodes: then the superblock tells the build time as a distance from it.
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

    /// Gives everything a place in `zone`, or, where there is a metabox, inodes in there and only blocks in `zone`.
    fn lay_out(&mut self, zone: &mut Zone, shapes: Option<&[Option<Shape>]>) -> Result<(), BuildError> {
        if self.has_metabox {
            let mut inodes = Zone::new(self.block_bits, 0);
            self.lay_out_in(&mut inodes, Some(zone), shapes)?;
            self.inodes_end = inodes.end();
        } else {
            self.lay_out_in(zone, None, shapes)?;
            self.inodes_end = zone.end();
        }
        Ok(())
    }

    fn lay_out_in(
        &mut self,
        zone: &mut Zone,
        mut blocks: Option<&mut Zone>,
        shapes: Option<&[Option<Shape>]>,
    ) -> Result<(), BuildError> {
        let nowhere = Placed {
            at: 0,
            xattr_size: 0,
            reserved: 0,
            version: Version::Extended,
            layout: DataLayout::FlatPlain,
            blocks_at: 0,
            serial: 0,
        };
        self.placed = vec![nowhere; self.tree.inodes.len()];
        for step in steps(self.tree) {
            match step {
                Step::Inode(id) => {
                    let shape = shapes.and_then(|shapes| shapes.get(id.index()).copied().flatten());
                    let is_directory = self.tree.inodes[id.index()].is_directory();
                    let packed = (self.packs_directories() && is_directory).then_some(PACKED_DIRECTORY);
                    let shape = shape.or(packed);
                    let mut placed =
                        self.place_inode(id, shape, zone).map_err(|cause| self.at_path(id, cause))?;
                    let whole = self.blocks_of_link(id, placed.reserved);
                    if whole != 0 {
                        placed.blocks_at = blocks.as_deref_mut().unwrap_or(zone).place_blocks(whole);
                    }
                    self.placed[id.index()] = placed;
                    self.order.push(id);
                }
                Step::Blocks(id) => {
                    self.place_directory_blocks(id, blocks.as_deref_mut().unwrap_or(zone));
                }
            }
            if self.order.len() == 1 && self.xattrs.shared_at() == 0 {
                // Right behind the root, whose nid must stay small.
                let size = self.xattrs.shared_area().len() as u64;
                let at = zone.append(size);
                self.xattrs.set_shared_at(at, if self.has_metabox { 0 } else { self.meta_at });
            }
        }
        Ok(())
    }

    fn at_path(&self, id: InodeId, cause: FormatError) -> BuildError {
        BuildError::at(&self.tree.path_of(id), cause)
    }

    /// The inodes in the order in which they will be laid out.
    pub(crate) fn walk(&self) -> Vec<InodeId> {
        steps(self.tree)
            .into_iter()
            .filter_map(|step| match step {
                Step::Inode(id) => Some(id),
                Step::Blocks(_) => None,
            })
            .collect()
    }

    /// The length of an inode with its xattrs.
    fn header_of(&self, id: InodeId) -> Result<(Version, usize), FormatError> {
        let inode = &self.tree.inodes[id.index()];
        let version = self.version_of(inode)?;
        let mut xattr_size = self.xattrs.body_size(inode, self.fingerprint_size(inode))?;
        if id == self.tree.root && self.root_xattr_isize > xattr_size {
            xattr_size =
                self.root_xattr_isize.next_multiple_of(erofs_format::xattr::ALIGNMENT).max(ROOT_XATTR_MIN);
        }
        erofs_format::inode::xattr_icount(xattr_size)?;
        Ok((version, xattr_size))
    }

    /// Where what follows an inode and its xattrs starts, counted from the inode, and how many bytes of the end of a
    /// file that is stored as it is stand there.
    pub(crate) fn behind_header(&self, id: InodeId) -> Result<(u64, usize), BuildError> {
        let (version, xattr_size) = self.header_of(id).map_err(|cause| self.at_path(id, cause))?;
        let header = (version.size() + xattr_size) as u64;
        let (_, tail) = self.shape_of_data(&self.tree.inodes[id.index()], header);
        Ok((header, usize::try_from(tail).unwrap_or(0)))
    }

    fn place_inode(&self, id: InodeId, shape: Option<Shape>, zone: &mut Zone) -> Result<Placed, FormatError> {
        let inode = &self.tree.inodes[id.index()];
        let (version, xattr_size) = self.header_of(id)?;
        let header = (version.size() + xattr_size) as u64;
        let serial = u32::try_from(self.order.len() + 1)
            .map_err(|_| FormatError::limit("number of inodes", self.order.len(), "fewer than 2^32"))?;
        let xattr_size = u32::try_from(xattr_size).unwrap_or(u32::MAX);
        let fields = if self.has_metabox { OwnerAndTime::NONE } else { OwnerAndTime::of(inode, version) };
        if let Some(shape) = shape {
            let placed = self.place_shape(header, &shape, fields, zone)?;
            return Ok(Placed { xattr_size, version, serial, ..placed });
        }
        let (layout, reserved) = self.shape_of_data(inode, header);
        let mut placed = Placed {
            at: 0,
            xattr_size,
            reserved: u32::try_from(reserved).map_err(|_| {
                FormatError::limit("chunk table of a file", reserved, "fewer than 2^32 bytes")
            })?,
            version,
            layout,
            blocks_at: 0,
            serial,
        };
        let inline = layout == DataLayout::FlatInline && header > self.block_bits.size();
        placed.at = fields.first_clear(|| {
            if inline { zone.place_long(header, reserved, false) } else { zone.place(header + reserved) }
        });
        Ok(placed)
    }

    /// Whole blocks of a long symlink that has `reserved` bytes behind its inode; 0 for anything else.
    fn blocks_of_link(&self, id: InodeId, reserved: u32) -> u64 {
        let Kind::Symlink { target } = &self.tree.inodes[id.index()].kind else { return 0 };
        self.block_bits.blocks_ceil(target.len() as u64 - u64::from(reserved))
    }

    /// A place for an inode of `header` bytes, xattrs included, with what its shape asks for.
    fn place_shape(
        &self,
        header: u64,
        shape: &Shape,
        fields: OwnerAndTime,
        zone: &mut Zone,
    ) -> Result<Placed, FormatError> {
        let table = u64::from(shape.table);
        // Inodes stand on multiples of 32, so what aligns the map header is the length in front of it alone.
        let front = if table == 0 { header } else { header.next_multiple_of(MAP_ALIGNMENT) + table };
        let tail = u64::from(shape.tail);
        let long = tail != 0 && front + tail > self.block_bits.size();
        // Linux takes a pcluster behind an inode for damaged that starts one block into a page, where pages are larger than
        // blocks (`z_erofs_fixup_insize` gets 0 bytes to look at; 6.18 and 7.2).
        let apart = shape.layout.is_compressed();
        let at = fields.first_clear(|| {
            if long { zone.place_long(front, tail, apart) } else { zone.place(front + tail) }
        });
        let reserved = front + tail - header;
        Ok(Placed {
            at,
            xattr_size: 0,
            reserved: u32::try_from(reserved)
                .map_err(|_| FormatError::limit("index of a file", reserved, "fewer than 2^32 bytes"))?,
            version: Version::Extended,
            layout: shape.layout,
            blocks_at: 0,
            serial: 0,
        })
    }

    fn place_directory_blocks(&mut self, id: InodeId, zone: &mut Zone) {
        if self.packs_directories() {
            return;
        }
        let plan = self.directory_plan(self.tree.inodes[id.index()].entries());
        let inline = self.placed[id.index()].layout == DataLayout::FlatInline;
        let whole = plan.len() - usize::from(inline);
        if whole != 0 {
            self.placed[id.index()].blocks_at = zone.place_blocks(whole as u64);
        }
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

    /// How data is laid out, and how many bytes it needs behind inode and xattrs.
    fn shape_of_data(&self, inode: &Inode, header: u64) -> (DataLayout, u64) {
        let size = self.size_of(inode);
        if let (Kind::File { size, .. }, Some(format)) = (&inode.kind, self.chunk_format)
            && *size != 0
        {
            let entry = format.entry_size() as u64;
            // A table must start at a multiple of its entries; inodes start at multiples of 32, so this does not move.
            let pad = header.next_multiple_of(entry) - header;
            return (DataLayout::ChunkBased, pad + format.chunks(*size, self.block_bits) * entry);
        }
        let tail = flat::tail_len(size, self.block_bits);
        let wanted = self.inline_data || !matches!(inode.kind, Kind::File { .. });
        // A header that is longer than a block can be placed so that the tail begins right behind a block's start.
        let block = self.block_bits.size();
        let fits = header + tail <= block || (header > block && tail + INODE_SLOT_SIZE <= block);
        if tail != 0 && wanted && fits { (DataLayout::FlatInline, tail) } else { (DataLayout::FlatPlain, 0) }
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
                    "size {size}, uid {uid}, gid {gid}, {links} links, mtime {}.{:09}",
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

    /// The length of the fingerprint that an inode will carry.
    fn fingerprint_size(&self, inode: &Inode) -> Option<usize> {
        if !carries_fingerprint(inode) {
            return None;
        }
        match &self.fingerprint_from_source {
            Some(key) => inode.xattr(key).map(<[u8]>::len),
            None => self.fingerprint_len,
        }
    }

    /// Whether chunk tables have 8-byte indexes even where a block map would do.
    pub(crate) fn forces_chunk_indexes(&self) -> bool {
        self.options.chunk_table == ChunkTable::Indexes
    }

    /// Whether fingerprints are wanted at all.
    pub(crate) fn wants_fingerprints(&self) -> bool {
        self.xattrs.fingerprint_prefix().is_some()
    }

    /// The fingerprint that the source gave an inode, in that mode.
    pub(crate) fn source_fingerprint(&self, id: InodeId) -> Result<Option<&'t [u8]>, BuildError> {
        let Some(key) = &self.fingerprint_from_source else { return Ok(None) };
        let value = self.tree.inodes[id.index()].xattr(key).unwrap_or_default();
        if value.is_empty() || value.len() as u64 > self.block_bits.size() {
            return Err(BuildError::SourceFingerprint {
                path: crate::error::shown(&self.tree.path_of(id)),
                name: String::from_utf8_lossy(key).into_owned(),
                found: value.len(),
                want: self.block_bits.size(),
            });
        }
        Ok(Some(value))
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
