//! Reading all contents for the first time: chunks and what they seem to be.

use std::sync::LazyLock;

use erofs_tree::{Progress, Stage};

use super::super::SEGMENT_SIZE;
use super::super::pool::Force;
use super::super::work::Phase;
use super::LEAST_RUN;
use super::chunk::Sizes;
use crate::buffer;
use crate::content::Unit;
use crate::error::BuildError;
use crate::key;
use crate::options::CompressClass;

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// First byte in the file.
    pub(super) at: u64,
    /// Bytes.
    pub(super) length: u64,
    /// Stands for the content. From the scan it is a fast hash, which somebody could have made two contents for; from
    /// [`name`](super::name::name) on, chunks with the same key have the same content, and 0 is a content that occurs once.
    pub(super) key: u128,
}

/// What was found in all files, by their index.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// The chunks of each file in order; none for those that were not looked at.
    pub(super) chunks: Vec<Vec<Chunk>>,
    /// A key of each segment.
    pub(super) keys: Vec<Vec<u128>>,
}

/// What was found in a unit: of each file, the key and the chunks.
type Found = Vec<(usize, u128, Vec<Chunk>)>;

/// Looks at all files that may have equal parts.
pub(super) fn scan(
    phase: Phase<'_>,
    units: &[Unit],
    force: Force,
    progress: &dyn Progress,
) -> Result<Scanned, BuildError> {
    let files = phase.files.len();
    let bytes = phase.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    progress.begin(Stage::Compare, files as u64, bytes);
    let sizes = Sizes::new(phase);
    let zeros = LazyLock::new(|| cut(sizes, 0, &vec![0; SEGMENT_SIZE]));
    let results = erofs_threads::each("scan", force.threads, units, |unit, buffer| {
        let found = match unit {
            &Unit::Segment { file, offset, length, .. }
                if length == SEGMENT_SIZE && is_hole(phase, file, offset, length)? =>
            {
                let (key, chunks) = &*zeros;
                let moved = |chunk: &Chunk| Chunk { at: offset + chunk.at, ..*chunk };
                vec![(file, *key, chunks.iter().map(moved).collect())]
            }
            Unit::Batch(_) | Unit::Segment { .. } => look(phase, sizes, unit, buffer)?,
        };
        let bytes = match unit {
            Unit::Batch(range) => phase.files[range.clone()].iter().map(|file| file.size).sum(),
            &Unit::Segment { length, .. } => length as u64,
        };
        progress.advance(found.len() as u64, bytes);
        Ok::<_, BuildError>(found)
    })?;
    let mut scanned = Scanned { chunks: vec![Vec::new(); files], keys: vec![Vec::new(); files] };
    for (file, key, chunks) in results.into_iter().flatten() {
        scanned.keys[file].push(key);
        scanned.chunks[file].extend(chunks);
    }
    progress.end(Stage::Compare);
    Ok(scanned)
}

/// Whether a segment of a file that may have equal parts is a hole.
fn is_hole(phase: Phase<'_>, file: usize, offset: u64, length: usize) -> Result<bool, BuildError> {
    let is_hole = || Ok(phase.input.data_from(&phase.files[file], offset)? - offset >= length as u64);
    if may_share(phase, file) { is_hole() } else { Ok(false) }
}

/// The key of the bytes from byte `offset` of a file on, and their chunks.
fn cut(sizes: Sizes, offset: u64, bytes: &[u8]) -> (u128, Vec<Chunk>) {
    let mut chunks = Vec::new();
    // Goes on with each chunk while that is in the cache.
    let mut whole = key::Running::new();
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(sizes.next(rest));
        let length = chunk.len() as u64;
        chunks.push(Chunk { at, length, key: key::of(chunk) });
        whole.add(chunk);
        at += length;
        rest = behind;
    }
    (whole.finish(), chunks)
}

fn look(phase: Phase<'_>, sizes: Sizes, unit: &Unit, buffer: &mut Vec<u8>) -> Result<Found, BuildError> {
    let mut one = |file: usize, offset: u64, length: usize| -> Result<_, BuildError> {
        buffer::resize(buffer, length)?;
        phase.input.fill(&phase.files[file], offset, buffer)?;
        let (key, chunks) = cut(sizes, offset, buffer);
        Ok((file, key, chunks))
    };
    match unit {
        Unit::Batch(range) => range
            .clone()
            .filter(|&file| may_share(phase, file))
            .map(|file| one(file, 0, usize::try_from(phase.files[file].size).unwrap_or(usize::MAX)))
            .collect(),
        &Unit::Segment { file, offset, length, .. } if may_share(phase, file) => {
            Ok(vec![one(file, offset, length)?])
        }
        Unit::Segment { .. } => Ok(Vec::new()),
    }
}

/// Whether parts of a file may be equal to others: not those that stay uncompressed, nor short ones.
fn may_share(phase: Phase<'_>, file: usize) -> bool {
    let compressed =
        phase.choice(file).algorithm.is_some() && phase.compression.class != CompressClass::Never;
    compressed && phase.files[file].size >= LEAST_RUN.max(2 * phase.block as u64)
}
