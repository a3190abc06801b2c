//! Where the content of a file is: extents with their addresses, and what is left for another place.
//!
//! Content knows nothing of inodes: what is in front of its table, and where the inode is, is decided later
//! (`layout`). Until then a file's content waits in a spool, as a record.

use std::ops::Range;

use erofs_format::BlockBits;
use erofs_format::compression::Algorithm;
use erofs_format::datalayout::chunk::CHUNK_BITS_MAX;
use erofs_format::extent::Coding;

use crate::error::BuildError;
use crate::options::IndexForm;

/// A byte of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    /// 0 is the image itself, 1 the first extra device.
    pub(crate) device: u16,
    /// First byte on the device.
    pub(crate) byte: u64,
}

impl Address {
    /// A byte of the image itself.
    pub(crate) fn own(byte: u64) -> Self {
        Self { device: 0, byte }
    }
}

/// Bytes of a file, and where they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First byte in the file.
    pub(crate) start: u64,
    /// Bytes of the file.
    pub(crate) length: u64,
    /// Bytes that are stored, padding included; 0 for a hole.
    pub(crate) stored: u64,
    /// The first stored byte; `None` for a hole.
    pub(crate) at: Option<Address>,
    /// What the stored bytes are. In files that are not compressed they are the content.
    pub(crate) coding: Coding,
    /// More is stored there than this file has of it.
    pub(crate) partial: bool,
}

impl Extent {
    /// First byte of the file behind it.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.length
    }

    /// Whether `next` goes on where this extent of a plain file ends.
    fn continues(&self, next: &Self) -> bool {
        match (self.at, next.at) {
            (None, None) => true,
            (Some(at), Some(behind)) => {
                self.length == self.stored
                    && at.device == behind.device
                    && at.byte.checked_add(self.stored) == Some(behind.byte)
            }
            _ => false,
        }
    }
}

/// What kind of data layout a file gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Stored as it is. With `chunk_bits` it is chunk-based in any case, in chunks of at most 2^`chunk_bits`
    /// bytes; else only if it is not one run of blocks.
    Plain { chunk_bits: Option<u8> },
    /// Compressed.
    Compressed {
        index: IndexForm,
        /// Size of an lcluster as a power of two of bytes.
        lcluster_bits: u8,
        /// What the head of a fragment names where nothing else is encoded.
        algorithm: Algorithm,
    },
}

/// The end of a file that is not in extents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Tail<B> {
    /// There is none.
    #[default]
    None,
    /// The last bytes of a plain file, which follow its inode.
    Plain(B),
    /// A last pcluster, which follows the index: bytes of content, what encoded it, and what is stored.
    Pcluster { length: u32, coding: Coding, bytes: B },
    /// Bytes of the packed inode.
    Fragment { length: u32, offset: u64 },
}

impl<B> Tail<B> {
    /// The stored bytes that follow the inode.
    fn bytes(&self) -> Option<&B> {
        match self {
            Self::Plain(bytes) | Self::Pcluster { bytes, .. } => Some(bytes),
            Self::None | Self::Fragment { .. } => None,
        }
    }
}

/// The content of a file. `B` is where the bytes of its tail are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content<B> {
    pub(crate) class: Class,
    /// In the order of the file, without gaps.
    pub(crate) extents: Vec<Extent>,
    pub(crate) tail: Tail<B>,
}

impl<B> Content<B> {
    /// Nothing yet.
    pub(crate) fn new(class: Class) -> Self {
        Self { class, extents: Vec::new(), tail: Tail::None }
    }

    /// The first byte of the file behind its extents.
    pub(crate) fn end(&self) -> u64 {
        self.extents.last().map_or(0, Extent::end)
    }

    /// Adds an extent, whose start is where the one before it ends. In plain files it lengthens that if it
    /// goes on there.
    pub(crate) fn push(&mut self, extent: Extent) {
        let extent = Extent { start: self.end(), ..extent };
        if let (Class::Plain { .. }, Some(last)) = (self.class, self.extents.last_mut())
            && last.continues(&extent)
        {
            last.length += extent.length;
            last.stored += extent.stored;
            return;
        }
        self.extents.push(extent);
    }

