//! The same image with wrong bytes: errors that say what is wrong, with bounded work, and never a panic.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use erofs_format::compression::Algorithm;
use erofs_format::datalayout::{DataLayout, full};
use erofs_format::extent::{Coding, Stored, ZExtent};
use erofs_format::filetype::FileType;
use erofs_format::inode::Inode;
use erofs_format::map_header::MapHeader;
use erofs_format::superblock::{OFFSET, Superblock};
use erofs_image::{Follow, Image, ImageError, OpenOptions, Piece, ReadAt};
use erofs_testkit::content::Stream;

use crate::maker::{BITS, BLOCK, Form, LZ4, META, Maker, Way, everything, inode, size};

/// The bytes of an image, and how many of them were read.
struct Meter {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl ReadAt for Meter {
    fn len(&self) -> u64 {
        ReadAt::len(&self.bytes)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.bytes.read_at(offset, buf)
    }
}

/// Reads every file that can be found, up to `most` bytes of each, and returns what went wrong.
fn read_all(source: Arc<Meter>, most: u64) -> Vec<String> {
    let image = match Image::open(source, Vec::new(), &OpenOptions::default()) {
        Ok(image) => image,
        Err(error) => return vec![error.to_string()],
    };
    let mut errors = Vec::new();
    let steps = match image.walk_all() {
        Ok(steps) => steps,
        Err(error) => return vec![error.to_string()],
    };
    for step in steps {
        let Ok(step) = step else { continue };
        let read = || -> Result<(), ImageError> {
            let data = image.data(&step.inode)?;
            let mut left = most;
            while !data.is_empty() && left > 0 {
                let mut buf = vec![0; 100_000];
                let length = data.read_range(most - left, &mut buf)? as u64;
                left = if length == 0 { 0 } else { left.saturating_sub(length) };
            }
            Ok(())
        };
        if let Err(error) = read() {
            errors.push(error.to_string());
        }
    }
    errors
}

#[test]
fn every_byte_of_the_metadata_may_be_wrong() {
    let maker = everything(true);
    let mut stream = Stream::new(31);
    let end = maker.inode_at;
    let (mut wrong, mut silent) = (0, 0);
    for _ in 0..150 {
        let mut bytes = maker.bytes.clone();
        let at = META * BLOCK + size(stream.below((end - META * BLOCK) as u64));
        bytes[at] ^= 1 << stream.below(8);
        let meter = Arc::new(Meter { bytes, read: AtomicU64::new(0) });
        let errors = read_all(Arc::clone(&meter), 400_000);
        let read = meter.read.load(Ordering::Relaxed);
        assert!(read < 60 << 20, "byte {at}: {read} bytes were read");
        for error in &errors {
            assert!(!error.contains('\n') && !error.is_empty(), "byte {at}: {error}");
        }
        if errors.is_empty() { silent += 1 } else { wrong += 1 }
    }
    assert!(wrong > 20 && silent > 20, "{wrong} {silent}");
}

/// What reading `/file` says, whose index the caller makes.
fn message(maker: &Maker) -> String {
    let image = Image::open(Arc::new(maker.bytes.clone()), Vec::new(), &OpenOptions::default());
    let read = |image: Image| {
        let inode = image.resolve(b"/file", Follow::Never)?;
        image.data(&inode)?.copy(|_: Piece<'_>| Ok::<(), ImageError>(()))
    };
    match image.and_then(read) {
        Ok(()) => "nothing".into(),
        Err(error) => error.to_string(),
    }
}

/// An image with one file of this size, whose inode of the full layout is followed by `tail`.
fn with_index(length: u64, tail: &[u8]) -> Maker {
    let mut maker = Maker::new();
    let record = inode(FileType::Regular, DataLayout::CompressedFull, length);
    maker.raw("file", &record, tail);
    maker.packed = vec![7; 100];
    maker.finish();
    maker
}

fn index(extents: &[ZExtent]) -> Vec<u8> {
    let size = extents.last().map_or(0, ZExtent::end);
    let shape = erofs_format::datalayout::lcluster::Shape {
        size,
        block_bits: BITS,
        lcluster_bits: 12,
        header_end: 32,
    };
    full::encode(&shape, extents).unwrap()
}

/// A map header, and one record of 16 bytes: stored length, algorithm and partial bit; address.
fn record(stored: u32, byte: u64) -> Vec<u8> {
    let advise_extents_of_16_bytes = 5;
    let mut bytes = vec![1, 0, 0, 0, advise_extents_of_16_bytes, 0, 0, 0];
    // Records start at a multiple of 16; inode and header end at 40.
    bytes.resize(16, 0);
    bytes.extend_from_slice(&stored.to_le_bytes());
    bytes.extend_from_slice(&byte.to_le_bytes());
    bytes.resize(32, 0);
    bytes
}

#[test]
fn wrong_maps_are_named() {
    let one = |length, stored, coding| index(&[ZExtent { start: 0, length, stored, coding, partial: false }]);
    let lz4 = Coding::Compressed(Algorithm::Lz4);
    let far = Stored::Pcluster { byte: 1 << 40, length: 4096 };
    let superblock = Stored::Pcluster { byte: 0, length: 4096 };
    let fragment = |offset| MapHeader::Fragment { offset }.encode(BITS).unwrap().to_vec();
    let lz4_record = 1 << 28;
    for (name, length, tail, want) in [
        ("no index", u64::from(u32::MAX), vec![0; 8], "compressed index at byte"),
        (
            "far away",
            9000,
            one(9000, far, lz4),
            "file data at byte 1099511627776: found 4096 bytes, want an end within",
        ),
        ("not compressed", 9000, one(9000, superblock, lz4), "stored at byte 0: lz4 data of 3072 bytes"),
        (
            "past the packed inode",
            99,
            fragment(50),
            "fragment at byte 50: found 99 bytes, want an end within the packed inode, which has 100 bytes",
        ),
        (
            "far past the packed inode",
            99,
            fragment(1 << 62),
            "fragment at byte 4611686018427387904: found 99 bytes",
        ),
        ("a bomb", 13 << 20, record(lz4_record | 4096, 65536), "want at most 12582912 bytes of the file"),
        (
            "too much stored",
            4 << 20,
            record(lz4_record | ((1 << 20) + 1), 65536),
            "want 1 to 1048576 stored bytes",
        ),
        ("a new algorithm", 9000, record(9 << 28 | 4096, 65536), "algorithm of an extent record: found 8"),
        ("plain and short", 9000, record(4096, 65536), "want plain data as long as the extent"),
        ("nothing but zeros", 9000, record(lz4_record | 4096, 900_000), "found 1120 zero bytes at its start"),
        ("past 2^64", 9000, record(lz4_record | 4096, u64::MAX - 5), "want an end below 2^64"),
    ] {
        let message = message(&with_index(length, &tail));
        assert!(message.contains(want), "{name}: {message}");
        assert!(!message.contains('\n'), "{name}: {message}");
    }
}

#[test]
fn a_packed_inode_does_not_lead_to_itself() {
    let mut maker = Maker::new();
    maker.file("file", Form::Full, &[(9000, Way::Fragment)]);
    maker.finish();
    let at = size(OFFSET);
    let mut superblock = Superblock::decode(&maker.bytes[at..at + 128]).unwrap();
    // The file itself, whose bytes are in the packed inode.
    superblock.packed_nid = maker.files[0].nid;
    let bytes = superblock.encode().unwrap();
    maker.put(at, &bytes);
    let message = message(&maker);
    assert!(message.ends_with("found no packed inode, want one where a fragment is"), "{message}");
}

#[test]
fn algorithms_must_be_announced() {
    let mut maker = Maker::new();
    maker.file("file", Form::Full, &[(9000, LZ4)]);
    maker.packed = vec![7; 100];
    maker.finish();
    let at = size(OFFSET);
    let mut superblock = Superblock::decode(&maker.bytes[at..at + 128]).unwrap();
    superblock.compression = Algorithm::Zstd.bit();
    let bytes = superblock.encode().unwrap();
    maker.put(at, &bytes);
    // The first record is now that of Zstandard.
    maker.put(at + 128, &[6, 0, 0, 10, 0, 0, 0, 0]);
    let message = message(&maker);
    let want = "algorithm of a pcluster at byte 0: found lz4, want one of the superblock's algorithms (zstd)";
    assert!(message.contains(want), "{message}");
}

/// A file whose every extent is the same pcluster is read for what it says it is, one extent after the other.
#[test]
fn overlapping_pclusters_are_read() {
    let mut maker = Maker::new();
    let content = maker.content(8192);
    let (first, _) = maker.piece(0, &content, LZ4, false);
    let all: Vec<ZExtent> = (0..100).map(|number| ZExtent { start: number * 8192, ..first }).collect();
    let record = inode(FileType::Regular, DataLayout::CompressedFull, 819_200);
    maker.raw("file", &Inode { ..record }, &index(&all));
    maker.packed = vec![7; 100];
    maker.finish();
    let image = Image::open(Arc::new(maker.bytes), Vec::new(), &OpenOptions::default()).unwrap();
    let data = image.data(&image.resolve(b"/file", Follow::Never).unwrap()).unwrap();
    let mut found = vec![0; 819_200];
    assert_eq!(data.read_range(0, &mut found).unwrap(), 819_200);
    assert!(found.chunks(8192).all(|chunk| chunk == content));
}
