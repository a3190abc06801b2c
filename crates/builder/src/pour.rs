//! The last stage: everything that is not the content of a file. Directories, links, special files and moved inodes
//! go to their places, then the tables at the front, and the superblock last of all.

use std::collections::BTreeMap;

use erofs_format::compression::records_at;
use erofs_format::feature::{compat, incompat};
use erofs_format::inode::Version;
use erofs_format::superblock::{self, Superblock};
use erofs_format::xattr_prefix::START_UNIT;
use erofs_format::{FormatError, Nid};
use erofs_tree::{InodeId, Kind, Progress, Stage};
use uuid::Uuid;

use crate::compress::{Announced, Outcome};
use crate::content::Stored;
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::inodes;
use crate::key;
use crate::layout::compose::block_32;
use crate::layout::dirs;
use crate::layout::foreign::OwnerAndTime;
use crate::layout::plan::Plan;
use crate::layout::zone::Zone;
use crate::metabox::{InodeArea, Metabox};
use crate::options::{BuildOptions, CompressionOptions, UuidRule};
use crate::seal::{NamelessInode, Unsealed, seal, write_nameless};
use crate::summary::MetaboxSummary;

/// The namespace of UUIDs that are derived from an image's content. A random number, drawn once for `layout 1`.
const CONTENT_NAMESPACE: Uuid = Uuid::from_u128(0x7a0f_6f0e_9a55_4c1d_8f0b_6a6d_5d21_c3b4);
/// Zeros are written in pieces of this size where a target does not start out as zeros.
const ZERO_PIECE: usize = 1 << 20;

/// What the superblock says, and how long the image is.
#[derive(Debug)]
pub(crate) struct Poured {
    pub(crate) superblock: Superblock,
    pub(crate) image_bytes: u64,
    pub(crate) metabox: Option<MetaboxSummary>,
}

/// What every step of the stage needs.
#[derive(Clone, Copy)]
pub(crate) struct Pouring<'a> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) image: &'a ImageFile,
    pub(crate) options: &'a BuildOptions,
    /// Those of contents and metabox.
    pub(crate) compressions: &'a CompressionOptions,
    pub(crate) announced: &'a Announced,
    pub(crate) progress: &'a dyn Progress,
}

/// Writes the rest of the image, which then is complete but for its length and name. `metabox` has the inodes of files
/// already, where there is one.
pub(crate) fn pour(
    pouring: &Pouring<'_>,
    stored: &Stored,
    metabox: Option<Metabox>,
) -> Result<Poured, BuildError> {
    let Pouring { plan, image, options, announced, progress, .. } = *pouring;
    let inodes = plan.tree.inodes.len() as u64;
    progress.begin(Stage::Write, inodes, 0);
    let moved = encode_moved(plan, stored)?;
    let data_end = stored.end_block * plan.block_bits.size();
    let mut zone = Zone::new(plan.block_bits, if plan.has_metabox { plan.inodes_end } else { data_end });
    let mut place_moved = |id: InodeId, length: usize| {
        let fields = if plan.has_metabox {
            OwnerAndTime::NONE
        } else {
            OwnerAndTime::of(&plan.tree.inodes[id.index()], plan.placed[id.index()].version)
        };
        fields.first_clear(|| zone.place(length as u64))
    };
    let places: BTreeMap<InodeId, u64> =
        moved.iter().map(|(id, bytes)| (*id, place_moved(*id, bytes.len()))).collect();
    let place = |id: InodeId| places.get(&id).copied().unwrap_or(plan.placed[id.index()].at);
    let blocks = align_end(total_blocks(plan, stored, &zone), options);
    clear_leftovers(plan, stored, image, blocks * plan.block_bits.size())?;
    let area = InodeArea::new(image, metabox.as_ref());
    for (id, bytes) in &moved {
        area.write_at(places.get(id).copied().unwrap_or_default(), bytes)?;
    }
    inodes::write_others(pouring, area, &place)?;
    image.write_at(records_at(plan.extslots()), &announced.records)?;
    let sealed = match metabox {
        Some(metabox) => {
            let metabox = Some(metabox.into_content(zone.end())?);
            Some(seal(pouring, Unsealed { metabox, ..Unsealed::default() }, data_end)?)
        }
        None => None,
    };
    let mut value = superblock_of(plan, options, blocks, plan.nid(place(plan.tree.root))?)?;
    announced.announce(&mut value);
    value.incompat |= if stored.chunked { incompat::CHUNKED_FILE } else { 0 };
    let metabox = sealed.as_ref().and_then(|sealed| sealed.metabox);
    let key = sealed.map_or(stored.key, |sealed| sealed.announce(&mut value, plan, stored.key));
    Ok(Poured { metabox, ..end(pouring, key, value)? })
}