    /// What holds `length` bytes from byte `from` on, where an extent starts; `None` if none does or if they
    /// are not all in pclusters.
    pub(crate) fn refer(&self, from: u64, length: u64) -> Option<Vec<Extent>> {
        let first = self.extents.binary_search_by_key(&from, |extent| extent.start).ok()?;
        let end = from.checked_add(length)?;
        let mut found: Vec<Extent> =
            self.extents[first..].iter().take_while(|extent| extent.start < end).copied().collect();
        let last = found.last_mut()?;
        let kept = end - last.start;
        if kept < last.length {
            last.length = kept;
            last.partial = matches!(last.coding, Coding::Compressed(_));
        }
        (last.end() == end).then_some(found)
    }

    /// Makes a compressed file of nothing but plain blocks, one behind the other, one that is stored as it
    /// is. Anything else stays. Bytes that were to follow the inode without being encoded become its tail, if
    /// that `fits`.
    pub(crate) fn flatten(&mut self, fits: impl Fn(&B) -> bool) {
        let plain =
            |extent: &Extent| extent.coding == Coding::Shifted && extent.at.is_some() && !extent.partial;
        let keeps_tail = match &self.tail {
            Tail::None => true,
            Tail::Pcluster { coding: Coding::Shifted, bytes, .. } => fits(bytes),
            Tail::Pcluster { .. } | Tail::Plain(_) | Tail::Fragment { .. } => false,
        };
        if !self.extents.iter().all(plain) || !keeps_tail {
            return;
        }
        let mut flat = Self::new(Class::Plain { chunk_bits: None });
        self.extents.iter().for_each(|extent| flat.push(*extent));
        if flat.extents.len() <= 1 {
            self.class = flat.class;
            self.extents = flat.extents;
            if let Tail::Pcluster { bytes, .. } = std::mem::replace(&mut self.tail, Tail::None) {
                self.tail = Tail::Plain(bytes);
            }
        }
    }

    /// Blocks that the pclusters take: those that the file refers to twice count once.
    pub(crate) fn blocks(&self, block_bits: BlockBits) -> u64 {
        let mut pclusters: Vec<(Address, u64)> =
            self.extents.iter().filter_map(|extent| Some((extent.at?, extent.stored))).collect();
        if !pclusters.is_sorted() {
            pclusters.sort_unstable();
        }
        pclusters.dedup();
        block_bits.blocks_ceil(pclusters.iter().map(|&(_, stored)| stored).sum())
    }

    /// Whether there are two algorithms among the extents.
    pub(crate) fn has_two_algorithms(&self) -> bool {
        let tail = match &self.tail {
            Tail::Pcluster { coding, .. } => Some(*coding),
            Tail::None | Tail::Plain(_) | Tail::Fragment { .. } => None,
        };
        let codings = self.extents.iter().map(|extent| extent.coding).chain(tail);
        let mut compressed = codings.filter(|coding| matches!(coding, Coding::Compressed(_)));
        let first = compressed.next();
        compressed.any(|coding| Some(coding) != first)
    }

    /// Whether the file is one run of blocks and perhaps a tail, which needs no table. On another device it
    /// is one only with a tail, which else would need a block: Linux finds the device by the address
    /// (`erofs_map_dev`), fsck.erofs does not.
    pub(crate) fn is_flat(&self) -> bool {
        let has_tail = !matches!(self.tail, Tail::None);
        let is_flat = |at: Address| at.device == 0 || has_tail;
        let are_flat = self.extents.iter().all(|extent| extent.at.is_some_and(is_flat));
        matches!(self.class, Class::Plain { chunk_bits: None }) && self.extents.len() <= 1 && are_flat
    }

    /// The size of the chunks of a plain file that is not flat, as a power of two of bytes: as large as the
    /// places at which its extents start let it be, so that the table is short.
    pub(crate) fn chunk_bits(&self) -> u8 {
        let most = match self.class {
            Class::Plain { chunk_bits: Some(bits) } => bits,
            Class::Plain { chunk_bits: None } | Class::Compressed { .. } => CHUNK_BITS_MAX,
        };
        let aligned = self.extents.iter().map(|extent| extent.start.trailing_zeros()).min().unwrap_or(0);
        u8::try_from(aligned).unwrap_or(u8::MAX).min(most)
    }
}

