//! Opening an image: superblock, checksum, devices, metabox, long xattr prefixes; and what is found by nid
//! from there on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use erofs_format::compression::{Algorithm, Configs};
use erofs_format::feature::{compat, incompat};
use erofs_format::superblock::{self, Superblock};
use erofs_format::words;
use erofs_format::xattr_prefix::{self, LongPrefix};
use erofs_format::{BlkAddr, FormatError, Nid, compression};

use crate::budget::{Limits, Work};
use crate::cache::Cached;
use crate::context::{Compression, Context};
use crate::data::FileData;
use crate::device::{Devices, PRIMARY};
use crate::error::{Cause, ImageError, Result};
use crate::inode::Inode;
use crate::read_at::{FileSource, OffsetView, ReadAt};
use crate::space::{Space, read_exactly};

/// What messages call the metabox.
const METABOX: &str = "the metabox";

/// How an image is opened.
///
/// ```no_run
/// # use std::path::{Path, PathBuf};
/// let image = erofs_image::OpenOptions::new().devices(["data.img"]).open(Path::new("meta.img"))?;
/// # Ok::<(), erofs_image::ImageError>(())
/// ```
#[derive(Debug, Clone)]
pub struct OpenOptions {
    devices: Vec<PathBuf>,
    offset: u64,
    cached: bool,
    verify_checksum: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { devices: Vec::new(), offset: 0, cached: false, verify_checksum: true }
    }
}

impl OpenOptions {
    /// No extra devices, the image at the start of the file, nothing cached, and the checksum compared.
    pub fn new() -> Self {
        Self::default()
    }

    /// The extra devices, in the order of the device table: all of them, or none; see [`Image::open`].
    #[must_use]
    pub fn devices<P: Into<PathBuf>>(mut self, devices: impl IntoIterator<Item = P>) -> Self {
        self.devices = devices.into_iter().map(Into::into).collect();
        self
    }

    /// How many bytes into the file or block device the image starts.
    #[must_use]
    pub fn offset(mut self, bytes: u64) -> Self {
        self.offset = bytes;
        self
    }

    /// Whether small reads are served from windows of the image that are kept in memory (see
    /// [`crate::cache`]), which takes 1 MiB more: for walks.
    #[must_use]
    pub fn cached(mut self, cached: bool) -> Self {
        self.cached = cached;
        self
    }

    /// Whether the superblock's checksum is compared, where it has one, as Linux does.
    #[must_use]
    pub fn verify_checksum(mut self, verify: bool) -> Self {
        self.verify_checksum = verify;
        self
    }

    /// Opens the image at `path`.
    ///
    /// # Errors
    /// What [`Image::open`] refuses, and files that are neither regular files nor block devices.
    pub fn open(&self, path: &Path) -> Result<Image> {
        let primary = OffsetView::new(FileSource::open(path)?, self.offset);
        let primary: Arc<dyn ReadAt> =
            if self.cached { Arc::new(Cached::new(primary)) } else { Arc::new(primary) };
        let mut devices: Vec<Arc<dyn ReadAt>> = Vec::new();
        for device in &self.devices {
            let named = |error: ImageError| Cause::Source(format!("{}: {error}", device.display()));
            devices.push(Arc::new(FileSource::open(device).map_err(named)?));
        }
        Image::open(primary, devices, self)
    }
}

/// An open image. Everything is read when it is asked for; nothing is cached but what the superblock leads
/// to.
#[derive(Debug)]
pub struct Image {
    superblock: Superblock,
    devices: Arc<Devices>,
    configs: Configs,
    context: Arc<Context>,
    packed: Option<FileData>,
    space: Space,
    metabox: Option<Space>,
    prefixes: Vec<LongPrefix>,
}

impl Image {
    /// Opens the image at `path`, which starts `offset` bytes into the file: [`OpenOptions::open`] in short.
    pub fn open_path(path: &Path, extra: &[impl AsRef<Path>], offset: u64) -> Result<Self> {
        OpenOptions::new().devices(extra.iter().map(AsRef::as_ref)).offset(offset).open(path)
    }