/// Writes the rest of an image whose data comes first: all inodes, directories and tables behind it, up to byte
/// `metadata_end`; where there is a metabox, only blocks of directories are in front of that.
pub(crate) fn pour_behind(
    pouring: &Pouring<'_>,
    outcome: &mut Outcome,
    metadata_end: u64,
    metabox: Option<Metabox>,
) -> Result<Poured, BuildError> {
    let Pouring { plan, image, options, announced, progress, .. } = *pouring;
    progress.begin(Stage::Write, plan.tree.inodes.len() as u64, 0);
    let blocks = align_end(plan.block_bits.blocks_ceil(metadata_end), options);
    for (first, length) in &outcome.gaps {
        write_zeros(image, *first, first + length)?;
    }
    if image.starts_as_zeros() {
        image.cut(outcome.end)?;
    } else {
        write_zeros(image, outcome.end, blocks * plan.block_bits.size())?;
    }
    let place = |id: InodeId| plan.placed[id.index()].at;
    let area = InodeArea::new(image, metabox.as_ref());
    inodes::write_all(pouring, area, &place, outcome)?;
    image.write_at(records_at(plan.extslots()), &announced.records)?;
    let mut value = superblock_of(plan, options, blocks, plan.nid(place(plan.tree.root))?)?;
    announced.announce(&mut value);
    if let Some(compression) = &options.content.compression {
        value.incompat |= announced.incompat(&outcome.sums, compression, outcome.packed.is_some());
    }
    let packed = outcome.packed.map(|(body, size)| NamelessInode { body, size, spool: &outcome.spool });
    let unpacked = outcome.unpacked.take();
    if metabox.is_some() || unpacked.is_some() {
        let metabox = metabox.map(|metabox| metabox.into_content(plan.inodes_end)).transpose()?;
        let sealed = seal(pouring, Unsealed { metabox, packed, unpacked }, metadata_end)?;
        let metabox = sealed.metabox;
        let key = sealed.announce(&mut value, plan, outcome.key);
        return Ok(Poured { metabox, ..end(pouring, key, value)? });
    }
    value.meta_blkaddr = block_32(plan.block_bits.blocks_floor(plan.meta_at))?;
    value.xattr_blkaddr = value.meta_blkaddr;
    if let (Some((placed, _)), Some(packed)) = (&plan.packed, packed) {
        write_nameless(plan, image, placed, &packed)?;
        value.packed_nid = Nid::at_byte(placed.at - plan.meta_at)?;
        value.inodes += 1;
    }
    end(pouring, outcome.key, value)
}

/// Makes the UUID, and writes the superblock last of all.
fn end(pouring: &Pouring<'_>, key: u128, mut value: Superblock) -> Result<Poured, BuildError> {
    let Pouring { plan, image, options, progress, .. } = *pouring;
    value.inodes = superblock::stated_inodes(value.inodes);
    if options.layout.uuid == UuidRule::Content {
        value.uuid = content_uuid(plan, key, &value)?;
    }
    // In place nothing hides a half-written image but the superblock, so everything else comes first, to the disk too.
    if image.is_in_place() {
        image.sync()?;
    }
    write_front(plan, image, &mut value, options.layout.superblock_checksum)?;
    progress.end(Stage::Write);
    let image_bytes = value.blocks * plan.block_bits.size();
    Ok(Poured { superblock: value, image_bytes, metabox: None })
}

