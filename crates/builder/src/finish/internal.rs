//! Internal inodes, which no directory names: the metabox, whose content is all others, and the packed inode,
//! whose content is fragments and perhaps directories. Their contents are stored like those of files, behind
//! everything else; the inodes themselves come last.

use erofs_format::feature::incompat;
use erofs_format::inode::EXTENDED_SIZE;
use erofs_format::units::INODE_SLOT_SIZE;
use erofs_format::{FormatError, Nid};
use erofs_tree::{ContentRef, Silent};

use super::context::{Context, PackedContent, clear, write_zeros};
use crate::coder::codecs::{Choice, Rules};
use crate::coder::plain::PlainCoder;
use crate::content::Record;
use crate::error::BuildError;
use crate::layout::place::Placed;
use crate::layout::zone::Zone;
use crate::options::CompressClass;
use crate::pipeline::{self, File, Phase, Spooled};
use crate::store::{Area, Spool};
use crate::summary::{MetaboxSummary, Sums};

/// What became of the internal inodes, for the superblock.
#[derive(Debug)]
pub(crate) struct Internal {
    /// First byte behind everything, at a block.
    pub(crate) end: u64,
    /// The byte from which nids count.
    pub(crate) meta_at: u64,
    pub(crate) metabox_nid: Option<Nid>,
    pub(crate) packed_nid: Option<Nid>,
    /// Hashes of what they hold.
    pub(crate) keys: Vec<u128>,
    /// Feature bits that they need.
    pub(crate) incompat: u32,
    pub(crate) metabox_summary: Option<MetaboxSummary>,
}

/// The internal inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Metabox,
    Packed,
}

impl Which {
    /// What messages call it.
    fn name(self) -> &'static str {
        match self {
            Self::Metabox => "(metabox)",
            Self::Packed => "(packed inode)",
        }
    }
}

/// An internal inode whose content has its place.
struct Stored {
    which: Which,
    size: u64,
    record: Record,
}

/// Stores what is left and writes the internal inodes. `metabox` is the content of the metabox, if there is
/// one.
pub(super) fn write(
    context: &Context<'_>,
    metabox: Option<&Spool>,
    packed: Option<PackedContent>,
) -> Result<Internal, BuildError> {
    let Context { layout, image, .. } = *context;
    let headers = &layout.headers;
    let bits = headers.block_bits;
    let mut internal = Internal {
        end: layout.end,
        meta_at: layout.meta_at,
        metabox_nid: None,
        packed_nid: None,
        keys: Vec::new(),
        incompat: 0,
        metabox_summary: None,
    };
    let metabox = metabox.map(|content| internal.store(context, Which::Metabox, content)).transpose()?;
    if let Some(stored) = &metabox {
        let stored_bytes = internal.end - layout.end;
        internal.metabox_summary = Some(MetaboxSummary { content_bytes: stored.size, stored_bytes });
    }
    let packed = match packed {
        None => None,
        Some(PackedContent::Stored(record, size)) => Some(Stored { which: Which::Packed, size, record }),
        Some(PackedContent::Spool(bytes)) if bytes.len() == 0 => None,
        Some(PackedContent::Spool(bytes)) => Some(internal.store(context, Which::Packed, &bytes)?),
    };
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    internal.incompat |=
        bit(metabox.is_some(), incompat::METABOX) | bit(packed.is_some(), incompat::FRAGMENTS);
    let start = internal.end;
    if headers.has_metabox {
        internal.meta_at = start;
    }
    // Nid 0 means "no packed inode".
    let mut zone = Zone::new(bits, if headers.has_metabox { start + INODE_SLOT_SIZE } else { start });
    let mut inodes = Vec::new();
    let mut place = |stored: &Stored, number: usize| {
        let (placed, bytes) = inode(context, stored, layout.order.len() + number, &mut zone)?;
        inodes.push((placed.at, bytes));
        Nid::at_byte(placed.at - internal.meta_at).map_err(BuildError::from)
    };
    internal.metabox_nid = metabox.as_ref().map(|stored| place(stored, 1)).transpose()?;
    let number = 1 + usize::from(metabox.is_some());
    internal.packed_nid = packed.as_ref().map(|stored| place(stored, number)).transpose()?;
    if !inodes.is_empty() {
        internal.end = zone.end();
    }
    clear(image, start, internal.end)?;
    inodes.iter().try_for_each(|(at, bytes)| image.write_at(*at, bytes))?;
    Ok(internal)
}

