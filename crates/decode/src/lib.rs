//! Decoders for the compression algorithms of EROFS, safe on hostile input.
//!
//! Invariant: nothing is trusted. Every decoder is safe Rust without I/O, writes into the slice that it is
//! given and no farther, and stops when that is full; memory beside it is the window, at most that of the
//! slice and 12 MiB. Wrong input is an error, never a panic.
//!
//! Reading order: [`error`], then the table in this file, then a module for each algorithm.
//!
//! # Example
//!
//! ```
//! use erofs_decode::{Amount, decode};
//! use erofs_format::compression::Algorithm;
//!
//! // An LZ4 block: one literal, "x".
//! let stored = [0x10, b'x'];
//! let mut content = [0; 1];
//! decode(Algorithm::Lz4, &stored, &mut content, Amount::Whole, 65_535)?;
//! assert_eq!(&content, b"x");
//!
//! // Wrong input is an error.
//! assert!(decode(Algorithm::Zstd, &stored, &mut content, Amount::Whole, 4096).is_err());
//! # Ok::<(), erofs_decode::DecodeError>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions, clippy::panic)
)]

mod deflate;
pub mod error;
mod lz4;
mod lzma;
mod zstd;

use erofs_format::compression::{Algorithm, DEFLATE_WINDOWBITS_MAX, LZMA_DICT_MAX, PCLUSTER_MAX_DSIZE};

pub use error::DecodeError;
use error::Wrong;

/// How much of what compressed data decodes to is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Amount {
    /// All of it, and its length is known. Data that decodes to more or less is wrong.
    Whole,
    /// The first bytes.
    Part,
}

/// Input, output, and how far back a match may reach, in bytes.
type Decoder = fn(&[u8], &mut [u8], u32) -> Result<(), Wrong>;

/// Algorithm, decoder of everything, decoder of the first bytes.
const TABLE: [(Algorithm, Decoder, Decoder); 4] = [
    (Algorithm::Lz4, lz4::whole, lz4::part),
    (Algorithm::Lzma, lzma::whole, lzma::part),
    (Algorithm::Deflate, deflate::whole, deflate::part),
    (Algorithm::Zstd, zstd::whole, zstd::part),
];

/// The farthest that data of an algorithm can refer back in any image, in bytes: LZ4 and DEFLATE have no
/// longer distances, a Zstandard frame of one segment has its whole content as its window, and no pcluster
/// has more than that.
pub fn widest(algorithm: Algorithm) -> u32 {
    match algorithm {
        Algorithm::Lz4 => 65_535,
        Algorithm::Lzma => LZMA_DICT_MAX,
        Algorithm::Deflate => 1 << DEFLATE_WINDOWBITS_MAX,
        Algorithm::Zstd => u32::try_from(PCLUSTER_MAX_DSIZE).unwrap_or(u32::MAX),
    }
}

/// Fills `output` with what `input`, which starts with the compressed data itself (see [`strip_padding`]),
/// decodes to. `window` is how far back the image says that data refers at most, in bytes: Linux has no more
/// memory for it. It is not looked at for DEFLATE, for which Linux always has the most. On an error nothing
/// is said about the content of `output`.
pub fn decode(
    algorithm: Algorithm,
    input: &[u8],
    output: &mut [u8],
    amount: Amount,
    window: u32,
) -> Result<(), DecodeError> {
    if output.is_empty() {
        return Ok(());
    }
    let unknown: Decoder = |_, _, _| Err(Wrong::corrupt("no decoder"));
    let (whole, part) = TABLE
        .iter()
        .find(|row| row.0 == algorithm)
        .map_or((unknown, unknown), |(_, whole, part)| (*whole, *part));
    let run = match amount {
        Amount::Whole => whole,
        Amount::Part => part,
    };
    let want = output.len();
    run(input, output, window).map_err(|wrong| match wrong {
        Wrong::Corrupt(reason) => DecodeError::Corrupt { algorithm, input: input.len(), reason },
        Wrong::Length(found) => DecodeError::Length { algorithm, input: input.len(), found, want },
        Wrong::Memory => DecodeError::Memory { algorithm, input: input.len() },
    })
}

/// The stored bytes of a pcluster without the zeros before the compressed data, which must start in the first
/// `window` bytes: those up to the end of the first block (`z_erofs_fixup_insize`). LZ4 without the feature
/// `LZ4_0PADDING` has no such zeros, but some behind the data: there everything is decoded as
/// [`Amount::Part`].
pub fn strip_padding(stored: &[u8], window: usize) -> Result<&[u8], DecodeError> {
    let start = stored.iter().take(window).position(|byte| *byte != 0);
    let rest = start.and_then(|start| stored.get(start..));
    rest.ok_or(DecodeError::OnlyPadding { found: stored.len().min(window), window })
}
