//! `MicroLZMA`, by `lzma_rust2`: an LZMA stream without a header, whose first byte, always 0 in LZMA, is replaced by the
//! complement of the properties.

use std::io::Read as _;

use erofs_format::compression::{LZMA_DICT_MAX, LZMA_DICT_MIN};
use lzma_rust2::LzmaReader;

use crate::error::Wrong;

/// The most bits of literal context and position together, as in LZMA2 and in Linux.
const LITERAL_BITS_MAX: u8 = 4;
/// One more than the largest properties byte.
const PROPERTIES_END: u8 = 9 * 5 * 5;

/// Fills `output` with all that `input` decodes to. The format does not say where it ends; the range coder, which must have
/// come to its end, does.
pub(crate) fn whole(input: &[u8], output: &mut [u8]) -> Result<(), Wrong> {
    run(input, output, u64::try_from(output.len()).unwrap_or(u64::MAX))
}

/// Fills `output` with the first bytes that `input` decodes to.
pub(crate) fn part(input: &[u8], output: &mut [u8]) -> Result<(), Wrong> {
    run(input, output, u64::MAX)
}

fn run(input: &[u8], output: &mut [u8], length: u64) -> Result<(), Wrong> {
    let (first, rest) = input.split_first().ok_or_else(|| Wrong::corrupt("is empty"))?;
    let properties = !first;
    let (lc, lp) = (properties % 9, properties / 9 % 5);
    if properties >= PROPERTIES_END || lc.saturating_add(lp) > LITERAL_BITS_MAX {
        return Err(Wrong::corrupt(format!("properties {properties:#x}")));
    }
    // No match reaches farther back than what has been decoded.
    let dictionary = u32::try_from(output.len()).unwrap_or(u32::MAX).clamp(LZMA_DICT_MIN, LZMA_DICT_MAX);
    let stream = [0].as_slice().chain(rest);
    let mut reader =
        LzmaReader::new_with_props(stream, length, properties, dictionary, None).map_err(Wrong::corrupt)?;
    let mut filled = 0;
    while let Some(space) = output.get_mut(filled..).filter(|space| !space.is_empty()) {
        match reader.read(space) {
            Ok(0) => return Err(Wrong::Length(filled)),
            Ok(more) => filled = filled.saturating_add(more),
            Err(error) => return Err(Wrong::corrupt(error)),
        }
    }
    Ok(())
}
