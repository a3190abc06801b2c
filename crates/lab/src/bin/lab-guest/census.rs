//! What is in memory at the end of a scenario: each file's pages, and the frames behind them.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use erofs_lab::protocol::{CONTENT_MAX, Content, FileReport, Line, MountReport, SameFrames};

use crate::sys::{self, Kind, Mapping, PAGE};
use crate::walk;
use crate::world::Mounted;

/// An entry of `/proc/self/pagemap` (`Documentation/admin-guide/mm/pagemap.rst`).
const ENTRY_LEN: usize = 8;
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// Which file holds a frame, and as which of its pages.
type Frames = HashMap<u64, (usize, usize)>;

/// Looks at every file of the mounts, in the order of mounts and of a walk, and says what it finds. Overlays
/// over a mount that has ended are left out. With `with_runs` it also says which pages those are.
pub(crate) fn census(
    mounts: &[Mounted],
    with_runs: bool,
    say: &mut dyn FnMut(&Line) -> io::Result<()>,
) -> io::Result<()> {
    let pagemap = File::open("/proc/self/pagemap")?;
    let (mut frames, mut names) = (Frames::new(), Vec::new());
    for mounted in mounts {
        // Whether files of an overlay are members is asked below it, which takes a mount that has a name.
        let below = |lower: &PathBuf| mounts.iter().any(|other| other.point == *lower);
        if mounted.lower.as_ref().is_some_and(|lower| !below(lower)) {
            continue;
        }
        let (mut files, mut dirs) = (Vec::new(), vec![mounted.point.clone()]);
        walk::walk(&mounted.point, &mut |path, kind| {
            if kind.is_file() {
                files.push(path.to_path_buf());
            } else if kind.is_dir() {
                dirs.push(path.to_path_buf());
            }
            Ok(())
        })?;
        for path in files {
            if let Some((mut report, numbers)) = look(mounted, &path, &pagemap, &mut frames, &mut names)? {
                if with_runs {
                    report.runs = runs(&numbers);
                }
                say(&Line::File(report))?;
            }
        }
        say(&Line::Mount(MountReport { mount: mounted.name.clone(), directory_pages: pages_of(&dirs)? }))?;
    }
    say(&Line::End { frames: frames.len() as u64 })
}

/// Pages that follow each other, as the first of them and their count.
fn runs(numbers: &Numbers) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (page, _) in numbers {
        let page = *page as u64;
        match runs.last_mut() {
            Some((first, count)) if *first + *count == page => *count += 1,
            _ => runs.push((page, 1)),
        }
    }
    runs
}

fn pages_of(dirs: &[PathBuf]) -> io::Result<u64> {
    dirs.iter().map(|dir| sys::cachestat(&File::open(dir)?)).sum()
}

/// What is in memory of a file; nothing for an empty one.
fn look(
    mounted: &Mounted,
    path: &Path,
    pagemap: &File,
    frames: &mut Frames,
    names: &mut Vec<(String, String)>,
) -> io::Result<Option<(FileReport, Numbers)>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size == 0 {
        return Ok(None);
    }
    let inside = path.strip_prefix(&mounted.point).unwrap_or(path);
    let inside = format!("/{}", inside.to_string_lossy());
    let (numbers, content) = frame_numbers(&file, size, pagemap)?;
    // An overlay takes no label ioctl either way: the file below it tells.
    let below = mounted.lower.as_ref().map(|lower| lower.join(inside.trim_start_matches('/')));
    let below = below.map(File::open).transpose()?;
    let me = names.len();
    names.push((mounted.name.clone(), inside.clone()));
    let mut first: Option<(usize, u64)> = None;
    for (page, number) in &numbers {
        let (owner, at) = *frames.entry(*number).or_insert((me, *page));
        if owner != me && at == *page {
            let (other, count) = first.get_or_insert((owner, 0));
            *count += u64::from(*other == owner);
        }
    }
    let same_frames = first.and_then(|(other, pages)| {
        let (mount, path) = names.get(other)?.clone();
        Some(SameFrames { mount, path, pages })
    });
    let report = FileReport {
        mount: mounted.name.clone(),
        path: inside,
        size,
        shared: !sys::has_label_ioctl(below.as_ref().unwrap_or(&file))?,
        mincore_pages: numbers.len() as u64,
        cachestat_pages: sys::cachestat(&file)?,
        content,
        runs: Vec::new(),
        same_frames,
    };
    Ok(Some((report, numbers)))
}

/// Pages with their frames.
type Numbers = Vec<(usize, u64)>;

/// The pages of a file that are in memory, with their frames, and what they hold.
fn frame_numbers(file: &File, size: u64, pagemap: &File) -> io::Result<(Numbers, Option<u64>)> {
    let mapping = Mapping::new(file, usize::try_from(size).map_err(io::Error::other)?, Kind::Shared)?;
    mapping.without_readahead()?;
    let resident = mapping.resident()?;
    let mut pages: Vec<usize> = Vec::new();
    for (page, _) in resident.iter().enumerate().filter(|(_, resident)| **resident) {
        mapping.touch(page);
        pages.push(page);
    }
    let content = (size <= CONTENT_MAX).then(|| {
        let (mut content, mut bytes) = (Content::default(), [0; PAGE]);
        for page in &pages {
            mapping.copy_page(*page, &mut bytes);
            // What a file holds ends with it; what a mapping shows behind its end is nobody's promise.
            let inside = size.saturating_sub(*page as u64 * PAGE as u64);
            let behind = usize::try_from(inside).unwrap_or(PAGE).min(PAGE);
            bytes.iter_mut().skip(behind).for_each(|byte| *byte = 0);
            content.page(*page as u64, &bytes);
        }
        content.finish()
    });
    let mut entries = vec![0_u8; resident.len() * ENTRY_LEN];
    let first = mapping.address() / PAGE as u64 * ENTRY_LEN as u64;
    if !pages.is_empty() {
        pagemap.read_exact_at(&mut entries, first)?;
    }
    let numbers = pages
        .into_iter()
        .map(|page| {
            let entry = entries.chunks_exact(ENTRY_LEN).nth(page).and_then(|entry| entry.try_into().ok());
            let entry = u64::from_le_bytes(entry.unwrap_or_default());
            let gone = || io::Error::other(format!("page {page} of a mapped file has no frame"));
            if entry & PRESENT == 0 { Err(gone()) } else { Ok((page, entry & FRAME)) }
        })
        .collect::<io::Result<_>>()?;
    Ok((numbers, content))
}
