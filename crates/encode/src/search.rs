//! Fixed-size output by search, for encoders that can only encode a whole input.
//!
//! Where mkfs.erofs halves intervals, a secant between two trials finds the place: the size of the output is
//! nearly a straight line over the length of the input. The first guess is the ratio of the pcluster before.

use crate::codec::Prefix;

/// The first guess where nothing is known: so many times the output.
const FIRST_GUESS: usize = 3;
/// A search ends after so many trials with whatever fits.
const TRIALS: u32 = 12;

/// Encodes a whole input into an output and gives the size, or nothing when the output is too short.
pub(crate) type EncodeWhole<'a> = dyn FnMut(&[u8], &mut [u8]) -> Option<usize> + 'a;

/// A search that remembers the ratio of the pcluster before.
#[derive(Debug, Default)]
pub(crate) struct Search {
    last: Option<Prefix>,
    scratch: Vec<u8>,
}

/// What is known so far: the longest input that fits and the shortest that does not, with the sizes of their
/// outputs.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    fits: Prefix,
    /// The size is 0 when the encoder gave up before the end.
    too_long: Prefix,
}

impl Search {
    /// Forgets the ratio.
    pub(crate) fn begin_segment(&mut self) {
        self.last = None;
    }

    /// The longest prefix of `src` that `encode` brings into `dst`, within a few bytes. `encode` gets outputs
    /// that are a little longer than `dst`, so that the size of what does not fit is known as well.
    pub(crate) fn fit(&mut self, src: &[u8], dst: &mut [u8], encode: &mut EncodeWhole<'_>) -> Prefix {
        let room = dst.len();
        if src.is_empty() {
            return Prefix::default();
        }
        self.scratch.resize(room + room / 8 + 1024, 0);
        let tolerance = 16 + room / 1024;
        let mut bounds =
            Bounds { fits: Prefix::default(), too_long: Prefix { consumed: src.len() + 1, written: 0 } };
        let mut length = match self.last {
            Some(last) => scale(last.consumed, room - tolerance.min(room) / 2, last.written),
            None => room * FIRST_GUESS,
        };
        for _ in 0..TRIALS {
            // What nearly reaches the end had better reach it.
            if bounds.too_long.consumed > src.len() && length + length / 16 >= src.len() {
                length = src.len();
            }
            length = length.clamp(bounds.fits.consumed + 1, bounds.too_long.consumed - 1);
            match encode(&src[..length], &mut self.scratch) {
                Some(size) if size <= room => {
                    dst[..size].copy_from_slice(&self.scratch[..size]);
                    bounds.fits = Prefix { consumed: length, written: size };
                }
                size => bounds.too_long = Prefix { consumed: length, written: size.unwrap_or(0) },
            }
            let near = bounds.fits.consumed > 0 && bounds.fits.written + tolerance >= room;
            if near || bounds.fits.consumed + 1 >= bounds.too_long.consumed {
                break;
            }
            length = next_guess(bounds, room - tolerance.min(room) / 2);
        }
        if bounds.fits.consumed > 0 {
            self.last = Some(bounds.fits);
        }
        bounds.fits
    }
}

/// Where the output is expected to have `target` bytes.
fn next_guess(bounds: Bounds, target: usize) -> usize {
    let Bounds { fits, too_long } = bounds;
    match (fits.consumed, too_long.written) {
        (0, 0) => too_long.consumed / 2,
        (0, written) => scale(too_long.consumed, target, written),
        (consumed, 0) => scale(consumed, target, fits.written),
        (consumed, written) => {
            let (rise, run) = (written.saturating_sub(fits.written).max(1), too_long.consumed - consumed);
            consumed + scale(run, target.saturating_sub(fits.written), rise)
        }
    }
}

/// `value * numerator / denominator`.
pub(crate) fn scale(value: usize, numerator: usize, denominator: usize) -> usize {
    value.saturating_mul(numerator) / denominator.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An "encoder" whose output has a given size for every length of the input.
    fn run(search: &mut Search, size_of: &dyn Fn(usize) -> usize, src: usize, room: usize) -> (Prefix, u32) {
        let mut trials = 0;
        let mut encode = |src: &[u8], dst: &mut [u8]| {
            trials += 1;
            let size = size_of(src.len());
            (size <= dst.len()).then_some(size)
        };
        (search.fit(&vec![0; src], &mut vec![0; room], &mut encode), trials)
    }

    #[test]
    fn few_trials_find_nearly_the_longest_prefix() {
        let curves: [(&str, &dyn Fn(usize) -> usize); 4] = [
            ("a straight line", &|length| 40 + length / 4),
            ("a line with steps", &|length| 40 + length / 3000 * 1000),
            ("growing slower and slower", &|length| 20 + 30 * length.isqrt()),
            ("dense, then sparse", &|length| {
                if length < 20_000 { length } else { 20_000 + (length - 20_000) / 50 }
            }),
        ];
        for (name, size_of) in curves {
            for room in [4096, 65536] {
                let longest = (1..=4_000_000).rev().find(|&length| size_of(length) <= room).unwrap();
                let (prefix, trials) = run(&mut Search::default(), size_of, 4_000_000, room);
                assert!(prefix.written <= room && prefix.consumed <= longest, "{name}");
                assert!(
                    prefix.consumed + longest / 40 + 3000 >= longest,
                    "{name}: {prefix:?}, want {longest}"
                );
                assert!(trials <= TRIALS, "{name}");
            }
        }
    }

    #[test]
    fn the_ratio_of_the_pcluster_before_saves_trials_and_can_be_forgotten() {
        let mut search = Search::default();
        let size_of = |length: usize| 30 + length / 7;
        let (first, many) = run(&mut search, &size_of, 1_000_000, 65536);
        let (second, few) = run(&mut search, &size_of, 1_000_000, 65536);
        assert!(few < many && few == 1, "{few} trials after {many}");
        assert!(second.written <= 65536 && first.written <= 65536);
        search.begin_segment();
        assert_eq!(run(&mut search, &size_of, 1_000_000, 65536), (first, many));
    }

    #[test]
    fn everything_and_nothing_are_found() {
        let all = |length: usize| 10 + length / 10;
        assert_eq!(run(&mut Search::default(), &all, 5000, 4096).0, Prefix { consumed: 5000, written: 510 });
        assert_eq!(run(&mut Search::default(), &all, 0, 4096).0, Prefix::default());
        assert_eq!(run(&mut Search::default(), &|_| 5000, 90_000, 4096).0, Prefix::default());
        assert_eq!(run(&mut Search::default(), &|_| usize::MAX, 90_000, 4096).0, Prefix::default());
    }
}
