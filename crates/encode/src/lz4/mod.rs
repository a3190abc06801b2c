//! LZ4 by an encoder of our own, and LZ4HC by liblz4's function of fixed output size.
//!
//! Reading order: `block` (the format), `positions` (where bytes stood before), `run` (the fast encoder's
//! pass through the middle), `fast` (what `lz4` writes, and how it ends), then `ffi`. liblz4's thorough
//! encoder is called in its streaming form, which gives the bytes of `LZ4_compress_HC_destSize` without
//! clearing 256 KiB of tables for every pcluster.

mod block;
mod fast;
mod ffi;
mod positions;
mod run;

use crate::codec::{Algorithm, Params, Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::sample::is_noise;

use ffi::HighStream;

/// The row of LZ4's fast encoder.
pub(crate) const LZ4: Algorithm = Algorithm {
    name: "lz4",
    number: 0,
    has_level: |level| level == 1,
    levels: "1",
    default_level: 1,
    dictionary: None,
    first_kernel: (5, 4),
    help: "fastest to write and to read",
    open: |params| Ok(Box::new(Fast { table: positions::Table::new(), max_input: params.max_input })),
    open_stronger: |params| High::new(params, LEVEL_ABOVE_FAST).map(|high| Some(boxed(high))),
    memory: |_| MEMORY,
};

/// The row of LZ4's thorough encoder.
pub(crate) const LZ4HC: Algorithm = Algorithm {
    name: "lz4hc",
    number: 0,
    has_level: |level| (1..=LEVEL_MAX).contains(&level),
    levels: "1 to 12",
    default_level: 9,
    dictionary: None,
    first_kernel: (5, 4),
    help: "smaller than lz4, as fast to read, slow to write",
    open: |params| High::new(params, search_level(params.level)).map(boxed),
    open_stronger: |params| {
        (params.level < LEVEL_MAX).then(|| High::new(params, LEVEL_MAX).map(boxed)).transpose()
    },
    memory: |_| MEMORY,
};

/// The tables of either encoder, in bytes (`sizeof(LZ4_streamHC_t)` is 256 KiB and a little).
const MEMORY: usize = 1 << 19;

/// `LZ4HC_CLEVEL_MAX`.
const LEVEL_MAX: i32 = 12;

/// What squeezes the tails of `lz4`: the cheapest of the hash chain levels that is worth its time on the few
/// bytes it is applied to.
const LEVEL_ABOVE_FAST: i32 = 4;

/// The level of liblz4 that is used for a level of `lz4hc`.
///
/// From 4 to 9, each level of liblz4 looks at twice as many candidates for a match as the one below it
/// (`k_clTable`), 256 at level 9. The second half of them makes large images 0.03 to 0.07 % smaller and takes
/// a tenth to a quarter of the time, so those levels do with the first half.
fn search_level(level: i32) -> i32 {
    if (4..=9).contains(&level) { level - 1 } else { level }
}

/// How much input per byte of output the thorough encoder is shown at first, and at last: an LZ4 block cannot
/// hold more than 255 times its size.
const INPUT_PER_OUTPUT: [usize; 2] = [64, 256];

fn boxed(high: High) -> Box<dyn PrefixEncoder> {
    Box::new(high)
}

/// A prefix as the caller wants it: nothing, unless it is smaller than what it stands for.
fn useful((consumed, written): (usize, usize)) -> Prefix {
    if written < consumed { Prefix { consumed, written } } else { Prefix::default() }
}

/// `lz4`.
struct Fast {
    table: positions::Table,
    max_input: usize,
}

impl PrefixEncoder for Fast {
    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        useful(fast::encode(&mut self.table, head(src, self.max_input), dst))
    }
}

/// `lz4hc`.
struct High {
    stream: HighStream,
    level: i32,
    max_input: usize,
}

impl High {
    fn new(params: &Params, level: i32) -> Result<Self, EncodeError> {
        let stream = HighStream::new().ok_or(EncodeError::Memory { algorithm: params.algorithm.name })?;
        Ok(Self { stream, level, max_input: params.max_input })
    }
}

impl PrefixEncoder for High {
    /// liblz4 looks for the next match through all of the source, even when the literals before it have long
    /// filled the output. So noise is not shown to it at all, and the rest only as much of as will usually
    /// do.
    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        if is_noise(src, dst.len()) {
            return Prefix::default();
        }
        let src = head(src, self.max_input);
        let mut got = (0, 0);
        for factor in INPUT_PER_OUTPUT {
            let shown = head(src, dst.len().saturating_mul(factor));
            got = self.stream.compress(shown, dst, self.level);
            // Short of the end by more than the room of a last match, which the end would have cut.
            if shown.len() == src.len() || got.0 < shown.len() / 8 * 7 {
                break;
            }
        }
        useful(got)
    }
}

fn head(src: &[u8], len: usize) -> &[u8] {
    src.get(..len).unwrap_or(src)
}
