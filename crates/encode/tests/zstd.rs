//! zstd frames of a fixed size: decoded by two decoders, compared with a search with libzstd, the same from
//! any history.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's")]

use std::io::Read;

use erofs_encode::{Params, Prefix, PrefixEncoder, by_name, encoder, encoder_stronger};
use proptest::prelude::*;

fn zstd(level: i32, max_output: usize) -> Box<dyn PrefixEncoder> {
    encoder(&Params { level, ..Params::new(by_name("zstd").unwrap(), max_output) }).unwrap()
}

fn noise(length: usize, mut state: u64) -> Vec<u8> {
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..length).map(next).collect()
}

/// Words of a small vocabulary: compresses about as text does.
fn words(length: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for pair in noise(length, 7).chunks(2) {
        let number = usize::from(pair[0]) * 7 + usize::from(pair.get(1).copied().unwrap_or(0) & 3);
        let word = noise(2 + number % 9, number as u64);
        text.extend(word.iter().map(|byte| b'a' + byte % 26));
        text.push(b' ');
    }
    text.truncate(length);
    text
}

/// Records with a counter: short matches at a fixed distance between changing bytes.
fn records(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0_u32.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(&number.wrapping_mul(2_654_435_761).to_le_bytes()[..2]);
        bytes.extend_from_slice(&[0, 1, (number & 3) as u8, 0xff, 0, 0, (number >> 5).to_le_bytes()[0], 9]);
    }
    bytes.truncate(length);
    bytes
}

fn contents(length: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mixed: Vec<u8> = words(length)
        .chunks(9000)
        .zip(noise(length, 3).chunks(9000))
        .enumerate()
        .flat_map(|(place, (text, noise))| if place % 3 == 1 { noise.to_vec() } else { text.to_vec() })
        .collect();
    vec![
        ("words", words(length)),
        ("records", records(length)),
        ("noise", noise(length, 1)),
        ("zeros", vec![0; length]),
        ("noise of five bits", noise(length, 2).iter().map(|byte| byte & 31).collect()),
        ("mixed", mixed),
    ]
}

fn assert_decodes(name: &str, encoded: &[u8], want: &[u8]) {
    let mut decoded = Vec::with_capacity(want.len());
    let result = zstd_safe::decompress(&mut decoded, encoded).map_err(zstd_safe::get_error_name);
    assert_eq!(result, Ok(want.len()), "{name}: {} bytes to {}", want.len(), encoded.len());
    assert!(decoded == want, "{name}: libzstd decodes something else");
    let mut decoded = Vec::new();
    let mut stream = ruzstd::decoding::StreamingDecoder::new(encoded).unwrap();
    stream.read_to_end(&mut decoded).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(decoded == want, "{name}: ruzstd decodes something else");
}

fn encode(encoder: &mut dyn PrefixEncoder, name: &str, src: &[u8], size: usize) -> Prefix {
    let mut dst = vec![0xee; size];
    let prefix = encoder.encode_prefix(src, &mut dst);
    assert!(prefix.consumed <= src.len() && prefix.written <= size, "{name}: {prefix:?}");
    if prefix.consumed > 0 {
        assert!(prefix.written < prefix.consumed, "{name}: {prefix:?}");
        assert_decodes(name, &dst[..prefix.written], &src[..prefix.consumed]);
    }
    prefix
}

#[test]
fn every_size_of_pcluster_decodes() {
    for size in [4096, 8192, 16384, 65536, 262_144, 1 << 20] {
        let mut encoder = zstd(3, size);
        for (name, src) in contents((size * 6).min(3 << 20)) {
            let mut at = 0;
            while at < src.len() {
                let prefix = encode(&mut *encoder, name, &src[at..], size);
                at += if prefix.consumed == 0 { size } else { prefix.consumed };
            }
        }
    }
}

