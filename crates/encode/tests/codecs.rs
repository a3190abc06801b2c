//! Every encoder but zstd against decoders that share no code with it: what is decoded is the prefix, at
//! every size of the output, at every length around the edges of a format, and independent of what the
//! encoder did before.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests themselves may")]

use std::io::Read as _;

use erofs_encode::{LzmaBits, Params, PrefixEncoder, by_name, encoder, encoder_stronger};
use proptest::prelude::*;

/// An encoder by name and level for pclusters of `max_output` bytes.
fn open(name: &str, level: i32, max_output: usize) -> Box<dyn PrefixEncoder> {
    encoder(&params(name, level, max_output)).unwrap()
}

fn params(name: &str, level: i32, max_output: usize) -> Params {
    Params { level, ..Params::new(by_name(name).unwrap(), max_output) }
}

/// Decodes `encoded`, which stands for `len` bytes, and panics when it is not one whole stream of that many.
fn decode(name: &str, encoded: &[u8], len: usize) -> Vec<u8> {
    match name {
        "lz4" | "lz4hc" => {
            let mut plain = vec![0; len];
            let got = lz4_flex::block::decompress_into(encoded, &mut plain).unwrap_or_else(|error| {
                panic!("{name}: {} bytes for {len}: {error} {encoded:?}", encoded.len())
            });
            assert_eq!(got, len);
            plain
        }
        "deflate" | "libdeflate" => {
            let zune = zune_inflate::DeflateDecoder::new(encoded).decode_deflate().unwrap();
            let miniz = miniz_oxide::inflate::decompress_to_vec(encoded).unwrap();
            assert!(zune == miniz, "two decoders of DEFLATE disagree");
            zune
        }
        "lzma" => {
            let mut raw = encoded.to_vec();
            let properties = !std::mem::take(&mut raw[0]);
            let mut reader =
                lzma_rust2::LzmaReader::new_with_props(raw.as_slice(), len as u64, properties, 8 << 20, None)
                    .unwrap();
            let mut plain = Vec::new();
            reader.read_to_end(&mut plain).unwrap();
            plain
        }
        other => panic!("no decoder for {other}"),
    }
}

/// A few levels of each algorithm: the ends of its range and where another method takes over.
const ROWS: &[(&str, &[i32])] = &[
    ("lz4", &[1]),
    ("lz4hc", &[1, 2, 3, 9, 10, 12]),
    ("deflate", &[0, 1, 2, 5, 6, 9]),
    ("libdeflate", &[10, 12]),
    ("lzma", &[0, 3, 6, 106]),
];

const CLUSTERS: [usize; 9] = [4096, 8192, 16384, 32768, 65536, 131_072, 262_144, 524_288, 1 << 20];

/// Pseudo-random bytes (splitmix64).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        out.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Words of a small vocabulary, so that matches of many lengths and distances occur.
fn text(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "static ",
        "int ",
        "return ",
        "struct ",
        "superblock",
        "->",
        "inode",
        "(",
        ")",
        ";\n\t",
        "if ",
        "else ",
        " = ",
        "0x",
        "nid",
        "\n",
    ];
    let mut out = Vec::with_capacity(len + 16);
    for choice in noise(seed, len) {
        if out.len() >= len {
            break;
        }
        if choice >= 224 {
            out.push(choice & 0x7F);
        } else {
            out.extend_from_slice(WORDS[usize::from(choice % 16)].as_bytes());
        }
    }
    out.truncate(len);
    out
}

