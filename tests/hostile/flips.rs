//! Every byte of small images changed one at a time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use erofs_format::superblock::{OFFSET, checksum_span};
use erofs_image::OpenOptions;

use crate::meter::Meter;
use crate::read_all::{Outcome, read_all};

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");

/// What reading everything may cost, in lengths of the image. The undamaged images cost less than a tenth of
/// it.
const BUDGET: u64 = 400;

/// What is done to a byte: the lowest bit, the highest bit, all bits set, none.
const CHANGES: [fn(u8) -> u8; 4] = [|byte| byte ^ 1, |byte| byte ^ 0x80, |_| 0xff, |_| 0];

/// Options of the builder for images that together have every structure of the plain format.
const IMAGES: [(&str, &[&str]); 3] = [
    ("inline tails and a hidden key", &["-x0", "--ishare-key"]),
    ("chunks", &["--chunksize=512", "-Eforce-chunk-indexes"]),
    ("large inodes", &["-Eforce-inode-extended", "-E^inline_data", "-x-1"]),
];

fn source(dir: &Path) {
    let put = |name: &str, content: &[u8]| fs::write(dir.join(name), content).unwrap();
    fs::create_dir_all(dir.join("d/e")).unwrap();
    put("d/one", b"1");
    put("d/block", &[b'b'; 512]);
    put("d/same", b"the same text in two files");
    put("same", b"the same text in two files");
    put("d/e/more", &[b'm'; 1100]);
    put("empty", b"");
    fs::File::create(dir.join("hole")).unwrap().set_len(3000).unwrap();
    symlink("d/one", dir.join("link")).unwrap();
    fs::hard_link(dir.join("d/one"), dir.join("z")).unwrap();
    for number in 0..12 {
        put(&format!("d/e/name-{number:02}"), b"");
    }
}

fn image(options: &[&str]) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    source(&tree);
    let path = place.path().join("image");
    let output = Command::new(MKFS)
        .args(["--quiet", "-b512", "-T0", "--all-root"])
        .args(options)
        .args([&path, &tree])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(path).unwrap()
}

/// Reads the image with one byte changed. The checksum is not compared, or nothing behind it would be
/// reached.
fn read_changed(image: &[u8], at: usize, byte: u8) -> Outcome {
    let mut bytes = image.to_vec();
    bytes[at] = byte;
    let meter = Meter::new(bytes, BUDGET);
    let outcome = read_all(meter.clone(), &OpenOptions::new().verify_checksum(false));
    meter.settle(&format!("byte {at} = {byte:#04x}"));
    outcome
}

#[test]
fn every_byte_may_be_wrong() {
    for (name, options) in IMAGES {
        let image = image(options);
        assert!(image.len() < 20_000, "{name}: {} bytes are not a small image", image.len());
        let meter = Meter::new(image.clone(), BUDGET / 10);
        let whole = read_all(meter.clone(), &OpenOptions::default());
        meter.settle(name);
        assert_eq!(whole.errors, [""; 0], "{name}");
        let (mut errors, mut silent) = (0, 0);
        for at in 0..image.len() {
            for change in CHANGES {
                let byte = change(image[at]);
                if byte == image[at] {
                    continue;
                }
                let outcome = read_changed(&image, at, byte);
                if !outcome.errors.is_empty() {
                    errors += 1;
                } else if outcome == whole {
                    silent += 1;
                }
            }
        }
        // Most bytes are content, padding, names or times, which may be anything. Structure is not.
        assert!(errors > 500, "{name}: {errors} changes led to an error, {silent} to the same content");
    }
}

#[test]
fn the_checksum_finds_every_change_that_it_covers() {
    let (name, options) = IMAGES[0];
    let image = image(options);
    let start = usize::try_from(OFFSET).unwrap();
    let bits = erofs_format::BlockBits::new(9).unwrap();
    for at in start..start + checksum_span(bits) {
        let mut bytes = image.clone();
        bytes[at] ^= 0x04;
        let outcome = read_all(Meter::new(bytes, BUDGET), &OpenOptions::default());
        // Byte 8 holds the bit that says that there is a checksum, but this change is not to that bit.
        assert_eq!(outcome.errors.len(), 1, "{name}: byte {at}: {:?}", outcome.errors);
        assert_eq!(outcome.seen, [""; 0], "{name}: byte {at}");
    }
}

#[test]
fn every_length_may_be_wrong() {
    for (name, options) in IMAGES {
        let image = image(options);
        let whole = read_all(Meter::new(image.clone(), BUDGET), &OpenOptions::default());
        for length in (0..image.len()).step_by(7) {
            let meter = Meter::new(image[..length].to_vec(), BUDGET);
            let outcome = read_all(meter.clone(), &OpenOptions::default());
            meter.settle(&format!("{name}: cut to {length} bytes"));
            let padding = image[length..].iter().all(|byte| *byte == 0);
            assert!(
                !outcome.errors.is_empty() || outcome == whole && padding,
                "{name}: cut to {length} bytes"
            );
        }
    }
}
