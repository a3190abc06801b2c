//! A real program in two images of it: which pages of them are in memory afterwards, without sharing and with
//! it.
//!
//! The program runs in one image and then in the other. That is done three times: twice without sharing,
//! because what a program touches is not quite the same each time, and once with it. The first run gives a
//! trace for the model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use erofs_sim::pages::PAGE_SIZE;
use erofs_sim::scenario::{Backend, Event, Scenario};
use erofs_sim::trace::{CALL, How, Record};
use serde::Serialize;

use crate::error::LabError;
use crate::lab::{Lab, Limits};
use crate::plan::Located;
use crate::protocol::{Program, ProgramReport};
use crate::report::ScenarioReport;

/// The domain of the run that shares.
const DOMAIN: &str = "one";
/// The runs, and whether each shares.
const RUNS: [(&str, bool); 3] = [("private", false), ("private again", false), ("shared", true)];

/// Two images, and what runs in each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The images, in the order in which the program runs in them. Their file names differ.
    pub images: [PathBuf; 2],
    /// A shell script, see [`Program`].
    pub script: String,
    /// How long it may take each time.
    pub time: Duration,
}

/// What was in memory after a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// The release of the kernel.
    pub kernel: String,
    /// Each run.
    pub runs: Vec<Run>,
    /// Pages that only one of the two runs without sharing has in memory: how exactly the workload repeats
    /// itself.
    pub unrepeated_pages: u64,
}

/// What was in memory after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// `private`, `private again` or `shared`.
    pub title: String,
    /// Pages of files of both images: different frames, and those that only their own file sees.
    pub pages: u64,
    /// Of these, pages that files which share have of their own besides, as `sendfile` makes them.
    pub beside_pages: u64,
    /// Pages of directories, which are not in `pages`.
    pub directory_pages: u64,
    /// What each program said.
    pub programs: Vec<ProgramReport>,
}

impl Workload {
    /// Runs it in a virtual machine; returns what was in memory, and a trace of the first run without
    /// sharing.
    ///
    /// # Errors
    /// As [`Lab::run`], and when the program fails.
    pub fn measure(&self, lab: &Lab, limits: Limits) -> Result<(Measured, Vec<u8>), LabError> {
        let names = self.names();
        let programs = names.iter().map(|name| Program {
            mount: name.clone(),
            script: self.script.clone(),
            seconds: self.time.as_secs(),
        });
        let programs: Vec<_> = programs.collect();
        let scenarios: Vec<_> = RUNS.iter().map(|(title, shares)| self.scenario(title, *shares)).collect();
        let report = lab.run_with(&scenarios, &programs, limits)?;
        for scenario in &report.scenarios {
            succeeded(scenario)?;
        }
        let touched: Vec<_> = report.scenarios.iter().take(2).map(pages).collect();
        let unrepeated = match touched.as_slice() {
            [first, second] => first.symmetric_difference(second).count(),
            _ => 0,
        };
        let measured = Measured {
            kernel: report.kernel,
            runs: report.scenarios.iter().map(Run::of).collect(),
            unrepeated_pages: u64::try_from(unrepeated).unwrap_or(u64::MAX),
        };
        Ok((measured, report.scenarios.first().map(trace).unwrap_or_default()))
    }

    /// By which names the images are mounted, and stand in the trace.
    fn names(&self) -> [String; 2] {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.images.each_ref().map(|path| name(path))
    }

    fn scenario(&self, title: &str, shares: bool) -> Located {
        let names = self.names();
        let mount = |name: &String| Event::Mount {
            mount: name.clone(),
            image: name.clone(),
            backend: Backend::Block,
            device: None,
            inode_share: Some(shares),
            domain: shares.then(|| DOMAIN.to_owned()),
            devices: Vec::new(),
            options: Vec::new(),
            window_kib: None,
        };
        let events = names.iter().map(mount).collect();
        let images: BTreeMap<_, _> = names.into_iter().zip(self.images.iter().cloned()).collect();
        Located { scenario: Scenario { title: title.to_owned(), images, events }, base: PathBuf::new() }
    }
}

