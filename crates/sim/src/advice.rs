//! What could be done for more sharing. Every piece of advice follows from facts that are counted beside it.

use crate::contents::Contents;
use crate::pages::{bytes_of, pages_of, saturating_sum};
use crate::scenario::Backend;
use crate::simulated::Simulated;
use crate::survey::{Group, Hint, Named, Why};
use crate::tally::{Cause, Count};
use crate::world::{Class, Reason, class_of};

/// How many files are named.
const TOP_FILES: usize = 5;
/// A file is stamped if it differs from the other in no more bytes than these, or in no more than this share
/// of them.
const STAMP_BYTES: u64 = 64;
const STAMP_SHARE: u64 = 1000;

/// What the advice is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// Pages of files have their bytes in several places, which kernels that share read wrong.
    SplitPages,
    /// Files have the fingerprint of another content.
    WrongFingerprint,
    /// A fingerprint stands for files of several sizes.
    SeveralSizes,
    /// These images, by number, announce no fingerprints.
    NoFeature(Vec<usize>),
    /// Files have no fingerprint, in images that announce them.
    NoFingerprint,
    /// Domains have fingerprints of several kinds: the domain, and the kinds.
    MixedKinds(Vec<(String, Vec<String>)>),
    /// Mounts are from block devices and from files.
    MixedBackends,
    /// Files are compressed in one image and not in another.
    CompressedInOne,
    /// Files differ from those of another image in few bytes: so many in all of them.
    BuildStamp(u64),
    /// Files have path and size of one of another image, and other content.
    SameSize,
    /// Files have the content of another file and not its fingerprint.
    Unmatched,
    /// Files are in memory for another domain as well.
    OtherDomain,
    /// Files are read by a call that makes private copies.
    Splice,
    /// Image files are cached as well, up to so many bytes.
    ImageFilesCached(u64),
    /// Packed inodes and metaboxes are shared by no two mounts.
    PackedInode,
    /// Contents could not be read.
    Unread,
    /// There are more paths than are remembered.
    PathsLeftOut,
}

/// A piece of advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What it is about.
    pub topic: Topic,
    /// How many files, and the bytes that they cost.
    pub count: Count,
    /// The largest of them.
    pub largest: Vec<Named>,
}

impl Advice {
    fn bare(topic: Topic) -> Self {
        Self { topic, count: Count::default(), largest: Vec::new() }
    }

    fn about(topic: Topic, group: &Group) -> Self {
        Self { topic, count: group.count, largest: group.largest.iter().take(TOP_FILES).cloned().collect() }
    }
}

/// All that follows from a simulation, what tells of faults first.
pub fn advise(simulated: &Simulated) -> Vec<Advice> {
    let rules: [fn(&Simulated) -> Option<Advice>; 17] = [
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
        unread,
        paths_left_out,
    ];
    rules.iter().filter_map(|rule| rule(simulated)).collect()
}

fn not_shared(simulated: &Simulated, why: Why) -> Option<&Group> {
    simulated.findings.not_shared.get(&why)
}

fn private(simulated: &Simulated, reason: Reason) -> Option<&Group> {
    not_shared(simulated, Why::Cause(Cause::Private(reason)))
}

fn hint(simulated: &Simulated, hint: Hint) -> Option<&Group> {
    simulated.findings.hints.get(&hint)
}

fn contents(simulated: &Simulated, is_about: impl Fn(&Contents) -> u64) -> Option<&Contents> {
    simulated.contents.as_ref().filter(|contents| is_about(contents) != 0)
}

fn split_pages(simulated: &Simulated) -> Option<Advice> {
    let group = &simulated.overheads.split_pages;
    (group.count.files != 0).then(|| Advice::about(Topic::SplitPages, group))
}

fn wrong_fingerprint(simulated: &Simulated) -> Option<Advice> {
    let contents = contents(simulated, |contents| contents.wrong_files)?;
    let count = Count { files: contents.wrong_files, bytes: 0 };
    Some(Advice { topic: Topic::WrongFingerprint, count, largest: contents.wrong.clone() })
}

fn several_sizes(simulated: &Simulated) -> Option<Advice> {
    Some(Advice::about(Topic::SeveralSizes, private(simulated, Reason::OtherSize)?))
}

