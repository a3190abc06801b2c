//! The check of one image: the stages in order.

use erofs_format::feature::{self, incompat};
use erofs_format::superblock;
use erofs_format::xattr_prefix::START_UNIT;
use erofs_image::{Budget, Image, printable};
use hashbrown::HashMap;

use crate::attributes;
use crate::canonical::{self, Uses};
use crate::domain::conflicts;
use crate::error::{CheckError, is_operational};
use crate::finding::{Code, Finding, Findings};
use crate::fingerprint::Key;
use crate::metadata::Shared;
use crate::options::{Options, Profile};
use crate::outcome::Outcome;
use crate::queue::{Batches, CloseOnDrop, Queue};
use crate::ranges::{Kind, NO_INODE, Range, SHARED_XATTRS, overlaps};
use crate::report::Report;
use crate::source::Source;
use crate::walk::Walk;
use crate::worker::{Budgets, Worker};

/// Checks an image.
///
/// # Errors
/// When it cannot be read at all. That it is wrong is a finding.
pub fn check(source: &Source, options: &Options) -> Result<Report, CheckError> {
    let image = match source.image() {
        Ok((image, _)) => image,
        Err(error) if is_operational(&error) => return Err(error.into()),
        Err(error) => {
            let findings = vec![Finding::of(&error, Code::Superblock)];
            return Ok(Report { findings, ..Report::default() });
        }
    };
    let mut report = Report::default();
    let mut found = Findings::default();
    found.extend(crate::superblock::check(&image, source.primary()));
    found.extend(profile(&image, options));
    let key = match Key::of(&image) {
        Ok(key) => key,
        Err(error) => {
            found.push(Finding::of(&error, Code::Superblock));
            None
        }
    };
    report.fingerprints = key.is_some();
    let (inodes, outcomes) = inodes(&image, source, key.as_ref(), options)?;
    report.inodes = inodes;
    let mut ranges = of_superblock(&image);
    let (mut uses, mut shared, mut special) = (Uses::default(), Shared::new(), 0_u64);
    for mut outcome in outcomes {
        uses.add(outcome.uses);
        special = special.saturating_add(outcome.special);
        shared.append(&mut outcome.shared);
        take(&mut report, &mut found, &mut ranges, outcome);
    }
    ranges.extend(shared.into_iter().map(|(start, end)| Range {
        space: 0,
        start,
        end,
        kind: Kind::Metadata,
        owner: SHARED_XATTRS,
    }));
    if options.profile == Some(Profile::Hardened) {
        found.extend(canonical::unused(&image, uses));
    }
    found.extend(attributes::misread(uses.misread));
    let reached = report.inodes.saturating_add(special);
    // What could not be read may have more.
    if report.failed.is_none() || reached > image.superblock().inodes {
        found.extend(inode_count(&image, reached));
    }
    add_overlaps(&image, &mut found, ranges);
    report.contents.sort_by_key(|content| content.order);
    found.extend(conflicts(&[("", &report)]));
    // Workers find in any order.
    found.list.sort_by_key(|finding| (finding.code.area(), finding.order, finding.code));
    (report.warnings, report.findings) =
        found.list.into_iter().partition(|finding| finding.code.is_warning());
    report.left_out = found.more;
    Ok(report)
}

fn take(report: &mut Report, found: &mut Findings, ranges: &mut Vec<Range>, outcome: Outcome) {
    let Outcome { findings, ranges: more, contents, judged, unjudged, bytes, failed, .. } = outcome;
    found.append(findings);
    ranges.extend(more);
    report.contents.extend(contents);
    report.judged = report.judged.saturating_add(judged);
    report.unjudged = report.unjudged.saturating_add(unjudged);
    report.bytes = report.bytes.saturating_add(bytes);
    if let Some((error, count)) = failed {
        let (first, before) = report.failed.take().unwrap_or((error, 0));
        report.failed = Some((first, before.saturating_add(count)));
    }
}

/// Walks over the image on this thread and has its inodes looked at by others, or by this one where there are
/// none.
fn inodes(
    image: &Image,
    source: &Source,
    key: Option<&Key>,
    options: &Options,
) -> Result<(u64, Vec<Outcome>), CheckError> {
    let threads = erofs_threads::count(options.threads);
    let (queue, limits) = (Queue::default(), image.limits());
    let budgets = Budgets {
        contents: Budget::contents(&limits),
        attributes: Budget::inodes(&limits),
        extents: Budget::extents(&limits),
    };
    let worker = || Worker::new(source, key, options, threads > 1, &budgets);
    let help = || -> Result<Outcome, CheckError> {
        let _close = CloseOnDrop(&queue);
        let mut worker = worker()?;
        while let Some(jobs) = queue.take() {
            for job in &jobs {
                worker.work(job);
            }
        }
        Ok(worker.finish())
    };
    let main = |others: usize| -> Result<(u64, Vec<Outcome>), CheckError> {
        if others == 0 {
            let mut worker = worker()?;
            let (inodes, walked) = Walk::new(image, |job| worker.work(&job)).all();
            return Ok((inodes, vec![walked, worker.finish()]));
        }
        let mut batches = Batches::new(&queue);
        let (inodes, walked) = Walk::new(image, |job| batches.add(job)).all();
        Ok((inodes, vec![walked]))
    };
    let (walked, helped) = erofs_threads::beside("check", threads, help, main);
    let (inodes, mut outcomes) = walked?;
    for outcome in helped {
        outcomes.push(outcome?);
    }
    Ok((inodes, outcomes))
}

