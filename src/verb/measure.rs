//! `erofs-ishare measure`: what of live mounts is in memory, beside what the model says of the same images.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use erofs_live::kernel::{SHARES_SINCE, Version};
use erofs_live::predict::{self, Mounted, Prediction, Sum};
use erofs_live::resident::{FilePages, Frames, MountPages, page_size, pages_of_file};
use erofs_sim::facts::{self, ImageFacts};
use serde::Serialize;

use super::Done;
use super::live::{self, LiveMount};
use super::source::shown;
use crate::exit::one_line;
use crate::output;
use crate::words::{counted, grouped, size};

/// The domain of mounts that share, where none is named.
const DOMAIN: &str = "one";

/// Say what of live mounts is in memory, file by file, and hold it against what simulate says of the same
/// images
///
/// For every file the pages that reads of it find in memory are asked for with mincore, and beside it, with
/// cachestat, those that the file holds itself. mincore sees shared pages, but not the private copies that
/// sendfile makes of shared files; cachestat sees those copies, but not the shared pages. Neither sees
/// compressed data that the kernel keeps. To users other than root mincore says that all of a shared file, or
/// of somebody else's, is in memory: such files are not counted. Looking at a mount looks all its files up
/// and reads its directories, nothing else.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the images are mounted, in the order in which the model shall read them
    #[arg(value_name = "MOUNTPOINT", required = true)]
    mounts: Vec<PathBuf>,

    /// The image of a mount, where the kernel does not show it (may be repeated)
    #[arg(long, value_name = "MOUNTPOINT=IMAGE")]
    image: Vec<String>,

    /// The domain of a mount, which the kernel does not show; all mounts that share are taken to be in one
    /// (may be repeated)
    #[arg(long, value_name = "MOUNTPOINT=NAME")]
    domain: Vec<String>,

    /// Count page frames: which memory it is, proved, not concluded. Maps every page that is in memory; needs
    /// root
    #[arg(long)]
    frames: bool,

    /// How many of the files with most pages in memory are named
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    kernel: Option<String>,
    model: &'static str,
    page_size: u64,
    mounts: Vec<MountReport>,
    measured: Measured,
    predicted: Option<PredictedReport>,
    difference: Option<Difference>,
    top: Vec<Top>,
    notes: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct MountReport {
    mount: String,
    same_as: Option<String>,
    source: String,
    backend: &'static str,
    inode_share: bool,
    domain: Option<String>,
    image: Option<String>,
    files: u64,
    resident_files: u64,
    resident_bytes: u64,
    own_bytes: Option<u64>,
    shared_files: u64,
    not_counted_files: u64,
    directory_bytes: Option<u64>,
    image_file_bytes: Option<u64>,
    device_bytes: Option<u64>,
    predicted: Option<MountPredicted>,
}

#[derive(Debug, Serialize)]
struct MountPredicted {
    #[serde(rename = "all_bytes")]
    all: u64,
    #[serde(rename = "adds_bytes")]
    adds: u64,
    #[serde(rename = "directory_bytes")]
    directories: u64,
}

#[derive(Debug, Serialize)]
struct Measured {
    seen_bytes: u64,
    copies_bytes: u64,
    memory_bytes: u64,
    memory_by: &'static str,
}

