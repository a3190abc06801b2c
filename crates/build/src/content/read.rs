//! Reading: the bytes of a unit, and everything that can be said of them without knowing where they will be.
//!
//! This is the only read of a file's bytes: fingerprint, key, holes and chunk keys come from the same buffer that is
//! written.

use std::ops::Range;

use erofs_algo::fingerprint::{Fingerprint, Hasher};

use super::holes::{SEGMENT_BITS, SEGMENT_SIZE, chunks_pay, is_zero, unit_bits};
use super::opened::Input;
use super::units::{File, Hole, Unit};
use crate::error::BuildError;
use crate::key;
use crate::layout::plan::Plan;
use crate::options::{ContentOptions, FingerprintOptions};

/// A buffer of [`SEGMENT_SIZE`] bytes; used again and again, because the first touch of memory is dear.
pub(crate) type Buffer = Box<[u8]>;

/// A fresh buffer.
pub(crate) fn new_buffer() -> Buffer {
    vec![0; SEGMENT_SIZE].into_boxed_slice()
}

/// What is known of one piece of a file of a fixed size.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece {
    /// Zeros only.
    Zero,
    /// Bytes; the key is there where equal chunks are to be found.
    Bytes(Option<[u8; 32]>),
}

/// A whole file or a segment that was read.
#[derive(Debug)]
pub(crate) struct ReadPart {
    /// Index of the file.
    pub(crate) file: usize,
    /// Where its bytes are in the buffer.
    pub(crate) range: Range<usize>,
    /// Stands for the content, for the image's UUID; not a cryptographic digest.
    pub(crate) key: u128,
    /// The fingerprint of a whole file, where one is computed.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// How long a piece is, as a power of two of bytes, and the pieces. None: the whole file is stored as one run.
    pub(crate) pieces: Option<(u8, Vec<Piece>)>,
}

/// A unit that was read.
#[derive(Debug)]
pub(crate) enum ReadUnit {
    /// Whole files.
    Batch {
        /// One part per file.
        parts: Vec<ReadPart>,
        /// Their bytes.
        buffer: Buffer,
    },
    /// A segment of a large file.
    Segment {
        /// The segment.
        part: ReadPart,
        /// Its first byte in the file.
        offset: u64,
        /// Whether it is the last.
        last: bool,
        /// Its bytes.
        buffer: Buffer,
    },
    /// Segments of a large file that are a hole.
    Hole(Hole),
}

/// What reading needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) input: &'a dyn Input,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) files: &'a [File],
    pub(crate) options: &'a ContentOptions,
}

impl Reader<'_> {
    /// A fresh hasher, if fingerprints are computed.
    pub(crate) fn hasher(&self) -> Option<Box<dyn Hasher>> {
        self.options.fingerprint.as_ref()?.hasher()
    }

    /// Reads a unit into `buffer`.
    pub(crate) fn read(&self, unit: &Unit, mut buffer: Buffer) -> Result<ReadUnit, BuildError> {
        match unit {
            Unit::Batch(range) => {
                let mut places = Vec::with_capacity(range.len());
                let mut at = 0;
                for index in range.clone() {
                    let length = usize::try_from(self.files[index].size).unwrap_or(SEGMENT_SIZE);
                    let place = at..at + length;
                    self.fill(index, 0, &mut buffer[place.clone()])?;
                    places.push(place);
                    at += length;
                }
                let contents: Vec<&[u8]> = places.iter().map(|place| &buffer[place.clone()]).collect();
                let fingerprints = FingerprintOptions::each(self.options.fingerprint.as_ref(), &contents);
                let files = range.clone().zip(places).zip(fingerprints);
                let parts = files
                    .map(|((index, place), fingerprint)| {
                        self.whole(index, place.clone(), &buffer[place], fingerprint)
                    })
                    .collect();
                Ok(ReadUnit::Batch { parts, buffer })
            }
            &Unit::Segment { file, offset, length, last } => {
                self.fill(file, offset, &mut buffer[..length])?;
                let bits = self.piece_bits(self.files[file].size);
                let bytes = &buffer[..length];
                let pieces = Some((bits, self.pieces(bytes, bits)));
                let key = if self.wants_key(file, offset) { key::of(bytes) } else { 0 };
                let part = ReadPart { file, range: 0..length, key, fingerprint: None, pieces };
                Ok(ReadUnit::Segment { part, offset, last, buffer })
            }
        }
    }

    /// Whether a fingerprint will stand for each content.
    pub(crate) fn is_hashed(&self) -> bool {
        self.options.fingerprint.as_ref().is_some_and(FingerprintOptions::is_computed)
    }

    /// Whether the key of a segment is needed. Where a fingerprint will stand for the content, it only tells
    /// whether two files begin alike.
    pub(crate) fn wants_key(&self, file: usize, offset: u64) -> bool {
        !self.is_hashed() || (offset == 0 && self.files[file].has_twin)
    }

    fn fill(&self, file: usize, offset: u64, bytes: &mut [u8]) -> Result<(), BuildError> {
        self.input.fill(&self.files[file], offset, bytes)
    }

    fn whole(
        &self,
        file: usize,
        range: Range<usize>,
        bytes: &[u8],
        fingerprint: Option<Fingerprint>,
    ) -> ReadPart {
        // The fingerprint stands for the content already.
        let key = key::of(fingerprint.as_ref().map_or(bytes, |fingerprint| &fingerprint.digest));
        let inode = self.files[file].inode;
        let reserved = u64::from(self.plan.placed[inode.index()].reserved);
        let bits = self.piece_bits(bytes.len() as u64);
        let wanted =
            self.options.chunks.is_some() || chunks_pay(bytes, 1 << bits, self.plan.block_bits, reserved);
        let pieces = wanted.then(|| (bits, self.pieces(bytes, bits)));
        ReadPart { file, range, key, fingerprint, pieces }
    }

    /// The size of pieces for a file of `size` bytes: that of its chunks, but no more than a segment.
    pub(crate) fn piece_bits(&self, size: u64) -> u8 {
        match self.options.chunks {
            Some(chunks) => chunks.bits.min(SEGMENT_BITS),
            None => unit_bits(size, self.plan.block_bits),
        }
    }

    fn pieces(&self, bytes: &[u8], bits: u8) -> Vec<Piece> {
        let keyed = self.options.chunks.is_some_and(|chunks| chunks.bits <= SEGMENT_BITS);
        let judge = |piece: &[u8]| {
            if is_zero(piece) {
                Piece::Zero
            } else {
                Piece::Bytes(keyed.then(|| erofs_algo::chunk_key(piece)))
            }
        };
        bytes.chunks(1 << bits).map(judge).collect()
    }
}
