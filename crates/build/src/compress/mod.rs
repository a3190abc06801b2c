//! Compressed contents: encoded in parallel, placed one after the other in a fixed order, in front of the metadata.
//!
//! ```text
//! units ─► work: read, fingerprint, encode (any thread) ─► commit (one at a time, in order) ─► write (any thread)
//!                                                              └─► spool: what each inode will need
//! ```
//!
//! How long a compressed file is shows only when it is done, so the metadata comes behind the data here. Until then an
//! inode's index, tail and fingerprint wait in a spool. What is decided in order depends on the order of units alone,
//! so one thread or sixty-four give the same image.
//!
//! Reading order: `encode` (one file's pclusters), `work` (a unit), `body` (what an inode needs), `commit`, `pool`; then
//! `dedupe` (who refers to whom, before all that) with `own` (what stands between references), and `nameless` (the
//! packed inode and the metabox).

mod area;
mod body;
mod commit;
mod dedupe;
mod encode;
mod index;
mod nameless;
mod own;
mod pool;
mod spool;
mod superblock;
mod work;

pub(crate) use body::Body;
pub(crate) use index::encode_shaped;
pub(crate) use nameless::{Special, StoredSpecial, store as store_special};
pub(crate) use spool::Spool;
pub(crate) use superblock::{Announced, Foreign};

use erofs_tree::{ContentRef, Progress, Silent, Source, Stage};

use crate::content::{File, Units, files, fill};
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::key;
use crate::layout::plan::{Plan, Shape};
use crate::options::{CompressHint, CompressionOptions, ContentOptions, FragmentOptions};
use crate::summary::Sums;
use area::ByteArea;
use commit::{Commit, Packed};
use dedupe::Recipes;
use pool::Force;
use work::{Choice, Input, Phase};

/// Files up to this many bytes are encoded by one worker; longer ones in segments of this size, each on its own.
const SEGMENT_SIZE: usize = 16 << 20;

/// What became of the contents.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// One per inode of the tree: what regular files with content need.
    pub(crate) bodies: Vec<Option<Body>>,
    /// Where the bodies' bytes are.
    pub(crate) spool: Spool,
    /// The packed inode and its size.
    pub(crate) packed: Option<(Body, u64)>,
    /// Its content, where directories are still to come.
    pub(crate) unpacked: Option<Spool>,
    /// First byte behind the data.
    pub(crate) end: u64,
    /// Bytes that are to be zeros and were not written: first one and length.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Stands for all contents and their places.
    pub(crate) key: u128,
    pub(crate) sums: Sums,
}

impl Outcome {
    /// The shapes of the inodes, for the plan.
    pub(crate) fn shapes(&self) -> Vec<Option<Shape>> {
        self.bodies.iter().map(|body| body.map(|body| body.shape())).collect()
    }
}

/// The files of the source.
struct Files<'s>(&'s dyn Source);

impl Input for Files<'_> {
    fn fill(&self, file: &File, offset: u64, bytes: &mut [u8]) -> Result<(), BuildError> {
        fill(self.0, file, offset, bytes)
    }

    fn changed(&self, file: &File) -> BuildError {
        BuildError::Changed { path: self.0.path(file.content) }
    }
}

/// The content of the packed inode.
struct Fragments(Spool);

impl Input for Fragments {
    fn fill(&self, _file: &File, offset: u64, bytes: &mut [u8]) -> Result<(), BuildError> {
        self.0.read(offset, bytes).map_err(BuildError::spool)
    }

    fn changed(&self, _file: &File) -> BuildError {
        BuildError::Internal("the temporary file beside the image has changed".into())
    }
}

/// Where contents come from and what becomes of them.
#[derive(Clone, Copy)]
pub(crate) struct Contents<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) options: &'a ContentOptions,
    pub(crate) compression: &'a CompressionOptions,
}

