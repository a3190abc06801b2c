//! What other people's encoders make is decoded, in whole and in part; what is wrong is an error.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use erofs_decode::{Amount, DecodeError, decode, strip_padding, widest};
use erofs_format::compression::Algorithm;
use erofs_format::words;
use lzma_rust2::{LzmaOptions, MicroLzmaEncoder};

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn encode(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Lz4 => lz4_flex::block::compress(bytes),
        Algorithm::Deflate => miniz_oxide::deflate::compress_to_vec(bytes, 6),
        Algorithm::Zstd => {
            ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
        }
        Algorithm::Lzma => {
            let mut output = vec![0; bytes.len() * 2 + 100];
            let options = LzmaOptions { dict_size: 1 << 20, ..LzmaOptions::with_preset(1) };
            let (taken, written) =
                MicroLzmaEncoder::new(&options).unwrap().compress_prefix(bytes, &mut output).unwrap();
            assert_eq!(taken, bytes.len());
            output.truncate(written);
            output
        }
    }
}

fn contents() -> Vec<Vec<u8>> {
    let mut numbers = Numbers(0x1357_9bdf_0246_8ace);
    let mut contents = Vec::new();
    for length in [1, 2, 15, 19, 300, 4096, 70_000, 300_001] {
        contents.push(vec![0; length]);
        contents.push((0..length).map(|_| u8::try_from(numbers.below(256)).unwrap()).collect());
        contents.push((0..length).map(|_| b"ab cd"[numbers.below(5)]).collect());
        contents.push((0..length).map(|place| u8::try_from(place % 251).unwrap()).collect());
        let mut turns = Vec::new();
        while turns.len() < length {
            let from = numbers.below(turns.len() + 1);
            let piece = turns[from..].iter().take(numbers.below(600)).copied().collect::<Vec<u8>>();
            turns.extend(piece);
            turns.extend((0..numbers.below(40)).map(|_| 7));
        }
        turns.truncate(length);
        contents.push(turns);
    }
    contents
}

