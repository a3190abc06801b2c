//! The companion of an image: metadata alone, with fingerprints computed here, that refers to the original for contents.
//!
//! ```text
//! original ─ tree ─► refer (where the bytes are) ─► plan ─► fingerprints (parallel) ─► pour
//! ```
//!
//! The original is the one extra device of the companion, and stands in its unified address space right behind the
//! companion's own blocks (`erofs_map_dev`). Files have chunks that name the device; those that are one run of blocks
//! and a tail stay flat, so that the tail stands behind its inode and needs no block of its own. Compressed files keep their
//! extents, whose addresses are those of the unified space, and fragments the packed inode in which they are. For overlayfs
//! there is a second form, whose files have no data and name the file of another layer instead.
//!
//! Reading order: `tree`, `room`, `refer` with `encoded`, `fingerprint`, `commit`.

mod commit;
mod encoded;
mod fingerprint;
mod pages;
mod refer;
mod room;
mod tree;

use erofs_format::compression::{Algorithm, Configs, Lz4Config};
use erofs_format::device::{DeviceSlot, SLOT_SIZE};
use erofs_format::feature::incompat;
use erofs_format::superblock;
use erofs_image::Image;
use erofs_tree::Progress;
use uuid::Uuid;

use crate::compress::{Announced, Foreign};
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::layout::compose::block_32;
use crate::layout::plan::{Plan, Shape};
use crate::metabox::Metabox;
use crate::options::{
    BuildOptions, CompressionOptions, FingerprintOptions, FingerprintValue, MetaboxOptions,
};
use crate::pour::{self, Pouring};
use crate::summary::Summary;
use encoded::Uses;
use refer::{Referral, Referrals};

/// What a companion is for.
#[derive(Debug, Clone)]
pub enum Form {
    /// To be mounted itself, with the original as its device.
    Index {
        /// The fingerprints that its files get; computed, never those of the original.
        fingerprint: FingerprintOptions,
    },
    /// To be the upper of two lower layers of overlayfs, the original being the lower one, which is for data only.
    /// There are no fingerprints: what would be shared are the holes of this image under the name of real contents.
    Overlay,
}

/// Builds the companion of `original` in `image`, its metadata compressed as `metabox` says (Linux 6.17), with so many
/// threads; 0 for one per processor.
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
    let mut gathered = tree::gather(original, form, progress)?;
    gathered.tree.validate()?;
    let fingerprint = options.content.fingerprint.as_ref();
    let dropped = crate::layout::xattrs::sift(&mut gathered.tree, fingerprint, &mut gathered.warnings)?;
    let compressions = options.compressions();
    let arranging = Arranging { original, gathered: &gathered, form, options: &options };
    let Arranged { mut plan, mut announced, referrals, end, start } = arranging.arrange(&compressions)?;
    pour::clear(&plan, &image)?;
    let has_device = matches!(form, Form::Index { .. });
    plan.device_at = has_device.then_some(start);
    let work = commit::Work { plan: &plan, original, nids: &gathered.nids, referrals: &referrals, start };
    let mut outcome = work.run(&image, fingerprint, crate::threads(&options), progress)?;
    announce(&mut announced, original, &referrals, &plan)?;
    let metabox = plan.has_metabox.then(|| Metabox::new(image.scratch()));
    let pouring = Pouring {
        plan: &plan,
        image: &image,
        options: &options,
        compressions: &compressions,
        announced: &announced,
        progress,
    };
    let poured = pour::pour_behind(&pouring, &mut outcome, end, metabox)?;
    if has_device && poured.superblock.blocks > u64::from(start) {
        return Err(BuildError::Internal("the companion reaches into its device".to_owned()));
    }
    let finished = image.finish(poured.image_bytes)?;
    let summary = crate::summarise(&plan, &outcome.sums, &poured, &options);
    let mut warnings = gathered.warnings;
    warnings.extend(finished);
    Ok(Summary { warnings, ..summary.with_dropped(dropped) })
}

/// What places depend on.
struct Arranging<'a> {
    original: &'a Image,
    gathered: &'a tree::Gathered,
    form: &'a Form,
    options: &'a BuildOptions,
}

/// Everything that has a place.
struct Arranged<'a> {
    plan: Plan<'a>,
    announced: Announced,
    referrals: Referrals,
    /// First byte behind everything but the metabox.
    end: u64,
    /// The block of the unified address space at which the original starts.
    start: u32,
}

