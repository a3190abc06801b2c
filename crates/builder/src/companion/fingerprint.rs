//! The fingerprints of the files of an image, computed from what a reader of the image sees.

use erofs_algo::fingerprint::{FingerprintKind, Hasher};
use erofs_format::Nid;
use erofs_image::{Image, Piece};
use erofs_tree::{Progress, Stage};
use uuid::Uuid;

use crate::error::BuildError;
use crate::zeros;

/// As many bytes of content are hashed, in all: what is longer is holes or repeats, and would take hours.
const CONTENT_MAX: u64 = 1 << 44;

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
    if bytes > CONTENT_MAX {
        return Err(BuildError::Refer {
            path: "/".to_owned(),
            found: format!("files of {bytes} bytes"),
            want: "at most 2^44 bytes of content to be read for fingerprints",
        });
    }
    progress.begin(Stage::Content, files.len() as u64, bytes);
    // Long files first, so that no thread is left with one at the end.
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(files[at].size));
    let one = |&at: &usize, (): &mut ()| {
        let value = of(original, &files[at], (kind.hasher)(namespace));
        progress.advance(1, files[at].size);
        Ok::<_, BuildError>((at, value?))
    };
    let mut values = vec![Vec::new(); files.len()];
    for (at, value) in erofs_threads::each("fingerprint", threads, &order, one)? {
        values[at] = value;
    }
    progress.end(Stage::Content);
    Ok(values)
}

fn of(original: &Image, file: &File, mut hasher: Box<dyn Hasher>) -> Result<Vec<u8>, BuildError> {
    let data = original.data(&original.inode(file.nid)?)?;
    data.copy(|piece| {
        match piece {
            Piece::Bytes(bytes) => hasher.update(bytes),
            Piece::Hole(length) => zeros::hash(hasher.as_mut(), length),
        }
        Ok::<(), BuildError>(())
    })?;
    Ok(hasher.finish().value)
}
