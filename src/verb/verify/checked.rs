//! What became of one image.

use erofs_check::Report;

use super::verity::Proved;

/// What became of one image.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) name: String,
    /// Empty if the image could not be read at all.
    pub(super) report: Report,
    /// The root hash and who signed it, where that was asked for.
    pub(super) verity: Option<Proved>,
    /// What could not be done.
    pub(super) errors: Vec<String>,
}

impl Checked {
    pub(super) fn is_right(&self) -> bool {
        self.errors.is_empty() && self.report.findings.is_empty()
    }
}
