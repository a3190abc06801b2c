//! Which chunks are equal: those that a fast hash takes for equal are read again and distinguished by BLAKE3.
//!
//! Most contents occur once, so the digest that nobody can make two contents for is computed of a few of them
//! only.

use std::collections::HashMap;
use std::ops::Range;

use super::scan::{Chunk, Scope};
use crate::buffer;
use crate::error::BuildError;
use crate::key;

/// Neighbouring chunks are read together, up to so many bytes and one chunk more.
const READ: u64 = 1 << 20;

/// Chunks of one file that follow each other.
struct Run {
    file: usize,
    chunks: Range<usize>,
}

/// Replaces the fast hashes by numbers: the same for equal contents, 0 where nothing is equal.
///
/// # Errors
///
/// A file that has changed since it was scanned.
pub(super) fn name(scope: Scope<'_>, files: &mut [Vec<Chunk>], threads: usize) -> Result<(), BuildError> {
    let repeated = repeated(files);
    let runs = runs(files, &repeated);
    let digests = erofs_threads::each("name", threads, &runs, |run, buffer: &mut Vec<u8>| {
        let chunks = &files[run.file][run.chunks.clone()];
        let (start, length) = (chunks[0].at, chunks.iter().map(|chunk| chunk.length).sum::<u64>());
        let file = &scope.files[run.file];
        buffer::resize(buffer, usize::try_from(length).unwrap_or(usize::MAX))?;
        scope.phase.input.fill(file, start, buffer)?;
        let mut rest = &buffer[..];
        let mut digests = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let (content, behind) = rest.split_at(usize::try_from(chunk.length).unwrap_or(rest.len()));
            rest = behind;
            if key::of(content) != chunk.key {
                return Err(scope.phase.input.changed(file));
            }
            digests.push(erofs_algo::chunk_key(content));
        }
        Ok(digests)
    })?;
    for chunk in files.iter_mut().flatten() {
        chunk.key = 0;
    }
    let mut numbers: HashMap<[u8; 32], u128> = HashMap::new();
    for (run, digests) in runs.into_iter().zip(digests) {
        for (chunk, digest) in files[run.file][run.chunks].iter_mut().zip(digests) {
            let fresh = numbers.len() as u128 + 1;
            chunk.key = *numbers.entry(digest).or_insert(fresh);
        }
    }
    Ok(())
}

/// The hashes that occur more than once, in ascending order.
fn repeated(files: &[Vec<Chunk>]) -> Vec<u128> {
    let mut keys: Vec<u128> = files.iter().flatten().map(|chunk| chunk.key).collect();
    keys.sort_unstable();
    let mut repeated: Vec<u128> =
        keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}

/// Where chunks with these hashes are.
fn runs(files: &[Vec<Chunk>], repeated: &[u128]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (file, chunks) in files.iter().enumerate() {
        let mut length = 0;
        for (number, chunk) in chunks.iter().enumerate() {
            if repeated.binary_search(&chunk.key).is_err() {
                continue;
            }
            match runs.last_mut() {
                Some(last) if last.file == file && last.chunks.end == number && length < READ => {
                    last.chunks.end = number + 1;
                }
                Some(_) | None => {
                    length = 0;
                    runs.push(Run { file, chunks: number..number + 1 });
                }
            }
            length += chunk.length;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_occurs_again_is_read_again() {
        let file = |keys: &[u128]| -> Vec<Chunk> {
            (0..).zip(keys).map(|(number, &key)| Chunk { at: number * 8192, length: 8192, key }).collect()
        };
        let long: Vec<u128> = vec![7; 200];
        let files = [file(&[1, 2, 3, 4]), file(&[]), file(&[5, 2, 3, 6, 1]), file(&long)];
        let repeated = repeated(&files);
        assert_eq!(repeated, [1, 2, 3, 7]);
        let found: Vec<_> = runs(&files, &repeated).into_iter().map(|run| (run.file, run.chunks)).collect();
        assert_eq!(found, [(0, 0..3), (2, 1..3), (2, 4..5), (3, 0..128), (3, 128..200)]);
    }
}
