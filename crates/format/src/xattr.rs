//! Extended attributes: the header behind an inode, the entries, the name indexes and the name filter
//! (`struct erofs_xattr_ibody_header`, `struct erofs_xattr_entry`).
//!
//! ```text
//! header  0 name_filter:4   4 shared_count:1   5 reserved[7]   12 shared ids, 4 bytes each   then inline entries
//! entry   0 name_len:1  1 name_index:1  2 value_size:2  4 name, value, zeros up to a multiple of 4
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FormatError;

/// The length of the header, in bytes.
pub const HEADER_SIZE: usize = 12;
/// The length of a shared xattr id, in bytes.
pub const SHARED_ID_SIZE: usize = 4;
/// Shared xattr ids count units of this many bytes from the start of the shared area.
pub const SHARED_ID_UNIT: u64 = 4;
/// The length of an entry without name and value, in bytes.
pub const ENTRY_SIZE: usize = 4;
/// Entries start at multiples of this many bytes.
pub const ALIGNMENT: usize = 4;
/// The longest value, in bytes; one less than Linux's `XATTR_SIZE_MAX`, because the size has 16 bits.
pub const VALUE_MAX: usize = 65535;
/// The longest stored name, in bytes.
pub const NAME_MAX: usize = 255;
/// How many shared xattrs one inode can refer to.
pub const SHARED_MAX: usize = 255;

/// The bit of a name index that says "long prefix" (`EROFS_XATTR_LONG_PREFIX`); the rest is the prefix's
/// number.
pub const LONG_PREFIX_BIT: u8 = 0x80;
/// The name index of names without a namespace of their own: hidden from user space.
pub const INDEX_NONE: u8 = 0;
/// `user.`
pub const INDEX_USER: u8 = 1;
/// `system.posix_acl_access`, whole.
pub const INDEX_ACL_ACCESS: u8 = 2;
/// `system.posix_acl_default`, whole.
pub const INDEX_ACL_DEFAULT: u8 = 3;
/// `trusted.`
pub const INDEX_TRUSTED: u8 = 4;
/// `security.`
pub const INDEX_SECURITY: u8 = 6;
/// The name of file capabilities behind `security.` (Linux's `XATTR_CAPS_SUFFIX`).
pub const CAPABILITY: &[u8] = b"capability";

const FILTER_BITS: u32 = 32;
const FILTER_SEED: u32 = 0x25BB_E08F;

/// Name index and the beginning of a name that it stands for. 5 (Lustre) is reserved and never written.
const NAMESPACES: [(u8, &[u8]); 5] = [
    (INDEX_USER, b"user."),
    (INDEX_ACL_ACCESS, b"system.posix_acl_access"),
    (INDEX_ACL_DEFAULT, b"system.posix_acl_default"),
    (INDEX_TRUSTED, b"trusted."),
    (INDEX_SECURITY, b"security."),
];

#[repr(C)]
#[expect(clippy::struct_field_names, reason = "the names are those of the kernel structure")]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Header {
    h_name_filter: U32,
    h_shared_count: u8,
    h_reserved2: [u8; 7],
}

#[repr(C)]
#[expect(clippy::struct_field_names, reason = "the names are those of the kernel structure")]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct EntryRecord {
    e_name_len: u8,
    e_name_index: u8,
    e_value_size: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER_SIZE);
const _: () = assert!(size_of::<EntryRecord>() == ENTRY_SIZE);

/// Splits a full name into name index and the rest; `None` if no namespace of the format fits. The ACL names
/// are namespaces of their own and must match whole.
pub fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    NAMESPACES.iter().find_map(|(index, prefix)| {
        let rest = name.strip_prefix(*prefix)?;
        let whole = matches!(*index, INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT);
        (!whole || rest.is_empty()).then_some((*index, rest))
    })
}

/// The beginning of a name that a short name index stands for; empty for [`INDEX_NONE`], `None` if unknown.
pub fn namespace(index: u8) -> Option<&'static [u8]> {
    if index == INDEX_NONE {
        return Some(b"");
    }
    NAMESPACES.iter().find(|row| row.0 == index).map(|row| row.1)
}

