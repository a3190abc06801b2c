//! Every knob of a build and its default, one struct per stage.

use erofs_algo::fingerprint::{Fingerprint, FingerprintKind, Hasher};
use erofs_encode::LzmaBits;
use erofs_format::BlockBits;
use erofs_format::compression::PCLUSTER_MAX_SIZE;
use erofs_format::feature::{self, KernelVersion, incompat};
use erofs_format::superblock::LABEL_MAX;
use erofs_format::words;
use uuid::Uuid;

use crate::option_error::{Field, OptionError};

/// The xattr name of fingerprints where none is given: the hidden name of mkfs.erofs.
pub const DEFAULT_ISHARE_KEY: &str = "erofs.fingerprint.v1";
/// How often an xattr must occur before it is stored once for all its inodes, where nothing else is said:
/// more often than this (`-x`, as in mkfs.erofs).
pub const DEFAULT_XATTR_TOLERANCE: u32 = 2;

/// Pages of the machines on which files share page cache, as a power of two of bytes.
const PAGE_BITS: u8 = 12;
/// Holes for which an image may come to need Linux 5.15 are at least so long, as a power of two of bytes.
const LARGE_HOLE_BITS: u8 = 20;
/// The first kernel that reads chunk-based files.
const CHUNKED_SINCE: KernelVersion = KernelVersion(5, 15);

/// Everything that decides which image a tree becomes.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
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
    /// Every regular file in chunks of this size, equal chunks stored once; `None` leaves the choice to the
    /// content.
    pub chunks: Option<ChunkOptions>,
    /// Where zeros of regular files take no space.
    pub holes: HoleRule,
    /// Tails of regular files behind their inodes.
    pub inline_data: bool,
    /// Data of each file starts at a multiple of this many blocks (`--dsunit`); 0 or 1 for none.
    pub dsunit: u32,
    /// Compress the contents; `None` stores them as they are.
    pub compression: Option<CompressionOptions>,
}

impl Default for ContentOptions {
    fn default() -> Self {
        Self {
            block_bits: BlockBits::DEFAULT,
            fingerprint: None,
            file_dedupe: true,
            chunks: None,
            holes: HoleRule::ByNeed,
            inline_data: true,
            dsunit: 0,
            compression: None,
        }
    }
}

/// How contents are compressed.
#[derive(Debug, Clone)]
pub struct CompressionOptions {
    /// The algorithms with their levels; the first is for every file that no hint gives another. At least
    /// one.
    pub algorithms: Vec<AlgorithmOptions>,
    /// Every pcluster of files that no hint concerns is encoded by the second algorithm too, which has
    /// another format than the first; its result is stored if it takes at most so many percent more per byte
    /// of content (`-E head2`), 0 to 100.
    pub head2: Option<u8>,
    /// The largest pcluster in bytes: a multiple of the block size up to 1 MiB (`-C`).
    pub pcluster_size: u32,
    /// Which files are stored compressed.
    pub class: CompressClass,
    /// How places of pclusters are stored.
    pub index: IndexForm,
    /// The last pcluster of a file follows its inode where it fits (`-E ztailpacking`).
    pub tail_packing: bool,
    /// Small files and ends of files go to one shared inode that is compressed as a whole (`-E fragments`).
    pub fragments: Option<FragmentOptions>,
    /// Parts of files that equal parts of files before them are stored once (`-E dedupe`).
    pub dedupe: bool,
    /// The last pcluster of a file is tried again with more effort where it exceeds a block boundary by
    /// little.
    pub squeeze: bool,
    /// The most bytes of content that one pcluster stands for; 0 for as many as the format allows
    /// (`--max-extent-bytes`).
    pub max_extent_size: u32,
    /// Other algorithms and pcluster sizes for some paths; the first that matches counts.
    pub hints: Vec<CompressHint>,
    /// Memory for contents on their way, in bytes; 0 for a share of what the machine has free.
    pub memory: u64,
}

impl CompressionOptions {
    /// The largest pcluster that any file may have, in bytes.
    pub fn largest_pcluster(&self) -> u32 {
        let hints = self.hints.iter().map(|hint| hint.pcluster_size);
        let fragments = self.fragments.map(|fragments| fragments.pcluster_size);
        hints.chain(fragments).fold(self.pcluster_size, u32::max)
    }

    fn check_head2(&self) -> Result<(), OptionError> {
        let Some(percent) = self.head2 else { return Ok(()) };
        let wrong = |found: &str, want: &str| Err(OptionError::new(Field::SecondAlgorithm, found, want));
        match self.algorithms.as_slice() {
            _ if percent > 100 => wrong(&format!("{percent} percent"), "0 to 100"),
            [first, second, ..] if first.algorithm.number == second.algorithm.number => {
                let names = [first, second].map(|row| row.algorithm.name).join(" and ");
                wrong(&format!("{names}, which are one format"), "two")
            }
            [_, _, ..] => Ok(()),
            [..] => wrong("one algorithm", "two, as in zstd:lz4"),
        }
    }
}

