//! The superblock: 128 bytes at byte 1024, more where `sb_extslots` says so (`struct erofs_super_block`).
//!
//! ```text
//!   0 magic       4 checksum    8 compat     12 blkszbits 13 extslots 14 rootnid_2b | blocks_hi
//!  16 inos       24 epoch                    32 fixed_nsec           36 blocks_lo
//!  40 meta_blkaddr  44 xattr_blkaddr         48 uuid[16]             64 volume_name[16]
//!  80 incompat   84 compression  86 devices 88 devt_slotoff 90 dirblkbits 91 prefix_count 92 prefix_start
//!  96 packed_nid 104 filter_off 105 ishare_prefix 106 0   108 build_time  112 rootnid_8b  120 reserved
//! 128 metabox_nid 136 reserved   (only with one extension slot or more)
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::algorithm::Algorithm;
use crate::error::{FormatError, Rule};
use crate::feature::{
    self, CORE_SINCE, KernelNeed, KernelVersion, SUBPAGE_BLOCKS_SINCE, check_incompat, incompat,
};
use crate::units::{BlockBits, Nid};

/// Where the superblock starts, in bytes from the start of the image (`EROFS_SUPER_OFFSET`).
pub const OFFSET: u64 = 1024;
/// The length of a superblock without extension slots, in bytes.
pub const BASE_SIZE: usize = 128;
/// The length of one extension slot, in bytes (`EROFS_SB_EXTSLOT_SIZE`).
pub const EXTSLOT_SIZE: usize = 16;
/// The magic number (`EROFS_SUPER_MAGIC_V1`).
pub const MAGIC: u32 = 0xE0F5_E1E2;
/// The longest volume label that tools write, in bytes; the field has 16, the last one stays NUL.
pub const LABEL_MAX: usize = 15;
/// The largest root nid that a superblock without the 48-bit feature holds.
pub const ROOT_NID_MAX: u64 = 0xffff;

const EXTSLOTS_AT: usize = 13;
const CHECKSUM_AT: usize = 4;
const CHECKSUM_END: usize = 8;

/// The bytes of the superblock, extension slot for the metabox included.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Record {
    magic: U32,
    checksum: U32,
    feature_compat: U32,
    blkszbits: u8,
    sb_extslots: u8,
    rootnid_2b_or_blocks_hi: U16,
    inos: U64,
    epoch: U64,
    fixed_nsec: U32,
    blocks_lo: U32,
    meta_blkaddr: U32,
    xattr_blkaddr: U32,
    uuid: [u8; 16],
    volume_name: [u8; 16],
    feature_incompat: U32,
    compression: U16,
    extra_devices: U16,
    devt_slotoff: U16,
    dirblkbits: u8,
    xattr_prefix_count: u8,
    xattr_prefix_start: U32,
    packed_nid: U64,
    xattr_filter_reserved: u8,
    ishare_xattr_prefix_id: u8,
    reserved: [u8; 2],
    build_time: U32,
    rootnid_8b: U64,
    reserved2: U64,
    metabox_nid: U64,
    reserved3: U64,
}

const _: () = assert!(size_of::<Record>() == BASE_SIZE + EXTSLOT_SIZE);
const _: () = assert!(std::mem::offset_of!(Record, ishare_xattr_prefix_id) == 0x69);
const _: () = assert!(std::mem::offset_of!(Record, checksum) == CHECKSUM_AT);
const _: () = assert!(std::mem::offset_of!(Record, sb_extslots) == EXTSLOTS_AT);

