//! A scenario from a file: read, run, and every error with its place in the text.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use erofs_format::words;
use erofs_sim::{Event, Scenario, SimError, Simulation};
use serde::Deserialize;

use super::args::{Args, keep_apart};
use super::plan::{every_path_once, failed};
use super::report::{EventReport, Report};
use crate::exit::WrongUse;
use crate::files::{self, Item};
use crate::verb::source::shown;

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
    let text = files::read_text(path).with_context(|| shown(path))?;
    let (source, scenario) = parse(path, text)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let images: Vec<PathBuf> = scenario.images.values().map(|image| directory.join(image)).collect();
    keep_apart(args, &images.iter().map(|image| Item::new("image", image)).collect::<Vec<_>>())?;
    every_path_once(images.iter().map(PathBuf::as_path))?;
    let simulated = Simulation::play(&scenario, directory, args.kernel, args.allow_unshared);
    let simulated = simulated.map_err(|error| {
        if let SimError::Event { event, problem } = &error {
            source.wrong(*event, &problem.to_string()).into()
        } else {
            failed(error)
        }
    })?;
    let events = scenario.events.iter().zip(&simulated.events).enumerate();
    let events = events.map(|(number, (event, cost))| EventReport {
        event: number + 1,
        line: source.line(number),
        what: describe(event),
        added_pages: cost.with.added,
        dropped_pages: cost.with.dropped,
        unshared_added_pages: cost.without.added,
        unshared_dropped_pages: cost.without.dropped,
        error: cost.error.as_ref().map(ToString::to_string),
    });
    let report = Report::of(&simulated, "scenario".into(), None);
    Ok(Report { events: events.collect(), title: Some(scenario.title), ..report })
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

/// An event in one line.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other event is said by its mount and file")]
fn describe(event: &Event) -> String {
    let text = |path: &str, offset: u64, length: Option<u64>| match (offset, length) {
        (0, None) => path.to_owned(),
        (offset, None) => format!("{path} from {offset}"),
        (offset, Some(length)) => format!("{path} from {offset}, {}", words::bytes(length)),
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
        other => match (other.mount(), other.subject()) {
            (Some(mount), Some((path, _))) => format!("{mount}:{path}"),
            (mount, _) => mount.unwrap_or_default().to_owned(),
        },
    };
    format!("{name} {rest}").trim_end().to_owned()
}
