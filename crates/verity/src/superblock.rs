//! The superblock of a hash area: 512 bytes, little endian, as `veritysetup format` writes it (`struct
//! verity_sb` of cryptsetup). Linux does not read it: whoever opens the device does.
//!
//! ```text
//!   0  signature "verity\0\0"    64  data block size, 4 bytes    88  salt, 256 bytes
//!   8  version 1, 4 bytes        68  hash block size, 4 bytes   344  zeros, 168 bytes
//!  12  hash type 1, 4 bytes      72  data blocks, 8 bytes
//!  16  UUID, 16 bytes            80  size of the salt, 2 bytes
//!  32  algorithm, 32 bytes       82  zeros, 6 bytes
//! ```

use uuid::Uuid;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::VerityError;
use crate::io::ReadAt;
use crate::levels::Levels;
use crate::params::{ALGORITHM, BlockSize, Params, SALT_MAX, SUPERBLOCK_SIZE, Salt};

const _: () = assert!(size_of::<Raw>() as u64 == SUPERBLOCK_SIZE);

const SIGNATURE: [u8; 8] = *b"verity\0\0";
const VERSION: u32 = 1;
/// The salt comes before the block, and digests stand at powers of two.
const HASH_TYPE: u32 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    signature: [u8; 8],
    version: U32,
    hash_type: U32,
    uuid: [u8; 16],
    algorithm: [u8; 32],
    data_block_size: U32,
    hash_block_size: U32,
    data_blocks: U64,
    salt_size: U16,
    zeros: [u8; 6],
    salt: [u8; SALT_MAX],
    rest: [u8; 168],
}

const _: () = assert!(size_of::<Raw>() == 512);

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// How the tree was made.
    pub params: Params,
    /// How many data blocks it covers.
    pub data_blocks: u64,
}

impl Superblock {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Params { data_block, hash_block, salt, uuid } = &self.params;
        let mut raw = Raw {
            signature: SIGNATURE,
            version: VERSION.into(),
            hash_type: HASH_TYPE.into(),
            uuid: *uuid.as_bytes(),
            algorithm: [0; 32],
            data_block_size: data_block.raw().into(),
            hash_block_size: hash_block.raw().into(),
            data_blocks: self.data_blocks.into(),
            salt_size: 0.into(),
            zeros: [0; 6],
            salt: [0; SALT_MAX],
            rest: [0; 168],
        };
        raw.algorithm[..ALGORITHM.len()].copy_from_slice(ALGORITHM.as_bytes());
        for (to, from) in raw.salt.iter_mut().zip(salt.as_bytes()) {
            *to = *from;
        }
        raw.salt_size = U16::new(u16::try_from(salt.as_bytes().len()).unwrap_or_default());
        raw.as_bytes().to_vec()
    }

    /// Reads the superblock at byte `at`.
    ///
    /// # Errors
    /// When it cannot be read, or a field has a value that cannot be or is not supported.
    pub fn read(source: &dyn ReadAt, at: u64) -> Result<Self, VerityError> {
        let mut bytes = [0; size_of::<Raw>()];
        let what = "verity superblock";
        source.read_at(at, &mut bytes).map_err(|cause| VerityError::Io { what, at, cause })?;
        Self::decode(&bytes, at)
    }

    fn decode(bytes: &[u8; size_of::<Raw>()], at: u64) -> Result<Self, VerityError> {
        let raw = Raw::read_from_bytes(bytes).map_err(|_| VerityError::Short {
            what: "verity superblock",
            found: 0,
            want: SUPERBLOCK_SIZE,
        })?;
        let wrong = |field, offset: u64, found: String, want: &str| {
            Err(VerityError::Superblock {
                field,
                at: at.saturating_add(offset),
                found,
                want: want.to_owned(),
            })
        };
        let text = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes).trim_end_matches('\0'));
        if raw.signature != SIGNATURE {
            return wrong("signature", 0, text(&raw.signature), "\"verity\"");
        }
        for (field, offset, found, want) in
            [("version", 8, raw.version.get(), VERSION), ("hash_type", 12, raw.hash_type.get(), HASH_TYPE)]
        {
            if found != want {
                return wrong(field, offset, found.to_string(), &want.to_string());
            }
        }
        let (name, padding) = raw.algorithm.split_at(ALGORITHM.len());
        if name != ALGORITHM.as_bytes() || padding.iter().any(|&byte| byte != 0) {
            return wrong("algorithm", 32, text(&raw.algorithm), "\"sha256\"");
        }
        let size = |field, offset, value: u32| {
            BlockSize::new(value).map_err(|_| VerityError::Superblock {
                field,
                at: at.saturating_add(offset),
                found: value.to_string(),
                want: "a power of two from 512 to 524288".to_owned(),
            })
        };
        let data_block = size("data_block_size", 64, raw.data_block_size.get())?;
        let hash_block = size("hash_block_size", 68, raw.hash_block_size.get())?;
        if raw.data_blocks.get() == 0 {
            return wrong("data_blocks", 72, "0".to_owned(), "at least 1");
        }
        let Some((salt, rest)) = raw.salt.split_at_checked(usize::from(raw.salt_size.get())) else {
            return wrong("salt_size", 80, raw.salt_size.to_string(), "at most 256");
        };
        for (field, offset, zeros) in
            [("padding", 82, raw.zeros.as_slice()), ("salt", 88, rest), ("padding", 344, &raw.rest)]
        {
            if zeros.iter().any(|&byte| byte != 0) {
                return wrong(field, offset, "something".to_owned(), "zeros behind its end");
            }
        }
        let params = Params {
            data_block,
            hash_block,
            salt: Salt::new(salt.to_vec())?,
            uuid: Uuid::from_bytes(raw.uuid),
        };
        Ok(Self { params, data_blocks: raw.data_blocks.get() })
    }
}

