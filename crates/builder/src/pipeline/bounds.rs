//! Files that are too long: what is asked of the builder must end, and must fit into memory.

use super::feed::File;
use super::work::Phase;
use crate::coder::plain::SEGMENT_SIZE;
use crate::error::{BuildError, shown};

/// The longest chunk table, in entries: 2^26 entries of 4 bytes, for 64 TiB in chunks of 1 MiB. It is in
/// memory while the image is made.
const CHUNKS_MAX: u64 = 1 << 26;
/// The longest compressed file, in blocks: its index has at least 2 bytes for each, and inodes with what
/// belongs to them are counted in 32 bits.
const COMPRESSED_BLOCKS_MAX: u64 = 1 << 31;
/// The longest file that is hashed, in bytes. More than that is nothing but holes, and takes hours.
const HASHED_MAX: u64 = 1 << 44;

/// Refuses a file that is longer than the work on it allows; `path` is for the message.
pub(crate) fn check(
    phase: &Phase<'_>,
    file: &File,
    path: impl FnOnce() -> Vec<u8>,
) -> Result<(), BuildError> {
    if file.size <= SEGMENT_SIZE as u64 {
        return Ok(());
    }
    let (unit, count, why) = if phase.has_digest(file) && file.size > HASHED_MAX {
        (1, HASHED_MAX, "fingerprints of longer ones take hours")
    } else if phase.rules.encodes(file.choice) {
        (phase.block as u64, COMPRESSED_BLOCKS_MAX, "an index has no room for more blocks")
    } else {
        let bits = phase.plain.chunk_bits.unwrap_or_else(|| phase.plain.piece_bits(file.size));
        let why = match phase.plain.chunk_bits {
            None => "there is no room for more chunks, but longer ones would do",
            Some(_) => "there is no room for more chunks of this length",
        };
        (1 << bits, CHUNKS_MAX, why)
    };
    if file.size.div_ceil(unit) <= count {
        return Ok(());
    }
    let most = u128::from(unit) * u128::from(count);
    Err(BuildError::Long { path: shown(&path()), found: file.size, most, why })
}
