//! What is printed: lines for people, JSON, XML as test runners write it.

use std::collections::BTreeMap;
use std::io::Write;

use erofs_check::{Area, Finding};
use erofs_image::printable;
use serde::Serialize;

use super::args::Args;
use super::checked::Checked;
use super::verity::Proved;
use crate::exit::one_line;
use crate::output;
use crate::words::{counted, counted_items, size};

/// How many findings of an image people get to see; JSON has them all.
const LINES_MAX: usize = 200;

/// Lines for people: those of each image, then those of the domain.
pub(super) fn text(
    out: &mut dyn Write,
    checked: &[Checked],
    domain: Option<&[Finding]>,
) -> anyhow::Result<()> {
    for checked in checked {
        let report = &checked.report;
        lines(out, &checked.name, "", &report.findings)?;
        lines(out, &checked.name, "warning: ", &report.warnings)?;
        if report.left_out > 0 {
            let name = one_line(&checked.name);
            writeln!(out, "{name}: and {} more, which are not kept", report.left_out)?;
        }
        let verdict = match report.findings.len() {
            0 if checked.errors.is_empty() => "right".to_owned(),
            0 => "not wholly read".to_owned(),
            _ => counted_items(&report.findings, "finding", "findings"),
        };
        let inodes = counted(report.inodes, "inode", "inodes");
        write!(out, "{}: {verdict} ({inodes}", one_line(&checked.name))?;
        if report.fingerprints {
            let fingerprints = counted(report.judged, "fingerprint", "fingerprints");
            write!(out, ", {fingerprints} compared with {}", size(report.bytes))?;
        } else {
            write!(out, ", no fingerprints announced")?;
        }
        if !report.warnings.is_empty() {
            write!(out, ", {}", counted_items(&report.warnings, "warning", "warnings"))?;
        }
        if report.unjudged > 0 {
            write!(out, ", {} of a kind that cannot be made again", report.unjudged)?;
        }
        if let Some(proved) = &checked.verity {
            write!(out, ", root hash {}", proved.root_hash)?;
            match (&proved.signer, proved.trusted) {
                (Some(signer), _) => write!(out, " signed by {}", one_line(signer))?,
                (None, true) => {}
                (None, false) => write!(out, ", compared with nothing")?,
            }
            if proved.certificate_valid == Some(false) {
                write!(out, ", whose certificate is not valid today")?;
            }
        }
        writeln!(out, ")")?;
    }
    if let Some(findings) = domain {
        lines(out, "domain", "", findings)?;
        let files: usize = checked.iter().map(|checked| checked.report.contents.len()).sum();
        let files = counted(u64::try_from(files).unwrap_or(u64::MAX), "file", "files");
        let images = counted_items(checked, "image", "images");
        let verdict = match findings {
            [] => "right".to_owned(),
            _ => counted_items(findings, "conflict", "conflicts"),
        };
        writeln!(out, "domain: {verdict} ({images}, {files} with fingerprints)")?;
    }
    Ok(())
}

fn lines(out: &mut dyn Write, name: &str, kind: &str, findings: &[Finding]) -> anyhow::Result<()> {
    for finding in findings.iter().take(LINES_MAX) {
        writeln!(out, "{}", one_line(&format!("{name}: {kind}{finding}")))?;
    }
    if let Some(more) = findings.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        writeln!(out, "{}: and {more} more; --json has them all", one_line(name))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Whole<'a> {
    images: Vec<OfImage<'a>>,
    domain: Option<Vec<One>>,
    exit: u8,
}

#[derive(Serialize)]
struct OfImage<'a> {
    image: &'a str,
    right: bool,
    inodes: u64,
    read_bytes: u64,
    announces_fingerprints: bool,
    fingerprints_checked: u64,
    fingerprints_unchecked: u64,
    verity: Option<&'a Proved>,
    findings: Vec<One>,
    warnings: Vec<One>,
    left_out: u64,
    errors: &'a [String],
}

