//! File contents: read once, in parallel; placed one after the other, in a fixed order; written in parallel.
//!
//! ```text
//! units ─► read (any thread) ─► commit (one at a time, in order) ─► write data and inodes (any thread)
//!                                        └─► hash large files (segment after segment, any thread)
//! ```
//!
//! One thread or sixty-four give the same image: what is decided in order (places, which of two equal files is
//! stored) depends on the order of units alone. Memory is bounded by the window of buffers.

mod area;
mod commit;
mod holes;
mod large;
mod opened;
mod pool;
mod read;
mod units;
mod write;

pub(crate) use opened::{Input, Opened};
pub(crate) use units::{File, Unit, Units, files};
pub(crate) use write::Inodes;

use std::collections::BTreeMap;

use erofs_tree::{InodeId, Progress, Source, Stage};

use crate::error::{BuildError, shown};
use crate::image_file::ImageFile;
use crate::layout::compose::Data;
use crate::layout::plan::Plan;
use crate::metabox::InodeArea;
use crate::options::{ContentOptions, FingerprintOptions};

/// What became of the contents.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the names are those of the summary")]
pub(crate) struct Stored {
    /// First block behind the data.
    pub(crate) end_block: u64,
    /// Blocks that are to be zeros and have not been written: first one and count.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Inodes whose chunk table did not fit into the place that the plan had for them, with all that they need.
    pub(crate) moved: BTreeMap<InodeId, (Data, Option<Vec<u8>>)>,
    /// Bytes of data blocks and inline tails.
    pub(crate) stored_bytes: u64,
    /// Bytes not stored because equal ones were.
    pub(crate) deduplicated_bytes: u64,
    /// Bytes not stored because they are zeros.
    pub(crate) hole_bytes: u64,
    /// Fingerprints that were written.
    pub(crate) fingerprints: u64,
    /// Whether any inode has chunks.
    pub(crate) chunked: bool,
    /// Stands for all contents, in the order in which they are stored.
    pub(crate) key: u128,
}

/// The longest chunk table, in entries: 2^26 entries of 4 bytes, for 64 TiB in chunks of 1 MiB. It is in
/// memory while the image is made.
const CHUNKS_MAX: u64 = 1 << 26;
/// The longest compressed file, in blocks: its index has at least 2 bytes for each, and inodes with what
/// belongs to them are counted in 32 bits.
const COMPRESSED_BLOCKS_MAX: u64 = 1 << 31;
/// The longest file that is hashed, in bytes. More than that is nothing but holes, and takes hours.
const HASHED_MAX: u64 = 1 << 44;

/// Refuses files whose holes are so long that the work on them would not end or not fit into memory.
pub(crate) fn check_sizes(
    plan: &Plan<'_>,
    files: &[File],
    options: &ContentOptions,
) -> Result<(), BuildError> {
    let hashed = options.fingerprint.as_ref().is_some_and(FingerprintOptions::is_computed);
    // Large files come first.
    for file in files.iter().take_while(|file| file.size > holes::SEGMENT_SIZE as u64) {
        let (unit, count, why) = if hashed && file.size > HASHED_MAX {
            (1, HASHED_MAX, "fingerprints of longer ones take hours")
        } else if options.compression.is_some() {
            (plan.block_bits.size(), COMPRESSED_BLOCKS_MAX, "an index has no room for more blocks")
        } else {
            let bits = options.chunks.map(|chunks| chunks.bits);
            let bits = bits.unwrap_or_else(|| holes::unit_bits(file.size, plan.block_bits));
            (1 << bits, CHUNKS_MAX, "there is no room for more chunks, but --chunksize makes them longer")
        };
        if file.size.div_ceil(unit) > count {
            let path = shown(&plan.tree.path_of(file.inode));
            let most = u128::from(unit) * u128::from(count);
            return Err(BuildError::Long { path, found: file.size, most, why });
        }
    }
    Ok(())
}

/// Reads the contents of all files of the plan's tree and stores them, and their inodes in `area`.
pub(crate) fn store(
    plan: &Plan<'_>,
    source: &dyn Source,
    image: &ImageFile,
    area: InodeArea<'_>,
    options: &ContentOptions,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Stored, BuildError> {
    let files = files(plan.tree, &plan.order);
    check_sizes(plan, &files, options)?;
    let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    progress.begin(Stage::Content, files.len() as u64, bytes);
    let input = Opened::new(source);
    let reader = read::Reader { input: &input, plan, files: &files, options };
    let outcome = pool::run(reader, image, area, threads, progress);
    progress.end(Stage::Content);
    outcome
}