/// The superblock as values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Checksum as stored; meaningful with `feature::compat::SB_CHKSUM`.
    pub checksum: u32,
    /// Compatible features.
    pub compat: u32,
    /// Incompatible features.
    pub incompat: u32,
    /// Block size.
    pub block_bits: BlockBits,
    /// Extension slots of 16 bytes behind the first 128.
    pub extslots: u8,
    /// The root directory.
    pub root_nid: Nid,
    /// How many inodes there are, as [`stated_inodes`] states it; for `statfs` only.
    pub inodes: u64,
    /// Modification time of compact inodes, in seconds since 1970; with the 48-bit layout the base of theirs.
    pub epoch: i64,
    /// Nanoseconds of compact inodes' times, below 10^9.
    pub fixed_nsec: u32,
    /// Blocks of the primary device; for `statfs` only.
    pub blocks: u64,
    /// First block of the metadata area, from which nids count.
    pub meta_blkaddr: u32,
    /// First block of the shared xattr area.
    pub xattr_blkaddr: u32,
    /// The volume's UUID.
    pub uuid: [u8; 16],
    /// The label, padded with NUL.
    pub volume_name: [u8; 16],
    /// Bitmap of compression algorithms, or LZ4's maximum distance where there are no configurations.
    pub compression: u16,
    /// Devices beside the primary one.
    pub extra_devices: u16,
    /// Start of the device table, in slots of 128 bytes.
    pub devt_slotoff: u16,
    /// Directory blocks are this many powers of two larger than blocks; always 0 today.
    pub dirblkbits: u8,
    /// Long xattr name prefixes.
    pub xattr_prefix_count: u8,
    /// Start of the long xattr name prefixes, in units of 4 bytes.
    pub xattr_prefix_start: u32,
    /// The packed inode, 0 if there is none.
    pub packed_nid: Nid,
    /// Not 0: the xattr name filters mean nothing.
    pub xattr_filter_reserved: u8,
    /// Which long prefix names the fingerprints; meaningful with `feature::compat::ISHARE_XATTRS`.
    pub ishare_xattr_prefix_id: u8,
    /// When the image was made, in seconds after `epoch`.
    pub build_time: u32,
    /// The metabox inode; meaningful with `feature::incompat::METABOX`.
    pub metabox_nid: Nid,
}

impl Default for Superblock {
    fn default() -> Self {
        Self {
            checksum: 0,
            compat: 0,
            incompat: 0,
            block_bits: BlockBits::DEFAULT,
            extslots: 0,
            root_nid: Nid(0),
            inodes: 0,
            epoch: 0,
            fixed_nsec: 0,
            blocks: 0,
            meta_blkaddr: 0,
            xattr_blkaddr: 0,
            uuid: [0; 16],
            volume_name: [0; 16],
            compression: 0,
            extra_devices: 0,
            devt_slotoff: 0,
            dirblkbits: 0,
            xattr_prefix_count: 0,
            xattr_prefix_start: 0,
            packed_nid: Nid(0),
            xattr_filter_reserved: 0,
            ishare_xattr_prefix_id: 0,
            build_time: 0,
            metabox_nid: Nid(0),
        }
    }
}

/// The absolute byte of a superblock field, for messages.
fn at(field_offset: usize) -> u64 {
    OFFSET.saturating_add(crate::error::units_u64(field_offset))
}

