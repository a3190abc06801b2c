//! What a tree is made with: block sizes, salt, UUID; and what comes out: the root hash.

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::VerityError;

/// Bytes of a digest of SHA-256.
pub const DIGEST_SIZE: usize = 32;
/// Name of the hash in a superblock: the kernel's name of the algorithm.
pub const ALGORITHM: &str = "sha256";
/// Bytes of a superblock (`struct verity_sb` of cryptsetup).
pub const SUPERBLOCK_SIZE: u64 = 512;
/// Most bytes of a salt (`struct verity_sb` of cryptsetup).
pub const SALT_MAX: usize = 256;

/// What a derived salt begins with before it is hashed: another derivation would have another number.
const SALT_LABEL: &[u8] = b"mkfs-erofs dm-verity salt 1\0";
/// The namespace of derived UUIDs. A random number, drawn once.
const UUID_NAMESPACE: Uuid = Uuid::from_u128(0x5d1c_2f5e_0b73_4a44_9c0e_5a1f_9f6b_3c27);

/// A digest.
pub type Digest = [u8; DIGEST_SIZE];

/// The size of a data block or hash block: a power of two from 512 to 524288 bytes, as `veritysetup` takes
/// it. Linux opens data blocks up to the size of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSize(u32);

impl BlockSize {
    /// 4096 bytes, which every machine opens.
    pub const DEFAULT: Self = Self(4096);

    /// A size in bytes.
    ///
    /// # Errors
    /// When it is no power of two from 512 to 524288.
    pub fn new(bytes: u32) -> Result<Self, VerityError> {
        if bytes.is_power_of_two() && (512..=512 << 10).contains(&bytes) {
            return Ok(Self(bytes));
        }
        let want = "a power of two from 512 to 524288";
        Err(VerityError::Range { what: "block size", found: bytes.to_string(), want })
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// In bytes, as the length of a buffer.
    pub(crate) fn len(self) -> usize {
        self.0 as usize
    }

    /// As a superblock has it.
    pub(crate) fn raw(self) -> u32 {
        self.0
    }
}

/// What is hashed before each block: at most 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salt(Vec<u8>);

impl Salt {
    /// A salt of these bytes.
    ///
    /// # Errors
    /// When they are more than 256.
    pub fn new(bytes: Vec<u8>) -> Result<Self, VerityError> {
        if bytes.len() > SALT_MAX {
            let found = format!("{} bytes", bytes.len());
            return Err(VerityError::Range { what: "salt", found, want: "at most 256 bytes" });
        }
        Ok(Self(bytes))
    }

    /// A salt as `veritysetup --salt` takes it: hexadecimal digits, or `-` for none.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, VerityError> {
        if text == "-" {
            return Ok(Self::default());
        }
        let want = "an even number of hexadecimal digits, at most 512, or - for none";
        let wrong = || VerityError::Range { what: "salt", found: format!("{text:?}"), want };
        let bytes = from_hex(text).filter(|bytes| !bytes.is_empty()).ok_or_else(wrong)?;
        Self::new(bytes).map_err(|_| wrong())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// In hexadecimal digits, or `-` for none.
    pub fn to_hex(&self) -> String {
        if self.0.is_empty() { "-".to_owned() } else { to_hex(&self.0) }
    }
}

/// How a tree is made. The hash is SHA-256 and the type 1 (the salt comes first), as everywhere today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Size of a data block.
    pub data_block: BlockSize,
    /// Size of a hash block.
    pub hash_block: BlockSize,
    /// What is hashed before each block.
    pub salt: Salt,
    /// The UUID in the superblock; it plays no part in the tree.
    pub uuid: Uuid,
}

impl Params {
    /// Blocks of 4096 bytes, with a salt and a UUID that follow from the volume's UUID and the number of data
    /// blocks.
    ///
    /// The salt is the SHA-256 of a label, the UUID's 16 bytes and the number in 8 bytes, little endian; the
    /// UUID is of version 5, its name the same 24 bytes. A salt need not be secret: it keeps work on one
    /// image from serving against another, and the UUID of a volume differs from image to image.
    pub fn derived(volume: Uuid, data_blocks: u64) -> Self {
        let name = [volume.as_bytes().as_slice(), &data_blocks.to_le_bytes()].concat();
        let salt = Sha256::new().chain_update(SALT_LABEL).chain_update(&name).finalize();
        Self {
            data_block: BlockSize::DEFAULT,
            hash_block: BlockSize::DEFAULT,
            salt: Salt(salt.to_vec()),
            uuid: Uuid::new_v5(&UUID_NAMESPACE, &name),
        }
    }
}

/// The digest that stands for the whole of the data. Its text is in lower-case hexadecimal digits, which is
/// also what is signed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootHash(pub Digest);

impl RootHash {
    /// A root hash from 64 hexadecimal digits; white space around them, such as the end of a line, is left
    /// out.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, VerityError> {
        let digest = from_hex(text.trim()).and_then(|bytes| Digest::try_from(bytes).ok());
        digest.map(Self).ok_or_else(|| VerityError::Range {
            what: "root hash",
            found: match text.trim().chars().count() {
                1 => "1 character".to_owned(),
                count => format!("{count} characters"),
            },
            want: "64 hexadecimal digits (sha256)",
        })
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootHash({self})")
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| char::from_digit(u32::from(nibble), 16))
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_and_root_hashes_are_read_and_written() {
        for (text, bytes) in [("-", &[][..]), ("00", &[0]), ("a0Ff", &[0xa0, 0xff])] {
            let salt = Salt::parse(text).unwrap();
            assert_eq!((salt.as_bytes(), salt.to_hex()), (bytes, text.to_lowercase()));
        }
        let long = "00".repeat(257);
        for text in ["", "0", "0g", "+1", &long, "é0"] {
            assert!(Salt::parse(text).is_err(), "{text:?}");
        }
        let text = "0123456789abcdef".repeat(4);
        for typed in [text.clone(), format!("{text}\n"), text.to_uppercase()] {
            assert_eq!(RootHash::parse(&typed).unwrap().to_string(), text);
        }
        for wrong in ["", &text[1..], &format!("{text}00")] {
            assert!(RootHash::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn block_sizes_have_bounds() {
        for (bytes, fits) in
            [(0, false), (256, false), (512, true), (1000, false), (524_288, true), (1 << 20, false)]
        {
            assert_eq!(BlockSize::new(bytes).is_ok(), fits, "{bytes}");
        }
    }

    /// These are a promise: other values would give other root hashes for the same image.
    #[test]
    fn derived_values_stay_as_they_are() {
        let params = Params::derived(Uuid::NAMESPACE_URL, 3);
        let other = Params::derived(Uuid::NAMESPACE_URL, 4);
        assert_ne!((&params.salt, params.uuid), (&other.salt, other.uuid));
        assert_eq!(params.salt.to_hex(), "12d4df684d532734537443c21677d5f8593dfd9c0fa7840a54a8e336303809e6");
        assert_eq!(params.uuid.to_string(), "ce56f425-ce5f-52c4-a732-066949094105");
    }
}
