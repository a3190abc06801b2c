//! Reading small images made by hand: every data layout, directories, links, devices, the metabox.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

#[expect(dead_code, reason = "each test program uses its part")]
mod common;

use std::sync::Arc;

use common::{BLOCK, META, Maker, dir_block, inode, open_with};
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{ChunkAddress, ChunkFormat, encode_entry};
use erofs_format::device::DeviceSlot;
use erofs_format::feature::{compat, incompat};
use erofs_format::filetype::FileType;
use erofs_format::inode::{Inode, Mtime, Version};
use erofs_format::xattr_prefix::LongPrefix;
use erofs_format::{Nid, superblock};
use erofs_image::{Follow, Image, ImageError, Piece, ReadAt};

const REG: FileType = FileType::Regular;
const DIR: FileType = FileType::Directory;
const LNK: FileType = FileType::Symlink;

/// A root directory with one file, whose inode the test gives, at nid 8.
fn with_file(blocks: usize, record: Inode, tail: &[u8]) -> Maker {
    let mut maker = Maker::new(blocks);
    let file = maker.inode(8, record, &[], tail);
    maker.dir(0, Nid(0), &[(b"file", file, REG)]);
    maker
}

fn content(image: &Image, path: &[u8]) -> Result<Vec<u8>, ImageError> {
    let inode = image.resolve(path, Follow::Never)?;
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

fn block_of(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK]
}

fn chunk_table(format: ChunkFormat, chunks: &[Option<ChunkAddress>]) -> Vec<u8> {
    let mut table = Vec::new();
    for chunk in chunks {
        encode_entry(format, *chunk, &mut table).unwrap();
    }
    table
}

#[test]
fn every_layout_gives_its_bytes() {
    let at = |device, block| Some(ChunkAddress { device, block });
    let map = ChunkFormat { blkbits: 0, indexes: false, wide: false };
    let pairs = ChunkFormat { blkbits: 1, indexes: true, wide: false };
    let chunked = |format: ChunkFormat, size| Inode {
        i_u: format.encode(),
        ..inode(REG, DataLayout::ChunkBased, size)
    };
    let two_and = |tail: &[u8]| [block_of(b'a'), block_of(b'b'), tail.to_vec()].concat();
    let cases: [(&str, Inode, Vec<u8>, Vec<u8>); 7] = [
        ("plain", Inode { i_u: 5, ..inode(REG, DataLayout::FlatPlain, 1030) }, vec![], two_and(b"cccccc")),
        (
            "inline",
            Inode { i_u: 5, ..inode(REG, DataLayout::FlatInline, 1027) },
            b"end".to_vec(),
            two_and(b"end"),
        ),
        ("only inline", inode(REG, DataLayout::FlatInline, 3), b"abc".to_vec(), b"abc".to_vec()),
        ("hole", Inode { i_u: u32::MAX, ..inode(REG, DataLayout::FlatPlain, 700) }, vec![], vec![0; 700]),
        (
            "block map",
            chunked(map, 1100),
            chunk_table(map, &[at(0, 6), None, at(0, 5)]),
            [block_of(b'b'), block_of(0), vec![b'a'; 76]].concat(),
        ),
        (
            "chunks in a row",
            chunked(map, 1536),
            chunk_table(map, &[at(0, 5), at(0, 6), at(0, 7)]),
            two_and(&block_of(b'c')),
        ),
        (
            "indexes of larger chunks",
            chunked(pairs, 1025),
            chunk_table(pairs, &[at(0, 6), at(0, 5)]),
            [block_of(b'b'), block_of(b'c'), vec![b'a']].concat(),
        ),
    ];
    for (name, record, tail, want) in cases {
        let mut maker = with_file(8, record, &tail);
        for (block, byte) in [(5, b'a'), (6, b'b'), (7, b'c')] {
            maker.put(block * BLOCK, &block_of(byte));
        }
        let image = maker.open().unwrap();
        assert_eq!(content(&image, b"/file").unwrap(), want, "{name}");
        let file = image.data(&image.resolve(b"/file", Follow::Never).unwrap()).unwrap();
        for start in [0, 1, 511, 512, 1024] {
            let mut part = [0xee; 3];
            let length = file.read_range(start, &mut part).unwrap();
            let start = usize::try_from(start).unwrap().min(want.len());
            assert_eq!(part[..length], want[start..want.len().min(start + 3)], "{name} from {start}");
            // A file is a source of bytes again, and refuses what is not there.
            assert_eq!(ReadAt::read_at(&file, start as u64, &mut part).is_ok(), start + 3 <= want.len());
        }
    }
}

