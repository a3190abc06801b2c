//! Arbitrary content through the encoder of each algorithm: what it wrote decodes to what it consumed,
//! whatever the level, the size of the output and what was encoded before.

#![no_main]

use erofs_decode::{Amount, decode, widest};
use erofs_encode::{Params, by_name, encoder};
use erofs_format::compression::Algorithm;
use libfuzzer_sys::fuzz_target;

/// Those with encoders of our own twice.
const NAMES: [&str; 8] = ["lz4", "lz4", "zstd", "zstd", "deflate", "deflate", "lz4hc", "lzma"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&[name, level, size], content)) = bytes.split_first_chunk::<3>() else { return };
    let Some(row) = by_name(NAMES[usize::from(name) % NAMES.len()]) else { return };
    let Some(algorithm) = Algorithm::from_number(row.number) else { return };
    let level = i32::from(level % 23);
    let level = if (row.has_level)(level) { level } else { row.default_level };
    let max_output = 4096 << (size % 5);
    let params = Params { level, ..Params::new(row, max_output) };
    let Ok(mut encoder) = encoder(&params) else { return };
    // Outputs are seldom as long as they may be: the end of a file is cut to the blocks that it needs.
    let mut output = vec![0; max_output - usize::from(size) * 8];
    let mut rest = content;
    for _ in 0..4 {
        let prefix = encoder.encode_prefix(rest, &mut output);
        let (Some(source), Some(encoded)) = (rest.get(..prefix.consumed), output.get(..prefix.written)) else {
            panic!("{} level {level}: {prefix:?} of {} to {}", row.name, rest.len(), output.len());
        };
        if source.is_empty() {
            return;
        }
        let mut decoded = vec![0; source.len()];
        let result = decode(algorithm, encoded, &mut decoded, Amount::Whole, widest(algorithm));
        assert_eq!(result, Ok(()), "{} level {level}", row.name);
        assert!(decoded == source, "{} level {level}", row.name);
        rest = &rest[source.len()..];
    }
});
