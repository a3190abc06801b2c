//! What a simulation says, as plain values: JSON is this, and text, CSV and HTML are made from it.

use erofs_sim::ground::Ground;
use erofs_sim::pages::{bytes_of, saturating_sum};
use erofs_sim::survey::{Group, Why};
use erofs_sim::tally::Cause;
use erofs_sim::world::Reason;
use serde::Serialize;

use super::plan::Planned;

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

#[derive(Debug, Clone, Serialize)]
pub(super) struct Largest {
    pub(super) image: String,
    pub(super) path: String,
    pub(super) bytes: u64,
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
    pub(super) fn sum(self) -> u64 {
        saturating_sum([self.directories_bytes, self.device_bytes, self.special_bytes])
    }

    pub(super) fn add(&mut self, facts: &erofs_sim::facts::ImageFacts) -> u64 {
        let Ground { device_bytes, special_bytes, .. } = facts.ground;
        self.directories_bytes = self.directories_bytes.saturating_add(facts.directory_bytes);
        self.device_bytes = self.device_bytes.saturating_add(device_bytes);
        self.special_bytes = self.special_bytes.saturating_add(special_bytes);
        saturating_sum([facts.directory_bytes, device_bytes, special_bytes])
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

#[derive(Debug, Serialize)]
pub(super) struct Directory {
    pub(super) path: String,
    pub(super) private_bytes: u64,
    pub(super) shared_bytes: u64,
}

/// What could be done, and what it is about.
#[derive(Debug, Serialize)]
pub(super) struct Advice {
    pub(super) code: &'static str,
    pub(super) text: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) largest: Vec<Largest>,
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
pub(super) fn directories(found: &[erofs_sim::survey::Directory]) -> Vec<Directory> {
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
pub(super) fn domains(images: &[ImageReport]) -> Vec<Domain> {
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

/// The largest files of a group.
pub(super) fn largest(plan: &[Planned], group: &Group, most: usize) -> Vec<Largest> {
    let named = |file: &erofs_sim::survey::Named| Largest {
        image: plan.get(file.image).map(Planned::shown).unwrap_or_default(),
        path: String::from_utf8_lossy(&file.path).into_owned(),
        bytes: file.size,
    };
    group.largest.iter().take(most).map(named).collect()
}

/// The row of a reason.
pub(super) fn not_shared(plan: &[Planned], why: Why, group: &Group) -> NotShared {
    let (code, reason) = reason(why);
    let largest = largest(plan, group, usize::MAX);
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
        Why::FirstComer => {
            ("first_comer", "like an earlier file, and both unlike the first one with their fingerprint")
        }
        Why::OtherDomain => ("other_domain", "the same content is in memory for another domain"),
    }
}
