//! Images by `mkfs.erofs` with every algorithm, pcluster size and extended option, read here: equal to their
//! source.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use erofs_image::{Follow, Image, ImageError, OpenOptions, Piece};
use erofs_testkit::content::{Stream, noise};
use erofs_testkit::peers::{self, Peers};
use erofs_testkit::place;
use erofs_testkit::require::need;

/// Text that compresses as text does: words of a small vocabulary.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut stream = Stream::new(seed);
    let words: Vec<Vec<u8>> = (0..200)
        .map(|_| {
            let letters = usize::try_from(2 + stream.below(9)).unwrap();
            stream.bytes(letters).into_iter().map(|byte| b'a' + byte % 26).collect()
        })
        .collect();
    let mut text = Vec::new();
    while text.len() < length {
        text.extend_from_slice(&words[usize::try_from(stream.below(200)).unwrap()]);
        text.push(b' ');
    }
    text.truncate(length);
    text
}

/// Text and noise in turns, with zeros between.
fn mixed(seed: u64, length: usize) -> Vec<u8> {
    let mut stream = Stream::new(seed);
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let piece = usize::try_from(1 + stream.below(90_000)).unwrap();
        match stream.below(3) {
            0 => bytes.extend(noise(stream.number(), piece)),
            1 => bytes.extend(text(stream.number(), piece)),
            _ => bytes.resize(bytes.len() + piece, 0),
        }
    }
    bytes.truncate(length);
    bytes
}

/// The files of the source tree by their names.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for length in [1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12_289, 65_535, 65_536, 65_537, 150_001] {
        files.insert(format!("text{length}"), text(length, usize::try_from(length).unwrap()));
        files.insert(format!("mixed{length}"), mixed(length, usize::try_from(length).unwrap()));
        files.insert(format!("noise{length}"), noise(length, usize::try_from(length).unwrap()));
    }
    let large = mixed(7, 700_001);
    let mut shifted = large[..300_000].to_vec();
    shifted.extend(noise(8, 777));
    shifted.extend_from_slice(&large[330_000..]);
    files.insert("empty".into(), Vec::new());
    files.insert("large".into(), large);
    files.insert("large-shifted".into(), shifted);
    files.insert("text-large".into(), text(9, 900_000));
    files.insert("zeros".into(), vec![0; 1_500_000]);
    files.insert("copy".into(), text(65_537, 65_537));
    files
}

/// Reads a whole file in pieces.
fn whole(image: &Image, name: &str) -> Result<Vec<u8>, ImageError> {
    let inode = image.resolve(format!("/{name}").as_bytes(), Follow::Never)?;
    let mut bytes = Vec::new();
    image.data(&inode)?.copy(|piece| {
        match piece {
            Piece::Bytes(more) => bytes.extend_from_slice(more),
            Piece::Hole(length) => bytes.resize(bytes.len() + usize::try_from(length).unwrap(), 0),
        }
        Ok::<(), ImageError>(())
    })?;
    Ok(bytes)
}

/// Reads at odd places, forwards and backwards, with the file held open.
fn at_random(image: &Image, name: &str, want: &[u8], what: &str) {
    let inode = image.resolve(format!("/{name}").as_bytes(), Follow::Never).unwrap();
    let data = image.data(&inode).unwrap();
    let mut stream = Stream::new(want.len() as u64);
    for _ in 0..10 {
        let offset = stream.below(want.len() as u64);
        let mut buf = vec![0xaa; usize::try_from(1 + stream.below(150_000)).unwrap()];
        let found =
            data.read_range(offset, &mut buf).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
        let start = usize::try_from(offset).unwrap();
        assert_eq!(found, buf.len().min(want.len() - start), "{what}: {name} from {offset}");
        assert!(buf[..found] == want[start..start + found], "{what}: {name} from {offset}, {found} bytes");
    }
    assert_eq!(data.read_range(want.len() as u64, &mut [0]).unwrap(), 0);
}

/// Every extent of a file, one behind the other, up to its end.
fn extents_cover(image: &Image, name: &str, what: &str) {
    let inode = image.resolve(format!("/{name}").as_bytes(), Follow::Never).unwrap();
    let data = image.data(&inode).unwrap();
    let mut offset = 0;
    while offset < data.len() {
        let extent = data.map(offset).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
        assert!(extent.start == offset && extent.length > 0, "{what}: {name}: {extent:?} for {offset}");
        offset += extent.length;
    }
    assert_eq!(offset, data.len(), "{what}: {name}");
}

struct Source {
    dir: tempfile::TempDir,
    files: BTreeMap<String, Vec<u8>>,
}

