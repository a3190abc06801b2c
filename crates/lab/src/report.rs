//! What the guest measured, as values, JSON and tables.

use std::fmt;

use erofs_sim::scenario::Event;
use serde::Serialize;

use crate::protocol::{EventReport, FileReport, MountReport, ProgramReport};

/// Everything that one run measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The release of the kernel.
    pub kernel: String,
    /// Milliseconds from the start of the virtual machine until the guest was up.
    pub boot_milliseconds: u64,
    /// Milliseconds until everything was done.
    pub total_milliseconds: u64,
    /// The scenarios, in their order.
    pub scenarios: Vec<ScenarioReport>,
}

/// What a scenario did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScenarioReport {
    /// Its title.
    pub title: String,
    /// Pages in the page cache when it began, beyond those before the first scenario: what could not be taken
    /// away.
    pub drift_pages: i64,
    /// Its events, in their order.
    pub events: Vec<MeasuredEvent>,
    /// The programs that ran behind them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramReport>,
    /// The files of the mounts at its end, in the order of mounts and of a walk.
    pub files: Vec<FileReport>,
    /// The mounts at its end.
    pub mounts: Vec<MountReport>,
    /// How many different frames the files hold together.
    pub frames: u64,
}

/// An event with what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeasuredEvent {
    /// The event.
    pub event: Event,
    /// Pages of files and directories inside the mounts: what is left of the growth.
    pub data_pages: i64,
    /// What was measured.
    #[serde(flatten)]
    pub measured: EventReport,
}

impl ScenarioReport {
    /// The growth of data pages of each event.
    pub fn data_pages(&self) -> Vec<i64> {
        self.events.iter().map(|event| event.data_pages).collect()
    }

    /// A file of a mount.
    pub fn file(&self, mount: &str, path: &str) -> Option<&FileReport> {
        self.files.iter().find(|file| file.mount == mount && file.path == path)
    }
}

/// The tables that a person reads. Of the files, those with pages in memory.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |milliseconds: u64| format!("{}.{} s", milliseconds / 1000, milliseconds / 100 % 10);
        let (boot, total) = (tenths(self.boot_milliseconds), tenths(self.total_milliseconds));
        writeln!(out, "Linux {}, up after {boot}, done after {total}", self.kernel)?;
        self.scenarios.iter().try_for_each(|scenario| write!(out, "\n{scenario}"))
    }
}

impl fmt::Display for ScenarioReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} (pages left over from before: {})\n", self.title, self.drift_pages)?;
        writeln!(out, "{:>8} {:>8} {:>8} {:>9}  event", "data", "buffers", "backing", "read KiB")?;
        for MeasuredEvent { event, data_pages, measured } in &self.events {
            let EventReport { buffer_pages, backing_pages, read_kib, .. } = measured;
            write!(out, "{data_pages:>8} {buffer_pages:>8} {backing_pages:>8} {read_kib:>9}  ")?;
            let error = measured.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            writeln!(out, "{}{error}", describe(event))?;
        }
        writeln!(out, "\n{:>8} {:>8} {:>8} {:>8}  file", "mincore", "own", "member", "common")?;
        for file in self.files.iter().filter(|file| file.mincore_pages + file.cachestat_pages > 0) {
            let FileReport { mincore_pages, cachestat_pages, mount, path, same_frames, .. } = file;
            let member = if file.shared { "yes" } else { "no" };
            let common = same_frames.as_ref().map_or(0, |same| same.pages);
            let other = same_frames.as_ref().map(|same| format!(" = {}:{}", same.mount, same.path));
            let other = other.unwrap_or_default();
            write!(out, "{mincore_pages:>8} {cachestat_pages:>8} {member:>8} {common:>8}  ")?;
            writeln!(out, "{mount}:{path}{other}")?;
        }
        let directories: u64 = self.mounts.iter().map(|mount| mount.directory_pages).sum();
        writeln!(out, "{} frames in files, {directories} pages in directories", self.frames)
    }
}

/// An event in a line, as its fields in the scenario.
fn describe(event: &Event) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(event) else { return String::new() };
    let value =
        |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let name = fields.get("do").map(value).unwrap_or_default();
    let rest = fields.iter().filter(|(key, value)| *key != "do" && !value.is_null());
    rest.fold(name, |text, (key, field)| format!("{text} {key}={}", value(field)))
}
