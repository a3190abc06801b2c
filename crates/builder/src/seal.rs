//! What is left to do once all inodes with names are written, where they are in the metabox, or directories in the packed
//! inode: those are stored behind everything else, and behind them stand the inodes that the superblock alone names.

use std::ops::Range;

use erofs_format::Nid;
use erofs_format::datalayout::DataLayout;
use erofs_format::feature::{compat, incompat};
use erofs_format::inode::{self, Mtime, Version};
use erofs_format::superblock::Superblock;
use erofs_format::units::INODE_SLOT_SIZE;

use crate::compress::{self, Body, Special, Spool, StoredSpecial};
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::key;
use crate::layout::compose::{Data, block_32};
use crate::layout::plan::{Placed, Plan};
use crate::layout::zone::Zone;
use crate::pour::{Pouring, align_end, write_zeros};
use crate::summary::MetaboxSummary;

/// The file type of an inode without a name.
const S_IFREG: u16 = 0o100_000;

/// An inode that no directory names: the packed inode or the metabox.
#[derive(Debug)]
pub(crate) struct NamelessInode<'a> {
    pub(crate) body: Body,
    pub(crate) size: u64,
    pub(crate) spool: &'a Spool,
}

impl<'a> NamelessInode<'a> {
    fn of(stored: &'a StoredSpecial) -> Self {
        Self { body: stored.body, size: stored.size, spool: &stored.spool }
    }
}

/// What is left to be stored when all inodes with names are written.
#[derive(Debug, Default)]
pub(crate) struct Unsealed<'a> {
    /// The content of the metabox, if there is one.
    pub(crate) metabox: Option<Spool>,
    /// The packed inode, if its content is stored.
    pub(crate) packed: Option<NamelessInode<'a>>,
    /// Its content, if it is not.
    pub(crate) unpacked: Option<Spool>,
}

/// What the superblock has to say of a sealed image.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// Length of the image in blocks.
    pub(crate) blocks: u64,
    /// What became of the metabox.
    pub(crate) metabox: Option<MetaboxSummary>,
    meta_blkaddr: u32,
    metabox_nid: Option<Nid>,
    packed_nid: Option<Nid>,
    keys: Vec<u128>,
    incompat: u32,
}

impl Sealed {
    /// Says it. Returns what stands for the contents, of which `key` stands for those of files.
    pub(crate) fn announce(self, value: &mut Superblock, plan: &Plan<'_>, key: u128) -> u128 {
        value.blocks = self.blocks;
        value.meta_blkaddr = self.meta_blkaddr;
        value.xattr_blkaddr = if plan.has_metabox { 0 } else { self.meta_blkaddr };
        value.incompat |= self.incompat;
        if let Some(metabox) = self.metabox_nid {
            value.extslots = plan.extslots();
            value.metabox_nid = metabox;
            value.inodes += 1;
            if !plan.xattrs.shared_area().is_empty() {
                value.compat |= compat::SHARED_EA_IN_METABOX;
            }
        }
        if let Some(packed) = self.packed_nid {
            value.packed_nid = packed;
            value.inodes += 1;
        }
        self.keys.iter().fold(key, |key, more| key::joined(&[key, *more]))
    }
}

