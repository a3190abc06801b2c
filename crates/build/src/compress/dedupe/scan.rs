//! Reading all contents for the first time: chunks and their digests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_128;

use super::super::pool::Force;
use super::super::work::Phase;
use super::LEAST_RUN;
use super::chunk::Sizes;
use crate::content::Unit;
use crate::error::BuildError;
use crate::options::CompressClass;

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// First byte in the file.
    pub(super) at: u64,
    /// Bytes.
    pub(super) length: u64,
    /// BLAKE3 of its content.
    pub(super) key: [u8; 32],
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
pub(super) fn scan(phase: Phase<'_>, units: &[Unit], force: Force) -> Result<Scanned, BuildError> {
    let sizes = Sizes::new(phase);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<Found, BuildError>)>> = Mutex::default();
    let work = || {
        let mut buffer = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(unit) = units.get(number) else { break };
            let found = look(phase, sizes, unit, &mut buffer);
            if found.is_err() {
                next.store(units.len(), Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, found));
        }
    };
    std::thread::scope(|scope| {
        for number in 1..force.threads.min(units.len()) {
            let name = format!("scan-{number}");
            // Where the system has no more threads, those that there are do the work.
            if std::thread::Builder::new().name(name).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(number, _)| *number);
    let files = phase.files.len();
    let mut scanned = Scanned { chunks: vec![Vec::new(); files], keys: vec![Vec::new(); files] };
    for (_, found) in results {
        for (file, key, chunks) in found? {
            scanned.keys[file].push(key);
            scanned.chunks[file].extend(chunks);
        }
    }
    Ok(scanned)
}

fn look(phase: Phase<'_>, sizes: Sizes, unit: &Unit, buffer: &mut Vec<u8>) -> Result<Found, BuildError> {
    let mut one = |file: usize, offset: u64, length: usize| -> Result<_, BuildError> {
        buffer.resize(length, 0);
        phase.input.fill(&phase.files[file], offset, buffer)?;
        let mut chunks = Vec::new();
        let mut rest = &buffer[..];
        let mut at = offset;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(sizes.next(rest));
            let length = chunk.len() as u64;
            chunks.push(Chunk { at, length, key: erofs_algo::chunk_key(chunk) });
            at += length;
            rest = behind;
        }
        Ok((file, xxh3_128(buffer), chunks))
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
