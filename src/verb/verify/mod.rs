//! `erofs-ishare verify`: whether images are what they say they are.

mod print;
mod verity;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use erofs_check::{Finding, Options, Profile, Report, Source};
use uuid::Uuid;

use super::Done;
use super::source::{devices_of_each, shown};
use crate::exit::{self, WrongUse, one_line};
use crate::files::{self, Item};
use crate::output;
use crate::value;

/// Check images: their structure, and their fingerprints against their contents
///
/// Reads everything: every inode, name, attribute, extent and, of files with fingerprints and of compressed files, every
/// byte. What is wrong is printed with a name for its kind, the path, what was found and what was wanted.
///
/// Exit status, as of fsck(8) and other than that of the other verbs: 0 everything is right, 4 something is wrong, 8
/// something could not be read (12 for both), 16 wrong command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The images: regular files or block devices
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// An extra device of an image, in the order of its device table; give all of them or none. Of several images,
    /// META is the one that it belongs to
    #[arg(long, value_name = "[META=]FILE")]
    device: Vec<PathBuf>,

    /// Where the image starts in its file, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    offset: u64,

    /// Hold the images against each other as well: equal fingerprints of different contents are wrong in one domain
    #[arg(long)]
    domain: bool,

    /// What the images have to keep to beyond the format
    #[arg(long, value_name = "PROFILE", value_enum)]
    profile: Option<Profiles>,

    /// The publisher's namespace, without which fingerprints of --ishare-digest=uuid can only be compared
    #[arg(long, value_name = "UUID", value_parser = value::namespace)]
    ishare_namespace: Option<Uuid>,

    #[command(flatten)]
    verity: verity::VerityArgs,

    /// One JSON object
    #[arg(long, conflicts_with = "junit")]
    json: bool,

    /// XML as test runners write it, with a test for each part of the check
    #[arg(long)]
    junit: bool,
}

/// The profiles by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profiles {
    /// Only flat and chunk-based files on one device, nothing compressed, 32-bit addresses
    Core,
    /// That in canonical form, with a checksum, and with a right fingerprint of every file with content
    Hardened,
}

/// What became of one image.
#[derive(Debug)]
struct Checked {
    name: String,
    /// Empty if the image could not be read at all.
    report: Report,
    /// The root hash and who signed it, where that was asked for.
    verity: Option<verity::Proved>,
    /// What could not be done.
    errors: Vec<String>,
}

impl Checked {
    fn is_right(&self) -> bool {
        self.errors.is_empty() && self.report.findings.is_empty()
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    usage(args).map_err(WrongUse)?;
    let read = args.images.iter().chain(&args.device).map(|path| Item::new("IMAGE", path));
    files::keep_apart(&read.collect::<Vec<_>>(), &[Item::stdout()])?;
    let images: Vec<&Path> = args.images.iter().map(PathBuf::as_path).collect();
    let devices = devices_of_each(&images, &args.device)?;
    let checked: Vec<Checked> =
        images.into_iter().zip(&devices).map(|(image, devices)| one(args, image, devices)).collect();
    let reports: Vec<(&str, &Report)> =
        checked.iter().map(|checked| (checked.name.as_str(), &checked.report)).collect();
    let domain =
        args.domain.then(|| if reports.len() > 1 { erofs_check::conflicts(&reports) } else { Vec::new() });
    drop(reports);
    for checked in &checked {
        for error in &checked.errors {
            output::complain(super::NAME, &one_line(&format!("{}: {error}", checked.name)));
        }
    }
    let code = code(&checked, domain.as_deref());
    let mut out = output::stdout();
    if args.json {
        print::json(&mut out, &checked, domain.as_deref(), code)?;
    } else if args.junit {
        print::junit(&mut out, args, &checked, domain.as_deref())?;
    } else {
        print::text(&mut out, &checked, domain.as_deref())?;
    }
    std::io::Write::flush(&mut out)?;
    Ok(Done::Code(code))
}

/// What the command line may not ask for together.
fn usage(args: &Args) -> Result<(), String> {
    if args.images.len() > 1 && args.verity.names_files() {
        return Err("--verity=FILE, --roothash and --signature: found several images, want one".into());
    }
    if args.verity.is_asked() && args.offset != 0 {
        return Err("--verity: contradicts --offset, because dm-verity covers a device from its start".into());
    }
    Ok(())
}

fn one(args: &Args, image: &Path, devices: &[PathBuf]) -> Checked {
    let options = Options {
        profile: args.profile.map(|profile| match profile {
            Profiles::Core => Profile::Core,
            Profiles::Hardened => Profile::Hardened,
        }),
        namespace: args.ishare_namespace,
        threads: 0,
    };
    let mut of_verity = Vec::new();
    let mut checked =
        Checked { name: shown(image), report: Report::default(), verity: None, errors: Vec::new() };
    let mut covered = None;
    if args.verity.is_asked() {
        match args.verity.check(image) {
            Ok((proved, findings, bytes)) => {
                covered = bytes;
                checked.verity = proved;
                of_verity = findings;
            }
            Err(error) => checked.errors.push(format!("{error:#}")),
        }
    }
    // What the tree does not cover is not part of the image.
    let cut = |source: Source| covered.map_or(source.clone(), |bytes| source.front(bytes));
    let report = Source::open_path(image, devices, args.offset)
        .map(cut)
        .map_err(erofs_check::CheckError::from)
        .and_then(|source| erofs_check::check(&source, &options));
    match report {
        Ok(report) => checked.report = report,
        Err(error) => checked.errors.push(error.to_string()),
    }
    if let Some((error, count)) = &checked.report.failed {
        let more =
            if *count > 1 { format!(", and {} more could not be read", count - 1) } else { String::new() };
        checked.errors.push(format!("{error}{more}"));
    }
    checked.report.findings.extend(of_verity);
    checked
}

/// The sum of what fsck(8) has for what happened.
fn code(checked: &[Checked], domain: Option<&[Finding]>) -> u8 {
    let wrong = checked.iter().any(|checked| !checked.report.findings.is_empty())
        || domain.is_some_and(|findings| !findings.is_empty());
    let failed = checked.iter().any(|checked| !checked.errors.is_empty());
    let add = |condition, code| if condition { code } else { exit::OK };
    add(wrong, exit::FSCK_WRONG) | add(failed, exit::FSCK_FAILED)
}
