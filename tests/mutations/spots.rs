//! Where the fields of an image are: what a mutation needs to know to change one on purpose.

use std::sync::Arc;

use erofs_format::Nid;
use erofs_format::compression;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::ChunkFormat;
use erofs_format::device::SLOT_SIZE;
use erofs_format::extent::{Place, Stored};
use erofs_format::feature::{compat, incompat};
use erofs_format::inode::{COMPACT_SIZE, Version};
use erofs_format::superblock::{self, Superblock};
use erofs_format::xattr::{self, BodyHeader, EntryHead};
use erofs_format::xattr_prefix::START_UNIT;
use erofs_image::{Image, Inode, OpenOptions};

/// A part of an image on its primary device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// What it is; mutations choose the kind first, so that rare ones are as likely as common ones.
    pub(crate) kind: &'static str,
    /// Its first byte.
    pub(crate) at: usize,
    /// Its length in bytes.
    pub(crate) length: usize,
    /// A number of at most 8 bytes, as opposed to a run of bytes.
    pub(crate) number: bool,
}

/// Offsets and widths of the fields of the superblock behind its magic.
const SUPERBLOCK: [(usize, usize); 30] = [
    (4, 4),
    (8, 4),
    (12, 1),
    (13, 1),
    (14, 2),
    (16, 8),
    (24, 8),
    (32, 4),
    (36, 4),
    (40, 4),
    (44, 4),
    (64, 1),
    (79, 1),
    (80, 4),
    (84, 2),
    (86, 2),
    (88, 2),
    (90, 1),
    (91, 1),
    (92, 4),
    (96, 8),
    (104, 1),
    (105, 1),
    (106, 2),
    (108, 4),
    (112, 8),
    (120, 8),
    (128, 8),
    (136, 8),
    (48, 8),
];
const COMPACT: [(usize, usize); 11] =
    [(0, 2), (2, 2), (4, 2), (6, 2), (8, 4), (12, 4), (16, 4), (20, 4), (24, 2), (26, 2), (28, 4)];
const EXTENDED: [(usize, usize); 13] = [
    (0, 2),
    (2, 2),
    (4, 2),
    (6, 2),
    (8, 8),
    (16, 4),
    (20, 4),
    (24, 4),
    (28, 4),
    (32, 8),
    (40, 4),
    (44, 4),
    (48, 8),
];
/// How many bytes behind a map header are taken for its index.
const INDEX_MAX: usize = 512;

struct Finder<'a> {
    bytes: &'a [u8],
    image: Image,
    /// Where the metabox is on the primary device, if it is there in one piece.
    metabox: Option<usize>,
    spots: Vec<Spot>,
}

