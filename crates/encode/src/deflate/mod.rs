//! Raw DEFLATE (RFC 1951).
//!
//! Levels 1 to 9 are an encoder of our own that fills an output in one pass: [`parse`] makes sequences with a
//! [`matcher`], [`single`] ends a block where the distribution of symbols changes and cuts the last one where
//! the output is full. The size of a block is known to the bit before it is written ([`block`]). What fits as
//! a whole goes to libdeflate, which is faster. Levels 10 to 12 are libdeflate's, by search.

mod bits;
mod block;
mod ffi;
mod huffman;
mod library;
mod matcher;
mod parse;
mod single;
mod symbol;

use crate::codec::{Algorithm, Dictionary, Params, Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::mixed::Mixed;
use crate::sample::is_noise;

use library::{All, Library};
use matcher::{Buckets, Chains};
use parse::Effort;
use single::{Single, Tables};

const WINDOW: Dictionary = Dictionary {
    min: 256,
    max: 1 << 15,
    power_of_two: false,
    default: |_| 1 << 15,
    help: "256 bytes to 32 KiB",
};

/// The row of DEFLATE with the levels of mkfs.erofs's own encoder.
pub(crate) const DEFLATE: Algorithm = Algorithm {
    name: "deflate",
    number: 2,
    has_level: |level| matches!(level, 0..=9),
    levels: "0 to 9",
    default_level: 1,
    dictionary: Some(WINDOW),
    first_kernel: (6, 6),
    help: "where zstd is not available",
    open,
    open_stronger,
    memory: |_| MEMORY,
};

/// The row of DEFLATE with the levels of libdeflate.
pub(crate) const LIBDEFLATE: Algorithm = Algorithm {
    name: "libdeflate",
    number: 2,
    has_level: |level| matches!(level, 1..=12),
    levels: "1 to 12",
    default_level: 1,
    dictionary: Some(WINDOW),
    first_kernel: (6, 6),
    help: "deflate by the name of the library that mkfs.erofs uses for it",
    open,
    open_stronger,
    memory: |_| MEMORY,
};

/// The lowest of the levels that libdeflate encodes: those with an optimal parse.
const FIRST_OF_LIBRARY: i32 = 10;
/// What an encoder takes at most, in bytes: libdeflate from level 10 on about 9 MiB, below it less than a
/// mebibyte.
const MEMORY: usize = 10 << 20;
/// libdeflate's highest level.
const STRONGEST: i32 = 12;

/// How hard the levels try: positions looked at (0: a table of the last two), length that ends the search,
/// positions in which a longer match is looked for. Level 0 is level 1.
const EFFORTS: [(u32, usize, u8); 10] = [
    (0, 32, 0),
    (0, 32, 0),
    (4, 16, 0),
    (10, 20, 0),
    (16, 32, 0),
    (16, 32, 1),
    (36, 66, 1),
    (100, 130, 1),
    (256, 258, 2),
    (800, 258, 2),
];

fn open(params: &Params) -> Result<Box<dyn PrefixEncoder>, EncodeError> {
    if params.level >= FIRST_OF_LIBRARY {
        // libdeflate always looks back as far as the format allows, which must be what the image declares.
        if params.dict_size < WINDOW.max {
            let (algorithm, found) = (params.algorithm.name, params.dict_size);
            return Err(EncodeError::Dictionary { algorithm, found, want: "32768 bytes from level 10 on" });
        }
        return Ok(Box::new(Library::new(params, params.level)?));
    }
    let row = usize::try_from(params.level).ok().and_then(|level| EFFORTS.get(level));
    let &(depth, nice, lazy) = row.unwrap_or(&EFFORTS[1]);
    let tables = match depth {
        0 => Tables::Buckets(Buckets::new(nice)),
        depth => Tables::Chains(Chains::new(depth, nice)),
    };
    let effort = Effort { lazy, nice, skip_log: if lazy == 0 { 8 } else { 10 } };
    let single = Single::new(tables, effort, params.dict_size, params.max_output);
    let single = Deflate { single, max_input: params.max_input };
    // libdeflate always looks back as far as the format allows.
    if params.dict_size < WINDOW.max {
        return Ok(Box::new(single));
    }
    let all = || All::new(params, params.level.max(1));
    Ok(Box::new(Mixed::new(single, all()?, all()?, params.max_input)))
}

fn open_stronger(params: &Params) -> Result<Option<Box<dyn PrefixEncoder>>, EncodeError> {
    if params.level >= STRONGEST || params.dict_size < WINDOW.max {
        return Ok(None);
    }
    Ok(Some(Box::new(Library::new(params, STRONGEST)?)))
}

/// `deflate`.
struct Deflate {
    single: Single,
    max_input: usize,
}

impl PrefixEncoder for Deflate {
    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        if is_noise(src, dst.len()) {
            return Prefix::default();
        }
        let src = src.get(..self.max_input).unwrap_or(src);
        let (consumed, written) = self.single.encode(src, dst);
        if written < consumed { Prefix { consumed, written } } else { Prefix::default() }
    }
}
