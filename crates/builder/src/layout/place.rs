//! Where inodes and directories will be: behind the data, in the order of a walk. Pure: headers and shapes
//! in, places out.

use erofs_format::datalayout::DataLayout;
use erofs_format::inode::Version;
use erofs_format::units::INODE_SLOT_SIZE;
use erofs_format::{FormatError, Nid};
use erofs_tree::{InodeId, Kind};

use super::foreign::OwnerAndTime;
use super::headers::Headers;
use super::order::{Step, steps};
use super::zone::Zone;
use crate::error::BuildError;

/// What a map header's place is a multiple of.
const MAP_ALIGNMENT: u64 = erofs_format::map_header::SIZE as u64;

/// Where and how one inode is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    /// First byte of the inode.
    pub(crate) at: u64,
    /// Length of its xattrs in bytes.
    pub(crate) xattr_size: u32,
    /// Bytes behind inode and xattrs: a table, a tail, or both.
    pub(crate) reserved: u32,
    /// Compact or extended.
    pub(crate) version: Version,
    /// How the data is laid out.
    pub(crate) layout: DataLayout,
    /// First block of a directory or long symlink that has whole blocks in the metadata area.
    pub(crate) blocks_at: u64,
    /// Serial number from 1, in layout order, for 32-bit `stat`.
    pub(crate) serial: u32,
}

impl Placed {
    const NOWHERE: Self = Self {
        at: 0,
        xattr_size: 0,
        reserved: 0,
        version: Version::Extended,
        layout: DataLayout::FlatPlain,
        blocks_at: 0,
        serial: 0,
    };

    /// Length of inode and xattrs.
    pub(crate) fn header_size(&self) -> u64 {
        u64::from(self.xattr_size) + self.version.size() as u64
    }
}

/// How the content of a file is stored, as far as its inode needs room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The data layout.
    pub(crate) layout: DataLayout,
    /// Bytes of the table: from the map header on, or of chunks.
    pub(crate) table: u32,
    /// Bytes behind it, which must end in the block in which they start.
    pub(crate) tail: u32,
}

/// A directory that is a fragment, of which the map header gives the place (`z_erofs_fill_inode`).
const PACKED_DIRECTORY: Shape = Shape { layout: DataLayout::CompressedFull, table: 8, tail: 0 };
const _: () = assert!(erofs_format::map_header::SIZE == 8);

/// The places of all inodes of a tree.
#[derive(Debug)]
pub(crate) struct Layout<'t> {
    pub(crate) headers: Headers<'t>,
    /// One place for each inode of the tree.
    pub(crate) placed: Vec<Placed>,
    /// Inodes in the order in which they are laid out.
    pub(crate) order: Vec<InodeId>,
    /// The byte from which nids and shared xattrs count, at a block.
    pub(crate) meta_at: u64,
    /// Without a metabox, the first byte behind the metadata; with one, the first byte behind the inodes,
    /// counted from the start of the metabox. At a block.
    pub(crate) inodes_end: u64,
    /// First byte behind what is in the image itself, at a block.
    pub(crate) end: u64,
}

impl<'t> Layout<'t> {
    /// Places the metadata of a tree behind the data, which ends at byte `data_end`. `shapes` has one entry
    /// for each inode, for regular files with content.
    pub(crate) fn new(
        headers: Headers<'t>,
        shapes: &[Option<Shape>],
        data_end: u64,
    ) -> Result<Self, BuildError> {
        let block_bits = headers.block_bits;
        let inodes = headers.tree.inodes.len();
        let meta_at = data_end.next_multiple_of(block_bits.size());
        let mut layout = Self {
            placed: vec![Placed::NOWHERE; inodes],
            order: Vec::with_capacity(inodes),
            meta_at,
            inodes_end: 0,
            end: 0,
            headers,
        };
        if layout.headers.has_metabox {
            let (mut inodes, mut blocks) = (Zone::new(block_bits, 0), Zone::new(block_bits, meta_at));
            layout.place(&mut inodes, Some(&mut blocks), shapes)?;
            (layout.inodes_end, layout.end) = (inodes.end(), blocks.end());
        } else {
            // Nid 0 stays unused: it would be inode number 0, whose name readdir(3) does not return.
            let mut zone = Zone::new(block_bits, meta_at + INODE_SLOT_SIZE);
            layout.place(&mut zone, None, shapes)?;
            (layout.inodes_end, layout.end) = (zone.end(), zone.end());
        }
        Ok(layout)
    }

    /// The nid of the inode of a file at byte `at`.
    pub(crate) fn nid(&self, at: u64) -> Result<Nid, FormatError> {
        if self.headers.has_metabox {
            return Nid::at_byte(at).map(|nid| Nid(nid.0 | Nid::METABOX_BIT));
        }
        Nid::at_byte(at - self.meta_at)
    }

    /// The nid of an inode of the tree.
    pub(crate) fn nid_of(&self, id: InodeId) -> Result<Nid, FormatError> {
        self.nid(self.placed[id.index()].at)
    }

