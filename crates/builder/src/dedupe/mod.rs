//! Parts of files that equal parts of files before them are stored once (`-E dedupe`).
//!
//! ```text
//! scan: chunks by content (any thread) ─► name: digests of those that seem to occur again (any thread)
//!     ─► decide: first occurrence owns (one thread, in order; samples tell whether it pays, any thread)
//!     ─► recipes: what each file refers to, and where the pclusters of an owner have to begin
//! ```
//!
//! Linux finds a pcluster by where its content begins, so a reference starts where an extent of the owner
//! starts, and the owner is cut there. Everything is decided before anything is encoded: encoding goes on in
//! parallel, and the image depends on the tree alone. Contents are read twice, and what occurs again once
//! more; a file that changes in between is an error.

mod chunk;
mod decide;
mod estimate;
mod name;
pub(crate) mod recipe;
mod scan;

use std::collections::BTreeSet;

use erofs_tree::Progress;

use crate::error::BuildError;
use crate::pipeline::feed::File;
use crate::pipeline::pool::Parallelism;
use crate::pipeline::work::Phase;
use decide::{Decider, Rules};
use estimate::{Estimates, Sample};
use recipe::{Recipes, Reference};
use scan::{LEAST_RUN, Scope};

/// Looks for equal parts in files.
pub(crate) fn find(
    phase: Phase<'_>,
    files: &[File],
    parallelism: Parallelism,
    progress: &dyn Progress,
) -> Result<Recipes, BuildError> {
    let scope = Scope { phase, files };
    let threads = parallelism.threads;
    let mut scanned = scan::scan(scope, threads, progress)?;
    name::name(scope, &mut scanned.chunks, threads)?;
    let block = phase.block as u64;
    let rules = Rules {
        unit: if phase.rules.is_unaligned() { 1 } else { block },
        block,
        segment: phase.segment as u64,
        least: LEAST_RUN.max(4 * block),
    };
    let longest = match phase.rules.max_extent {
        0 => u64::MAX,
        given => u64::from(given),
    };
    let encoded = files.iter().filter(|file| file.choice.algorithm.is_some());
    let smallest = encoded.map(|file| file.choice.pcluster).min();
    let shifted = u64::from(smallest.unwrap_or(0)).min(longest) >= 3 * block;
    let traits = |index: usize| {
        let file = &files[index];
        decide::Traits {
            size: file.size,
            algorithm: file.choice.algorithm.unwrap_or(usize::MAX),
            // Equal files are found by their digest, without a cut anywhere.
            by_digest: phase.compares(file) && file.size <= phase.segment as u64,
            shifted,
        }
    };
    let decided = |pays: &mut dyn FnMut(usize, Reference, u64) -> Result<bool, BuildError>| {
        let mut decider = Decider::new(rules, &scanned.chunks);
        for index in 0..files.len() {
            decider.file(index, traits(index), &mut |reference, edges| pays(index, reference, edges))?;
        }
        Ok::<_, BuildError>(decider.into_recipes())
    };
    // Only one thread can decide. All threads answer first what it would ask if every answer were yes.
    let mut asked = BTreeSet::new();
    decided(&mut |_, reference, _| {
        asked.insert(Sample::of(reference));
        Ok(true)
    })?;
    let mut estimates = Estimates::new(scope, asked, threads)?;
    let files = decided(&mut |file, reference, edges| estimates.pays(file, reference, edges))?;
    Ok(Recipes { files, shifted, keys: scanned.keys })
}
