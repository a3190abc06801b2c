//! The companion of an image: metadata alone, with fingerprints computed here, that refers to the original
//! for contents.
//!
//! ```text
//! original ─► tree
//!          └► feed (where each file is stored) ─► pipeline (fingerprints, copies) ─► layout ─► finish
//! ```
//!
//! The original is the one extra device of the companion. In the unified address space it starts behind the
//! companion's own blocks (`erofs_map_dev`). Files have chunks that name the device; those that are one run
//! of blocks and a tail stay flat, so that the tail follows the inode and needs no block of its own.
//! Compressed files keep their extents, whose addresses are those of the unified space, and fragments the
//! packed inode in which they are. For overlayfs there is a second form, whose files have no data and name
//! the file of another layer instead.
//!
//! Reading order: `tree`, `feed`, `plain` with `piece` and `pages`, `encoded`, `bounds`.

mod bounds;
mod encoded;
mod feed;
mod form;
mod pages;
mod piece;
mod plain;
mod tree;

use erofs_format::compression::{Algorithm, Configs, Lz4Config};
use erofs_format::device::{DeviceSlot, SLOT_SIZE};
use erofs_format::feature::incompat;
use erofs_format::inode::EXTENDED_SIZE;
use erofs_format::superblock;
use erofs_format::words::noun;
use erofs_image::{Budget, FileData, Image};
use erofs_tree::{Kind, Progress, Stage, Tree};
use uuid::Uuid;

use crate::coder::codecs::{Choice, Codecs};
use crate::content::Record;
use crate::error::BuildError;
use crate::finish::announce::{Announced, Foreign};
use crate::finish::front::Front;
use crate::finish::{self, Context, PackedContent};
use crate::image_file::ImageFile;
use crate::key;
use crate::layout::headers::Headers;
use crate::layout::place::Layout;
use crate::layout::prefixes::Prefixes;
use crate::layout::table::{Tables, block_32};
use crate::option_error::{Field, OptionError};
use crate::options::{BuildOptions, FingerprintOptions, FingerprintValue, MetaboxOptions};
use crate::pipeline::{self, Phase};
use crate::store::{Area, Spool};
use crate::summary::{Summary, Sums};
use bounds::Bounds;
use encoded::Uses;
use feed::{Files, Referring};
pub use form::Form;