#[test]
fn wide_images_have_48_bit_addresses_and_times_of_their_own() {
    let record = Inode {
        bit4: true,
        hi: 1,
        i_u: 5,
        mtime: Mtime::SinceEpoch(77),
        ..inode(REG, DataLayout::FlatPlain, 4)
    };
    let mut maker = with_file(8, record, &[]);
    maker.superblock.incompat = incompat::BIT48;
    maker.superblock.fixed_nsec = 9;
    maker.superblock.root_nid = Nid(4);
    maker.dir(4, Nid(4), &[(b"file", Nid(8), REG)]);
    let image = maker.open().unwrap();
    let file = image.resolve(b"file", Follow::Never).unwrap();
    assert_eq!((file.mtime_sec, file.mtime_nsec, file.record.nlink), (1_000_000_077, 9, 1));
    let message = content(&image, b"file").unwrap_err().to_string();
    let byte = (1_u64 << 32 | 5) * 512;
    assert!(message.contains(&format!("file data at byte {byte}")), "{message}");
    let hole = Inode { hi: u16::MAX, i_u: u32::MAX, ..record };
    maker.inode(8, hole, &[], &[]);
    assert_eq!(content(&maker.open().unwrap(), b"file").unwrap(), [0; 4]);
}

#[test]
fn extended_inodes_say_everything_themselves() {
    let record = Inode {
        version: Version::Extended,
        mtime: Mtime::Absolute { sec: -3, nsec: 999_999_999 },
        uid: 70_000,
        gid: 80_000,
        nlink: 90_000,
        ..inode(REG, DataLayout::FlatInline, 1)
    };
    let file = with_file(6, record, b"x").open().unwrap().resolve(b"/file", Follow::Never).unwrap();
    assert_eq!((file.record.uid, file.record.gid, file.record.nlink), (70_000, 80_000, 90_000));
    assert_eq!((file.mtime_sec, file.mtime_nsec), (-3, 999_999_999));
    let wrong = Inode { mtime: Mtime::Absolute { sec: 0, nsec: 1_000_000_000 }, ..record };
    let error = with_file(6, wrong, b"x").open().unwrap().resolve(b"/file", Follow::Never).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/file: nid 8: inode.i_mtime_nsec at byte 1832: found 1000000000, want 0 to 999999999"
    );
}

#[test]
fn device_numbers_are_decoded_and_have_no_content() {
    let number = erofs_format::inode::encode_device(10, 300).unwrap();
    let record = Inode { i_u: number, ..inode(FileType::CharDevice, DataLayout::FlatPlain, 5) };
    let image = with_file(6, record, &[]).open().unwrap();
    let file = image.resolve(b"/file", Follow::Never).unwrap();
    assert_eq!(file.device(), Some((10, 300)));
    assert!(image.data(&file).unwrap().is_empty());
}

/// A map header that names an algorithm which nobody knows yet.
const NEW_ALGORITHM: [u8; 8] = [0, 0, 0, 0, 0, 0, 7, 0];

#[test]
fn files_of_an_unknown_algorithm_are_listed_but_not_read() {
    let mut maker = with_file(6, inode(REG, DataLayout::CompressedCompact, 9000), &NEW_ALGORITHM);
    maker.superblock.incompat = incompat::LZ4_0PADDING;
    let image = maker.open().unwrap();
    assert_eq!(image.walk_all().unwrap().map(Result::unwrap).count(), 2);
    let error = content(&image, b"/file").unwrap_err();
    assert!(error.is_unsupported());
    assert_eq!(error.to_string(), "nid 8: map header.h_algorithmtype at byte 1830: found 7, want 0 to 3");
}

