//! What the model needs to know of an image: plain values. The only file of the crate that opens one.

use std::num::NonZero;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use erofs_image::{Fingerprint, Image, ImageError};

use crate::ground::{Ground, Surveyor};
use crate::pages::{bytes_of, pages_of};

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
            let bytes = bytes_of(pages_of(step.inode.size()));
            facts.directory_bytes = facts.directory_bytes.saturating_add(bytes);
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
    mut each: impl FnMut(usize, Result<ImageFacts, ImageError>) -> Result<(), E>,
) -> Result<(), E>
where
    P: AsRef<Path> + Sync,
{
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(THREADS_MAX).min(paths.len());
    std::thread::scope(|scope| {
        // Each thread has every so manyth image, and waits with it until the one before is taken.
        let begin = |first: usize| {
            let (done, taken) = sync_channel(1);
            scope.spawn(move || {
                for path in paths.iter().skip(first).step_by(threads) {
                    if done.send(read(path.as_ref(), &[] as &[&Path])).is_err() {
                        return;
                    }
                }
            });
            taken
        };
        let readers: Vec<_> = (0..threads).map(begin).collect();
        for (number, reader) in (0..paths.len()).zip(readers.iter().cycle()) {
            // A thread that ends early has panicked, and so will the scope.
            let Ok(facts) = reader.recv() else { break };
            each(number, facts)?;
        }
        Ok(())
    })
}
