//! Keys: numbers that stand for bytes where those are compared, and in the image's UUID.
//!
//! Rule: XXH3-128 of the bytes, numbers among them little-endian (`docs/layout-1.md`). It is fast and nothing
//! else: whoever wants two contents with one key can make them.

use twox_hash::XxHash3_128;

/// The key of these bytes.
pub(crate) fn of(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// The key that stands for several keys in their order.
pub(crate) fn joined(keys: &[u128]) -> u128 {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    of(&bytes)
}

/// The key of bytes that come one after the other.
pub(crate) struct Running(XxHash3_128);

impl Running {
    /// Of no bytes yet.
    pub(crate) fn new() -> Self {
        Self(XxHash3_128::new())
    }

    /// The next bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The key of all bytes so far.
    pub(crate) fn finish(&self) -> u128 {
        self.0.finish_128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_that_of_all_bytes_however_they_come() {
        let keys = [7, u128::MAX, 1 << 100];
        let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
        let mut running = Running::new();
        bytes.chunks(5).for_each(|some| running.add(some));
        assert_eq!(running.finish(), of(&bytes));
        assert_eq!(joined(&keys), of(&bytes));
        // From the specification of XXH3: the key of nothing.
        assert_eq!(of(&[]), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }
}
