//! A scenario from a file: read, checked with the place of everything that is wrong, and run with sharing and without.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use erofs_sim::facts::{self, ImageFacts};
use erofs_sim::kernel::KernelModel;
use erofs_sim::pages::bytes_of;
use erofs_sim::run::Runner;
use erofs_sim::scenario::{Backend, Event, Scenario};
use erofs_sim::survey::{Findings, Survey, Why};
use erofs_sim::tally::Cause;
use erofs_sim::world::WorldError;
use serde::Deserialize;

use super::advice::{self, Known};
use super::args::{Args, keep_apart};
use super::beside::Beside;
use super::plan::{Planned, check_feature, every_path_once};
use super::report::{EventReport, ImageReport, Report, Total, domains, not_shared};
use crate::exit::WrongUse;
use crate::files::Item;
use crate::verb::source::shown;

/// The domain of mounts that have none.
const NO_DOMAIN: &str = "(none)";

/// Where the events of a scenario stand in its text.
#[derive(Debug, Deserialize)]
struct Places {
    event: Vec<toml::Spanned<toml::Value>>,
}

/// A scenario file.
struct Source<'a> {
    path: &'a Path,
    text: String,
    places: Vec<Range<usize>>,
}

impl Source<'_> {
    /// Line and column of a byte of the text, from 1 on.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    fn line(&self, event: usize) -> usize {
        self.places.get(event).map_or(1, |place| self.place(place.start).0)
    }

    /// An error about an event.
    fn wrong(&self, event: usize, text: &str) -> WrongUse {
        let (line, column) = self.places.get(event).map_or((1, 1), |place| self.place(place.start));
        let number = event + 1;
        WrongUse(format!("{}: line {line}, column {column}: event {number}: {text}", shown(self.path)))
    }
}

/// Runs the scenario in the file at `path`.
pub(super) fn run(args: &Args, path: &Path) -> anyhow::Result<Report> {
    let kernel = args.kernel;
    let text = std::fs::read_to_string(path).with_context(|| shown(path))?;
    let (source, scenario) = parse(path, text)?;
    let item = |image: &PathBuf| Item::new("image", &place_of(path, image));
    keep_apart(args, &scenario.images.values().map(item).collect::<Vec<_>>())?;
    let images = open(path, &scenario, args.allow_unshared)?;
    check(&source, &scenario, &images)?;
    let outcome = both(&source, &scenario, kernel, &images)?;
    Ok(report(path, scenario, kernel, &images, outcome))
}

fn parse(path: &Path, text: String) -> Result<(Source<'_>, Scenario), WrongUse> {
    let mut source = Source { path, text, places: Vec::new() };
    let wrong = |source: &Source<'_>, at: usize, error: &toml::de::Error| {
        let (line, column) = source.place(at);
        let reason = error.message().replace('\n', ", ");
        WrongUse(format!("{}: line {line}, column {column}: {reason}", shown(path)))
    };
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    let places: Result<Places, _> = toml::from_str(&source.text);
    for event in places.iter().flat_map(|places| &places.event) {
        source.places.push(event.span());
        // The whole would name the list in which a wrong event stands, and not the event.
        if let Err(error) = event.get_ref().clone().try_into::<Event>() {
            return Err(wrong(&source, event.span().start, &error));
        }
    }
    match toml::from_str(&source.text) {
        Ok(scenario) => Ok((source, scenario)),
        Err(error) => Err(wrong(&source, start(&error), &error)),
    }
}

/// Where an image of a scenario is.
fn place_of(path: &Path, image: &Path) -> PathBuf {
    path.parent().map(|parent| parent.join(image)).unwrap_or_default()
}

