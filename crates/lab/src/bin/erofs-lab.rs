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
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Run { scenarios, json, common } => run(&scenarios, json, &common),
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

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().write_all(text.as_bytes()).context("cannot write to the standard output")
}
