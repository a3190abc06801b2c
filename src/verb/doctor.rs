//! `erofs-ishare doctor`: whether this machine can share page cache between images, and what to change on it.

use std::io::Write;
use std::path::PathBuf;

use erofs_live::doctor::{Diagnosis, Finding, examine};
use erofs_live::system::System;
use serde::Serialize;

use super::Done;
use crate::exit::one_line;
use crate::output;
use crate::words::counted;

/// Say whether this machine can share page cache between images, and what to change on it
///
/// Looked at are the version and the configuration of the kernel, whether EROFS is there, what is known to go
/// wrong in that version, the EROFS mounts and what lies under them, and where a domain is visible to others:
/// in the command lines of processes, /etc/fstab and the units of systemd. Nothing is changed. As root more
/// is seen than as another user. Exit status: 0 it can share and there is nothing to change (notes may be
/// there), 1 the machine could not be looked at, 3 there is something to change.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look at the machine whose files, /proc and /sys among them, are below this directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    can_share: &'static str,
    kernel: Kernel,
    erofs_mounts: usize,
    findings: Vec<FindingReport>,
}

#[derive(Debug, Serialize)]
struct Kernel {
    release: Option<String>,
    version: Option<String>,
    model: Option<&'static str>,
    config: Option<String>,
}

#[derive(Debug, Serialize)]
struct FindingReport {
    id: &'static str,
    severity: &'static str,
    subject: Option<String>,
    text: String,
    advice: String,
}

impl From<Finding> for FindingReport {
    fn from(finding: Finding) -> Self {
        Self {
            id: finding.id,
            severity: finding.severity.name(),
            subject: finding.subject,
            text: finding.text,
            advice: finding.advice,
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let system = System::read(&args.root)?;
    let diagnosis = examine(&system);
    let done = if diagnosis.wants_change() { Done::Gate } else { Done::Whole };
    let report = report(&system, diagnosis);
    let mut out = output::stdout();
    if args.json {
        output::json(&mut out, &report)?;
    } else {
        text(&mut out, &report)?;
    }
    out.flush()?;
    Ok(done)
}

fn report(system: &System, diagnosis: Diagnosis) -> Report {
    let can_share = diagnosis.verdict.name();
    let model = diagnosis.version.filter(|_| can_share != "no").map(|version| version.model().name);
    Report {
        can_share,
        kernel: Kernel {
            release: system.release.clone(),
            version: diagnosis.version.map(|version| version.to_string()),
            model,
            config: system.config.as_ref().map(|config| config.place.clone()),
        },
        erofs_mounts: system.mounts.iter().filter(|mount| mount.is_erofs()).count(),
        findings: diagnosis.findings.into_iter().map(FindingReport::from).collect(),
    }
}

fn text(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    let release = report.kernel.release.as_deref().map_or_else(|| "unknown".to_owned(), one_line);
    let verdict = match report.can_share {
        "yes" => "can share page cache between EROFS images",
        "no" => "cannot share page cache between EROFS images",
        _ => "does not say whether it can share page cache between EROFS images",
    };
    writeln!(out, "Linux {release} {verdict}")?;
    let config = report.kernel.config.as_deref().map_or_else(|| "none found".to_owned(), one_line);
    let mounts = counted(report.erofs_mounts as u64, "EROFS mount", "EROFS mounts");
    writeln!(out, "configuration: {config}; {mounts}")?;
    for finding in &report.findings {
        let subject = finding.subject.as_ref().map(|subject| format!("{}: ", one_line(subject)));
        let (subject, text) = (subject.unwrap_or_default(), one_line(&finding.text));
        writeln!(out, "\n{} [{}] {subject}{text}", finding.severity, finding.id)?;
        writeln!(out, "  what to do: {}", one_line(&finding.advice))?;
    }
    if report.findings.iter().all(|finding| finding.severity == "note") {
        writeln!(out, "\nnothing to change")?;
    }
    Ok(())
}