/// The bit of the name filter that a name sets: `base_index` is its short name index, `rest` the name behind
/// that namespace (`erofs_getxattr` of Linux's `xattr.c`).
pub fn filter_bit(base_index: u8, rest: &[u8]) -> u32 {
    let hash = crate::hash::xxh32(rest, FILTER_SEED.wrapping_add(u32::from(base_index)));
    1 << (hash & FILTER_BITS.wrapping_sub(1))
}

/// The header of an inode's xattrs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHeader {
    /// The name filter as stored: a set bit says that no name of this inode hashes to it. 0 where it is not
    /// used.
    pub name_filter: u32,
    /// How many shared ids follow.
    pub shared_count: u8,
}

impl BodyHeader {
    /// The stored filter for names whose bits (see [`filter_bit`]) are `present`.
    pub fn filter_of(present: u32) -> u32 {
        !present
    }

    /// Reads the header at the start of `bytes`, which stand at byte `at`.
    pub fn decode(bytes: &[u8], at: u64) -> Result<Self, FormatError> {
        let (header, _) = Header::read_from_prefix(bytes)
            .map_err(|_| FormatError::short("xattr header", at, bytes.len(), HEADER_SIZE))?;
        Ok(Self { name_filter: header.h_name_filter.get(), shared_count: header.h_shared_count })
    }

    /// Appends the 12 bytes of the header.
    pub fn encode(self, out: &mut Vec<u8>) {
        let header = Header {
            h_name_filter: U32::new(self.name_filter),
            h_shared_count: self.shared_count,
            h_reserved2: [0; 7],
        };
        out.extend_from_slice(header.as_bytes());
    }
}

/// One xattr as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<'a> {
    /// Short name index, or [`LONG_PREFIX_BIT`] and the number of a long prefix.
    pub name_index: u8,
    /// The name behind the prefix.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// How many bytes the entry takes, padding included.
    pub fn size(&self) -> usize {
        padded_size(self.name.len(), self.value.len())
    }

    /// Appends the entry and its padding; an error if name or value are too long.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let record = EntryRecord {
            e_name_len: u8::try_from(self.name.len()).map_err(|_| {
                FormatError::limit("length of an xattr name", self.name.len(), "at most 255 bytes")
            })?,
            e_name_index: self.name_index,
            e_value_size: U16::new(u16::try_from(self.value.len()).map_err(|_| {
                FormatError::limit("length of an xattr value", self.value.len(), "at most 65535 bytes")
            })?),
        };
        let end = out.len().saturating_add(self.size());
        out.reserve(self.size());
        out.extend_from_slice(record.as_bytes());
        out.extend_from_slice(self.name);
        out.extend_from_slice(self.value);
        out.resize(end, 0);
        Ok(())
    }

    /// Reads the entry at the start of `bytes`, which stand at byte `at`; returns it with its length in
    /// bytes, padding included (the last padding may be cut off by the end of `bytes`).
    pub fn decode(bytes: &'a [u8], at: u64) -> Result<(Self, usize), FormatError> {
        let (record, rest) = EntryRecord::read_from_prefix(bytes)
            .map_err(|_| FormatError::short("xattr entry", at, bytes.len(), ENTRY_SIZE))?;
        let name_len = usize::from(record.e_name_len);
        let value_len = usize::from(record.e_value_size.get());
        let want = ENTRY_SIZE.saturating_add(name_len).saturating_add(value_len);
        let short = || FormatError::short("xattr entry", at, bytes.len(), want);
        let (name, rest) = rest.split_at_checked(name_len).ok_or_else(short)?;
        let value = rest.get(..value_len).ok_or_else(short)?;
        let entry = Self { name_index: record.e_name_index, name, value };
        Ok((entry, entry.size()))
    }
}

/// How many bytes an entry takes whose name and value have these lengths.
pub fn padded_size(name_len: usize, value_len: usize) -> usize {
    let bare = ENTRY_SIZE.saturating_add(name_len).saturating_add(value_len);
    bare.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX)
}

