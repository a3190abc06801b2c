//! `erofs-lab`: runs scenarios of page cache sharing on a real kernel and prints what it measured.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use erofs_lab::{Lab, Limits, Located};

/// Runs scenarios of page cache sharing on a real kernel, in a virtual machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
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
        /// Where the kernel and the guest program are kept.
        #[arg(long, default_value = "target/lab")]
        dir: PathBuf,
        /// Memory of the virtual machine in MiB.
        #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u64).range(256..))]
        memory: u64,
        /// Seconds until everything has to be done.
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout: u64,
    },
}

fn main() -> ExitCode {
    let Verb::Run { scenarios, json, dir, memory, timeout } = Arguments::parse().verb;
    let limits = Limits { memory_mib: memory, time: Duration::from_secs(timeout) };
    match run(&scenarios, json, &dir, limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "erofs-lab: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(scenarios: &[PathBuf], json: bool, dir: &std::path::Path, limits: Limits) -> anyhow::Result<()> {
    let scenarios = scenarios.iter().map(|path| Located::load(path)).collect::<Result<Vec<_>, _>>()?;
    let report = Lab::prepare(dir)?.run(&scenarios, limits)?;
    let text = if json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_string() };
    io::stdout().write_all(text.as_bytes()).context("cannot write to the standard output")
}