    /// Opens the image whose first byte is the first of `primary`. `extra` are the extra devices in the order
    /// of the device table; without any, the primary device must hold the unified address space, as in Linux.
    ///
    /// Refused is what Linux refuses to mount: a wrong superblock, checksum, device count, compression
    /// configuration, or prefix table, and a packed or metabox inode that cannot be read.
    pub fn open(
        primary: Arc<dyn ReadAt>,
        extra: Vec<Arc<dyn ReadAt>>,
        options: &OpenOptions,
    ) -> Result<Self> {
        let superblock = read_superblock(primary.as_ref())?;
        if options.verify_checksum && superblock.compat & compat::SB_CHKSUM != 0 {
            let mut covered = vec![0; superblock::checksum_span(superblock.block_bits)];
            read_exactly(primary.as_ref(), PRIMARY, "superblock", superblock::OFFSET, &mut covered)?;
            superblock::verify_checksum(&superblock, &covered)?;
        }
        let devices = Arc::new(Devices::open(primary, extra, &superblock)?);
        let base = superblock.block_bits.byte_of(BlkAddr(u64::from(superblock.meta_blkaddr)))?;
        let space = Space::new(Arc::clone(devices.primary()), PRIMARY, base);
        let configs = read_configs(primary_of(&devices), &superblock)?;
        let work = Arc::new(Work::new(&limits_of(&superblock, &devices)));
        let context = Arc::new(context_of(&superblock, &configs, work));
        let mut image = Self {
            superblock,
            devices,
            configs,
            context,
            packed: None,
            space,
            metabox: None,
            prefixes: Vec::new(),
        };
        if image.has_incompat(incompat::METABOX) {
            let data = image.special_data(image.superblock.metabox_nid)?;
            image.metabox = Some(Space::new(Arc::new(data), METABOX, 0));
        }
        if image.has_incompat(incompat::FRAGMENTS) && image.superblock.packed_nid != Nid(0) {
            // The context of the packed inode has none, so that no fragment leads to a fragment.
            let data = image.special_data(image.superblock.packed_nid)?;
            let packed: Option<Arc<dyn ReadAt>> = Some(Arc::new(data.clone()));
            image.context = Arc::new(Context { packed, ..Context::clone(&image.context) });
            image.packed = Some(data);
        }
        image.prefixes = image.read_prefixes()?;
        Ok(image)
    }

    fn has_incompat(&self, bit: u32) -> bool {
        self.superblock.incompat & bit != 0
    }

    /// The content of an inode that holds metadata or fragments.
    fn special_data(&self, nid: Nid) -> Result<FileData> {
        let inode = self.inode(nid)?;
        if !inode.is_file() {
            return Err(ImageError::from(Cause::NotAFile { found: inode.file_type.name() }).at_nid(nid));
        }
        self.data(&inode)
    }

    /// Where the prefix table is: on the device, in the metabox, or in the packed inode
    /// (`erofs_xattr_prefixes_init` and `erofs_fc_fill_super`).
    fn prefix_space(&self) -> Space {
        if self.superblock.compat & compat::PLAIN_XATTR_PFX != 0 {
            Space::new(Arc::clone(self.devices.primary()), PRIMARY, 0)
        } else if let Some(metabox) = &self.metabox {
            metabox.clone()
        } else if let Some(packed) = &self.packed {
            Space::new(Arc::new(packed.clone()), "the packed inode", 0)
        } else {
            Space::new(Arc::clone(self.devices.primary()), PRIMARY, 0)
        }
    }

    fn read_prefixes(&self) -> Result<Vec<LongPrefix>> {
        let count = self.superblock.xattr_prefix_count;
        if count == 0 {
            return Ok(Vec::new());
        }
        let space = self.prefix_space();
        let mut at = u64::from(self.superblock.xattr_prefix_start).saturating_mul(xattr_prefix::START_UNIT);
        let mut prefixes = Vec::new();
        for _ in 0..count {
            let bytes = space.read_up_to("xattr_long_prefix", at, 1, xattr_prefix::SIZE_MAX)?;
            let (prefix, size) = LongPrefix::decode(&bytes, at)?;
            prefixes.push(prefix);
            at = at.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        }
        Ok(prefixes)
    }

