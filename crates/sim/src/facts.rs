//! What the model needs to know of an image: plain values. The only file of the crate that opens one.

use std::path::Path;

use erofs_image::{Fingerprint, Image, ImageError};

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
}

/// Reads the facts of the image at `path`, with its extra devices.
///
/// # Errors
/// What cannot be read, with its place in the image.
pub fn read(path: &Path, devices: &[impl AsRef<Path>]) -> Result<ImageFacts, ImageError> {
    let image = Image::open_path(path, devices, 0)?;
    let mut facts =
        ImageFacts { announces_fingerprints: image.ishare_prefix()?.is_some(), ..ImageFacts::default() };
    for step in image.walk_all()? {
        let step = step?;
        if !step.first {
            continue;
        }
        if step.inode.is_dir() {
            facts.directory_bytes += step.inode.size().div_ceil(PAGE_SIZE) * PAGE_SIZE;
        }
        if step.inode.is_file() {
            let fingerprint = match image.fingerprint(&step.inode)? {
                Fingerprint::Value(value) => Some(value),
                Fingerprint::Private(_) => None,
            };
            let compressed = step.inode.layout().is_compressed();
            facts.files.push(FileFacts { path: step.path, size: step.inode.size(), compressed, fingerprint });
        }
    }
    Ok(facts)
}
