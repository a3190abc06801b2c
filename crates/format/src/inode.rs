//! Inodes: 32 bytes (compact) or 64 bytes (extended), on slots of 32 bytes
//! (`struct erofs_inode_compact`, `struct erofs_inode_extended`).
//!
//! ```text
//! compact   0 i_format 2 xattr_icount 4 mode 6 nlink|hi 8 size32  12 mtime delta 16 i_u 20 ino 24 uid16 26 gid16 28 0
//! extended  0 i_format 2 xattr_icount 4 mode 6 0|hi     8 size64                 16 i_u 20 ino 24 uid32 28 gid32
//!           32 mtime64 40 mtime_nsec 44 nlink32 48 reserved[16]
//! i_format  bit 0: extended   bits 1-3: data layout   bit 4: one link (compact) / "." omitted (directory)
//! ```
//!
//! Behind the inode stand its xattrs, then chunk indexes or the inline tail.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::datalayout::{DataLayout, flat};
use crate::error::{FormatError, Rule};
use crate::filetype::FileType;

/// The length of a compact inode, in bytes.
pub const COMPACT_SIZE: usize = 32;
/// The length of an extended inode, in bytes.
pub const EXTENDED_SIZE: usize = 64;

const VERSION_BIT: u16 = 0x01;
const LAYOUT_SHIFT: u32 = 1;
const LAYOUT_MASK: u16 = 0x07;
const BIT_4: u16 = 0x10;
const ALL_BITS: u16 = 0x1f;

#[repr(C)]
#[expect(clippy::struct_field_names, reason = "the names are those of the kernel structure")]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Compact {
    i_format: U16,
    i_xattr_icount: U16,
    i_mode: U16,
    i_nb: U16,
    i_size: U32,
    i_mtime: U32,
    i_u: U32,
    i_ino: U32,
    i_uid: U16,
    i_gid: U16,
    i_reserved: U32,
}

#[repr(C)]
#[expect(clippy::struct_field_names, reason = "the names are those of the kernel structure")]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Extended {
    i_format: U16,
    i_xattr_icount: U16,
    i_mode: U16,
    i_nb: U16,
    i_size: U64,
    i_u: U32,
    i_ino: U32,
    i_uid: U32,
    i_gid: U32,
    i_mtime: U64,
    i_mtime_nsec: U32,
    i_nlink: U32,
    i_reserved2: [u8; 16],
}

const _: () = assert!(size_of::<Compact>() == COMPACT_SIZE);
const _: () = assert!(size_of::<Extended>() == EXTENDED_SIZE);

/// The two forms of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 32 bytes: 16-bit owner, 32-bit size, the superblock's time.
    Compact,
    /// 64 bytes: everything.
    Extended,
}

impl Version {
    /// Length in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Compact => COMPACT_SIZE,
            Self::Extended => EXTENDED_SIZE,
        }
    }
}

/// An inode's time as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mtime {
    /// Compact: this many seconds after the superblock's epoch, with its nanoseconds. 0 without the 48-bit
    /// layout.
    SinceEpoch(u32),
    /// Extended: seconds since 1970 and nanoseconds.
    Absolute {
        /// Seconds since 1970.
        sec: i64,
        /// Nanoseconds.
        nsec: u32,
    },
}

/// An inode as values. What `i_u` and `hi` mean depends on the layout and the file type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// Compact or extended.
    pub version: Version,
    /// How the data is laid out.
    pub layout: DataLayout,
    /// Bit 4 of `i_format`: for a directory "no entry for `.`", otherwise (compact only) "one link, and `hi`
    /// is the upper half of a block address". Linux 6.15 and newer.
    pub bit4: bool,
    /// 0: no xattrs; n: 12 + 4 × (n - 1) bytes of them.
    pub xattr_icount: u16,
    /// Type and permissions.
    pub mode: u16,
    /// Size of the file in bytes; below 2^32 in a compact inode, below 2^63 always.
    pub size: u64,
    /// Modification time.
    pub mtime: Mtime,
    /// Start block, compressed blocks, device number or chunk format.
    pub i_u: u32,
    /// Upper 16 bits of a 48-bit start block; 0 elsewhere.
    pub hi: u16,
    /// A serial number for 32-bit `stat`.
    pub ino: u32,
    /// Owner; below 2^16 in a compact inode.
    pub uid: u32,
    /// Group; below 2^16 in a compact inode.
    pub gid: u32,
    /// Names that lead here; below 2^16 in a compact inode.
    pub nlink: u32,
}