/// The fixed part of an entry, for readers that fetch name and value on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHead {
    /// Short name index, or [`LONG_PREFIX_BIT`] and the number of a long prefix.
    pub name_index: u8,
    /// Length of the name, which follows, in bytes; at most 255.
    pub name_len: usize,
    /// Length of the value, which follows the name, in bytes; at most 65,535.
    pub value_len: usize,
}

impl EntryHead {
    /// Reads the fixed part at the start of `bytes`, which stand at byte `at`.
    pub fn decode(bytes: &[u8], at: u64) -> Result<Self, FormatError> {
        let (record, _) = EntryRecord::read_from_prefix(bytes)
            .map_err(|_| FormatError::short("xattr entry", at, bytes.len(), ENTRY_SIZE))?;
        Ok(Self {
            name_index: record.e_name_index,
            name_len: usize::from(record.e_name_len),
            value_len: usize::from(record.e_value_size.get()),
        })
    }
}

/// Reads one shared id (a count of 4-byte units from the start of the shared area) at the start of `bytes`.
pub fn decode_shared_id(bytes: &[u8], at: u64) -> Result<u32, FormatError> {
    U32::read_from_prefix(bytes)
        .map(|(id, _)| id.get())
        .map_err(|_| FormatError::short("shared xattr id", at, bytes.len(), SHARED_ID_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_their_namespace() {
        for (name, want) in [
            (&b"user.a"[..], Some((1, &b"a"[..]))),
            (b"trusted.overlay.opaque", Some((4, b"overlay.opaque"))),
            (b"security.selinux", Some((6, b"selinux"))),
            (b"system.posix_acl_access", Some((2, b""))),
            (b"system.posix_acl_default", Some((3, b""))),
            (b"system.posix_acl_accessory", None),
            (b"erofs.fingerprint.v1", None),
            (b"user", None),
        ] {
            assert_eq!(split_name(name), want, "{}", String::from_utf8_lossy(name));
        }
        assert_eq!(namespace(4), Some(&b"trusted."[..]));
        assert_eq!(namespace(0), Some(&b""[..]));
        assert_eq!(namespace(5), None);
    }

    #[test]
    fn filter_bits_are_those_of_the_kernel() {
        // erofs_inode_has_noacl() of Linux 7.2 has these two bits written out.
        assert_eq!(filter_bit(INDEX_ACL_DEFAULT, b""), 1 << 21);
        assert_eq!(filter_bit(INDEX_ACL_ACCESS, b""), 1 << 30);
    }

    #[test]
    fn decoding_undoes_encoding() {
        for (name, value) in [(&b""[..], &b""[..]), (b"a", b"bc"), (&[b'n'; 255], &vec![7; 65535])] {
            let entry = Entry { name_index: 0x81, name, value };
            let mut bytes = Vec::new();
            entry.encode(&mut bytes).unwrap();
            assert_eq!(bytes.len() % 4, 0);
            assert_eq!(bytes.len(), entry.size());
            assert_eq!(Entry::decode(&bytes, 0).unwrap(), (entry, bytes.len()));
            let head = EntryHead { name_index: 0x81, name_len: name.len(), value_len: value.len() };
            assert_eq!(EntryHead::decode(&bytes, 0).unwrap(), head);
            assert!(Entry::decode(&bytes[..3], 0).is_err());
        }
        let header = BodyHeader { name_filter: 0xdead_beef, shared_count: 3 };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(BodyHeader::decode(&bytes, 0).unwrap(), header);
        assert_eq!(decode_shared_id(&[1, 2, 0, 0], 0).unwrap(), 513);
    }

    #[test]
    fn too_long_values_are_refused_by_name() {
        let long = vec![0; 65536];
        let message = Entry { name_index: 1, name: b"a", value: &long }
            .encode(&mut Vec::new())
            .unwrap_err()
            .to_string();
        assert_eq!(message, "length of an xattr value: found 65536, the format holds at most 65535 bytes");
    }
}
