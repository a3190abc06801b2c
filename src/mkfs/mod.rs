//! `mkfs-erofs`: flags to options, one build, one summary.

mod algorithm;
mod archive;
mod args;
mod compression;
mod extended;
pub(crate) mod metadata;
mod personality;
mod plan;
mod refused;
pub mod report;
mod verity;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use erofs_builder::ImageFile;
use erofs_tree::{DirSource, Progress, Shaped, Silent};

pub use args::{Args, command};
pub use personality::Personality;
pub use plan::Plan;
pub use report::Report;

use crate::exit::{self, Failure, WrongUse, one_line};
use crate::files::{self, Item, shown};
use crate::progress::Bars;
use crate::{output, signals};

/// The name of the program in messages, whatever name it was started by.
pub const NAME: &str = "mkfs-erofs";

/// Runs a command line and says on stderr what went wrong, if something did; the first argument is the name
/// of the program.
pub fn main(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line: Vec<OsString> = line.into_iter().collect();
    let personality = Personality::of(&line);
    let code = run(line).map_or_else(|failure| output::failure(NAME, &failure), |()| exit::OK);
    ExitCode::from(personality.exit_code(code))
}

fn run(line: Vec<OsString>) -> Result<(), Failure> {
    let started = Instant::now();
    signals::prepare(exit::FAILED).context("signals cannot be caught")?;
    if compression::asks_for_help(&line) {
        return Ok(output::stdout()
            .write_all(compression::help().as_bytes())
            .context("the list of algorithms")?);
    }
    let args = Args::read(line)?;
    let epoch = std::env::var_os("SOURCE_DATE_EPOCH");
    let plan = Plan::new(&args, epoch.as_deref()).map_err(Failure::Usage)?;
    check_places(&args, &plan)?;
    let written = outputs(&args, &plan);
    let hints = args.compression.compress_hints.as_ref();
    let read: Vec<Item> = hints.iter().map(|path| Item::new("--compress-hints", path)).collect();
    files::keep_apart(&read, &written).map_err(|WrongUse(text)| Failure::Usage(text))?;
    let (summary, tree) = build(&args, &plan)?;
    let Plan { quiet, json, warnings, .. } = plan;
    let report = Report::new(&args.image, summary, warnings, started.elapsed()).with_verity(tree);
    let out = output::report(files::stdout_is_among(&written));
    match say(out, &report, quiet, json) {
        // Whoever reads the summary may stop reading; the image is there.
        Err(error) if output::is_broken_pipe(&error) => Ok(()),
        outcome => {
            outcome.context("the image is complete, but its summary cannot be printed").map_err(Failure::from)
        }
    }
}

/// Refuses places that cannot be what they are meant to be, before anything is touched.
fn check_places(args: &Args, plan: &Plan) -> Result<(), anyhow::Error> {
    let Some(source) = &args.source else {
        let input = Item::new("standard input", Path::new("/dev/stdin"));
        return match files::keep_apart(&[input], &[Item::new("", &args.image)]) {
            Err(_) => Err(anyhow!("IMAGE and standard input are the same: {}", shown(&args.image))),
            Ok(()) => Ok(()),
        };
    };
    let source_is = std::fs::metadata(source).with_context(|| format!("SOURCE {}", shown(source)))?;
    if files::keep_apart(&[Item::new("", source)], &[Item::new("", &args.image)]).is_err() {
        return Err(anyhow!("IMAGE and SOURCE are the same: {}", shown(&args.image)));
    }
    match (&plan.archive, source_is.is_dir()) {
        (None, false) => {
            Err(anyhow!("SOURCE {}: not a directory, want one, or --tar for an archive", shown(source)))
        }
        (Some(_), true) => Err(anyhow!("SOURCE {}: a directory, want an archive with --tar", shown(source))),
        (None, true) | (Some(_), false) => Ok(()),
    }
}

/// What will be written.
fn outputs(args: &Args, plan: &Plan) -> Vec<Item> {
    let beside = plan.verity.iter().flat_map(verity::Wanted::files);
    let image = std::iter::once(("IMAGE", args.image.as_path()));
    image.chain(beside).map(|(flag, path)| Item::new(flag, path)).collect()
}

fn build(args: &Args, plan: &Plan) -> Result<(erofs_builder::Summary, Option<verity::Made>), anyhow::Error> {
    let mut image = ImageFile::create(&args.image, plan.offset)?;
    let mut options = plan.source.clone();
    options.skip.push(image.path().to_owned());
    options.skip_files.extend(image.identity());
    let mut tree = verity::Outcome::default();
    if let Some(wanted) = plan.verity.clone() {
        (image, tree) = wanted.attach(image, &mut options)?;
    }
    let bars = if plan.quiet { None } else { Bars::on_terminal() };
    let progress: &dyn Progress = bars.as_ref().map_or(&Silent, |bars| bars);
    let rules = (plan.shape, plan.exclude.clone());
    let mut summary = match (&plan.archive, &args.source) {
        (Some(archive), path) => archive.build(path.as_deref(), image, rules, &plan.build, progress)?,
        (None, Some(path)) => {
            let mut source = Shaped::new(DirSource::new(path, options)?, rules.0, rules.1);
            erofs_builder::build(&mut source, image, &plan.build, progress)?
        }
        (None, None) => return Err(anyhow!("SOURCE: found none, want a directory")),
    };
    let made = tree.lock().unwrap_or_else(PoisonError::into_inner).take();
    let made = made.map(|(made, warnings)| {
        summary.warnings.extend(warnings);
        made
    });
    Ok((summary, made))
}

/// Prints the summary: the object where it is asked for, else the text, and the warnings on stderr.
fn say(mut out: Box<dyn Write>, report: &Report, quiet: bool, json: bool) -> anyhow::Result<()> {
    if json {
        output::json(&mut *out, report)?;
    } else if !quiet {
        for warning in &report.warnings {
            output::complain(NAME, &one_line(&format!("warning: {warning}")));
        }
        out.write_all(report.text().as_bytes())?;
    }
    Ok(out.flush()?)
}
