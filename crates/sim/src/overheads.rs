//! What images take in memory besides the data of files, and what they store more than once.

use crate::facts::ImageFacts;
use crate::pages::saturating_sum;
use crate::survey::Group;
use crate::tally::Count;
use crate::totals::ImageTotals;

/// Bytes of page cache that metadata takes, in each mount its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Pages of directories.
    pub directories: u64,
    /// Pages of the device: inodes, attributes, indexes.
    pub device: u64,
    /// Pages of packed inodes and metaboxes.
    pub special: u64,
}

impl Metadata {
    /// All of it, in bytes.
    pub fn sum(self) -> u64 {
        saturating_sum([self.directories, self.device, self.special])
    }

    fn add(&mut self, facts: &ImageFacts) -> u64 {
        let ImageTotals { device_bytes, special_bytes, .. } = facts.totals;
        self.directories = self.directories.saturating_add(facts.directory_bytes);
        self.device = self.device.saturating_add(device_bytes);
        self.special = self.special.saturating_add(special_bytes);
        saturating_sum([facts.directory_bytes, device_bytes, special_bytes])
    }
}

/// What equal files are recognised by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EqualBy {
    /// Equal fingerprints.
    #[default]
    Fingerprints,
    /// Equal contents, which were read.
    Contents,
}

/// Bytes that are stored although equal ones are stored elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// What equal is taken from.
    pub by: EqualBy,
    /// Files that their own image stores once more.
    pub within_images_files: u64,
    /// The bytes of these.
    pub within_images_bytes: u64,
    /// Files that another image stores as well.
    pub across_images_files: u64,
    /// The bytes of these.
    pub across_images_bytes: u64,
}

/// What images take in memory besides the data of files, and what they store more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overheads {
    /// Of all mounts.
    pub metadata: Metadata,
    /// Bytes of metadata, by mount.
    pub metadata_bytes: Vec<u64>,
    /// Images that announce no fingerprints, by number.
    pub without_feature: Vec<usize>,
    /// Files with a page whose bytes are in several places, which kernels read wrong where they share.
    pub split_pages: Group,
    /// What is stored more than once.
    pub duplicates: Duplicates,
    /// Bytes of the image files.
    pub image_bytes: u64,
}

impl Overheads {
    /// Adds a mount, and returns the bytes of its metadata. What its image stores is counted with the first
    /// mount of it.
    pub(crate) fn add(&mut self, number: usize, facts: &ImageFacts, first_of_image: bool) -> u64 {
        let metadata_bytes = self.metadata.add(facts);
        self.metadata_bytes.push(metadata_bytes);
        if !facts.announces_fingerprints {
            self.without_feature.push(number);
        }
        if !first_of_image {
            return metadata_bytes;
        }
        if facts.announces_fingerprints {
            for file in facts.split_pages.iter().filter_map(|file| facts.files.get(*file)) {
                self.split_pages.count_file(number, file);
            }
        }
        self.image_bytes = self.image_bytes.saturating_add(facts.totals.image_bytes);
        self.duplicates.within_images_files += facts.totals.stored_twice_files;
        let within = &mut self.duplicates.within_images_bytes;
        *within = within.saturating_add(facts.totals.stored_twice_bytes);
        metadata_bytes
    }

    /// Adds what several images store.
    pub(crate) fn add_across(&mut self, across: Count) {
        self.duplicates.across_images_files = across.files;
        self.duplicates.across_images_bytes = across.bytes;
    }
}