#[test]
fn whole_and_first_bytes_come_out() {
    let mut numbers = Numbers(99);
    for content in contents() {
        for algorithm in Algorithm::ALL {
            let what = format!("{} of {} bytes", algorithm.name(), content.len());
            let encoded = encode(algorithm, &content);
            let mut output = vec![0xee; content.len()];
            decode(algorithm, &encoded, &mut output, Amount::Whole, widest(algorithm))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(output == content, "{what}");
            for length in [1, content.len(), 1 + numbers.below(content.len()), content.len().div_ceil(2)] {
                let mut part = vec![0xee; length];
                decode(algorithm, &encoded, &mut part, Amount::Part, widest(algorithm))
                    .unwrap_or_else(|error| panic!("{what}: first {length}: {error}"));
                assert!(part == content[..length], "{what}: first {length}");
            }
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let content = contents().pop().unwrap();
    for algorithm in Algorithm::ALL {
        let encoded = encode(algorithm, &content);
        for amount in [Amount::Whole, Amount::Part] {
            let mut output = vec![0; content.len() + 1];
            let error = decode(algorithm, &encoded, &mut output, amount, widest(algorithm)).unwrap_err();
            assert!(error.to_string().starts_with(algorithm.name()), "{error}");
        }
        let error =
            decode(algorithm, &encoded, &mut vec![0; content.len() - 1], Amount::Whole, widest(algorithm))
                .unwrap_err();
        // LZMA does not say where it ends, but is seen not to have ended.
        let by_length = matches!(error, DecodeError::Length { want, .. } if want == content.len() - 1);
        assert_eq!(by_length, algorithm != Algorithm::Lzma, "{error}");
        assert!(
            decode(
                algorithm,
                &encoded[..encoded.len() / 2],
                &mut vec![0; content.len()],
                Amount::Part,
                widest(algorithm)
            )
            .is_err()
        );
        assert!(decode(algorithm, &[], &mut [0], Amount::Whole, widest(algorithm)).is_err());
        decode(algorithm, &[], &mut [], Amount::Whole, widest(algorithm)).unwrap();
    }
}

#[test]
fn changed_bytes_never_panic() {
    let mut numbers = Numbers(4242);
    for content in contents().into_iter().filter(|content| (300..5000).contains(&content.len())) {
        for algorithm in Algorithm::ALL {
            let encoded = encode(algorithm, &content);
            for _ in 0..300 {
                let mut wrong = encoded.clone();
                let at = numbers.below(wrong.len());
                wrong[at] ^= 1 << numbers.below(8);
                wrong.truncate(1 + numbers.below(encoded.len()));
                for (amount, length) in
                    [(Amount::Whole, content.len()), (Amount::Part, 1 + numbers.below(9000))]
                {
                    let mut output = vec![0; length];
                    // Whatever comes out, it is bytes or an error.
                    drop(decode(algorithm, &wrong, &mut output, amount, widest(algorithm)));
                }
            }
        }
    }
}

/// The two decoders of LZ4, the library's and our own, agree on what is right and on what comes out.
#[test]
fn both_decoders_of_lz4_agree() {
    let mut numbers = Numbers(777);
    let mut right = 0;
    for content in contents().into_iter().filter(|content| content.len() < 5000) {
        let encoded = encode(Algorithm::Lz4, &content);
        for round in 0..200 {
            let mut bytes = encoded.clone();
            if round > 0 {
                let at = numbers.below(bytes.len());
                bytes[at] = u8::try_from(numbers.below(256)).unwrap();
            }
            let mut whole = vec![0; content.len()];
            if decode(Algorithm::Lz4, &bytes, &mut whole, Amount::Whole, widest(Algorithm::Lz4)).is_ok() {
                let mut part = vec![0; content.len()];
                decode(Algorithm::Lz4, &bytes, &mut part, Amount::Part, widest(Algorithm::Lz4)).unwrap();
                assert!(whole == part);
                right += 1;
            }
        }
    }
    assert!(right > 100, "{right}");
}

#[test]
fn bombs_fill_what_is_there_and_no_more() {
    let zeros = vec![0; 16 << 20];
    for algorithm in Algorithm::ALL {
        let bomb = encode(algorithm, &zeros);
        assert!(bomb.len() < 1 << 17, "{}: {} bytes", algorithm.name(), bomb.len());
        let mut output = vec![1; 5000];
        decode(algorithm, &bomb, &mut output, Amount::Part, widest(algorithm)).unwrap();
        assert_eq!(output, vec![0; 5000]);
    }
    // A Zstandard window of 2 GiB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x03, 0x00, 0x00, 0x41];
    let error = decode(Algorithm::Zstd, &window, &mut [0; 8], Amount::Part, widest(Algorithm::Zstd))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("zstd data of 10 bytes: ") && error.contains("window"), "{error}");
    // A table of literal contexts of 6 MiB.
    let error =
        decode(Algorithm::Lzma, &[!44, 0, 0, 0, 0, 0], &mut [0; 8], Amount::Part, widest(Algorithm::Lzma))
            .unwrap_err()
            .to_string();
    assert_eq!(error, "lzma data of 6 bytes: properties 0x2c");
}

#[test]
fn padding_is_zeros_in_the_first_block() {
    assert_eq!(strip_padding(&[0, 0, 5, 0], 4).unwrap(), [5, 0]);
    assert_eq!(strip_padding(&[5, 0], 4096).unwrap(), [5, 0]);
    for (stored, window) in [(&[0, 0, 5, 0][..], 2), (&[], 4096), (&[0; 9], 4096)] {
        let error = strip_padding(stored, window).unwrap_err().to_string();
        assert!(error.starts_with("compressed data: found "), "{error}");
    }
}

/// `MicroLZMA` with an end marker, which Linux does not know.
fn lzma_with_marker(content: &[u8]) -> Vec<u8> {
    let options = LzmaOptions { dict_size: 1 << 20, ..LzmaOptions::with_preset(1) };
    let mut writer = lzma_rust2::LzmaWriter::new_no_header(Vec::new(), &options, true).unwrap();
    let properties = writer.props();
    std::io::Write::write_all(&mut writer, content).unwrap();
    let mut stream = writer.finish().unwrap();
    assert_eq!(stream[0], 0);
    stream[0] = !properties;
    stream
}

/// Linux wants that the data ends with its output (`xz_dec_microlzma_run`).
#[test]
fn lzma_has_one_end() {
    for content in contents().into_iter().filter(|content| content.len() < 5000) {
        let encoded = encode(Algorithm::Lzma, &content);
        let what = format!("{} bytes as {}", content.len(), encoded.len());
        let mut output = vec![0; content.len()];
        let mut whole = |input: &[u8]| {
            decode(Algorithm::Lzma, input, &mut output, Amount::Whole, widest(Algorithm::Lzma))
                .map_err(|error| error.to_string())
        };
        assert_eq!(whole(&encoded), Ok(()), "{what}");
        for more in [&[0][..], &[1], &[0; 40]] {
            let message = whole(&[&encoded, more].concat()).unwrap_err();
            assert!(
                message.ends_with(&format!("{} left at its end", words::bytes(more.len()))),
                "{what}: {message}"
            );
        }
        assert!(whole(&encoded[..encoded.len() - 1]).is_err(), "{what}");
        let (last, rest) = encoded.split_last().unwrap();
        for other in (0..=255).filter(|other| other != last) {
            assert!(whole(&[rest, &[other]].concat()).is_err(), "{what}: last byte {other}");
        }
        assert!(whole(&lzma_with_marker(&content)).is_err(), "{what}");
    }
}

#[test]
fn nothing_is_farther_back_than_the_image_says() {
    let content = [&contents()[26][..3000], &vec![7; 5000], &contents()[26][..3000]].concat();
    for (algorithm, near) in [(Algorithm::Lz4, 5000), (Algorithm::Lzma, 4096)] {
        let encoded = encode(algorithm, &content);
        let mut output = vec![0; content.len()];
        for (window, right) in [(widest(algorithm), true), (9000, true), (near, false)] {
            let outcome = decode(algorithm, &encoded, &mut output, Amount::Whole, window);
            assert_eq!(outcome.is_ok(), right, "{} within {window}", algorithm.name());
        }
    }
}

#[test]
fn a_frame_has_the_length_of_its_header() {
    // One segment, whose length is stated, and one raw block that is the last.
    let frame = |stated: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, stated, 0x21, 0, 0][..], b"abcd"].concat();
    let whole = |stated, window| {
        decode(Algorithm::Zstd, &frame(stated), &mut [0; 4], Amount::Whole, window)
            .map_err(|error| error.to_string())
    };
    assert_eq!(whole(4, 4096), Ok(()));
    for stated in [3, 5] {
        let message = whole(stated, 4096).unwrap_err();
        assert!(message.ends_with(&format!("a content of {stated} bytes by its header")), "{message}");
    }
    assert!(whole(4, 3).is_err());
    decode(Algorithm::Zstd, &frame(5), &mut [0; 3], Amount::Part, 4096).unwrap();
    let reserved = [&[0x28, 0xb5, 0x2f, 0xfd, 0x28, 4, 0x21, 0, 0][..], b"abcd"].concat();
    assert!(decode(Algorithm::Zstd, &reserved, &mut [0; 4], Amount::Whole, 4096).is_err());
}

/// The checksum of a content is compared, and bits that must be 0 are 0, as in Linux.
#[test]
fn frames_are_wholly_right() {
    // The XXH64 of "abcd" begins with these bytes (`xxhsum -H64`: de0327b0d25d92cc).
    for (sum, right) in [([0xcc, 0x92, 0x5d, 0xd2], true), ([0xcc, 0x92, 0x5d, 0xd3], false)] {
        let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x24, 4, 0x21, 0, 0][..], b"abcd", &sum].concat();
        let outcome = decode(Algorithm::Zstd, &frame, &mut [0; 4], Amount::Whole, 4096);
        assert_eq!(outcome.is_ok(), right, "{outcome:?}");
    }
    let content = contents().remove(27);
    let encoded = encode(Algorithm::Zstd, &content);
    let mut output = vec![0; content.len()];
    let mut refused = 0;
    for at in 0..encoded.len() {
        let mut wrong = encoded.clone();
        wrong[at] |= 3;
        let outcome = decode(Algorithm::Zstd, &wrong, &mut output, Amount::Whole, widest(Algorithm::Zstd));
        refused += u32::from(outcome.is_err_and(|error| error.to_string().contains("modes of sequences")));
    }
    assert!(refused > 0);
}
