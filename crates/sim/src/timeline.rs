//! A scenario: compared with the images, and run with sharing and without.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{EventError, SimError};
use crate::facts::{self, ImageFacts};
use crate::kernel::KernelModel;
use crate::member::Member;
use crate::overheads::Overheads;
use crate::pages::bytes_of;
use crate::run::Runner;
use crate::scenario::{Backend, Event, Scenario};
use crate::setup::check_feature;
use crate::simulated::{EventCost, ImageCost, Simulated};
use crate::survey::{Findings, Survey, Why};
use crate::tally::Cause;
use crate::world::{Effect, WorldError};

/// The domain of mounts that have none.
const NO_DOMAIN: &str = "(none)";

/// Runs a scenario whose images are named from `directory` on.
pub(crate) fn play(
    scenario: &Scenario,
    directory: &Path,
    kernel: KernelModel,
    allow_unshared: bool,
) -> Result<Simulated, SimError> {
    let images = open(directory, scenario, allow_unshared)?;
    check(scenario, &images)?;
    let outcome = both(scenario, kernel, &images)?;
    Ok(result(directory, scenario, kernel, &images, outcome))
}

/// The facts of every image that a scenario names.
fn open(
    directory: &Path,
    scenario: &Scenario,
    allow_unshared: bool,
) -> Result<BTreeMap<String, ImageFacts>, SimError> {
    // An image that some mount has as further device is no image of its own to the model.
    let is_device = |name: &String| {
        scenario
            .events
            .iter()
            .any(|event| matches!(event, Event::Mount { devices, .. } if devices.contains(name)))
    };
    let mut images = BTreeMap::new();
    for (name, path) in &scenario.images {
        if is_device(name) {
            continue;
        }
        let path = directory.join(path);
        let devices: Vec<PathBuf> = devices_of(scenario, name).map(|device| directory.join(device)).collect();
        let facts = facts::read(&path, &devices).map_err(|error| SimError::image(&path, error))?;
        check_feature(allow_unshared, &path, &facts)?;
        images.insert(name.clone(), facts);
    }
    Ok(images)
}

/// The further devices with which an image is mounted first.
fn devices_of<'a>(scenario: &'a Scenario, name: &str) -> impl Iterator<Item = &'a Path> {
    let named = scenario.events.iter().find_map(|event| {
        let Event::Mount { image, devices, .. } = event else { return None };
        (image == name).then_some(devices)
    });
    named.into_iter().flatten().filter_map(|device| scenario.images.get(device)).map(PathBuf::as_path)
}

/// Holds every name and every range against the images, before anything is run.
#[expect(clippy::wildcard_enum_match_arm, reason = "only these events are about open files")]
fn check(scenario: &Scenario, images: &BTreeMap<String, ImageFacts>) -> Result<(), SimError> {
    let mut mounted: BTreeMap<&str, &str> = BTreeMap::new();
    let mut names: BTreeMap<&str, HashMap<&[u8], usize>> = BTreeMap::new();
    let mut streams: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
    for (number, event) in scenario.events.iter().enumerate() {
        let wrong = |problem| SimError::Event { event: number, problem };
        if let Event::Mount { mount, image, devices, .. } = event {
            let unknown =
                std::iter::once(image).chain(devices).find(|name| !scenario.images.contains_key(*name));
            if let Some(name) = unknown {
                return Err(wrong(EventError::Image { name: name.clone() }));
            }
            mounted.insert(mount, image);
        }
        if let Event::Overlay { mount, lower, over } = event {
            let below = std::iter::once(lower).chain(over);
            if let Some(name) = below.clone().find(|name| !mounted.contains_key(name.as_str())) {
                return Err(wrong(EventError::Mount { name: name.clone() }));
            }
            if let Some(image) = mounted.get(lower.as_str()).copied() {
                mounted.insert(mount, image);
            }
        }
        let Some(mount) = event.mount() else { continue };
        let Some(image) = mounted.get(mount).copied() else {
            return Err(wrong(EventError::Mount { name: mount.to_owned() }));
        };
        let Some((path, (offset, length))) = event.subject() else { continue };
        let Some(facts) = images.get(image) else { continue };
        let names = names.entry(image).or_insert_with(|| facts.by_name());
        let Some(file) = names.get(path.as_bytes()).and_then(|file| facts.files.get(*file)) else {
            return Err(wrong(EventError::File { path: path.to_owned(), image: image.to_owned() }));
        };
        match event {
            Event::Open { stream: Some(stream), .. } => drop(streams.insert((mount, path, stream))),
            Event::Read { stream: Some(stream), .. } if !streams.contains(&(mount, path, stream)) => {
                return Err(wrong(EventError::Stream { stream: stream.clone(), path: path.to_owned() }));
            }
            _ => {}
        }
        let end = length.map_or(offset, |length| offset.saturating_add(length));
        if end > file.size {
            let (path, size) = (path.to_owned(), file.size);
            return Err(wrong(EventError::Range { path, from: offset, end, size }));
        }
    }
    Ok(())
}

/// What became of both runs.
struct Outcome {
    events: Vec<EventCost>,
    /// Pages that were brought in through each mount, without sharing and with it.
    added: BTreeMap<String, (u64, u64)>,
    /// The most pages in memory at any time.
    peak: (u64, u64),
    /// Files with pages of their own at the end.
    private: Vec<(String, usize, Cause, u64)>,
}

