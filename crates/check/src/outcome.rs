//! What the walk and each worker have found, before it becomes one report.

use erofs_image::ImageError;

use crate::canonical::Uses;
use crate::error::is_operational;
use crate::finding::{Code, Finding, Findings};
use crate::fingerprint::{self, Content, Verdict};
use crate::metadata::Shared;
use crate::options::Profile;
use crate::ranges::Range;

/// What one thread has found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) findings: Findings,
    pub(crate) ranges: Vec<Range>,
    pub(crate) contents: Vec<Content>,
    /// Fingerprints that were compared with the content.
    pub(crate) judged: u64,
    /// Fingerprints of kinds that cannot be recomputed here.
    pub(crate) unjudged: u64,
    pub(crate) bytes: u64,
    /// Inodes without a name.
    pub(crate) special: u64,
    pub(crate) uses: Uses,
    pub(crate) shared: Shared,
    /// The first thing that could not be read, and how many there were.
    pub(crate) failed: Option<(ImageError, u64)>,
}

impl Outcome {
    /// Notes an error of the reader.
    pub(crate) fn note(&mut self, error: ImageError, job: (&[u8], u64, u64), otherwise: Code) {
        let (path, nid, order) = job;
        if is_operational(&error) {
            let error = error.at_path(path);
            let (first, count) = self.failed.take().unwrap_or((error, 0));
            self.failed = Some((first, count.saturating_add(1)));
        } else {
            self.findings.push(Finding::of(&error, otherwise).at(path, nid).ordered(order));
        }
    }

    /// Notes what came of a file's fingerprint.
    pub(crate) fn judge(&mut self, content: Content, verdict: Verdict, profile: Option<Profile>) {
        let Verdict { digest, mut finding, judged } = verdict;
        if judged {
            self.judged = self.judged.saturating_add(1);
        } else if finding.is_none() {
            self.unjudged = self.unjudged.saturating_add(1);
            if profile == Some(Profile::Hardened) {
                let wanted = "one that can be made again";
                let found = fingerprint::shown(&content.value);
                finding = Some(Finding::new(Code::NotFingerprinted, "fingerprint", found, wanted));
            }
        }
        let here = |finding: Finding| finding.at(&content.path, content.nid).ordered(content.order);
        self.findings.extend(finding.map(here));
        self.contents.push(Content { digest, ..content });
    }
}