/// A directory of three blocks with the names `n000` to `n059`, without `.`.
fn large_directory() -> Maker {
    let mut maker = Maker::new(12);
    let names: Vec<String> = (0..60).map(|number| format!("n{number:03}")).collect();
    let mut size = 0;
    for (index, part) in names.chunks(20).enumerate() {
        let mut entries: Vec<(&[u8], Nid, FileType)> =
            part.iter().map(|name| (name.as_bytes(), Nid(8), REG)).collect();
        if index == 0 {
            entries.insert(0, (b"..", Nid(0), DIR));
        }
        let block = dir_block(&entries);
        maker.put((8 + index) * BLOCK, &block);
        size = index * BLOCK + block.len();
    }
    maker.file(8, &[], b"x");
    let record = Inode { i_u: 8, bit4: true, ..inode(DIR, DataLayout::FlatPlain, size as u64) };
    maker.inode(0, record, &[], &[]);
    maker
}

#[test]
fn names_are_found_in_any_block_and_listed_in_order() {
    let image = large_directory().open().unwrap();
    let root = image.root().unwrap();
    assert!(root.dot_omitted());
    let listed: Vec<Vec<u8>> = image.entries(&root).unwrap().map(|entry| entry.unwrap().name).collect();
    assert_eq!(listed.len(), 61);
    for name in &listed {
        assert_eq!(image.lookup(&root, name).unwrap().unwrap().name, *name);
    }
    for absent in [&b""[..], b".", b"n", b"n000x", b"n019z", b"n060", b"\xff", &[b'x'; 256]] {
        assert_eq!(image.lookup(&root, absent).unwrap(), None, "{absent:?}");
    }
    let steps: Vec<_> = image.walk_all().unwrap().map(Result::unwrap).collect();
    assert_eq!(steps.len(), 61);
    assert_eq!(steps.iter().filter(|step| step.first).count(), 2);
    assert_eq!((steps[60].path.as_slice(), steps[60].depth), (&b"/n059"[..], 1));
}

#[test]
fn paths_lead_where_the_links_say() {
    let mut maker = Maker::new(12);
    maker.dir(0, Nid(0), &[(b"a", Nid(16), DIR), (b"abs", Nid(40), LNK), (b"loop", Nid(44), LNK)]);
    maker.dir(16, Nid(0), &[(b"b", Nid(24), DIR), (b"up", Nid(48), LNK)]);
    maker.dir(24, Nid(16), &[(b"file", Nid(32), REG)]);
    maker.file(32, &[], b"x");
    maker.link(40, b"/a/b");
    maker.link(44, b"loop");
    maker.link(48, b"../a/./b/../b/file");
    let image = maker.open().unwrap();
    let (never, parents, all) = (Follow::Never, Follow::Parents, Follow::All);
    for (path, follow, want) in [
        ("/", never, Ok(0)),
        ("", never, Ok(0)),
        ("a//b/", never, Ok(24)),
        ("/a/b/..", never, Ok(16)),
        ("/../../a", never, Ok(16)),
        ("/abs", never, Ok(40)),
        ("/abs", parents, Ok(40)),
        ("/abs", all, Ok(24)),
        ("/abs/file", parents, Ok(32)),
        ("/a/up", all, Ok(32)),
        ("/abs/..", all, Ok(16)),
        ("/abs/file", never, Err("/abs/file: nid 40: is a symbolic link, which is not followed here")),
        ("/loop", all, Err("/loop: too many symbolic links: found more than 40")),
        ("/a/none", all, Err("/a/none: no such file or directory")),
        ("/a/b/file/x", all, Err("/a/b/file/x: nid 32: is a regular file, want a directory")),
        ("/a/b/file/.", all, Err("/a/b/file/.: nid 32: is a regular file, want a directory")),
    ] {
        let found = image.resolve(path.as_bytes(), follow).map(|inode| inode.nid.0);
        assert_eq!(
            found.map_err(|error| error.to_string()),
            want.map_err(str::to_owned),
            "{path} {follow:?}"
        );
    }
}