/// Begins the image, and fills the metadata area with zeros where the target holds something else. Must come
/// before anything is written.
pub(crate) fn clear(plan: &Plan<'_>, image: &ImageFile) -> Result<(), BuildError> {
    image.begin()?;
    if image.starts_as_zeros() { Ok(()) } else { write_zeros(image, 0, plan.data_at) }
}

/// Fills what no file has with zeros: blocks that alignment left out, and everything behind the data, where an equal
/// file may have given its blocks back.
fn clear_leftovers(plan: &Plan<'_>, stored: &Stored, image: &ImageFile, end: u64) -> Result<(), BuildError> {
    let block = plan.block_bits.size();
    for (first, count) in &stored.gaps {
        write_zeros(image, first * block, (first + count) * block)?;
    }
    let data_end = stored.end_block * block;
    if image.starts_as_zeros() { image.cut(data_end) } else { write_zeros(image, data_end, end) }
}

pub(crate) fn write_zeros(image: &ImageFile, from: u64, to: u64) -> Result<(), BuildError> {
    let zeros = vec![0; ZERO_PIECE];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).map_or(ZERO_PIECE, |rest| rest.min(ZERO_PIECE));
        image.write_at(at, &zeros[..length])?;
        at += length as u64;
    }
    Ok(())
}

/// The bytes of the inodes whose chunk tables are longer than what the plan had for them; they go behind the data.
fn encode_moved(plan: &Plan<'_>, stored: &Stored) -> Result<Vec<(InodeId, Vec<u8>)>, BuildError> {
    let mut moved = Vec::with_capacity(stored.moved.len());
    for &id in &plan.order {
        let Some((data, fingerprint)) = stored.moved.get(&id) else { continue };
        let mut bytes = Vec::new();
        plan.encode_inode(id, &plan.placed[id.index()], data, fingerprint.as_deref(), &mut bytes)
            .map_err(|cause| BuildError::at(&plan.tree.path_of(id), cause))?;
        moved.push((id, bytes));
    }
    Ok(moved)
}

fn total_blocks(plan: &Plan<'_>, stored: &Stored, zone: &Zone) -> u64 {
    if stored.moved.is_empty() || plan.has_metabox {
        stored.end_block
    } else {
        plan.block_bits.blocks_ceil(zone.end())
    }
}

pub(crate) fn align_end(blocks: u64, options: &BuildOptions) -> u64 {
    blocks.next_multiple_of(u64::from(options.layout.fsalignblks.max(1)).next_power_of_two())
}

fn superblock_of(
    plan: &Plan<'_>,
    options: &BuildOptions,
    blocks: u64,
    root_nid: Nid,
) -> Result<Superblock, BuildError> {
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    let has_prefixes = plan.xattrs.prefix_count() != 0;
    let any_xattrs = plan.placed.iter().any(|placed| placed.xattr_size != 0);
    let mut volume_name = [0; 16];
    for (to, from) in volume_name.iter_mut().zip(&options.layout.volume_label) {
        *to = *from;
    }
    let prefix_start = plan.prefix_table.0 / START_UNIT;
    Ok(Superblock {
        compat: compat::MTIME
            | bit(options.layout.superblock_checksum, compat::SB_CHKSUM)
            | bit(any_xattrs && plan.xattrs.has_filter(), compat::XATTR_FILTER)
            | bit(has_prefixes, compat::PLAIN_XATTR_PFX)
            | bit(plan.wants_fingerprints(), compat::ISHARE_XATTRS),
        incompat: bit(has_prefixes, incompat::XATTR_PREFIXES) | bit(options.is_wide(), incompat::BIT48),
        block_bits: plan.block_bits,
        root_nid,
        inodes: plan.tree.inodes.len() as u64,
        epoch: plan.epoch.sec,
        fixed_nsec: plan.epoch.nsec,
        blocks: if options.is_wide() { blocks } else { u64::from(block_32(blocks)?) },
        uuid: match options.layout.uuid {
            UuidRule::Given(uuid) => uuid,
            UuidRule::Content => [0; 16],
        },
        volume_name,
        xattr_prefix_count: plan.xattrs.prefix_count(),
        xattr_prefix_start: if has_prefixes {
            u32::try_from(prefix_start)
                .map_err(|_| FormatError::limit("place of the xattr prefixes", prefix_start, "32 bits"))?
        } else {
            0
        },
        ishare_xattr_prefix_id: plan.xattrs.fingerprint_prefix().unwrap_or(0),
        build_time: plan.build_time_delta(),
        ..Superblock::default()
    })
}