impl Superblock {
    /// Reads a superblock from the bytes that start at [`OFFSET`]; at least [`BASE_SIZE`], with the extension
    /// slots that it announces. Refuses what Linux refuses: magic, block size, directory block size, unknown
    /// incompatible features, a fingerprint prefix out of range, a metabox inode in the metabox. The checksum
    /// is not checked here: see [`verify_checksum`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let base = bytes
            .get(..BASE_SIZE)
            .ok_or_else(|| FormatError::short("superblock", OFFSET, bytes.len(), BASE_SIZE))?;
        let mut padded = [0_u8; size_of::<Record>()];
        let size = announced_size(base)?;
        let whole =
            bytes.get(..size).ok_or_else(|| FormatError::short("superblock", OFFSET, bytes.len(), size))?;
        for (to, from) in padded.iter_mut().zip(whole) {
            *to = *from;
        }
        let record: Record = zerocopy::transmute!(padded);
        let value = Self::from_record(&record)?;
        value.check(&record)?;
        Ok(value)
    }

    /// The first kernel that mounts the image, on a machine with 4096-byte pages: the newest that a feature,
    /// the block size or an announced algorithm needs.
    pub fn first_kernel(&self) -> KernelVersion {
        self.kernel_needs().first().map_or(CORE_SINCE, |need| need.since.max(CORE_SINCE))
    }

    /// What makes the image need a kernel newer than [`CORE_SINCE`], on a machine with 4096-byte pages, the
    /// newest need first (`z_erofs_parse_cfgs` refuses algorithms that the kernel does not know).
    pub fn kernel_needs(&self) -> Vec<KernelNeed> {
        let need = |name: String, since| KernelNeed { name, since };
        let features = feature::incompatible(self.incompat, self.extra_devices != 0);
        let features = features.map(|feature| need(feature.name.to_owned(), feature.since));
        // Without configurations the field is LZ4's distance.
        let announced = if self.incompat & incompat::COMPR_CFGS == 0 { 0 } else { self.compression };
        let algorithms = Algorithm::ALL.into_iter().filter(|algorithm| announced & algorithm.bit() != 0);
        let algorithms = algorithms.map(|algorithm| need(algorithm.name().to_owned(), algorithm.since()));
        let block = self.block_bits.size();
        let blocks = (self.block_bits != BlockBits::DEFAULT)
            .then(|| need(format!("blocks of {block} bytes"), SUBPAGE_BLOCKS_SINCE));
        let mut needs: Vec<KernelNeed> =
            features.chain(algorithms).chain(blocks).filter(|need| need.since > CORE_SINCE).collect();
        needs.sort_by_key(|need| std::cmp::Reverse(need.since));
        needs
    }

    fn from_record(record: &Record) -> Result<Self, FormatError> {
        check_magic(record.magic.get())?;
        let block_bits = BlockBits::new(record.blkszbits)
            .ok_or_else(|| FormatError::field("superblock.blkszbits", at(12), record.blkszbits, "9 to 16"))?;
        let incompat = record.feature_incompat.get();
        check_incompat(incompat, at(80))?;
        let wide = incompat & incompat::BIT48 != 0 && record.rootnid_8b.get() != 0;
        let low = u64::from(record.blocks_lo.get());
        let half = record.rootnid_2b_or_blocks_hi.get();
        Ok(Self {
            checksum: record.checksum.get(),
            compat: record.feature_compat.get(),
            incompat,
            block_bits,
            extslots: record.sb_extslots,
            root_nid: Nid(if wide { record.rootnid_8b.get() } else { u64::from(half) }),
            inodes: record.inos.get(),
            epoch: record.epoch.get().cast_signed(),
            fixed_nsec: record.fixed_nsec.get(),
            blocks: if wide { low | (u64::from(half) << 32) } else { low },
            meta_blkaddr: record.meta_blkaddr.get(),
            xattr_blkaddr: record.xattr_blkaddr.get(),
            uuid: record.uuid,
            volume_name: record.volume_name,
            compression: record.compression.get(),
            extra_devices: record.extra_devices.get(),
            devt_slotoff: record.devt_slotoff.get(),
            dirblkbits: record.dirblkbits,
            xattr_prefix_count: record.xattr_prefix_count,
            xattr_prefix_start: record.xattr_prefix_start.get(),
            packed_nid: Nid(record.packed_nid.get()),
            xattr_filter_reserved: record.xattr_filter_reserved,
            ishare_xattr_prefix_id: record.ishare_xattr_prefix_id,
            build_time: record.build_time.get(),
            metabox_nid: Nid(record.metabox_nid.get()),
        })
    }

    fn check(&self, record: &Record) -> Result<(), FormatError> {
        if self.dirblkbits != 0 {
            return Err(FormatError::field("superblock.dirblkbits", at(90), self.dirblkbits, "0"));
        }
        if self.fixed_nsec >= 1_000_000_000 {
            return Err(FormatError::field(
                "superblock.fixed_nsec",
                at(32),
                self.fixed_nsec,
                "0 to 999999999",
            ));
        }
        let ishare = self.compat & feature::compat::ISHARE_XATTRS != 0;
        if ishare && self.ishare_xattr_prefix_id >= self.xattr_prefix_count {
            let want = format!("an index below xattr_prefix_count, which is {}", self.xattr_prefix_count);
            return Err(FormatError::field(
                "superblock.ishare_xattr_prefix_id",
                at(0x69),
                self.ishare_xattr_prefix_id,
                want,
            ));
        }
        if self.incompat & incompat::METABOX != 0 {
            if record.sb_extslots == 0 {
                return Err(FormatError::field(
                    "superblock.sb_extslots",
                    at(13),
                    0,
                    "at least 1 with the metabox feature",
                ));
            }
            if self.metabox_nid.in_metabox() {
                let found = format!("{:#x}", self.metabox_nid.0);
                return Err(FormatError::field(
                    "superblock.metabox_nid",
                    at(128),
                    found,
                    "a nid outside the metabox",
                ));
            }
        }
        Ok(())
    }

    /// The bytes of this superblock, 128 and 16 for each extension slot, with `checksum` as it stands. An
    /// error if a value has no room: root nid above 65,535 or more than 2^32 blocks without the 48-bit
    /// feature.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let wide = self.incompat & incompat::BIT48 != 0;
        let (half, rootnid_8b) = if wide {
            let hi = u16::try_from(self.blocks >> 32)
                .map_err(|_| FormatError::limit("blocks of the image", self.blocks, "fewer than 2^48"))?;
            (hi, self.root_nid.0)
        } else {
            let root = u16::try_from(self.root_nid.0).map_err(|_| {
                FormatError::limit("nid of the root directory", self.root_nid.0, "0 to 65535")
            })?;
            (root, 0)
        };
        if !wide && self.blocks >> 32 != 0 {
            return Err(FormatError::limit("blocks of the image", self.blocks, "fewer than 2^32"));
        }
        let record = self.to_record(half, rootnid_8b);
        let mut bytes = record.as_bytes().to_vec();
        bytes.resize(record_size(self.extslots), 0);
        Ok(bytes)
    }

    fn to_record(&self, half: u16, rootnid_8b: u64) -> Record {
        Record {
            magic: U32::new(MAGIC),
            checksum: U32::new(self.checksum),
            feature_compat: U32::new(self.compat),
            blkszbits: self.block_bits.bits(),
            sb_extslots: self.extslots,
            rootnid_2b_or_blocks_hi: U16::new(half),
            inos: U64::new(self.inodes),
            epoch: U64::new(self.epoch.cast_unsigned()),
            fixed_nsec: U32::new(self.fixed_nsec),
            blocks_lo: U32::new(u32::try_from(self.blocks & 0xffff_ffff).unwrap_or(u32::MAX)),
            meta_blkaddr: U32::new(self.meta_blkaddr),
            xattr_blkaddr: U32::new(self.xattr_blkaddr),
            uuid: self.uuid,
            volume_name: self.volume_name,
            feature_incompat: U32::new(self.incompat),
            compression: U16::new(self.compression),
            extra_devices: U16::new(self.extra_devices),
            devt_slotoff: U16::new(self.devt_slotoff),
            dirblkbits: self.dirblkbits,
            xattr_prefix_count: self.xattr_prefix_count,
            xattr_prefix_start: U32::new(self.xattr_prefix_start),
            packed_nid: U64::new(self.packed_nid.0),
            xattr_filter_reserved: self.xattr_filter_reserved,
            ishare_xattr_prefix_id: self.ishare_xattr_prefix_id,
            reserved: [0; 2],
            build_time: U32::new(self.build_time),
            rootnid_8b: U64::new(rootnid_8b),
            reserved2: U64::new(0),
            metabox_nid: U64::new(self.metabox_nid.0),
            reserved3: U64::new(0),
        }
    }

    /// The label up to its first NUL byte.
    pub fn label(&self) -> &[u8] {
        self.volume_name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// When the image was made, in seconds since 1970.
    pub fn build_seconds(&self) -> i64 {
        self.epoch.saturating_add(i64::from(self.build_time))
    }
}