#[test]
fn chunks_lie_on_other_devices() {
    let format = ChunkFormat { blkbits: 0, indexes: true, wide: false };
    let chunks = [(1, 0), (2, 1), (0, 9)].map(|(device, block)| Some(ChunkAddress { device, block }));
    let record = Inode { i_u: format.encode(), ..inode(REG, DataLayout::ChunkBased, 1536) };
    let mut maker = with_file(6, record, &chunk_table(format, &chunks));
    maker.superblock.incompat = incompat::CHUNKED_FILE | incompat::DEVICE_TABLE;
    maker.superblock.extra_devices = 2;
    maker.superblock.devt_slotoff = 20;
    for (index, uniaddr) in [6, 8].into_iter().enumerate() {
        let slot = DeviceSlot { tag: [b't'; 64], blocks: 2, uniaddr };
        maker.put((20 + index) * 128, &slot.encode().unwrap());
    }
    let device = |bytes: [u8; 2]| -> Arc<dyn ReadAt> { Arc::new(bytes.map(block_of).concat()) };
    let devices = || vec![device(*b"pq"), device(*b"rs")];
    let want = [block_of(b'p'), block_of(b's'), block_of(b's')].concat();

    let apart = open_with(Arc::new(maker.bytes()), devices()).unwrap();
    assert_eq!(content(&apart, b"/file").unwrap(), want);
    let joined = [maker.bytes(), [b'p', b'q', b'r', b's'].map(block_of).concat()].concat();
    assert_eq!(content(&open_with(Arc::new(joined), Vec::new()).unwrap(), b"/file").unwrap(), want);

    let alone = open_with(Arc::new(maker.bytes()), Vec::new()).unwrap();
    let message = content(&alone, b"/file").unwrap_err().to_string();
    let want = "nid 8: data on extra device 1 (tttttttt";
    assert!(message.starts_with(want) && message.contains("want 2 given"), "{message}");
    let message = open_with(Arc::new(maker.bytes()), devices()[..1].to_vec()).unwrap_err().to_string();
    assert_eq!(message, "extra devices: found 1 given, want 2 as in superblock.extra_devices");
}

/// An image whose only file stands in the metabox; the metabox inode is nid 16, with its content in blocks 6
/// and 7.
fn with_metabox(metabox: Inode) -> Maker {
    let mut maker = Maker::new(8);
    maker.superblock.incompat = incompat::METABOX | incompat::XATTR_PREFIXES;
    maker.superblock.extslots = 1;
    maker.superblock.metabox_nid = Nid(16);
    maker.inode(16, metabox, &[], &[]);
    maker.dir(0, Nid(0), &[(b"file", Nid(Nid::METABOX_BIT | 2), REG)]);
    let file = inode(REG, DataLayout::FlatInline, 5);
    maker.put(6 * BLOCK + 64, &[file.encode().unwrap().as_slice(), b"boxed"].concat());
    let mut prefix = Vec::new();
    LongPrefix::of(b"user.long.").unwrap().encode(&mut prefix).unwrap();
    maker.put(7 * BLOCK, &prefix);
    maker.superblock.xattr_prefix_count = 1;
    maker.superblock.xattr_prefix_start = u32::try_from(BLOCK / 4).unwrap();
    maker
}

