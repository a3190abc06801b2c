//! The mounts that `measure` and `trace` look at: found by their directory, with the image behind each.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use erofs_format::words::noun;
use erofs_live::LiveError;
use erofs_live::backing::Backing;
use erofs_live::mountinfo::MountEntry;
use erofs_live::resident::{Frames, Look, MountPages, look};
use erofs_live::system::System;

use super::source::shown;
use crate::exit::{WrongUse, one_line};
use crate::files::Item;
use crate::output;
use crate::words::counted_items;

/// How many failures of one mount are named; the rest is counted.
const FAILURES_NAMED: usize = 10;

/// A mount to be looked at.
#[derive(Debug)]
pub(super) struct LiveMount {
    /// The directory, as it was given.
    pub(super) given: PathBuf,
    /// The directory, absolute and without links.
    pub(super) point: PathBuf,
    /// What the kernel says of it.
    pub(super) entry: MountEntry,
    /// What lies under it.
    pub(super) backing: Backing,
    /// The image of the command line.
    named: Option<PathBuf>,
}

impl LiveMount {
    /// Whether files of it may share pages with those of other mounts.
    pub(super) fn shares(&self) -> bool {
        self.entry.has("inode_share")
    }

    /// The image: that of the command line, else what the kernel shows, or why there is none.
    pub(super) fn image(&self) -> Result<PathBuf, &'static str> {
        match (&self.named, &self.backing.image) {
            (Some(named), _) => Ok(named.clone()),
            (None, Ok(image)) => Ok(PathBuf::from(OsString::from_vec(image.clone()))),
            (None, Err(why)) => Err(why),
        }
    }

    /// The files and devices that it needs as they are.
    pub(super) fn items(&self) -> Vec<Item> {
        let image = self.backing.image.as_ref().ok().map(Vec::as_slice);
        let paths = [image, Some(self.entry.source.as_slice())].into_iter().flatten();
        let mut items: Vec<Item> =
            paths.map(|path| Item::new("the image of", Path::new(OsStr::from_bytes(path)))).collect();
        items.extend(self.named.as_ref().map(|named| Item::new("--image", named)));
        items
    }

    /// The directory of the image that is mounted, if it is not all of it (a bind mount).
    pub(super) fn part(&self) -> Option<&[u8]> {
        Some(self.entry.root.as_slice()).filter(|root| *root != b"/")
    }

    /// Whether the image is the command line's word.
    pub(super) fn is_named(&self) -> bool {
        self.named.is_some()
    }

    /// Looks into the page cache, and says on stderr what could not be looked at.
    pub(super) fn look(&self, frames: Option<&mut Frames>) -> anyhow::Result<(MountPages, bool)> {
        let how = Look { shares: self.shares(), frames: frames.is_some() };
        let mut unused = Frames::default();
        let mut pages = look(&self.point, how, frames.unwrap_or(&mut unused))?;
        if let Some(dir) = self.part() {
            // Paths are those of the image, not of the directory of it that is mounted.
            for file in &mut pages.files {
                file.path.splice(..0, dir.iter().copied());
            }
        }
        for failure in pages.failures.iter().take(FAILURES_NAMED) {
            output::complain(super::NAME, &one_line(&failure.to_string()));
        }
        if let Some(more) = pages.failures.len().checked_sub(FAILURES_NAMED).filter(|more| *more > 0) {
            output::complain(super::NAME, &format!("{}: {more} more like these", shown(&self.given)));
        }
        let hidden = pages.files.iter().filter(|file| file.runs.is_none()).count();
        if hidden > 0 {
            let message = format!(
                "{}: of {}, {hidden} {} not counted: to this user mincore says that every page of a file that is \
                 shared or of another owner is in memory; run it as root",
                shown(&self.given),
                counted_items(&pages.files, "file", "files"),
                noun(hidden, "is", "are")
            );
            output::complain(super::NAME, &message);
        }
        let whole = hidden == 0 && pages.failures.is_empty();
        Ok((pages, whole))
    }
}

/// Finds the mounts on these directories. `images` are pairs `MOUNTPOINT=IMAGE`.
pub(super) fn find(points: &[PathBuf], images: &[String]) -> anyhow::Result<Vec<LiveMount>> {
    let system = System::read(Path::new("/"))?;
    let mut named = pairs(points, images, "--image")?;
    let mut mounts: Vec<LiveMount> = Vec::new();
    for given in points {
        let point = given.canonicalize().with_context(|| shown(given))?;
        if mounts.iter().any(|mount| mount.point == point) {
            return Err(WrongUse(format!("{}: found it twice, want every mount once", shown(given))).into());
        }
        let bytes = point.as_os_str().as_bytes();
        let entry = system.mounts.iter().rfind(|mount| mount.point == bytes);
        let found =
            entry.map_or_else(|| "no mount".to_owned(), |entry| format!("a mount of {}", entry.fstype));
        let Some(entry) = entry.filter(|entry| entry.is_erofs()).cloned() else {
            return Err(LiveError::NotMounted { place: shown(given), found }.into());
        };
        let backing = Backing::of(&entry, &system.devices);
        let named = named.remove(given).map(PathBuf::from);
        mounts.push(LiveMount { given: given.clone(), point, entry, backing, named });
    }
    Ok(mounts)
}

/// Values for mounts, given as `MOUNTPOINT=VALUE`: the part before the sign is one of `points` as it stands
/// there.
pub(super) fn pairs(
    points: &[PathBuf],
    values: &[String],
    flag: &str,
) -> Result<std::collections::BTreeMap<PathBuf, String>, WrongUse> {
    let mut pairs = std::collections::BTreeMap::new();
    for pair in values {
        let wrong = |why: &str| WrongUse(format!("{flag} {pair}: {why}"));
        let prefix = |point: &&PathBuf| {
            let point = point.to_str()?;
            pair.strip_prefix(point)?.strip_prefix('=').map(|value| (point.to_owned(), value.to_owned()))
        };
        let (point, value) = points
            .iter()
            .find_map(|point| prefix(&point))
            .ok_or_else(|| wrong("want one of the mount points, an equals sign, and a value"))?;
        if value.is_empty() {
            return Err(wrong("found nothing behind the equals sign"));
        }
        if pairs.insert(PathBuf::from(point), value).is_some() {
            return Err(wrong("found two values for this mount, want one"));
        }
    }
    Ok(pairs)
}
