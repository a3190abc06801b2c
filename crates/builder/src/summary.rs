//! What was built: plain values for people and for machines.

use std::collections::BTreeMap;

use erofs_format::compression::Algorithm;
use erofs_format::feature::{KernelNeed, KernelVersion};

/// What a build did.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Length of the image in bytes, without what `--offset` skips.
    pub image_bytes: u64,
    /// Block size in bytes.
    pub block_size: u64,
    /// The volume's UUID.
    pub uuid: [u8; 16],
    /// Inodes of all kinds.
    pub inodes: u64,
    /// Regular files (inodes, not names).
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Device nodes, FIFOs and sockets.
    pub special_files: u64,
    /// Names beyond the first of each non-directory inode.
    pub hard_links: u64,
    /// Bytes of all regular files, each inode once.
    pub logical_bytes: u64,
    /// Bytes of regular files that the image holds: whole data blocks and inline tails.
    pub stored_bytes: u64,
    /// Bytes of file data that were not stored because an equal file or chunk had been.
    pub deduplicated_bytes: u64,
    /// Bytes of file data that were not stored because they are holes.
    pub hole_bytes: u64,
    /// What compression did, if it was wanted.
    pub compression: Option<CompressionSummary>,
    /// The metabox, if there is one.
    pub metabox: Option<MetaboxSummary>,
    /// Fingerprints, if any were wanted.
    pub fingerprints: Option<FingerprintSummary>,
    /// Compatible feature bits.
    pub compat: u32,
    /// Incompatible feature bits.
    pub incompat: u32,
    /// The first kernel that mounts the image (on a machine with 4096-byte pages).
    pub kernel_to_mount: KernelVersion,
    /// What makes it need that kernel, the newest need first; empty where every kernel with EROFS mounts the
    /// image.
    pub kernel_needs: Vec<KernelNeed>,
    /// The first kernel that shares its files' pages; `None` without fingerprints.
    pub kernel_to_share: Option<KernelVersion>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Summary {
    /// The same with the number of xattrs that claimed to be fingerprints and were left out.
    pub(crate) fn with_dropped(mut self, dropped: u64) -> Self {
        if let Some(fingerprints) = &mut self.fingerprints {
            fingerprints.dropped_from_source = dropped;
        }
        self
    }
}

/// Sums over the contents of all files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums {
    pub(crate) stored_bytes: u64,
    pub(crate) deduplicated_bytes: u64,
    pub(crate) hole_bytes: u64,
    /// Whether any file has chunks.
    pub(crate) chunked: bool,
    pub(crate) compression: CompressionSummary,
}

impl Sums {
    /// These sums again, with the features that other files were found to need `since`.
    pub(crate) fn restored(mut self, since: &Self) -> Self {
        self.chunked |= since.chunked;
        self.compression.two_heads |= since.compression.two_heads;
        self
    }
}

/// What compression did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each feature that contents may need")]
pub struct CompressionSummary {
    /// By algorithm.
    pub algorithms: BTreeMap<Algorithm, AlgorithmSummary>,
    /// Bytes of content that are stored as they are, because they would not become smaller or should not be
    /// compressed.
    pub plain_bytes: u64,
    /// Bytes of content in the packed inode, each fragment once.
    pub fragment_bytes: u64,
    /// Whether any pcluster is larger than a block.
    pub big_pclusters: bool,
    /// Whether any pcluster is stored after an inode.
    pub inline_pclusters: bool,
    /// Whether any file refers to parts of another.
    pub references: bool,
    /// Whether the index of any inode has heads of two algorithms.
    pub two_heads: bool,
    /// Whether plain blocks are interlaced: each byte is at the same offset of its block as in the file.
    pub interlaced: bool,
}

/// The inode that holds the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetaboxSummary {
    /// Bytes of inodes, xattrs, tables and tails.
    pub content_bytes: u64,
    /// What they take in the image.
    pub stored_bytes: u64,
}

/// What one algorithm did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlgorithmSummary {
    /// Bytes of content.
    pub content_bytes: u64,
    /// What they take in the image, padding included.
    pub stored_bytes: u64,
}

/// What was done about fingerprints.
#[derive(Debug, Clone)]
pub struct FingerprintSummary {
    /// The full xattr name.
    pub key: Vec<u8>,
    /// The kind.
    pub digest: &'static str,
    /// Files that carry one.
    pub files: u64,
    /// Xattrs of the source that claimed to be fingerprints and were left out.
    pub dropped_from_source: u64,
}
