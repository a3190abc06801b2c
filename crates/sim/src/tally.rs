//! What a set of images costs when every file of them is read completely: the sum that Linux's page cache
//! comes to, in the order in which the images are given (section "read everything" of the model, without
//! pages one by one).
//!
//! One image after the other is added and forgotten; what is kept is one compact record per fingerprint and
//! domain, so that thousands of images can be summed up.

use std::collections::BTreeMap;

use crate::facts::{FileFacts, ImageFacts};
use crate::kernel::KernelModel;
use crate::keys::Keys;
use crate::pages::{bytes_of, pages_of};
use crate::scenario::{Backend, Method};
use crate::world::{Reason, class_of, key_of, shares_pages};

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
        self.bytes = self.bytes.saturating_add(bytes_of(pages));
    }

    fn join(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
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

/// What became of a file with content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It brought in the pages of its key.
    First,
    /// It uses pages that another file brought in.
    Joined,
    /// It has pages of its own.
    Private(Cause),
}

/// The sum over images.
#[derive(Debug)]
pub struct Tally {
    access: Access,
    keys: Keys,
    images: Vec<ImageTally>,
    examples: BTreeMap<Cause, Vec<Example>>,
}

impl Tally {
    /// An empty machine.
    pub fn new(access: Access) -> Self {
        Self { access, keys: Keys::default(), images: Vec::new(), examples: BTreeMap::new() }
    }

    /// Mounts an image in `domain` (or without one, which shares nothing) and reads all its files.
    pub fn add(&mut self, facts: &ImageFacts, domain: Option<&str>) -> &ImageTally {
        self.add_each(facts, domain, |_, _| {})
    }

    /// The same as [`Self::add`], and tells `each` what became of every file with content, in the order of
    /// the walk.
    pub fn add_each(
        &mut self,
        facts: &ImageFacts,
        domain: Option<&str>,
        mut each: impl FnMut(&FileFacts, Outcome),
    ) -> &ImageTally {
        let mut tally = ImageTally { directory_bytes: facts.directory_bytes, ..ImageTally::default() };
        let domain = domain.filter(|_| facts.announces_fingerprints);
        let shares = shares_pages(self.access.kernel, self.access.method);
        // All keys of the image begin alike.
        let mut key = domain.map(|domain| key_of(self.access.kernel, domain, b""));
        for file in facts.files.iter().filter(|file| file.size != 0) {
            let pages = pages_of(file.size);
            tally.all.add(pages);
            let outcome = match self.join(file, key.as_mut()) {
                Err(reason) => Outcome::Private(Cause::Private(reason)),
                Ok(_) if !shares => Outcome::Private(Cause::Method),
                Ok(true) => Outcome::First,
                Ok(false) => Outcome::Joined,
            };
            if outcome != Outcome::Joined {
                tally.added.add(pages);
            }
            if let Outcome::Private(cause) = outcome {
                tally.private.entry(cause).or_default().add(pages);
                self.remember(cause, file);
            }
            each(file, outcome);
        }
        self.images.push(tally);
        &self.images[self.images.len() - 1]
    }

    /// Whether the file is the first of its key, or why it has none. `key` holds what the keys of its image
    /// begin with, and is left so.
    fn join(&mut self, file: &FileFacts, key: Option<&mut Vec<u8>>) -> Result<bool, Reason> {
        let key = key.ok_or(Reason::MountDoesNotShare)?;
        let value = file.fingerprint.as_deref().ok_or(Reason::NoFingerprint)?;
        let class = class_of(file.compressed, self.access.backend);
        let beginning = key.len();
        key.extend_from_slice(value);
        let known = self.keys.find_or_add(key, class, file.size);
        key.truncate(beginning);
        match known {
            None => Ok(true),
            Some((known, _)) if known != class => Err(Reason::OtherClass),
            Some((_, size)) if size != file.size => Err(Reason::OtherSize),
            Some(_) => Ok(false),
        }
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

    /// How many keys are in memory: distinct fingerprints, by domain.
    pub fn keys(&self) -> usize {
        self.keys.len()
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
            total.directory_bytes = total.directory_bytes.saturating_add(image.directory_bytes);
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
