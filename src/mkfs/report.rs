//! The summary of a build, for people and for machines.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use erofs_builder::Summary;
use erofs_builder::summary::{CompressionSummary, FingerprintSummary, MetaboxSummary};
use erofs_format::feature::{self, KernelNeed};
use serde::Serialize;
use uuid::Uuid;

use super::verity::{Made, VerityReport};
use crate::exit::one_line;
use crate::words::{counted, grouped, size};

/// What `--json` prints. Sizes are in bytes, versions of Linux are texts such as `7.0`; names that are not
/// UTF-8 have replacement characters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The image as it was named on the command line.
    pub image: String,
    /// Length of the image, without what `--offset` skips.
    pub image_bytes: u64,
    /// Size of a block.
    pub block_size: u64,
    /// UUID of the volume.
    pub uuid: String,
    /// Inodes of all kinds.
    pub inodes: u64,
    /// Regular files, each once.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Device nodes, FIFOs and sockets.
    pub special_files: u64,
    /// Names beyond the first of files with several.
    pub hard_links: u64,
    /// Bytes of all regular files.
    pub logical_bytes: u64,
    /// Bytes of them that the image holds.
    pub stored_bytes: u64,
    /// Bytes that were not stored because equal ones had been.
    pub deduplicated_bytes: u64,
    /// Bytes that were not stored because they are holes.
    pub hole_bytes: u64,
    /// What compression did; null without `-z`.
    pub compression: Option<Compression>,
    /// The compressed metadata; null without `-m`.
    pub metabox: Option<Metabox>,
    /// What was done about fingerprints; null without `--ishare-key`.
    pub fingerprints: Option<Fingerprints>,
    /// The dm-verity hash tree; null without `--verity`.
    pub verity: Option<VerityReport>,
    /// Names of the compatible features.
    pub compat: Vec<&'static str>,
    /// Names of the incompatible features.
    pub incompat: Vec<&'static str>,
    /// The first Linux that mounts the image, with pages of 4096 bytes.
    pub kernel_to_mount: String,
    /// What in the image older kernels do not mount, the newest need first.
    pub kernel_needs: Vec<KernelNeedReport>,
    /// The first Linux that shares page cache between images like this one; null without fingerprints.
    pub kernel_to_share: Option<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// What `--json` prints about a feature, an algorithm or a block size that not every kernel mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelNeedReport {
    /// Its name.
    pub name: String,
    /// The first Linux that mounts it.
    pub since: String,
}

/// What `--json` prints about compression. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compression {
    /// One per algorithm that compressed anything.
    pub algorithms: Vec<AlgorithmReport>,
    /// Contents that are stored as they are.
    pub plain_bytes: u64,
    /// Contents in the packed inode.
    pub fragment_bytes: u64,
}

/// What one algorithm did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlgorithmReport {
    /// Its name.
    pub name: &'static str,
    /// Contents.
    pub content_bytes: u64,
    /// What they take in the image.
    pub stored_bytes: u64,
}

impl From<CompressionSummary> for Compression {
    fn from(summary: CompressionSummary) -> Self {
        let algorithms = summary.algorithms.into_iter().map(|(algorithm, sums)| AlgorithmReport {
            name: algorithm.name(),
            content_bytes: sums.content_bytes,
            stored_bytes: sums.stored_bytes,
        });
        Self {
            algorithms: algorithms.collect(),
            plain_bytes: summary.plain_bytes,
            fragment_bytes: summary.fragment_bytes,
        }
    }
}

impl Compression {
    fn text(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for AlgorithmReport { name, content_bytes, stored_bytes } in &self.algorithms {
            let percent = u128::from(*stored_bytes) * 1000 / u128::from((*content_bytes).max(1));
            let (whole, tenth) = (percent / 10, percent % 10);
            parts.push(format!(
                "{name} {} to {} ({whole}.{tenth} %)",
                size(*content_bytes),
                size(*stored_bytes)
            ));
        }
        for (bytes, what) in [(self.plain_bytes, "left as they are"), (self.fragment_bytes, "in fragments")] {
            if bytes > 0 {
                parts.push(format!("{} {what}", size(bytes)));
            }
        }
        if parts.is_empty() { "nothing to compress".into() } else { parts.join(", ") }
    }
}

/// What `--json` prints about compressed metadata. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metabox {
    /// Inodes, extended attributes, tables and tails.
    pub content_bytes: u64,
    /// What they take in the image.
    pub stored_bytes: u64,
}

impl From<MetaboxSummary> for Metabox {
    fn from(summary: MetaboxSummary) -> Self {
        Self { content_bytes: summary.content_bytes, stored_bytes: summary.stored_bytes }
    }
}