#[derive(Debug, Serialize)]
struct PredictedReport {
    all_files: SumReport,
    resident_files: SumReport,
    resident_pages_bytes: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct SumReport {
    private_bytes: u64,
    shared_bytes: u64,
}

impl From<Sum> for SumReport {
    fn from(sum: Sum) -> Self {
        Self { private_bytes: sum.private_bytes, shared_bytes: sum.shared_bytes }
    }
}

/// Measured memory less what is predicted.
#[derive(Debug, Serialize)]
struct Difference {
    #[serde(rename = "all_files_bytes")]
    all_files: i64,
    #[serde(rename = "resident_files_bytes")]
    resident_files: i64,
    #[serde(rename = "resident_pages_bytes")]
    resident_pages: i64,
}

#[derive(Debug, Serialize)]
struct Top {
    mount: String,
    path: String,
    resident_bytes: u64,
    file_bytes: u64,
    shared: bool,
}

/// A mount with all that was found out about it.
struct Looked {
    mount: LiveMount,
    domain: Option<String>,
    pages: MountPages,
    /// Pages of the image file, and of the block device.
    below: (Option<u64>, Option<u64>),
    image: Option<PathBuf>,
    facts: Option<ImageFacts>,
    /// The mount before it with the same device.
    same_as: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let mounts = live::find(&args.mounts, &args.image)?;
    let mut domains = live::pairs(&args.mounts, &args.domain, "--domain")?;
    let mut frames = args.frames.then(Frames::default);
    let mut looked: Vec<Looked> = Vec::new();
    let mut whole = true;
    for mount in mounts {
        // Before the walk, which reads metadata through them.
        let below = below(&mount);
        let (pages, complete) = mount.look(frames.as_mut())?;
        whole &= complete;
        let first = looked.iter().find(|other| other.pages.device == pages.device);
        let same_as = first.map(|first| shown(&first.mount.given));
        let named = domains.remove(&mount.given);
        let domain = mount.shares().then(|| named.unwrap_or_else(|| DOMAIN.to_owned()));
        looked.push(Looked { mount, domain, pages, below, image: None, facts: None, same_as });
    }
    // Images are read after everything is measured, because reading brings parts of them into memory.
    for one in &mut looked {
        match read_image(one) {
            Ok((image, facts)) => {
                one.image = Some(image);
                one.facts = Some(facts);
            }
            Err(error) => {
                output::complain(
                    super::NAME,
                    &one_line(&format!("{}: nothing is predicted: {error:#}", shown(&one.mount.given))),
                );
                whole = false;
            }
        }
    }
    let report = report(args, &looked, frames.as_ref())?;
    let mut out = output::stdout();
    if args.json {
        output::json(&mut out, &report)?;
    } else {
        text(&mut out, &report)?;
    }
    out.flush()?;
    Ok(Done::unless(!whole))
}

/// Pages of the image file and of the block device in memory.
fn below(mount: &LiveMount) -> (Option<u64>, Option<u64>) {
    let source = (!mount.entry.is_file_backed())
        .then(|| PathBuf::from(String::from_utf8_lossy(&mount.entry.source).into_owned()));
    let image = mount.image().ok().filter(|image| Some(image) != source.as_ref());
    (image.and_then(|image| pages_of_file(&image)), source.and_then(|device| pages_of_file(&device)))
}

fn read_image(one: &Looked) -> anyhow::Result<(PathBuf, ImageFacts)> {
    let image = one.mount.image().map_err(|why| anyhow!("its image is not known ({why}), want --image"))?;
    if !one.mount.is_named() && one.mount.backing.offset != 0 {
        let offset = one.mount.backing.offset;
        return Err(anyhow!(
            "{}: the image starts at byte {offset}, want --image with an image that starts at 0",
            shown(&image)
        ));
    }
    if let Some(dir) = one.mount.part() {
        let dir = erofs_image::printable(dir);
        return Err(anyhow!("only {dir} of {} is mounted, want a mount of all of it", shown(&image)));
    }
    let none: [&Path; 0] = [];
    let facts = facts::read(&image, &none).map_err(|error| anyhow!("{}: {error}", shown(&image)))?;
    let differences = predict::differences(&one.pages, &facts);
    if differences > 0 {
        return Err(anyhow!(
            "{}: {} from those of the mount, want the image that is mounted",
            shown(&image),
            counted(differences, "file differs", "files differ")
        ));
    }
    Ok((image, facts))
}

fn report(args: &Args, looked: &[Looked], frames: Option<&Frames>) -> anyhow::Result<Report> {
    let release =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned());
    let version = release.as_deref().and_then(Version::parse).map_or(SHARES_SINCE, |version| version);
    let kernel = version.model();
    let page = page_size();
    let distinct: Vec<&Looked> = looked.iter().filter(|one| one.same_as.is_none()).collect();
    let mounted: Vec<Mounted<'_>> = distinct
        .iter()
        .map(|one| Mounted {
            pages: &one.pages,
            facts: one.facts.as_ref(),
            backend: one.mount.backing.backend,
            domain: one.domain.as_deref(),
        })
        .collect();
    let by_fingerprint = predict::pages_by_fingerprint(kernel, &mounted) * page;
    let prediction = predict::predict(kernel, &mounted)?;
    let files = || distinct.iter().flat_map(|one| &one.pages.files);
    let copies_bytes = files().map(FilePages::private_copies).sum::<u64>() * page;
    let shares = files().any(|file| file.shared);
    let (memory_bytes, memory_by) = match frames {
        Some(frames) => (frames.count() * page + copies_bytes, "frames"),
        None if shares => (by_fingerprint, "fingerprints"),
        None => (by_fingerprint, "mincore"),
    };
    let seen_bytes = files().map(FilePages::resident).sum::<u64>() * page;
    let measured = Measured { seen_bytes, copies_bytes, memory_bytes, memory_by };
    let difference = prediction.as_ref().map(|prediction| Difference {
        all_files: less(memory_bytes, prediction.all_files.shared_bytes),
        resident_files: less(memory_bytes, prediction.resident_files.shared_bytes),
        resident_pages: less(memory_bytes, by_fingerprint),
    });
    let predicted = prediction.as_ref().map(|prediction| PredictedReport {
        all_files: prediction.all_files.into(),
        resident_files: prediction.resident_files.into(),
        resident_pages_bytes: by_fingerprint,
    });
    Ok(Report {
        kernel: release,
        model: kernel.name,
        page_size: page,
        mounts: mount_reports(looked, prediction.as_ref(), page),
        measured,
        predicted,
        difference,
        top: top(&distinct, args.top, page),
        notes: notes(looked, shares, frames.is_some(), page),
    })
}