/// The length of a superblock with this many extension slots, in bytes.
pub fn record_size(extslots: u8) -> usize {
    usize::from(extslots).saturating_mul(EXTSLOT_SIZE).saturating_add(BASE_SIZE)
}

fn check_magic(found: u32) -> Result<(), FormatError> {
    if found == MAGIC {
        return Ok(());
    }
    Err(FormatError::NotErofs { found, at: at(0), want: MAGIC })
}

/// The length of the superblock that starts `bytes`, which are at least [`BASE_SIZE`] long, extension slots
/// included. An error if the magic number is not there, because then nothing else means anything.
pub fn announced_size(bytes: &[u8]) -> Result<usize, FormatError> {
    let magic = bytes.first_chunk().copied().unwrap_or_default();
    check_magic(u32::from_le_bytes(magic))?;
    let extslots = bytes
        .get(EXTSLOTS_AT)
        .ok_or_else(|| FormatError::short("superblock", OFFSET, bytes.len(), BASE_SIZE))?;
    Ok(record_size(*extslots))
}

/// The magic numbers of minix, versions 1 and 2, in both byte orders (`include/uapi/linux/magic.h`). Its
/// superblock has them at byte 1040, where that of EROFS has the low half of the number of inodes.
const MINIX: [u16; 8] = [0x137f, 0x138f, 0x2468, 0x2478, 0x7f13, 0x8f13, 0x6824, 0x7824];

