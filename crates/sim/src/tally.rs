//! What a set of images costs when every file of them is read completely: the sum that Linux's page cache comes to, in
//! the order in which the images are given (section "read everything" of the model, without pages one by one).
//!
//! One image after the other is added and forgotten; what is kept is one record per fingerprint and domain, so that
//! thousands of images can be summed up.

use std::collections::{BTreeMap, HashMap};

use crate::facts::{FileFacts, ImageFacts};
use crate::kernel::KernelModel;
use crate::pages::{PAGE_SIZE, pages_of};
use crate::scenario::{Backend, Method};
use crate::world::{Class, Reason, class_of, key_of, shares_pages};

/// How many of the largest files are named for each reason.
const TOP_FILES: usize = 5;

/// How the images of a set are mounted, and how their files are read.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// The kernel.
    pub kernel: KernelModel,
    /// What lies under every mount.
    pub backend: Backend,
    /// How every file is read.
    pub method: Method,
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub files: u64,
    /// Their bytes in memory: whole pages.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, pages: u64) {
        self.files += 1;
        self.bytes += pages * PAGE_SIZE;
    }

    fn join(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// Why pages are not shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The file keeps pages of its own.
    Private(Reason),
    /// The file could share, but is read by a call that makes a private copy.
    Method,
}

/// What one image adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageTally {
    /// All regular files with content.
    pub all: Count,
    /// Files whose pages nobody had brought in before: what the image costs.
    pub added: Count,
    /// Files that keep pages of their own, by cause; they are among the added ones.
    pub private: BTreeMap<Cause, Count>,
    /// Bytes of page cache that its directories take.
    pub directory_bytes: u64,
}

/// A file that does not share, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Example {
    /// Length in bytes.
    pub size: u64,
    /// Number of the image, in the order of adding.
    pub image: usize,
    /// Path in the image.
    pub path: Vec<u8>,
}

/// The sum over images.
#[derive(Debug)]
pub struct Tally {
    access: Access,
    keys: HashMap<Vec<u8>, (Class, u64)>,
    images: Vec<ImageTally>,
    examples: BTreeMap<Cause, Vec<Example>>,
}

impl Tally {
    /// An empty machine.
    pub fn new(access: Access) -> Self {
        Self { access, keys: HashMap::new(), images: Vec::new(), examples: BTreeMap::new() }
    }

    /// Mounts an image in `domain` (or without one, which shares nothing) and reads all its files.
    pub fn add(&mut self, facts: &ImageFacts, domain: Option<&str>) -> &ImageTally {
        let mut tally = ImageTally { directory_bytes: facts.directory_bytes, ..ImageTally::default() };
        let domain = domain.filter(|_| facts.announces_fingerprints);
        for file in facts.files.iter().filter(|file| file.size != 0) {
            let pages = pages_of(file.size);
            tally.all.add(pages);
            let cause = match self.join(file, domain) {
                Err(reason) => Cause::Private(reason),
                Ok(_) if !shares_pages(self.access.kernel, self.access.method) => Cause::Method,
                Ok(first) => {
                    if first {
                        tally.added.add(pages);
                    }
                    continue;
                }
            };
            tally.added.add(pages);
            tally.private.entry(cause).or_default().add(pages);
            self.remember(cause, file);
        }
        self.images.push(tally);
        &self.images[self.images.len() - 1]
    }

    /// Whether the file is the first of its key, or why it has none.
    fn join(&mut self, file: &FileFacts, domain: Option<&str>) -> Result<bool, Reason> {
        let domain = domain.ok_or(Reason::MountDoesNotShare)?;
        let value = file.fingerprint.as_deref().ok_or(Reason::NoFingerprint)?;
        let class = class_of(file.compressed, self.access.backend);
        let mut first = false;
        let key = key_of(self.access.kernel, domain, value);
        let (known, size) = self.keys.entry(key).or_insert_with(|| {
            first = true;
            (class, file.size)
        });
        if *known != class {
            return Err(Reason::OtherClass);
        }
        if *size != file.size {
            return Err(Reason::OtherSize);
        }
        Ok(first)
    }

    /// Keeps the largest files of each cause; of equally large ones the first.
    fn remember(&mut self, cause: Cause, file: &FileFacts) {
        let examples = self.examples.entry(cause).or_default();
        let smaller = examples.iter().position(|example| example.size < file.size);
        let at = smaller.unwrap_or(examples.len());
        if at < TOP_FILES {
            let example = Example { size: file.size, image: self.images.len(), path: file.path.clone() };
            examples.insert(at, example);
            examples.truncate(TOP_FILES);
        }
    }

    /// What each image added, in order.
    pub fn images(&self) -> &[ImageTally] {
        &self.images
    }

    /// The sum over all images: all files, and what they cost.
    pub fn total(&self) -> ImageTally {
        let mut total = ImageTally::default();
        for image in &self.images {
            total.all.join(image.all);
            total.added.join(image.added);
            total.directory_bytes += image.directory_bytes;
            for (cause, count) in &image.private {
                total.private.entry(*cause).or_default().join(*count);
            }
        }
        total
    }

    /// The largest files that do not share, by cause.
    pub fn examples(&self) -> &BTreeMap<Cause, Vec<Example>> {
        &self.examples
    }
}