fn no_feature(simulated: &Simulated) -> Option<Advice> {
    let images = &simulated.overheads.without_feature;
    let group = private(simulated, Reason::MountDoesNotShare);
    let count = group.map(|group| group.count).unwrap_or_default();
    let advice = || Advice { count, ..Advice::bare(Topic::NoFeature(images.clone())) };
    (!images.is_empty()).then(advice)
}

fn no_fingerprint(simulated: &Simulated) -> Option<Advice> {
    Some(Advice::about(Topic::NoFingerprint, private(simulated, Reason::NoFingerprint)?))
}

fn mixed_kinds(simulated: &Simulated) -> Option<Advice> {
    let mixed = &simulated.findings.mixed_kinds;
    (!mixed.is_empty()).then(|| Advice::bare(Topic::MixedKinds(mixed.clone())))
}

/// Files that are not compressed share only among mounts of one kind of backend.
fn mixed_backends(simulated: &Simulated) -> Option<Advice> {
    let has = |class| simulated.backends.iter().any(|backend| class_of(false, *backend) == class);
    (has(Class::PlainBlock) && has(Class::PlainFile)).then(|| Advice::bare(Topic::MixedBackends))
}

fn compressed_in_one(simulated: &Simulated) -> Option<Advice> {
    Some(Advice::about(Topic::CompressedInOne, hint(simulated, Hint::CompressedInOne)?))
}

/// Pairs that differ in a few bytes; known only where contents were read.
fn build_stamp(simulated: &Simulated) -> Option<Advice> {
    let is_stamped =
        |(named, bytes): &&(Named, u64)| *bytes <= STAMP_BYTES || *bytes <= named.size / STAMP_SHARE;
    let pairs: Vec<_> = simulated.contents.as_ref()?.pairs.iter().filter(is_stamped).collect();
    if pairs.is_empty() {
        return None;
    }
    let count = Count {
        files: u64::try_from(pairs.len()).unwrap_or(u64::MAX),
        bytes: saturating_sum(pairs.iter().map(|(named, _)| bytes_of(pages_of(named.size)))),
    };
    let differing = saturating_sum(pairs.iter().map(|(_, bytes)| *bytes));
    let largest = pairs.iter().take(TOP_FILES).map(|(named, _)| named.clone()).collect();
    Some(Advice { topic: Topic::BuildStamp(differing), count, largest })
}

fn same_size(simulated: &Simulated) -> Option<Advice> {
    Some(Advice::about(Topic::SameSize, hint(simulated, Hint::SameSizeOtherContent)?))
}

fn unmatched(simulated: &Simulated) -> Option<Advice> {
    let contents = contents(simulated, |contents| contents.unmatched_files)?;
    let count = Count { files: contents.unmatched_files, bytes: contents.unmatched_bytes };
    Some(Advice { topic: Topic::Unmatched, count, largest: contents.unmatched.clone() })
}

fn other_domain(simulated: &Simulated) -> Option<Advice> {
    Some(Advice::about(Topic::OtherDomain, not_shared(simulated, Why::OtherDomain)?))
}

fn splice(simulated: &Simulated) -> Option<Advice> {
    Some(Advice::about(Topic::Splice, not_shared(simulated, Why::Cause(Cause::Method))?))
}

fn image_files_cached(simulated: &Simulated) -> Option<Advice> {
    let is_buffered = |backend: &Backend| matches!(backend, Backend::File | Backend::LoopBuffered);
    let most = simulated.overheads.image_bytes;
    // What is read of a file comes from the image file, whose pages stay, and its readahead brings more.
    let count = Count { files: 0, bytes: simulated.shared_bytes.min(most) };
    let advice = || Advice { count, ..Advice::bare(Topic::ImageFilesCached(most)) };
    simulated.backends.iter().any(is_buffered).then(advice)
}

fn packed_inode(simulated: &Simulated) -> Option<Advice> {
    let bytes = simulated.overheads.metadata.special;
    let advice = || Advice { count: Count { files: 0, bytes }, ..Advice::bare(Topic::PackedInode) };
    (bytes != 0).then(advice)
}

fn unread(simulated: &Simulated) -> Option<Advice> {
    let files = contents(simulated, |contents| contents.unread_files)?.unread_files;
    Some(Advice { count: Count { files, bytes: 0 }, ..Advice::bare(Topic::Unread) })
}

fn paths_left_out(simulated: &Simulated) -> Option<Advice> {
    simulated.findings.paths_left_out.then(|| Advice::bare(Topic::PathsLeftOut))
}