/// What the superblock of an image with `count` inodes states: `count`, or one more where libblkid up to 2.42
/// would take the image for minix, and neither udev nor mount(8) would see EROFS. Linux only subtracts the
/// number from what `statfs` shows as free inodes (`erofs_statfs`), and fsck.erofs does not look at it.
pub fn stated_inodes(count: u64) -> u64 {
    let is_magic = MINIX.iter().any(|magic| count & 0xffff == u64::from(*magic));
    if is_magic { count.saturating_add(1) } else { count }
}

/// How many bytes from [`OFFSET`] the checksum covers: to the end of the first block, or one block where
/// blocks are no larger than [`OFFSET`] (`erofs_superblock_csum_verify`).
pub fn checksum_span(block_bits: BlockBits) -> usize {
    let block = block_bits.bytes();
    let offset = usize::try_from(OFFSET).unwrap_or(0);
    if block > offset { block.saturating_sub(offset) } else { block }
}

/// The checksum of the superblock that starts `covered`, which is [`checksum_span`] bytes long.
pub fn checksum(covered: &[u8]) -> u32 {
    crate::hash::superblock_crc32c(covered.get(CHECKSUM_END..).unwrap_or_default())
}

/// Stores the checksum of `covered` (see [`checksum`]) in its own field.
pub fn store_checksum(covered: &mut [u8]) {
    let sum = checksum(covered).to_le_bytes();
    if let Some(field) = covered.get_mut(CHECKSUM_AT..CHECKSUM_END) {
        field.copy_from_slice(&sum);
    }
}