/// Bytes of a record's head.
const HEAD: usize = 24;
/// Bytes of an extent in a record.
const EXTENT: usize = 28;

/// What of a content is known without its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One run of blocks, and perhaps a tail.
    Flat,
    /// Chunks of this size as a power of two of bytes, and whether any is on an extra device.
    Chunked { bits: u8, has_devices: bool },
    /// Compressed.
    Compressed,
}

/// Where the record of a content is in the spool, and how long its parts are.
///
/// A record is for this run alone: head, extents, fingerprint, tail; numbers are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    at: u64,
    extents: u32,
    fingerprint: u32,
    tail: u32,
    pub(crate) kind: Kind,
}

impl Record {
    /// The record of a content with a fingerprint and a tail of so many bytes. It has no place yet.
    pub(crate) fn new<B>(content: &Content<B>, fingerprint: usize, tail: usize) -> Result<Self, BuildError> {
        let narrow = |length: usize| {
            u32::try_from(length).map_err(|_| BuildError::Internal(format!("a record with {length} entries")))
        };
        let has_devices = || content.extents.iter().any(|extent| extent.at.is_some_and(|at| at.device != 0));
        let kind = match content.class {
            Class::Compressed { .. } => Kind::Compressed,
            Class::Plain { .. } if content.is_flat() => Kind::Flat,
            Class::Plain { .. } => Kind::Chunked { bits: content.chunk_bits(), has_devices: has_devices() },
        };
        let extents = narrow(content.extents.len())?;
        Ok(Self { at: 0, extents, fingerprint: narrow(fingerprint)?, tail: narrow(tail)?, kind })
    }

    /// The same at byte `at` of the spool.
    pub(crate) fn placed(self, at: u64) -> Self {
        Self { at, ..self }
    }

    /// Where it is.
    pub(crate) fn range(&self) -> Range<u64> {
        self.at..self.at + self.len()
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        HEAD as u64
            + u64::from(self.extents) * EXTENT as u64
            + u64::from(self.fingerprint)
            + u64::from(self.tail)
    }

    /// Bytes of the tail that follow the inode, or its table.
    pub(crate) fn tail(&self) -> u32 {
        self.tail
    }

    /// What its bytes say: the content, and the value of the fingerprint.
    pub(crate) fn decode<'b>(&self, bytes: &'b [u8]) -> Result<(Content<&'b [u8]>, &'b [u8]), BuildError> {
        let wrong = || BuildError::Internal(format!("{} bytes of a record that cannot be read", bytes.len()));
        let (head, rest) = bytes.split_at_checked(HEAD).ok_or_else(wrong)?;
        let length = self.extents as usize * EXTENT;
        let (list, rest) = rest.split_at_checked(length).ok_or_else(wrong)?;
        let (fingerprint, tail) = rest.split_at_checked(self.fingerprint as usize).ok_or_else(wrong)?;
        let class = match head[0] {
            0 => Class::Plain { chunk_bits: (head[1] != 0).then_some(head[1]) },
            _ => Class::Compressed {
                index: index_of(head[1]).ok_or_else(wrong)?,
                lcluster_bits: head[2],
                algorithm: Algorithm::from_number(head[3]).ok_or_else(wrong)?,
            },
        };
        let number = |at: usize| u64_at(head, at);
        let tail_length = u32::try_from(number(8)).map_err(|_| wrong())?;
        let tail = match head[4] {
            0 => Tail::None,
            1 => Tail::Plain(tail),
            2 => Tail::Pcluster {
                length: tail_length,
                coding: coding_of(head[5]).ok_or_else(wrong)?,
                bytes: tail,
            },
            _ => Tail::Fragment { length: tail_length, offset: number(16) },
        };
        let mut content = Content { class, extents: Vec::with_capacity(self.extents as usize), tail };
        let mut start = 0;
        for entry in list.as_chunks::<EXTENT>().0 {
            let coding = coding_of(entry[26]).ok_or_else(wrong)?;
            let length = u64_at(entry, 0);
            let device = u16::from_le_bytes([entry[24], entry[25]]);
            let at = (entry[27] & 1 == 0).then(|| Address { device, byte: u64_at(entry, 16) });
            let partial = entry[27] & 2 != 0;
            content.extents.push(Extent { start, length, stored: u64_at(entry, 8), at, coding, partial });
            start += length;
        }
        Ok((content, fingerprint))
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |number| u64::from_le_bytes(*number))
}

