//! The companion of an image: metadata alone, with fingerprints computed here, that refers to the original for contents.
//!
//! ```text
//! original ─ tree ─► refer (where the bytes are) ─► plan ─► fingerprints (parallel) ─► pour
//! ```
//!
//! The original is the one extra device of the companion, and stands in its unified address space right behind the
//! companion's own blocks (`erofs_map_dev`). Files have chunks that name the device; those that are one run of blocks
//! and a tail stay flat, so that the tail stands behind its inode and needs no block of its own. For overlayfs there is a
//! second form, whose files have no data and name the file of another layer instead.
//!
//! Reading order: `tree`, `refer`, `fingerprint`, `commit`.

mod commit;
mod fingerprint;
mod refer;
mod tree;

use erofs_format::datalayout::DataLayout;
use erofs_format::device::{DeviceSlot, SLOT_SIZE};
use erofs_format::feature::incompat;
use erofs_format::superblock;
use erofs_image::Image;
use erofs_tree::Progress;
use uuid::Uuid;

use crate::compress::Announced;
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::layout::compose::block_32;
use crate::layout::plan::Plan;
use crate::metabox::Metabox;
use crate::options::{BuildOptions, FingerprintOptions, FingerprintValue, MetaboxOptions};
use crate::pour::{self, Pouring};
use crate::summary::Summary;
use refer::Referral;

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
/// Refused are originals with extra devices, and with files whose data is compressed. Every error leaves the target as
/// [`crate::build`] says.
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
    let has_device = matches!(form, Form::Index { .. });
    let mut plan = Plan::prepare(&gathered.tree, &options)?;
    let compressions = options.compressions();
    let mut announced = Announced::new(&compressions, plan.block_bits);
    let records = if has_device {
        announced.device_at(plan.extslots()) + SLOT_SIZE as u64
    } else {
        announced.records.len() as u64
    };
    plan.data_at = plan.front(records)?.end();
    pour::clear(&plan, &image)?;
    let referrals = refer::all(&plan, original, &gathered.nids, form)?;
    let shapes: Vec<_> =
        referrals.list.iter().map(|one| one.as_ref().map(|one| one.shape(plan.block_bits))).collect();
    let end = plan.behind(referrals.end, &shapes, None)?;
    let start = block_32(device_start(&plan, end))?;
    plan.device_at = has_device.then_some(start);
    let work = commit::Work { plan: &plan, original, nids: &gathered.nids, referrals: &referrals, start };
    let mut outcome = work.run(&image, fingerprint, crate::threads(&options), progress)?;
    announce(&mut announced, original, &referrals, &plan)?;
    let metabox = plan.has_metabox.then(|| Metabox::new(image.folder()));
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
    image.finish(poured.image_bytes)?;
    let summary = crate::summarise(&plan, &outcome.sums, &poured, &options);
    Ok(Summary { warnings: gathered.warnings, ..summary.with_dropped(dropped) })
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
fn device_start(plan: &Plan<'_>, end: u64) -> u64 {
    let bits = plan.block_bits;
    let own = bits.blocks_ceil(end);
    if !plan.has_metabox {
        return own;
    }
    // An index takes 8 bytes per block at most, and a segment of the metabox up to a block more than its content.
    let metabox = bits.blocks_ceil(plan.inodes_end);
    own + metabox + metabox.div_ceil(32) + 64
}

/// Adds to what the superblock says: chunks, and the device, whose slot the plan has room for.
fn announce(
    announced: &mut Announced,
    original: &Image,
    referrals: &refer::Referrals,
    plan: &Plan<'_>,
) -> Result<(), BuildError> {
    let is_chunked = |one: &Referral| one.layout == DataLayout::ChunkBased;
    if referrals.list.iter().flatten().any(is_chunked) {
        announced.add_incompat(incompat::CHUNKED_FILE);
    }
    let Some(start) = plan.device_at else { return Ok(()) };
    // The mark is the UUID of the original, so that people can tell which image belongs to the companion.
    let mut tag = [0; 64];
    let uuid = Uuid::from_bytes(original.superblock().uuid).hyphenated().to_string();
    for (to, from) in tag.iter_mut().zip(uuid.bytes()) {
        *to = from;
    }
    let slot = DeviceSlot { tag, blocks: referrals.blocks, uniaddr: u64::from(start) };
    announced.add_device(&slot.encode()?, plan.extslots())?;
    Ok(())
}
