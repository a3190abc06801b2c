//! Raw DEFLATE, by `miniz_oxide`.

use erofs_format::words::noun;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::error::Wrong;

/// Fills `output` with all that `input` decodes to.
pub(crate) fn whole(input: &[u8], output: &mut [u8], _window: u32) -> Result<(), Wrong> {
    run(input, output, false)
}

/// Fills `output` with the first bytes that `input` decodes to.
pub(crate) fn part(input: &[u8], output: &mut [u8], _window: u32) -> Result<(), Wrong> {
    run(input, output, true)
}

fn run(input: &[u8], output: &mut [u8], more: bool) -> Result<(), Wrong> {
    let mut decoder = Box::new(DecompressorOxide::new());
    let (status, _, found) =
        decompress(&mut decoder, input, output, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
    match status {
        TINFLStatus::Done if found == output.len() => Ok(()),
        TINFLStatus::HasMoreOutput if more => Ok(()),
        TINFLStatus::Done => Err(Wrong::Length(found)),
        TINFLStatus::HasMoreOutput => Err(Wrong::Length(found.saturating_add(1))),
        TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
            Err(Wrong::corrupt(format!("ends after {found} decoded {}", noun(found, "byte", "bytes"))))
        }
        TINFLStatus::BadParam | TINFLStatus::Adler32Mismatch | TINFLStatus::Failed | _ => {
            Err(Wrong::corrupt(format!("wrong after {found} decoded {}", noun(found, "byte", "bytes"))))
        }
    }
}
