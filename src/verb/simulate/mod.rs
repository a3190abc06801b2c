//! `erofs-ishare simulate`: how much page cache a set of images takes, with sharing and without.
//!
//! ```text
//! plan ─┬─► whole ────┐
//!       ├─► traced ───┼─► report ─► print, html
//!       └─► scenario ─┘     ▲
//!             survey, verify ─► advice
//! ```

mod advice;
mod chart;
mod html;
mod plan;
mod print;
mod report;
mod scenario;
mod traced;
mod verify;
mod whole;

use std::io::Write as _;
use std::path::PathBuf;

use erofs_builder::ImageFile;
use erofs_format::words;
use erofs_sim::kernel::{self, KernelModel};

use super::Done;
use crate::exit::{WrongUse, one_line};
use crate::files::{self, Item};
use crate::output;
use plan::{How, Under};
use report::Report;
use whole::Asked;

/// Say how much page cache a set of images takes on Linux, with sharing and without
///
/// Every image is mounted once, in the order given, and every file of it read completely, as a full backup or a check
/// of all files would: the most that sharing can save. With --access a recorded workload takes the place of this, with
/// --scenario a file says what is mounted and what happens, in order. Nothing is mounted for it, and any machine can do
/// it.
///
/// Said are the memory of each domain, what each further image adds, which files do not share and why, which bytes the
/// images store more than once, what metadata takes beside, and what could be done. See erofs-ishare(1) for the forms of
/// scenarios and traces.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag that takes no value")]
pub struct Args {
    /// Images of the only --domain; without one, all of them share
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// A domain: its name alone, or with its images (may be repeated). Images of different domains share nothing
    #[arg(long, value_name = "NAME[=IMAGE,...]")]
    domain: Vec<String>,

    /// An extra device of an image, in the order of its device table: what a companion META refers to. Of a single image
    /// the device alone will do
    #[arg(long, value_name = "META=ORIGINAL")]
    device: Vec<PathBuf>,

    /// What lies under the mounts
    #[arg(long, value_enum, default_value_t = Under::Block)]
    backend: Under,

    /// The kernel: 7.2 (from 7.2.7 on), 7.0 (before), or splice (kernels that share for sendfile too)
    #[arg(long, value_name = "KERNEL", value_parser = kernel_named, default_value = "7.2")]
    kernel: KernelModel,

    /// How files are read: all of them by read (all, read), mmap or sendfile, or as trace:FILE or strace:FILE says
    #[arg(long, value_name = "HOW", default_value = "all")]
    access: How,

    /// Where an image was mounted when strace ran (may be repeated)
    #[arg(long, value_name = "DIR=IMAGE")]
    mountpoint: Vec<String>,

    /// Write the accesses as a trace, which is shorter than strace's log and tells nothing else
    #[arg(long, value_name = "FILE")]
    trace_out: Option<PathBuf>,

    /// What is mounted and what happens, in order
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "domain", "device", "backend", "access", "mountpoint", "trace_out", "verify"])]
    scenario: Option<PathBuf>,

    /// Take images that announce no fingerprints as well; they share nothing
    #[arg(long)]
    allow_unshared: bool,

    /// Read the contents: duplicates are those of content, fingerprints are held against it, and files that differ in a
    /// few bytes are named
    #[arg(long)]
    verify: bool,

    /// Exit with 3 if less than this share of the memory is saved
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_under: Option<f64>,

    /// Exit with 3 if the last image adds more than this
    #[arg(long, value_name = "BYTES", value_parser = crate::value::bytes)]
    max_marginal: Option<u64>,

    /// One JSON object
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// One line per image, as comma-separated values
    #[arg(long)]
    csv: bool,

    /// Write a page with tables and charts, for a browser; it needs no network and has no scripts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let report = report_of(args)?;
    if let Some(path) = &args.html {
        for warning in ImageFile::write_whole(path, html::page(&report).as_bytes())? {
            output::complain(super::NAME, &one_line(&format!("warning: {warning}")));
        }
    }
    let mut out = output::stdout();
    if args.json {
        output::json(&mut out, &report)?;
    } else if args.csv {
        print::csv(&mut out, &report)?;
    } else {
        print::text(&mut out, &report)?;
    }
    out.flush()?;
    Ok(gate(args, &report))
}

fn report_of(args: &Args) -> anyhow::Result<Report> {
    let log = matches!(args.access, How::Trace(_) | How::Strace(_));
    if args.trace_out.is_some() && !log {
        return Err(
            WrongUse("--trace-out: found no trace, want --access trace:FILE or strace:FILE".into()).into()
        );
    }
    if !args.mountpoint.is_empty() && !matches!(args.access, How::Strace(_)) {
        return Err(WrongUse("--mountpoint: found no log, want --access strace:FILE".into()).into());
    }
    if let Some(path) = &args.scenario {
        keep_apart(args, &[Item::new("--scenario", path)])?;
        return scenario::run(args, path);
    }
    let plan = plan::plan(args)?;
    let mut read: Vec<Item> = plan.iter().map(|planned| Item::new("IMAGE", &planned.path)).collect();
    if let How::Trace(path) | How::Strace(path) = &args.access {
        read.push(Item::new("--access", path));
    }
    keep_apart(args, &read)?;
    let asked = Asked {
        plan: &plan,
        kernel: args.kernel,
        backend: args.backend.backend(),
        allow_unshared: args.allow_unshared,
        verify: args.verify,
    };
    match &args.access {
        How::All(name, method) => whole::run(asked, name, *method),
        How::Trace(path) => traced::run_trace(asked, args, path),
        How::Strace(path) => traced::run_strace(asked, args, path),
    }
}

/// Refuses outputs that are one of the files that are read, or each other, or where the report is printed.
fn keep_apart(args: &Args, read: &[Item]) -> Result<(), WrongUse> {
    let outputs = [("--html", &args.html), ("--trace-out", &args.trace_out)];
    let outputs = outputs.iter().filter_map(|(flag, path)| Some(Item::new(flag, path.as_ref()?)));
    let written: Vec<Item> = std::iter::once(Item::stdout()).chain(outputs).collect();
    files::keep_apart(read, &written)
}

/// Holds the result to what was asked for.
fn gate(args: &Args, report: &Report) -> Done {
    let mut done = Done::Whole;
    if let Some(least) = args.fail_under
        && report.total.saved_percent < least
    {
        let message = format!("saved {:.1} %, want at least {least} %", report.total.saved_percent);
        output::complain(super::NAME, &message);
        done = Done::Gate;
    }
    if let (Some(most), Some(last)) = (args.max_marginal, report.images.last())
        && last.marginal_bytes > most
    {
        let path = one_line(&last.path);
        output::complain(
            super::NAME,
            &format!("{path}: adds {}, want at most {most}", words::bytes(last.marginal_bytes)),
        );
        done = Done::Gate;
    }
    done
}

fn kernel_named(name: &str) -> Result<KernelModel, String> {
    let known: Vec<&str> = kernel::TABLE.iter().map(|kernel| kernel.name).collect();
    kernel::by_name(name).ok_or_else(|| format!("want one of {}", known.join(", ")))
}

fn percent(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|value| (0.0..=100.0).contains(value))
        .ok_or_else(|| "want 0 to 100".to_owned())
}