/// What `--json` prints about fingerprints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fingerprints {
    /// Name of the extended attribute.
    pub key: String,
    /// The kind.
    pub digest: &'static str,
    /// Files that carry one.
    pub files: u64,
    /// Attributes of the source that would have been taken for fingerprints and were left out.
    pub dropped_from_source: u64,
}

impl Report {
    /// The report of a build of `image`; `warnings` come before those of the build itself.
    pub fn new(image: &Path, summary: Summary, mut warnings: Vec<String>, took: Duration) -> Self {
        let compat = feature::named(&feature::COMPAT, summary.compat).map(|feature| feature.name);
        warnings.extend(summary.warnings);
        Self {
            image: image.to_string_lossy().into_owned(),
            image_bytes: summary.image_bytes,
            block_size: summary.block_size,
            uuid: Uuid::from_bytes(summary.uuid).to_string(),
            inodes: summary.inodes,
            files: summary.files,
            directories: summary.directories,
            symlinks: summary.symlinks,
            special_files: summary.special_files,
            hard_links: summary.hard_links,
            logical_bytes: summary.logical_bytes,
            stored_bytes: summary.stored_bytes,
            deduplicated_bytes: summary.deduplicated_bytes,
            hole_bytes: summary.hole_bytes,
            compression: summary.compression.map(Compression::from),
            metabox: summary.metabox.map(Metabox::from),
            fingerprints: summary.fingerprints.map(Fingerprints::from),
            verity: None,
            compat: compat.collect(),
            // Images of this program have no devices beside their own.
            incompat: feature::incompatible(summary.incompat, false).map(|feature| feature.name).collect(),
            kernel_to_mount: summary.kernel_to_mount.to_string(),
            kernel_needs: summary.kernel_needs.into_iter().map(KernelNeedReport::from).collect(),
            kernel_to_share: summary.kernel_to_share.map(|version| version.to_string()),
            warnings,
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }

    /// The same with what was done about dm-verity.
    #[must_use]
    pub(super) fn with_verity(self, made: Option<Made>) -> Self {
        Self { verity: made.map(VerityReport::from), ..self }
    }

    /// The summary for people, some lines.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}: {} in {:.1} s, blocks of {} bytes, UUID {}\n",
            one_line(&self.image),
            size(self.image_bytes),
            self.seconds,
            self.block_size,
            self.uuid
        );
        let mut line = |name: &str, content: String| {
            // A String takes everything.
            let _ = writeln!(text, "  {name:<13} {content}");
        };
        line("inodes", self.counts());
        line("contents", self.contents());
        if let Some(compression) = &self.compression {
            line("compression", compression.text());
        }
        if let Some(Metabox { content_bytes, stored_bytes }) = &self.metabox {
            line("metadata", format!("{} to {}", size(*content_bytes), size(*stored_bytes)));
        }
        line("fingerprints", self.fingerprints.as_ref().map_or_else(|| "none".into(), Fingerprints::text));
        let mut kernel = format!("mounts with Linux {}", self.kernel_to_mount);
        if !self.kernel_needs.is_empty() {
            let needs: Vec<String> =
                self.kernel_needs.iter().map(|need| format!("{} {}", need.name, need.since)).collect();
            // A String takes everything.
            let _ = write!(kernel, " ({})", needs.join(", "));
        }
        if let Some(version) = &self.kernel_to_share {
            // A String takes everything.
            let _ = write!(kernel, ", shares page cache with Linux {version}");
        }
        line("kernel", kernel);
        if let Some(verity) = &self.verity {
            line("verity", verity.text());
        }
        text
    }

    fn counts(&self) -> String {
        let kinds = [
            (self.files, "file", "files"),
            (self.directories, "directory", "directories"),
            (self.symlinks, "symlink", "symlinks"),
            (self.special_files, "special file", "special files"),
            (self.hard_links, "hard link", "hard links"),
        ];
        let kinds = kinds.into_iter().filter(|(count, ..)| *count > 0);
        let kinds: Vec<String> = kinds.map(|(count, one, more)| counted(count, one, more)).collect();
        format!("{}: {}", grouped(self.inodes), kinds.join(", "))
    }

    fn contents(&self) -> String {
        let mut text = format!("{} in files, {} stored", size(self.logical_bytes), size(self.stored_bytes));
        for (bytes, what) in
            [(self.deduplicated_bytes, "saved by equal contents"), (self.hole_bytes, "in holes")]
        {
            if bytes > 0 {
                let _ = write!(text, ", {} {what}", size(bytes));
            }
        }
        text
    }
}

impl From<KernelNeed> for KernelNeedReport {
    fn from(need: KernelNeed) -> Self {
        Self { name: need.name, since: need.since.to_string() }
    }
}