impl Run {
    fn of(scenario: &ScenarioReport) -> Self {
        let members = scenario.files.iter().filter(|file| file.shared);
        let beside_pages = members.map(|file| file.cachestat_pages).sum();
        Self {
            title: scenario.title.clone(),
            pages: scenario.frames + beside_pages,
            beside_pages,
            directory_pages: scenario.mounts.iter().map(|mount| mount.directory_pages).sum(),
            programs: scenario.programs.clone(),
        }
    }
}

/// Whether every event and every program of a scenario did what it should.
fn succeeded(scenario: &ScenarioReport) -> Result<(), LabError> {
    let fail = |mount: &str, reason: String| LabError::Workload {
        run: scenario.title.clone(),
        mount: mount.to_owned(),
        reason: reason.replace('\n', " / "),
    };
    for event in &scenario.events {
        if let Some(error) = &event.measured.error {
            return Err(fail(event.event.mount().unwrap_or_default(), error.clone()));
        }
    }
    for program in &scenario.programs {
        let said = program.output.trim();
        match program.status {
            Some(0) => {}
            Some(status) => return Err(fail(&program.mount, format!("status {status}: {said}"))),
            None => return Err(fail(&program.mount, format!("was killed: {said}"))),
        }
    }
    Ok(())
}

/// Every page in memory, by mount, path and number.
fn pages(scenario: &ScenarioReport) -> BTreeSet<(&str, &str, u64)> {
    let files = scenario.files.iter();
    let pages = files.flat_map(|file| {
        let numbers = file.runs.iter().flat_map(|(first, count)| *first..first.saturating_add(*count));
        numbers.map(|page| (file.mount.as_str(), file.path.as_str(), page))
    });
    pages.collect()
}

/// The pages in memory as a trace.
fn trace(scenario: &ScenarioReport) -> Vec<u8> {
    let mut text =
        b"# pages in memory after a workload, without sharing\n# image path offset length method\n".to_vec();
    for file in &scenario.files {
        for (first, count) in &file.runs {
            let offset = first.saturating_mul(PAGE_SIZE);
            let end = first.saturating_add(*count).saturating_mul(PAGE_SIZE).min(file.size);
            let record = Record {
                image: file.mount.clone().into_bytes(),
                path: file.path.clone().into_bytes(),
                offset,
                length: Some(end.saturating_sub(offset)),
                how: How::Pages,
                call: CALL,
            };
            text.extend(record.line());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{FileReport, MountReport};

    fn file(mount: &str, path: &str, size: u64, own: u64, runs: &[(u64, u64)]) -> FileReport {
        FileReport {
            mount: mount.into(),
            path: path.into(),
            size,
            shared: true,
            mincore_pages: runs.iter().map(|run| run.1).sum(),
            cachestat_pages: own,
            content: None,
            runs: runs.to_vec(),
            same_frames: None,
        }
    }

    fn scenario(status: Option<i32>) -> ScenarioReport {
        ScenarioReport {
            title: "private".into(),
            drift_pages: 0,
            events: Vec::new(),
            programs: vec![ProgramReport { mount: "a".into(), status, output: "two\nlines\n".into() }],
            files: vec![
                file("a", "/b c", 10_000, 3, &[(0, 1), (2, 1)]),
                file("a", "/none", 5, 0, &[]),
                file("b", "/d", 4096, 0, &[(0, 1)]),
            ],
            mounts: vec![MountReport { mount: "a".into(), directory_pages: 2 }],
            frames: 3,
        }
    }

    #[test]
    fn a_trace_ends_where_files_end() {
        let text = String::from_utf8(trace(&scenario(Some(0)))).unwrap();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines, ["a /b\\040c 0 4096 pages", "a /b\\040c 8192 1808 pages", "b /d 0 4096 pages"]);
    }

    #[test]
    fn pages_that_only_their_file_sees_count_too() {
        let run = Run::of(&scenario(Some(0)));
        assert_eq!((run.pages, run.beside_pages, run.directory_pages), (6, 3, 2));
        assert_eq!(pages(&scenario(Some(0))).len(), 3);
    }

    #[test]
    fn a_program_that_fails_says_why() {
        assert!(succeeded(&scenario(Some(0))).is_ok());
        for (status, want) in [
            (Some(2), "run \"private\", mount a: status 2: two / lines"),
            (None, "run \"private\", mount a: was killed: two / lines"),
        ] {
            assert_eq!(succeeded(&scenario(status)).unwrap_err().to_string(), want);
        }
    }
}
