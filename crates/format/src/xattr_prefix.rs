//! Long xattr name prefixes: a table of "namespace and first part of a name", which entries refer to by
//! number (`struct erofs_xattr_long_prefix`; Linux 6.4).
//!
//! ```text
//! per prefix   0 size:2 (of what follows)   2 base_index:1   3 infix …   zeros up to a multiple of 4
//! ```
//!
//! The table starts at byte `xattr_prefix_start` × 4: of the device where the feature `PLAIN_XATTR_PFX` is
//! set or neither a packed nor a metabox inode exists, else of that inode. One of the prefixes may name the
//! fingerprints of page cache sharing (`ishare_xattr_prefix_id`): a fingerprint is the xattr whose name is
//! that prefix exactly.

use crate::error::{FormatError, Rule};
use crate::words;
use crate::xattr;

/// How many prefixes an image can have; entries have 7 bits for the number.
pub const COUNT_MAX: usize = 128;
/// The longest infix that Linux reads, in bytes (`EROFS_NAME_LEN`).
pub const INFIX_MAX: usize = 255;
/// The unit of `xattr_prefix_start`, in bytes.
pub const START_UNIT: u64 = 4;
const LENGTH_SIZE: usize = 2;
/// The most bytes that a prefix takes in the table, without padding: length, namespace, infix.
pub const SIZE_MAX: usize = LENGTH_SIZE + 1 + INFIX_MAX;

/// One long prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongPrefix {
    /// Short name index of the namespace; [`xattr::INDEX_NONE`] for names hidden from user space.
    pub base_index: u8,
    /// What follows the namespace.
    pub infix: Vec<u8>,
}

impl LongPrefix {
    /// The prefix of a full name or beginning of a name. Names outside the namespaces of the format become
    /// hidden ones (base index 0), as mkfs.erofs does. 1 to 255 bytes without NUL; the ACL names cannot be
    /// prefixes.
    pub fn of(name: &[u8]) -> Result<Self, FormatError> {
        if name.is_empty() || name.len() > INFIX_MAX || name.contains(&0) {
            let shown = format!("{:?} ({})", String::from_utf8_lossy(name), words::bytes(name.len()));
            return Err(FormatError::limit("xattr name prefix", shown, "1 to 255 bytes without NUL"));
        }
        let (base_index, infix) = xattr::split_name(name).unwrap_or((xattr::INDEX_NONE, name));
        if matches!(base_index, xattr::INDEX_ACL_ACCESS | xattr::INDEX_ACL_DEFAULT) {
            let shown = String::from_utf8_lossy(name).into_owned();
            return Err(FormatError::limit(
                "xattr name prefix",
                shown,
                "names other than those of POSIX ACLs",
            ));
        }
        Ok(Self { base_index, infix: infix.to_vec() })
    }

    /// The name of fingerprints, which has to be one that an attribute with any value can have. Linux gives
    /// out no attribute whose name is a namespace alone, and takes nothing but capabilities for the value of
    /// `security.capability` (`cap_inode_getsecurity`).
    ///
    /// # Errors
    /// For such a name, and for all that [`Self::of`] refuses.
    pub fn of_fingerprint(name: &[u8]) -> Result<Self, FormatError> {
        let prefix = Self::of(name)?;
        let wrong = |want| {
            let shown = format!("{:?}", String::from_utf8_lossy(name));
            Err(FormatError::limit("xattr name of fingerprints", shown, want))
        };
        match (prefix.base_index, prefix.infix.as_slice()) {
            (_, b"") => wrong("them under more than a namespace, such as user.fingerprint"),
            (xattr::INDEX_SECURITY, xattr::CAPABILITY) => {
                wrong("them under other names than that of file capabilities")
            }
            _ => Ok(prefix),
        }
    }

    /// The full name or beginning of a name; an error if the namespace is not known.
    pub fn full(&self, at: u64) -> Result<Vec<u8>, FormatError> {
        let base = xattr::namespace(self.base_index).ok_or_else(|| {
            FormatError::field("xattr_long_prefix.base_index", at, self.base_index, "0, 1 to 4, or 6")
                .of(Rule::Xattr)
        })?;
        Ok([base, &self.infix].concat())
    }

