//! `erofs-ishare verify`: whether images are what they say they are.

mod args;
mod checked;
mod print;
mod verity;

use std::path::{Path, PathBuf};

use erofs_check::{Finding, Options, Profile, Report, Source};

use super::Done;
use super::source::{devices_of_each, shown};
use crate::exit::{self, WrongUse, one_line};
use crate::files::{self, Item};
use crate::output;
pub use args::Args;
use args::Profiles;
use checked::Checked;

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