    /// Gives everything a place in `zone`, whole blocks in `blocks` where that is given.
    fn place(
        &mut self,
        zone: &mut Zone,
        mut blocks: Option<&mut Zone>,
        shapes: &[Option<Shape>],
    ) -> Result<(), BuildError> {
        for step in steps(self.headers.tree) {
            match step {
                Step::Inode(id) => {
                    let shape = shapes.get(id.index()).copied().flatten();
                    let is_directory = self.headers.tree.inodes[id.index()].is_directory();
                    let packed =
                        (self.headers.packs_directories() && is_directory).then_some(PACKED_DIRECTORY);
                    let mut placed = self.place_inode(id, shape.or(packed), zone)?;
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
            if self.order.len() == 1 && self.headers.xattrs.shared_at() == 0 {
                // Right behind the root, whose nid must stay small.
                let size = self.headers.xattrs.shared_area().len() as u64;
                let at = zone.append(size);
                let base = if self.headers.has_metabox { 0 } else { self.meta_at };
                self.headers.xattrs.set_shared_at(at, base);
            }
        }
        Ok(())
    }

    fn place_inode(&self, id: InodeId, shape: Option<Shape>, zone: &mut Zone) -> Result<Placed, BuildError> {
        let headers = &self.headers;
        let inode = &headers.tree.inodes[id.index()];
        let (version, xattr_size) = headers.of(id)?;
        let header = (version.size() + xattr_size) as u64;
        let serial = u32::try_from(self.order.len() + 1)
            .map_err(|_| FormatError::limit("number of inodes", self.order.len(), "fewer than 2^32"))?;
        let xattr_size = u32::try_from(xattr_size).unwrap_or(u32::MAX);
        let shape = shape.unwrap_or_else(|| {
            let (layout, tail) = headers.inline(inode, header);
            Shape { layout, table: 0, tail: u32::try_from(tail).unwrap_or(u32::MAX) }
        });
        // In the metabox an inode is at no place of the device.
        let fields = if headers.has_metabox { OwnerAndTime::NONE } else { OwnerAndTime::of(inode, version) };
        let placed = place_shape(header, &shape, fields, zone)
            .map_err(|cause| BuildError::at(&headers.tree.path_of(id), cause))?;
        Ok(Placed { xattr_size, version, serial, ..placed })
    }

    /// Whole blocks of a long symlink that has `reserved` bytes behind its inode; 0 for anything else.
    fn blocks_of_link(&self, id: InodeId, reserved: u32) -> u64 {
        let Kind::Symlink { target } = &self.headers.tree.inodes[id.index()].kind else { return 0 };
        self.headers.block_bits.blocks_ceil(target.len() as u64 - u64::from(reserved))
    }

    fn place_directory_blocks(&mut self, id: InodeId, zone: &mut Zone) {
        if self.headers.packs_directories() {
            return;
        }
        let plan = self.headers.directory_plan(self.headers.tree.inodes[id.index()].entries());
        let inline = self.placed[id.index()].layout == DataLayout::FlatInline;
        let whole = plan.len() - usize::from(inline);
        if whole != 0 {
            self.placed[id.index()].blocks_at = zone.place_blocks(whole as u64);
        }
    }
}

impl Placed {
    /// A place for an internal inode, the `number`th of the image, outside the metabox.
    pub(crate) fn internal(shape: &Shape, number: usize, zone: &mut Zone) -> Result<Self, FormatError> {
        let placed = place_shape(Version::Extended.size() as u64, shape, OwnerAndTime::NONE, zone)?;
        Ok(Self { serial: u32::try_from(number).unwrap_or(u32::MAX), ..placed })
    }
}

/// A place for an inode of `header` bytes, xattrs included, with what its shape asks for.
fn place_shape(
    header: u64,
    shape: &Shape,
    fields: OwnerAndTime,
    zone: &mut Zone,
) -> Result<Placed, FormatError> {
    let table = u64::from(shape.table);
    // Inodes stand on multiples of 32, so what aligns the map header is the length in front of it alone.
    let front = if table == 0 { header } else { header.next_multiple_of(MAP_ALIGNMENT) + table };
    let tail = u64::from(shape.tail);
    let long = tail != 0 && front + tail > zone.block_size();
    // Linux takes a pcluster behind an inode for damaged that starts one block into a page, where pages are
    // larger than blocks (`z_erofs_fixup_insize` gets 0 bytes to look at; 6.18 and 7.2).
    let apart = shape.layout.is_compressed();
    let at = fields
        .first_clear(|| if long { zone.place_long(front, tail, apart) } else { zone.place(front + tail) });
    let reserved = front + tail - header;
    let reserved = u32::try_from(reserved)
        .map_err(|_| FormatError::limit("index of a file", reserved, "fewer than 2^32 bytes"))?;
    Ok(Placed { at, reserved, layout: shape.layout, ..Placed::NOWHERE })
}
