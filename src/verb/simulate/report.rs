//! What a simulation says, as plain values: JSON is this, and text, CSV and HTML are made from it.

use erofs_sim::pages::{bytes_of, saturating_sum};
use erofs_sim::survey::{Group, Why};
use erofs_sim::tally::Cause;
use erofs_sim::world::Reason;
use erofs_sim::{EqualBy, ImageCost, Simulated};
use serde::Serialize;

use super::advice::{self, Advice};
use super::named::{Largest, largest, shown_path};

/// The whole report. Bytes of memory are whole pages.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) kernel: &'static str,
    /// The title of a scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    /// How files are read.
    pub(super) access: String,
    /// What lies under the mounts; nothing where they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backend: Option<&'static str>,
    pub(super) total: Total,
    pub(super) domains: Vec<Domain>,
    pub(super) images: Vec<ImageReport>,
    pub(super) not_shared: Vec<NotShared>,
    pub(super) metadata_bytes: u64,
    pub(super) metadata: Metadata,
    pub(super) duplicates: Duplicates,
    pub(super) directories: Vec<Directory>,
    pub(super) advice: Vec<Advice>,
    /// What each event of a scenario did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) events: Vec<EventReport>,
}

impl Report {
    /// The report of a simulation, of which `access` says how files are read.
    pub(super) fn of(simulated: &Simulated, access: String, backend: Option<&'static str>) -> Self {
        let Simulated { findings, overheads, .. } = simulated;
        let images: Vec<ImageReport> = simulated.images.iter().map(ImageReport::of).collect();
        let not_shared = findings.not_shared.iter().map(|(why, group)| not_shared(simulated, *why, group));
        Self {
            kernel: simulated.kernel.name,
            title: None,
            access,
            backend,
            total: Total::of(simulated.private_bytes, simulated.shared_bytes),
            domains: domains(&images),
            not_shared: not_shared.collect(),
            metadata_bytes: overheads.metadata.sum(),
            metadata: Metadata::of(overheads.metadata),
            duplicates: Duplicates::of(overheads.duplicates),
            directories: directories(&findings.directories),
            advice: advice::give(simulated),
            images,
            events: Vec::new(),
        }
    }
}

/// Memory without sharing and with it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Total {
    pub(super) private_bytes: u64,
    pub(super) shared_bytes: u64,
    pub(super) saved_bytes: u64,
    pub(super) saved_percent: f64,
}

impl Total {
    pub(super) fn of(private: u64, shared: u64) -> Self {
        let saved_bytes = private.saturating_sub(shared);
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people and gates")]
        let saved_percent = if private == 0 { 0.0 } else { saved_bytes as f64 * 100.0 / private as f64 };
        Self { private_bytes: private, shared_bytes: shared, saved_bytes, saved_percent }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) images: usize,
    #[serde(flatten)]
    pub(super) total: Total,
}

#[derive(Debug, Serialize)]
pub(super) struct ImageReport {
    pub(super) path: String,
    /// The mount of a scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mount: Option<String>,
    pub(super) domain: String,
    pub(super) files: u64,
    pub(super) pages: u64,
    pub(super) marginal_bytes: u64,
    pub(super) metadata_bytes: u64,
}

impl ImageReport {
    fn of(cost: &ImageCost) -> Self {
        Self {
            path: shown_path(&cost.member),
            mount: cost.mount.clone(),
            domain: cost.member.domain.clone(),
            files: cost.files,
            pages: cost.pages,
            marginal_bytes: cost.added_bytes,
            metadata_bytes: cost.metadata_bytes,
        }
    }

    /// Memory without sharing.
    pub(super) fn private_bytes(&self) -> u64 {
        bytes_of(self.pages)
    }
}

#[derive(Debug, Serialize)]
pub(super) struct NotShared {
    pub(super) code: &'static str,
    pub(super) reason: &'static str,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) largest: Vec<Largest>,
}

/// What is in memory beside the data of files, in each mount its own.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON object")]
pub(super) struct Metadata {
    pub(super) directories_bytes: u64,
    pub(super) device_bytes: u64,
    pub(super) special_bytes: u64,
}

impl Metadata {
    fn of(found: erofs_sim::Metadata) -> Self {
        let erofs_sim::Metadata { directories, device, special } = found;
        Self { directories_bytes: directories, device_bytes: device, special_bytes: special }
    }
}