#[test]
fn loose_outputs_decode() {
    for (level, size) in [(1, 4096), (3, 4096), (3, 65536), (6, 16384), (12, 16384)] {
        let mut encoder = zstd(level, size);
        for (name, src) in contents((size * 20).min(1 << 20)) {
            encoder.begin_segment();
            let (mut at, mut full, mut calls) = (0, 0, 0);
            while at < src.len() {
                let mut dst = vec![0xee; size];
                let prefix = encoder.encode_loose(&src[at..], &mut dst);
                if prefix.consumed > 0 {
                    assert!(prefix.written < prefix.consumed, "{name}: {prefix:?}");
                    assert_decodes(name, &dst[..prefix.written], &src[at..at + prefix.consumed]);
                    calls += 1;
                    full += usize::from(prefix.written * 4 > size * 3);
                }
                at += if prefix.consumed == 0 { size } else { prefix.consumed };
            }
            if matches!(name, "words" | "noise of five bits") {
                assert!(
                    (full + 2) * 4 > calls * 3,
                    "{name} at level {level}: {full} of {calls} are nearly full"
                );
            }
        }
        assert_eq!(encoder.encode_loose(&[], &mut vec![0; size]), Prefix::default());
    }
}

#[test]
fn every_level_decodes() {
    for level in 1..=22 {
        let mut encoder = zstd(level, 16384);
        for (name, src) in contents(150_000) {
            encode(&mut *encoder, name, &src, 16384);
        }
    }
}

#[test]
fn short_inputs_and_edges_of_blocks_decode() {
    let mut encoder = zstd(3, 1 << 20);
    for length in (0..300).chain([4095, 4096, 4097, 65791, 65792, 131_071, 131_072, 131_073, 262_145]) {
        for (name, src) in contents(length) {
            let prefix = encode(&mut *encoder, name, &src, 1 << 20);
            assert!(prefix.consumed == 0 || prefix.consumed == length);
        }
    }
}

#[test]
fn short_outputs_decode() {
    let mut encoder = zstd(3, 4096);
    let sources = contents(20_000);
    for size in (0..200).chain((200..4096).step_by(61)) {
        for (name, src) in &sources {
            encode(&mut *encoder, name, src, size);
        }
    }
}

/// The reference implementation: the longest prefix by halving, with libzstd.
fn halved(level: i32, src: &[u8], size: usize) -> usize {
    let (mut fits, mut too_long) = (0, src.len() + 1);
    let mut dst = vec![0; size];
    while fits + 1 < too_long {
        let middle = usize::midpoint(fits, too_long);
        match zstd_safe::compress(&mut dst[..], &src[..middle], level) {
            Ok(_) => fits = middle,
            Err(_) => too_long = middle,
        }
    }
    fits
}

#[test]
fn hardly_less_is_taken_than_by_halving() {
    for size in [4096, 16384, 65536] {
        let mut ours = zstd(3, size);
        let mut optimal = zstd(18, size);
        for (name, src) in contents(size * 8) {
            let want = halved(3, &src, size);
            let got = encode(&mut *ours, name, &src, size).consumed;
            assert!(
                want <= size || got * 100 >= want * 96,
                "{name} to {size}: {got} bytes, halving takes {want}"
            );
            let want = halved(18, &src, size);
            let got = encode(&mut *optimal, name, &src, size).consumed;
            assert!(
                want <= size || got * 100 >= want * 97,
                "{name} to {size}: {got} bytes, halving takes {want}"
            );
        }
    }
}

#[test]
fn what_was_encoded_before_does_not_matter() {
    let sources = contents(300_000);
    for level in [1, 3, 5, 9, 10, 15, 18] {
        let mut used = zstd(level, 16384);
        for (name, src) in sources.iter().chain(&sources) {
            let mut bytes = [vec![0; 16384], vec![0; 16384]];
            used.begin_segment();
            let of_used = used.encode_prefix(src, &mut bytes[0]);
            let of_fresh = zstd(level, 16384).encode_prefix(src, &mut bytes[1]);
            assert_eq!(of_used, of_fresh, "{name} at level {level}");
            assert!(bytes[0][..of_used.written] == bytes[1][..of_used.written], "{name} at level {level}");
        }
    }
}

#[test]
fn whole_inputs_are_encoded_or_refused() {
    for level in [3, 19] {
        let mut encoder = zstd(level, 65536);
        for (name, src) in contents(70_000) {
            let mut dst = vec![0; 80_000];
            let size = encoder.encode_whole(&src, &mut dst).unwrap();
            assert_decodes(name, &dst[..size], &src);
            assert_eq!(encoder.encode_whole(&src, &mut dst[..size - 1]), None, "{name}");
        }
        assert_eq!(encoder.encode_whole(&[], &mut [0; 100]), None);
    }
}

