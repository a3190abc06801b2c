//! The positions of hashed bytes: where in the source they stood last.

use super::block::low;

/// Slots of the table, as a power of two: 16 KiB, a third of a first-level cache.
const SLOTS_LOG: u32 = 13;

/// The last position of each hash, modulo 2^16. There is always a position before the present one that a slot
/// stands for: 0 stands for the first byte of the source, and whatever a slot means, the bytes are compared.
pub(super) struct Table(Box<[u16; 1 << SLOTS_LOG]>);

impl Table {
    pub(super) fn new() -> Self {
        Self(Box::new([0; 1 << SLOTS_LOG]))
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Puts `at` in the slot of `bytes`; tells how far before `at` the position is that was there, 1 to 2^16.
    #[inline]
    pub(super) fn exchange<const HASHED: u32>(&mut self, bytes: u64, at: usize) -> usize {
        let slot = &mut self.0[slot::<HASHED>(bytes)];
        let before = std::mem::replace(slot, low(at));
        // In this order, because the encoder waits for `before`.
        usize::from(low(at).wrapping_sub(1).wrapping_sub(before)) + 1
    }

    #[inline]
    pub(super) fn put<const HASHED: u32>(&mut self, bytes: u64, at: usize) {
        self.0[slot::<HASHED>(bytes)] = low(at);
    }
}

/// The slot of the first `HASHED` of eight bytes. The multiplier is 2^64 divided by the golden ratio.
#[inline]
fn slot<const HASHED: u32>(bytes: u64) -> usize {
    ((bytes << (64 - 8 * HASHED)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS_LOG)) as usize
}
