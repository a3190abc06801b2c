//! The verbs of `erofs-ishare`: one file and one row of the table for each.

pub mod cat;
mod cover;
pub mod doctor;
pub mod domain;
mod done;
pub mod extract;
pub mod index;
pub mod inspect;
mod live;
pub mod ls;
pub mod measure;
pub mod sign;
pub mod simulate;
mod source;
mod text;
pub mod trace;
mod undumped;
pub mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

pub use done::{Done, NAME};

use crate::exit::{self, Failure};
use crate::{output, signals};

/// Look into EROFS images without mounting them: what they are, what they hold, and which of their files can
/// share page cache with the files of other images.
///
/// Images are never trusted: a malformed one is an error that names what was found and what was wanted, and
/// nothing is ever written outside the directory given to extract.
///
/// Exit status: 0 done, 1 failed, in whole or in part, 2 wrong command line, 3 a limit given to simulate is
/// not kept, or doctor or domain check found something to change. verify has those of fsck(8).
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// The table: one row per verb.
#[derive(Debug, Subcommand)]
enum Verb {
    Inspect(inspect::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Extract(extract::Args),
    Index(index::Args),
    Simulate(simulate::Args),
    Measure(measure::Args),
    Trace(trace::Args),
    Doctor(doctor::Args),
    Sign(sign::Args),
    Domain(domain::Args),
    Verify(verify::Args),
}

fn dispatch(verb: Verb) -> anyhow::Result<Done> {
    match verb {
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Ls(args) => ls::run(&args),
        Verb::Cat(args) => cat::run(&args),
        Verb::Extract(args) => extract::run(&args),
        Verb::Index(args) => index::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Measure(args) => measure::run(&args),
        Verb::Trace(args) => trace::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Sign(args) => sign::run(&args),
        Verb::Domain(args) => domain::run(&args),
        Verb::Verify(args) => verify::run(&args),
    }
}

/// Runs the command line and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_fsck = arguments.get(1).is_some_and(|verb| verb == "verify");
    let failed = if is_fsck { exit::FSCK_FAILED } else { exit::FAILED };
    let outcome = signals::prepare(failed)
        .context("signals cannot be caught")
        .map_err(Failure::from)
        .and_then(|()| Cli::try_parse_from(arguments).map_err(Failure::from))
        .and_then(|cli| dispatch(cli.verb).map_err(Failure::from));
    ExitCode::from(match outcome {
        Ok(Done::Whole) => exit::OK,
        Ok(Done::Partly) => exit::FAILED,
        Ok(Done::Gate) => exit::GATE,
        Ok(Done::Code(code)) => code,
        // Whoever closed the pipe has read what it wanted.
        Err(Failure::Failed(error)) if output::is_broken_pipe(&error) => exit::OK,
        Err(failure) => {
            let code = output::failure(NAME, &failure);
            if is_fsck { exit::of_fsck(code) } else { code }
        }
    })
}
