//! zstd frames of a fixed size: decoded by two decoders, held against a search with libzstd, the same from any history.

use std::io::Read;

use erofs_encode::{Params, Prefix, PrefixEncoder, by_name, encoder};

fn zstd(level: i32, max_output: usize) -> Box<dyn PrefixEncoder> {
    encoder(&Params { level, ..Params::new(by_name("zstd").unwrap(), max_output) }).unwrap()
}

fn noise(length: usize, mut state: u64) -> Vec<u8> {
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
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
        bytes.extend_from_slice(&[0, 1, (number & 3) as u8, 0xff, 0, 0, (number >> 5) as u8, 9]);
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
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(encoded).unwrap();
    decoder.read_to_end(&mut decoded).unwrap_or_else(|error| panic!("{name}: {error}"));
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
