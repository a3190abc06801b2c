//! `mkfs-erofs`: flags to options, one build, one summary.

mod args;
mod compression;
mod extended;
pub(crate) mod metadata;
mod plan;
mod refused;
pub mod report;
mod verity;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use erofs_build::ImageFile;
use erofs_tree::{DirOptions, DirSource, Progress, Silent};

pub use args::{Args, command};
pub use plan::Plan;
pub use report::Report;

use crate::exit::{self, Failure, one_line};
use crate::progress::Bars;
use crate::{output, signals};

/// The name of the program in messages, whatever name it was started by.
pub const NAME: &str = "mkfs-erofs";

/// Runs a command line and says on stderr what went wrong, if something did; the first argument is the name of the
/// program.
pub fn main(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(run(line).map_or_else(|failure| output::failure(NAME, &failure), |()| exit::OK))
}

fn run(line: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let started = Instant::now();
    signals::prepare(exit::FAILED).context("signals cannot be caught")?;
    let line: Vec<OsString> = line.into_iter().collect();
    if compression::asks_for_help(&line) {
        return Ok(output::stdout()
            .write_all(compression::help().as_bytes())
            .context("the list of algorithms")?);
    }
    let args = Args::read(line)?;
    let epoch = std::env::var_os("SOURCE_DATE_EPOCH");
    let plan = Plan::new(&args, epoch.as_deref()).map_err(Failure::Usage)?;
    check_places(&args.image, &args.source)?;
    let (summary, tree) = build(&args, &plan)?;
    let Plan { quiet, json, warnings, .. } = plan;
    let report = Report::new(&args.image, summary, warnings, started.elapsed()).with_verity(tree);
    match say(&report, quiet, json) {
        // Whoever reads the summary may stop reading; the image is there.
        Err(error) if output::is_broken_pipe(&error) => Ok(()),
        outcome => {
            outcome.context("the image is complete, but its summary cannot be printed").map_err(Failure::from)
        }
    }
}

/// Refuses places that cannot be what they are meant to be, before anything is touched.
fn check_places(image: &Path, source: &Path) -> Result<(), anyhow::Error> {
    let source_is = std::fs::metadata(source).with_context(|| format!("SOURCE {}", source.display()))?;
    let same = image.canonicalize().ok().is_some_and(|image| source.canonicalize().is_ok_and(|s| s == image));
    if same {
        return Err(anyhow!("IMAGE and SOURCE are the same: {}", image.display()));
    }
    if !source_is.is_dir() {
        return Err(anyhow!(
            "SOURCE {}: not a directory; other sources are not in this version",
            source.display()
        ));
    }
    Ok(())
}

fn build(args: &Args, plan: &Plan) -> Result<(erofs_build::Summary, Option<verity::Made>), anyhow::Error> {
    let mut image = ImageFile::create(&args.image, plan.offset)?;
    let mut options = DirOptions { skip: image.identities(), ..plan.source.clone() };
    let mut tree = verity::Outcome::default();
    if let Some(wanted) = plan.verity.clone() {
        options.skip.extend(wanted.identities());
        (image, tree) = wanted.attach(image);
    }
    let mut source = DirSource::new(&args.source, options)?;
    let bars = if plan.quiet { None } else { Bars::on_terminal() };
    let progress: &dyn Progress = bars.as_ref().map_or(&Silent, |bars| bars);
    let summary = erofs_build::build(&mut source, image, &plan.build, progress)?;
    let made = tree.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok((summary, made))
}

/// Prints the summary: the object where it is asked for, else the text on stdout and the warnings on stderr.
fn say(report: &Report, quiet: bool, json: bool) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if json {
        output::json(&mut out, report)?;
    } else if !quiet {
        for warning in &report.warnings {
            output::complain(NAME, &one_line(&format!("warning: {warning}")));
        }
        out.write_all(report.text().as_bytes())?;
    }
    Ok(out.flush()?)
}
