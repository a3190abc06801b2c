//! Zeros that nobody has to read: to fill blocks up with, and the hashes of holes.

use std::sync::LazyLock;

use erofs_algo::fingerprint::Hasher;

use crate::key;

/// Zeros to write or to hash, piece by piece.
pub(crate) static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Goes on with so many zeros. Neither SHA-2 nor BLAKE3, whose blocks know their number, has a shorter way to
/// them.
pub(crate) fn hash(hasher: &mut dyn Hasher, length: u64) {
    pieces(length, |zeros| hasher.update(zeros));
}

/// The key of so many zeros.
pub(crate) fn key(length: usize) -> u128 {
    // Whole segments, of plain and of compressed files, are most of what is asked for.
    static PLAIN: LazyLock<u128> = LazyLock::new(|| running(1 << 20));
    static COMPRESSED: LazyLock<u128> = LazyLock::new(|| running(16 << 20));
    match length {
        0x10_0000 => *PLAIN,
        0x100_0000 => *COMPRESSED,
        _ => running(length),
    }
}

fn running(length: usize) -> u128 {
    let mut key = key::Running::new();
    pieces(length as u64, |zeros| key.add(zeros));
    key.finish()
}

fn pieces(mut length: u64, mut each: impl FnMut(&[u8])) {
    while length != 0 {
        let now = usize::try_from(length).unwrap_or(usize::MAX).min(ZEROS.len());
        each(&ZEROS[..now]);
        length -= now as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_zeros_is_that_of_bytes() {
        for length in [0, 1, 65_535, 65_537, 1 << 20, (1 << 20) + 1] {
            assert_eq!(key(length), key::of(&vec![0; length]), "{length}");
        }
    }
}
