//! Arbitrary bytes through the decoder of each algorithm: bytes or an error, never a panic, and both decoders
//! of LZ4 agree.

#![no_main]

use erofs_decode::{Amount, decode, strip_padding, widest};
use erofs_format::compression::Algorithm;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_first_chunk::<2>() else { return };
    let [number, length] = *head;
    let Some(algorithm) = Algorithm::from_number(number % 4) else { return };
    // Short ones mostly; now and then one that is longer than any window.
    let length = if length < 200 { usize::from(length) } else { usize::from(length - 199) << 14 };
    let Ok(input) = strip_padding(rest, 4096) else { return };
    let mut whole = vec![0; length];
    let mut part = vec![0; length];
    let complete = decode(algorithm, input, &mut whole, Amount::Whole, widest(algorithm));
    let first = decode(algorithm, input, &mut part, Amount::Part, widest(algorithm));
    if complete.is_ok() {
        assert_eq!(first, Ok(()), "{algorithm:?}");
        assert!(whole == part, "{algorithm:?}");
    }
    if first.is_ok() && length > 1 {
        let mut less = vec![0; length / 2];
        assert_eq!(decode(algorithm, input, &mut less, Amount::Part, widest(algorithm)), Ok(()), "{algorithm:?}");
        assert!(part.starts_with(&less), "{algorithm:?}");
    }
});
