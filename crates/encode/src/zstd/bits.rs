//! The backward bit streams of zstd: bits are added from the lowest, and a final one marks the end (RFC 8878,
//! 4.1).

/// Writes bits into a slice. Bytes behind the slice's end are counted and lost, so that an output which is
/// too small shows by its size.
pub(super) struct BitWriter<'a> {
    out: &'a mut [u8],
    at: usize,
    bits: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// A stream that begins at `at` of `out`.
    pub(super) fn new(out: &'a mut [u8], at: usize) -> Self {
        Self { out, at, bits: 0, count: 0 }
    }

    /// Adds `count` bits; `value` has none above them. At most 56 bits may be added between two flushes.
    #[inline(always)]
    pub(super) fn add(&mut self, value: u64, count: u32) {
        self.bits |= value << self.count;
        self.count += count;
    }

    /// Adds the lowest `count` bits of `value`, up to 31 of them.
    #[inline(always)]
    pub(super) fn add_low(&mut self, value: u32, count: u32) {
        self.add(u64::from(value & ((1 << count) - 1)), count);
    }

    /// Moves whole bytes out.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        let bytes = self.count >> 3;
        if let Some(place) = self.out.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut::<8>) {
            *place = self.bits.to_le_bytes();
        }
        self.at += bytes as usize;
        self.bits >>= bytes * 8;
        self.count &= 7;
    }

    /// Marks the end and gives the position behind the stream.
    pub(super) fn close(mut self) -> usize {
        self.add(1, 1);
        self.close_unmarked()
    }

    /// Gives the position behind the stream, the last byte being filled up with zeros.
    pub(super) fn close_unmarked(mut self) -> usize {
        self.flush();
        self.at + usize::from(self.count > 0)
    }
}

/// The eight bytes at `at`, or zero where there are not so many.
#[inline(always)]
pub(super) fn load64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// The eight bytes at `at`, those behind the end being zero.
#[inline(always)]
pub(super) fn load64_short(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => rest.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
    }
}

/// The four bytes at `at`, or zero where there are not so many.
#[inline(always)]
pub(super) fn load32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// Copies `bytes` to `at` of `out` as far as they fit, and gives the position behind them.
pub(super) fn put(out: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
    at + bytes.len()
}

/// Reads what [`BitWriter`] wrote: from the end, the bits of one `add` as one number.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// How many bits are left.
    left: usize,
}

impl<'a> BitReader<'a> {
    /// A reader of a stream that ends with its mark at the end of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let last = bytes.last().filter(|&&last| last > 0)?;
        Some(Self { bytes, left: (bytes.len() - 1) * 8 + last.ilog2() as usize })
    }

    /// The next `count` bits, up to 56.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> Option<u64> {
        self.left = self.left.checked_sub(count as usize)?;
        Some(load64_short(self.bytes, self.left / 8) >> (self.left % 8) & ((1 << count) - 1))
    }

    /// Whether every bit was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0
    }
}
