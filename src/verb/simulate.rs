//! `erofs-ishare simulate`: how much page cache a set of images takes, with sharing and without.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use erofs_sim::facts::{self, ImageFacts};
use erofs_sim::kernel::{self, KernelModel};
use erofs_sim::scenario::{Backend, Method};
use erofs_sim::tally::{Access, Cause, ImageTally, Tally};
use erofs_sim::world::Reason;
use serde::Serialize;

use super::Done;
use super::source::shown;
use crate::exit::{WrongUse, one_line};
use crate::output;
use crate::words::{counted, size};

/// The domain of images for which none is named.
const DOMAIN: &str = "one";

/// Say how much page cache a set of images takes on Linux, with sharing and without
///
/// Every image is mounted once, in the order given, and every file of it read completely, as a full backup or a check
/// of all files would: the most that sharing can save. Nothing is mounted for it, and any machine can do it. Pages of
/// metadata other than directories, of image files behind file-backed mounts, and of compressed data are not counted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images of the only --domain; without one, all of them share
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// A domain: its name alone, or with its images (may be repeated). Images of different domains share nothing
    #[arg(long, value_name = "NAME[=IMAGE,...]")]
    domain: Vec<String>,

    /// What lies under the mounts
    #[arg(long, value_enum, default_value_t = Under::Block)]
    backend: Under,

    /// The kernel: 7.2 (from 7.2.7 on), 7.0 (before), or splice (kernels that share for sendfile too)
    #[arg(long, value_name = "KERNEL", value_parser = kernel_named, default_value = "7.2")]
    kernel: KernelModel,

    /// How files are read
    #[arg(long, value_enum, default_value_t = How::Read)]
    access: How,

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
}

/// What lies under the mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Under {
    /// Block devices, loop devices and dm-verity among them
    Block,
    /// The image files themselves
    File,
}

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// By read, or mapped
    Read,
    /// By sendfile or splice
    Sendfile,
}

#[derive(Debug, Serialize)]
struct Report {
    kernel: &'static str,
    total: Total,
    domains: Vec<Domain>,
    images: Vec<ImageReport>,
    not_shared: Vec<NotShared>,
    metadata_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Total {
    private_bytes: u64,
    shared_bytes: u64,
    saved_bytes: u64,
    saved_percent: f64,
}

#[derive(Debug, Serialize)]
struct Domain {
    name: String,
    images: usize,
    #[serde(flatten)]
    total: Total,
}

#[derive(Debug, Serialize)]
struct ImageReport {
    path: String,
    domain: String,
    files: u64,
    pages: u64,
    marginal_bytes: u64,
}

#[derive(Debug, Serialize)]
struct NotShared {
    reason: &'static str,
    files: u64,
    bytes: u64,
    largest: Vec<Largest>,
}

#[derive(Debug, Serialize)]
struct Largest {
    image: String,
    path: String,
    bytes: u64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let plan = plan(args)?;
    let access = Access {
        kernel: args.kernel,
        backend: if args.backend == Under::File { Backend::FileDirectio } else { Backend::Block },
        method: if args.access == How::Sendfile { Method::Sendfile } else { Method::Read },
    };
    let mut tally = Tally::new(access);
    for (domain, path) in &plan {
        tally.add(&read(path)?, Some(domain));
    }
    let report = report(&plan, &tally, access);
    let mut out = output::stdout();
    if args.json {
        output::json(&mut out, &report)?;
    } else if args.csv {
        csv(&mut out, &report)?;
    } else {
        text(&mut out, &report)?;
    }
    out.flush()?;
    Ok(gate(args, &report))
}

/// Which image is in which domain, in order.
fn plan(args: &Args) -> Result<Vec<(String, PathBuf)>, WrongUse> {
    let wrong = |text: String| Err(WrongUse(text));
    let mut plan = Vec::new();
    let mut alone = None;
    for spec in &args.domain {
        match spec.split_once('=') {
            Some((name, images)) => {
                plan.extend(images.split(',').map(|image| (name.to_owned(), PathBuf::from(image))));
            }
            None if alone.is_none() => alone = Some(spec.clone()),
            None => {
                return wrong(format!(
                    "--domain {spec}: only one domain can take the images that stand alone"
                ));
            }
        }
    }
    if !args.images.is_empty() && alone.is_none() && !args.domain.is_empty() {
        return wrong(format!("{}: found no domain for it, want --domain NAME", shown(&args.images[0])));
    }
    let alone = alone.unwrap_or_else(|| DOMAIN.to_owned());
    plan.extend(args.images.iter().map(|image| (alone.clone(), image.clone())));
    if plan.is_empty() {
        return wrong("found no image, want at least one".into());
    }
    for (index, (name, image)) in plan.iter().enumerate() {
        if plan[..index].iter().any(|(_, other)| other == image) {
            return wrong(format!("{}: found it twice, want every image once", shown(image)));
        }
        if name.is_empty() {
            return wrong(format!("{}: found a domain without a name, which Linux refuses", shown(image)));
        }
    }
    Ok(plan)
}

fn read(path: &Path) -> anyhow::Result<ImageFacts> {
    facts::read(path, &[] as &[&Path]).map_err(|error| anyhow!("{error}")).with_context(|| shown(path))
}

fn total(private: u64, shared: u64) -> Total {
    let saved_bytes = private - shared;
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people and gates")]
    let saved_percent = if private == 0 { 0.0 } else { saved_bytes as f64 * 100.0 / private as f64 };
    Total { private_bytes: private, shared_bytes: shared, saved_bytes, saved_percent }
}

fn report(plan: &[(String, PathBuf)], tally: &Tally, access: Access) -> Report {
    let sum = tally.total();
    let mut names: Vec<&str> = Vec::new();
    for (domain, _) in plan {
        if !names.contains(&domain.as_str()) {
            names.push(domain);
        }
    }
    let domain = |name: &&str| {
        let own = || plan.iter().zip(tally.images()).filter(|((domain, _), _)| domain == name);
        let bytes = |pick: fn(&ImageTally) -> u64| own().map(|(_, image)| pick(image)).sum();
        let total = total(bytes(|image| image.all.bytes), bytes(|image| image.added.bytes));
        Domain { name: (*name).to_owned(), images: own().count(), total }
    };
    let image = |((domain, path), image): (&(String, PathBuf), &ImageTally)| ImageReport {
        path: path.to_string_lossy().into_owned(),
        domain: domain.clone(),
        files: image.all.files,
        pages: image.all.bytes / erofs_sim::pages::PAGE_SIZE,
        marginal_bytes: image.added.bytes,
    };
    let reason = |(cause, count): (&Cause, &erofs_sim::tally::Count)| NotShared {
        reason: reason(*cause),
        files: count.files,
        bytes: count.bytes,
        largest: tally.examples().get(cause).into_iter().flatten().map(|file| largest(plan, file)).collect(),
    };
    Report {
        kernel: access.kernel.name,
        total: total(sum.all.bytes, sum.added.bytes),
        domains: names.iter().map(domain).collect(),
        images: plan.iter().zip(tally.images()).map(image).collect(),
        not_shared: sum.private.iter().map(reason).collect(),
        metadata_bytes: sum.directory_bytes,
    }
}

fn largest(plan: &[(String, PathBuf)], file: &erofs_sim::tally::Example) -> Largest {
    let image = plan.get(file.image).map(|(_, path)| path.to_string_lossy().into_owned());
    Largest {
        image: image.unwrap_or_default(),
        path: String::from_utf8_lossy(&file.path).into_owned(),
        bytes: file.size,
    }
}

fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Private(Reason::MountDoesNotShare) => "the image does not announce fingerprints",
        Cause::Private(Reason::NoFingerprint) => "no fingerprint that counts",
        Cause::Private(Reason::OtherSize) => "another size than the first file with this fingerprint",
        Cause::Private(Reason::OtherClass) => {
            "compressed where the first file with this fingerprint is not, or not"
        }
        Cause::Method => "read by sendfile or splice",
    }
}

