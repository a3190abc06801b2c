//! Where a chunk ends: a rolling hash of the last 64 bytes decides, so that equal content is cut equally
//! wherever it stands.

/// A number without a pattern for each byte value; whatever it is, it must stay, as images depend on it.
const GEAR: [u64; 256] = gear();

/// The numbers of the generator splitmix64 from 0 on.
const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state: u64 = 0;
    let mut index = 0;
    while index < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[index] = mixed ^ (mixed >> 31);
        index += 1;
    }
    table
}

/// As many bytes are in the hash.
const WINDOW: usize = 64;
/// No more chunks than about this many for a tree: they are in memory while all is compared.
const CHUNKS_MAX: u64 = 1 << 22;

/// The lengths of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The shortest, in bytes; a power of two, at least a block. The average is twice that.
    pub(super) least: u64,
}

impl Sizes {
    /// What fits a tree of so many bytes: 4096 bytes, more for very large trees and for larger blocks.
    pub(super) fn new(bytes: u64, block: u64) -> Self {
        let wanted = (bytes / CHUNKS_MAX / 2).max(4096).max(block);
        Self { least: wanted.next_power_of_two().min(1 << 20) }
    }

    /// The length of the chunk at the start of `bytes`.
    pub(super) fn next(self, bytes: &[u8]) -> usize {
        let least = usize::try_from(self.least).unwrap_or(usize::MAX);
        if bytes.len() <= least {
            return bytes.len();
        }
        let limit = bytes.len().min(least * 16);
        // Upper bits: those that all bytes of the window reach.
        let mask = !0 << (64 - least.ilog2());
        let start = least - WINDOW;
        let mut hash = bytes[start..least].iter().fold(0, |hash, byte| roll(hash, *byte));
        // Eight bytes at a time, so that a hash does not wait for the one before it: it is that of the bytes
        // of these eight, and the one before the eight moved up.
        let (eights, rest) = bytes[least..limit].as_chunks::<8>();
        for (number, eight) in eights.iter().enumerate() {
            let before = hash;
            let mut own = 0;
            for (at, byte) in eight.iter().enumerate() {
                if hash & mask == 0 {
                    return least + 8 * number + at;
                }
                own = roll(own, *byte);
                hash = (before << (at + 1)).wrapping_add(own);
            }
        }
        for (at, byte) in rest.iter().enumerate() {
            if hash & mask == 0 {
                return limit - rest.len() + at;
            }
            hash = roll(hash, *byte);
        }
        limit
    }
}

/// The hash with one byte more.
#[inline]
fn roll(hash: u64, byte: u8) -> u64 {
    (hash << 1).wrapping_add(GEAR[usize::from(byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use erofs_testkit::content::noise;

    fn chunks(bytes: &[u8]) -> Vec<&[u8]> {
        let sizes = Sizes { least: 4096 };
        let mut chunks = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(sizes.next(rest));
            chunks.push(chunk);
            rest = behind;
        }
        chunks
    }

    #[test]
    fn chunks_have_their_lengths() {
        let bytes = noise(1, 4 << 20);
        let found = chunks(&bytes);
        let (last, others) = found.split_last().unwrap();
        assert!(last.len() <= 65_536);
        assert!(others.iter().all(|chunk| (4096..=65_536).contains(&chunk.len())));
        let average = bytes.len() / found.len();
        assert!((7500..9000).contains(&average), "{average}");
        assert_eq!(found.concat(), bytes);
        assert_eq!(chunks(&vec![0; 200_000]).len(), 200_000_usize.div_ceil(65_536));
        assert_eq!(chunks(&noise(2, 5)).len(), 1);
    }

    #[test]
    fn the_first_hash_with_zeros_ends_a_chunk() {
        let ends = |bytes: &[u8], at: usize| {
            let hash = bytes[at - WINDOW..at].iter().fold(0, |hash, byte| roll(hash, *byte));
            hash >> 52 == 0
        };
        for seed in 0..200 {
            let bytes = noise(seed, 20_000);
            let want = (4096..bytes.len()).find(|&at| ends(&bytes, at)).unwrap_or(bytes.len());
            // Also where less than eight bytes are left.
            for length in (want..bytes.len().min(want + 9)).chain([bytes.len()]) {
                assert_eq!(Sizes { least: 4096 }.next(&bytes[..length]), want, "seed {seed}, {length} bytes");
            }
        }
    }

    #[test]
    fn a_changed_byte_and_a_shift_change_few_chunks() {
        let bytes = noise(3, 1 << 20);
        let mut changed = bytes.clone();
        changed[500_000] ^= 1;
        let shifted = [&[7; 1000], &bytes[..]].concat();
        let known: std::collections::BTreeSet<&[u8]> = chunks(&bytes).into_iter().collect();
        for other in [&changed, &shifted] {
            let fresh = chunks(other).into_iter().filter(|chunk| !known.contains(chunk)).count();
            assert!((1..=4).contains(&fresh), "{fresh} of {}", known.len());
        }
    }
}
