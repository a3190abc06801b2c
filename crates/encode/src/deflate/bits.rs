//! Bits, least significant first, into a buffer.

/// A buffer that takes bits and can be cut back.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Whole bytes written.
    at: usize,
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// A writer for at most `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity + 8], at: 0, pending: 0, pending_bits: 0 }
    }

    /// Forgets everything and provides for `capacity` bytes.
    pub(super) fn restart(&mut self, capacity: usize) {
        if self.bytes.len() < capacity + 8 {
            self.bytes.resize(capacity + 8, 0);
        }
        (self.at, self.pending, self.pending_bits) = (0, 0, 0);
    }

    /// How many bits stand written.
    pub(super) fn position(&self) -> u64 {
        self.at as u64 * 8 + u64::from(self.pending_bits)
    }

    /// Takes `bits` bits of `value`, whose others are 0. At most 56 may come between two flushes.
    #[inline]
    pub(super) fn put(&mut self, value: u64, bits: u32) {
        self.pending |= value << self.pending_bits;
        self.pending_bits = self.pending_bits.wrapping_add(bits);
    }

    /// Moves whole bytes to the buffer.
    #[inline]
    pub(super) fn flush(&mut self) {
        if let Some(room) = self.bytes.get_mut(self.at..self.at.wrapping_add(8)) {
            room.copy_from_slice(&self.pending.to_le_bytes());
        }
        self.at = self.at.wrapping_add((self.pending_bits >> 3) as usize);
        self.pending >>= self.pending_bits & !7;
        self.pending_bits &= 7;
    }

    /// Ends the byte that has been begun.
    pub(super) fn align(&mut self) {
        self.flush();
        if self.pending_bits > 0 {
            self.pending_bits = 8;
            self.flush();
        }
    }

    /// Appends whole bytes; the position must be aligned.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.at..end) {
            room.copy_from_slice(bytes);
        }
        self.at = end;
    }

    /// Sets one bit that has been written as 0.
    pub(super) fn set_bit(&mut self, position: u64) {
        let at = usize::try_from(position / 8).unwrap_or(usize::MAX);
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte |= 1 << (position % 8);
        }
    }

    /// Ends the stream: the block whose header stands at `header` is the last.
    pub(super) fn set_final(&mut self, header: u64) {
        self.align();
        self.set_bit(header);
    }

    /// What has been written; `None` when it was more than there is room for. The position must be aligned.
    pub(super) fn written(&self) -> Option<&[u8]> {
        self.bytes.get(..self.at)
    }
}
