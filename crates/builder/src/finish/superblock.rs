//! The superblock, with the UUID that stands for everything in the image.

use erofs_format::feature::{compat, incompat};
use erofs_format::inode::Version;
use erofs_format::superblock::{self, Superblock};
use erofs_format::xattr_prefix::START_UNIT;
use erofs_format::{FormatError, Nid};
use erofs_tree::Kind;
use uuid::Uuid;

use super::context::{Context, clear};
use super::internal::Internal;
use crate::error::BuildError;
use crate::key;
use crate::layout::dirs;
use crate::layout::table::block_32;
use crate::options::{BuildOptions, UuidRule};

/// The namespace of UUIDs that are derived from an image's content. A random number, drawn once for `layout
/// 1`.
const CONTENT_NAMESPACE: Uuid = Uuid::from_u128(0x7a0f_6f0e_9a55_4c1d_8f0b_6a6d_5d21_c3b4);

/// Makes the UUID, and writes the superblock with the table of prefixes, last of all.
pub(super) fn write(context: &Context<'_>, internal: &Internal) -> Result<Superblock, BuildError> {
    let Context { contents, image, options, .. } = *context;
    let mut value = superblock_of(context, internal)?;
    // Padding is part of the image, and of what a hash tree covers.
    clear(image, internal.end, value.blocks * context.layout.headers.block_bits.size())?;
    if options.layout.uuid == UuidRule::Content {
        let key = internal.keys.iter().fold(contents.key, |key, more| key::joined(&[key, *more]));
        value.uuid = content_uuid(context, key, &value)?;
    }
    // In place nothing hides a half-written image but the superblock, so everything else comes first, to the
    // disk too.
    if image.is_in_place() {
        image.sync()?;
    }
    write_front(context, &mut value)?;
    Ok(value)
}

/// The length of an image in blocks, as `--fsalignblks` wants it.
fn align_end(blocks: u64, options: &BuildOptions) -> u64 {
    blocks.next_multiple_of(u64::from(options.layout.fsalignblks.max(1)).next_power_of_two())
}

fn superblock_of(context: &Context<'_>, internal: &Internal) -> Result<Superblock, BuildError> {
    let Context { layout, contents, options, codecs, announced, front, .. } = *context;
    let headers = &layout.headers;
    let bits = headers.block_bits;
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    let prefixes = headers.xattrs.prefixes.count();
    let any_xattrs = layout.placed.iter().any(|placed| placed.xattr_size != 0);
    let mut volume_name = [0; 16];
    for (to, from) in volume_name.iter_mut().zip(&options.layout.volume_label) {
        *to = *from;
    }
    let blocks = align_end(bits.blocks_ceil(internal.end), options);
    let meta_blkaddr = block_32(bits.blocks_floor(internal.meta_at))?;
    let shares_in_metabox = headers.has_metabox && !headers.xattrs.shared_area().is_empty();
    let prefix_start = front.prefix_table.0 / START_UNIT;
    let prefix_start = u32::try_from(if prefixes == 0 { 0 } else { prefix_start })
        .map_err(|_| FormatError::limit("place of the xattr prefixes", prefix_start, "32 bits"))?;
    let own = [internal.metabox_nid, internal.packed_nid].iter().flatten().count() as u64;
    let mut value = Superblock {
        compat: compat::MTIME
            | bit(options.layout.superblock_checksum, compat::SB_CHKSUM)
            | bit(any_xattrs && headers.xattrs.has_filter(), compat::XATTR_FILTER)
            | bit(prefixes != 0, compat::PLAIN_XATTR_PFX)
            | bit(shares_in_metabox, compat::SHARED_EA_IN_METABOX)
            | bit(headers.wants_fingerprints(), compat::ISHARE_XATTRS),
        incompat: bit(prefixes != 0, incompat::XATTR_PREFIXES)
            | bit(options.is_wide(), incompat::BIT48)
            | announced.incompat(&contents.sums, &codecs.rules)
            | internal.incompat,
        block_bits: bits,
        extslots: if headers.has_metabox { headers.extslots() } else { 0 },
        root_nid: layout.nid_of(headers.tree.root)?,
        inodes: superblock::stated_inodes(headers.tree.inodes.len() as u64 + own),
        epoch: headers.epoch.sec,
        fixed_nsec: headers.epoch.nsec,
        blocks: if options.is_wide() { blocks } else { u64::from(block_32(blocks)?) },
        meta_blkaddr,
        xattr_blkaddr: if headers.has_metabox { 0 } else { meta_blkaddr },
        uuid: match options.layout.uuid {
            UuidRule::Given(uuid) => uuid,
            UuidRule::Content => [0; 16],
        },
        volume_name,
        xattr_prefix_count: prefixes,
        xattr_prefix_start: prefix_start,
        ishare_xattr_prefix_id: headers.xattrs.fingerprint_prefix().unwrap_or(0),
        build_time: headers.build_time_delta(),
        packed_nid: internal.packed_nid.unwrap_or(Nid(0)),
        metabox_nid: internal.metabox_nid.unwrap_or(Nid(0)),
        ..Superblock::default()
    };
    announced.announce(&mut value);
    Ok(value)
}

/// Writes the superblock and the table of long prefixes, with the checksum over the whole first block.
fn write_front(context: &Context<'_>, value: &mut Superblock) -> Result<(), BuildError> {
    let Context { image, front, options, layout, .. } = *context;
    let (table_at, table) = &front.prefix_table;
    image.write_at(*table_at, table)?;
    let record = value.encode()?;
    if !options.layout.superblock_checksum {
        return image.write_at(superblock::OFFSET, &record);
    }
    // The checksum covers whatever else stands in the first block: read it back.
    let mut covered = vec![0; superblock::checksum_span(layout.headers.block_bits)];
    image.read_at(superblock::OFFSET, &mut covered)?;
    covered[..record.len()].copy_from_slice(&record);
    superblock::store_checksum(&mut covered);
    value.checksum = superblock::checksum(&covered);
    image.write_at(superblock::OFFSET, &covered[..record.len()])
}

/// A UUID that stands for everything in the image: names and metadata, contents and fingerprints, and where
/// all of it is. Nothing may enter it that is not stored, or equal images would have different ones.
fn content_uuid(context: &Context<'_>, key: u128, value: &Superblock) -> Result<[u8; 16], BuildError> {
    let Context { layout, front, .. } = *context;
    let headers = &layout.headers;
    let mut hash = key::Running::new();
    hash.add(&value.encode()?);
    hash.add(&key.to_le_bytes());
    hash.add(&front.prefix_table.1);
    hash.add(headers.xattrs.shared_area());
    let mut bytes = Vec::new();
    for (id, inode) in headers.tree.iter() {
        bytes.clear();
        let placed = &layout.placed[id.index()];
        bytes.extend_from_slice(&placed.at.to_le_bytes());
        bytes.extend_from_slice(&placed.header_size().to_le_bytes());
        bytes.push(u8::from(placed.version == Version::Extended));
        bytes.extend_from_slice(&placed.layout.number().to_le_bytes());
        bytes.extend_from_slice(&inode.permissions.to_le_bytes());
        bytes.push(dirs::file_type(inode).number());
        // A compact inode has the time of the superblock, whatever its source has (`--ignore-mtime`).
        let mtime = if placed.version == Version::Compact { headers.epoch } else { inode.mtime };
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