fn less(measured: u64, predicted: u64) -> i64 {
    let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    signed(measured) - signed(predicted)
}

fn mount_reports(looked: &[Looked], prediction: Option<&Prediction>, page: u64) -> Vec<MountReport> {
    let mut predictions = prediction.into_iter().flat_map(|prediction| &prediction.mounts);
    let mut one_report = |one: &Looked| {
        let files = &one.pages.files;
        let own = files.iter().map(|file| file.own).sum::<Option<u64>>();
        let predicted = if one.same_as.is_none() { predictions.next() } else { None };
        MountReport {
            mount: shown(&one.mount.given),
            same_as: one.same_as.clone(),
            source: String::from_utf8_lossy(&one.mount.entry.source).into_owned(),
            backend: one.mount.backing.words(),
            inode_share: one.mount.shares(),
            domain: one.domain.clone(),
            image: one.image.as_deref().map(shown),
            files: files.len() as u64,
            resident_files: files.iter().filter(|file| file.resident() > 0).count() as u64,
            resident_bytes: files.iter().map(FilePages::resident).sum::<u64>() * page,
            own_bytes: own.map(|pages| pages * page),
            shared_files: files.iter().filter(|file| file.shared).count() as u64,
            not_counted_files: files.iter().filter(|file| file.runs.is_none()).count() as u64,
            directory_bytes: one.pages.directory_pages.map(|pages| pages * page),
            image_file_bytes: one.below.0.map(|pages| pages * page),
            device_bytes: one.below.1.map(|pages| pages * page),
            predicted: predicted.map(|predicted| MountPredicted {
                all: predicted.all_bytes,
                adds: predicted.adds_bytes,
                directories: predicted.directory_bytes,
            }),
        }
    };
    looked.iter().map(&mut one_report).collect()
}

/// The files with most pages in memory; of equal ones the first.
fn top(looked: &[&Looked], count: usize, page: u64) -> Vec<Top> {
    let mut files: Vec<_> = looked
        .iter()
        .flat_map(|one| one.pages.files.iter().map(move |file| (*one, file)))
        .filter(|(_, file)| file.resident() > 0)
        .collect();
    files.sort_by_key(|(_, file)| std::cmp::Reverse(file.resident()));
    files.truncate(count);
    let top = |(one, file): (&Looked, &FilePages)| Top {
        mount: shown(&one.mount.given),
        path: erofs_image::printable(&file.path),
        resident_bytes: file.resident() * page,
        file_bytes: file.size,
        shared: file.shared,
    };
    files.into_iter().map(top).collect()
}

fn notes(looked: &[Looked], shares: bool, frames: bool, page: u64) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if shares && !frames {
        notes.push("memory is what mincore saw, counted once for files of equal domain and fingerprint; --frames proves it");
    }
    if shares && looked.iter().any(|one| one.pages.files.iter().any(|file| file.own.is_none())) {
        notes
            .push("without cachestat the private copies that sendfile makes of shared files are not counted");
    }
    if looked.iter().any(|one| one.mount.shares()) && !shares {
        notes.push("the mounts have inode_share, but no file of them shares");
    }
    let devices: HashSet<u64> = looked.iter().map(|one| one.pages.device).collect();
    if devices.len() < looked.len() {
        notes.push("mounts of the same device are the same files and are counted once");
    }
    if looked.iter().any(|one| one.mount.backing.caches_twice()) {
        notes.push("an image file is in memory besides what the mount shows of it: use direct I/O (erofs-ishare doctor)");
    }
    if page != erofs_sim::pages::PAGE_SIZE {
        notes.push(
            "the model counts pages of 4096 bytes, this machine has larger ones: its figures are too low",
        );
    }
    notes
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    if bytes == 0 { "0".into() } else { format!("{sign}{}", grouped(bytes.unsigned_abs())) }
}

