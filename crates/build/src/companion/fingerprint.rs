//! The fingerprints of the files of an image, computed from what a reader of the image sees.

use erofs_algo::fingerprint::{FingerprintKind, Hasher};
use erofs_format::Nid;
use erofs_image::{Budget, Image, Piece};
use erofs_tree::{Progress, Stage};
use rayon::prelude::*;
use uuid::Uuid;

use crate::error::BuildError;

/// Zeros that stand for a hole, piece by piece.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A file to be hashed.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    pub(super) nid: Nid,
    pub(super) size: u64,
}

/// One value for each file.
pub(super) fn all(
    original: &Image,
    files: &[File],
    kind: FingerprintKind,
    namespace: Uuid,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Vec<u8>>, BuildError> {
    let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    Budget::contents(&original.limits()).take(bytes)?;
    progress.begin(Stage::Content, files.len() as u64, bytes);
    // Long files first, so that no thread is left with one at the end.
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(files[at].size));
    let one = |&at: &usize| {
        let value = of(original, &files[at], (kind.hasher)(namespace));
        progress.advance(1, files[at].size);
        (at, value)
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| BuildError::Internal(format!("threads: {error}")))?;
    // One file after the other, or the long ones would all come to the same thread.
    let found: Vec<_> = pool.install(|| order.par_iter().with_max_len(1).map(one).collect());
    let mut values = vec![Vec::new(); files.len()];
    for (at, value) in found {
        values[at] = value?;
    }
    progress.end(Stage::Content);
    Ok(values)
}

fn of(original: &Image, file: &File, mut hasher: Box<dyn Hasher>) -> Result<Vec<u8>, BuildError> {
    let data = original.data(&original.inode(file.nid)?)?;
    data.copy(|piece| {
        match piece {
            Piece::Bytes(bytes) => hasher.update(bytes),
            Piece::Hole(length) => zeros(hasher.as_mut(), length),
        }
        Ok::<(), BuildError>(())
    })?;
    Ok(hasher.finish().value)
}

fn zeros(hasher: &mut dyn Hasher, mut length: u64) {
    while length != 0 {
        let now = usize::try_from(length).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(&ZEROS[..now]);
        length -= now as u64;
    }
}
