//! `MicroLZMA`: LZMA without a header, its first byte replaced by the inverted properties.
//!
//! The encoder stops by itself where the output is full, so one pass fills a pcluster.

use lzma_rust2::{EncodeMode, LzmaOptions, MfType, MicroLzmaEncoder};

use crate::codec::{Params, Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::sample::is_noise;
use crate::table::{Algorithm, Dictionary};

/// The row of `MicroLZMA`.
pub(crate) const LZMA: Algorithm = Algorithm {
    name: "lzma",
    number: 1,
    has_level: |level| matches!(level, 0..=9 | 100..=109),
    levels: "0 to 9 or 100 to 109",
    default_level: 6,
    dictionary: Some(Dictionary {
        min: 4096,
        max: 8 << 20,
        power_of_two: false,
        default: |max_output| {
            u32::try_from(max_output.saturating_mul(4)).unwrap_or(u32::MAX).clamp(32768, 8 << 20)
        },
        help: "4 KiB to 8 MiB",
    }),
    first_kernel: (5, 16),
    help: "smallest, slowest to write and to read",
    open: |params| Ok(Box::new(Micro::new(params, &options(params.level, params.dict_size))?)),
    open_stronger: |params| {
        let strongest = options(EXTREME, params.dict_size);
        if same_effort(&strongest, &options(params.level, params.dict_size)) {
            return None;
        }
        let encoder = Micro::new(params, &strongest).ok()?;
        Some(Box::new(encoder))
    },
};

/// The first of the levels that `xz` calls extreme: level 100 + N is N with more effort.
const EXTREME: i32 = 100;

/// The output that the encoder needs to end any stream, in bytes.
const MIN_OUTPUT: usize = 5;

/// The effort behind a level: what `xz` (`lzma_lzma_preset`) takes for it, but for the dictionary.
fn options(level: i32, dict_size: u32) -> LzmaOptions {
    let preset = u32::try_from(level % EXTREME).unwrap_or(0);
    let mut options = LzmaOptions::with_preset(preset);
    if level >= EXTREME {
        options.mode = EncodeMode::Normal;
        options.mf = MfType::Bt4;
        let short = matches!(preset, 3 | 5);
        options.nice_len = if short { 192 } else { 273 };
        options.depth_limit = if short { 0 } else { 512 };
    }
    options.dict_size = dict_size;
    options
}

fn same_effort(left: &LzmaOptions, right: &LzmaOptions) -> bool {
    (left.nice_len, left.depth_limit) == (right.nice_len, right.depth_limit)
}

/// `lzma`.
struct Micro {
    encoder: MicroLzmaEncoder,
    max_input: usize,
}

impl Micro {
    fn new(params: &Params, options: &LzmaOptions) -> Result<Self, EncodeError> {
        let encoder = MicroLzmaEncoder::new(options).map_err(|error| EncodeError::Library {
            algorithm: params.algorithm.name,
            reason: error.to_string(),
        })?;
        Ok(Self { encoder, max_input: params.max_input })
    }
}

impl PrefixEncoder for Micro {
    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        if dst.len() < MIN_OUTPUT || src.is_empty() || is_noise(src, dst.len()) {
            return Prefix::default();
        }
        let src = src.get(..self.max_input).unwrap_or(src);
        match self.encoder.compress_prefix(src, dst) {
            Ok((consumed, written)) if written < consumed => Prefix { consumed, written },
            _ => Prefix::default(),
        }
    }
}
