//! Directories: blocks of 12-byte entries followed by their names (`struct erofs_dirent`).
//!
//! ```text
//! | nid:8 nameoff:2 type:1 0:1 | nid nameoff type 0 | … | name name … | zeros |
//! ```
//!
//! The first `nameoff` of a block says how many entries it has. Names are in ascending byte order through the
//! whole directory, `.` and `..` among them, so that the kernel finds a name by two binary searches. A name
//! ends where the next one begins; the last one of a block ends at the first NUL byte or at the end of the
//! block.

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{FormatError, Rule};
use crate::filetype::FileType;
use crate::units::Nid;

/// The length of an entry without its name, in bytes.
pub const ENTRY_SIZE: usize = 12;
/// The longest name, in bytes (`EROFS_NAME_LEN`).
pub const NAME_MAX: usize = 255;

#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Record {
    nid: U64,
    nameoff: U16,
    file_type: u8,
    reserved: u8,
}

const _: () = assert!(size_of::<Record>() == ENTRY_SIZE);

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirent<'a> {
    /// The inode that the name leads to.
    pub nid: Nid,
    /// Its type; `None` where the number is 0 (unknown) or not one of the format's.
    pub file_type: Option<FileType>,
    /// The name, 1 to 255 bytes without `/` and NUL.
    pub name: &'a [u8],
}

/// How many entries go into each directory block, and how many bytes it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlan {
    /// Entries in this block.
    pub entries: usize,
    /// Bytes used by entries and names; at most the block size.
    pub used: usize,
}

/// Splits names, given by their lengths in the order in which they will be stored, over blocks of
/// `block_size` bytes.
pub fn plan_blocks(name_lengths: impl IntoIterator<Item = usize>, block_size: usize) -> Vec<BlockPlan> {
    let mut blocks = Vec::new();
    let mut current = BlockPlan { entries: 0, used: 0 };
    for length in name_lengths {
        let need = length.saturating_add(ENTRY_SIZE);
        if current.entries != 0 && current.used.saturating_add(need) > block_size {
            blocks.push(current);
            current = BlockPlan { entries: 0, used: 0 };
        }
        current.entries = current.entries.saturating_add(1);
        current.used = current.used.saturating_add(need);
    }
    if current.entries != 0 {
        blocks.push(current);
    }
    blocks
}

/// The size of a directory whose blocks are `plan`: whole blocks, then what the last one uses.
pub fn directory_size(plan: &[BlockPlan], block_size: usize) -> u64 {
    let Some((last, whole)) = plan.split_last() else { return 0 };
    let bytes = whole.len().saturating_mul(block_size).saturating_add(last.used);
    crate::error::units_u64(bytes)
}

/// Appends one block of entries to `out`, without padding behind the last name. Entries must be sorted and
/// fit (see [`plan_blocks`]); a name that is empty, too long or holds `/` or NUL, or entries out of order are
/// an error.
pub fn encode_block(entries: &[Dirent<'_>], out: &mut Vec<u8>) -> Result<(), FormatError> {
    let mut nameoff = entries.len().saturating_mul(ENTRY_SIZE);
    let mut previous: Option<&[u8]> = None;
    for entry in entries {
        check_name(entry.name)?;
        if previous.is_some_and(|name| name >= entry.name) {
            let name = String::from_utf8_lossy(entry.name).into_owned();
            return Err(FormatError::limit("order of directory entries", name, "ascending, unique names"));
        }
        previous = Some(entry.name);
        let record = Record {
            nid: U64::new(entry.nid.0),
            nameoff: U16::new(u16::try_from(nameoff).map_err(|_| {
                FormatError::limit("offset of a name in a directory block", nameoff, "at most 65535")
            })?),
            file_type: entry.file_type.map_or(0, FileType::number),
            reserved: 0,
        };
        out.extend_from_slice(record.as_bytes());
        nameoff = nameoff.saturating_add(entry.name.len());
    }
    for entry in entries {
        out.extend_from_slice(entry.name);
    }
    Ok(())
}

fn check_name(name: &[u8]) -> Result<(), FormatError> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(FormatError::limit("length of a file name", name.len(), "1 to 255 bytes"));
    }
    if name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(FormatError::limit(
            "file name",
            String::from_utf8_lossy(name),
            "names without '/' and NUL",
        ));
    }
    Ok(())
}

/// A directory block whose first name offset was checked.
#[derive(Debug, Clone, Copy)]
pub struct DirBlock<'a> {
    bytes: &'a [u8],
    count: usize,
    at: u64,
}

impl<'a> DirBlock<'a> {
    /// Takes the bytes of one block; the last block of a directory is as long as the directory goes. `at` is
    /// the byte of the directory where the block starts, for messages.
    pub fn new(bytes: &'a [u8], at: u64) -> Result<Self, FormatError> {
        let (first, _) = Record::read_from_prefix(bytes)
            .map_err(|_| FormatError::short("directory block", at, bytes.len(), ENTRY_SIZE))?;
        let nameoff = usize::from(first.nameoff.get());
        if nameoff < ENTRY_SIZE || nameoff % ENTRY_SIZE != 0 || nameoff > bytes.len() {
            let want = format!("a multiple of 12 from 12 to {}", bytes.len());
            return Err(
                FormatError::field("dirent.nameoff", at.saturating_add(8), nameoff, want).of(Rule::Dirent)
            );
        }
        Ok(Self { bytes, count: nameoff / ENTRY_SIZE, at })
    }