fn text(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    writeln!(out, "Linux {}, every file read completely", report.kernel)?;
    writeln!(out, "\n{:<24} {:>12} {:>14} {:>10}", "domain", "page cache", "memory", "reduction")?;
    for domain in &report.domains {
        let name = one_line(&domain.name);
        writeln!(out, "{name:<24} {:>12} {:>14} {:>10}", "not shared", size(domain.total.private_bytes), "")?;
        let percent = format!("{:.1} %", domain.total.saved_percent);
        writeln!(out, "{:<24} {:>12} {:>14} {percent:>10}", "", "shared", size(domain.total.shared_bytes))?;
    }
    writeln!(out, "\n{:<40} {:>9} {:>14} {:>14}", "image", "files", "all", "it adds")?;
    for image in &report.images {
        let all = size(image.pages * erofs_sim::pages::PAGE_SIZE);
        let path = one_line(&image.path);
        writeln!(out, "{path:<40} {:>9} {all:>14} {:>14}", image.files, size(image.marginal_bytes))?;
    }
    for cause in &report.not_shared {
        let files = counted(cause.files, "file", "files");
        writeln!(out, "\nnot shared: {files}, {}: {}", size(cause.bytes), cause.reason)?;
        for file in &cause.largest {
            let line = one_line(&format!("{}:{}", file.image, file.path));
            writeln!(out, "  {:>12}  {line}", size(file.bytes))?;
        }
    }
    writeln!(out, "\ndirectories take {} more, in each mount its own", size(report.metadata_bytes))?;
    Ok(())
}

fn csv(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    writeln!(out, "image,domain,files,pages,marginal_bytes")?;
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    for image in &report.images {
        let (path, domain) = (quoted(&image.path), quoted(&image.domain));
        writeln!(out, "{path},{domain},{},{},{}", image.files, image.pages, image.marginal_bytes)?;
    }
    Ok(())
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
            &format!("{path}: adds {} bytes, want at most {most}", last.marginal_bytes),
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