impl<'a> Arranging<'a> {
    /// Finds a place for everything. Where the original starts decides how long extent records are, which decides how long
    /// the companion is, behind which the original starts: it starts late enough for itself, which one more round finds.
    fn arrange(&self, compressions: &CompressionOptions) -> Result<Arranged<'a>, BuildError> {
        let mut start = 0;
        loop {
            let arranged = self.arrange_at(start, compressions)?;
            let found = u64::from(arranged.start);
            if arranged.referrals.is_same(start, found) {
                return Ok(arranged);
            }
            start = found;
        }
    }

    /// The same, with tables as for an original at block `start`, before which it does not start.
    fn arrange_at(&self, start: u64, compressions: &CompressionOptions) -> Result<Arranged<'a>, BuildError> {
        let mut plan = Plan::prepare(&self.gathered.tree, self.options)?;
        let bits = plan.block_bits;
        let mut referrals = refer::all(&plan, self.original, &self.gathered.nids, self.form, start)?;
        let mut announced = Announced::new(compressions, bits);
        announced.merge(&needs(self.original, referrals.uses), bits)?;
        let records = if matches!(self.form, Form::Index { .. }) {
            announced.device_at(plan.extslots()) + SLOT_SIZE as u64
        } else {
            announced.records.len() as u64
        };
        plan.data_at = plan.front(records)?.end();
        referrals.settle(bits.blocks_floor(plan.data_at));
        let shapes: Vec<_> =
            referrals.list.iter().map(|one| one.as_ref().map(|one| one.shape(bits))).collect();
        let packed = referrals.packed.as_ref().map(|(packed, size)| (packed.shape(bits), *size));
        let own = plan.data_at + referrals.room.own_blocks * bits.size();
        let end = plan.behind(own, &shapes, packed)?;
        let found = device_start(&plan, end, packed.map(|(shape, _)| shape));
        let start = block_32(found.max(start))?;
        Ok(Arranged { plan, announced, referrals, end, start })
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
            found: format!("data on {extra} extra devices of the image"),
            want: "all data in the image itself, because the companion has the image as its only device",
        });
    }
    if let Form::Index { fingerprint: FingerprintOptions { value: FingerprintValue::Source, .. } } = form {
        return Err(BuildError::Options(
            "fingerprints of a companion: found source, want a kind that is computed".to_owned(),
        ));
    }
    Ok(())
}

/// The block at which the device starts in the unified address space: behind the companion, whose inodes name that
/// block before anybody knows how long its metabox will be. A gap between the two is allowed (`erofs_map_dev`).
fn device_start(plan: &Plan<'_>, end: u64, packed: Option<Shape>) -> u64 {
    let bits = plan.block_bits;
    let own = bits.blocks_ceil(end);
    if !plan.has_metabox {
        return own;
    }
    // An index takes 8 bytes per block at most, and a segment of the metabox up to a block more than its content. The packed
    // inode stands outside.
    let metabox = bits.blocks_ceil(plan.inodes_end);
    let packed = packed.map_or(0, |shape| bits.blocks_ceil(u64::from(shape.table) + u64::from(shape.tail)));
    own + metabox + metabox.div_ceil(32) + packed + 64
}

/// What the compressed files of the original need to be read. What files do not make use of is left out, so that no newer
/// kernel is asked for than they need.
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
    // Kernels that do not know of fragments take deduplicated and interlaced pclusters for damage, which have the same bit.
    let kept = incompat::LZ4_0PADDING | incompat::FRAGMENTS;
    let incompat = superblock.incompat & kept
        | bit(uses.big || (has_records && configs.bits() != 0), incompat::COMPR_CFGS)
        | bit(uses.inline, incompat::ZTAILPACKING)
        | bit(uses.two_heads, incompat::COMPR_HEAD2)
        | bit(uses.fragments, incompat::FRAGMENTS)
        | bit(uses.records, incompat::BIT48);
    Foreign { configs, incompat }
}

/// Adds to what the superblock says: chunks, and the device, whose slot the plan has room for.
fn announce(
    announced: &mut Announced,
    original: &Image,
    referrals: &Referrals,
    plan: &Plan<'_>,
) -> Result<(), BuildError> {
    if referrals.iter().any(Referral::is_chunked) {
        announced.add_incompat(incompat::CHUNKED_FILE);
    }
    let Some(start) = plan.device_at else { return Ok(()) };
    // The mark is the UUID of the original, so that people can tell which image belongs to the companion.
    let mut tag = [0; 64];
    let uuid = Uuid::from_bytes(original.superblock().uuid).hyphenated().to_string();
    for (to, from) in tag.iter_mut().zip(uuid.bytes()) {
        *to = from;
    }
    let slot = DeviceSlot { tag, blocks: referrals.room.blocks, uniaddr: u64::from(start) };
    announced.add_device(&slot.encode()?, plan.extslots())?;
    Ok(())
}
