//! What images take beside the data of files.

use erofs_sim::facts::ImageFacts;
use erofs_sim::survey::Group;
use erofs_sim::tally::Count;

use super::report::{Duplicates, Metadata};

/// What images take beside what the tally counts.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) metadata: Metadata,
    /// By image.
    pub(super) metadata_bytes: Vec<u64>,
    /// Images that announce no fingerprints, by number.
    pub(super) without_feature: Vec<usize>,
    /// Files that kernels read wrong where they share.
    pub(super) split_pages: Group,
    pub(super) duplicates: Duplicates,
    /// Bytes of the image files.
    pub(super) image_bytes: u64,
}

impl Beside {
    /// Adds a mount. What its image stores is counted with the first one of the image.
    pub(super) fn add(&mut self, number: usize, facts: &ImageFacts, first_of_image: bool) {
        self.metadata_bytes.push(self.metadata.add(facts));
        if !facts.announces_fingerprints {
            self.without_feature.push(number);
        }
        if !first_of_image {
            return;
        }
        if facts.announces_fingerprints {
            for file in facts.split_pages.iter().filter_map(|file| facts.files.get(*file)) {
                self.split_pages.count_file(number, file);
            }
        }
        self.image_bytes = self.image_bytes.saturating_add(facts.ground.image_bytes);
        self.duplicates.by = "fingerprints";
        self.duplicates.within_images_files += facts.ground.stored_twice_files;
        let within = &mut self.duplicates.within_images_bytes;
        *within = within.saturating_add(facts.ground.stored_twice_bytes);
    }

    /// Adds what several images store.
    pub(super) fn add_across(&mut self, across: Count) {
        self.duplicates.across_images_files = across.files;
        self.duplicates.across_images_bytes = across.bytes;
    }
}