    /// The superblock.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The devices.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The most that is to be read of the image; see [`crate::budget`].
    pub fn limits(&self) -> Limits {
        limits_of(&self.superblock, &self.devices)
    }

    /// Length of the primary device in bytes, from the start of the image on.
    pub fn primary_len(&self) -> u64 {
        self.devices.primary().len()
    }

    /// The table of long xattr prefixes. It was read when the image was opened.
    pub fn prefixes(&self) -> &[LongPrefix] {
        &self.prefixes
    }

    /// The configurations of the compression algorithms; none without the feature `COMPR_CFGS`.
    pub fn compression_configs(&self) -> &Configs {
        &self.configs
    }

    /// The packed inode, where fragments are.
    pub fn packed(&self) -> Option<&FileData> {
        self.packed.as_ref()
    }

    /// The long prefix that names the fingerprints; `None` without the feature `ISHARE_XATTRS`.
    pub fn ishare_prefix(&self) -> Result<Option<&LongPrefix>> {
        if self.superblock.compat & compat::ISHARE_XATTRS == 0 {
            return Ok(None);
        }
        // The superblock's decoder has held the number against the count.
        Ok(self.prefixes().get(usize::from(self.superblock.ishare_xattr_prefix_id)))
    }

    /// The compression algorithms that the image announces, for messages.
    pub fn algorithms(&self) -> Vec<&'static str> {
        compression::announced(&self.superblock)
    }

    /// The metadata space in which the inode `nid` stands.
    pub(crate) fn space_of(&self, nid: Nid) -> Result<&Space> {
        if !nid.in_metabox() {
            return Ok(&self.space);
        }
        self.metabox.as_ref().ok_or_else(|| Cause::NoMetabox { nid: nid.0 }.into())
    }

    /// The space in which shared xattrs stand, and the byte where they start.
    pub(crate) fn shared_xattrs(&self) -> Result<(&Space, u64)> {
        let start = self.superblock.block_bits.byte_of(BlkAddr(u64::from(self.superblock.xattr_blkaddr)))?;
        if self.superblock.compat & compat::SHARED_EA_IN_METABOX == 0 {
            return Ok((&self.space, start));
        }
        Ok((self.space_of(Nid(Nid::METABOX_BIT))?, start))
    }

    /// Reads an inode.
    pub fn inode(&self, nid: Nid) -> Result<Inode> {
        Inode::read(self.space_of(nid).map_err(|error| error.at_nid(nid))?, &self.superblock, nid)
    }

    /// The root directory.
    pub fn root(&self) -> Result<Inode> {
        let root = self.inode(self.superblock.root_nid)?;
        if root.is_dir() {
            return Ok(root);
        }
        let wrong = Cause::NotADirectory { found: root.file_type.name() };
        Err(ImageError::from(wrong).at_nid(root.nid).at_path(b"/"))
    }

    /// The content of an inode.
    pub fn data(&self, inode: &Inode) -> Result<FileData> {
        let space = self.space_of(inode.nid)?.clone();
        FileData::open(Arc::clone(&self.devices), space, &self.context, *inode)
    }

    /// Where a symbolic link leads: 1 to 4095 bytes without NUL, as Linux takes them.
    pub fn link_target(&self, inode: &Inode) -> Result<Vec<u8>> {
        let wrong = |found: String| {
            let want = format!("1 to {SYMLINK_MAX} bytes without NUL");
            ImageError::from(FormatError::field("symbolic link", inode.at, found, want)).at_nid(inode.nid)
        };
        let length = usize::try_from(inode.size()).ok().filter(|length| (1..=SYMLINK_MAX).contains(length));
        let Some(length) = length.filter(|_| inode.is_symlink()) else {
            return Err(wrong(format!("a {} of {}", inode.file_type.name(), words::bytes(inode.size()))));
        };
        let mut target = vec![0; length];
        self.data(inode)?.read_range(0, &mut target)?;
        if target.contains(&0) { Err(wrong("a NUL byte".into())) } else { Ok(target) }
    }
}