    /// The rest of a full name behind this prefix, if it has it. The namespace must be the same, so a hidden
    /// prefix matches hidden names only.
    pub fn strip<'a>(&self, base_index: u8, rest: &'a [u8]) -> Option<&'a [u8]> {
        if base_index == self.base_index { rest.strip_prefix(self.infix.as_slice()) } else { None }
    }

    /// How many bytes the prefix takes in the table, padding included.
    pub fn size(&self) -> usize {
        let bare = self.infix.len().saturating_add(1).saturating_add(LENGTH_SIZE);
        bare.checked_next_multiple_of(4).unwrap_or(usize::MAX)
    }

    /// Appends the prefix and its padding.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let end = out.len().saturating_add(self.size());
        let length = u16::try_from(self.infix.len().saturating_add(1)).map_err(|_| {
            FormatError::limit("length of an xattr name prefix", self.infix.len(), "at most 255 bytes")
        })?;
        out.extend_from_slice(&length.to_le_bytes());
        out.push(self.base_index);
        out.extend_from_slice(&self.infix);
        out.resize(end, 0);
        Ok(())
    }

    /// Reads the prefix at the start of `bytes`, which stand at byte `at`; returns it with its length in the
    /// table.
    pub fn decode(bytes: &[u8], at: u64) -> Result<(Self, usize), FormatError> {
        let short = |want| FormatError::short("xattr_long_prefix", at, bytes.len(), want);
        let (length, rest) = bytes.split_first_chunk::<LENGTH_SIZE>().ok_or_else(|| short(LENGTH_SIZE))?;
        let length = usize::from(u16::from_le_bytes(*length));
        if length == 0 || length > INFIX_MAX.saturating_add(1) {
            return Err(FormatError::field("xattr_long_prefix.size", at, length, "1 to 256").of(Rule::Xattr));
        }
        let content = rest.get(..length).ok_or_else(|| short(length.saturating_add(LENGTH_SIZE)))?;
        let (base_index, infix) =
            content.split_first().ok_or_else(|| short(LENGTH_SIZE.saturating_add(1)))?;
        let prefix = Self { base_index: *base_index, infix: infix.to_vec() };
        let size = prefix.size();
        Ok((prefix, size))
    }
}

/// The name index of entries that use prefix `number`.
pub fn name_index(number: u8) -> u8 {
    xattr::LONG_PREFIX_BIT | number
}

/// The number of the long prefix that a name index refers to; `None` for short ones.
pub fn number_of(name_index: u8) -> Option<u8> {
    (name_index & xattr::LONG_PREFIX_BIT != 0).then_some(name_index & !xattr::LONG_PREFIX_BIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_split_their_namespace_off() {
        for (name, base, infix) in [
            (&b"trusted.erofs.fingerprint"[..], 4, &b"erofs.fingerprint"[..]),
            (b"erofs.fingerprint.v1", 0, b"erofs.fingerprint.v1"),
            (b"user.", 1, b""),
        ] {
            let prefix = LongPrefix::of(name).unwrap();
            assert_eq!((prefix.base_index, prefix.infix.as_slice()), (base, infix));
            assert_eq!(prefix.full(0).unwrap(), name);
        }
        for wrong in [&b""[..], b"a\0b", b"system.posix_acl_access", &[b'x'; 256]] {
            assert!(LongPrefix::of(wrong).is_err());
        }
    }

    #[test]
    fn decoding_undoes_encoding() {
        for infix in [&b""[..], b"a", b"overlay.", &[b'x'; 255]] {
            let prefix = LongPrefix { base_index: 4, infix: infix.to_vec() };
            let mut bytes = Vec::new();
            prefix.encode(&mut bytes).unwrap();
            assert_eq!(bytes.len(), prefix.size());
            assert_eq!(LongPrefix::decode(&bytes, 0).unwrap(), (prefix, bytes.len()));
        }
        assert!(LongPrefix::decode(&[0, 0, 4], 8).is_err());
        assert!(LongPrefix::decode(&[9, 0, 4], 8).is_err());
        assert_eq!(number_of(name_index(5)), Some(5));
        assert_eq!(number_of(4), None);
    }
}
