//! Zstandard frames, by `ruzstd`.

use std::io::Read as _;

use ruzstd::decoding::StreamingDecoder;

use crate::error::Wrong;

/// `ZSTD_MAGICNUMBER`.
const MAGIC: u32 = 0xfd2f_b528;
/// The bit of the frame header descriptor that says that the whole content is one segment, which is the window.
const SINGLE_SEGMENT: u8 = 0x20;

/// Fills `output` with all that `input` decodes to.
pub(crate) fn whole(input: &[u8], output: &mut [u8], window: u32) -> Result<(), Wrong> {
    run(input, output, window, false)
}

/// Fills `output` with the first bytes that `input` decodes to.
pub(crate) fn part(input: &[u8], output: &mut [u8], window: u32) -> Result<(), Wrong> {
    run(input, output, window, true)
}

fn run(input: &[u8], output: &mut [u8], window: u32, more: bool) -> Result<(), Wrong> {
    // `ruzstd` does not hold the length in the header against that of the content; Linux does.
    if let Some(length) = content_length(input)
        && !more
        && u64::try_from(output.len()) != Ok(length)
    {
        return Err(Wrong::corrupt(format!("a content of {length} bytes by its header")));
    }
    let mut decoder =
        StreamingDecoder::new_with_max_window_size(input, u64::from(window)).map_err(Wrong::corrupt)?;
    let mut filled = 0;
    while let Some(space) = output.get_mut(filled..).filter(|space| !space.is_empty()) {
        match decoder.read(space) {
            Ok(0) => return Err(Wrong::Length(filled)),
            Ok(more) => filled = filled.saturating_add(more),
            Err(error) => return Err(Wrong::corrupt(error)),
        }
    }
    if more {
        return Ok(());
    }
    match decoder.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Wrong::Length(filled.saturating_add(1))),
        Err(error) => Err(Wrong::corrupt(error)),
    }
}

/// The length of the content as the header of a frame has it (RFC 8878, section 3.1.1.1); `None` where it has none.
fn content_length(input: &[u8]) -> Option<u64> {
    let (magic, rest) = input.split_first_chunk::<4>()?;
    let (descriptor, rest) = rest.split_first()?;
    if u32::from_le_bytes(*magic) != MAGIC {
        return None;
    }
    let single = descriptor & SINGLE_SEGMENT != 0;
    let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3))?;
    let skip = usize::from(!single).checked_add(*dictionary)?;
    let field = rest.get(skip..)?;
    match (descriptor >> 6, single) {
        (0, false) => None,
        (0, true) => field.first().map(|byte| u64::from(*byte)),
        (1, _) => field.first_chunk().map(|bytes| u64::from(u16::from_le_bytes(*bytes)).saturating_add(256)),
        (2, _) => field.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes))),
        _ => field.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::content_length;

    #[test]
    fn headers_say_how_long_the_content_is() {
        for (header, want) in [
            (&[0x20, 9][..], Some(9)),
            (&[0x00, 0x58], None),
            (&[0x60, 1, 1], Some(513)),
            (&[0x40, 0x58, 1, 1], Some(513)),
            (&[0xa0, 1, 0, 1, 0], Some(65_537)),
            (&[0xe1, 7, 1, 0, 0, 0, 0, 0, 0, 0], Some(1)),
            (&[0x60, 1], None),
        ] {
            let frame = [&0xfd2f_b528_u32.to_le_bytes(), header].concat();
            assert_eq!(content_length(&frame), want, "{header:?}");
        }
        assert_eq!(content_length(b"something else"), None);
    }
}