#[test]
fn inodes_and_prefixes_live_in_the_metabox() {
    let image = with_metabox(Inode { i_u: 6, ..inode(REG, DataLayout::FlatPlain, 1024) }).open().unwrap();
    assert_eq!(content(&image, b"/file").unwrap(), b"boxed");
    assert_eq!(image.prefixes()[0].infix, b"long.");

    let mut unknown = with_metabox(inode(REG, DataLayout::CompressedFull, 1024));
    unknown.put(Maker::byte_of(Nid(17)), &NEW_ALGORITHM);
    let error = unknown.open().unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    assert_eq!(error.nid(), Some(Nid(16)));

    let short = with_metabox(Inode { i_u: 6, ..inode(REG, DataLayout::FlatPlain, 80) });
    let message = short.open().unwrap_err().to_string();
    assert_eq!(
        message,
        "xattr_long_prefix at byte 512: found 1 byte, want an end within the metabox, which has 80 bytes"
    );
    let mut none = with_metabox(Inode { i_u: 6, ..inode(REG, DataLayout::FlatPlain, 1024) });
    none.superblock.incompat = 0;
    none.superblock.xattr_prefix_count = 0;
    let message = content(&none.open().unwrap(), b"/file").unwrap_err().to_string();
    assert!(message.contains("want a nid without it in an image without a metabox"), "{message}");
}

#[test]
fn prefixes_stand_on_the_device_or_in_the_packed_inode() {
    let mut prefix = Vec::new();
    LongPrefix::of(b"trusted.x").unwrap().encode(&mut prefix).unwrap();
    for (name, bits, plain, want) in [
        ("device, by the feature", incompat::FRAGMENTS, compat::PLAIN_XATTR_PFX, b"x"),
        ("device, because nothing else is there", 0, 0, b"x"),
        ("packed inode", incompat::FRAGMENTS, 0, b"y"),
    ] {
        let mut maker = Maker::new(8);
        maker.superblock.incompat = incompat::XATTR_PREFIXES | bits;
        maker.superblock.compat = plain;
        maker.superblock.packed_nid = Nid(16);
        maker.superblock.xattr_prefix_count = 1;
        maker.superblock.xattr_prefix_start = u32::try_from(6 * BLOCK / 4).unwrap();
        maker.put(6 * BLOCK, &prefix);
        let packed = Inode { i_u: 1, ..inode(REG, DataLayout::FlatPlain, 7 * 512) };
        maker.inode(16, packed, &[], &[]);
        maker.dir(0, Nid(0), &[]);
        // Byte 6 × 512 of the packed inode is byte 7 × 512 of the device.
        let other = [&prefix[..prefix.len() - 1], b"y"].concat();
        maker.put(7 * BLOCK, &other);
        let image = maker.open().unwrap();
        assert_eq!(image.prefixes()[0].infix, want, "{name}");
    }
}

#[test]
fn the_checksum_is_compared_where_the_image_has_one() {
    let mut maker = Maker::new(6);
    maker.dir(0, Nid(0), &[]);
    maker.superblock.compat = compat::SB_CHKSUM;
    let mut bytes = maker.bytes();
    superblock::store_checksum(&mut bytes[1024..1536]);
    common::open(bytes.clone()).unwrap();
    bytes[1535] ^= 1;
    let message = common::open(bytes.clone()).unwrap_err().to_string();
    assert!(message.starts_with("superblock.checksum at byte 1028: found 0x"), "{message}");
    let lenient = erofs_image::OpenOptions::new().verify_checksum(false);
    Image::open(Arc::new(bytes), Vec::new(), &lenient).unwrap();
}

#[test]
fn an_image_starts_anywhere_in_its_file() {
    let mut maker = Maker::new(6);
    maker.dir(0, Nid(0), &[(b"file", Nid(8), REG)]);
    maker.file(8, &[], b"content");
    let inside = [vec![0xff; 3 * BLOCK], maker.bytes()].concat();
    let view = erofs_image::OffsetView::new(inside, 3 * 512);
    let image = open_with(Arc::new(view), Vec::new()).unwrap();
    assert_eq!(content(&image, b"/file").unwrap(), b"content");
    assert_eq!(image.primary_len(), 6 * 512);
}