    /// How many entries the block has; at least 1.
    pub fn count(&self) -> usize {
        self.count
    }

    fn record(&self, index: usize) -> Option<Record> {
        let start = index.checked_mul(ENTRY_SIZE)?;
        Record::read_from_prefix(self.bytes.get(start..)?).ok().map(|(record, _)| record)
    }

    /// The entry at `index`, below [`Self::count`].
    pub fn entry(&self, index: usize) -> Result<Dirent<'a>, FormatError> {
        let at = self.at.saturating_add(crate::error::units_u64(index.saturating_mul(ENTRY_SIZE)));
        let short = || FormatError::short("dirent", at, self.bytes.len(), ENTRY_SIZE);
        let record = self.record(index).ok_or_else(short)?;
        let start = usize::from(record.nameoff.get());
        let last = index.saturating_add(1) >= self.count;
        let end = if last {
            self.bytes.len()
        } else {
            usize::from(self.record(index.saturating_add(1)).ok_or_else(short)?.nameoff.get())
        };
        let names_at = self.count.saturating_mul(ENTRY_SIZE);
        let mut name =
            if start >= names_at { self.bytes.get(start..end) } else { None }.ok_or_else(|| {
                let want = format!("an ascending offset from {names_at} to {}", self.bytes.len());
                FormatError::field("dirent.nameoff", at.saturating_add(8), format!("{start} to {end}"), want)
                    .of(Rule::Dirent)
            })?;
        if last {
            name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        }
        if check_name(name).is_err() {
            let found = String::from_utf8_lossy(name).into_owned();
            return Err(FormatError::field(
                "dirent name",
                at,
                format!("{found:?}"),
                "1 to 255 bytes without '/' and NUL",
            )
            .of(Rule::Dirent));
        }
        Ok(Dirent { nid: Nid(record.nid.get()), file_type: FileType::from_number(record.file_type), name })
    }

    /// Every entry in order.
    pub fn entries(self) -> impl Iterator<Item = Result<Dirent<'a>, FormatError>> {
        (0..self.count).map(move |index| self.entry(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirent(name: &[u8], nid: u64) -> Dirent<'_> {
        Dirent { nid: Nid(nid), file_type: Some(FileType::Regular), name }
    }

    #[test]
    fn decoding_undoes_encoding() {
        let entries = [dirent(b".", 1), dirent(b"..", 2), dirent(b"a\xff", 3), dirent(&[b'z'; 255], 4)];
        let mut bytes = Vec::new();
        encode_block(&entries, &mut bytes).unwrap();
        let used = bytes.len();
        assert_eq!(used, plan_blocks(entries.iter().map(|e| e.name.len()), 4096)[0].used);
        for length in [used, used + 1, 4096] {
            bytes.resize(length, 0);
            let block = DirBlock::new(&bytes, 0).unwrap();
            let read: Vec<_> = block.entries().map(Result::unwrap).collect();
            assert_eq!(read, entries);
        }
    }

    #[test]
    fn blocks_are_filled_and_never_overfilled() {
        for (lengths, block, want) in [
            (vec![], 512, vec![]),
            (vec![1, 2], 512, vec![(2, 27)]),
            (vec![244, 244], 512, vec![(2, 512)]),
            (vec![244, 245], 512, vec![(1, 256), (1, 257)]),
            (vec![255; 3], 512, vec![(1, 267), (1, 267), (1, 267)]),
        ] {
            let plan = plan_blocks(lengths.iter().copied(), block);
            let got: Vec<_> = plan.iter().map(|b| (b.entries, b.used)).collect();
            assert_eq!(got, want, "{lengths:?}");
        }
        let plan = plan_blocks([244, 245], 512);
        assert_eq!(directory_size(&plan, 512), 512 + 257);
    }

    #[test]
    fn bad_names_and_order_are_refused() {
        let long = [b'x'; 256];
        for wrong in [&b""[..], b"a/b", b"a\0", &long] {
            assert!(encode_block(&[dirent(wrong, 1)], &mut Vec::new()).is_err(), "{wrong:?}");
        }
        assert!(encode_block(&[dirent(b"b", 1), dirent(b"a", 1)], &mut Vec::new()).is_err());
        assert!(encode_block(&[dirent(b"a", 1), dirent(b"a", 1)], &mut Vec::new()).is_err());
    }

    #[test]
    fn hostile_offsets_are_errors() {
        let mut good = Vec::new();
        encode_block(&[dirent(b"aa", 1), dirent(b"bb", 2)], &mut good).unwrap();
        for (index, byte) in [(8, 0), (8, 13), (9, 0xff), (20, 0), (20, 23), (21, 0xff), (24, b'/')] {
            let mut bytes = good.clone();
            bytes[index] = byte;
            let outcome =
                DirBlock::new(&bytes, 0).and_then(|block| block.entries().collect::<Result<Vec<_>, _>>());
            assert!(outcome.is_err(), "byte {index} = {byte}: {outcome:?}");
        }
        assert!(DirBlock::new(&good[..11], 0).is_err());
    }
}
