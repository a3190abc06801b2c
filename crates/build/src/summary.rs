//! What was built: plain values for people and for machines.

use erofs_format::feature::KernelVersion;

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
    /// Fingerprints, if any were wanted.
    pub fingerprints: Option<FingerprintSummary>,
    /// Compatible feature bits.
    pub compat: u32,
    /// Incompatible feature bits.
    pub incompat: u32,
    /// The first kernel that mounts the image (on a machine with 4096-byte pages).
    pub kernel_to_mount: KernelVersion,
    /// The first kernel that shares its files' pages; `None` without fingerprints.
    pub kernel_to_share: Option<KernelVersion>,
    /// What the user should know.
    pub warnings: Vec<String>,
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
