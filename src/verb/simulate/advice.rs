//! What could be done for more sharing. Every piece of advice follows from facts that are counted beside it.

use erofs_sim::pages::{bytes_of, pages_of, saturating_sum};
use erofs_sim::scenario::Backend;
use erofs_sim::survey::{Findings, Group, Hint, Why};
use erofs_sim::tally::Cause;
use erofs_sim::world::{Class, Reason, class_of};

use super::beside::Beside;
use super::plan::Planned;
use super::report::{Advice, Largest, largest};
use super::verify::Content;
use crate::words::{counted, size};

/// How many files are named.
const TOP_FILES: usize = 5;
/// A file is stamped if it differs from the other in no more bytes than these, or in no more than so manyth of them.
const STAMP_BYTES: u64 = 64;
const STAMP_SHARE: u64 = 1000;

/// What advice follows from.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) plan: &'a [Planned],
    pub(super) findings: &'a Findings,
    pub(super) beside: &'a Beside,
    /// The backends of the mounts.
    pub(super) backends: &'a [Backend],
    /// Memory with sharing.
    pub(super) shared: u64,
    pub(super) content: Option<&'a Content>,
}

/// All of it, that which tells of faults first.
pub(super) fn give(known: &Known<'_>) -> Vec<Advice> {
    let rules: [fn(&Known<'_>) -> Option<Advice>; 15] = [
        split_pages,
        wrong_fingerprint,
        several_sizes,
        no_feature,
        no_fingerprint,
        mixed_kinds,
        mixed_backends,
        compressed_in_one,
        build_stamp,
        same_size,
        unmatched,
        other_domain,
        splice,
        image_files_cached,
        packed_inode,
    ];
    let limits: [fn(&Known<'_>) -> Option<Advice>; 2] = [unread, paths_left_out];
    rules.iter().chain(&limits).filter_map(|rule| rule(known)).collect()
}

fn bare(code: &'static str, text: String) -> Advice {
    Advice { code, text, files: 0, bytes: 0, largest: Vec::new() }
}

/// Advice about a group of files.
fn about(known: &Known<'_>, code: &'static str, group: &Group, text: &str) -> Advice {
    let files = counted(group.count.files, "file", "files");
    let text = format!("{files}, {}: {text}", size(group.count.bytes));
    let largest = largest(known.plan, group, TOP_FILES);
    Advice { code, text, files: group.count.files, bytes: group.count.bytes, largest }
}

fn group<'a>(known: &Known<'a>, reason: Reason) -> Option<&'a Group> {
    known.findings.not_shared.get(&Why::Cause(Cause::Private(reason)))
}

fn split_pages(known: &Known<'_>) -> Option<Advice> {
    let group = &known.beside.split_pages;
    let text = "with blocks below 4096 bytes, a page of the file has its bytes in several places (holes, chunks, an end \
                behind the inode): mounted with inode_share, Linux 7.2 and 7.3 read it wrong, or crash; build with blocks \
                of 4096 bytes, or mount these images without inode_share";
    (group.count.files != 0).then(|| about(known, "sub_page_extents", group, text))
}

fn wrong_fingerprint(known: &Known<'_>) -> Option<Advice> {
    let content = known.content.filter(|content| content.wrong_files != 0)?;
    let files = counted(content.wrong_files, "file has", "files have");
    let text = format!(
        "{files} the fingerprint of another content: on a node, one of the images decides what the other shows; do not mount them in one domain"
    );
    let largest = content.wrong.clone();
    Some(Advice { code: "wrong_fingerprint", text, files: content.wrong_files, bytes: 0, largest })
}

fn several_sizes(known: &Known<'_>) -> Option<Advice> {
    let text = "a fingerprint stands for files of several sizes, so it does not name a content; look where these images come from";
    Some(about(known, "several_sizes", group(known, Reason::OtherSize)?, text))
}

fn no_feature(known: &Known<'_>) -> Option<Advice> {
    let images = &known.beside.without_feature;
    if images.is_empty() {
        return None;
    }
    let count = u64::try_from(images.len()).unwrap_or(u64::MAX);
    let named: Vec<String> =
        images.iter().take(TOP_FILES).filter_map(|n| known.plan.get(*n)).map(Planned::shown).collect();
    let verb = counted(count, "image announces", "images announce");
    let text = format!(
        "{verb} no fingerprints and cannot share anything ({}): build with mkfs-erofs --ishare-key",
        named.join(", ")
    );
    let counts = group(known, Reason::MountDoesNotShare).map(|group| group.count).unwrap_or_default();
    Some(Advice { files: counts.files, bytes: counts.bytes, ..bare("no_feature", text) })
}

fn no_fingerprint(known: &Known<'_>) -> Option<Advice> {
    let text = "without a fingerprint, in images that announce them; the builder should give one to every file, and it may be no longer than a block";
    Some(about(known, "no_fingerprint", group(known, Reason::NoFingerprint)?, text))
}

fn mixed_kinds(known: &Known<'_>) -> Option<Advice> {
    let mixed = &known.findings.mixed_kinds;
    let named = mixed.iter().map(|(domain, kinds)| format!("domain {domain}: {}", kinds.join(", ")));
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| {
        let text = "the kernel compares fingerprints as they are, and there are several kinds; use one";
        bare("mixed_kinds", format!("{} ({text})", named.join("; ")))
    })
}