/// Stores what is left from byte `at` of the image on, and the inodes without names behind it.
pub(crate) fn seal(pouring: &Pouring<'_>, unsealed: Unsealed<'_>, at: u64) -> Result<Sealed, BuildError> {
    let Pouring { plan, image, options, .. } = *pouring;
    let bits = plan.block_bits;
    let Unsealed { metabox, packed, unpacked } = unsealed;
    let unpacked = unpacked.filter(|content| content.len() != 0);
    let mut end = at;
    let mut store = |special, content: Option<Spool>| {
        let stored = content.map(|content| compress::store_special(pouring, special, content, end));
        let stored = stored.transpose()?;
        end = stored.as_ref().map_or(end, |stored| stored.end.next_multiple_of(bits.size()));
        Ok::<_, BuildError>(stored)
    };
    let boxed = store(Special::Metabox, metabox)?;
    let unboxed = store(Special::Packed, unpacked)?;
    let meta_at = if plan.has_metabox { end } else { plan.meta_at };
    // Nid 0 stands for "no packed inode".
    let mut zone = Zone::new(bits, if plan.has_metabox { end + INODE_SLOT_SIZE } else { end });
    let mut place = |body: Option<Body>, number| {
        body.map(|body| plan.place_nameless(&body.shape(), number, &mut zone)).transpose()
    };
    let metabox_placed = place(boxed.as_ref().map(|stored| stored.body), 1)?;
    let body = unboxed.as_ref().map(|stored| stored.body).or(packed.as_ref().map(|packed| packed.body));
    let packed_placed = place(body, 1 + usize::from(plan.has_metabox))?;
    let blocks = align_end(bits.blocks_ceil(zone.end()), options);
    clear_around(image, [&boxed, &unboxed], bits.size(), end..blocks * bits.size())?;
    let packed = packed.or(unboxed.as_ref().map(NamelessInode::of));
    for (inode, placed) in
        [(boxed.as_ref().map(NamelessInode::of), &metabox_placed), (packed, &packed_placed)]
    {
        if let (Some(inode), Some(placed)) = (inode, placed) {
            write_nameless(plan, image, placed, &inode)?;
        }
    }
    let stored = [&boxed, &unboxed];
    let stored = || stored.into_iter().flatten();
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    let nid = |placed: &Placed| Nid::at_byte(placed.at - meta_at);
    Ok(Sealed {
        blocks,
        metabox: boxed
            .as_ref()
            .map(|stored| MetaboxSummary { content_bytes: stored.size, stored_bytes: stored.end - at }),
        meta_blkaddr: block_32(bits.blocks_floor(meta_at))?,
        metabox_nid: metabox_placed.as_ref().map(nid).transpose()?,
        packed_nid: packed_placed.as_ref().map(nid).transpose()?,
        keys: stored().map(|stored| stored.key).collect(),
        incompat: bit(boxed.is_some(), incompat::METABOX)
            | bit(packed_placed.is_some(), incompat::FRAGMENTS)
            | bit(stored().any(|stored| stored.big_pclusters), incompat::COMPR_CFGS)
            | bit(stored().any(|stored| stored.two_heads), incompat::COMPR_HEAD2),
    })
}

/// Fills what nobody writes with zeros: gaps between pclusters, and, where a device may hold something else, everything
/// from the last of them on.
fn clear_around(
    image: &ImageFile,
    stored: [&Option<StoredSpecial>; 2],
    block: u64,
    rest: Range<u64>,
) -> Result<(), BuildError> {
    for stored in stored.into_iter().flatten() {
        for (first, length) in &stored.gaps {
            write_zeros(image, *first, first + length)?;
        }
        if !image.starts_as_zeros() {
            write_zeros(image, stored.end, stored.end.next_multiple_of(block))?;
        }
    }
    if image.starts_as_zeros() { Ok(()) } else { write_zeros(image, rest.start, rest.end) }
}

/// Writes an inode that has no name.
pub(crate) fn write_nameless(
    plan: &Plan<'_>,
    image: &ImageFile,
    placed: &Placed,
    nameless: &NamelessInode<'_>,
) -> Result<(), BuildError> {
    let mut bytes = Vec::new();
    nameless.spool.load(nameless.body.range(), &mut bytes).map_err(BuildError::spool)?;
    let stored = nameless.body.of(&bytes)?;
    let (layout, i_u) = match &stored.data {
        Data::Compressed { layout, blocks, .. } => (*layout, *blocks),
        Data::Flat { start } => (placed.layout, block_32(*start)?),
        Data::Chunks { format, .. } => (DataLayout::ChunkBased, format.encode()),
    };
    let record = inode::Inode {
        version: Version::Extended,
        layout,
        bit4: false,
        xattr_icount: 0,
        mode: S_IFREG,
        size: nameless.size,
        mtime: Mtime::Absolute { sec: plan.epoch.sec, nsec: plan.epoch.nsec },
        i_u,
        hi: 0,
        ino: placed.serial,
        uid: 0,
        gid: 0,
        nlink: 1,
    };
    let mut inode = record.encode()?;
    plan.encode_table(&stored.data, 0, &mut inode)?;
    inode.extend_from_slice(stored.tail);
    image.write_at(placed.at, &inode)
}
