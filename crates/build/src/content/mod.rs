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
pub(crate) mod holes;
mod large;
mod pool;
mod read;
mod units;
mod write;

pub(crate) use read::fill;
pub(crate) use units::{File, Unit, Units, files};
pub(crate) use write::Inodes;

use std::collections::BTreeMap;

use erofs_tree::{InodeId, Progress, Source, Stage};

use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::layout::compose::Data;
use crate::layout::plan::Plan;
use crate::metabox::InodeArea;
use crate::options::BuildOptions;

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

/// Reads the contents of all files of the plan's tree and stores them, and their inodes in `area`.
pub(crate) fn store(
    plan: &Plan<'_>,
    source: &dyn Source,
    image: &ImageFile,
    area: InodeArea<'_>,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Stored, BuildError> {
    let files = files(plan.tree, &plan.order);
    let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    progress.begin(Stage::Content, files.len() as u64, bytes);
    let reader = read::Reader {
        source,
        plan,
        files: &files,
        options: &options.content,
        hole_bits: options.hole_bits(),
    };
    let outcome = pool::run(reader, image, area, crate::threads(options), progress);
    progress.end(Stage::Content);
    outcome
}
