//! The first and only program of the lab's virtual machine. It carries out the plan in its initial file
//! system with the exact system calls and says through its port what each did to the page cache.

mod access;
mod census;
mod mapper;
mod meter;
mod sys;
mod walk;
mod workload;
mod world;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use erofs_lab::protocol::{EventReport, Line, PLAN_PATH, PORT_NAME, PREFIX, Plan, SHELF_SERIAL, Step};
use rustix::mount::MountFlags;
use rustix::system::RebootCommand;

use meter::Sample;
use world::{SHELF, World};

fn main() -> ExitCode {
    if std::process::id() != 1 {
        drop(writeln!(io::stderr(), "lab-guest: runs only as the first program of a virtual machine"));
        return ExitCode::FAILURE;
    }
    match prepare().and_then(|mut port| {
        let done = carry_out(&mut port);
        let line = done.err().map_or(Line::Done, |error| Line::Fault { reason: format!("{error:#}") });
        Ok(say(&mut port, &line)?)
    }) {
        Ok(()) => {}
        Err(error) => drop(writeln!(io::stderr(), "lab-guest: {error:#}")),
    }
    // The machine is started so that it ends where it would begin anew. Behind a failure, the end of this
    // program does.
    if let Err(errno) = rustix::system::reboot(RebootCommand::Restart) {
        drop(writeln!(io::stderr(), "lab-guest: cannot end the machine: {errno}"));
    }
    ExitCode::FAILURE
}

/// Mounts what every program expects, and opens the port to the host.
fn prepare() -> anyhow::Result<File> {
    for (kind, point) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(point)?;
        rustix::mount::mount("none", point, kind, MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {kind}"))?;
    }
    for entry in fs::read_dir("/sys/class/virtio-ports").context("there is no port to the host")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT_NAME) {
            let device = Path::new("/dev").join(entry.file_name());
            return OpenOptions::new().write(true).open(device).context("cannot open the port to the host");
        }
    }
    anyhow::bail!("no port to the host is called {PORT_NAME}")
}

/// One line of JSON to the host.
fn say(port: &mut File, line: &Line) -> io::Result<()> {
    let mut text = String::from(PREFIX);
    text.push_str(&serde_json::to_string(line)?);
    text.push('\n');
    port.write_all(text.as_bytes())
}

fn carry_out(port: &mut File) -> anyhow::Result<()> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    say(port, &Line::Started { kernel })?;
    load_modules()?;
    let plan: Plan = serde_json::from_slice(&fs::read(PLAN_PATH)?).context("cannot read the plan")?;
    let backing = if plan.shelf { open_shelf()? } else { Vec::new() };
    let mut world = World::default();
    world.clear()?;
    let start = Sample::take(&backing)?;
    for steps in &plan.scenarios {
        let drift_pages = Sample::take(&backing)?.file_pages() - start.file_pages();
        say(port, &Line::Scenario { drift_pages })?;
        for step in steps {
            let report = event(&mut world, step, &backing)?;
            say(port, &Line::Event(report))?;
        }
        for program in &plan.programs {
            let report = workload::run(world.point(&program.mount)?, program);
            let report = report.with_context(|| format!("cannot run a program in {}", program.mount))?;
            say(port, &Line::Program(report))?;
        }
        let with_runs = !plan.programs.is_empty();
        census::census(world.mounts(), with_runs, &mut |line| say(port, line))
            .context("cannot look at the files")?;
        world.clear().context("cannot take a scenario away")?;
    }
    Ok(())
}

/// Carries out an event between two samples.
fn event(world: &mut World, step: &Step, backing: &[File]) -> io::Result<EventReport> {
    let before = Sample::take(backing)?;
    let outcome = world.carry_out(step);
    // What is still on its way changes one counter before the other, and cannot be dropped by the next event.
    world.settle()?;
    let mut report = Sample::take(backing)?.since(&before);
    if let Err(error) = outcome {
        report.errno = error.raw_os_error();
        report.error = Some(error.to_string());
    }
    Ok(report)
}

fn load_modules() -> anyhow::Result<()> {
    let dir = Path::new("/modules");
    for name in fs::read_to_string(dir.join("order")).context("cannot read the list of modules")?.lines() {
        let file = File::open(dir.join(name)).with_context(|| format!("cannot open {name}"))?;
        rustix::system::finit_module(&file, c"", 0).with_context(|| format!("cannot load {name}"))?;
    }
    Ok(())
}

/// Mounts the disk with images as files, and opens each to count its pages.
fn open_shelf() -> anyhow::Result<Vec<File>> {
    fs::create_dir_all(SHELF)?;
    rustix::mount::mount(&world::disk(SHELF_SERIAL)?, SHELF, "erofs", MountFlags::RDONLY, None)
        .context("cannot mount the disk of image files")?;
    let mut files = Vec::new();
    for entry in fs::read_dir(SHELF)? {
        files.push(File::open(entry?.path())?);
    }
    Ok(files)
}