/// A place for an inode, and its bytes.
fn inode(
    context: &Context<'_>,
    stored: &Stored,
    number: usize,
    zone: &mut Zone,
) -> Result<(Placed, Vec<u8>), BuildError> {
    let Context { layout, contents, tables, .. } = *context;
    let named = |error: BuildError| error.in_file(|| stored.which.name().as_bytes().to_vec());
    let mut bytes = Vec::new();
    contents.records.load(stored.record.range(), &mut bytes).map_err(BuildError::spool)?;
    let header = EXTENDED_SIZE as u64;
    let shape = tables.shape(&stored.record, stored.size, header, &bytes).map_err(named)?;
    let format = |cause: FormatError| named(cause.into());
    let placed = Placed::internal(&shape, number, zone).map_err(format)?;
    let (found, _) = stored.record.decode(&bytes)?;
    let made = tables.make(&found, stored.record.kind, stored.size, header).map_err(format)?;
    let mut inode = layout.encode_internal(placed.serial, stored.size, &made).map_err(format)?;
    inode.extend_from_slice(found.tail_bytes().copied().unwrap_or_default());
    Ok((placed, inode))
}

impl Internal {
    /// Stores the content of an internal inode behind what there is.
    fn store(&mut self, context: &Context<'_>, which: Which, bytes: &Spool) -> Result<Stored, BuildError> {
        let Context { layout, contents, codecs, image, options, .. } = *context;
        let bits = layout.headers.block_bits;
        let is_metabox = which == Which::Metabox;
        // Which files are compressed says nothing about metadata.
        let rules = Rules { class: CompressClass::Auto, ..codecs.rules };
        let choice = if is_metabox {
            codecs.metabox.unwrap_or(Choice::PLAIN)
        } else {
            let own = rules.fragments.map(|fragments| fragments.pcluster_size);
            Choice { pcluster: own.unwrap_or(rules.usual.pcluster), ..rules.usual }
        };
        let size = bytes.len();
        let file = File { content: ContentRef(0), size, choice, tail_room: 0, may_have_duplicate: false };
        let phase = Phase {
            input: &Spooled { bytes },
            codecs,
            rules,
            plain: PlainCoder { block_bits: bits, hole_bits: None, chunk_bits: None },
            fingerprint: None,
            file_dedupe: false,
            block: bits.bytes(),
            segment: pipeline::SEGMENT_SIZE,
            is_internal: true,
            recipes: None,
        };
        let area = Area::new(self.end, bits, 1, rules.is_unaligned());
        let outputs = pipeline::Outputs { image, records: &contents.records, packed: None };
        // Equal parts of fragments are stored once.
        let dedupe = rules.dedupe && !is_metabox;
        let threads = options.workers();
        let memory = options.content.compression.as_ref().map_or(0, |compression| compression.memory);
        let done = pipeline::store(
            phase,
            &[file],
            area,
            outputs,
            &pipeline::Work { threads, memory, dedupe, progress: &Silent },
            Sums::default(),
        )?;
        let record = done.files.first().and_then(|known| known.record);
        let record = record.ok_or_else(|| BuildError::Internal(format!("{}: not stored", which.name())))?;
        for (first, length) in &done.gaps {
            write_zeros(image, *first, first + length)?;
        }
        let end = done.end.next_multiple_of(bits.size());
        clear(image, done.end, end)?;
        self.end = end;
        self.keys.push(done.key);
        let sums = &done.sums.compression;
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        self.incompat |= bit(sums.big_pclusters, incompat::COMPR_CFGS)
            | bit(sums.two_heads, incompat::COMPR_HEAD2)
            | bit(sums.references || sums.interlaced, incompat::FRAGMENTS);
        Ok(Stored { which, size, record })
    }
}
