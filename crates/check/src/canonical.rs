//! The canonical form: what could be written in several ways is written in the one that the builder has.

use erofs_format::dirent::{self, Dirent};
use erofs_format::extent::Place;
use erofs_format::feature::{self, compat, incompat};
use erofs_format::xattr::{BodyHeader, Entry as XattrEntry, HEADER_SIZE, SHARED_ID_SIZE};
use erofs_image::{Image, ImageError, Inode, ReadAt, Xattr};

use crate::finding::{Code, Finding};
use crate::fingerprint::Key;
use crate::metadata::{byte_of, read};

fn deviation(what: &str, found: impl ToString, wanted: &str) -> Finding {
    Finding::new(Code::NotCanonical, what, found, wanted)
}

/// The superblock has a checksum.
pub(crate) fn superblock(image: &Image) -> Option<Finding> {
    let has = image.superblock().compat & compat::SB_CHKSUM != 0;
    (!has).then(|| deviation("superblock.feature_compat", "no checksum", "one"))
}

/// What the inodes of an image make use of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Uses {
    /// Bits of `feature_incompat` that an inode needs.
    pub(crate) incompat: u32,
    /// There are attributes behind inodes, each with a name filter.
    pub(crate) attributes: bool,
    /// How many inodes in the metabox have shared attributes outside of it.
    pub(crate) misread: u64,
}

impl Uses {
    /// What two parts of an image make use of together.
    pub(crate) fn add(&mut self, other: Self) {
        self.incompat |= other.incompat;
        self.attributes |= other.attributes;
        self.misread = self.misread.saturating_add(other.misread);
    }
}

/// Features that are announced and that nothing makes use of.
pub(crate) fn unused(image: &Image, uses: Uses) -> Vec<Finding> {
    let superblock = image.superblock();
    let prefixes = superblock.xattr_prefix_count > 0;
    let (incompatible, compatible) = (superblock.incompat, superblock.compat);
    let rows = [
        (incompat::CHUNKED_FILE, uses.incompat & incompat::CHUNKED_FILE != 0, true),
        // The same bit stands for two algorithms in a file.
        (
            incompat::DEVICE_TABLE,
            superblock.extra_devices > 0 || uses.incompat & incompat::COMPR_HEAD2 != 0,
            true,
        ),
        (incompat::ZTAILPACKING, uses.incompat & incompat::ZTAILPACKING != 0, true),
        (incompat::XATTR_PREFIXES, prefixes, true),
        (compat::XATTR_FILTER, uses.attributes && superblock.xattr_filter_reserved == 0, false),
        (compat::SHARED_EA_IN_METABOX, incompatible & incompat::METABOX != 0, false),
        (compat::PLAIN_XATTR_PFX, prefixes, false),
    ];
    let unused = rows.into_iter().filter(|(bit, used, is_incompatible)| {
        let announced = if *is_incompatible { incompatible } else { compatible };
        announced & bit != 0 && !used
    });
    unused
        .filter_map(|(bit, _, is_incompatible)| {
            let (field, table) = if is_incompatible {
                ("superblock.feature_incompat", &feature::INCOMPAT[..])
            } else {
                ("superblock.feature_compat", &feature::COMPAT[..])
            };
            let name = table.iter().find(|feature| feature.bit == bit)?.name;
            Some(deviation(
                field,
                format!("{name}, which nothing makes use of"),
                "features that something uses",
            ))
        })
        .collect()
}

