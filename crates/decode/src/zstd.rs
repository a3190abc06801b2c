//! Zstandard frames, by `ruzstd`.

use std::io::Read as _;

use erofs_format::compression::PCLUSTER_MAX_DSIZE;
use ruzstd::decoding::StreamingDecoder;

use crate::error::Wrong;

/// Fills `output` with all that `input` decodes to.
pub(crate) fn whole(input: &[u8], output: &mut [u8]) -> Result<(), Wrong> {
    run(input, output, false)
}

/// Fills `output` with the first bytes that `input` decodes to.
pub(crate) fn part(input: &[u8], output: &mut [u8]) -> Result<(), Wrong> {
    run(input, output, true)
}

fn run(input: &[u8], output: &mut [u8], more: bool) -> Result<(), Wrong> {
    // A frame of one segment has its whole content as its window, and no pcluster has more than this.
    let mut decoder =
        StreamingDecoder::new_with_max_window_size(input, PCLUSTER_MAX_DSIZE).map_err(Wrong::corrupt)?;
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