/// The sums: what they are, bytes, and what they stand for.
fn rows(report: &Report) -> Vec<(&'static str, u64, String)> {
    let none = String::new;
    let measured = &report.measured;
    let mut rows = vec![
        ("contents of files in memory", measured.memory_bytes, format!(", by {}", measured.memory_by)),
        ("  seen through all mounts", measured.seen_bytes, none()),
        ("  private copies of shared files", measured.copies_bytes, none()),
    ];
    if let (Some(predicted), Some(difference)) = (&report.predicted, &report.difference) {
        let more = |bytes: i64| format!(", difference {}", signed(bytes));
        let (all, resident) = (predicted.all_files, predicted.resident_files);
        rows.extend([
            ("predicted, every file read", all.shared_bytes, more(difference.all_files)),
            ("  if nothing was shared", all.private_bytes, none()),
            ("predicted, files in memory read whole", resident.shared_bytes, more(difference.resident_files)),
            ("  if nothing was shared", resident.private_bytes, none()),
            (
                "predicted, the pages in memory",
                predicted.resident_pages_bytes,
                more(difference.resident_pages),
            ),
        ]);
    }
    rows
}

fn text_of_mount(out: &mut dyn Write, mount: &MountReport) -> anyhow::Result<()> {
    let sharing = match (&mount.domain, mount.shared_files) {
        (None, _) => "does not share".to_owned(),
        (Some(_), files) => format!("inode_share, {}", counted(files, "file shares", "files share")),
    };
    writeln!(out, "\n{}  ({}; {sharing})", one_line(&mount.mount), mount.backend)?;
    let image = mount.image.as_deref().map_or_else(|| "not known".to_owned(), one_line);
    writeln!(out, "  {:<36}{image}", "image")?;
    if let Some(other) = &mount.same_as {
        writeln!(out, "  the same files as {}", one_line(other))?;
    }
    let files = format!("{} of {}", grouped(mount.resident_files), grouped(mount.files));
    writeln!(out, "  {:<36}{files:>18}", "files with pages in memory")?;
    if mount.not_counted_files > 0 {
        writeln!(out, "  {:<36}{:>18}", "files not counted", grouped(mount.not_counted_files))?;
    }
    let predicted = |pick: fn(&MountPredicted) -> u64| mount.predicted.as_ref().map(pick);
    for (name, bytes) in [
        ("seen by mincore", Some(mount.resident_bytes)),
        ("held by the files, by cachestat", mount.own_bytes),
        ("predicted, every file read", predicted(|predicted| predicted.all)),
        ("  of it not shared with those above", predicted(|predicted| predicted.adds)),
        ("directories, before this look", mount.directory_bytes),
        ("  predicted, every directory read", predicted(|predicted| predicted.directories)),
        ("the image file itself", mount.image_file_bytes),
        ("the block device itself", mount.device_bytes),
    ] {
        if let Some(bytes) = bytes {
            writeln!(out, "  {name:<36}{:>18}  {}", grouped(bytes), size(bytes))?;
        }
    }
    Ok(())
}

fn text(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    let release = report.kernel.as_deref().map_or_else(|| "unknown".to_owned(), one_line);
    writeln!(out, "Linux {release}, pages of {} bytes", report.page_size)?;
    for mount in &report.mounts {
        text_of_mount(out, mount)?;
    }
    writeln!(out)?;
    for (name, bytes, more) in rows(report) {
        writeln!(out, "{name:<38}{:>18}  {}{more}", grouped(bytes), size(bytes))?;
    }
    if !report.top.is_empty() {
        writeln!(out, "\nmost in memory")?;
    }
    for file in &report.top {
        let shared = if file.shared { ", shared" } else { "" };
        let (resident, whole) = (size(file.resident_bytes), size(file.file_bytes));
        writeln!(out, "  {resident:>12} of {whole:>12}  {}:{}{shared}", one_line(&file.mount), file.path)?;
    }
    for note in &report.notes {
        writeln!(out, "\nnote: {note}")?;
    }
    Ok(())
}
