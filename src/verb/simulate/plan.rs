//! What the command line asks for: which image is in which domain, how files are read, what lies under the mounts.

use std::path::{Path, PathBuf};

use erofs_image::{Image, ImageError};
use erofs_sim::facts::{ImageFacts, ImageFiles};

use super::args::Args;
use crate::exit::WrongUse;
use crate::verb::source::{devices_of_each, shown};

/// The domain of images for which none is named.
const DOMAIN: &str = "one";

/// An image of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) domain: String,
    pub(super) path: PathBuf,
    /// Its extra devices, in the order of its device table.
    pub(super) devices: Vec<PathBuf>,
}

impl ImageFiles for Planned {
    fn image(&self) -> &Path {
        &self.path
    }

    fn devices(&self) -> &[PathBuf] {
        &self.devices
    }
}

impl Planned {
    /// An image without extra devices.
    pub(super) fn new(domain: &str, path: impl Into<PathBuf>) -> Self {
        Self { domain: domain.to_owned(), path: path.into(), devices: Vec::new() }
    }

    /// Opens it, to read contents.
    pub(super) fn open(&self) -> Result<Image, ImageError> {
        Image::open_path(&self.path, &self.devices, 0)
    }

    /// The path as reports have it.
    pub(super) fn shown(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

/// Which image is in which domain, in order.
pub(super) fn plan(args: &Args) -> Result<Vec<Planned>, WrongUse> {
    let wrong = |text: String| Err(WrongUse(text));
    let mut plan = Vec::new();
    let mut alone = None;
    for spec in &args.domain {
        match spec.split_once('=') {
            Some((name, images)) => {
                plan.extend(images.split(',').map(|path| Planned::new(name, path)));
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
    plan.extend(args.images.iter().map(|image| Planned::new(&alone, image)));
    if plan.is_empty() {
        return wrong("found no image, want at least one".into());
    }
    if let Some(image) = plan.iter().find(|image| image.domain.is_empty()) {
        return wrong(format!("{}: found a domain without a name, which Linux refuses", image.shown()));
    }
    every_path_once(plan.iter().map(|image| image.path.as_path()))?;
    let paths: Vec<&Path> = plan.iter().map(|image| image.path.as_path()).collect();
    let devices = devices_of_each(&paths, &args.device)?;
    plan.iter_mut().zip(devices).for_each(|(image, devices)| image.devices = devices);
    Ok(plan)
}

/// An error unless the paths lead to different files.
pub(super) fn every_path_once<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), WrongUse> {
    let mut known = std::collections::HashMap::new();
    for path in paths {
        // One that does not exist is named when it is opened.
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if let Some(other) = known.insert(real, path) {
            let path = shown(path);
            let same = if shown(other) == path { String::new() } else { format!(" as {}", shown(other)) };
            return Err(WrongUse(format!("{path}: found it twice{same}, want every image once")));
        }
    }
    Ok(())
}

/// An error if an image announces no fingerprints, unless that was allowed.
pub(super) fn check_feature(allowed: bool, path: &Path, facts: &ImageFacts) -> anyhow::Result<()> {
    if allowed || facts.announces_fingerprints {
        return Ok(());
    }
    anyhow::bail!(
        "{}: found no feature ishare_xattrs, want an image whose files share (mkfs-erofs --ishare-key), or --allow-unshared",
        shown(path)
    )
}
