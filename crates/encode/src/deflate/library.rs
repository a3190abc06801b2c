//! libdeflate's optimal parse, for the highest levels.

use libdeflater::{CompressionLvl, Compressor};

use crate::codec::{Params, Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::sample::is_noise;

/// What a search gives away at most, in bytes: finding the very last byte would take as many trials again.
const TOLERANCE: usize = 24;
/// More trials than this are not made once something fits.
const MAX_TRIALS: usize = 12;

/// `deflate` and `libdeflate` from level 10 on.
pub(super) struct Library {
    compressor: Compressor,
    max_input: usize,
    /// A trial may be longer than the output, so that the search learns by how much it missed.
    trial: Vec<u8>,
}

impl Library {
    pub(super) fn new(params: &Params, level: i32) -> Result<Self, EncodeError> {
        let level = CompressionLvl::new(level).map_err(|error| EncodeError::Library {
            algorithm: params.algorithm.name,
            reason: format!("{error:?}"),
        })?;
        Ok(Self { compressor: Compressor::new(level), max_input: params.max_input, trial: Vec::new() })
    }

    /// Encodes all of `src` into the trial buffer; its length when that is at most `room`.
    fn try_whole(&mut self, src: &[u8], room: usize) -> Option<usize> {
        if self.trial.len() < room {
            self.trial.resize(room, 0);
        }
        let written = self.compressor.deflate_compress(src, &mut self.trial[..room]).ok()?;
        // A stored block that is not the last begins with a zero, which EROFS takes for padding. The bits behind the three
        // of its header have no meaning.
        if self.trial[0] == 0 {
            self.trial[0] = 1 << 3;
        }
        Some(written)
    }
}

impl PrefixEncoder for Library {
    /// Narrows down the longest prefix that fits by trials, each placed by the sizes of the two nearest ones.
    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        let room = dst.len();
        if src.is_empty() || room == 0 || is_noise(src, room) {
            return Prefix::default();
        }
        let src = src.get(..self.max_input).unwrap_or(src);
        let wide = room + room / 8 + 1024;
        let mut fits = Prefix::default();
        // The shortest prefix known not to fit, and its size when it is known.
        let (mut fails, mut fails_size) = (src.len() + 1, None);
        let mut guess = room.saturating_mul(3);
        for trial in 0.. {
            if guess + guess / 8 >= src.len() && fails > src.len() {
                guess = src.len();
            }
            guess = guess.clamp(fits.consumed + 1, fails - 1);
            match self.try_whole(&src[..guess], wide) {
                Some(written) if written <= room => {
                    dst[..written].copy_from_slice(&self.trial[..written]);
                    fits = Prefix { consumed: guess, written };
                }
                size => (fails, fails_size) = (guess, size),
            }
            let near = fits.consumed > 0 && (room - fits.written <= TOLERANCE || trial >= MAX_TRIALS);
            if near || fits.consumed + 1 >= fails {
                break;
            }
            guess = next_guess(fits, fails, fails_size, room);
        }
        if fits.written < fits.consumed { fits } else { Prefix::default() }
    }

    fn encode_whole(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if src.is_empty() {
            return None;
        }
        let written = self.try_whole(src, dst.len())?;
        dst[..written].copy_from_slice(&self.trial[..written]);
        (written < src.len()).then_some(written)
    }
}

/// The prefix that would fill the output, by what is known on both sides.
fn next_guess(fits: Prefix, fails: usize, fails_size: Option<usize>, room: usize) -> usize {
    let target = room - TOLERANCE.min(room) / 2;
    match fails_size {
        Some(size) if fits.consumed > 0 => {
            let share =
                (fails - fits.consumed) * target.saturating_sub(fits.written) / (size - fits.written).max(1);
            fits.consumed + share
        }
        Some(size) => fails * target / size,
        None if fits.consumed > 0 && fits.written * 2 < room => fits.consumed * 2,
        None if fits.consumed > 0 => usize::midpoint(fits.consumed, fails),
        None => fails / 2,
    }
}
