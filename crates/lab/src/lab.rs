//! The lab: what it needs, prepared once in a directory, and a run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use erofs_builder::{BuildOptions, ImageFile};
use erofs_tree::{DirOptions, DirSource, Silent};

use crate::cpio::Archive;
use crate::error::{At as _, LabError};
use crate::hash_tree;
use crate::machine::{Machine, Parts, QEMU};
use crate::plan::{Located, Setup, set_up};
use crate::protocol::{BUSYBOX_PATH, Line, PLAN_PATH, PREFIX, Place, Program, SHELF_SERIAL};
use crate::report::{MeasuredEvent, Report, ScenarioReport};

/// What the guest is built for.
const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";
/// How many lines of a failed program an error shows.
const LAST_LINES: usize = 4;

/// What a virtual machine may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Time until everything is done.
    pub time: Duration,
}

impl Default for Limits {
    /// 2 GiB and two minutes.
    fn default() -> Self {
        Self { memory_mib: 2048, time: Duration::from_secs(120) }
    }
}

/// A kernel and a guest program, ready to run scenarios.
#[derive(Debug, Clone)]
pub struct Lab {
    /// What `tools/kernel.sh` fetched.
    kernel: PathBuf,
    guest: PathBuf,
}

impl Lab {
    /// Prepares everything in `dir`: fetches a kernel, unless it is there, and builds the guest program.
    ///
    /// # Errors
    /// [`LabError::Absent`] when the machine lacks something: the processor's architecture, qemu, a package
    /// mirror.
    pub fn prepare(dir: &Path) -> Result<Self, LabError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(absent("the lab's virtual machine is made for x86-64 alone"));
        }
        match Command::new(QEMU).arg("--version").output() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(absent(format!("{QEMU} is not on this machine (package qemu-system-x86)")));
            }
            Err(error) => return Err(error).at("start", Path::new(QEMU)),
        }
        fs::create_dir_all(dir).at("make", dir)?;
        let dir = dir.canonicalize().at("find", dir)?;
        let kernel = dir.join("kernel");
        run(Command::new(workspace().join("tools/kernel.sh")).arg(&kernel)).map_err(absent)?;
        let guest = build_guest(&dir.join("guest"))?;
        Ok(Self { kernel, guest })
    }

    /// A program without libraries that an image may carry, to be started in the guest.
    pub fn static_program(&self) -> PathBuf {
        self.kernel.join("busybox")
    }

    /// Runs scenarios, one after the other in one virtual machine.
    ///
    /// # Errors
    /// When a scenario or an image is not there, or the virtual machine fails. An event that the guest's
    /// kernel refuses is no error: it is in the report.
    pub fn run(&self, scenarios: &[Located], limits: Limits) -> Result<Report, LabError> {
        self.run_with(scenarios, &[], limits)
    }

    /// The same, and behind the events of each scenario the programs. One that fails is no error: it is in
    /// the report.
    ///
    /// # Errors
    /// As [`Self::run`], and when a program names no mount.
    pub fn run_with(
        &self,
        scenarios: &[Located],
        programs: &[Program],
        limits: Limits,
    ) -> Result<Report, LabError> {
        let mut setup = set_up(scenarios)?;
        setup.plan.programs = programs.to_vec();
        let scratch = tempfile::tempdir().at("make a directory in", &std::env::temp_dir())?;
        add_hash_trees(&mut setup, scratch.path())?;
        if setup.plan.shelf {
            let image = build_shelf(&setup, scratch.path())?;
            setup.disks.push((SHELF_SERIAL.to_owned(), image));
        }
        let initrd = scratch.path().join("initrd");
        fs::write(&initrd, self.initial_files(&setup)?).at("write", &initrd)?;
        let kernel = self.kernel.join("vmlinuz");
        let parts = Parts {
            kernel: &kernel,
            initrd: &initrd,
            console: &scratch.path().join("console"),
            disks: &setup.disks,
            memory_mib: limits.memory_mib,
        };
        listen(&Machine::start(&parts, limits.time)?, scenarios)
    }

    /// The archive with the guest's initial file system.
    fn initial_files(&self, setup: &Setup) -> Result<Vec<u8>, LabError> {
        let read = |path: &Path| fs::read(path).at("read", path);
        let mut archive = Archive::default();
        for name in ["dev", "mnt", "modules", "proc", "sys"] {
            archive.directory(name);
        }
        archive.file("init", &read(&self.guest)?);
        let modules = self.kernel.join("modules");
        for entry in fs::read_dir(&modules).at("list", &modules)? {
            let file = entry.at("list", &modules)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            archive.file(&format!("modules/{name}"), &read(&file)?);
        }
        if !setup.plan.programs.is_empty() {
            archive.file(BUSYBOX_PATH.trim_start_matches('/'), &read(&self.static_program())?);
        }
        let plan = serde_json::to_vec(&setup.plan).map_err(io::Error::from);
        archive.file(PLAN_PATH.trim_start_matches('/'), &plan.at("write", Path::new(PLAN_PATH))?);
        Ok(archive.finish())
    }
}

fn absent(what: impl Into<String>) -> LabError {
    LabError::Absent { what: what.into() }
}

/// The root of the workspace, which the lab is built from and used in.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Runs a program to its end; the error has its last lines.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    Err(format!("{program}: {}: {}", output.status, lines.get(from..).unwrap_or_default().join(" / ")))
}

