//! An image made by hand from the records of the format, with every form of index and every way to store an
//! extent, read here and by the kernel: heads of two algorithms, interlaced and shifted data, holes,
//! references to parts, inline tails, fragments, and extents that stand on no block.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

mod hostile;
mod maker;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use erofs_format::compression::Algorithm;
use erofs_format::datalayout::lcluster::Shape;
use erofs_format::datalayout::{DataLayout, full};
use erofs_format::extent::{Coding, ZExtent};
use erofs_format::feature::incompat;
use erofs_format::filetype::FileType;
use erofs_format::superblock::{self, Superblock};
use erofs_image::{Follow, Image, OpenOptions};
use erofs_testkit::content::Stream;
use erofs_testkit::require::need;
use erofs_testkit::{Backing, Mount, mount, place};
use maker::{BITS, BLOCK, Made, Maker, everything, inode, len, size};

/// Reads a file through `read` as a whole and at random places.
fn assert_reads(name: &str, want: &[u8], mut read: impl FnMut(u64, &mut [u8]) -> usize) {
    let mut found = vec![0; want.len() + 1];
    assert_eq!(read(0, &mut found), want.len(), "{name}");
    assert!(found[..want.len()] == *want, "{name} is not what it was");
    let mut stream = Stream::new(len(want));
    for _ in 0..60 {
        let offset = stream.below(len(want));
        let mut buf = vec![0; size(1 + stream.below(20_000))];
        let length = read(offset, &mut buf);
        let start = size(offset);
        assert_eq!(length, buf.len().min(want.len() - start), "{name} from {offset}");
        assert!(buf[..length] == want[start..start + length], "{name} from {offset}, {length} bytes");
    }
}

/// Reads with `pread` until the end or a full buffer.
fn pread(file: &File, name: &str, offset: u64, buf: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) => panic!("{name} from {offset}: {error}"),
        }
    }
    filled
}

#[test]
fn every_form_is_read() {
    let maker = everything(true);
    let dir = place::scratch().unwrap();
    let path = dir.path().join("image");
    fs::write(&path, &maker.bytes).unwrap();
    let image = OpenOptions::new().open(&path).unwrap();
    for Made { name, before, content, .. } in &maker.files {
        let inode = image.resolve(format!("/{name}").as_bytes(), Follow::Never).unwrap();
        let data = image.data(&inode).unwrap();
        assert_reads(name, content, |offset, buf| {
            data.read_range(before + offset, buf).unwrap_or_else(|error| panic!("{name}: {error}"))
        });
    }
}

/// LZ4 as it was before the feature `LZ4_0PADDING`: the data stands at the start of its block, with anything
/// behind it.
#[test]
fn lz4_without_padding_is_read() {
    let mut maker = Maker::new();
    let content = maker.content(9000);
    let mut block = lz4_flex::block::compress(&content);
    block.resize(BLOCK, 0);
    let extent = ZExtent {
        start: 0,
        length: 9000,
        stored: maker.store(&block, false),
        coding: Coding::Compressed(Algorithm::Lz4),
        partial: false,
    };
    let record = inode(FileType::Regular, DataLayout::CompressedFull, 9000);
    let shape = Shape { size: 9000, block_bits: BITS, lcluster_bits: 12, header_end: 32 };
    maker.raw("file", &record, &full::encode(&shape, &[extent]).unwrap());
    maker.packed = vec![7; 100];
    maker.finish();
    let at = size(superblock::OFFSET);
    let mut superblock = Superblock::decode(&maker.bytes[at..at + superblock::BASE_SIZE]).unwrap();
    superblock.incompat &= !incompat::LZ4_0PADDING;
    let bytes = superblock.encode().unwrap();
    maker.put(at, &bytes);
    let image = Image::open(Arc::new(maker.bytes), Vec::new(), &OpenOptions::default()).unwrap();
    let data = image.data(&image.resolve(b"/file", Follow::Never).unwrap()).unwrap();
    let mut found = vec![0; 9000];
    assert_eq!(data.read_range(0, &mut found).unwrap(), 9000);
    assert!(found == content);
}

#[test]
fn the_kernel_reads_every_form_alike() {
    let check = "the kernel reads every form of index of compressed files";
    if need(check, mount::supported(Backing::Loop)).is_none() {
        return;
    }
    let maker = everything(false);
    let dir = place::disk_scratch().unwrap();
    let path = dir.path().join("image");
    fs::write(&path, &maker.bytes).unwrap();
    let mounted = Mount::new(&path, Backing::Loop).unwrap();
    for Made { name, before, content, .. } in &maker.files {
        let file = File::open(mounted.path().join(name)).unwrap();
        assert_reads(name, content, |offset, buf| pread(&file, name, before + offset, buf));
    }
}
