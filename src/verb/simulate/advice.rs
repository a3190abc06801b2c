//! Advice in words.

use erofs_sim::{Simulated, Topic, advise};
use serde::Serialize;

use super::named::{Largest, largest, shown_name};
use crate::words::{counted, size};

/// How many images are named.
const TOP_IMAGES: usize = 5;

/// What could be done, and what it is about.
#[derive(Debug, Serialize)]
pub(super) struct Advice {
    pub(super) code: &'static str,
    pub(super) text: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) largest: Vec<Largest>,
}

/// All advice that follows from a simulation.
pub(super) fn give(simulated: &Simulated) -> Vec<Advice> {
    let in_words = |advice: erofs_sim::Advice| Advice {
        code: code(&advice.topic),
        text: text(simulated, &advice),
        files: advice.count.files,
        bytes: advice.count.bytes,
        largest: largest(simulated, &advice.largest),
    };
    advise(simulated).into_iter().map(in_words).collect()
}

fn code(topic: &Topic) -> &'static str {
    match topic {
        Topic::SplitPages => "sub_page_extents",
        Topic::WrongFingerprint => "wrong_fingerprint",
        Topic::SeveralSizes => "several_sizes",
        Topic::NoFeature(_) => "no_feature",
        Topic::NoFingerprint => "no_fingerprint",
        Topic::MixedKinds(_) => "mixed_kinds",
        Topic::MixedBackends => "mixed_backends",
        Topic::CompressedInOne => "compressed_in_one",
        Topic::BuildStamp(_) => "build_stamp",
        Topic::SameSize => "same_size",
        Topic::Unmatched => "unmatched",
        Topic::OtherDomain => "other_domain",
        Topic::Splice => "splice",
        Topic::ImageFilesCached(_) => "image_files_cached",
        Topic::PackedInode => "packed_inode",
        Topic::Unread => "unread",
        Topic::PathsLeftOut => "paths_left_out",
    }
}

/// What is said of groups of files, after their number and bytes.
const SPLIT_PAGES: &str = "with blocks below 4096 bytes, a page of the file has its bytes in several places (holes, chunks, an end \
     behind the inode): mounted with inode_share, Linux 7.2 and 7.3 read it wrong, or crash; build with blocks of \
     4096 bytes, or mount these images without inode_share";
const SEVERAL_SIZES: &str = "a fingerprint stands for files of several sizes, so it does not name a content; look where these images come from";
const NO_FINGERPRINT: &str = "without a fingerprint, in images that announce them; the builder should give one to every file, and it may be \
     no longer than a block";
const COMPRESSED_IN_ONE: &str = "compressed in one image and plain in another at the same path: such files do not share, so choose one for all \
     images";
const SAME_SIZE: &str =
    "the same path and size as in another image, and other content, as a build time or an id makes it";
const SAME_SIZE_UNREAD: &str = "the same path and size as in another image, and other content, as a build time or an id makes it; --verify says \
     in how many bytes";
const OTHER_DOMAIN: &str =
    "in memory for another domain as well; if the images trust each other, one domain for both saves this";
const SPLICE: &str = "sendfile and splice make private copies on this kernel; let servers read or map files";
/// What is said of a set of images.
const MIXED_BACKENDS: &str = "some images are mounted from block devices and some from files: files that are not compressed share only among \
     mounts of one kind";
const PATHS_LEFT_OUT: &str =
    "the set has more paths than are remembered; advice about files at one path is about a part of them";

fn text(simulated: &Simulated, advice: &erofs_sim::Advice) -> String {
    let (files, bytes) = (advice.count.files, size(advice.count.bytes));
    let group = |text: &str| format!("{}, {bytes}: {text}", counted(files, "file", "files"));
    match &advice.topic {
        Topic::SplitPages => group(SPLIT_PAGES),
        Topic::SeveralSizes => group(SEVERAL_SIZES),
        Topic::NoFingerprint => group(NO_FINGERPRINT),
        Topic::CompressedInOne => group(COMPRESSED_IN_ONE),
        Topic::SameSize if simulated.contents.is_some() => group(SAME_SIZE),
        Topic::SameSize => group(SAME_SIZE_UNREAD),
        Topic::OtherDomain => group(OTHER_DOMAIN),
        Topic::Splice => group(SPLICE),
        Topic::MixedBackends => MIXED_BACKENDS.to_owned(),
        Topic::PathsLeftOut => PATHS_LEFT_OUT.to_owned(),
        Topic::NoFeature(images) => no_feature(simulated, images),
        Topic::MixedKinds(mixed) => mixed_kinds(mixed),
        Topic::WrongFingerprint => format!(
            "{} the fingerprint of another content: on a node, one of the images decides what the other shows; do not \
             mount them in one domain",
            counted(files, "file has", "files have")
        ),
        Topic::BuildStamp(differing) => format!(
            "{} in only {}, as a build time or an id makes it; this costs {bytes}: build reproducibly",
            counted(
                files,
                "file differs from that of another image",
                "files differ from those of another image"
            ),
            counted(*differing, "byte", "bytes")
        ),
        Topic::Unmatched => format!(
            "{} the content of another file and not its fingerprint, {bytes}: with one kind of fingerprint in all \
             images they would share",
            counted(files, "file has", "files have")
        ),
        Topic::ImageFilesCached(most) => format!(
            "image files are in memory as well, about {bytes} and up to {}: mount with directio, or put direct I/O \
             under the loop device",
            size(*most)
        ),
        Topic::PackedInode => format!(
            "packed inodes and metaboxes take {bytes} that no two mounts share: build without fragments"
        ),
        Topic::Unread => format!(
            "the contents of {} could not be read by this version and are not compared",
            counted(files, "file", "files")
        ),
    }
}

fn mixed_kinds(mixed: &[(String, Vec<String>)]) -> String {
    let named: Vec<String> =
        mixed.iter().map(|(domain, kinds)| format!("domain {domain}: {}", kinds.join(", "))).collect();
    let text = "the kernel compares fingerprints as they are, and there are several kinds; use one";
    format!("{} ({text})", named.join("; "))
}

fn no_feature(simulated: &Simulated, images: &[usize]) -> String {
    let count = u64::try_from(images.len()).unwrap_or(u64::MAX);
    let named: Vec<String> =
        images.iter().take(TOP_IMAGES).map(|image| shown_name(simulated, *image)).collect();
    let verb = counted(count, "image announces", "images announce");
    format!(
        "{verb} no fingerprints and cannot share anything ({}): build with mkfs-erofs --ishare-key",
        named.join(", ")
    )
}
