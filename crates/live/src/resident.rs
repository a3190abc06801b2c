//! Which pages of the files of a mount are in memory.
//!
//! `mincore` on a mapping shows the pages that reads of a file use: for a file that shares, those of
//! everybody who shares it. `cachestat` shows the pages that the file's own inode holds: for a file that
//! shares only the private copies that `sendfile` and the like have made. What neither shows: compressed data
//! that the kernel keeps, and the private copies that an overlay's copy-up made of files that this walk does
//! not reach.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{LiveError, Result};
use crate::sys::{self, Mapping};

/// The longest file whose pages are looked at one by one, in bytes: `mincore` takes time for every page of
/// it, also for those of holes.
const LENGTH_MAX: u64 = 1 << 40;
/// How much of a file is mapped at a time, in bytes; a multiple of every page size.
const WINDOW: u64 = 1 << 30;
/// Bits of a record of `/proc/PID/pagemap`: the page is there, and its frame.
const PAGEMAP_PRESENT: u64 = 1 << 63;
const PAGEMAP_FRAME: u64 = (1 << 55) - 1;

/// How a mount is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// The mount has `inode_share`, so that files may share their pages with those of other mounts.
    pub shares: bool,
    /// Whether the pages are also distinguished by the page frames they are in. Needs `CAP_SYS_ADMIN`.
    pub frames: bool,
}

/// A regular file that has content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePages {
    /// The path inside the mount, from `/` on; the first in the order of names if it has several.
    pub path: Vec<u8>,
    /// Its length in bytes.
    pub size: u64,
    /// The pages that reads of it find in memory, as ranges of page numbers in ascending order, none touching
    /// another; `None` where `mincore` would not tell this user the truth.
    pub runs: Option<Vec<Range<u64>>>,
    /// The pages that its own inode holds; `None` where there is no `cachestat`, or not for this user.
    pub own: Option<u64>,
    /// Whether its pages are those of a hidden inode that others may share.
    pub shared: bool,
}

impl FilePages {
    /// How many pages reads find in memory; 0 where that is not known.
    pub fn resident(&self) -> u64 {
        self.runs.iter().flatten().map(|run| run.end - run.start).sum()
    }

    /// How many pages it holds besides those that reads find.
    pub fn private_copies(&self) -> u64 {
        if self.shared { self.own.unwrap_or_default() } else { 0 }
    }
}

/// What a mount has in memory.
#[derive(Debug, Default)]
pub struct MountPages {
    /// Number of the superblock's device: mounts with the same number are the same files.
    pub device: u64,
    /// Regular files with content, in the order of a walk by names.
    pub files: Vec<FilePages>,
    /// Pages of directories before they were read for the walk; `None` where there is no `cachestat`.
    pub directory_pages: Option<u64>,
    /// What could not be looked at.
    pub failures: Vec<LiveError>,
}

/// The page frames that were met, over all mounts.
#[derive(Debug, Default)]
pub struct Frames {
    seen: HashSet<u64>,
}

impl Frames {
    /// How many different ones.
    pub fn count(&self) -> u64 {
        self.seen.len() as u64
    }
}

/// The size of a page in bytes.
pub fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// Who looks, as far as the kernel asks for it.
#[derive(Debug, Clone, Copy)]
struct Viewer {
    uid: u32,
    /// `CAP_FOWNER`: counts as the owner of every file.
    owns_all: bool,
}

impl Viewer {
    fn of_this_process() -> Result<Self> {
        const STATUS: &str = "/proc/self/status";
        let text = fs::read_to_string(STATUS).map_err(LiveError::io("read", STATUS.as_bytes()))?;
        let uid = rustix::process::geteuid().as_raw();
        Ok(Self { uid, owns_all: capable(&text, 3) })
    }

    /// Whether `mincore` shows this file as it is (`can_do_mincore`): it asks whose the inode behind the
    /// mapping is, and hidden inodes are root's.
    fn sees(self, owner: u32, shared: bool) -> bool {
        self.owns_all || (owner == self.uid && !shared)
    }
}

/// Whether a capability is among the effective ones of `/proc/PID/status`.
fn capable(status: &str, capability: u32) -> bool {
    let bits =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> capability & 1 == 1)
}