/// The record of an inode and its attributes are the bytes that their values make.
pub(crate) fn inode(
    image: &Image,
    primary: &dyn ReadAt,
    inode: &Inode,
    attributes: &[Xattr],
    key: Option<&Key>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(at) = byte_of(image, inode) else { return findings };
    let size = inode.record.version.size();
    let made = inode.record.encode().unwrap_or_default();
    if read(primary, at, size).is_none_or(|stored| stored != made) {
        findings.push(deviation("inode", "reserved bytes that are not 0", "the form that its values make"));
    }
    let body_size = inode.record.header_size().saturating_sub(size);
    let body_at = at.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
    if body_size > 0 && read(primary, body_at, body_size).is_none_or(|body| !is_made(&body)) {
        findings.push(deviation("xattrs", "padding or reserved bytes that are not 0", "zeros"));
    }
    let inline = || attributes.iter().filter(|xattr| !xattr.shared);
    let is_fingerprint = |xattr: &&Xattr| key.is_some_and(|key| key.is(xattr));
    let names = inline().filter(|xattr| !is_fingerprint(xattr)).map(|xattr| &xattr.name);
    if !names.is_sorted() || inline().skip(1).any(|xattr| is_fingerprint(&xattr)) {
        findings.push(deviation("xattrs", "names out of order", "the fingerprint, then ascending names"));
    }
    findings
}

/// Whether the bytes behind an inode are those that their values make.
fn is_made(body: &[u8]) -> bool {
    let made = || -> Option<Vec<u8>> {
        let header = BodyHeader::decode(body, 0).ok()?;
        let mut made = Vec::with_capacity(body.len());
        header.encode(&mut made);
        let ids = usize::from(header.shared_count).checked_mul(SHARED_ID_SIZE)?;
        let mut at = HEADER_SIZE.checked_add(ids)?;
        made.extend_from_slice(body.get(HEADER_SIZE..at)?);
        while at < body.len() {
            let (entry, size) = XattrEntry::decode(body.get(at..)?, 0).ok()?;
            entry.encode(&mut made).ok()?;
            at = at.checked_add(size)?;
        }
        Some(made)
    };
    made().is_some_and(|made| made == body)
}

/// The blocks of a directory are those that its entries make.
pub(crate) fn directory(image: &Image, inode: &Inode) -> Result<Option<Finding>, ImageError> {
    let entries = image.entries(inode)?.collect::<Result<Vec<_>, _>>()?;
    let block = image.superblock().block_bits.bytes();
    let plan = dirent::plan_blocks(entries.iter().map(|entry| entry.name.len()), block);
    let mut made = Vec::new();
    let mut left = entries.as_slice();
    for (index, part) in plan.iter().enumerate() {
        made.resize(index.saturating_mul(block), 0);
        let (now, later) = left.split_at_checked(part.entries).unwrap_or((left, &[]));
        let dirents: Vec<Dirent<'_>> = now
            .iter()
            .map(|entry| Dirent { nid: entry.nid, file_type: entry.file_type, name: &entry.name })
            .collect();
        if dirent::encode_block(&dirents, &mut made).is_err() {
            break;
        }
        left = later;
    }
    let data = image.data(inode)?;
    let mut stored = vec![0; usize::try_from(data.len()).unwrap_or_default()];
    data.read_range(0, &mut stored)?;
    made.resize(made.len().max(stored.len()), 0);
    let fits = made == stored;
    Ok((!fits).then(|| {
        deviation("directory", "other bytes", "blocks as full as they can be, and zeros behind them")
    }))
}

/// Behind the last byte of a file its block is zeros.
pub(crate) fn tail(
    image: &Image,
    primary: &dyn ReadAt,
    inode: &Inode,
) -> Result<Option<Finding>, ImageError> {
    let Some(last) = inode.size().checked_sub(1).filter(|_| !inode.layout().is_compressed()) else {
        return Ok(None);
    };
    let extent = image.data(inode)?.map(last)?;
    let Place::Device { device: 0, byte } = extent.place else { return Ok(None) };
    let end = byte.saturating_add(extent.length);
    let bits = image.superblock().block_bits;
    let rest = bits.size().saturating_sub(bits.within(end));
    if rest == bits.size() {
        return Ok(None);
    }
    let rest = rest.min(primary.len().saturating_sub(end));
    let bytes = read(primary, end, usize::try_from(rest).unwrap_or_default()).unwrap_or_default();
    let other = bytes.iter().any(|byte| *byte != 0);
    Ok(other.then(|| deviation("the last block of the file", "bytes behind its end", "zeros")))
}
