//! `MicroLZMA`, by `lzma_rust2`: an LZMA stream without a header, whose first byte, always 0 in LZMA, is
//! replaced by the complement of the properties.

use std::io::{self, Read};

use lzma_rust2::LzmaReader;

use crate::error::Wrong;
use erofs_format::words;

/// The most bits of literal context and position together, as in LZMA2 and in Linux.
const LITERAL_BITS_MAX: u8 = 4;
/// One more than the largest properties byte.
const PROPERTIES_END: u8 = 9 * 5 * 5;
/// More bytes than one symbol can take (20), so that those at the end are taken one by one.
const SINGLE: usize = 32;
/// An end marker takes at least so many bytes: 26 of its bits halve the range each.
const MARKER_MIN: usize = 3;

/// Fills `output` with all that `input` decodes to. The format does not say where it ends, so Linux wants
/// that with the last byte of the output all input is used, no match goes on and the range coder is at its
/// end (`xz_dec_microlzma_run`).
pub(crate) fn whole(input: &[u8], output: &mut [u8], window: u32) -> Result<(), Wrong> {
    let length = u64::try_from(output.len()).unwrap_or(u64::MAX);
    let mut reader = open(input, length, window)?;
    reader.set_relaxed_end_condition(false);
    let (last, rest) = output.split_last_mut().ok_or_else(|| Wrong::corrupt("is empty"))?;
    fill(&mut reader, rest)?;
    let before = reader.inner().left();
    fill(&mut reader, std::slice::from_mut(last))?;
    let used = before.saturating_sub(reader.inner().left());
    // The decoder takes an end marker, which Linux does not know. Where there can have been one, what the
    // data takes is looked at alone.
    let left = if used < MARKER_MIN {
        unused(reader)
    } else {
        let mut reader = open(input, length, window)?;
        fill(&mut reader, output)?;
        unused(reader)
    };
    if left > 0 { Err(Wrong::corrupt(format!("{} left at its end", words::bytes(left)))) } else { Ok(()) }
}

/// Fills `output` with the first bytes that `input` decodes to.
pub(crate) fn part(input: &[u8], output: &mut [u8], window: u32) -> Result<(), Wrong> {
    fill(&mut open(input, u64::MAX, window)?, output)
}

/// The bytes of a stream: many at once, and those at the end one by one, so that it is known which of them
/// were used.
struct Stream<'a> {
    /// The byte that LZMA has first.
    lead: &'a [u8],
    rest: &'a [u8],
}

impl Stream<'_> {
    fn left(&self) -> usize {
        self.lead.len().saturating_add(self.rest.len())
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.lead.is_empty() {
            return self.lead.read(buf);
        }
        let most = self.rest.len().saturating_sub(SINGLE).max(1).min(buf.len());
        self.rest.read(buf.get_mut(..most).unwrap_or_default())
    }
}

/// How many bytes of its input a decoder has not used.
fn unused(reader: LzmaReader<Stream<'_>>) -> usize {
    let (stream, buffered) = reader.into_parts();
    stream.left().saturating_add(buffered.len())
}

fn open(input: &[u8], length: u64, window: u32) -> Result<LzmaReader<Stream<'_>>, Wrong> {
    let (first, rest) = input.split_first().ok_or_else(|| Wrong::corrupt("is empty"))?;
    let properties = !first;
    let (lc, lp) = (properties % 9, properties / 9 % 5);
    if properties >= PROPERTIES_END || lc.saturating_add(lp) > LITERAL_BITS_MAX {
        return Err(Wrong::corrupt(format!("properties {properties:#x}")));
    }
    let stream = Stream { lead: &[0], rest };
    LzmaReader::new_with_props(stream, length, properties, window, None).map_err(wrong)
}

fn wrong(error: io::Error) -> Wrong {
    if error.kind() == io::ErrorKind::OutOfMemory { Wrong::Memory } else { Wrong::corrupt(error) }
}

fn fill(reader: &mut LzmaReader<Stream<'_>>, output: &mut [u8]) -> Result<(), Wrong> {
    let mut filled = 0;
    while let Some(space) = output.get_mut(filled..).filter(|space| !space.is_empty()) {
        match reader.read(space) {
            Ok(0) => return Err(Wrong::Length(filled)),
            Ok(more) => filled = filled.saturating_add(more),
            Err(error) => return Err(wrong(error)),
        }
    }
    Ok(())
}
