//! `MicroLZMA`: LZMA without a header, its first byte replaced by the inverted properties.
//!
//! liblzma's encoder stops by itself where the output is full, so one pass fills a pcluster.

mod ffi;

use crate::codec::{Algorithm, Dictionary, LzmaBits, Params, Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::sample::is_noise;

use liblzma_sys::{LZMA_MEM_ERROR, lzma_ret};

use ffi::{MicroStream, Options};

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
    open: |params| Ok(Box::new(Micro::new(params, options(params, params.level)?))),
    open_stronger: |params| {
        let (strongest, given) = (options(params, EXTREME)?, options(params, params.level)?);
        let stronger: Box<dyn PrefixEncoder> = Box::new(Micro::new(params, strongest));
        Ok((!same_effort(&strongest, &given)).then_some(stronger))
    },
    // A binary tree takes 11.5 bytes for each of the dictionary, the tables of prices and the stream about a
    // mebibyte.
    memory: |params| (params.dict_size as usize).saturating_mul(12).saturating_add(2 << 20),
};

/// The first of the levels that `xz` calls extreme: level 100 + N is N with more effort.
const EXTREME: i32 = 100;

/// The least output that liblzma accepts, in bytes.
const MIN_OUTPUT: usize = 6;
/// Where so many bytes hold no zero, the content is text: the place of a byte within a word says nothing
/// about it.
const LOOKED_AT: usize = 4096;
/// The match length that ends the search at the levels from 6 on, and the one that does here where the
/// content is no text: there, what longer searches find makes up for a few hundredths of a per cent.
const NICE: [u32; 2] = [64, 40];

/// The effort behind a level: what `xz` (`lzma_lzma_preset`) takes for it, but for the dictionary and the
/// longest searches.
fn options(params: &Params, level: i32) -> Result<Options, EncodeError> {
    let preset = u32::try_from(level % EXTREME).unwrap_or(0);
    let options = Options::new(preset, level >= EXTREME, params.dict_size);
    let mut options = options.ok_or_else(|| EncodeError::Library {
        algorithm: params.algorithm.name,
        reason: format!("no preset {preset}"),
    })?;
    let LzmaBits { lc, lp, pb } = params.lzma;
    if let Err([lc, lp, pb]) = options.set_bits(lc, lp, pb) {
        return Err(EncodeError::Library {
            algorithm: params.algorithm.name,
            reason: format!("found lc={lc}, lp={lp}, pb={pb}, want lc + lp up to 4 and pb up to 4"),
        });
    }
    let [usual, shorter] = NICE;
    if options.nice_len() == usual {
        options.set_nice_len(shorter);
    }
    Ok(options)
}

fn same_effort(left: &Options, right: &Options) -> bool {
    (left.nice_len(), left.depth()) == (right.nice_len(), right.depth())
}

/// `lzma`.
struct Micro {
    stream: MicroStream,
    options: Options,
    text: Options,
    max_input: usize,
    failure: Option<EncodeError>,
}

impl Micro {
    fn new(params: &Params, options: Options) -> Self {
        let mut text = if params.lzma.pb.is_some() { options } else { options.for_text() };
        let [usual, shorter] = NICE;
        if text.nice_len() == shorter {
            text.set_nice_len(usual);
        }
        Self { stream: MicroStream::new(), options, text, max_input: params.max_input, failure: None }
    }
}

impl PrefixEncoder for Micro {
    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        if dst.len() < MIN_OUTPUT || src.is_empty() || is_noise(src, dst.len()) {
            return Prefix::default();
        }
        let src = src.get(..self.max_input).unwrap_or(src);
        let is_text = !src.get(..LOOKED_AT).unwrap_or(src).contains(&0);
        let options = if is_text { &self.text } else { &self.options };
        let (consumed, written) = match self.stream.compress(src, dst, options) {
            Ok(found) => found,
            Err(answer) => {
                self.failure = Some(failure(answer));
                return Prefix::default();
            }
        };
        if written < consumed { Prefix { consumed, written } } else { Prefix::default() }
    }

    fn failure(&mut self) -> Option<EncodeError> {
        self.failure.take()
    }
}

/// What an answer of liblzma means.
fn failure(answer: lzma_ret) -> EncodeError {
    let algorithm = LZMA.name;
    match answer {
        LZMA_MEM_ERROR => EncodeError::Memory { algorithm },
        answer => EncodeError::Library { algorithm, reason: format!("liblzma refuses it with {answer}") },
    }
}
