//! Contents: encoded in parallel, placed one after the other in a fixed order, in front of the metadata.
//!
//! ```text
//! feed ─► work: read, fingerprint, encode (any thread) ─► commit (one at a time, in order) ─► write (any thread)
//!                                                              ├─► hash large files (part after part, any thread)
//!                                                              └─► records: what each inode will need
//! ```
//!
//! How long a compressed file is shows only when it is done, and a stream tells what it holds only as it
//! comes. So the metadata comes behind the data, and until then what inodes need waits in a spool. What is
//! decided in order depends on the order of units alone, so one thread or sixty-four give the same image.
//! Memory is bounded by the window of buffers.
//!
//! Reading order: [`feed`], [`work`], [`commit`] with `job`, `large` and `segments`, `pool`; [`input`] is
//! where bytes come from.

pub(crate) mod bounds;
mod commit;
pub(crate) mod feed;
pub(crate) mod input;
mod job;
mod large;
pub(crate) mod listed;
pub(crate) mod pool;
mod segments;
pub(crate) mod stream;
pub(crate) mod work;

pub(crate) use commit::Committed;
pub(crate) use feed::{Feed, File, Unit};
pub(crate) use input::{Input, Opened, Spooled};
pub(crate) use pool::{Outputs, Parallelism};
pub(crate) use work::Phase;

use std::collections::BTreeSet;

use erofs_tree::{Progress, Stage};

use crate::coder::codecs::Choice;
use crate::coder::plain;
use crate::dedupe;
use crate::dedupe::recipe::Recipes;
use crate::error::BuildError;
use crate::store::Area;
use crate::summary::Sums;
use commit::Commit;
use listed::Listed;

/// Files that may be compressed come in segments of so many bytes, each encoded on its own by one worker.
pub(crate) const SEGMENT_SIZE: usize = 16 << 20;
/// The buffers of contents that are stored as they are: some for each worker, and some for parts that wait
/// for their turn.
const BUFFERS_PER_THREAD: usize = 3;
const BUFFERS_SHARED: usize = 6;

/// How the work is done. Only `dedupe` has an influence on the image.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) threads: usize,
    /// Memory for contents on their way, in bytes; 0 for a share of what is free.
    pub(crate) memory: u64,
    /// Equal parts of files are stored once.
    pub(crate) dedupe: bool,
    pub(crate) progress: &'a dyn Progress,
}

/// Stores files that are all known.
pub(crate) fn store(
    phase: Phase<'_>,
    files: &[File],
    area: Area,
    outputs: Outputs<'_>,
    work: &Work<'_>,
    sums: Sums,
) -> Result<Committed, BuildError> {
    let parallelism = parallelism(&phase, files.iter().map(|file| file.choice), work);
    let recipes: Option<Recipes> =
        work.dedupe.then(|| dedupe::find(phase, files, parallelism, work.progress)).transpose()?;
    let phase = Phase { recipes: recipes.as_ref(), ..phase };
    let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    work.progress.begin(Stage::Content, files.len() as u64, bytes);
    let mut feed =
        Listed::new(files, phase.input, phase.segment, phase.plain.hole_bits.is_some(), phase.rules);
    let commit = Commit::new(phase, area, outputs.records, outputs.packed, sums);
    let committed = pool::run(phase, &mut feed, commit, outputs, parallelism, work.progress);
    work.progress.end(Stage::Content);
    committed
}

/// Stores what a feed brings, whose files are encoded in one of the ways of `choices`.
pub(crate) fn store_feed(
    phase: Phase<'_>,
    feed: &mut dyn Feed,
    choices: &[Choice],
    area: Area,
    outputs: Outputs<'_>,
    work: &Work<'_>,
    sums: Sums,
) -> Result<Committed, BuildError> {
    let parallelism = parallelism(&phase, choices.iter().copied(), work);
    let commit = Commit::new(phase, area, outputs.records, outputs.packed, sums);
    pool::run(phase, feed, commit, outputs, parallelism, work.progress)
}

/// The size of segments, where files with these rules are stored.
pub(crate) fn segment_size(rules: &crate::coder::codecs::Rules) -> usize {
    if rules.encodes(rules.usual) { SEGMENT_SIZE } else { plain::SEGMENT_SIZE }
}

/// How many threads work with how many units at the same time, where files are encoded in these ways.
fn parallelism(phase: &Phase<'_>, choices: impl Iterator<Item = Choice>, work: &Work<'_>) -> Parallelism {
    // An encoder for each way, however many files have it.
    let choices: BTreeSet<Choice> = choices.collect();
    let encoder = phase.codecs.memory(&phase.rules, choices.iter().copied(), phase.block);
    let segment = phase.segment as u64;
    let is_encoded = choices.iter().any(|choice| phase.rules.encodes(*choice));
    // Content, and what it is encoded to.
    let unit = if is_encoded { 2 * segment } else { segment };
    shares(work.threads, work.memory, (unit, is_encoded), encoder, erofs_threads::memory::free())
}

/// The same where `free` bytes of memory are free: contents take `memory` bytes, or a quarter of what is free
/// if that is 0, but no more than half of it, which is what encoders of `encoder` bytes each take at most.
fn shares(
    threads: usize,
    memory: u64,
    (unit, is_encoded): (u64, bool),
    encoder: u64,
    free: u64,
) -> Parallelism {
    let given = if memory == 0 { free / 4 } else { memory.min(free / 2) };
    let narrow = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).max(1);
    let units = narrow(given / unit);
    let threads = threads.min(units).min(narrow(free / 2 / encoder.max(1)));
    let wanted = if is_encoded {
        threads + threads.div_ceil(2) + 1
    } else {
        threads * BUFFERS_PER_THREAD + BUFFERS_SHARED
    };
    Parallelism { threads, window: units.min(wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_memory_is_short_fewer_threads_work() {
        const MIB: u64 = 1 << 20;
        for (threads, memory, encoder, free, work, window) in [
            (4, 0, 30, 8000, 4, 7),
            (4, 0, 100, 600, 3, 4),
            (4, 0, 30, 130, 1, 1),
            (4, 0, 30, 0, 1, 1),
            (4, 64, 30, 8000, 2, 2),
            (4, 4000, 1, 200, 3, 3),
            (4, 64, 8000, 8000, 1, 2),
            (1, 0, 0, 8000, 1, 3),
        ] {
            let found = shares(threads, memory * MIB, (32 * MIB, true), encoder * MIB, free * MIB);
            assert_eq!((found.threads, found.window), (work, window), "{threads} {memory} {encoder} {free}");
        }
        for (threads, free, work, window) in
            [(2, 8000, 2, 12), (2, 16, 2, 4), (64, 8000, 64, 198), (64, 20, 5, 5)]
        {
            let found = shares(threads, 0, (MIB, false), 0, free * MIB);
            assert_eq!((found.threads, found.window), (work, window), "{threads} {free}");
        }
    }
}
