//! What the model needs to know of an image: plain values. The only file of the crate that opens one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use erofs_image::{Fingerprint, Image, ImageError, Inode, OpenOptions};

use crate::pages::{PAGE_SIZE, bytes_of, pages_of};
use crate::totals::{ImageTotals, Surveyor};

/// A regular file of an image; of one with several names, the first of them.
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
    /// Further names of files that have several (hard links), with the number of the file.
    pub links: Vec<(Vec<u8>, usize)>,
    /// Files with a fingerprint of which a page has its bytes in several places, which kernels read wrong
    /// where they share (see [`erofs_image::FileData::extent_within_page`]).
    pub split_pages: Vec<usize>,
    /// Whether the image announces fingerprints.
    pub announces_fingerprints: bool,
    /// Bytes of page cache that the directories take in each mount: whole pages per directory.
    pub directory_bytes: u64,
    /// What it takes beside the data of files, and what it stores more than once.
    pub totals: ImageTotals,
}

impl ImageFacts {
    /// The number of the regular file with this name.
    pub fn file_at(&self, path: &[u8]) -> Option<usize> {
        let first = self.files.iter().position(|file| file.path == path);
        first.or_else(|| self.links.iter().find(|(name, _)| name == path).map(|(_, file)| *file))
    }

    /// The number of the regular file of every name.
    pub fn by_name(&self) -> HashMap<&[u8], usize> {
        let first = self.files.iter().enumerate().map(|(number, file)| (file.path.as_slice(), number));
        first.chain(self.links.iter().map(|(name, number)| (name.as_slice(), *number))).collect()
    }
}

/// How many images are read at once, at most: adding them up, which goes one by one, keeps up with no more.
const THREADS_MAX: usize = 8;

/// Reads the facts of the image at `path`, with its extra devices.
///
/// # Errors
/// What cannot be read, with its place in the image.
pub fn read(path: &Path, devices: &[impl AsRef<Path>]) -> Result<ImageFacts, ImageError> {
    let devices = devices.iter().map(AsRef::as_ref);
    let image = OpenOptions::new().devices(devices).cached(true).open(path)?;
    let mut facts =
        ImageFacts { announces_fingerprints: image.ishare_prefix()?.is_some(), ..ImageFacts::default() };
    let mut surveyor = Surveyor::new(&image)?;
    // Files that may have further names, by inode.
    let mut linked = HashMap::new();
    for step in image.walk_all()? {
        let step = step?;
        if !step.first {
            facts.links.extend(linked.get(&step.inode.nid).map(|number| (step.path, *number)));
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
            if step.inode.record.nlink > 1 {
                linked.insert(step.inode.nid, facts.files.len());
            }
            let compressed = step.inode.layout().is_compressed();
            if !compressed && fingerprint.is_some() && has_split_page(&image, &step.inode) {
                facts.split_pages.push(facts.files.len());
            }
            facts.files.push(FileFacts { path: step.path, size: step.inode.size(), compressed, fingerprint });
        }
    }
    facts.totals = surveyor.finish();
    Ok(facts)
}

/// Whether a page of a file has its bytes in several places. What cannot be read is said when it is wanted.
fn has_split_page(image: &Image, inode: &Inode) -> bool {
    let found = image.data(inode).and_then(|data| data.extent_within_page(PAGE_SIZE));
    found.is_ok_and(|found| found.is_some())
}

/// An image of a set, and the extra devices that hold data of it, in the order of its device table.
pub trait ImageFiles: Sync {
    /// The image.
    fn image(&self) -> &Path;
    /// The devices.
    fn devices(&self) -> &[PathBuf];
}

impl ImageFiles for PathBuf {
    fn image(&self) -> &Path {
        self
    }

    fn devices(&self) -> &[PathBuf] {
        &[]
    }
}

/// Reads images on several threads, and hands each to `each` with its number, in the order of `images`. At
/// most two per thread and one more are in memory at a time, so what `each` wants to keep of an image it must
/// take.
///
/// # Errors
/// The first one of `each`, after which no more images are read.
pub fn read_in_order<I: ImageFiles, E>(
    images: &[I],
    each: impl FnMut(usize, Result<ImageFacts, ImageError>) -> Result<(), E>,
) -> Result<(), E> {
    let threads = erofs_threads::count(0).min(THREADS_MAX);
    let read = |image: &I, (): &mut ()| read(image.image(), image.devices());
    erofs_threads::in_order("read", threads, images, read, each)
}