/// The profile as far as the superblock tells.
fn profile(image: &Image, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(profile) = options.profile else { return findings };
    let superblock = image.superblock();
    let core = incompat::CHUNKED_FILE | incompat::XATTR_PREFIXES;
    for feature in feature::incompatible(superblock.incompat & !core, superblock.extra_devices > 0) {
        let wanted = "none but chunked_file and xattr_prefixes";
        findings.push(Finding::new(Code::NotCore, "superblock.feature_incompat", feature.name, wanted));
    }
    if profile == Profile::Hardened {
        findings.extend(canonical::superblock(image));
        if !matches!(image.ishare_prefix(), Ok(Some(_))) {
            let what = "superblock.feature_compat";
            findings.push(Finding::new(
                Code::NotFingerprinted,
                what,
                "no fingerprints",
                "those of all files",
            ));
        }
    }
    findings
}

/// What of the device is neither an inode's nor a file's.
fn of_superblock(image: &Image) -> Vec<Range> {
    let value = image.superblock();
    let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    let range = |start: u64, length: u64| Range {
        space: 0,
        start,
        end: start.saturating_add(length),
        kind: Kind::Metadata,
        owner: NO_INODE,
    };
    let mut ranges = vec![range(superblock::OFFSET, size(superblock::record_size(value.extslots)))];
    let slot = size(erofs_format::device::SLOT_SIZE);
    let slots = size(image.devices().slots().len());
    if slots > 0 {
        ranges.push(range(u64::from(value.devt_slotoff).saturating_mul(slot), slots.saturating_mul(slot)));
    }
    let inside = value.incompat & (incompat::METABOX | incompat::FRAGMENTS) != 0;
    let prefixes = image.prefixes();
    if !prefixes.is_empty() && (!inside || value.compat & feature::compat::PLAIN_XATTR_PFX != 0) {
        let length = prefixes.iter().fold(0_u64, |sum, prefix| sum.saturating_add(size(prefix.size())));
        ranges.push(range(u64::from(value.xattr_prefix_start).saturating_mul(START_UNIT), length));
    }
    ranges
}

/// The number of inodes that the superblock tells, which `statfs` shows; those without a name count. One more
/// is right where the number itself would be the magic of minix.
fn inode_count(image: &Image, reached: u64) -> Option<Finding> {
    let stated = image.superblock().inodes;
    (stated != reached && stated != superblock::stated_inodes(reached)).then(|| {
        let wanted = format!("{reached}, those that are reached");
        Finding::new(Code::InodeCount, "superblock.inos", stated, wanted)
    })
}

/// Tells of overlaps. The paths are found by a second walk, which right images do not need.
fn add_overlaps(image: &Image, findings: &mut Findings, ranges: Vec<Range>) {
    let overlaps = overlaps(ranges);
    let mut owners: HashMap<u64, Option<(Vec<u8>, u64)>> = HashMap::new();
    owners.extend(overlaps.iter().flat_map(|(first, second)| [(first.owner, None), (second.owner, None)]));
    if overlaps.is_empty() {
        return;
    }
    Walk::new(image, |job| {
        if let Some(owner) = owners.get_mut(&job.order) {
            *owner = Some((job.path, job.inode.nid.0));
        }
    })
    .all();
    for (first, second) in overlaps {
        let metadata = first.kind == Kind::Metadata || second.kind == Kind::Metadata;
        let code = if metadata { Code::MetadataOverlap } else { Code::DataOverlap };
        let kind = |range: &Range| if range.kind == Kind::Metadata { "metadata" } else { "data" };
        let owner = |range: &Range| owners.get(&range.owner).and_then(Option::as_ref);
        let nameless = if first.owner == SHARED_XATTRS { "a shared attribute" } else { "the superblock" };
        let name = owner(&first).map_or_else(|| nameless.to_owned(), |(path, _)| printable(path));
        let what = format!("{} at byte {}", kind(&second), second.start);
        let found = format!("{} of {name} up to byte {}", kind(&first), first.end);
        let finding = Finding::new(code, what, found, "bytes of its own").ordered(second.owner);
        findings.push(match owner(&second) {
            Some((path, nid)) => finding.at(path, *nid),
            None => finding,
        });
    }
}