/// Bytes that are stored although equal ones are stored elsewhere.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Duplicates {
    /// What equal is taken from.
    pub(super) by: &'static str,
    pub(super) within_images_files: u64,
    pub(super) within_images_bytes: u64,
    pub(super) across_images_files: u64,
    pub(super) across_images_bytes: u64,
}

impl Duplicates {
    fn of(found: erofs_sim::Duplicates) -> Self {
        Self {
            by: match found.by {
                EqualBy::Fingerprints => "fingerprints",
                EqualBy::Contents => "contents",
            },
            within_images_files: found.within_images_files,
            within_images_bytes: found.within_images_bytes,
            across_images_files: found.across_images_files,
            across_images_bytes: found.across_images_bytes,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Directory {
    pub(super) path: String,
    pub(super) private_bytes: u64,
    pub(super) shared_bytes: u64,
}

/// What an event did; pages that left memory count below 0.
#[derive(Debug, Serialize)]
pub(super) struct EventReport {
    pub(super) event: usize,
    pub(super) line: usize,
    pub(super) what: String,
    pub(super) added_pages: u64,
    pub(super) dropped_pages: u64,
    pub(super) unshared_added_pages: u64,
    pub(super) unshared_dropped_pages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// How many directories a report has; the others are in one row.
const DIRECTORIES_MAX: usize = 20;

/// The directories with the most memory, and what is left.
fn directories(found: &[erofs_sim::survey::Directory]) -> Vec<Directory> {
    let (first, rest) = found.split_at(found.len().min(DIRECTORIES_MAX));
    let row = |dir: &erofs_sim::survey::Directory| Directory {
        path: String::from_utf8_lossy(&dir.path).into_owned(),
        private_bytes: dir.private_bytes,
        shared_bytes: dir.shared_bytes,
    };
    let mut rows: Vec<Directory> = first.iter().map(row).collect();
    if !rest.is_empty() {
        rows.push(Directory {
            path: "elsewhere".into(),
            private_bytes: saturating_sum(rest.iter().map(|dir| dir.private_bytes)),
            shared_bytes: saturating_sum(rest.iter().map(|dir| dir.shared_bytes)),
        });
    }
    rows
}

/// The sums per domain, in the order in which domains are met.
fn domains(images: &[ImageReport]) -> Vec<Domain> {
    let mut domains: Vec<Domain> = Vec::new();
    for image in images {
        let known = domains.iter().position(|domain| domain.name == image.domain);
        let index = known.unwrap_or_else(|| {
            domains.push(Domain { name: image.domain.clone(), images: 0, total: Total::default() });
            domains.len() - 1
        });
        if let Some(domain) = domains.get_mut(index) {
            domain.images += 1;
            let Total { private_bytes, shared_bytes, .. } = domain.total;
            domain.total = Total::of(
                private_bytes.saturating_add(image.private_bytes()),
                shared_bytes.saturating_add(image.marginal_bytes),
            );
        }
    }
    domains
}

/// The row of a reason.
fn not_shared(simulated: &Simulated, why: Why, group: &Group) -> NotShared {
    let (code, reason) = reason(why);
    let largest = largest(simulated, &group.largest);
    NotShared { code, reason, files: group.count.files, bytes: group.count.bytes, largest }
}

fn reason(why: Why) -> (&'static str, &'static str) {
    match why {
        Why::Cause(Cause::Private(Reason::MountDoesNotShare)) => {
            ("no_feature", "the image does not announce fingerprints")
        }
        Why::Cause(Cause::Private(Reason::NoFingerprint)) => ("no_key", "no fingerprint that counts"),
        Why::Cause(Cause::Private(Reason::OtherSize)) => {
            ("other_size", "another size than the first file with this fingerprint")
        }
        Why::Cause(Cause::Private(Reason::OtherClass)) => (
            "other_class",
            "not compressed alike, or not on the same kind of backend, as the first file with this fingerprint",
        ),
        Why::Cause(Cause::Method) => ("splice", "read by sendfile or splice"),
        Why::FirstComer => (
            "first_comer",
            "equal to an earlier file, but neither shares with the first file with their fingerprint",
        ),
        Why::OtherDomain => ("other_domain", "the same content is in memory for another domain"),
    }
}