#[test]
fn squeezing_makes_tails_smaller_or_gives_up() {
    let algorithm = by_name("zstd").unwrap();
    let params = Params::new(algorithm, 65536);
    let mut stronger = encoder_stronger(&params).unwrap().unwrap();
    let src = words(30_000);
    let mut dst = vec![0; 65536];
    let size = zstd(3, 65536).encode_prefix(&src, &mut dst).written;
    let squeezed = stronger.encode_prefix(&src, &mut dst[..size - 1]);
    assert!(squeezed.consumed == src.len() && squeezed.written < size);
    assert_decodes("squeezed", &dst[..squeezed.written], &src);
    assert_eq!(stronger.encode_prefix(&src, &mut dst[..size / 2]), Prefix::default());
    assert!(encoder_stronger(&Params { level: 22, ..params }).unwrap().is_none());
}

#[test]
fn offsets_stay_within_the_window() {
    // A pattern that comes again after 3000 bytes of noise, with a window that does not reach so far.
    let mut src = Vec::new();
    for number in 0..40 {
        src.extend(words(500));
        src.extend(noise(3000, number).iter().map(|byte| byte & 63));
    }
    let algorithm = by_name("zstd").unwrap();
    for level in [3, 6, 10, 15, 18] {
        let mut encoder =
            encoder(&Params { level, dict_size: 1024, ..Params::new(algorithm, 65536) }).unwrap();
        let mut dst = vec![0; 65536];
        let prefix = encoder.encode_prefix(&src, &mut dst);
        assert!(prefix.consumed > 65536);
        assert_decodes("small window", &dst[..prefix.written], &src[..prefix.consumed]);
        // The frame announces 1 KiB, and a decoder that holds no more accepts it.
        let mut context = zstd_safe::DCtx::create();
        context.set_parameter(zstd_safe::DParameter::WindowLogMax(10)).unwrap();
        let mut decoded = vec![0; prefix.consumed];
        let mut input = zstd_safe::InBuffer::around(&dst[..prefix.written]);
        let mut output = zstd_safe::OutBuffer::around(&mut decoded[..]);
        while context.decompress_stream(&mut output, &mut input).unwrap() != 0 {}
        assert!(decoded == src[..prefix.consumed]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn anything_decodes(
        level in 1..=18,
        size in 64..9000_usize,
        pieces in proptest::collection::vec((0..200_usize, 0..4000_usize, 0_u8..), 0..40),
    ) {
        let mut src = Vec::new();
        for (back, length, byte) in pieces {
            match back {
                0..20 => src.extend(noise(length, u64::from(byte))),
                20..40 => src.extend(vec![byte; length]),
                _ => {
                    for _ in 0..length {
                        let from = src.len().saturating_sub(back * back);
                        src.push(src.get(from).copied().unwrap_or(byte));
                    }
                }
            }
        }
        encode(&mut *zstd(level, 9000), "random", &src, size);
    }
}

/// Behind long noise the search takes long steps, and the place after the last one lies behind the end of the
/// input.
#[test]
fn a_step_behind_the_end_finds_nothing() {
    for level in [1, 3] {
        let mut encoder = zstd(level, 8192);
        let mut room = vec![0; 8192];
        for seed in 0..4000_u64 {
            // Of four symbols five are often the same and eight are not.
            let few = |seed| noise(400, seed).into_iter().map(|byte| 1 + (byte & 3)).collect::<Vec<_>>();
            let mut bytes = vec![0; 20_000];
            bytes[19_000..19_400].copy_from_slice(&few(seed));
            bytes.extend_from_slice(&noise(6000 + usize::try_from(seed % 1000).unwrap(), seed));
            bytes.extend_from_slice(&few(seed + 99)[..200]);
            encoder.begin_segment();
            let found = encoder.encode_prefix(&bytes, &mut room);
            assert_eq!(found.consumed, bytes.len(), "level {level}, seed {seed}: {found:?}");
        }
    }
}
