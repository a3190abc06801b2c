//! `erofs-lab`: runs scenarios of page cache sharing on a real kernel and prints what it measured.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use erofs_lab::conformance::{Suite, document};
use erofs_lab::recipe::Programs;
use erofs_lab::workload::Workload;
use erofs_lab::{Lab, Limits, Located};

/// Runs scenarios of page cache sharing on a real kernel, in a virtual machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// Where things are kept, and what a virtual machine may take.
#[derive(Debug, Args)]
struct Common {
    /// Where the kernel and the guest program are kept.
    #[arg(long, default_value = "target/lab")]
    dir: PathBuf,
    /// Memory of the virtual machine in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u64).range(256..))]
    memory: u64,
    /// Seconds until everything has to be done.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs scenarios, one after the other in one virtual machine, and prints what each event did.
    Run {
        /// The scenarios.
        #[arg(required = true)]
        scenarios: Vec<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Runs a program in two images of it, without sharing and with it, and prints as JSON what was in memory
    /// afterwards.
    Workload {
        /// The images; their file names differ.
        #[arg(num_args = 2, required = true, value_name = "IMAGE")]
        images: Vec<PathBuf>,
        /// A shell script that runs in each of them.
        #[arg(long, value_name = "FILE")]
        script: PathBuf,
        /// Seconds that it may take each time.
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        each: u64,
        /// Write the pages in memory after the first run to this file, for `erofs-ishare simulate --access
        /// trace:FILE`.
        #[arg(long, value_name = "FILE")]
        trace: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Holds the model to the kernel in every scenario of a directory, and fails if a figure differs.
    Conformance {
        /// The scenarios.
        #[arg(default_value = "testdata/scenarios")]
        scenarios: PathBuf,
        /// Write the table of all rows to this file.
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
        /// Only scenarios whose name begins with this.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// The program that makes images.
        #[arg(long, value_name = "PROGRAM")]
        mkfs: PathBuf,
        /// The `mkfs.erofs` of erofs-utils.
        #[arg(long, value_name = "PROGRAM")]
        peer: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Holds the model to the kernel in random scenarios, and fails if a figure differs. A seed is one
    /// scenario.
    Random {
        #[command(flatten)]
        random: Seeds,
        #[command(flatten)]
        common: Common,
    },
}

/// Random scenarios.
#[derive(Debug, Args)]
struct Seeds {
    /// The seed of the first scenario; the others follow it.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How many scenarios.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    count: u64,
    /// How many events each has at least.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    events: usize,
    /// How many scenarios run in one virtual machine.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    each: u64,
    /// Write every scenario that differs to this directory.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Where the recipes of the images are.
    #[arg(default_value = "testdata/scenarios")]
    recipes: PathBuf,
    /// The program that makes images.
    #[arg(long, value_name = "PROGRAM")]
    mkfs: PathBuf,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Run { scenarios, json, common } => run(&scenarios, json, &common),
        Verb::Workload { images, script, each, trace, common } => {
            workload(images, &script, Duration::from_secs(each), &trace, &common)
        }
        Verb::Random { random, common } => run_random(&random, &common),
        Verb::Conformance { scenarios, write, only, mkfs, peer, common } => {
            let lab = Lab::prepare(&common.dir).map_err(Into::into);
            lab.and_then(|lab| {
                let programs = Programs { mkfs, peer, program: lab.static_program() };
                conformance(&lab, &scenarios, write.as_deref(), only.as_deref(), &programs, &common)
            })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "erofs-lab: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Common {
    fn limits(&self) -> Limits {
        Limits { memory_mib: self.memory, time: Duration::from_secs(self.timeout) }
    }
}

fn run(scenarios: &[PathBuf], json: bool, common: &Common) -> anyhow::Result<()> {
    let scenarios = scenarios.iter().map(|path| Located::load(path)).collect::<Result<Vec<_>, _>>()?;
    let report = Lab::prepare(&common.dir)?.run(&scenarios, common.limits())?;
    let text = if json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_string() };
    print(&text)
}

fn workload(
    images: Vec<PathBuf>,
    script: &Path,
    time: Duration,
    trace: &Path,
    common: &Common,
) -> anyhow::Result<()> {
    let Ok(images) = <[PathBuf; 2]>::try_from(images) else { bail!("want two images") };
    if images[0].file_name() == images[1].file_name() {
        bail!("{}: found an image of the same name before it, want another", images[1].display());
    }
    let script = fs::read_to_string(script).with_context(|| script.display().to_string())?;
    let workload = Workload { images, script, time };
    let (measured, pages) = workload.measure(&Lab::prepare(&common.dir)?, common.limits())?;
    fs::write(trace, pages).with_context(|| trace.display().to_string())?;
    print(&(serde_json::to_string_pretty(&measured)? + "\n"))
}

fn conformance(
    lab: &Lab,
    scenarios: &Path,
    write: Option<&Path>,
    only: Option<&str>,
    programs: &Programs,
    common: &Common,
) -> anyhow::Result<()> {
    let images = erofs_lab::recipe::scratch()?;
    let mut suite = Suite::load(scenarios, images.path(), programs)?;
    suite.rows.retain(|(name, _)| only.is_none_or(|only| name.starts_with(only)));
    let (kernel, rows) = suite.compare(lab, common.limits())?;
    for row in &rows {
        for difference in &row.differences {
            print(&format!("{}: {difference}\n", row.row))?;
        }
    }
    if let Some(path) = write {
        fs::write(path, document(&kernel, &suite.others, &rows)).context(path.display().to_string())?;
    }
    let (figures, differing) = (
        rows.iter().map(|row| row.figures).sum::<usize>(),
        rows.iter().filter(|row| !row.differences.is_empty()).count(),
    );
    print(&format!("Linux {kernel}: {figures} figures in {} scenarios\n", rows.len()))?;
    if differing > 0 {
        bail!("{differing} scenarios differ");
    }
    Ok(())
}

fn run_random(asked: &Seeds, common: &Common) -> anyhow::Result<()> {
    let lab = Lab::prepare(&common.dir)?;
    let images = erofs_lab::recipe::scratch()?;
    // None of the images needs another program.
    let programs = Programs { mkfs: asked.mkfs.clone(), peer: PathBuf::new(), program: PathBuf::new() };
    let seeds: Vec<u64> = (asked.seed..asked.seed.saturating_add(asked.count)).collect();
    let suite = Suite::random(&asked.recipes, images.path(), &programs, seeds, asked.events)?;
    let (mut figures, mut differing) = (0, 0);
    for part in suite.parts(usize::try_from(asked.each)?.max(1)) {
        let (kernel, rows) = part.compare(&lab, common.limits())?;
        for ((_, located), row) in part.rows.iter().zip(&rows) {
            figures += row.figures;
            print(&format!("{}: Linux {kernel}, {} figures\n", row.row, row.figures))?;
            row.differences.iter().try_for_each(|what| print(&format!("{}: {what}\n", row.row)))?;
            if row.differences.is_empty() {
                continue;
            }
            differing += 1;
            if let Some(dir) = &asked.write {
                let path = dir.join(format!("{}.toml", row.row.replace(' ', "-")));
                let text = toml::to_string(&located.scenario)?;
                fs::write(&path, text).with_context(|| path.display().to_string())?;
            }
        }
    }
    print(&format!("{figures} figures in {} scenarios\n", suite.rows.len()))?;
    if differing > 0 {
        bail!("{differing} scenarios differ");
    }
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().write_all(text.as_bytes()).context("cannot write to the standard output")
}
