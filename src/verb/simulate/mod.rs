//! `erofs-ishare simulate`: how much page cache a set of images takes, with sharing and without.
//!
//! ```text
//! args ─► plan ─┬─► Simulation::read_all ─┐
//!               ├─► traced: replay ───────┼─► report, advice ─► print, html
//!               └─► scenario: play ───────┘
//! ```

mod advice;
mod args;
mod chart;
mod escape;
mod html;
mod named;
mod plan;
mod print;
mod report;
mod scenario;
mod traced;

use std::io::Write as _;

use erofs_builder::ImageFile;
use erofs_format::words;
use erofs_sim::{Setup, Simulation};

use super::Done;
use crate::exit::{WrongUse, one_line};
use crate::files::Item;
use crate::output;
pub use args::Args;
use args::{How, backend_name, keep_apart};
use report::Report;

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
    let mut read: Vec<Item> = plan.iter().map(|member| Item::new("IMAGE", &member.path)).collect();
    if let How::Trace(path) | How::Strace(path) = &args.access {
        read.push(Item::new("--access", path));
    }
    keep_apart(args, &read)?;
    let setup = Setup {
        members: &plan,
        kernel: args.kernel,
        backend: args.backend.backend(),
        allow_unshared: args.allow_unshared,
        read_contents: args.verify,
    };
    match &args.access {
        How::All(name, method) => {
            let simulated = Simulation::new(setup).read_all(*method).map_err(plan::failed)?;
            Ok(Report::of(&simulated, (*name).to_owned(), Some(backend_name(setup.backend))))
        }
        How::Trace(path) => traced::run_trace(setup, args, path),
        How::Strace(path) => traced::run_strace(setup, args, path),
    }
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