/// Looks at every file below `point`, in the order of names, without leaving its file system. Names of the
/// image may be anything; what cannot be looked at is among the failures.
///
/// # Errors
/// A mount point that cannot be opened, and frames that are hidden.
pub fn look(point: &Path, look: Look, frames: &mut Frames) -> Result<MountPages> {
    let metadata =
        fs::symlink_metadata(point).map_err(LiveError::io("look at", point.as_os_str().as_bytes()))?;
    let pagemap = if look.frames { Some(open_pagemap()?) } else { None };
    let mut walk = Walk {
        root: point.as_os_str().as_bytes().len(),
        look,
        viewer: Viewer::of_this_process()?,
        page: page_size(),
        pagemap,
        frames,
        met: HashSet::new(),
        found: MountPages { device: metadata.dev(), directory_pages: Some(0), ..MountPages::default() },
    };
    let mut stack = vec![(point.to_path_buf(), metadata)];
    while let Some((path, metadata)) = stack.pop() {
        if metadata.dev() != walk.found.device {
            continue;
        }
        let outcome = if metadata.is_dir() {
            walk.directory(&path).map(|entries| stack.extend(entries.into_iter().rev()))
        } else if metadata.is_file() && metadata.len() > 0 {
            walk.file(&path, &metadata)
        } else {
            Ok(())
        };
        match outcome {
            Ok(()) => {}
            Err(error @ LiveError::FramesHidden) => return Err(error),
            Err(error) => walk.found.failures.push(error),
        }
    }
    Ok(walk.found)
}

struct Walk<'f> {
    root: usize,
    look: Look,
    viewer: Viewer,
    page: u64,
    pagemap: Option<File>,
    frames: &'f mut Frames,
    /// Inodes with several names that were looked at.
    met: HashSet<u64>,
    found: MountPages,
}

impl Walk<'_> {
    /// The entries of a directory, sorted. Its pages are counted before it is read.
    fn directory(&mut self, path: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
        let name = path.as_os_str().as_bytes();
        let dir = File::open(path).map_err(LiveError::io("open", name))?;
        let own = sys::cachestat(&dir).ok();
        self.found.directory_pages = self.found.directory_pages.zip(own).map(|(sum, own)| sum + own);
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(LiveError::io("list", name))? {
            let entry = entry.map_err(LiveError::io("list", name))?;
            match entry.metadata() {
                Ok(metadata) => entries.push((entry.path(), metadata)),
                Err(cause) => {
                    let place = entry.path();
                    let error = LiveError::io("look at", place.as_os_str().as_bytes())(cause);
                    self.found.failures.push(error);
                }
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        Ok(entries)
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        if metadata.nlink() > 1 && !self.met.insert(metadata.ino()) {
            return Ok(());
        }
        let name = path.as_os_str().as_bytes();
        let size = metadata.len();
        if size > LENGTH_MAX {
            let place = erofs_format::printable(name);
            return Err(LiveError::TooLong { place, found: size, limit: LENGTH_MAX });
        }
        let file = open(path)?;
        let shared = self.look.shares
            && !sys::takes_label_ioctl(&file).map_err(LiveError::io("ask for the label of", name))?;
        let own = sys::cachestat(&file).ok();
        let runs = if self.viewer.sees(metadata.uid(), shared) {
            Some(self.runs(&file, size).map_err(|error| match error {
                Trouble::Io(what, cause) => LiveError::io(what, name)(cause),
                Trouble::Hidden => LiveError::FramesHidden,
            })?)
        } else {
            None
        };
        let path = name.get(self.root..).unwrap_or_default();
        let path = if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() };
        self.found.files.push(FilePages { path, size, runs, own, shared });
        Ok(())
    }

    /// The pages in memory, window by window.
    fn runs(&mut self, file: &File, size: u64) -> std::result::Result<Vec<Range<u64>>, Trouble> {
        let mut all: Vec<Range<u64>> = Vec::new();
        let mut offset = 0;
        while offset < size {
            let length = WINDOW.min(size - offset);
            let window =
                window(file, offset, length, self.page).map_err(|cause| Trouble::Io("map", cause))?;
            let resident = window.resident().map_err(|cause| Trouble::Io("ask mincore about", cause))?;
            let runs = runs_of(&resident);
            if let Some(pagemap) = &self.pagemap {
                for run in &runs {
                    count_frames(&window, run.clone(), self.page, pagemap, self.frames)?;
                }
            }
            let first = offset / self.page;
            for run in runs {
                let run = first + run.start as u64..first + run.end as u64;
                match all.last_mut().filter(|last| last.end == run.start) {
                    Some(last) => last.end = run.end,
                    None => all.push(run),
                }
            }
            offset += length;
        }
        Ok(all)
    }
}