impl<B> Content<B> {
    /// Appends a record. `bytes` are those of the tail.
    pub(crate) fn encode(&self, fingerprint: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
        self.encode_head(out);
        self.extents.iter().for_each(|extent| extent.encode(out));
        out.extend_from_slice(fingerprint);
        out.extend_from_slice(bytes);
    }

    /// Bytes that stand for class, extents and tail in the image's UUID: their places, and how they are
    /// encoded.
    pub(crate) fn places(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.extents.len() * EXTENT);
        self.encode_head(&mut bytes);
        self.extents.iter().for_each(|extent| extent.encode(&mut bytes));
        bytes
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        let mut head = [0; HEAD];
        match self.class {
            Class::Plain { chunk_bits } => head[1] = chunk_bits.unwrap_or(0),
            Class::Compressed { index, lcluster_bits, algorithm } => {
                head[..4].copy_from_slice(&[1, index_number(index), lcluster_bits, algorithm.number()]);
            }
        }
        let (kind, coding, length, offset) = match &self.tail {
            Tail::None => (0, 0, 0, 0),
            Tail::Plain(_) => (1, 0, 0, 0),
            Tail::Pcluster { length, coding, .. } => (2, coding_number(*coding), *length, 0),
            Tail::Fragment { length, offset } => (3, 0, *length, *offset),
        };
        (head[4], head[5]) = (kind, coding);
        head[8..16].copy_from_slice(&u64::from(length).to_le_bytes());
        head[16..].copy_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&head);
    }

    /// The bytes of the tail that follow the inode.
    pub(crate) fn tail_bytes(&self) -> Option<&B> {
        self.tail.bytes()
    }
}

impl Extent {
    fn encode(&self, out: &mut Vec<u8>) {
        let at = self.at.unwrap_or(Address::own(0));
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.stored.to_le_bytes());
        out.extend_from_slice(&at.byte.to_le_bytes());
        out.extend_from_slice(&at.device.to_le_bytes());
        out.push(coding_number(self.coding));
        out.push(u8::from(self.at.is_none()) | u8::from(self.partial) << 1);
    }
}

fn index_number(index: IndexForm) -> u8 {
    match index {
        IndexForm::Compact => 0,
        IndexForm::Full => 1,
        IndexForm::Extents => 2,
    }
}

fn index_of(number: u8) -> Option<IndexForm> {
    [IndexForm::Compact, IndexForm::Full, IndexForm::Extents]
        .into_iter()
        .find(|form| index_number(*form) == number)
}

fn coding_number(coding: Coding) -> u8 {
    match coding {
        Coding::Shifted => 0,
        Coding::Interlaced => 1,
        Coding::Compressed(algorithm) => 2 + algorithm.number(),
    }
}

