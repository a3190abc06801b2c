//! What a check of one image found.

use erofs_image::ImageError;

use crate::finding::Finding;
use crate::fingerprint::Content;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong, in the order of the walk.
    pub findings: Vec<Finding>,
    /// How many findings and warnings there were beyond those that are kept; see
    /// [`crate::finding::FINDINGS_MAX`].
    pub left_out: u64,
    /// What is not wrong and may still surprise, in the same order.
    pub warnings: Vec<Finding>,
    /// How many inodes there are.
    pub inodes: u64,
    /// How many bytes of content were read.
    pub bytes: u64,
    /// Whether the image announces fingerprints.
    pub fingerprints: bool,
    /// Fingerprints that were compared with the content.
    pub judged: u64,
    /// Fingerprints of kinds that cannot be recomputed here; only equality among them is checked.
    pub unjudged: u64,
    /// Files with a fingerprint, for [`crate::conflicts`].
    pub contents: Vec<Content>,
    /// What could not be read, and how often that was so; what there is of the report is about the rest.
    pub failed: Option<(ImageError, u64)>,
}