/// Builds the guest program, which needs no library of the machine it was built on.
fn build_guest(target_dir: &Path) -> Result<PathBuf, LabError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace())
        .args(["build", "--release", "--quiet", "--package", "erofs-lab", "--bin", "lab-guest"])
        .args(["--no-default-features", "--target", GUEST_TARGET, "--target-dir"])
        .arg(target_dir)
        // What surrounds this program may be building something else.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "true");
    run(&mut command).map_err(|reason| LabError::Guest { reason })?;
    Ok(target_dir.join(GUEST_TARGET).join("release/lab-guest"))
}

/// Makes the hash trees of all images that need one, adds them as disks, and says in the plan what is in
/// them.
fn add_hash_trees(setup: &mut Setup, scratch: &Path) -> Result<(), LabError> {
    let mut trees = BTreeMap::new();
    for (serial, image) in std::mem::take(&mut setup.verity) {
        let path = scratch.join(&serial);
        trees.insert(serial.clone(), hash_tree::write(&image, &path)?);
        setup.disks.push((serial, path));
    }
    let steps = setup.plan.scenarios.iter_mut().flatten();
    for place in steps.flat_map(|step| step.place.iter_mut().chain(&mut step.devices)) {
        if let Place::Verity { hashes, blocks, root, .. } = place
            && let Some(tree) = trees.get(hashes)
        {
            *blocks = tree.blocks;
            root.clone_from(&tree.root);
        }
    }
    Ok(())
}

/// Builds an image with the images that the guest needs as files. The guest mounts it, because the kernel
/// mounts a file only from a file system that reads through the page cache, which one in memory does not.
fn build_shelf(setup: &Setup, scratch: &Path) -> Result<PathBuf, LabError> {
    let dir = scratch.join("shelf");
    fs::create_dir(&dir).at("make", &dir)?;
    for (name, path) in &setup.shelf {
        let link = dir.join(name);
        if fs::hard_link(path, &link).is_err() {
            fs::copy(path, &link).at("copy", path)?;
        }
    }
    let image = scratch.join("shelf.img");
    let fail = |reason: String| LabError::Shelf { reason };
    let mut options = BuildOptions::default();
    // Each image lies in whole blocks of its own, as it would on a disk.
    options.content.file_dedupe = false;
    options.content.inline_data = false;
    let no_xattrs = DirOptions { read_xattrs: false, hard_dereference: true, ..DirOptions::default() };
    let mut source = DirSource::new(&dir, no_xattrs).map_err(|error| fail(error.to_string()))?;
    let file = ImageFile::create(&image, 0).map_err(|error| fail(error.to_string()))?;
    erofs_builder::build(&mut source, file, &options, &Silent).map_err(|error| fail(error.to_string()))?;
    Ok(image)
}

/// Collects what the guest says until it is done.
fn listen(machine: &Machine, scenarios: &[Located]) -> Result<Report, LabError> {
    let start = Instant::now();
    let passed = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut report =
        Report { kernel: String::new(), boot_milliseconds: 0, total_milliseconds: 0, scenarios: Vec::new() };
    while let Some(text) = machine.line()? {
        let Some((_, json)) = text.split_once(PREFIX) else { continue };
        let line = serde_json::from_str(json).map_err(|error| {
            machine.failure(format!("said something that is no line of the guest: {error}"))
        })?;
        match line {
            Line::Started { kernel } => {
                report.kernel = kernel;
                report.boot_milliseconds = passed();
            }
            Line::Fault { reason } => {
                return Err(machine.failure(format!("gave up: {reason}")));
            }
            Line::Done => {
                report.total_milliseconds = passed();
                let done = report.scenarios.len();
                let whole = report.scenarios.iter().zip(scenarios);
                let mut whole =
                    whole.map(|(found, wanted)| found.events.len() == wanted.scenario.events.len());
                if done != scenarios.len() || !whole.all(|whole| whole) {
                    return Err(machine.failure("left out a scenario or an event".to_owned()));
                }
                return Ok(report);
            }
            Line::Scenario { drift_pages } => {
                let title = scenarios.get(report.scenarios.len()).map(|located| &located.scenario.title);
                report.scenarios.push(ScenarioReport {
                    title: title.cloned().unwrap_or_default(),
                    drift_pages,
                    events: Vec::new(),
                    programs: Vec::new(),
                    files: Vec::new(),
                    mounts: Vec::new(),
                    frames: 0,
                });
            }
            line
            @ (Line::Event(_) | Line::Program(_) | Line::File(_) | Line::Mount(_) | Line::End { .. }) => {
                let source = scenarios.get(report.scenarios.len().saturating_sub(1));
                if !report.scenarios.last_mut().is_some_and(|last| add(last, source, line)) {
                    return Err(machine.failure("said more than it was asked for".to_owned()));
                }
            }
        }
    }
    let during = report
        .scenarios
        .last()
        .map(|last| format!(", in event {} of the scenario \"{}\"", last.events.len() + 1, last.title));
    Err(machine.failure(format!("ended before it was done{}", during.unwrap_or_default())))
}

/// Adds a line to its scenario; false if it does not belong there.
fn add(report: &mut ScenarioReport, source: Option<&Located>, line: Line) -> bool {
    match line {
        Line::Event(measured) => {
            let event = source.and_then(|located| located.scenario.events.get(report.events.len()));
            let Some(event) = event.cloned() else { return false };
            report.events.push(MeasuredEvent { event, data_pages: measured.data_pages(), measured });
        }
        Line::Program(program) => report.programs.push(program),
        Line::File(file) => report.files.push(file),
        Line::Mount(mount) => report.mounts.push(mount),
        Line::End { frames } => report.frames = frames,
        Line::Started { .. } | Line::Scenario { .. } | Line::Done | Line::Fault { .. } => return false,
    }
    true
}