/// The longest target of a symbolic link, in bytes (`PATH_MAX` without its NUL).
pub const SYMLINK_MAX: usize = 4095;

fn read_superblock(primary: &dyn ReadAt) -> Result<Superblock> {
    let mut bytes = vec![0; superblock::BASE_SIZE];
    read_exactly(primary, PRIMARY, "superblock", superblock::OFFSET, &mut bytes)?;
    let size = superblock::announced_size(&bytes)?;
    bytes.resize(size, 0);
    read_exactly(primary, PRIMARY, "superblock", superblock::OFFSET, &mut bytes)?;
    Ok(Superblock::decode(&bytes)?)
}

fn primary_of(devices: &Devices) -> &dyn ReadAt {
    devices.primary().as_ref()
}

/// The compression configurations (`z_erofs_parse_cfgs`).
fn read_configs(primary: &dyn ReadAt, superblock: &Superblock) -> Result<Configs> {
    if superblock.incompat & incompat::COMPR_CFGS == 0 {
        return Ok(Configs::default());
    }
    let at = compression::records_at(superblock.extslots);
    let left = usize::try_from(primary.len().saturating_sub(at)).unwrap_or(usize::MAX);
    let mut parsed = Ok(Configs::default());
    // Records as long as the format lets them be are read only where short ones do not do.
    for limit in [CONFIGS_USUAL, compression::RECORDS_MAX] {
        let mut bytes = vec![0; left.min(limit)];
        read_exactly(primary, PRIMARY, "compression configurations", at, &mut bytes)?;
        parsed = Configs::decode(superblock.compression, &bytes, at, superblock.block_bits);
        if !matches!(parsed, Err(FormatError::Short { .. })) {
            break;
        }
    }
    Ok(parsed?)
}

/// How many bytes the configurations of all algorithms take today, rounded up.
const CONFIGS_USUAL: usize = 64;

/// How far back the data of each algorithm refers at most, in bytes. DEFLATE always has its longest window in
/// Linux.
fn windows(superblock: &Superblock, configs: &Configs) -> [(Algorithm, u32); 4] {
    // Without configurations the field is LZ4's distance.
    let distance = configs.lz4.map_or(superblock.compression, |lz4| lz4.max_distance);
    let power = |bits: u8| 1_u32.checked_shl(u32::from(bits));
    Algorithm::ALL.map(|algorithm| {
        let announced = match algorithm {
            Algorithm::Lz4 => Some(u32::from(distance)).filter(|distance| *distance > 0),
            Algorithm::Lzma => configs.lzma_dict_size,
            Algorithm::Deflate => None,
            Algorithm::Zstd => configs.zstd_windowlog.and_then(power),
        };
        (algorithm, announced.unwrap_or_else(|| erofs_decode::widest(algorithm)))
    })
}

fn limits_of(superblock: &Superblock, devices: &Devices) -> Limits {
    let compressed = !compression::announced_algorithms(superblock).is_empty();
    Limits::of(devices.total_len(), compressed, superblock.incompat & incompat::METABOX != 0)
}

fn context_of(superblock: &Superblock, configs: &Configs, work: Arc<Work>) -> Context {
    let algorithms = compression::announced_algorithms(superblock);
    let compression = Compression {
        block_bits: superblock.block_bits,
        announced: algorithms.iter().fold(0, |bits, algorithm| bits | algorithm.bit()),
        big_pclusters: superblock.incompat & incompat::COMPR_CFGS != 0,
    };
    let lz4_padding = superblock.incompat & incompat::LZ4_0PADDING != 0;
    let windows = windows(superblock, configs);
    Context { compression, lz4_padding, windows, work, packed: None }
}