/// Where the hash area begins that is appended to the data of blocks of this size, judging by the length of
/// both alone; nothing if no length of data fits or no superblock is there. Hash blocks have the size of data
/// blocks.
pub fn find_appended(source: &dyn ReadAt, block: BlockSize) -> Option<u64> {
    let length = source.len();
    let end =
        |blocks: u64| Some(Levels::new(blocks, block, block, blocks.checked_mul(block.bytes())?)?.end());
    // More data is a longer whole, so the only number that can fit is found by halving.
    let (mut low, mut high) = (1, length / block.bytes());
    while low < high {
        let middle = low + (high - low) / 2;
        if end(middle).is_some_and(|end| end < length) { low = middle + 1 } else { high = middle }
    }
    let at = low.checked_mul(block.bytes())?;
    let fits = end(low) == Some(length) && Superblock::read(source, at).is_ok_and(|sb| sb.data_blocks == low);
    fits.then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> Superblock {
        Superblock { params: Params::derived(Uuid::NAMESPACE_DNS, 77), data_blocks: 77 }
    }

    #[test]
    fn reading_undoes_writing() {
        let bytes = [vec![9; 7], superblock().encode()].concat();
        assert_eq!(Superblock::read(&bytes, 7).unwrap(), superblock());
        assert!(Superblock::read(&bytes, 8).is_err());
    }

    #[test]
    fn every_field_is_checked() {
        let rows: &[(usize, u8, &str)] = &[
            (0, 1, "superblock.signature at byte 0"),
            (8, 2, "superblock.version at byte 8: found 2, want 1"),
            (12, 0, "superblock.hash_type at byte 12: found 0, want 1"),
            (37, b'5', "superblock.algorithm at byte 32: found \"sha255\", want \"sha256\""),
            (50, 1, "superblock.algorithm"),
            (64, 1, "superblock.data_block_size at byte 64: found 4097"),
            (70, 16, "superblock.hash_block_size at byte 68: found 1052672"),
            (72, 0, "superblock.data_blocks at byte 72: found 0, want at least 1"),
            (81, 2, "superblock.salt_size at byte 80: found 544, want at most 256"),
            (82, 1, "superblock.padding at byte 82"),
            (88 + 32, 1, "superblock.salt at byte 88"),
            (511, 1, "superblock.padding at byte 344"),
        ];
        for &(at, byte, text) in rows {
            let mut bytes = superblock().encode();
            bytes[at] = byte;
            let error = Superblock::read(&bytes, 0).unwrap_err().to_string();
            assert!(error.contains(text), "{at}: {error}");
        }
    }
}