/// Compares the stored checksum with that of `covered`.
pub fn verify_checksum(superblock: &Superblock, covered: &[u8]) -> Result<(), FormatError> {
    let want = checksum(covered);
    if superblock.checksum == want {
        return Ok(());
    }
    let found = format!("{:#010x}", superblock.checksum);
    Err(FormatError::field("superblock.checksum", at(CHECKSUM_AT), found, format!("{want:#010x}"))
        .of(Rule::Checksum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        Superblock {
            compat: 0x23,
            incompat: incompat::XATTR_PREFIXES,
            root_nid: Nid(36),
            inodes: 7,
            epoch: -5,
            blocks: 99,
            uuid: *b"0123456789abcdef",
            volume_name: *b"label\0\0\0\0\0\0\0\0\0\0\0",
            xattr_prefix_count: 2,
            ishare_xattr_prefix_id: 1,
            build_time: 8,
            ..Superblock::default()
        }
    }

    #[test]
    fn no_number_of_inodes_is_the_magic_of_minix() {
        for count in (0..3 << 16).chain([u64::from(u32::MAX), u64::MAX]) {
            let stated = stated_inodes(count);
            assert!(
                stated == count
                    || (stated == count + 1 && MINIX.contains(&u16::try_from(count & 0xffff).unwrap()))
            );
            assert!(!MINIX.iter().any(|magic| stated & 0xffff == u64::from(*magic)), "{count}");
        }
    }

    #[test]
    fn decoding_undoes_encoding() {
        let narrow = sample();
        let wide =
            Superblock { incompat: incompat::BIT48, blocks: 1 << 40, root_nid: Nid(1 << 33), ..sample() };
        let metabox =
            Superblock { incompat: incompat::METABOX, extslots: 1, metabox_nid: Nid(40), ..sample() };
        for (name, value, length) in [("narrow", narrow, 128), ("wide", wide, 128), ("metabox", metabox, 144)]
        {
            let bytes = value.encode().unwrap();
            assert_eq!(bytes.len(), length, "{name}");
            assert_eq!(Superblock::decode(&bytes).unwrap(), value, "{name}");
        }
        assert_eq!(sample().label(), b"label");
        assert_eq!(sample().build_seconds(), 3);
    }

    #[test]
    fn the_first_kernel_knows_the_algorithms() {
        let zstd = Algorithm::Zstd.bit();
        for (incompat, compression, want, needs) in [
            (0, 0, "5.4", ""),
            (0, 65_535, "5.4", ""),
            (incompat::LZ4_0PADDING, 65_535, "5.4", ""),
            (incompat::COMPR_CFGS, Algorithm::Lz4.bit(), "5.13", "compr_cfgs"),
            (incompat::COMPR_CFGS, Algorithm::Lzma.bit(), "5.16", "lzma compr_cfgs"),
            (incompat::COMPR_CFGS, Algorithm::Lz4.bit() | zstd, "6.10", "zstd compr_cfgs"),
            (incompat::COMPR_CFGS | incompat::BIT48, zstd, "6.15", "48bit zstd compr_cfgs"),
        ] {
            let superblock = Superblock { incompat, compression, ..Superblock::default() };
            assert_eq!(superblock.first_kernel().to_string(), want, "{incompat:#x} {compression:#x}");
            let names: Vec<String> = superblock.kernel_needs().into_iter().map(|need| need.name).collect();
            assert_eq!(names.join(" "), needs, "{incompat:#x} {compression:#x}");
        }
    }

    #[test]
    fn values_without_room_are_refused() {
        assert!(Superblock { root_nid: Nid(65536), ..sample() }.encode().is_err());
        assert!(Superblock { blocks: 1 << 32, ..sample() }.encode().is_err());
    }

    #[test]
    fn wrong_bytes_are_named() {
        for (at, byte, want) in [
            (0, 0, "not an EROFS image: found the magic number 0xe0f5e100 at byte 1024"),
            (12, 21, "superblock.blkszbits at byte 1036: found 21, want 9 to 16"),
            (90, 1, "superblock.dirblkbits at byte 1114"),
            (0x51, 0xff, "superblock.feature_incompat at byte 1104"),
            (0x69, 2, "superblock.ishare_xattr_prefix_id at byte 1129"),
        ] {
            let mut bytes = sample().encode().unwrap();
            bytes[at] = byte;
            let message = Superblock::decode(&bytes).unwrap_err().to_string();
            assert!(message.starts_with(want), "{message}");
        }
        assert!(
            Superblock::decode(&[0; 10])
                .unwrap_err()
                .to_string()
                .contains("found 10 bytes, want at least 128")
        );
    }

    #[test]
    fn the_checksum_covers_the_block_but_not_itself() {
        assert_eq!(checksum_span(BlockBits::DEFAULT), 3072);
        assert_eq!(checksum_span(BlockBits::new(9).unwrap()), 512);
        let mut covered = sample().encode().unwrap();
        covered.resize(3072, 0);
        store_checksum(&mut covered);
        let value = Superblock::decode(&covered).unwrap();
        verify_checksum(&value, &covered).unwrap();
        covered[3071] = 1;
        assert!(verify_checksum(&value, &covered).is_err());
    }
}
