//! What the model needs to know of an image: plain values. The only file of the crate that opens one.

use std::path::Path;

use erofs_image::{Fingerprint, Image, ImageError};

use crate::ground::{Ground, Surveyor};
use crate::pages::PAGE_SIZE;

/// A regular file of an image; a file with several names stands here once, under the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The path from `/` on.
    pub path: Vec<u8>,
    /// Length in bytes.
    pub size: u64,
    /// Whether the data is compressed, which decides with whom it can share.
    pub compressed: bool,
    /// The fingerprint as the kernel takes it: the value, if there is one that counts.
    pub fingerprint: Option<Vec<u8>>,
}

/// What is known of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Regular files in the order of a walk.
    pub files: Vec<FileFacts>,
    /// Whether the image announces fingerprints.
    pub announces_fingerprints: bool,
    /// Bytes of page cache that the directories take in each mount: whole pages per directory.
    pub directory_bytes: u64,
    /// What it takes beside the data of files, and what it stores more than once.
    pub ground: Ground,
}

/// How many images are read at once, at most: adding them up, which goes one by one, keeps up with no more.
const THREADS_MAX: usize = 8;

/// Reads the facts of the image at `path`, with its extra devices.
///
/// # Errors
/// What cannot be read, with its place in the image.
pub fn read(path: &Path, devices: &[impl AsRef<Path>]) -> Result<ImageFacts, ImageError> {
    let image = Image::open_path_cached(path, devices, 0)?;
    let mut facts =
        ImageFacts { announces_fingerprints: image.ishare_prefix()?.is_some(), ..ImageFacts::default() };
    let mut surveyor = Surveyor::new(&image)?;
    for step in image.walk_all()? {
        let step = step?;
        if !step.first {
            continue;
        }
        if step.inode.is_dir() {
            facts.directory_bytes += step.inode.size().div_ceil(PAGE_SIZE) * PAGE_SIZE;
        }
        let fingerprint = match image.fingerprint(&step.inode)? {
            Fingerprint::Value(value) => Some(value),
            Fingerprint::Private(_) => None,
        };
        surveyor.visit(&image, &step.inode, fingerprint.as_deref());
        if step.inode.is_file() {
            let compressed = step.inode.layout().is_compressed();
            facts.files.push(FileFacts { path: step.path, size: step.inode.size(), compressed, fingerprint });
        }
    }
    facts.ground = surveyor.finish();
    Ok(facts)
}

/// Reads images without extra devices on several threads, and hands each to `each` with its number, in the order of
/// `paths`. At most two per thread and one more are in memory at a time, so what `each` wants to keep of an image it must
/// take.
///
/// # Errors
/// The first one of `each`, after which no more images are read.
pub fn read_in_order<P, E>(
    paths: &[P],
    each: impl FnMut(usize, Result<ImageFacts, ImageError>) -> Result<(), E>,
) -> Result<(), E>
where
    P: AsRef<Path> + Sync,
{
    let threads = erofs_threads::count(0).min(THREADS_MAX);
    let read = |path: &P, (): &mut ()| read(path.as_ref(), &[] as &[&Path]);
    erofs_threads::in_order("read", threads, paths, read, each)
}
