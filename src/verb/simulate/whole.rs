//! Everything is read: images one after the other, and nothing kept of each but sums.

use erofs_sim::facts::{self, ImageFacts};
use erofs_sim::kernel::KernelModel;
use erofs_sim::pages::{PAGE_SIZE, saturating_sum};
use erofs_sim::scenario::{Backend, Method};
use erofs_sim::survey::{Findings, Group, Survey};
use erofs_sim::tally::{Access, Count, Tally};

use super::advice::{self, Known};
use super::plan::{Planned, backend_name, check_feature};
use super::report::{Duplicates, ImageReport, Metadata, Report, Total, directories, domains, not_shared};
use super::verify;
use crate::verb::source::shown;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) plan: &'a [Planned],
    pub(super) kernel: KernelModel,
    pub(super) backend: Backend,
    pub(super) allow_unshared: bool,
    pub(super) verify: bool,
}

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

/// Reads every file of every image in the model.
pub(super) fn run(asked: Asked<'_>, name: &str, method: Method) -> anyhow::Result<Report> {
    let Asked { plan, kernel, backend, .. } = asked;
    let mut tally = Tally::new(Access { kernel, backend, method });
    let (mut survey, mut beside) = (Survey::default(), Beside::default());
    facts::read_in_order(plan, |number, facts| {
        let Some(image) = plan.get(number) else { return Ok(()) };
        let facts = facts.map_err(|error| anyhow::anyhow!("{}: {error}", shown(&image.path)))?;
        check_feature(asked.allow_unshared, &image.path, &facts)?;
        survey.begin(number, &facts, &image.domain);
        tally.add_each(&facts, Some(&image.domain), |file, outcome| survey.file(file, outcome));
        beside.add(number, &facts, true);
        anyhow::Ok(())
    })?;
    let findings = survey.finish();
    let rows = plan.iter().zip(tally.images()).zip(&beside.metadata_bytes);
    let images: Vec<ImageReport> = rows
        .map(|((image, tally), metadata_bytes)| ImageReport {
            path: image.shown(),
            mount: None,
            domain: image.domain.clone(),
            files: tally.all.files,
            pages: tally.all.bytes / PAGE_SIZE,
            marginal_bytes: tally.added.bytes,
            metadata_bytes: *metadata_bytes,
        })
        .collect();
    finish(asked, name.to_owned(), images, beside, &findings)
}

/// The report of images that were counted.
pub(super) fn finish(
    asked: Asked<'_>,
    access: String,
    images: Vec<ImageReport>,
    mut beside: Beside,
    findings: &Findings,
) -> anyhow::Result<Report> {
    let Asked { plan, kernel, backend, .. } = asked;
    beside.add_across(findings.stored_across);
    let content = if asked.verify { Some(verify::read(plan, findings)?) } else { None };
    if let Some(content) = &content {
        beside.duplicates = content.duplicates;
    }
    let private = saturating_sum(images.iter().map(ImageReport::private_bytes));
    let shared = saturating_sum(images.iter().map(|image| image.marginal_bytes));
    let known =
        Known { plan, findings, beside: &beside, backends: &[backend], shared, content: content.as_ref() };
    Ok(Report {
        kernel: kernel.name,
        title: None,
        access,
        backend: Some(backend_name(backend)),
        total: Total::of(private, shared),
        domains: domains(&images),
        not_shared: findings.not_shared.iter().map(|(why, group)| not_shared(plan, *why, group)).collect(),
        metadata_bytes: beside.metadata.sum(),
        metadata: beside.metadata,
        duplicates: beside.duplicates,
        directories: directories(&findings.directories),
        advice: advice::give(&known),
        images,
        events: Vec::new(),
    })
}