/// Records of 16 bytes with counters in them, as tables of executables are.
fn binary(seed: u64, len: usize) -> Vec<u8> {
    let jitter = noise(seed, len / 16 + 1);
    let mut out = Vec::with_capacity(len + 16);
    for (number, &byte) in (0_u32..).zip(&jitter) {
        out.extend_from_slice(&(number * 24).to_le_bytes());
        out.extend_from_slice(&[byte & 3, 0, 0, byte >> 6, 0xFF, 0xFF, 0x48, 0x8B]);
        out.extend_from_slice(&(0x0040_0000 + number * u32::from(byte & 7)).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Every kind of content, long enough to fill a pcluster of `cluster` bytes several times.
fn samples(cluster: usize, most: usize) -> Vec<(&'static str, Vec<u8>)> {
    let len = (cluster * 6).min(most);
    let mut mixed = text(1, len / 4);
    mixed.extend(noise(2, len / 4));
    mixed.extend(vec![0; len / 4]);
    mixed.extend(binary(3, len / 4));
    vec![
        ("text", text(4, len)),
        ("binary", binary(5, len)),
        ("zeros", vec![0; len * 2]),
        ("noise", noise(6, len)),
        ("mixed", mixed),
        ("period 7", b"abcdefg".iter().copied().cycle().take(len).collect()),
        ("period 40000", noise(7, 40_000).into_iter().cycle().take(len).collect()),
    ]
}

/// Encodes all of `src` pcluster by pcluster and decodes each; returns how many bytes were encoded into how
/// many.
fn encode_all(name: &str, encoder: &mut dyn PrefixEncoder, src: &[u8], cluster: usize) -> (usize, usize) {
    encoder.begin_segment();
    let mut at = 0;
    let mut total = (0, 0);
    while at < src.len() {
        let rest = &src[at..];
        let mut dst = vec![0xA5; cluster + 64];
        let got = encoder.encode_prefix(rest, &mut dst[..cluster]);
        assert!(got.written <= cluster && got.consumed <= rest.len());
        assert!(dst[cluster..].iter().all(|&byte| byte == 0xA5), "{name} wrote behind its output");
        if got.consumed == 0 {
            at += cluster.min(rest.len());
            continue;
        }
        assert!(got.written < got.consumed, "{name} grew {got:?}");
        assert_ne!(dst[0], 0, "the decoder takes leading zeros for padding");
        assert!(decode(name, &dst[..got.written], got.consumed) == rest[..got.consumed], "{name} at {at}");
        at += got.consumed;
        total.0 += got.consumed;
        total.1 += got.written;
    }
    total
}

#[test]
fn prefixes_decode_at_every_cluster_size() {
    for &(name, levels) in ROWS {
        for &level in levels {
            let slow = name == "lzma" || level >= 10;
            let most = if slow { 300_000 } else { 2 << 20 };
            for &cluster in CLUSTERS.iter().step_by(if slow { 4 } else { 1 }) {
                let mut encoder = open(name, level, cluster);
                for (kind, src) in samples(cluster, most) {
                    let (consumed, written) = encode_all(name, &mut *encoder, &src, cluster);
                    match kind {
                        "noise" => assert_eq!(consumed, 0, "{name},{level} -C{cluster}"),
                        "text" | "binary" | "zeros" | "period 7" => {
                            assert!(
                                written * 10 < src.len() * 9 && consumed * 10 > src.len() * 9,
                                "{name},{level} -C{cluster} {kind}"
                            );
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// What is left of loose outputs is bounded where the content is the same all along.
#[test]
fn loose_outputs_decode_and_are_not_empty() {
    for &(name, levels) in ROWS {
        for &level in levels {
            for cluster in [4096, 65536] {
                let mut encoder = open(name, level, cluster);
                for (kind, src) in samples(cluster, 300_000) {
                    encoder.begin_segment();
                    let (mut at, mut calls) = (0, 0);
                    while at < src.len() {
                        let mut dst = vec![0xA5; cluster + 64];
                        let got = encoder.encode_loose(&src[at..], &mut dst[..cluster]);
                        assert!(got.written <= cluster && got.consumed <= src.len() - at);
                        assert!(dst[cluster..].iter().all(|&byte| byte == 0xA5), "{name},{level} {kind}");
                        if got.consumed == 0 {
                            at += cluster.min(src.len() - at);
                            continue;
                        }
                        assert!(got.written < got.consumed && dst[0] != 0, "{name},{level} {kind}: {got:?}");
                        let decoded = decode(name, &dst[..got.written], got.consumed);
                        assert!(decoded == src[at..at + got.consumed], "{name},{level} {kind} at {at}");
                        at += got.consumed;
                        calls += 1;
                    }
                    let most = src.len() / cluster + 4;
                    assert!(calls <= most, "{name},{level} -C{cluster} {kind}: {calls} calls, want {most}");
                }
            }
        }
    }
}

#[test]
fn outputs_are_filled() {
    for &(name, levels) in ROWS {
        for &level in levels {
            for cluster in [4096, 65536] {
                let mut encoder = open(name, level, cluster);
                let mut dst = vec![0; cluster];
                for (kind, src) in [("text", text(4, cluster * 8)), ("binary", binary(5, cluster * 8))] {
                    let got = encoder.encode_prefix(&src, &mut dst);
                    assert!(
                        got.consumed < src.len()
                            && got.written + if level == 10 || level == 12 { cluster / 100 } else { 40 }
                                > cluster,
                        "{name},{level} -C{cluster} {kind}: {got:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_short_length_decodes_or_is_left_alone() {
    for &(name, levels) in ROWS {
        for &level in levels {
            let mut encoder = open(name, level, 4096);
            for len in 0..=300 {
                for src in [text(8, len), vec![0; len], noise(9, len), binary(10, len)] {
                    let mut dst = vec![0; 4096];
                    encoder.begin_segment();
                    let got = encoder.encode_prefix(&src, &mut dst);
                    if got.consumed > 0 {
                        assert!(decode(name, &dst[..got.written], len) == src, "{name},{level} {len}");
                    }
                    let whole = encoder.encode_whole(&src, &mut dst);
                    // Of a few bytes a library may make nothing where our own encoder saves one.
                    let same = whole.is_some() == (got.consumed > 0);
                    assert!(same || (whole.is_none() && len < 64), "{name},{level} {len}: {whole:?} {got:?}");
                }
            }
            let src = text(11, 5000);
            for room in 0..300 {
                let mut dst = vec![0xA5; room + 16];
                let got = encoder.encode_prefix(&src, &mut dst[..room]);
                assert!(dst[room..].iter().all(|&byte| byte == 0xA5));
                if got.consumed > 0 {
                    assert!(decode(name, &dst[..got.written], got.consumed) == src[..got.consumed]);
                }
            }
        }
    }
}

#[test]
fn bytes_do_not_depend_on_earlier_calls() {
    for &(name, levels) in ROWS {
        for &level in levels {
            let mut used = open(name, level, 16384);
            for round in 0..2 {
                for src in
                    [text(round, 200_000), binary(round + 90, 70_000), noise(round, 30_000), text(round, 900)]
                {
                    for room in [16384, 5000, 4096] {
                        let (mut fresh_dst, mut used_dst) = (vec![0; room], vec![0; room]);
                        let fresh = open(name, level, 16384).encode_prefix(&src, &mut fresh_dst);
                        used.begin_segment();
                        let again = used.encode_prefix(&src, &mut used_dst);
                        assert_eq!(fresh, again, "{name},{level}");
                        assert!(fresh_dst[..fresh.written] == used_dst[..again.written], "{name},{level}");
                    }
                }
            }
        }
    }
}

#[test]
fn whole_inputs_and_stronger_tails_decode() {
    for &(name, levels) in ROWS {
        for &level in levels {
            let src = text(12, 50_000);
            let mut dst = vec![0; 65536];
            let len = open(name, level, 65536).encode_whole(&src, &mut dst).unwrap();
            assert!(decode(name, &dst[..len], src.len()) == src);
            assert_eq!(open(name, level, 65536).encode_whole(&src, &mut dst[..len / 2]), None);
            if let Some(mut stronger) = encoder_stronger(&params(name, level, 65536)).unwrap() {
                let shorter = stronger.encode_whole(&src, &mut dst).unwrap();
                // More effort pays in most cases; in this text of random words longer searches may lose a few
                // bytes.
                assert!(shorter <= len + len / 500, "{name},{level}: {shorter} of {len}");
                assert!(decode(name, &dst[..shorter], src.len()) == src);
            }
        }
    }
}

#[test]
fn input_is_bounded() {
    for &(name, levels) in ROWS {
        let params = Params { max_input: 20_000, ..params(name, levels[0], 65536) };
        let mut encoder = encoder(&params).unwrap();
        let got = encoder.encode_prefix(&vec![7; 100_000], &mut vec![0; 65536]);
        assert_eq!(got.consumed, 20_000, "{name}");
    }
}

/// Bytes made of literals and copies, so that every length and distance of a match can occur.
fn stretches() -> impl Strategy<Value = Vec<u8>> {
    let stretch = prop_oneof![
        (any::<u64>(), 1_usize..600).prop_map(|(seed, len)| (seed, len, None)),
        (any::<u64>(), 1_usize..3000, 1_usize..70_000).prop_map(|(seed, len, back)| (seed, len, Some(back))),
    ];
    prop::collection::vec(stretch, 1..60).prop_map(|stretches| {
        let mut out: Vec<u8> = Vec::new();
        for (seed, len, back) in stretches {
            match back {
                Some(back) if back <= out.len() => {
                    let from = out.len() - back;
                    for at in from..from + len {
                        out.push(out[at]);
                    }
                }
                _ => out.extend(noise(seed, len)),
            }
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn copies_of_any_length_and_distance_decode(src in stretches(), room in 64_usize..20_000) {
        for &(name, levels) in ROWS {
            for &level in levels {
                let mut dst = vec![0; room];
                let got = open(name, level, 32768).encode_prefix(&src, &mut dst);
                if got.consumed > 0 {
                    prop_assert!(decode(name, &dst[..got.written], got.consumed) == src[..got.consumed], "{},{}", name, level);
                }
            }
        }
    }
}

/// The bits that are asked for are those of the properties byte, and what Linux does not take is refused.
#[test]
fn the_bits_of_lzma() {
    let content = text(5, 40_000);
    for (lc, lp, pb, right) in [
        (Some(3), Some(0), Some(2), true),
        (Some(0), Some(4), Some(0), true),
        (Some(4), None, Some(4), true),
        (Some(3), Some(2), None, false),
        (None, None, Some(5), false),
        (Some(255), Some(255), None, false),
    ] {
        let asked = Params { lzma: LzmaBits { lc, lp, pb }, ..params("lzma", 6, 16_384) };
        let Ok(mut encoder) = encoder(&asked) else {
            assert!(!right, "{asked:?}");
            continue;
        };
        assert!(right, "{asked:?}");
        let mut output = vec![0; 16_384];
        let prefix = encoder.encode_prefix(&content, &mut output);
        output.truncate(prefix.written);
        let [lc, lp, pb] = [(lc, 3), (lp, 0), (pb, 2)].map(|(bits, usual)| bits.unwrap_or(usual));
        assert_eq!(!output[0], (pb * 5 + lp) * 9 + lc, "{asked:?}");
        assert!(
            prefix.consumed > 0 && decode("lzma", &output, prefix.consumed) == content[..prefix.consumed]
        );
    }
}