/// The spots of an image.
pub(crate) fn of(bytes: &[u8], device: Option<&[u8]>) -> Vec<Spot> {
    let extra: Vec<Arc<dyn erofs_image::ReadAt>> = device
        .into_iter()
        .map(|bytes| -> Arc<dyn erofs_image::ReadAt> { Arc::new(bytes.to_vec()) })
        .collect();
    let image = Image::open(Arc::new(bytes.to_vec()), extra, &OpenOptions::default()).unwrap();
    let mut finder = Finder { bytes, image, metabox: None, spots: Vec::new() };
    finder.metabox = finder.metabox_start();
    finder.all();
    finder.spots.retain(|spot| spot.length > 0 && spot.at + spot.length <= bytes.len());
    finder.spots
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

impl Finder<'_> {
    fn superblock(&self) -> Superblock {
        self.image.superblock().clone()
    }

    fn metabox_start(&self) -> Option<usize> {
        let superblock = self.superblock();
        if superblock.incompat & incompat::METABOX == 0 {
            return None;
        }
        let inode = self.image.inode(superblock.metabox_nid).unwrap();
        let extent = self.image.data(&inode).unwrap().map(0).unwrap();
        match extent.place {
            Place::Device { byte, .. } if extent.length == inode.size() => Some(size(byte)),
            Place::Hole | Place::Encoded(_) | Place::Device { .. } | Place::Inline { .. } => None,
        }
    }

    fn add(&mut self, kind: &'static str, at: usize, length: usize, number: bool) {
        self.spots.push(Spot { kind, at, length, number });
    }

    fn numbers(&mut self, kind: &'static str, at: usize, fields: &[(usize, usize)]) {
        for (offset, width) in fields {
            self.add(kind, at + offset, *width, true);
        }
    }

    /// Where the metadata space of an inode starts.
    fn base(&self, nid: Nid) -> Option<usize> {
        if nid.in_metabox() {
            return self.metabox;
        }
        let superblock = self.image.superblock();
        Some(size(u64::from(superblock.meta_blkaddr) * superblock.block_bits.size()))
    }

    fn all(&mut self) {
        let superblock = self.superblock();
        let start = size(superblock::OFFSET);
        let fields: Vec<_> = SUPERBLOCK
            .into_iter()
            .filter(|(offset, _)| *offset < superblock::record_size(superblock.extslots))
            .collect();
        self.numbers("superblock", start, &fields);
        if superblock.incompat & incompat::COMPR_CFGS != 0 {
            let at = size(compression::records_at(superblock.extslots));
            self.add("compression configuration", at, 40, false);
        }
        if superblock.incompat & incompat::DEVICE_TABLE != 0 && superblock.extra_devices > 0 {
            let at = usize::from(superblock.devt_slotoff) * SLOT_SIZE;
            self.numbers("device slot", at, &[(0, 1), (64, 4), (68, 4), (72, 2), (74, 2)]);
        }
        self.prefixes(&superblock);
        let mut inodes: Vec<Inode> = Vec::new();
        if superblock.incompat & incompat::METABOX != 0 {
            inodes.push(self.image.inode(superblock.metabox_nid).unwrap());
        }
        if superblock.incompat & incompat::FRAGMENTS != 0 && superblock.packed_nid != Nid(0) {
            inodes.push(self.image.inode(superblock.packed_nid).unwrap());
        }
        let steps = self.image.walk_all().unwrap().map(Result::unwrap);
        inodes.extend(steps.filter(|step| step.first).map(|step| step.inode));
        for inode in inodes {
            self.inode(&inode);
        }
    }

    fn prefixes(&mut self, superblock: &Superblock) {
        if superblock.xattr_prefix_count == 0 {
            return;
        }
        let at = size(u64::from(superblock.xattr_prefix_start) * START_UNIT);
        let special = superblock.incompat & (incompat::METABOX | incompat::FRAGMENTS) != 0;
        let base =
            if superblock.compat & compat::PLAIN_XATTR_PFX != 0 || !special { Some(0) } else { self.metabox };
        if let Some(base) = base {
            self.add("long prefix", base + at, 2, true);
            self.add("long prefix", base + at + 2, 1, true);
            self.add("long prefix", base + at + 3, 20, false);
        }
    }

    fn inode(&mut self, inode: &Inode) {
        self.data(inode);
        let Some(base) = self.base(inode.nid) else { return };
        let at = base + size(inode.nid.byte().unwrap());
        let compact = inode.record.version == Version::Compact;
        self.numbers("inode", at, if compact { &COMPACT } else { &EXTENDED });
        let kind = if inode.is_dir() { "inode of a directory" } else { "inode of a file" };
        self.numbers(kind, at, &[(0, 2), (2, 2), (4, 2), (6, 2), (8, 4), (16, 4)]);
        let body = at + inode.record.version.size().max(COMPACT_SIZE);
        let end = at + inode.record.header_size();
        if body < end {
            self.xattrs(body, end);
        }
        if inode.layout() == DataLayout::ChunkBased && inode.has_data() {
            self.chunks(inode, base, end);
        } else if inode.layout().is_compressed() && inode.size() > 0 {
            self.index(inode, base, end);
        }
    }

    /// The table of chunks behind byte `end` of the device; `base` is where its space starts.
    fn chunks(&mut self, inode: &Inode, base: usize, end: usize) {
        let format = ChunkFormat::decode(inode.record.i_u, 0).unwrap();
        let unit = format.entry_size();
        let table = (end - base).next_multiple_of(unit) + base;
        let count = size(format.chunks(inode.size(), self.image.superblock().block_bits));
        for entry in (0..count).map(|index| table + index * unit) {
            if unit == 4 {
                self.add("chunk entry", entry, 4, true);
            } else {
                self.numbers("chunk entry", entry, &[(0, 2), (2, 2), (4, 4)]);
            }
        }
    }

    /// The map header and the index in the same way.
    fn index(&mut self, inode: &Inode, base: usize, end: usize) {
        let header = (end - base).next_multiple_of(8) + base;
        self.numbers("map header", header, &[(0, 4), (0, 2), (4, 2), (6, 1), (7, 1)]);
        let blocks = size(self.image.superblock().block_bits.blocks_ceil(inode.size()));
        let length = (blocks * 8 + 16).min(INDEX_MAX);
        for at in (header + 8..header + 8 + length).step_by(4) {
            self.numbers("index", at, &[(0, 4), (0, 2), (2, 2)]);
        }
    }

    fn xattrs(&mut self, body: usize, end: usize) {
        self.numbers("xattr header", body, &[(0, 4), (4, 1), (5, 1)]);
        let header = BodyHeader::decode(&self.bytes[body..end], 0).unwrap();
        let ids = body + xattr::HEADER_SIZE;
        let mut at = ids + usize::from(header.shared_count) * xattr::SHARED_ID_SIZE;
        for id in (ids..at).step_by(xattr::SHARED_ID_SIZE) {
            self.add("shared xattr id", id, 4, true);
            self.shared(id);
        }
        while at < end {
            at += self.entry("xattr entry", at);
        }
    }

    /// The entry that a shared id leads to.
    fn shared(&mut self, id: usize) {
        let superblock = self.superblock();
        let id = xattr::decode_shared_id(&self.bytes[id..], 0).unwrap();
        let in_metabox = superblock.compat & compat::SHARED_EA_IN_METABOX != 0;
        let base = if in_metabox { self.metabox } else { Some(0) };
        let area = size(u64::from(superblock.xattr_blkaddr) * superblock.block_bits.size());
        if let Some(base) = base {
            self.entry("shared xattr entry", base + area + size(u64::from(id)) * 4);
        }
    }

    fn entry(&mut self, kind: &'static str, at: usize) -> usize {
        let head = EntryHead::decode(&self.bytes[at..], 0).unwrap();
        self.numbers(kind, at, &[(0, 1), (1, 1), (2, 2)]);
        self.add(kind, at + 4, head.name_len, false);
        let is_acl = matches!(head.name_index, xattr::INDEX_ACL_ACCESS | xattr::INDEX_ACL_DEFAULT);
        let value = at + 4 + head.name_len;
        self.add(if is_acl { "ACL" } else { "xattr value" }, value, head.value_len, false);
        xattr::padded_size(head.name_len, head.value_len)
    }

    /// The bytes of a file, and the entries of a directory.
    fn data(&mut self, inode: &Inode) {
        if !inode.has_data() || inode.size() == 0 {
            return;
        }
        let data = self.image.data(inode).unwrap();
        let base = self.base(inode.nid);
        let mut offset = 0;
        while offset < data.len() {
            let extent = data.map(offset).unwrap();
            let length = size(extent.length);
            match extent.place {
                Place::Device { device: 0, byte } => self.add("data", size(byte), length, false),
                Place::Inline { byte } => {
                    if let Some(start) = base.map(|_| self.inline(inode.nid, byte)) {
                        self.add("inline data", start, length, false);
                    }
                }
                Place::Encoded(Stored::Pcluster { byte, length }) => {
                    self.add("compressed bytes", size(byte), size(u64::from(length)), false);
                }
                Place::Encoded(Stored::Inline { byte, length }) if base.is_some() => {
                    let start = self.inline(inode.nid, byte);
                    self.add("compressed tail", start, usize::from(length), false);
                }
                Place::Hole | Place::Encoded(_) | Place::Device { .. } => {}
            }
            offset = extent.start + extent.length;
        }
        if inode.is_dir() && !inode.layout().is_compressed() {
            self.entries(inode);
        }
    }

    /// A byte of the space of an inode on the primary device.
    fn inline(&self, nid: Nid, byte: u64) -> usize {
        let start = if nid.in_metabox() { self.metabox.unwrap_or(0) } else { 0 };
        start + size(byte)
    }

    fn entries(&mut self, inode: &Inode) {
        let data = self.image.data(inode).unwrap();
        let block = self.image.superblock().block_bits.size();
        for start in (0..data.len()).step_by(size(block)) {
            let mut first = [0; 12];
            data.read_range(start, &mut first).unwrap();
            let count = u64::from(u16::from_le_bytes([first[8], first[9]]) / 12);
            for index in 0..count {
                let extent = data.map(start + index * 12).unwrap();
                let skip = start + index * 12 - extent.start;
                let at = match extent.place {
                    Place::Device { device: 0, byte } => size(byte + skip),
                    Place::Inline { byte } if self.base(inode.nid).is_some() => {
                        self.inline(inode.nid, byte + skip)
                    }
                    Place::Hole | Place::Encoded(_) | Place::Device { .. } | Place::Inline { .. } => continue,
                };
                self.numbers("directory entry", at, &[(0, 8), (8, 2), (10, 1), (11, 1)]);
                self.add("nid of an entry", at, 2, true);
                self.add("type of an entry", at + 10, 1, true);
            }
        }
    }
}