/// Builds the companion of `original` in `image`, its metadata compressed as `metabox` says (Linux 6.17),
/// with so many threads; 0 for one per processor.
///
/// Its bytes depend on the original, the form and `metabox` alone.
///
/// # Errors
///
/// Refused are originals with extra devices. Every error leaves the target as [`crate::build`] says.
pub fn build(
    original: &Image,
    image: ImageFile,
    form: &Form,
    metabox: Option<MetaboxOptions>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Summary, BuildError> {
    let mut options = options(original, form, threads);
    options.layout.metabox = metabox;
    options.check()?;
    check(original, form)?;
    let gathered = tree::gather(original, form, progress)?;
    let (mut tree, mut warnings) = (gathered.tree, gathered.warnings);
    tree.validate()?;
    let bits = options.content.block_bits;
    let fingerprint = options.content.fingerprint.as_ref();
    let dropped = crate::layout::xattrs::sift(&mut tree, fingerprint, bits.size(), &mut warnings)?;
    check_contents(&tree, original, fingerprint)?;
    let codecs = Codecs::new(&options);
    let prefixes = Prefixes::new(&options)?;
    let front = Front::new(&options, &prefixes, announced_max())?;
    finish::begin(&front, &image)?;

    let files = Files { original, tree: &tree, nids: &gathered.nids };
    let phase = Phase { file_dedupe: false, ..crate::phase(&files, &codecs, &options) };
    let list = crate::files(&tree, &phase, &options);
    // Kernels that read compressed metadata know extent records.
    let bounds = Bounds::of(original, options.layout.metabox.is_some());
    let mut feed = Referring::new(files, list, form, bounds);
    let records = Spool::new(image.scratch());
    let outputs = pipeline::Outputs { image: &image, records: &records, packed: None };
    let area = Area::new(front.data_at, bits, 1, false);
    let bytes = tree.counts().file_bytes;
    progress.begin(Stage::Content, tree.counts().files, bytes);
    let work = crate::work(&options, &codecs, progress);
    let committed =
        pipeline::store_feed(phase, &mut feed, &[Choice::PLAIN], area, outputs, &work, Sums::default())?;
    progress.end(Stage::Content);
    let Referring { uses, bounds, .. } = feed;

    let packed = committed.files.iter().find(|known| known.content == files.packed());
    let packed = packed.and_then(|known| known.record).zip(original.packed().map(FileData::len));
    let mut contents = crate::contents(&tree, committed, records);
    let mut announced = Announced::new(&codecs, bits);
    announced.merge(&needs(original, uses), bits)?;
    let arranging = Arranging { tree: &tree, options: &options, prefixes: &prefixes, contents: &contents };
    let has_device = matches!(form, Form::Index { .. });
    let (layout, tables) =
        if has_device { arranging.with_device(packed.as_ref())? } else { arranging.at(None)? };
    if let Some(&start) = tables.devices.first() {
        let slot = slot(original, start, bounds.blocks)?;
        announced.add_device(&slot, layout.headers.extslots())?;
        contents.key =
            key::joined(&[contents.key, u128::from_le_bytes(original.superblock().uuid), start.into()]);
    }
    let context = Context {
        layout: &layout,
        contents: &contents,
        tables: &tables,
        front: &front,
        codecs: &codecs,
        announced: &announced,
        image: &image,
        options: &options,
        progress,
    };
    let finished =
        finish::finish(&context, packed.map(|(record, size)| PackedContent::Stored(record, size)))?;
    if tables.devices.first().is_some_and(|&start| finished.superblock.blocks > start) {
        return Err(BuildError::Internal("the companion reaches into its device".to_owned()));
    }
    warnings.extend(image.finish(finished.image_bytes)?);
    let summary = crate::summarise(&tree, &contents.sums, &finished, &options);
    Ok(Summary { warnings, ..summary.with_dropped(dropped) })
}

/// What the places of metadata depend on.
struct Arranging<'t, 'a> {
    tree: &'t Tree,
    options: &'a BuildOptions,
    prefixes: &'a Prefixes,
    contents: &'a finish::Contents,
}

impl<'t> Arranging<'t, '_> {
    /// Places for all metadata, where the original starts at this block, if it is a device.
    fn at(&self, start: Option<u64>) -> Result<(Layout<'t>, Tables), BuildError> {
        let tables = Tables {
            block_bits: self.options.content.block_bits,
            forces_indexes: false,
            devices: start.into_iter().collect(),
        };
        let headers = Headers::new(self.tree, self.options, self.prefixes.clone());
        let threads = self.options.workers();
        let shapes = finish::inodes::shapes(&headers, self.contents, &tables, threads)?;
        Ok((Layout::new(headers, &shapes, self.contents.end)?, tables))
    }

    /// The same with a start behind the companion. It decides how long extent records are, which decide how
    /// long the companion is: it moves up until there is room, and the longest records are reached soon.
    fn with_device(&self, packed: Option<&(Record, u64)>) -> Result<(Layout<'t>, Tables), BuildError> {
        let mut start = 0;
        loop {
            let (layout, tables) = self.at(Some(start))?;
            let packed = packed.map(|packed| self.packed(packed, &tables)).transpose()?;
            let found = device_start(&layout, packed);
            if found <= start {
                return Ok((layout, tables));
            }
            start = u64::from(block_32(found)?);
        }
    }
}

impl Arranging<'_, '_> {
    /// Bytes that follow the inode of the packed inode, which has this record and size.
    fn packed(&self, (record, size): &(Record, u64), tables: &Tables) -> Result<u64, BuildError> {
        let mut bytes = Vec::new();
        self.contents.records.load(record.range(), &mut bytes).map_err(BuildError::spool)?;
        let shape = tables.shape(record, *size, EXTENDED_SIZE as u64, &bytes)?;
        Ok(u64::from(shape.table) + u64::from(shape.tail))
    }
}

/// The options of a build that leads to the same tree.
fn options(original: &Image, form: &Form, threads: usize) -> BuildOptions {
    let superblock = original.superblock();
    let mut options = BuildOptions { threads, ..BuildOptions::default() };
    options.content.block_bits = superblock.block_bits;
    options.content.fingerprint = match form {
        Form::Index { fingerprint } => Some(fingerprint.clone()),
        Form::Overlay => None,
    };
    options.layout.build_time = superblock.epoch.saturating_add(i64::from(superblock.build_time));
    let label = superblock.volume_name.split(|byte| *byte == 0).next().unwrap_or_default();
    options.layout.volume_label = label.iter().copied().take(superblock::LABEL_MAX).collect();
    options
}

