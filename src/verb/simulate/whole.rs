//! Everything is read: images one after the other, and nothing kept of each but sums.

use erofs_sim::facts;
use erofs_sim::kernel::KernelModel;
use erofs_sim::pages::{PAGE_SIZE, saturating_sum};
use erofs_sim::scenario::{Backend, Method};
use erofs_sim::survey::{Findings, Survey};
use erofs_sim::tally::{Access, Tally};

use super::advice::{self, Known};
use super::args::backend_name;
use super::beside::Beside;
use super::plan::{Planned, check_feature};
use super::report::{ImageReport, Report, Total, directories, domains, not_shared};
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