/// Writes the superblock and the table of long prefixes, with the checksum over the whole first block.
fn write_front(
    plan: &Plan<'_>,
    image: &ImageFile,
    value: &mut Superblock,
    checksum: bool,
) -> Result<(), BuildError> {
    let (table_at, table) = &plan.prefix_table;
    image.write_at(*table_at, table)?;
    let record = value.encode()?;
    let mut covered = vec![0; superblock::checksum_span(plan.block_bits)];
    if checksum {
        // The checksum covers whatever else stands in the first block: read it back.
        image.read_at(superblock::OFFSET, &mut covered)?;
        covered[..record.len()].copy_from_slice(&record);
        superblock::store_checksum(&mut covered);
        value.checksum = superblock::checksum(&covered);
        image.write_at(superblock::OFFSET, &covered[..record.len()])
    } else {
        image.write_at(superblock::OFFSET, &record)
    }
}

/// A UUID that stands for everything in the image: names and metadata, contents and fingerprints, and where all of it
/// is. Nothing may enter it that is not stored, or equal images would have different ones.
fn content_uuid(plan: &Plan<'_>, key: u128, value: &Superblock) -> Result<[u8; 16], BuildError> {
    let mut hash = key::Running::new();
    hash.add(&value.encode()?);
    hash.add(&key.to_le_bytes());
    hash.add(&plan.prefix_table.1);
    hash.add(plan.xattrs.shared_area());
    let mut bytes = Vec::new();
    for (id, inode) in plan.tree.iter() {
        bytes.clear();
        let placed = &plan.placed[id.index()];
        bytes.extend_from_slice(&placed.at.to_le_bytes());
        bytes.extend_from_slice(&placed.header_size().to_le_bytes());
        bytes.push(u8::from(placed.version == Version::Extended));
        bytes.extend_from_slice(&placed.layout.number().to_le_bytes());
        bytes.extend_from_slice(&inode.permissions.to_le_bytes());
        bytes.push(dirs::file_type(inode).number());
        // A compact inode has the time of the superblock, whatever its source has (`--ignore-mtime`).
        let mtime = if placed.version == Version::Compact { plan.epoch } else { inode.mtime };
        for number in [id.0, inode.uid, inode.gid, inode.links, mtime.nsec] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&mtime.sec.to_le_bytes());
        for xattr in &inode.xattrs {
            push_counted(&mut bytes, &xattr.name);
            push_counted(&mut bytes, &xattr.value);
        }
        match &inode.kind {
            Kind::File { size, .. } => bytes.extend_from_slice(&size.to_le_bytes()),
            Kind::Symlink { target } => push_counted(&mut bytes, target),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                bytes.extend_from_slice(&major.to_le_bytes());
                bytes.extend_from_slice(&minor.to_le_bytes());
            }
            Kind::Directory { entries } => {
                for entry in entries {
                    push_counted(&mut bytes, &entry.name);
                    bytes.extend_from_slice(&entry.inode.0.to_le_bytes());
                }
            }
            Kind::Fifo | Kind::Socket => {}
        }
        hash.add(&bytes);
    }
    Ok(*Uuid::new_v5(&CONTENT_NAMESPACE, &hash.finish().to_le_bytes()).as_bytes())
}

fn push_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}