impl From<FingerprintSummary> for Fingerprints {
    fn from(summary: FingerprintSummary) -> Self {
        Self {
            key: String::from_utf8_lossy(&summary.key).into_owned(),
            digest: summary.digest,
            files: summary.files,
            dropped_from_source: summary.dropped_from_source,
        }
    }
}

impl Fingerprints {
    fn text(&self) -> String {
        let files = counted(self.files, "file", "files");
        let mut text = format!("{files}, {} in {}", self.digest, one_line(&self.key));
        if self.dropped_from_source > 0 {
            let _ = write!(text, ", {} left out that the source claimed", grouped(self.dropped_from_source));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use erofs_format::feature::{KernelVersion, compat, incompat};

    use super::*;

    fn summary() -> Summary {
        Summary {
            image_bytes: 12_902_400,
            block_size: 4096,
            uuid: *Uuid::NAMESPACE_URL.as_bytes(),
            inodes: 1_236,
            files: 1_000,
            directories: 100,
            symlinks: 135,
            special_files: 1,
            hard_links: 7,
            logical_bytes: 15_000_000,
            stored_bytes: 12_500_000,
            deduplicated_bytes: 2_500_000,
            hole_bytes: 0,
            compression: None,
            metabox: None,
            fingerprints: Some(FingerprintSummary {
                key: b"trusted.erofs.fingerprint".to_vec(),
                digest: "sha256",
                files: 990,
                dropped_from_source: 1,
            }),
            compat: compat::SB_CHKSUM | compat::ISHARE_XATTRS,
            incompat: incompat::XATTR_PREFIXES,
            kernel_to_mount: KernelVersion(6, 4),
            kernel_needs: vec![KernelNeed { name: "xattr_prefixes".into(), since: KernelVersion(6, 4) }],
            kernel_to_share: Some(KernelVersion(7, 0)),
            warnings: vec!["second".into()],
        }
    }

    fn report(summary: Summary) -> Report {
        Report::new(Path::new("a\n.img"), summary, vec!["first".into()], Duration::from_micros(1_234_567))
    }

    #[test]
    fn machines_get_every_key() {
        let value = serde_json::to_value(report(summary())).unwrap();
        let want = serde_json::json!({
            "image": "a\n.img", "image_bytes": 12_902_400, "block_size": 4096,
            "uuid": "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
            "inodes": 1236, "files": 1000, "directories": 100, "symlinks": 135, "special_files": 1, "hard_links": 7,
            "logical_bytes": 15_000_000, "stored_bytes": 12_500_000, "deduplicated_bytes": 2_500_000, "hole_bytes": 0,
            "compression": null, "metabox": null,
            "fingerprints": {
                "key": "trusted.erofs.fingerprint", "digest": "sha256", "files": 990, "dropped_from_source": 1
            },
            "verity": null,
            "compat": ["sb_chksum", "ishare_xattrs"], "incompat": ["xattr_prefixes"],
            "kernel_to_mount": "6.4", "kernel_needs": [{ "name": "xattr_prefixes", "since": "6.4" }],
            "kernel_to_share": "7.0", "warnings": ["first", "second"], "seconds": 1.235
        });
        assert_eq!(value, want);
        let none = Summary { fingerprints: None, kernel_to_share: None, ..summary() };
        let value = serde_json::to_value(report(none)).unwrap();
        assert!(value["fingerprints"].is_null() && value["kernel_to_share"].is_null());
    }

    #[test]
    fn people_get_some_lines() {
        assert_eq!(
            report(summary()).text(),
            "a\\n.img: 12.3 MiB in 1.2 s, blocks of 4096 bytes, UUID 6ba7b811-9dad-11d1-80b4-00c04fd430c8\n  \
             inodes        1,236: 1,000 files, 100 directories, 135 symlinks, 1 special file, 7 hard links\n  \
             contents      14.3 MiB in files, 11.9 MiB stored, 2.3 MiB saved by equal contents\n  \
             fingerprints  990 files, sha256 in trusted.erofs.fingerprint, 1 left out that the source claimed\n  \
             kernel        mounts with Linux 6.4 (xattr_prefixes 6.4), shares page cache with Linux 7.0\n"
        );
        let none = Summary { fingerprints: None, kernel_to_share: None, ..summary() };
        let text = report(none).text();
        let metabox = Some(MetaboxSummary { content_bytes: 3 << 20, stored_bytes: 1 << 20 });
        let boxed = report(Summary { metabox, ..summary() }).text();
        assert!(boxed.contains("\n  metadata      3.0 MiB to 1.0 MiB\n"), "{boxed}");
        assert!(
            text.contains("fingerprints  none\n")
                && text.ends_with("mounts with Linux 6.4 (xattr_prefixes 6.4)\n"),
            "{text}"
        );
    }
}