/// Whether these values fit a compact inode; the time fits apart, because it depends on the superblock.
pub fn compact_holds(size: u64, uid: u32, gid: u32, nlink: u32) -> bool {
    let small = |value: u32| u16::try_from(value).is_ok();
    u32::try_from(size).is_ok() && small(uid) && small(gid) && small(nlink)
}

/// How many bytes of xattrs `icount` announces (`erofs_xattr_ibody_size`).
pub fn xattr_body_size(icount: u16) -> usize {
    match icount.checked_sub(1) {
        None => 0,
        Some(more) => usize::from(more).saturating_mul(4).saturating_add(crate::xattr::HEADER_SIZE),
    }
}

/// The `i_xattr_icount` of a xattr body of `size` bytes: 0, or 12 and a multiple of 4 more.
pub fn xattr_icount(size: usize) -> Result<u16, FormatError> {
    if size == 0 {
        return Ok(0);
    }
    let words =
        size.checked_sub(crate::xattr::HEADER_SIZE).filter(|rest| rest % 4 == 0).ok_or_else(|| {
            FormatError::limit("size of an inode's xattrs", size, "12 bytes and multiples of 4 more")
        })? / 4;
    u16::try_from(words.saturating_add(1))
        .map_err(|_| FormatError::limit("size of an inode's xattrs", size, "at most 262148 bytes"))
}

