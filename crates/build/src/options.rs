//! Every knob of a build and its default, one struct per stage.

use erofs_algo::fingerprint::FingerprintKind;
use erofs_format::BlockBits;
use erofs_format::superblock::LABEL_MAX;
use erofs_tree::ShapeOptions;
use uuid::Uuid;

use crate::error::BuildError;

/// The xattr name of fingerprints where none is given: the hidden name of mkfs.erofs.
pub const DEFAULT_ISHARE_KEY: &str = "erofs.fingerprint.v1";
/// How often an xattr must occur before it is stored once for all its inodes, where nothing else is said: more often
/// than this (`-x`, as in mkfs.erofs).
pub const DEFAULT_XATTR_TOLERANCE: u32 = 2;

/// Everything that decides which image a tree becomes.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Changes to owners and times.
    pub shape: ShapeOptions,
    /// How file contents are stored.
    pub content: ContentOptions,
    /// How metadata is stored.
    pub layout: LayoutOptions,
    /// How many threads work; the image does not depend on it. 0 means one per processor.
    pub threads: usize,
}

/// How file contents are stored.
#[derive(Debug, Clone)]
pub struct ContentOptions {
    /// Block size.
    pub block_bits: BlockBits,
    /// Fingerprints, if wanted.
    pub fingerprint: Option<FingerprintOptions>,
    /// Store files with equal digests once. Only possible where digests are computed.
    pub file_dedupe: bool,
    /// Every regular file in chunks of this size, equal chunks stored once; `None` leaves the choice to the content.
    pub chunks: Option<ChunkOptions>,
    /// Tails of regular files behind their inodes.
    pub inline_data: bool,
    /// Data of each file starts at a multiple of this many blocks (`--dsunit`); 0 or 1 for none.
    pub dsunit: u32,
}

impl Default for ContentOptions {
    fn default() -> Self {
        Self {
            block_bits: BlockBits::DEFAULT,
            fingerprint: None,
            file_dedupe: true,
            chunks: None,
            inline_data: true,
            dsunit: 0,
        }
    }
}

/// Chunk-based files for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkOptions {
    /// The size of a chunk as a power of two of bytes; at least the block size, at most 2^31.
    pub bits: u8,
}

/// Which fingerprints are written.
#[derive(Debug, Clone)]
pub struct FingerprintOptions {
    /// The full xattr name.
    pub key: Vec<u8>,
    /// Where the values come from.
    pub value: FingerprintValue,
    /// An xattr of that name in the source is an error instead of being dropped and counted.
    pub strict: bool,
}

impl FingerprintOptions {
    /// Whether the values are computed from the contents.
    pub fn is_computed(&self) -> bool {
        matches!(self.value, FingerprintValue::Computed { .. })
    }
}

/// Where the value of a fingerprint comes from.
#[derive(Debug, Clone, Copy)]
pub enum FingerprintValue {
    /// Computed from the bytes that are written.
    Computed {
        /// The kind.
        kind: FingerprintKind,
        /// The publisher's namespace, for kinds that need one; nil otherwise.
        namespace: Uuid,
    },
    /// The value of the source file's own xattr. Nothing checks it.
    Source,
}

impl FingerprintValue {
    /// The name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Computed { kind, .. } => kind.name,
            Self::Source => "source",
        }
    }
}

/// How metadata is stored.
#[derive(Debug, Clone)]
pub struct LayoutOptions {
    /// The form of inodes.
    pub inodes: InodeForm,
    /// Let compact inodes have the build time where that is their only obstacle (`--ignore-mtime`).
    pub ignore_mtime: bool,
    /// The form of chunk tables.
    pub chunk_table: ChunkTable,
    /// Xattrs that occur more often than this are shared; `None` keeps all of them with their inodes.
    pub xattr_tolerance: Option<u32>,
    /// More long xattr name prefixes.
    pub xattr_prefixes: Vec<Vec<u8>>,
    /// Write the xattr name filter (Linux 6.6 uses it).
    pub xattr_filter: bool,
    /// The root directory's inline xattrs take at least this many bytes.
    pub root_xattr_isize: u32,
    /// The superblock carries a checksum.
    pub superblock_checksum: bool,
    /// At most 15 bytes.
    pub volume_label: Vec<u8>,
    /// The volume's UUID.
    pub uuid: UuidRule,
    /// When the image was made, in seconds since 1970.
    pub build_time: i64,
    /// The image's size becomes a multiple of this many blocks, rounded up to a power of two (`--fsalignblks`).
    pub fsalignblks: u32,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        Self {
            inodes: InodeForm::ByNeed,
            ignore_mtime: false,
            chunk_table: ChunkTable::ByNeed,
            xattr_tolerance: Some(DEFAULT_XATTR_TOLERANCE),
            xattr_prefixes: Vec::new(),
            xattr_filter: true,
            root_xattr_isize: 0,
            superblock_checksum: true,
            volume_label: Vec::new(),
            uuid: UuidRule::Content,
            build_time: 0,
            fsalignblks: 0,
        }
    }
}

/// The form of inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InodeForm {
    /// Compact where everything fits, else extended.
    ByNeed,
    /// Compact, or an error that names the file.
    Compact,
    /// Extended.
    Extended,
}

/// The form of chunk tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkTable {
    /// The shorter one that holds every chunk, which is the block map as long as there is one device.
    ByNeed,
    /// 4-byte block maps (`-E force-inode-blockmap`).
    BlockMap,
    /// 8-byte indexes (`-E force-chunk-indexes`).
    Indexes,
}

/// The volume's UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UuidRule {
    /// Derived from everything that is in the image.
    Content,
    /// This one.
    Given([u8; 16]),
}

impl BuildOptions {
    /// Refuses options that exclude each other and values out of range.
    pub fn check(&self) -> Result<(), BuildError> {
        let wrong = |text: String| Err(BuildError::Options(text));
        if self.layout.volume_label.len() > LABEL_MAX || self.layout.volume_label.contains(&0) {
            return wrong(format!(
                "volume label: found {} bytes, want at most {LABEL_MAX} without NUL",
                self.layout.volume_label.len()
            ));
        }
        if let Some(chunks) = self.content.chunks {
            let least = self.content.block_bits.bits();
            if !(least..=erofs_format::datalayout::chunk::CHUNK_BITS_MAX).contains(&chunks.bits) {
                return wrong(format!(
                    "chunk size: found 2^{} bytes, want 2^{least} (the block size) to 2^{}",
                    chunks.bits,
                    erofs_format::datalayout::chunk::CHUNK_BITS_MAX
                ));
            }
        }
        if let Some(FingerprintOptions { value: FingerprintValue::Computed { kind, namespace }, .. }) =
            &self.content.fingerprint
            && kind.needs_namespace
            && namespace.is_nil()
        {
            return wrong(format!(
                "fingerprints of kind {} need a namespace (--ishare-namespace)",
                kind.name
            ));
        }
        Ok(())
    }
}
