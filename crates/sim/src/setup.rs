//! What is simulated: the images, the kernel, and what is under the mounts.

use std::path::Path;

use crate::contents;
use crate::error::SimError;
use crate::facts::ImageFacts;
use crate::kernel::KernelModel;
use crate::member::Member;
use crate::overheads::Overheads;
use crate::pages::saturating_sum;
use crate::scenario::Backend;
use crate::simulated::{ImageCost, Simulated};
use crate::survey::Findings;

/// A set of images that are all mounted, each once, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The images.
    pub members: &'a [Member],
    /// The kernel.
    pub kernel: KernelModel,
    /// What is under every mount.
    pub backend: Backend,
    /// Whether images may announce no fingerprints; they share nothing.
    pub allow_unshared: bool,
    /// Whether the contents are read as well, for what fingerprints do not say.
    pub read_contents: bool,
}

impl Setup<'_> {
    /// The result, from what was counted of each image.
    pub(crate) fn finish(
        self,
        images: Vec<ImageCost>,
        mut overheads: Overheads,
        findings: Findings,
    ) -> Result<Simulated, SimError> {
        overheads.add_across(findings.stored_across);
        let contents = if self.read_contents { Some(contents::read(self.members, &findings)?) } else { None };
        if let Some(contents) = &contents {
            overheads.duplicates = contents.duplicates;
        }
        Ok(Simulated {
            kernel: self.kernel,
            private_bytes: saturating_sum(images.iter().map(ImageCost::private_bytes)),
            shared_bytes: saturating_sum(images.iter().map(|image| image.added_bytes)),
            images,
            findings,
            overheads,
            backends: vec![self.backend],
            contents,
            events: Vec::new(),
        })
    }
}

/// An error if an image announces no fingerprints, unless that is allowed.
pub(crate) fn check_feature(allowed: bool, path: &Path, facts: &ImageFacts) -> Result<(), SimError> {
    if allowed || facts.announces_fingerprints {
        return Ok(());
    }
    Err(SimError::NotShared { path: path.to_path_buf() })
}