#[derive(Serialize)]
struct One {
    code: &'static str,
    area: &'static str,
    path: Option<String>,
    nid: Option<u64>,
    what: String,
    found: String,
    wanted: String,
}

fn ones(findings: &[Finding]) -> Vec<One> {
    let one = |finding: &Finding| One {
        code: finding.code.name(),
        area: finding.code.area().name(),
        path: finding.path.as_deref().map(printable),
        nid: finding.nid,
        what: finding.what.clone(),
        found: finding.found.clone(),
        wanted: finding.wanted.clone(),
    };
    findings.iter().map(one).collect()
}

/// One JSON object.
pub(super) fn json(
    out: &mut dyn Write,
    checked: &[Checked],
    domain: Option<&[Finding]>,
    exit: u8,
) -> anyhow::Result<()> {
    let images = checked
        .iter()
        .map(|checked| OfImage {
            image: &checked.name,
            right: checked.is_right(),
            inodes: checked.report.inodes,
            read_bytes: checked.report.bytes,
            announces_fingerprints: checked.report.fingerprints,
            fingerprints_checked: checked.report.judged,
            fingerprints_unchecked: checked.report.unjudged,
            verity: checked.verity.as_ref(),
            findings: ones(&checked.report.findings),
            warnings: ones(&checked.report.warnings),
            left_out: checked.report.left_out,
            errors: &checked.errors,
        })
        .collect();
    output::json(out, &Whole { images, domain: domain.map(ones), exit })
}

/// A text for XML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // What XML 1.0 has no way to write.
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            plain => safe.push(plain),
        }
    }
    safe
}

/// A suite of tests for each image, and one for the domain.
pub(super) fn junit(
    out: &mut dyn Write,
    args: &Args,
    checked: &[Checked],
    domain: Option<&[Finding]>,
) -> anyhow::Result<()> {
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"erofs-ishare verify\">")?;
    for checked in checked {
        let areas: Vec<Area> = Area::ALL
            .into_iter()
            .filter(|area| match area {
                Area::Superblock | Area::Structure | Area::Fingerprints => true,
                Area::Profile => args.profile.is_some(),
                Area::Verity => args.verity.is_asked(),
                Area::Domain => false,
            })
            .collect();
        suite(out, &checked.name, &areas, &checked.report.findings, &checked.errors)?;
    }
    if let Some(findings) = domain {
        suite(out, "domain", &[Area::Domain], findings, &[])?;
    }
    writeln!(out, "</testsuites>")?;
    Ok(())
}

fn suite(
    out: &mut dyn Write,
    name: &str,
    areas: &[Area],
    findings: &[Finding],
    errors: &[String],
) -> anyhow::Result<()> {
    let mut by_area: BTreeMap<Area, Vec<String>> = BTreeMap::new();
    for finding in findings {
        by_area.entry(finding.code.area()).or_default().push(finding.to_string());
    }
    let tests = areas.len() + usize::from(!errors.is_empty());
    let failures = by_area.len();
    let name = escaped(name);
    let wrong = usize::from(!errors.is_empty());
    writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{wrong}\">"
    )?;
    for area in areas {
        let area_name = area.name();
        let Some(lines) = by_area.get(area) else {
            writeln!(out, "    <testcase classname=\"{name}\" name=\"{area_name}\"/>")?;
            continue;
        };
        let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
        let first = lines.first().map_or("", String::as_str);
        writeln!(out, "    <testcase classname=\"{name}\" name=\"{area_name}\">")?;
        writeln!(out, "      <failure message=\"{first}\">{}</failure>\n    </testcase>", lines.join("\n"))?;
    }
    if let Some(first) = errors.first() {
        let message = escaped(first);
        writeln!(out, "    <testcase classname=\"{name}\" name=\"reading\">")?;
        writeln!(out, "      <error message=\"{message}\"/>\n    </testcase>")?;
    }
    writeln!(out, "  </testsuite>")?;
    Ok(())
}
