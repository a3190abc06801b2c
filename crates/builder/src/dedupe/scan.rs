//! Reading all contents for the first time: chunks and what they seem to be.

use std::sync::LazyLock;

use erofs_tree::{Progress, Stage};

use super::chunk::Sizes;
use crate::buffer;
use crate::error::BuildError;
use crate::key;
use crate::pipeline::feed::File;
use crate::pipeline::work::Phase;

/// Shorter runs are not worth a look, in bytes.
pub(super) const LEAST_RUN: u64 = 8192;

/// What is looked at.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) phase: Phase<'a>,
    pub(super) files: &'a [File],
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// First byte in the file.
    pub(super) at: u64,
    /// Bytes.
    pub(super) length: u64,
    /// Stands for the content. From the scan it is a fast hash, which somebody could have made two contents
    /// for; from [`name`](super::name::name) on, chunks with the same key have the same content, and 0 is a
    /// content that occurs once.
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

/// A part of a file.
struct Part {
    file: usize,
    offset: u64,
    length: usize,
}

/// Files, or a part of one, that are looked at by one thread.
type Group = Vec<Part>;

/// Looks at all files that may have equal parts.
pub(super) fn scan(scope: Scope<'_>, threads: usize, progress: &dyn Progress) -> Result<Scanned, BuildError> {
    let files = scope.files.len();
    let bytes = scope.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    progress.begin(Stage::Compare, files as u64, bytes);
    let sizes = Sizes::new(bytes, scope.phase.block as u64);
    let segment = scope.phase.segment;
    let zeros = LazyLock::new(|| cut(sizes, 0, &vec![0; segment]));
    let results = erofs_threads::each("scan", threads, &groups(scope), |group, buffer| {
        let mut found = Vec::with_capacity(group.len());
        for &Part { file, offset, length } in group {
            let whole = length == segment && is_hole(scope, file, offset, length)?;
            let (key, chunks) = if whole {
                let (key, chunks) = &*zeros;
                let moved = |chunk: &Chunk| Chunk { at: offset + chunk.at, ..*chunk };
                (*key, chunks.iter().map(moved).collect())
            } else {
                buffer::resize(buffer, length)?;
                scope.phase.input.fill(&scope.files[file], offset, buffer)?;
                cut(sizes, offset, buffer)
            };
            let last = offset + length as u64 == scope.files[file].size;
            progress.advance(u64::from(last), length as u64);
            found.push((file, key, chunks));
        }
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

/// All that is looked at, in the order of files: segments of large ones, and small ones together.
fn groups(scope: Scope<'_>) -> Vec<Group> {
    let segment = scope.phase.segment;
    let mut groups: Vec<Group> = Vec::new();
    let mut bytes = usize::MAX;
    for (number, file) in scope.files.iter().enumerate().filter(|(_, file)| may_share(scope, file)) {
        let mut offset = 0;
        while offset < file.size {
            let length = usize::try_from(file.size - offset).map_or(segment, |rest| rest.min(segment));
            if bytes.saturating_add(length) > GROUP_BYTES {
                groups.push(Vec::new());
                bytes = 0;
            }
            bytes += length;
            if let Some(last) = groups.last_mut() {
                last.push(Part { file: number, offset, length });
            }
            offset += length as u64;
        }
    }
    groups
}

/// A group ends before it has more bytes, if it has more than one part.
const GROUP_BYTES: usize = 1 << 20;

/// Whether a part of a file is a hole.
fn is_hole(scope: Scope<'_>, file: usize, offset: u64, length: usize) -> Result<bool, BuildError> {
    Ok(scope.phase.input.data_from(&scope.files[file], offset)? - offset >= length as u64)
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

/// Whether parts of a file may be equal to others: not those that stay uncompressed, nor short ones.
fn may_share(scope: Scope<'_>, file: &File) -> bool {
    scope.phase.rules.encodes(file.choice) && file.size >= LEAST_RUN.max(2 * scope.phase.block as u64)
}