/// One algorithm as `-z` names it.
#[derive(Debug, Clone, Copy)]
pub struct AlgorithmOptions {
    /// The row of the table.
    pub algorithm: &'static erofs_encode::Algorithm,
    /// Effort, one of the algorithm's levels.
    pub level: i32,
    /// Dictionary size in bytes; `None` for the algorithm's own choice.
    pub dict_size: Option<u32>,
    /// What only LZMA has.
    pub lzma: LzmaBits,
}

/// Which files are stored compressed. Linux shares pages between two images only where both store a file
/// compressed, or neither does, so the rule depends on content and options alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressClass {
    /// Those that become at least a block smaller.
    Auto,
    /// All that are not empty.
    Always,
    /// None.
    Never,
}

/// How places of pclusters are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexForm {
    /// 2 or 4 bytes per block of content where that holds everything, else 8 (`z_erofs_lcluster_index`).
    Compact,
    /// 8 bytes per block of content (`-E legacy-compress`).
    Full,
    /// One record per pcluster, whose bytes may start anywhere (`-E 48bit`, Linux 6.15).
    Extents,
}

/// What goes to the packed inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentOptions {
    /// Whole files, not only small ones and ends (`-E all-fragments`).
    pub all: bool,
    /// The largest pcluster of the packed inode in bytes (`-E fragments=SIZE`).
    pub pcluster_size: u32,
    /// Equal fragments are stored once.
    pub dedupe: bool,
}

/// A line of a file of hints.
#[derive(Debug, Clone)]
pub struct CompressHint {
    /// What the path in the image, without a slash at its start, has to match somewhere.
    pub pattern: regex::bytes::Regex,
    /// The largest pcluster in bytes; 0 leaves the file uncompressed.
    pub pcluster_size: u32,
    /// Index of the algorithm.
    pub algorithm: usize,
}

/// Where zeros of regular files take no space. A file with a hole is chunk-based, which Linux reads from 5.15
/// on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoleRule {
    /// As [`Self::Always`] where the options need Linux 5.15 or newer anyway; else only where a hole saves a
    /// mebibyte.
    ByNeed,
    /// Wherever a hole saves space (`-E holes`).
    Always,
    /// Nowhere (`-E ^holes`).
    Never,
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
    /// A fresh hasher, if fingerprints are computed.
    pub(crate) fn hasher(&self) -> Option<Box<dyn Hasher>> {
        match self.value {
            FingerprintValue::Computed { kind, namespace } => Some((kind.hasher)(namespace)),
            FingerprintValue::Source => None,
        }
    }

    /// What each of these contents gets: a fingerprint, if there are options and fingerprints are computed.
    pub(crate) fn each(options: Option<&Self>, contents: &[&[u8]]) -> Vec<Option<Fingerprint>> {
        match options.map(|options| options.value) {
            Some(FingerprintValue::Computed { kind, namespace }) => {
                (kind.each)(namespace, contents).into_iter().map(Some).collect()
            }
            Some(FingerprintValue::Source) | None => vec![None; contents.len()],
        }
    }

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
#[expect(clippy::struct_excessive_bools, reason = "one for each word of the command line that is on or off")]
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
    /// The image's size becomes a multiple of this many blocks, rounded up to a power of two
    /// (`--fsalignblks`).
    pub fsalignblks: u32,
    /// All inodes stand in one that is compressed (`-m`, Linux 6.17).
    pub metabox: Option<MetaboxOptions>,
    /// Directories go to the packed inode, which is compressed (`--zD`); needs compressed contents.
    pub pack_directories: bool,
    /// The superblock is that of 48-bit block addresses in any case (`-E 48bit`, Linux 6.15).
    pub wide: bool,
    /// Directories have no entry for themselves (`-E dot-omitted`, Linux 6.15).
    pub dot_omitted: bool,
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
            metabox: None,
            pack_directories: false,
            wide: false,
            dot_omitted: false,
        }
    }
}

/// How the inode that holds the others is stored.
#[derive(Debug, Clone, Copy)]
pub struct MetaboxOptions {
    /// Its largest pcluster in bytes: a multiple of the block size up to 1 MiB.
    pub pcluster_size: u32,
    /// `None` leaves it uncompressed.
    pub algorithm: Option<AlgorithmOptions>,
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
    /// Whether the superblock is that of 48-bit block addresses. The nid of a root in the metabox needs it
    /// too.
    pub(crate) fn is_wide(&self) -> bool {
        let extents = |compression: &CompressionOptions| compression.index == IndexForm::Extents;
        self.layout.metabox.is_some()
            || self.layout.dot_omitted
            || self.layout.wide
            || self.content.compression.as_ref().is_some_and(extents)
    }