/// The facts of every image that a scenario names.
fn open(
    file: &Path,
    scenario: &Scenario,
    allow_unshared: bool,
) -> anyhow::Result<BTreeMap<String, ImageFacts>> {
    let paths: Vec<PathBuf> = scenario.images.values().map(|image| place_of(file, image)).collect();
    every_path_once(paths.iter().map(PathBuf::as_path))?;
    // An image that some mount has as further device is no image of its own to the model.
    let is_device = |name: &String| {
        scenario
            .events
            .iter()
            .any(|event| matches!(event, Event::Mount { devices, .. } if devices.contains(name)))
    };
    let mut images = BTreeMap::new();
    for (name, path) in scenario.images.keys().zip(&paths) {
        if is_device(name) {
            continue;
        }
        let devices: Vec<PathBuf> = devices_of(scenario, name).map(|device| place_of(file, device)).collect();
        let facts = facts::read(path, &devices).map_err(|error| anyhow!("{}: {error}", shown(path)))?;
        check_feature(allow_unshared, path, &facts)?;
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
fn check(
    source: &Source<'_>,
    scenario: &Scenario,
    images: &BTreeMap<String, ImageFacts>,
) -> Result<(), WrongUse> {
    let mut mounted: BTreeMap<&str, &str> = BTreeMap::new();
    let mut names: BTreeMap<&str, HashMap<&[u8], usize>> = BTreeMap::new();
    let mut streams: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
    for (number, event) in scenario.events.iter().enumerate() {
        let wrong = |text: String| source.wrong(number, &text);
        if let Event::Mount { mount, image, devices, .. } = event {
            let unknown =
                std::iter::once(image).chain(devices).find(|name| !scenario.images.contains_key(*name));
            if let Some(name) = unknown {
                return Err(wrong(format!("found no image {name:?}, want one of [images]")));
            }
            mounted.insert(mount, image);
        }
        if let Event::Overlay { mount, lower, over } = event {
            let below = std::iter::once(lower).chain(over);
            if let Some(name) = below.clone().find(|name| !mounted.contains_key(name.as_str())) {
                return Err(wrong(format!("found no mount {name:?}, want one of an earlier event")));
            }
            if let Some(image) = mounted.get(lower.as_str()).copied() {
                mounted.insert(mount, image);
            }
        }
        let Some(mount) = event.mount() else { continue };
        let Some(image) = mounted.get(mount).copied() else {
            return Err(wrong(format!("found no mount {mount:?}, want one of an earlier event")));
        };
        let Some((path, (offset, length))) = subject(event) else { continue };
        let Some(facts) = images.get(image) else { continue };
        let names = names.entry(image).or_insert_with(|| facts.by_name());
        let Some(file) = names.get(path.as_bytes()).and_then(|file| facts.files.get(*file)) else {
            return Err(wrong(format!("found no regular file {path:?} in image {image}")));
        };
        match event {
            Event::Open { stream: Some(stream), .. } => drop(streams.insert((mount, path, stream))),
            Event::Read { stream: Some(stream), .. } if !streams.contains(&(mount, path, stream)) => {
                let want = format!("want the stream of an earlier open of {path}");
                return Err(wrong(format!("found no open file {stream:?}, {want}")));
            }
            _ => {}
        }
        let end = length.map_or(offset, |length| offset.saturating_add(length));
        if end > file.size {
            let size = file.size;
            return Err(wrong(format!(
                "found bytes {offset} to {end}, want an end within the {size} bytes of {path}"
            )));
        }
    }
    Ok(())
}

/// The file that an event is about, and where in it.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other event is about no file")]
fn subject(event: &Event) -> Option<(&str, (u64, Option<u64>))> {
    match event {
        Event::Stat { path, .. }
        | Event::Open { path, .. }
        | Event::Close { path, .. }
        | Event::Map { path, .. }
        | Event::Unmap { path, .. }
        // What is dropped may lie anywhere.
        | Event::Dontneed { path, .. } => Some((path, (0, None))),
        Event::Read { path, offset, length, .. } => Some((path, (*offset, *length))),
        _ => None,
    }
}

/// What became of both runs.
struct Outcome {
    events: Vec<EventReport>,
    /// Pages that were brought in through each mount, without sharing and with it.
    added: BTreeMap<String, (u64, u64)>,
    /// The most pages in memory at any time.
    peak: (u64, u64),
    /// Files with pages of their own at the end.
    private: Vec<(String, usize, Cause, u64)>,
}

fn both(
    source: &Source<'_>,
    scenario: &Scenario,
    kernel: KernelModel,
    images: &BTreeMap<String, ImageFacts>,
) -> Result<Outcome, WrongUse> {
    let (mut shared, mut private) = (Runner::new(kernel, images), Runner::new(kernel, images));
    let mut outcome =
        Outcome { events: Vec::new(), added: BTreeMap::new(), peak: (0, 0), private: Vec::new() };
    for (number, event) in scenario.events.iter().enumerate() {
        let with = shared.event(event);
        // What the kernel refuses for its options counts for both, else the mounts would differ.
        let without = match &with {
            Ok(_) => private.event(&unshared(event)).unwrap_or_default(),
            Err(error @ WorldError::Name { problem, .. }) if *problem == "is there already" => {
                return Err(source.wrong(number, &error.to_string()));
            }
            Err(_) => erofs_sim::world::Effect::default(),
        };
        let error = with.as_ref().err().map(ToString::to_string);
        let with = with.unwrap_or_default();
        if let Some(mount) = event.mount() {
            let mount = shared.resolve(mount).to_owned();
            let added = outcome.added.entry(mount).or_default();
            added.0 = added.0.saturating_add(without.added);
            added.1 = added.1.saturating_add(with.added);
        }
        outcome.peak.0 = outcome.peak.0.max(private.world().resident());
        outcome.peak.1 = outcome.peak.1.max(shared.world().resident());
        outcome.events.push(EventReport {
            event: number + 1,
            line: source.line(number),
            what: describe(event),
            added_pages: with.added,
            dropped_pages: with.dropped,
            unshared_added_pages: without.added,
            unshared_dropped_pages: without.dropped,
            error,
        });
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

/// An event in one line.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other event is said by its mount and file")]
fn describe(event: &Event) -> String {
    let text = |path: &str, offset: u64, length: Option<u64>| match (offset, length) {
        (0, None) => path.to_owned(),
        (offset, None) => format!("{path} from {offset}"),
        (offset, Some(length)) => format!("{path} from {offset}, {length} bytes"),
    };
    let name = serde_json::to_value(event).ok().and_then(|value| Some(value.get("do")?.as_str()?.to_owned()));
    let name = name.unwrap_or_default();
    let rest = match event {
        Event::Mount { mount, image, domain, .. } => {
            format!(
                "{mount} ({image}{})",
                domain.as_ref().map(|d| format!(", domain {d}")).unwrap_or_default()
            )
        }
        Event::Read { mount, path, offset, length, .. } | Event::Dontneed { mount, path, offset, length } => {
            format!("{mount}:{}", text(path, *offset, *length))
        }
        Event::DropCaches { value } => value.to_string(),
        other => match (other.mount(), subject(other)) {
            (Some(mount), Some((path, _))) => format!("{mount}:{path}"),
            (mount, _) => mount.unwrap_or_default().to_owned(),
        },
    };
    format!("{name} {rest}").trim_end().to_owned()
}

/// A mount of a scenario.
struct Mounted<'a> {
    mount: &'a str,
    image: &'a str,
    domain: &'a str,
    backend: Backend,
}

/// What the kernel did not refuse to mount.
fn mounts<'a>(scenario: &'a Scenario, done: &[EventReport]) -> Vec<Mounted<'a>> {
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

fn report(
    path: &Path,
    scenario: Scenario,
    kernel: KernelModel,
    images: &BTreeMap<String, ImageFacts>,
    outcome: Outcome,
) -> Report {
    let mounts = mounts(&scenario, &outcome.events);
    let (mut beside, mut plan, mut rows) = (Beside::default(), Vec::new(), Vec::new());
    let (mut survey, mut surveyed) = (Survey::default(), BTreeSet::new());
    for (number, mounted) in mounts.iter().enumerate() {
        let Some(facts) = images.get(mounted.image) else { continue };
        let first_of_image = surveyed.insert(mounted.image);
        beside.add(number, facts, first_of_image);
        if first_of_image {
            survey.store(number, facts, mounted.domain);
        }
        let file = scenario.images.get(mounted.image).map(|image| place_of(path, image));
        let planned = Planned::new(mounted.domain, file.unwrap_or_default());
        let (private, shared) = outcome.added.get(mounted.mount).copied().unwrap_or_default();
        rows.push(ImageReport {
            path: planned.shown(),
            mount: Some(mounted.mount.to_owned()),
            domain: planned.domain.clone(),
            files: u64::try_from(facts.files.iter().filter(|file| file.size != 0).count())
                .unwrap_or(u64::MAX),
            pages: private,
            marginal_bytes: bytes_of(shared),
            metadata_bytes: beside.metadata_bytes.last().copied().unwrap_or(0),
        });
        plan.push(planned);
    }
    let mut findings = Findings { stored_across: survey.finish().stored_across, ..Findings::default() };
    beside.add_across(findings.stored_across);
    for (mount, file, cause, pages) in &outcome.private {
        let Some(number) = mounts.iter().position(|mounted| mounted.mount == mount) else { continue };
        let facts = mounts.get(number).and_then(|mounted| images.get(mounted.image));
        if let Some(file) = facts.and_then(|facts| facts.files.get(*file)) {
            let group = findings.not_shared.entry(Why::Cause(*cause)).or_default();
            group.count_part(number, file, bytes_of(*pages));
        }
    }
    let backends: Vec<Backend> = mounts.iter().map(|mounted| mounted.backend).collect();
    let (private, shared) = (bytes_of(outcome.peak.0), bytes_of(outcome.peak.1));
    let known = Known {
        plan: &plan,
        findings: &findings,
        beside: &beside,
        backends: &backends,
        shared,
        content: None,
    };
    Report {
        kernel: kernel.name,
        access: "scenario".into(),
        backend: None,
        total: Total::of(private, shared),
        domains: domains(&rows),
        not_shared: findings.not_shared.iter().map(|(why, group)| not_shared(&plan, *why, group)).collect(),
        metadata_bytes: beside.metadata.sum(),
        metadata: beside.metadata,
        duplicates: beside.duplicates,
        directories: Vec::new(),
        advice: advice::give(&known),
        images: rows,
        events: outcome.events,
        title: Some(scenario.title),
    }
}