/// A device number in the form of `i_u` (`new_encode_dev`): 12 bits of major, 20 of minor.
pub fn encode_device(major: u32, minor: u32) -> Result<u32, FormatError> {
    if major > 0xfff || minor > 0xf_ffff {
        return Err(FormatError::limit(
            "device number",
            format!("{major}:{minor}"),
            "12 bits of major and 20 of minor",
        ));
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

/// Major and minor number from `i_u` (`new_decode_dev`).
pub fn decode_device(i_u: u32) -> (u32, u32) {
    ((i_u & 0xf_ff00) >> 8, (i_u & 0xff) | ((i_u >> 12) & 0xf_ff00))
}

impl Inode {
    /// Reads the inode at the start of `bytes`, which stand at byte `at`. Needs 32 bytes, or 64 if the inode
    /// says so.
    pub fn decode(bytes: &[u8], at: u64) -> Result<Self, FormatError> {
        let short = |want| FormatError::short("inode", at, bytes.len(), want);
        let (compact, _) = Compact::read_from_prefix(bytes).map_err(|_| short(COMPACT_SIZE))?;
        let i_format = compact.i_format.get();
        if i_format & !ALL_BITS != 0 {
            return Err(FormatError::field(
                "inode.i_format",
                at,
                format!("{i_format:#x}"),
                "bits 0 to 4 only",
            )
            .of(Rule::Inode));
        }
        let number = (i_format >> LAYOUT_SHIFT) & LAYOUT_MASK;
        let layout = DataLayout::from_number(number).ok_or_else(|| {
            FormatError::field("inode.i_format data layout", at, number, "0 to 4").of(Rule::Inode)
        })?;
        let mode = compact.i_mode.get();
        let file_type = FileType::from_mode(mode, at.saturating_add(4))?;
        let bit4 = i_format & BIT_4 != 0;
        let inode = if i_format & VERSION_BIT != 0 {
            let (extended, _) = Extended::read_from_prefix(bytes).map_err(|_| short(EXTENDED_SIZE))?;
            Self::from_extended(&extended, layout, bit4)
        } else {
            Self::from_compact(&compact, layout, bit4, file_type)
        };
        if inode.size > i64::MAX.unsigned_abs() {
            return Err(FormatError::field(
                "inode.i_size",
                at.saturating_add(8),
                inode.size,
                "less than 2^63",
            )
            .of(Rule::Inode));
        }
        Ok(inode)
    }

    fn from_compact(record: &Compact, layout: DataLayout, bit4: bool, file_type: FileType) -> Self {
        let one_link = bit4 && file_type != FileType::Directory;
        let nb = record.i_nb.get();
        Self {
            version: Version::Compact,
            layout,
            bit4,
            xattr_icount: record.i_xattr_icount.get(),
            mode: record.i_mode.get(),
            size: u64::from(record.i_size.get()),
            mtime: Mtime::SinceEpoch(record.i_mtime.get()),
            i_u: record.i_u.get(),
            hi: if one_link { nb } else { 0 },
            ino: record.i_ino.get(),
            uid: u32::from(record.i_uid.get()),
            gid: u32::from(record.i_gid.get()),
            nlink: if one_link { 1 } else { u32::from(nb) },
        }
    }

    fn from_extended(record: &Extended, layout: DataLayout, bit4: bool) -> Self {
        Self {
            version: Version::Extended,
            layout,
            bit4,
            xattr_icount: record.i_xattr_icount.get(),
            mode: record.i_mode.get(),
            size: record.i_size.get(),
            mtime: Mtime::Absolute {
                sec: record.i_mtime.get().cast_signed(),
                nsec: record.i_mtime_nsec.get(),
            },
            i_u: record.i_u.get(),
            hi: record.i_nb.get(),
            ino: record.i_ino.get(),
            uid: record.i_uid.get(),
            gid: record.i_gid.get(),
            nlink: record.i_nlink.get(),
        }
    }

    /// The bytes of this inode: 32 or 64. An error if a compact inode has no room for a value.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let version = if self.version == Version::Extended { VERSION_BIT } else { 0 };
        let bit4 = if self.bit4 { BIT_4 } else { 0 };
        let i_format = U16::new(version | (self.layout.number() << LAYOUT_SHIFT) | bit4);
        match self.version {
            Version::Compact => self.compact_record(i_format).map(|record| record.as_bytes().to_vec()),
            Version::Extended => Ok(self.extended_record(i_format).as_bytes().to_vec()),
        }
    }

    fn compact_record(&self, i_format: U16) -> Result<Compact, FormatError> {
        let no_room = |what, found: u64, limit: &str| FormatError::limit(what, found, limit);
        let half = |what, value: u32| {
            u16::try_from(value)
                .map_err(|_| no_room(what, u64::from(value), "at most 65535 in a compact inode"))
        };
        let delta = match self.mtime {
            Mtime::SinceEpoch(delta) => delta,
            Mtime::Absolute { .. } => {
                return Err(FormatError::limit(
                    "mtime",
                    "an absolute time",
                    "the epoch's time in a compact inode",
                ));
            }
        };
        let directory = self.mode & crate::filetype::MODE_TYPE_MASK == FileType::Directory.mode_bits();
        let one_link = self.bit4 && !directory;
        Ok(Compact {
            i_format,
            i_xattr_icount: U16::new(self.xattr_icount),
            i_mode: U16::new(self.mode),
            i_nb: U16::new(if one_link { self.hi } else { half("link count", self.nlink)? }),
            i_size: U32::new(
                u32::try_from(self.size)
                    .map_err(|_| no_room("file size", self.size, "less than 2^32 in a compact inode"))?,
            ),
            i_mtime: U32::new(delta),
            i_u: U32::new(self.i_u),
            i_ino: U32::new(self.ino),
            i_uid: U16::new(half("uid", self.uid)?),
            i_gid: U16::new(half("gid", self.gid)?),
            i_reserved: U32::new(0),
        })
    }

    fn extended_record(&self, i_format: U16) -> Extended {
        let (sec, nsec) = match self.mtime {
            Mtime::SinceEpoch(delta) => (i64::from(delta), 0),
            Mtime::Absolute { sec, nsec } => (sec, nsec),
        };
        Extended {
            i_format,
            i_xattr_icount: U16::new(self.xattr_icount),
            i_mode: U16::new(self.mode),
            i_nb: U16::new(self.hi),
            i_size: U64::new(self.size),
            i_u: U32::new(self.i_u),
            i_ino: U32::new(self.ino),
            i_uid: U32::new(self.uid),
            i_gid: U32::new(self.gid),
            i_mtime: U64::new(sec.cast_unsigned()),
            i_mtime_nsec: U32::new(nsec),
            i_nlink: U32::new(self.nlink),
            i_reserved2: [0; 16],
        }
    }

    /// The type of the file; the mode was checked when the inode was read.
    pub fn file_type(&self) -> Result<FileType, FormatError> {
        FileType::from_mode(self.mode, 0)
    }

    /// How many bytes the inode and its xattrs take together.
    pub fn header_size(&self) -> usize {
        self.version.size().saturating_add(xattr_body_size(self.xattr_icount))
    }

    /// Whether a flat plain inode is one hole: all bits of its start block are set, which are 48 unless the
    /// inode is compact and keeps its link count in the upper half (`erofs_read_inode`).
    pub fn is_flat_hole(&self) -> bool {
        let narrow = self.version == Version::Compact
            && !(self.bit4 && self.mode & crate::filetype::MODE_TYPE_MASK != FileType::Directory.mode_bits());
        let null = if narrow { u64::from(flat::NULL_BLOCK_32) } else { flat::NULL_BLOCK_48 };
        self.layout == DataLayout::FlatPlain && self.start_block() == null
    }

    /// The start block of a flat inode, upper half included.
    pub fn start_block(&self) -> u64 {
        u64::from(self.i_u) | (u64::from(self.hi) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(version: Version, mtime: Mtime) -> Inode {
        Inode {
            version,
            layout: DataLayout::FlatInline,
            bit4: false,
            xattr_icount: 3,
            mode: 0o100_644,
            size: 5000,
            mtime,
            i_u: 17,
            hi: 0,
            ino: 9,
            uid: 1000,
            gid: 65535,
            nlink: 2,
        }
    }

    #[test]
    fn decoding_undoes_encoding() {
        let absolute = Mtime::Absolute { sec: -7, nsec: 999_999_999 };
        let compact = sample(Version::Compact, Mtime::SinceEpoch(4));
        let extended =
            Inode { size: 1 << 40, uid: 1 << 31, nlink: 70_000, ..sample(Version::Extended, absolute) };
        let one_link = Inode { bit4: true, hi: 5, nlink: 1, ..compact };
        for inode in [compact, extended, one_link] {
            let bytes = inode.encode().unwrap();
            assert_eq!(bytes.len(), inode.version.size());
            assert_eq!(Inode::decode(&bytes, 0).unwrap(), inode);
        }
        assert_eq!(one_link.start_block(), 0x5_0000_0011);
    }

    #[test]
    fn holes_have_all_bits_of_their_address_set() {
        let compact = Inode {
            layout: DataLayout::FlatPlain,
            i_u: u32::MAX,
            ..sample(Version::Compact, Mtime::SinceEpoch(0))
        };
        let extended = Inode { version: Version::Extended, ..compact };
        for (inode, want) in [
            (compact, true),
            (Inode { i_u: 7, ..compact }, false),
            (Inode { layout: DataLayout::FlatInline, ..compact }, false),
            (Inode { bit4: true, ..compact }, false),
            (Inode { bit4: true, hi: u16::MAX, ..compact }, true),
            (extended, false),
            (Inode { hi: u16::MAX, ..extended }, true),
        ] {
            assert_eq!(inode.is_flat_hole(), want, "{inode:?}");
        }
    }

    #[test]
    fn what_does_not_fit_a_compact_inode_is_refused_by_name() {
        let inode = sample(Version::Compact, Mtime::SinceEpoch(0));
        for (wrong, word) in [
            (Inode { uid: 65536, ..inode }, "uid"),
            (Inode { gid: 65536, ..inode }, "gid"),
            (Inode { nlink: 65536, ..inode }, "link count"),
            (Inode { size: 1 << 32, ..inode }, "file size"),
            (Inode { mtime: Mtime::Absolute { sec: 0, nsec: 0 }, ..inode }, "mtime"),
        ] {
            let message = wrong.encode().unwrap_err().to_string();
            assert!(message.starts_with(word), "{message}");
        }
        assert!(compact_holds(u64::from(u32::MAX), 65535, 65535, 65535));
        assert!(!compact_holds(1 << 32, 0, 0, 1));
    }

    #[test]
    fn wrong_bytes_are_named() {
        let good = sample(Version::Compact, Mtime::SinceEpoch(0)).encode().unwrap();
        for (index, byte, want) in [
            (0, 0x20, "inode.i_format at byte 64"),
            (0, 0x0a, "inode.i_format data layout at byte 64: found 5, want 0 to 4"),
            (5, 0x00, "inode.i_mode at byte 68"),
        ] {
            let mut bytes = good.clone();
            bytes[index] = byte;
            let message = Inode::decode(&bytes, 64).unwrap_err().to_string();
            assert!(message.starts_with(want), "{message}");
        }
        let extended = sample(Version::Extended, Mtime::Absolute { sec: 0, nsec: 0 }).encode().unwrap();
        assert!(Inode::decode(&extended[..63], 0).is_err());
    }

    #[test]
    fn xattr_counts() {
        for (size, icount) in [(0, 0), (12, 1), (16, 2), (262_148, 65535)] {
            assert_eq!(xattr_icount(size).unwrap(), icount);
            assert_eq!(xattr_body_size(icount), size);
        }
        for wrong in [4, 13, 262_152] {
            assert!(xattr_icount(wrong).is_err());
        }
    }

    #[test]
    fn device_numbers() {
        for (major, minor) in [(0, 0), (8, 1), (0xfff, 0xf_ffff), (259, 300)] {
            assert_eq!(decode_device(encode_device(major, minor).unwrap()), (major, minor));
        }
        assert!(encode_device(0x1000, 0).is_err());
    }
}