/// Encodes and stores the contents of all files of the tree in the plan's data area.
pub(crate) fn store(
    plan: &Plan<'_>,
    contents: Contents<'_>,
    image: &ImageFile,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Outcome, BuildError> {
    let Contents { source, options, compression } = contents;
    let files = files(plan.tree, &plan.walk());
    let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    let input = Files(source);
    let choices = choices(plan, &files, compression);
    let phase = Phase {
        input: &input,
        files: &files,
        choices: &choices,
        compression,
        fingerprint: options.fingerprint.as_ref(),
        file_dedupe: options.file_dedupe,
        block: plan.block_bits.bytes(),
        is_packed: false,
        recipes: None,
    };
    let force = force(threads, phase);
    // Where all contents go to the packed inode, equal parts are looked for there.
    let all_packed = compression.fragments.is_some_and(|fragments| fragments.all);
    let recipes = recipes(phase, compression.dedupe && !all_packed, force, progress)?;
    let phase = Phase { recipes: recipes.as_ref(), ..phase };
    progress.begin(Stage::Content, files.len() as u64, bytes);
    let folder = image.folder();
    let area = ByteArea::new(plan.data_at, plan.block_bits, options.dsunit, phase.is_tight());
    let packs = compression.fragments.is_some() || plan.packs_directories();
    let packed = packs.then(|| Packed::new(Spool::new(folder)));
    let commit = Commit::new(phase, plan, area, Spool::new(folder), packed, Sums::default());
    let units = Units::with_segments(&files, SEGMENT_SIZE);
    let mut commit = pool::run(phase, units, commit, image, force, progress)?;
    let mut bodies = vec![None; plan.tree.inodes.len()];
    for (file, body) in files.iter().zip(std::mem::take(&mut commit.bodies)) {
        bodies[file.inode.index()] = body;
    }
    let key = commit.key();
    let packed = commit.packed.take();
    let outcome = Outcome {
        bodies,
        end: 0,
        gaps: Vec::new(),
        key,
        packed: None,
        unpacked: None,
        sums: commit.sums,
        spool: commit.spool,
    };
    let outcome = if plan.packs_directories() {
        let unpacked = packed.map(|packed| packed.bytes);
        Outcome { end: commit.area.next(), gaps: commit.area.into_gaps(), unpacked, ..outcome }
    } else {
        pack(phase, plan, outcome, commit.area, packed, image, force)?
    };
    progress.end(Stage::Content);
    Ok(outcome)
}

/// What refers to what among the files of the phase, if `wanted`.
fn recipes(
    phase: Phase<'_>,
    wanted: bool,
    force: Force,
    progress: &dyn Progress,
) -> Result<Option<Recipes>, BuildError> {
    let units = Units::with_segments(phase.files, SEGMENT_SIZE);
    wanted.then(|| dedupe::find(phase, units, force, progress)).transpose()
}

/// Encodes and stores the packed inode, if anything is in it.
fn pack(
    phase: Phase<'_>,
    plan: &Plan<'_>,
    outcome: Outcome,
    area: ByteArea,
    packed: Option<Packed>,
    image: &ImageFile,
    force: Force,
) -> Result<Outcome, BuildError> {
    let content = packed.map(|packed| packed.bytes).filter(|bytes| bytes.len() != 0);
    let (Some(content), Some(fragments)) = (content, phase.compression.fragments) else {
        return Ok(Outcome { end: area.next(), gaps: area.into_gaps(), ..outcome });
    };
    let FragmentOptions { pcluster_size, .. } = fragments;
    let size = content.len();
    let files = [File { inode: plan.tree.root, size, content: ContentRef(0), has_twin: false }];
    let input = Fragments(content);
    let choices = [Choice::usual(phase.compression, pcluster_size)];
    let phase = Phase {
        input: &input,
        files: &files,
        choices: &choices,
        compression: phase.compression,
        fingerprint: None,
        file_dedupe: false,
        block: phase.block,
        is_packed: true,
        recipes: None,
    };
    let recipes = recipes(phase, phase.compression.dedupe, force, &Silent)?;
    let phase = Phase { recipes: recipes.as_ref(), ..phase };
    let Outcome { bodies, spool, key, sums, .. } = outcome;
    let commit = Commit::new(phase, plan, area, spool, None, sums);
    let units = Units::with_segments(&files, SEGMENT_SIZE);
    let mut commit = pool::run(phase, units, commit, image, force, &Silent)?;
    let body = commit.bodies.pop().flatten();
    let packed =
        Some(body.map(|body| (body, size)).ok_or_else(|| BuildError::Internal("no packed inode".into()))?);
    let key = key::joined(&[key, commit.key()]);
    Ok(Outcome {
        bodies,
        packed,
        unpacked: None,
        end: commit.area.next(),
        key,
        sums: commit.sums,
        spool: commit.spool,
        gaps: commit.area.into_gaps(),
    })
}

/// How each file is encoded: one answer for all of them, or one each where hints tell them apart.
fn choices(plan: &Plan<'_>, files: &[File], compression: &CompressionOptions) -> Vec<Choice> {
    let usual = Choice::usual(compression, compression.pcluster_size);
    if compression.hints.is_empty() {
        return vec![usual];
    }
    let chosen = |file: &File| {
        let path = plan.tree.path_of(file.inode);
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        let hint = compression.hints.iter().find(|hint| hint.pattern.is_match(path));
        let hinted = |hint: &CompressHint| {
            let algorithm = (hint.pcluster_size != 0).then_some(hint.algorithm);
            let asked = Choice { algorithm, pcluster: hint.pcluster_size, has_alternative: false };
            // A hint that asks for what is usual changes nothing.
            if (Choice { has_alternative: usual.has_alternative, ..asked }) == usual { usual } else { asked }
        };
        hint.map_or(usual, hinted)
    };
    files.iter().map(chosen).collect()
}

/// How many threads work with how many units at the same time.
fn force(threads: usize, phase: Phase<'_>) -> Force {
    shares(threads, phase.compression.memory, work::encoders(phase), erofs_threads::memory::free())
}

/// The same where `free` bytes of memory are free: contents take `memory` bytes, or a quarter of what is free
/// if that is 0, but no more than half of it, which is what encoders of `encoder` bytes each take at most.
fn shares(threads: usize, memory: u64, encoder: u64, free: u64) -> Force {
    // Content and what it is encoded to.
    let unit = 2 * SEGMENT_SIZE as u64;
    let given = if memory == 0 { free / 4 } else { memory.min(free / 2) };
    let narrow = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).max(1);
    let units = narrow(given / unit);
    let threads = threads.min(units).min(narrow(free / 2 / encoder.max(1)));
    Force { threads, window: units.min(threads + threads.div_ceil(2) + 1) }
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
            let found = shares(threads, memory * MIB, encoder * MIB, free * MIB);
            assert_eq!((found.threads, found.window), (work, window), "{threads} {memory} {encoder} {free}");
        }
    }
}