#[test]
fn counting_counts_each_inode_once() {
    let mut maker = Maker::new(12);
    let entries: [(&[u8], Nid, FileType); 5] = [
        (b"a", Nid(16), DIR),
        (b"f", Nid(32), REG),
        (b"g", Nid(32), REG),
        (b"l", Nid(40), LNK),
        (b"p", Nid(44), FileType::Fifo),
    ];
    maker.dir(0, Nid(0), &entries);
    maker.dir(16, Nid(0), &[(b"empty", Nid(48), REG)]);
    maker.file(32, &[], b"12345");
    maker.link(40, b"f");
    maker.inode(44, inode(FileType::Fifo, DataLayout::FlatPlain, 0), &[], &[]);
    maker.file(48, &[], b"");
    let census = maker.open().unwrap().census().unwrap();
    assert_eq!((census.inodes, census.files, census.directories, census.symlinks), (6, 2, 2, 1));
    assert_eq!((census.special_files, census.hard_links, census.logical_bytes), (1, 1, 5));
    assert_eq!((census.empty_files, census.fingerprinted, census.unfingerprinted), (1, 0, 1));
    assert_eq!(census.layouts.into_iter().collect::<Vec<_>>(), [("flat inline", 5)]);
    assert_eq!(META * BLOCK, 1536);
}

/// Linux 7.2.13 and 7.3.4 read shared pages wrong that begin or end an extent within.
#[test]
fn extents_within_pages_are_found() {
    let at = |block| Some(ChunkAddress { device: 0, block });
    let run = |blocks: std::ops::Range<u64>| blocks.map(at).collect::<Vec<_>>();
    let small = ChunkFormat { blkbits: 0, indexes: false, wide: false };
    let page = ChunkFormat { blkbits: 3, ..small };
    let chunked = |format: ChunkFormat, chunks: &[Option<ChunkAddress>]| {
        let size = (chunks.len() * BLOCK) as u64 * if format == page { 8 } else { 1 };
        let record = Inode { i_u: format.encode(), ..inode(REG, DataLayout::ChunkBased, size) };
        (record, chunk_table(format, chunks))
    };
    let inline = |size: usize| {
        let record = Inode { i_u: 4, ..inode(REG, DataLayout::FlatInline, size as u64) };
        (record, vec![0; size - (size - 1) / BLOCK * BLOCK])
    };
    let hole = |count: usize| vec![None; count];
    let plain = Inode { i_u: 4, ..inode(REG, DataLayout::FlatPlain, 3000) };
    let indexes = ChunkFormat { indexes: true, ..small };
    for (what, (record, behind), want) in [
        ("flat", (plain, Vec::new()), None),
        ("a tail alone", inline(100), None),
        ("a tail behind blocks", inline(512 * 3 + 1), Some(1536)),
        ("a whole block as tail", inline(512 * 4), Some(1536)),
        ("a tail behind whole pages", inline(4096 + 7), None),
        ("blocks in a row", chunked(small, &run(4..30)), None),
        ("only a hole", chunked(small, &hole(20)), None),
        ("data, then a hole", chunked(small, &[run(4..6), hole(3)].concat()), Some(1024)),
        ("a hole, then data", chunked(small, &[hole(7), run(4..6)].concat()), Some(3584)),
        ("a hole of whole pages", chunked(small, &[run(4..12), hole(8), run(12..14)].concat()), None),
        ("blocks apart", chunked(small, &[run(4..8), run(9..12)].concat()), Some(2048)),
        ("chunks of a page", chunked(page, &[at(4), None, at(3), at(9)]), None),
        // Behind the inode of 32 bytes at byte 256, the first block of the table has 28 entries of 8 bytes.
        ("a table over two blocks", chunked(indexes, &run(4..100)), Some(28 * 512)),
        ("a table over two blocks, at the end of a page", chunked(small, &run(4..100)), None),
    ] {
        let mut maker = with_file(120, record, &behind);
        maker.superblock.incompat |= incompat::CHUNKED_FILE;
        let image = maker.open().unwrap();
        let inode = image.resolve(b"/file", Follow::Never).unwrap();
        assert_eq!(image.data(&inode).unwrap().extent_within_page(4096).unwrap(), want, "{what}");
        assert_eq!(image.data(&inode).unwrap().extent_within_page(512).unwrap(), None, "{what}");
    }
}