/// Refuses what no companion can refer to.
fn check(original: &Image, form: &Form) -> Result<(), BuildError> {
    let extra = original.devices().slots().len();
    if extra != 0 && matches!(form, Form::Index { .. }) {
        return Err(BuildError::Refer {
            path: "/".to_owned(),
            found: format!("data on {extra} extra {} of the image", noun(extra, "device", "devices")),
            want: "all data in the image itself, because the companion has the image as its only device",
        });
    }
    if let Form::Index { fingerprint: FingerprintOptions { value: FingerprintValue::Source, .. } } = form {
        return Err(OptionError::new(Field::Fingerprint, "source", "a kind that is computed").into());
    }
    Ok(())
}

/// Refuses contents that would take hours to hash.
fn check_contents(
    tree: &Tree,
    original: &Image,
    fingerprint: Option<&FingerprintOptions>,
) -> Result<(), BuildError> {
    if fingerprint.is_none() {
        return Ok(());
    }
    let sizes =
        tree.inodes.iter().map(|inode| if let Kind::File { size, .. } = inode.kind { size } else { 0 });
    let bytes = sizes.fold(0_u64, u64::saturating_add);
    Ok(Budget::contents(&original.limits()).take(bytes)?)
}

/// The most bytes that configurations and the device slot take behind the superblock. Which algorithms files
/// make use of is known when all of them were looked at.
fn announced_max() -> u64 {
    let all = Configs {
        lz4: Some(Lz4Config { max_distance: 0, max_pclusterblks: 1 }),
        lzma_dict_size: Some(0),
        deflate_windowbits: Some(0),
        zstd_windowlog: Some(0),
    };
    (all.encode().len() + 2 * SLOT_SIZE) as u64
}

/// The block at which the device starts in the unified address space: behind the companion, whose inodes name
/// that block before it is known how long its metabox will be. Where there is a packed inode, `packed` bytes
/// follow it. A gap between the two is allowed (`erofs_map_dev`).
fn device_start(layout: &Layout<'_>, packed: Option<u64>) -> u64 {
    let bits = layout.headers.block_bits;
    let own = bits.blocks_ceil(layout.end);
    // An index takes 8 bytes per block at most, and a segment of the metabox up to a block more than its
    // content.
    let metabox = if layout.headers.has_metabox { bits.blocks_ceil(layout.inodes_end) } else { 0 };
    let has_internal = layout.headers.has_metabox || packed.is_some();
    let outside = if has_internal { bits.blocks_ceil(packed.unwrap_or(0)) + 64 } else { 0 };
    own + metabox + metabox.div_ceil(32) + outside
}

/// What the compressed files of the original need to be read. What files do not make use of is left out, so
/// that no newer kernel is asked for than they need.
fn needs(original: &Image, uses: Uses) -> Foreign {
    if !uses.any {
        return Foreign::default();
    }
    let superblock = original.superblock();
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    let has_records = superblock.incompat & incompat::COMPR_CFGS != 0;
    let all = if has_records {
        *original.compression_configs()
    } else {
        let lz4 = Lz4Config { max_distance: superblock.compression, max_pclusterblks: 1 };
        Configs { lz4: Some(lz4), ..Configs::default() }
    };
    let has = |algorithm: Algorithm| uses.algorithms & algorithm.bit() != 0;
    let configs = Configs {
        lz4: all.lz4.filter(|_| has(Algorithm::Lz4)),
        lzma_dict_size: all.lzma_dict_size.filter(|_| has(Algorithm::Lzma)),
        deflate_windowbits: all.deflate_windowbits.filter(|_| has(Algorithm::Deflate)),
        zstd_windowlog: all.zstd_windowlog.filter(|_| has(Algorithm::Zstd)),
    };
    // Kernels that do not know of fragments take deduplicated and interlaced pclusters for damage, which have
    // the same bit.
    let kept = incompat::LZ4_0PADDING | incompat::FRAGMENTS;
    let incompat = superblock.incompat & kept
        | bit(has_records && configs.bits() != 0, incompat::COMPR_CFGS)
        | bit(uses.fragments, incompat::FRAGMENTS)
        | bit(uses.records, incompat::BIT48);
    Foreign { configs, incompat }
}

/// The slot of the original, which has so many blocks and starts at block `start`.
fn slot(original: &Image, start: u64, blocks: u64) -> Result<Vec<u8>, BuildError> {
    // The mark is the UUID of the original, so that people can tell which image belongs to the companion.
    let mut tag = [0; 64];
    let uuid = Uuid::from_bytes(original.superblock().uuid).hyphenated().to_string();
    for (to, from) in tag.iter_mut().zip(uuid.bytes()) {
        *to = from;
    }
    Ok(DeviceSlot { tag, blocks, uniaddr: start }.encode()?)
}