fn both(
    scenario: &Scenario,
    kernel: KernelModel,
    images: &BTreeMap<String, ImageFacts>,
) -> Result<Outcome, SimError> {
    let (mut shared, mut private) = (Runner::new(kernel, images), Runner::new(kernel, images));
    let mut outcome =
        Outcome { events: Vec::new(), added: BTreeMap::new(), peak: (0, 0), private: Vec::new() };
    for (number, event) in scenario.events.iter().enumerate() {
        let with = shared.event(event);
        // What the kernel refuses for its options counts for both, else the mounts would differ.
        let without = match &with {
            Ok(_) => private.event(&unshared(event)).unwrap_or_default(),
            Err(error @ WorldError::Taken { .. }) => {
                return Err(SimError::Event { event: number, problem: EventError::World(error.clone()) });
            }
            Err(_) => Effect::default(),
        };
        let error = with.as_ref().err().cloned();
        let with = with.unwrap_or_default();
        if let Some(mount) = event.mount() {
            let mount = shared.resolve(mount).to_owned();
            let added = outcome.added.entry(mount).or_default();
            added.0 = added.0.saturating_add(without.added);
            added.1 = added.1.saturating_add(with.added);
        }
        outcome.peak.0 = outcome.peak.0.max(private.world().resident());
        outcome.peak.1 = outcome.peak.1.max(shared.world().resident());
        outcome.events.push(EventCost { with, without, error });
    }
    outcome.private = shared
        .world()
        .private_files()
        .map(|(mount, file, reason, pages)| {
            (mount.to_owned(), file, reason.map_or(Cause::Method, Cause::Private), pages)
        })
        .collect();
    Ok(outcome)
}

/// The same event on a machine that does not share.
fn unshared(event: &Event) -> Event {
    let mut event = event.clone();
    if let Event::Mount { inode_share, .. } = &mut event {
        *inode_share = Some(false);
    }
    if let Event::Remount { inode_share, .. } = &mut event {
        *inode_share = false;
    }
    event
}

/// A mount of a scenario.
struct Mounted<'a> {
    mount: &'a str,
    image: &'a str,
    domain: &'a str,
    backend: Backend,
}

/// What the kernel did not refuse to mount.
fn mounts<'a>(scenario: &'a Scenario, done: &[EventCost]) -> Vec<Mounted<'a>> {
    let mut mounts: Vec<Mounted<'_>> = Vec::new();
    for (event, _) in scenario.events.iter().zip(done).filter(|(_, done)| done.error.is_none()) {
        if let Event::Mount { mount, image, domain, backend, .. } = event
            && !mounts.iter().any(|known| known.mount == mount)
        {
            let domain = domain.as_deref().unwrap_or(NO_DOMAIN);
            mounts.push(Mounted { mount, image, domain, backend: *backend });
        }
    }
    mounts
}

fn result(
    directory: &Path,
    scenario: &Scenario,
    kernel: KernelModel,
    images: &BTreeMap<String, ImageFacts>,
    outcome: Outcome,
) -> Simulated {
    let mounts = mounts(scenario, &outcome.events);
    let (mut overheads, mut rows) = (Overheads::default(), Vec::new());
    let (mut survey, mut surveyed) = (Survey::default(), BTreeSet::new());
    for (number, mounted) in mounts.iter().enumerate() {
        let Some(facts) = images.get(mounted.image) else { continue };
        let first_of_image = surveyed.insert(mounted.image);
        let metadata_bytes = overheads.add(number, facts, first_of_image);
        if first_of_image {
            survey.store(number, facts, mounted.domain);
        }
        let file = scenario.images.get(mounted.image).map(|image| directory.join(image));
        let (private, shared) = outcome.added.get(mounted.mount).copied().unwrap_or_default();
        rows.push(ImageCost {
            member: Member::new(mounted.domain, file.unwrap_or_default()),
            mount: Some(mounted.mount.to_owned()),
            files: u64::try_from(facts.files.iter().filter(|file| file.size != 0).count())
                .unwrap_or(u64::MAX),
            pages: private,
            added_bytes: bytes_of(shared),
            metadata_bytes,
        });
    }
    let mut findings = Findings { stored_across: survey.finish().stored_across, ..Findings::default() };
    overheads.add_across(findings.stored_across);
    for (mount, file, cause, pages) in &outcome.private {
        let Some(number) = mounts.iter().position(|mounted| mounted.mount == mount) else { continue };
        let facts = mounts.get(number).and_then(|mounted| images.get(mounted.image));
        if let Some(file) = facts.and_then(|facts| facts.files.get(*file)) {
            let group = findings.not_shared.entry(Why::Cause(*cause)).or_default();
            group.count_part(number, file, bytes_of(*pages));
        }
    }
    Simulated {
        kernel,
        images: rows,
        private_bytes: bytes_of(outcome.peak.0),
        shared_bytes: bytes_of(outcome.peak.1),
        findings,
        overheads,
        backends: mounts.iter().map(|mounted| mounted.backend).collect(),
        contents: None,
        events: outcome.events,
    }
}
