//! LZ4 blocks. Whole ones are decoded by `lz4_flex`; it has no way to stop at a length, so the first part of
//! a block is decoded here (LZ4's `LZ4_decompress_safe_partial`).

use lz4_flex::block::{DecompressError, decompress_into};

use crate::error::Wrong;
use erofs_format::words;

/// The shortest match.
const MATCH_MIN: usize = 4;
/// A length in a token that goes on in the bytes behind it.
const MORE: usize = 15;

/// Fills `output` with all that `input` decodes to. No match reaches farther back than `window`: Linux up to
/// 6.18 uses the memory of what is farther back again (`z_erofs_lz4_prepare_dstpages`).
pub(crate) fn whole(input: &[u8], output: &mut [u8], window: u32) -> Result<(), Wrong> {
    match decompress_into(input, output) {
        // The library does not say how far back matches reach.
        Ok(found) if found == output.len() && window < u32::from(u16::MAX) => part(input, output, window),
        Ok(found) if found == output.len() => Ok(()),
        Ok(found) => Err(Wrong::Length(found)),
        Err(DecompressError::OutputTooSmall { .. }) => Err(Wrong::Length(output.len().saturating_add(1))),
        Err(error) => Err(Wrong::corrupt(error)),
    }
}

/// Fills `output` with the first bytes that `input` decodes to; what follows in `input` is not looked at.
pub(crate) fn part(input: &[u8], output: &mut [u8], window: u32) -> Result<(), Wrong> {
    let ends = || Wrong::corrupt("ends inside a sequence");
    let mut input = input;
    let mut at = 0_usize;
    while at < output.len() {
        let token = usize::from(take(&mut input).ok_or_else(ends)?);
        let literals = length(token >> 4, &mut input).ok_or_else(ends)?;
        let now = literals.min(output.len().saturating_sub(at));
        let (from, rest) = input.split_at_checked(now).ok_or_else(ends)?;
        let end = at.saturating_add(now);
        output.get_mut(at..end).ok_or_else(ends)?.copy_from_slice(from);
        (input, at) = (rest, end);
        if at == output.len() {
            break;
        }
        let (Some(low), Some(high)) = (take(&mut input), take(&mut input)) else {
            // The last sequence has no match: the data ends here.
            return Err(Wrong::Length(at));
        };
        let offset = usize::from(u16::from_le_bytes([low, high]));
        let long = length(token & MORE, &mut input).ok_or_else(ends)?.saturating_add(MATCH_MIN);
        let near = u32::try_from(offset).is_ok_and(|offset| offset <= window);
        let copied = if near { copy_match(output, at, offset, long) } else { None };
        at = copied
            .ok_or_else(|| Wrong::corrupt(format!("a match {} back at byte {at}", words::bytes(offset))))?;
    }
    Ok(())
}

fn take(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

/// A length that starts with the four bits `start` of a token.
fn length(start: usize, input: &mut &[u8]) -> Option<usize> {
    let mut length = start;
    if start == MORE {
        loop {
            let more = take(input)?;
            length = length.saturating_add(usize::from(more));
            if more != u8::MAX {
                break;
            }
        }
    }
    Some(length)
}

/// Copies up to `long` bytes from `offset` bytes before `at` to `at`, as far as there is room, and returns
/// where it ended.
fn copy_match(output: &mut [u8], at: usize, offset: usize, long: usize) -> Option<usize> {
    let from = at.checked_sub(offset).filter(|_| offset > 0)?;
    let end = at.saturating_add(long).min(output.len());
    let mut at = at;
    while at < end {
        // What has been copied repeats, so that each round can copy twice as much.
        let now = at.saturating_sub(from).min(end.saturating_sub(at));
        output.copy_within(from..from.saturating_add(now), at);
        at = at.saturating_add(now);
    }
    Some(end)
}