fn coding_of(number: u8) -> Option<Coding> {
    match number {
        0 => Some(Coding::Shifted),
        1 => Some(Coding::Interlaced),
        _ => Algorithm::from_number(number - 2).map(Coding::Compressed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(length: u64, at: Option<u64>) -> Extent {
        let stored = if at.is_some() { length.next_multiple_of(4096) } else { 0 };
        let at = at.map(Address::own);
        Extent { start: 0, length, stored, at, coding: Coding::Shifted, partial: false }
    }

    fn plain(extents: &[(u64, Option<u64>)]) -> Content<()> {
        let mut content = Content::new(Class::Plain { chunk_bits: None });
        for &(length, at) in extents {
            content.push(extent(length, at));
        }
        content
    }

    #[test]
    fn records_say_what_was_encoded() {
        let pcluster =
            Tail::Pcluster { length: 5000, coding: Coding::Compressed(Algorithm::Zstd), bytes: &b"tail"[..] };
        let compressed =
            Class::Compressed { index: IndexForm::Extents, lcluster_bits: 12, algorithm: Algorithm::Lzma };
        for (class, tail) in [
            (Class::Plain { chunk_bits: None }, Tail::Plain(&b"the end"[..])),
            (Class::Plain { chunk_bits: Some(20) }, Tail::None),
            (compressed, pcluster),
            (compressed, Tail::Fragment { length: u32::MAX, offset: 1 << 40 }),
        ] {
            let mut content = Content { class, extents: Vec::new(), tail };
            for number in 0..5 {
                content.extents.push(Extent {
                    start: number * 4096,
                    length: 4096,
                    stored: number,
                    at: (number != 2).then_some(Address { device: 1, byte: u64::MAX - number }),
                    coding: Coding::Compressed(Algorithm::Deflate),
                    partial: number == 3,
                });
            }
            let bytes = content.tail_bytes().copied().unwrap_or_default();
            let mut out = Vec::new();
            content.encode(b"print", bytes, &mut out);
            let record = Record::new(&content, 5, bytes.len()).unwrap().placed(7);
            assert_eq!(record.range(), 7..7 + out.len() as u64);
            assert_eq!(record.len(), out.len() as u64);
            let (found, fingerprint) = record.decode(&out).unwrap();
            // What is nowhere has no address.
            assert_eq!((found, fingerprint), (content, &b"print"[..]));
            assert!(record.decode(&out[..HEAD + 3]).is_err());
        }
    }

    #[test]
    fn plain_extents_grow_where_bytes_follow() {
        for (extents, want) in [
            (vec![(8192, Some(4096)), (4096, Some(12_288))], 1),
            (vec![(8192, Some(4096)), (4096, Some(16_384))], 2),
            (vec![(100, Some(4096)), (4096, Some(8192))], 2),
            (vec![(4096, None), (4096, None)], 1),
            (vec![(4096, None), (4096, Some(0))], 2),
        ] {
            let content = plain(&extents);
            assert_eq!(content.extents.len(), want, "{extents:?}");
            assert_eq!(content.is_flat(), want == 1 && extents[0].1.is_some(), "{extents:?}");
        }
    }

    #[test]
    fn chunks_are_as_long_as_extents_allow() {
        let mib = 1 << 20;
        for (extents, bits) in [
            (vec![(5 << 31, None)], CHUNK_BITS_MAX),
            (vec![(mib, Some(4096)), (mib, None), (5, Some(9 * mib))], 20),
            (vec![(8192, Some(4096)), (100, Some(0))], 13),
            (vec![(12_288, Some(4096)), (100, Some(0))], 12),
        ] {
            let mut content = plain(&extents);
            assert_eq!(content.chunk_bits(), bits, "{extents:?}");
            content.class = Class::Plain { chunk_bits: Some(12) };
            assert_eq!(content.chunk_bits(), 12, "{extents:?}");
        }
    }

    #[test]
    fn references_begin_where_extents_do() {
        let mut content: Content<()> = Content::new(Class::Compressed {
            index: IndexForm::Full,
            lcluster_bits: 12,
            algorithm: Algorithm::Lz4,
        });
        for number in 0..4 {
            let coding = Coding::Compressed(Algorithm::Lz4);
            content.push(Extent { coding, stored: 4096, ..extent(10_000, Some(number * 4096)) });
        }
        assert_eq!(content.refer(10_000, 20_000).map(|found| found.len()), Some(2));
        assert_eq!(
            content.refer(10_000, 25_000).map(|found| (found.len(), found[2].length, found[2].partial)),
            Some((3, 5000, true))
        );
        for (from, length) in [(5, 10_000), (30_000, 10_001), (40_000, 1)] {
            assert_eq!(content.refer(from, length), None, "{from} {length}");
        }
    }
}
