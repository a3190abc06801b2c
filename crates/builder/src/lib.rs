//! The EROFS builder: the same tree and options give the same bytes.
//!
//! ```text
//! source ─ scan ─► tree ─ shape, sift ─► plan (pure: every place) ─► content (parallel) ─► pour ─► name
//! ```
//!
//! Sizes are known from the scan, so the plan has a place for every inode before any content is read. Contents are
//! then read once, hashed, given blocks behind the metadata and written, together with their inodes. Directories and
//! the superblock come last, then the image gets its name.
//!
//! Reading order: [`options`], [`summary`], `layout` (places and bytes, no I/O), `content` (the parallel stage),
//! `pour` (the rest) with `inodes`, [`image_file`] (what is written to). Invariant: order comes from the tree alone; nothing here
//! looks at a clock, a random number or the iteration order of a hash table.

pub mod companion;
pub mod error;
pub mod image_file;
pub mod options;
pub mod output;
pub mod summary;

mod buffer;
mod compress;
mod content;
mod inodes;
mod key;
mod layout;
mod metabox;
mod pour;
mod seal;
mod zeros;

use erofs_format::feature::PAGE_CACHE_SHARE_SINCE;
use erofs_tree::{Progress, Source};

pub use error::BuildError;
pub use image_file::ImageFile;
pub use options::BuildOptions;
pub use summary::Summary;

use layout::plan::Plan;
use metabox::{InodeArea, Metabox};
use pour::{Poured, Pouring};
use summary::{FingerprintSummary, Sums};

/// The version of the layout: the promise that the same tree and options give the same bytes. What it holds is written
/// in `docs/layout-1.md`.
pub const LAYOUT_VERSION: u32 = 1;

/// Builds the image of `source` in `image`.
///
/// # Errors
///
/// Every error leaves the target as it was, but for what is written in place (see [`image_file`]): a file is
/// empty then, and a device holds no image. A folder that cannot be synced is a warning, because the new
/// image is there.
pub fn build(
    source: &mut dyn Source,
    image: ImageFile,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Summary, BuildError> {
    options.check()?;
    let mut tree = source.scan(progress)?;
    // A few milliseconds for 100,000 inodes: whatever made the tree, what follows may rely on it.
    tree.validate()?;
    erofs_tree::apply(&mut tree, &options.shape)?;
    let mut warnings = source.warnings();
    let dropped = layout::xattrs::sift(&mut tree, options.content.fingerprint.as_ref(), &mut warnings)?;
    let summary = if options.content.compression.is_some() {
        compressed(&tree, source, image, options, progress)?
    } else {
        plain(&tree, source, image, options, progress)?
    };
    warnings.extend(summary.warnings);
    Ok(Summary { warnings, ..summary }.with_dropped(dropped))
}

/// Builds an image whose contents are stored as they are.
fn plain(
    tree: &erofs_tree::Tree,
    source: &dyn Source,
    image: ImageFile,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Summary, BuildError> {
    let compressions = options.compressions();
    let announced = compress::Announced::new(&compressions, options.content.block_bits);
    let plan = Plan::new(tree, options, announced.records.len() as u64)?;
    pour::clear(&plan, &image)?;
    let metabox = plan.has_metabox.then(|| Metabox::new(image.scratch()));
    let area = InodeArea::new(&image, metabox.as_ref());
    let stored = content::store(&plan, source, &image, area, options, progress)?;
    let pouring = Pouring {
        plan: &plan,
        image: &image,
        options,
        compressions: &compressions,
        announced: &announced,
        progress,
    };
    let poured = pour::pour(&pouring, &stored, metabox)?;
    let warnings = image.finish(poured.image_bytes)?;
    Ok(Summary { warnings, ..summarise(&plan, &Sums::of(&stored), &poured, options) })
}

/// Builds an image whose contents are compressed: they come first, because how long they are shows only then.
fn compressed(
    tree: &erofs_tree::Tree,
    source: &dyn Source,
    image: ImageFile,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Summary, BuildError> {
    let mut plan = Plan::prepare(tree, options)?;
    let compressions = options.compressions();
    let announced = compress::Announced::new(&compressions, plan.block_bits);
    plan.data_at = plan.front(announced.records.len() as u64)?.end();
    pour::clear(&plan, &image)?;
    let contents = compress::Contents {
        source,
        options: &options.content,
        compression: &compressions,
        hole_bits: options.hole_bits(),
    };
    let mut outcome = compress::store(&plan, contents, &image, threads(options), progress)?;
    let packed = outcome.packed.map(|(body, size)| (body.shape(), size));
    let end = plan.behind(outcome.end, &outcome.shapes(), packed)?;
    let metabox = plan.has_metabox.then(|| Metabox::new(image.scratch()));
    let pouring = Pouring {
        plan: &plan,
        image: &image,
        options,
        compressions: &compressions,
        announced: &announced,
        progress,
    };
    let poured = pour::pour_behind(&pouring, &mut outcome, end, metabox)?;
    let warnings = image.finish(poured.image_bytes)?;
    Ok(Summary { warnings, ..summarise(&plan, &outcome.sums, &poured, options) })
}

/// How many threads work.
fn threads(options: &BuildOptions) -> usize {
    erofs_threads::count(options.threads)
}

fn summarise(plan: &Plan<'_>, sums: &Sums, poured: &Poured, options: &BuildOptions) -> Summary {
    let counts = plan.tree.counts();
    let superblock = &poured.superblock;
    let fingerprints = options.content.fingerprint.as_ref().map(|wanted| FingerprintSummary {
        key: wanted.key.clone(),
        digest: wanted.value.name(),
        files: sums.fingerprints,
        dropped_from_source: 0,
    });
    Summary {
        image_bytes: poured.image_bytes,
        block_size: superblock.block_bits.size(),
        uuid: superblock.uuid,
        inodes: counts.inodes,
        files: counts.files,
        directories: counts.directories,
        symlinks: counts.symlinks,
        special_files: counts.devices + counts.fifos + counts.sockets,
        hard_links: counts.hard_links,
        logical_bytes: counts.file_bytes,
        stored_bytes: sums.stored_bytes,
        deduplicated_bytes: sums.deduplicated_bytes,
        hole_bytes: sums.hole_bytes,
        compression: options.content.compression.as_ref().map(|_| sums.compression.clone()),
        kernel_to_share: fingerprints.is_some().then_some(PAGE_CACHE_SHARE_SINCE),
        fingerprints,
        metabox: poured.metabox,
        compat: superblock.compat,
        incompat: superblock.incompat,
        kernel_to_mount: superblock.first_kernel(),
        kernel_needs: superblock.kernel_needs(),
        warnings: Vec::new(),
    }
}