/// What can go wrong with one file, before its name is added.
enum Trouble {
    Io(&'static str, io::Error),
    Hidden,
}

/// Opens for reading without waiting and without following a link.
fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options.open(path).map_err(LiveError::io("open", path.as_os_str().as_bytes()))
}

fn window(file: &File, offset: u64, length: u64, page: u64) -> io::Result<Mapping> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let page = usize::try_from(page).map_err(io::Error::other)?;
    Mapping::new(file, offset, length, page)
}

fn runs_of(resident: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (page, _) in resident.iter().enumerate().filter(|(_, resident)| **resident) {
        match runs.last_mut().filter(|run| run.end == page) {
            Some(run) => run.end += 1,
            None => runs.push(page..page + 1),
        }
    }
    runs
}

fn open_pagemap() -> Result<File> {
    const PAGEMAP: &str = "/proc/self/pagemap";
    File::open(PAGEMAP).map_err(LiveError::io("open", PAGEMAP.as_bytes()))
}

/// Adds the frames of pages that are in memory.
fn count_frames(
    window: &Mapping,
    run: Range<usize>,
    page: u64,
    pagemap: &File,
    frames: &mut Frames,
) -> std::result::Result<(), Trouble> {
    window.populate(run.clone()).map_err(|cause| Trouble::Io("map the pages of", cause))?;
    let at = (window.address() / page + run.start as u64) * 8;
    let mut records = vec![0; run.len() * 8];
    pagemap.read_exact_at(&mut records, at).map_err(|cause| Trouble::Io("read the page frames of", cause))?;
    for record in records.as_chunks::<8>().0 {
        let record = native(*record);
        if record & PAGEMAP_PRESENT != 0 {
            let frame = record & PAGEMAP_FRAME;
            if frame == 0 {
                return Err(Trouble::Hidden);
            }
            frames.seen.insert(frame);
        }
    }
    Ok(())
}

/// A number in the byte order of this machine, which is the one that the kernel talks to it in.
fn native(bytes: [u8; 8]) -> u64 {
    if cfg!(target_endian = "little") {
        u64::from_le_bytes(bytes)
    } else {
        u64::from_le_bytes(bytes).swap_bytes()
    }
}

/// How many pages of a file or block device are in memory, by `cachestat`, else by `mincore`; the image file
/// or device under a mount, for example. `None` where it cannot be looked at.
pub fn pages_of_file(path: &Path) -> Option<u64> {
    let kind = fs::metadata(path).ok()?.file_type();
    if !kind.is_file() && !std::os::unix::fs::FileTypeExt::is_block_device(&kind) {
        return None;
    }
    let mut file = File::open(path).ok()?;
    if let Ok(pages) = sys::cachestat(&file) {
        return Some(pages);
    }
    let size = file.seek(SeekFrom::End(0)).ok().filter(|size| *size <= LENGTH_MAX)?;
    let viewer = Viewer::of_this_process().ok()?;
    if !viewer.sees(file.metadata().ok()?.uid(), false) {
        return None;
    }
    let mut pages = 0;
    let mut offset = 0;
    while offset < size {
        let length = WINDOW.min(size - offset);
        let resident =
            window(&file, offset, length, page_size()).and_then(|window| window.resident()).ok()?;
        pages += resident.into_iter().filter(|page| *page).count() as u64;
        offset += length;
    }
    Some(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of runs may have one run")]
    fn runs_join_pages_that_follow_each_other() {
        for (pages, want) in
            [("", vec![]), ("....", vec![]), ("#", vec![0..1]), ("##.#..##", vec![0..2, 3..4, 6..8])]
        {
            let resident: Vec<bool> = pages.bytes().map(|page| page == b'#').collect();
            assert_eq!(runs_of(&resident), want, "{pages}");
        }
    }

    #[test]
    fn only_owners_and_root_are_told_the_truth() {
        for (status, uid, owner, shared, want) in [
            ("Name:\tx\nCapEff:\t000001fffeffffff\n", 0, 1000, true, true),
            ("CapEff:\t0000000000000000\n", 1000, 1000, false, true),
            ("CapEff:\t0000000000000000\n", 1000, 1000, true, false),
            ("CapEff:\t0000000000000000\n", 1000, 0, false, false),
            ("CapEff:\t0000000000000008\n", 1000, 0, true, true),
            ("", 0, 0, true, false),
        ] {
            let viewer = Viewer { uid, owns_all: capable(status, 3) };
            assert_eq!(viewer.sees(owner, shared), want, "{status} {uid} {owner} {shared}");
        }
    }
}
