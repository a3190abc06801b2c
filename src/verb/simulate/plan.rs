//! What the command line asks for: which image is in which domain, how files are read, what lies under the
//! mounts.

use std::path::Path;

use anyhow::anyhow;
use erofs_sim::{Member, SimError, same_file};

use super::args::Args;
use crate::exit::WrongUse;
use crate::verb::source::{devices_of_each, shown};

/// The domain of images for which none is named.
const DOMAIN: &str = "one";

/// Which image is in which domain, in order.
pub(super) fn plan(args: &Args) -> Result<Vec<Member>, WrongUse> {
    let wrong = |text: String| Err(WrongUse(text));
    let mut plan = Vec::new();
    let mut alone = None;
    for spec in &args.domain {
        match spec.split_once('=') {
            Some((name, images)) => {
                plan.extend(images.split(',').map(|path| Member::new(name, path)));
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
    plan.extend(args.images.iter().map(|image| Member::new(&alone, image)));
    if plan.is_empty() {
        return wrong("found no image, want at least one".into());
    }
    if let Some(image) = plan.iter().find(|image| image.domain.is_empty()) {
        return wrong(format!("{}: found a domain without a name, which Linux refuses", shown(&image.path)));
    }
    every_path_once(plan.iter().map(|image| image.path.as_path()))?;
    let paths: Vec<&Path> = plan.iter().map(|image| image.path.as_path()).collect();
    let devices = devices_of_each(&paths, &args.device)?;
    plan.iter_mut().zip(devices).for_each(|(image, devices)| image.devices = devices);
    Ok(plan)
}

/// An error unless the paths lead to different files.
pub(super) fn every_path_once<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), WrongUse> {
    let Some((other, path)) = same_file(paths) else { return Ok(()) };
    let (other, path) = (shown(other), shown(path));
    let same = if other == path { String::new() } else { format!(" as {other}") };
    Err(WrongUse(format!("{path}: found it twice{same}, want every image once")))
}

/// An error of a simulation in words.
pub(super) fn failed(error: SimError) -> anyhow::Error {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others print themselves")]
    match error {
        SimError::NotShared { path } => anyhow!(
            "{}: found no fingerprints, so that it shares nothing; want an image made by mkfs-erofs --ishare-key, \
             or --allow-unshared",
            shown(&path)
        ),
        other => other.into(),
    }
}
