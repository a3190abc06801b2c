//! zstd: frames of a fixed size from one pass, by parsers of our own up to level 9, where libzstd encodes
//! what need not be cut, and by libzstd's parsers above.

#![expect(
    clippy::inline_always,
    reason = "inner loops are cut into functions for the reader, not for the machine"
)]

mod bits;
mod block;
mod chain;
mod cut;
mod doublefast;
mod frame;
mod fse;
mod huffman;
mod library;
mod output;
mod parse;
mod pending;
mod sequence;
mod stream;
mod stronger;
mod unpack;

use zstd_safe::{CParameter, Strategy};

use crate::codec::{Algorithm, Dictionary, Params, PrefixEncoder};
use crate::error::EncodeError;
use crate::mixed::Mixed;

use chain::Effort;
use doublefast::DoubleFast;
use frame::FrameEncoder;
use library::Library;
use parse::Parser;
use stream::Stream;
use stronger::Stronger;

/// The row of zstd.
pub(crate) const ZSTD: Algorithm = Algorithm {
    name: library::NAME,
    number: 3,
    has_level: |level| matches!(level, 1..=22),
    levels: "1 to 22",
    default_level: DEFAULT_LEVEL,
    dictionary: Some(Dictionary {
        min: 1 << 10,
        max: 1 << 20,
        power_of_two: true,
        default: |max_output| {
            let wanted =
                u32::try_from(max_output.saturating_mul(8)).unwrap_or(u32::MAX).clamp(1 << 10, 1 << 20);
            1 << wanted.ilog2()
        },
        help: "a power of two from 1 KiB to 1 MiB",
    }),
    first_kernel: (6, 10),
    help: "small and fast to read: the one to take for new kernels",
    open,
    open_stronger,
    // For each byte of the window: at most two contexts of libzstd whose tables take ten bytes each (levels 5
    // to 9; from level 10 on it is one, with 13), and six bytes for our own chains. The constant is for what
    // all have beside.
    memory: |params| (params.dict_size as usize).saturating_mul(26).saturating_add(4 << 20),
};

/// The level of those who name none.
const DEFAULT_LEVEL: i32 = 3;
/// The last level of the single-pass encoder.
const SINGLE_PASS: i32 = 9;
/// The level of libzstd that squeezes: the first one with its best parser.
const SQUEEZE: i32 = 19;
/// What the single-pass encoder does at its best.
const BEST: Effort = Effort { depth: 32, lazy: 2, nice: 128, min: 4 };
/// Pclusters of at most so many bytes take tables that stay in the first cache.
const SMALL: usize = 8192;

fn open(params: &Params) -> Result<Box<dyn PrefixEncoder>, EncodeError> {
    if params.level > SINGLE_PASS {
        let context = library::context(params.level, params.dict_size, &optimal(params))?;
        return Ok(Box::new(Stream::new(context, params.dict_size, params.max_input)?));
    }
    let (whole, loose) = libraries(params)?;
    Ok(Box::new(Mixed::new(frame(params, parser(params)?), whole, loose, params.max_input)))
}

/// libzstd for whole inputs, and for outputs that need not be full. The default level has tables of its own:
/// with matches of four bytes whole files become as small as with the single-pass encoder, and without them
/// the tables stay in the second cache.
fn libraries(params: &Params) -> Result<(Library, Library), EncodeError> {
    let library = |long, short, min| match params.level {
        DEFAULT_LEVEL => {
            let tables = [CParameter::HashLog(long), CParameter::ChainLog(short), CParameter::MinMatch(min)];
            Library::with(params.level, params.dict_size, &tables)
        }
        level => Library::new(level, params.dict_size),
    };
    Ok((library(17, 16, 4)?, library(16, 15, 5)?))
}

fn open_stronger(params: &Params) -> Result<Option<Box<dyn PrefixEncoder>>, EncodeError> {
    let library = Library::new(params.level.max(SQUEEZE), params.dict_size)?;
    Ok(match params.level {
        ..SINGLE_PASS => {
            let chain = frame(params, chain::parser(params.dict_size, BEST)?);
            Some(Box::new(Stronger::new(Some(chain), library)))
        }
        SINGLE_PASS..SQUEEZE => Some(Box::new(Stronger::new(None, library))),
        _ => None,
    })
}

fn frame(params: &Params, parser: Box<dyn Parser>) -> FrameEncoder {
    FrameEncoder::new(parser, params.dict_size, params.max_input)
}

/// The parser of a level: what each level does is part of the layout, because it decides about the bytes.
fn parser(params: &Params) -> Result<Box<dyn Parser>, EncodeError> {
    let window = params.dict_size;
    let chain = |depth, lazy, min, nice| chain::parser(window, Effort { depth, lazy, nice, min });
    Ok(match params.level {
        ..=1 => Box::new(DoubleFast::<{ 1 << 16 }, { 1 << 15 }, 5>::new(window, 128)),
        2 => Box::new(DoubleFast::<{ 1 << 17 }, { 1 << 16 }, 5>::new(window, 128)),
        3 if params.max_output <= SMALL => {
            Box::new(DoubleFast::<{ 1 << 15 }, { 1 << 14 }, 4>::new(window, 256))
        }
        3 => Box::new(DoubleFast::<{ 1 << 17 }, { 1 << 16 }, 4>::new(window, 128)),
        4 => chain(2, 0, 5, 64)?,
        5 => chain(4, 0, 5, 64)?,
        6 => chain(8, 1, 5, 64)?,
        7 => chain(8, 2, 4, 64)?,
        8 => chain(16, 2, 4, 64)?,
        _ => chain::parser(window, BEST)?,
    })
}

/// What libzstd does at the levels above the single pass: its optimal parsers, with matches from three bytes
/// on.
///
/// Where its own levels begin with parsers that are lazy, which the single pass is as well, these look at
/// fewer candidates instead; but at no fewer than eight (`SearchLog` 3), and no match below 48 bytes
/// (`TargetLength`) is taken without weighing others. With two candidates and 8 bytes C headers became larger
/// than at level 9: by 3 % as files, by 12 % as joined fragments.
fn optimal(params: &Params) -> [CParameter; 6] {
    use Strategy::{ZSTD_btopt as Opt, ZSTD_btultra as Ultra, ZSTD_btultra2 as Ultra2};
    let (strategy, search, target) = match params.level {
        ..=10 => (Opt, 3, 48),
        11 => (Opt, 3, 64),
        12 => (Opt, 4, 64),
        13 => (Opt, 4, 128),
        14 => (Opt, 6, 256),
        15 => (Ultra, 5, 128),
        16 => (Ultra, 6, 256),
        17 => (Ultra, 8, 256),
        18 => (Ultra2, 6, 256),
        19 => (Ultra2, 8, 256),
        20 => (Ultra2, 10, 512),
        21 => (Ultra2, 12, 512),
        _ => (Ultra2, 13, 999),
    };
    // Smaller tables stay in a nearer cache, but forget: the binary tree takes two links for each position,
    // so that one of twice the window holds all of it. Only the lowest levels, which are there for speed,
    // have less. libzstd makes the tables smaller where the window is short.
    let window = params.dict_size.ilog2();
    let (tree, hash) = match params.level {
        ..=10 => (window - 2, window - 2),
        11 => (window - 1, window - 1),
        12 => (window, window),
        _ => (window + 1, window),
    };
    [
        CParameter::Strategy(strategy),
        CParameter::SearchLog(search),
        CParameter::TargetLength(target),
        CParameter::MinMatch(3),
        CParameter::ChainLog(tree.max(17)),
        CParameter::HashLog(hash.max(17)),
    ]
}