impl Source {
    fn new() -> Self {
        let dir = place::scratch().unwrap();
        let files = files();
        for (name, bytes) in &files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        Self { dir, files }
    }

    fn build(&self, peers: &Peers, options: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let out = place::scratch().unwrap();
        let image = out.path().join("image");
        peers.build(options, &image, self.dir.path()).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        (out, image)
    }

    fn assert_read(&self, path: &Path, what: &str) {
        let image = OpenOptions::new().open(path).unwrap_or_else(|error| panic!("{what}: {error}"));
        for (name, want) in &self.files {
            let found = whole(&image, name).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
            assert!(found == *want, "{what}: {name} is not what it was");
            extents_cover(&image, name, what);
            if !want.is_empty() {
                at_random(&image, name, want, what);
            }
        }
        let census = image.census().unwrap();
        assert_eq!(census.files, self.files.len() as u64, "{what}");
        let compressed: u64 = census.encodings.values().sum();
        assert!(compressed > 12, "{what}: {census:?}");
    }
}

const SIZES: [&str; 3] = ["-C4096", "-C65536", "-C1048576"];

/// Algorithms and what is combined with each pcluster size.
const ALGORITHMS: [&str; 4] = ["-zlz4", "-zzstd,1", "-zdeflate,1", "-zlzma,0"];

const EXTENDED: [&[&str]; 12] = [
    &[],
    &["-Elegacy-compress"],
    &["-Eztailpacking"],
    &["-Efragments"],
    &["-Eall-fragments"],
    &["-Efragments,ztailpacking"],
    &["-Ededupe"],
    &["-Ededupe,fragments"],
    &["-Eall-fragments,fragdedupe=inode"],
    &["-E48bit"],
    &["-E48bit,all-fragments"],
    &["-m4096", "--MZ=id"],
];

fn every_mode(algorithm: &str) {
    let Some(peers) = need("compressed images of mkfs.erofs", peers::find()) else { return };
    let source = Source::new();
    for size in SIZES {
        for extended in EXTENDED {
            let mut options = vec![algorithm, size];
            options.extend(extended);
            let (_out, image) = source.build(peers, &options);
            source.assert_read(&image, &format!("{options:?}"));
        }
    }
}

#[test]
fn lz4_in_every_mode() {
    every_mode(ALGORITHMS[0]);
}

#[test]
fn zstd_in_every_mode() {
    every_mode(ALGORITHMS[1]);
}

#[test]
fn deflate_in_every_mode() {
    every_mode(ALGORITHMS[2]);
}

#[test]
fn lzma_in_every_mode() {
    every_mode(ALGORITHMS[3]);
}

#[test]
fn more_combinations() {
    let Some(peers) = need("compressed images of mkfs.erofs", peers::find()) else { return };
    let source = Source::new();
    // Lines with an algorithm make mkfs.erofs 1.9.4 end with a signal.
    let hints = place::scratch().unwrap();
    let hints_file = hints.path().join("hints");
    fs::write(&hints_file, "4096 text.*\n65536 mixed.*\n16384 large\n").unwrap();
    let hints_option = format!("--compress-hints={}", hints_file.display());
    for options in [
        vec!["-zlz4hc,12", "-C16384"],
        vec!["-zlz4", "-b1024", "-C8192"],
        vec!["-zlz4", "-b512", "-C512", "-Eztailpacking"],
        vec!["-zzstd,9", "-b2048", "-C32768", "-Eall-fragments"],
        vec!["-zlz4", "-E48bit", "--max-extent-bytes=65536"],
        vec!["-zzstd", "-C1048576", "-E48bit", "--max-extent-bytes=1048576"],
        vec!["-zdeflate", "-C65536", "-E48bit,all-fragments,dedupe"],
        vec!["-zlz4:zstd", "-C65536", &hints_option],
        vec!["-zlz4:lzma,1", "-C65536", "-Efragments,dedupe", &hints_option],
        vec!["-zzstd", "-C65536", "-m4096", "--MZ=id", "--zD=1"],
        vec!["-zlz4", "-C65536", "-m65536:zstd", "--MZ=i"],
        vec!["-zlzma,0", "-C65536", "-m65536:lz4", "-E48bit,all-fragments"],
        vec!["-zlz4", "-Elegacy-compress", "-C4096", "-b4096"],
        vec!["-zlz4", "-Efragments,ztailpacking,dedupe", "-C65536"],
        vec!["-zlz4", "-E^inline_data", "-C65536"],
        vec!["-zlibdeflate,1", "-C65536", "-Eforce-inode-extended"],
    ] {
        let (_out, image) = source.build(peers, &options);
        source.assert_read(&image, &format!("{options:?}"));
    }
}