fn mixed_backends(known: &Known<'_>) -> Option<Advice> {
    let has = |class| known.backends.iter().any(|backend| class_of(false, *backend) == class);
    (has(Class::PlainBlock) && has(Class::PlainFile)).then(|| {
        let text = "some images are mounted from block devices and some from files: files that are not compressed share only among mounts of one kind";
        bare("mixed_backends", text.into())
    })
}

fn compressed_in_one(known: &Known<'_>) -> Option<Advice> {
    let text = "compressed in one image and plain in another at the same path: such files do not share, so choose one for all images";
    Some(about(known, "compressed_in_one", known.findings.hints.get(&Hint::CompressedInOne)?, text))
}

/// Pairs that differ in a few bytes; known only where contents were read.
fn build_stamp(known: &Known<'_>) -> Option<Advice> {
    let stamped = |(named, bytes): &&(erofs_sim::survey::Named, u64)| {
        *bytes <= STAMP_BYTES || *bytes <= named.size / STAMP_SHARE
    };
    let pairs: Vec<_> = known.content?.pairs.iter().filter(stamped).collect();
    if pairs.is_empty() {
        return None;
    }
    let files = u64::try_from(pairs.len()).unwrap_or(u64::MAX);
    let bytes = saturating_sum(pairs.iter().map(|(named, _)| bytes_of(pages_of(named.size))));
    let differing = saturating_sum(pairs.iter().map(|(_, bytes)| *bytes));
    let differ = counted(differing, "byte", "bytes");
    let text = format!(
        "{} in only {differ}, as a build time or an id makes it; this costs {}: build reproducibly",
        counted(files, "file differs from that of another image", "files differ from those of another image"),
        size(bytes)
    );
    let largest = pairs.iter().take(TOP_FILES).map(|(named, _)| Largest {
        image: known.plan.get(named.image).map(Planned::shown).unwrap_or_default(),
        path: String::from_utf8_lossy(&named.path).into_owned(),
        bytes: named.size,
    });
    Some(Advice { code: "build_stamp", text, files, bytes, largest: largest.collect() })
}

fn same_size(known: &Known<'_>) -> Option<Advice> {
    let hint = if known.content.is_some() { "" } else { "; --verify says in how many bytes" };
    let text = format!(
        "the same path and size as in another image, and other content, as a build time or an id makes it{hint}"
    );
    Some(about(known, "same_size", known.findings.hints.get(&Hint::SameSizeOtherContent)?, &text))
}

fn unmatched(known: &Known<'_>) -> Option<Advice> {
    let content = known.content.filter(|content| content.unmatched_files != 0)?;
    let files = counted(content.unmatched_files, "file has", "files have");
    let text = format!(
        "{files} the content of another file and not its fingerprint, {}: with one kind of fingerprint in all images they would share",
        size(content.unmatched_bytes)
    );
    let (files, bytes) = (content.unmatched_files, content.unmatched_bytes);
    Some(Advice { code: "unmatched", text, files, bytes, largest: content.unmatched.clone() })
}

fn other_domain(known: &Known<'_>) -> Option<Advice> {
    let text = "in memory for another domain as well; if the images trust each other, one domain for both saves this";
    Some(about(known, "other_domain", known.findings.not_shared.get(&Why::OtherDomain)?, text))
}

fn splice(known: &Known<'_>) -> Option<Advice> {
    let text = "sendfile and splice make private copies on this kernel; let servers read or map files";
    Some(about(known, "splice", known.findings.not_shared.get(&Why::Cause(Cause::Method))?, text))
}

fn image_files_cached(known: &Known<'_>) -> Option<Advice> {
    let buffered =
        known.backends.iter().any(|backend| matches!(backend, Backend::File | Backend::LoopBuffered));
    buffered.then(|| {
        // What is read of a file comes from the image file, whose pages stay, and its readahead brings more.
        let bytes = known.shared.min(known.beside.image_bytes);
        let text = format!(
            "image files are in memory as well, about {} and up to {}: mount with directio, or put direct I/O under the loop device",
            size(bytes),
            size(known.beside.image_bytes)
        );
        Advice { bytes, ..bare("image_files_cached", text) }
    })
}

fn packed_inode(known: &Known<'_>) -> Option<Advice> {
    let bytes = known.beside.metadata.special_bytes;
    (bytes != 0).then(|| {
        let text = format!(
            "packed inodes and metaboxes take {} that no two mounts share: build without fragments",
            size(bytes)
        );
        Advice { bytes, ..bare("packed_inode", text) }
    })
}

fn unread(known: &Known<'_>) -> Option<Advice> {
    let files = known.content?.unread_files;
    (files != 0).then(|| {
        let text = format!(
            "the contents of {} could not be read by this version and are not compared",
            counted(files, "file", "files")
        );
        Advice { files, ..bare("unread", text) }
    })
}

fn paths_left_out(known: &Known<'_>) -> Option<Advice> {
    known.findings.paths_left_out.then(|| {
        let text = "the set has more paths than are remembered; advice about files at one path is about a part of them";
        bare("paths_left_out", text.into())
    })
}