    /// The first kernel that mounts any image with these options, as far as the options alone tell.
    fn kernel_floor(&self) -> KernelVersion {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        let content = &self.content;
        let has_prefixes = content.fingerprint.is_some() || !self.layout.xattr_prefixes.is_empty();
        let mut bits = bit(has_prefixes, incompat::XATTR_PREFIXES)
            | bit(self.is_wide(), incompat::BIT48)
            | bit(self.layout.metabox.is_some(), incompat::METABOX)
            | bit(content.chunks.is_some(), incompat::CHUNKED_FILE);
        let mut newest = KernelVersion(0, 0);
        if let Some(compression) = &content.compression {
            bits |= bit(compression.head2.is_some(), incompat::COMPR_HEAD2)
                | bit(compression.tail_packing, incompat::ZTAILPACKING)
                | bit(compression.fragments.is_some(), incompat::FRAGMENTS);
            let (major, minor) =
                compression.algorithms.iter().map(|row| row.algorithm.first_kernel).max().unwrap_or((0, 0));
            newest = KernelVersion(major, minor);
        }
        feature::first_kernel(bits, content.block_bits).max(newest)
    }

    /// How many threads work.
    pub(crate) fn workers(&self) -> usize {
        erofs_threads::count(self.threads)
    }

    /// The least size of chunks, as a power of two of bytes: a block, and with fingerprints a page. A page
    /// that has more than one extent breaks Linux 7.2 and 7.3 where its file is read through shared pages,
    /// because a hidden inode has blocks of a page (`erofs_ishare_fill_inode`).
    pub fn least_chunk_bits(&self) -> u8 {
        let block = self.content.block_bits.bits();
        if self.content.fingerprint.is_some() { block.max(PAGE_BITS) } else { block }
    }

    /// The least unit in which holes are looked for, as a power of two of bytes; `None` for no holes.
    pub(crate) fn hole_bits(&self) -> Option<u8> {
        let least = self.least_chunk_bits();
        match self.content.holes {
            HoleRule::Never => None,
            HoleRule::Always => Some(least),
            HoleRule::ByNeed if self.kernel_floor() >= CHUNKED_SINCE => Some(least),
            HoleRule::ByNeed => Some(least.max(LARGE_HOLE_BITS)),
        }
    }

    /// Refuses options that exclude each other and values out of range.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), OptionError> {
        let label = &self.layout.volume_label;
        if label.len() > LABEL_MAX || label.contains(&0) {
            let want = format!("at most {LABEL_MAX} without NUL");
            return Err(OptionError::new(Field::VolumeLabel, words::bytes(label.len()), want));
        }
        self.check_chunks()?;
        self.check_compression()?;
        self.check_metabox()?;
        if let Some(FingerprintOptions { value: FingerprintValue::Computed { kind, namespace }, .. }) =
            &self.content.fingerprint
            && kind.needs_namespace
            && namespace.is_nil()
        {
            let want = format!("one for fingerprints of kind {}", kind.name);
            return Err(OptionError::new(Field::FingerprintNamespace, "none", want));
        }
        Ok(())
    }

    fn check_chunks(&self) -> Result<(), OptionError> {
        const MOST: u8 = erofs_format::datalayout::chunk::CHUNK_BITS_MAX;
        let Some(ChunkOptions { bits }) = self.content.chunks else { return Ok(()) };
        let block = self.content.block_bits.bits();
        if (block..self.least_chunk_bits()).contains(&bits) {
            let found = words::bytes(1_u64 << bits);
            let want = format!(
                "at least {} with fingerprints: Linux 7.2 and 7.3 return wrong data or crash where a shared \
                 page has several chunks",
                1_u64 << PAGE_BITS
            );
            return Err(OptionError::new(Field::ChunkSize, found, want));
        }
        if !(block..=MOST).contains(&bits) {
            let want = format!("2^{block} (the block size) to 2^{MOST}");
            return Err(OptionError::new(Field::ChunkSize, format!("2^{bits} bytes"), want));
        }
        Ok(())
    }

    fn check_compression(&self) -> Result<(), OptionError> {
        let Some(compression) = &self.content.compression else {
            let wanted = self.layout.pack_directories;
            let error = || {
                let want = "compressed contents beside them";
                OptionError::new(Field::PackedDirectories, "contents that are not compressed", want)
            };
            return if wanted { Err(error()) } else { Ok(()) };
        };
        compression.check_head2()?;
        let (most, block) = (compression.largest_pcluster(), self.content.block_bits.size());
        // `CBLKCNT` is a bit beside them, so an index tells up to 2047 blocks.
        if compression.index != IndexForm::Extents && u64::from(most) / block > 2047 {
            let want = format!("at most 2047 blocks of {block} bytes, or extent records");
            return Err(OptionError::new(Field::PclusterSize, words::bytes(most), want));
        }
        Ok(())
    }

    fn check_metabox(&self) -> Result<(), OptionError> {
        let Some(MetaboxOptions { pcluster_size, .. }) = self.layout.metabox else { return Ok(()) };
        let block = self.content.block_bits.size();
        let is_whole = pcluster_size != 0 && u64::from(pcluster_size).is_multiple_of(block);
        if is_whole && pcluster_size <= PCLUSTER_MAX_SIZE {
            return Ok(());
        }
        let want = format!("a multiple of {block} (the block size) up to {PCLUSTER_MAX_SIZE}");
        Err(OptionError::new(Field::MetadataPclusterSize, words::bytes(pcluster_size), want))
    }
}
