//! Images that were made to do harm. They stand in `testdata/hostile`, each made by its row here, so that
//! other readers can be tried with them; `UPDATE_GOLDEN=1` writes them anew.

use std::fs;
use std::path::PathBuf;

use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{ChunkAddress, ChunkFormat, encode_entry};
use erofs_format::feature::{compat, incompat};
use erofs_format::filetype::FileType;
use erofs_format::inode::{Inode, Version};
use erofs_format::xattr::INDEX_USER;
use erofs_format::{Nid, superblock};
use erofs_image::OpenOptions;

use crate::common::{BLOCK, META, Maker, dir_block, inode, xattr_body};
use crate::meter::Meter;
use crate::read_all::read_all;

const DIR: FileType = FileType::Directory;
const REG: FileType = FileType::Regular;

/// What reading everything may cost, in lengths of the image.
const BUDGET: u64 = 300;

struct Row {
    /// The name of the file.
    name: &'static str,
    make: fn() -> Vec<u8>,
    /// The first error.
    error: &'static str,
}

const ROWS: [Row; 20] = [
    Row {
        name: "not-erofs",
        make: || vec![0x5a; 4096],
        error: "not an EROFS image: found the magic number 0x5a5a5a5a at byte 1024, want 0xe0f5e1e2",
    },
    Row {
        name: "cut-superblock",
        make: || with_file(|_| {})[..1100].to_vec(),
        error: "superblock at byte 1024: found 128 bytes, want an end within the image, which has 1100 bytes",
    },
    Row {
        name: "block-size",
        make: || changed(&with_file(|_| {}), 12, 21),
        error: "superblock.blkszbits at byte 1036: found 21, want 9 to 16",
    },
    Row {
        name: "unknown-feature",
        make: || changed(&with_file(|_| {}), 81, 0x80),
        error: "superblock.feature_incompat at byte 1104: found 0x8000 with unknown bits 0x8000, want bits 0x1 to 0x100 only",
    },
    Row {
        name: "directory-loop",
        make: || {
            let mut maker = Maker::new(8);
            maker.dir(0, Nid(0), &[(b"a", Nid(8), DIR)]);
            maker.dir(8, Nid(0), &[(b"b", Nid(16), DIR)]);
            maker.dir(16, Nid(8), &[(b"back", Nid(8), DIR)]);
            maker.bytes()
        },
        error: "/a/b/back: directory nid 8 has a second name here, want one name for each directory",
    },
    Row {
        name: "root-in-itself",
        make: || {
            let mut maker = Maker::new(8);
            maker.dir(0, Nid(0), &[(b"root", Nid(0), DIR)]);
            maker.bytes()
        },
        error: "/root: directory nid 0 has a second name here, want one name for each directory",
    },
    Row {
        name: "dirent-past-block",
        make: || {
            let mut maker = Maker::new(8);
            let nid = maker.dir(0, Nid(0), &[(b"a", Nid(8), REG)]);
            let second = Maker::byte_of(nid) + 32 + 12 + 8;
            maker.put(second, &u16::MAX.to_le_bytes());
            maker.bytes()
        },
        error: "/: nid 0: dirent.nameoff at byte 8: found 36 to 65535, want an ascending offset from 36 to 40",
    },
    Row {
        name: "dirent-slash",
        make: || {
            let mut maker = Maker::new(8);
            let nid = maker.dir(0, Nid(0), &[(b"aXb", Nid(8), REG)]);
            maker.put(Maker::byte_of(nid) + 32 + 36 + 3 + 1, b"/");
            maker.bytes()
        },
        error: "/: nid 0: dirent name at byte 24: found \"a/b\", want 1 to 255 bytes without '/' and NUL",
    },
    Row {
        name: "dirents-out-of-order",
        make: || {
            let mut maker = Maker::new(12);
            let second = dir_block(&[(b"b", Nid(4), REG)]);
            let first = dir_block(&[(b".", Nid(0), DIR), (b"..", Nid(0), DIR), (b"b", Nid(4), REG)]);
            maker.put(8 * BLOCK, &first);
            maker.put(9 * BLOCK, &second);
            let size = (BLOCK + second.len()) as u64;
            maker.inode(0, Inode { i_u: 8, ..inode(DIR, DataLayout::FlatPlain, size) }, &[], &[]);
            maker.file(4, &[], b"");
            maker.bytes()
        },
        error: "/: nid 0: directory block at byte 512: found b after b, want ascending, unique names",
    },
    Row {
        name: "empty-directory-block",
        make: || {
            let mut maker = Maker::new(12);
            maker.inode(0, Inode { i_u: 8, ..inode(DIR, DataLayout::FlatPlain, 512) }, &[], &[]);
            maker.bytes()
        },
        error: "/: nid 0: dirent.nameoff at byte 8: found 0, want a multiple of 12 from 12 to 512",
    },
    Row {
        name: "huge-directory",
        make: || {
            let mut maker = Maker::new(12);
            let huge =
                Inode { version: Version::Extended, i_u: 8, ..inode(DIR, DataLayout::FlatPlain, 1 << 60) };
            maker.inode(0, huge, &[], &[]);
            maker.bytes()
        },
        error: "/: directories: found more than 6144 bytes, want no more than is read of an image of this size",
    },
    Row {
        name: "many-names-for-one-directory-block",
        make: overlapping_directories,
        error: "/d11: directories: found more than 6144 bytes, want no more than is read of an image of this size",
    },
    Row {
        name: "huge-file",
        make: || with_file(|record| record.size = (1 << 62) + 100),
        error: "/file: nid 8: file data at byte 0: found 262144 bytes, want an end within the image, which has 6144 bytes",
    },
    Row {
        name: "negative-size",
        make: || with_file(|record| record.size = u64::MAX),
        error: "/file: nid 8: inode.i_size at byte 1800: found 18446744073709551615, want less than 2^63",
    },
    Row {
        name: "inline-across-blocks",
        make: || {
            with_file(|record| {
                record.layout = DataLayout::FlatInline;
                record.size = 500;
            })
        },
        error: "/file: nid 8: inline data at byte 1856: found 500 bytes, want a tail that ends in the block in which it starts",
    },
    Row {
        name: "chunk-table-past-end",
        make: || {
            with_file(|record| {
                record.layout = DataLayout::ChunkBased;
                record.size = 1 << 40;
            })
        },
        error: "/file: nid 8: chunk table at byte 1856: found 2147483648 entries up to byte 8589936448, want an end within 6144 bytes",
    },
    Row {
        name: "chunk-past-end",
        make: || {
            let format = ChunkFormat { blkbits: 0, indexes: true, wide: false };
            let mut table = Vec::new();
            encode_entry(format, Some(ChunkAddress { device: 0, block: 4_000_000_000 }), &mut table).unwrap();
            let mut maker = Maker::new(12);
            maker.dir(0, Nid(0), &[(b"file", Nid(8), REG)]);
            let record = Inode { i_u: format.encode(), ..inode(REG, DataLayout::ChunkBased, 9) };
            maker.inode(8, record, &[], &table);
            maker.bytes()
        },
        error: "/file: nid 8: file data at byte 2048000000000: found 9 bytes, want an end within the image, which has 6144 bytes",
    },
    Row {
        name: "xattr-past-end",
        make: || {
            let mut body = xattr_body(0, &[], &[(INDEX_USER, b"a", b"value")]);
            // The size of the value, behind the header and the lengths of the name.
            body[14..16].copy_from_slice(&u16::MAX.to_le_bytes());
            let mut maker = Maker::new(12);
            maker.dir(0, Nid(0), &[(b"file", Nid(8), REG)]);
            maker.file(8, &body, b"");
            maker.bytes()
        },
        error: "/file: nid 8: xattr entry size at byte 1836: found 65540, want at most 12, the end of the inode's xattrs",
    },
    Row {
        name: "devices-without-table",
        make: || {
            let mut maker = Maker::new(8);
            maker.dir(0, Nid(0), &[]);
            maker.superblock.incompat = incompat::DEVICE_TABLE;
            maker.superblock.extra_devices = u16::MAX;
            maker.superblock.devt_slotoff = 31;
            maker.bytes()
        },
        error: "device slot at byte 4096: found 128 bytes, want an end within the image, which has 4096 bytes",
    },
    Row {
        name: "prefixes-past-end",
        make: || {
            let mut maker = Maker::new(8);
            maker.dir(0, Nid(0), &[]);
            maker.superblock.incompat = incompat::XATTR_PREFIXES;
            maker.superblock.compat = compat::PLAIN_XATTR_PFX | compat::ISHARE_XATTRS;
            maker.superblock.xattr_prefix_count = 255;
            maker.superblock.xattr_prefix_start = u32::MAX;
            maker.bytes()
        },
        error: "xattr_long_prefix at byte 17179869180: found 1 byte, want an end within the image, which has 4096 bytes",
    },
];

/// An image with an extended inode `/file` (nid 8), changed by the caller.
fn with_file(change: impl FnOnce(&mut Inode)) -> Vec<u8> {
    let mut maker = Maker::new(12);
    maker.dir(0, Nid(0), &[(b"file", Nid(8), REG)]);
    let mut record = Inode { version: Version::Extended, ..inode(REG, DataLayout::FlatPlain, 0) };
    change(&mut record);
    maker.inode(8, record, &[], &[]);
    maker.bytes()
}

/// The image with another byte at this place of the superblock.
fn changed(image: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = image.to_vec();
    bytes[usize::try_from(superblock::OFFSET).unwrap() + at] = byte;
    bytes
}

/// Thirty directories with the same single block of content, so that a walk would read more than there is.
fn overlapping_directories() -> Vec<u8> {
    let mut maker = Maker::new(12);
    let names: Vec<String> = (0..30).map(|number| format!("d{number:02}")).collect();
    let entries: Vec<(&[u8], Nid, FileType)> =
        names.iter().zip(1..).map(|(name, nid)| (name.as_bytes(), Nid(nid), DIR)).collect();
    let block = dir_block(&entries);
    assert!(META * BLOCK + 31 * 32 < 8 * BLOCK && block.len() <= BLOCK);
    maker.put(8 * BLOCK, &block);
    maker.put(9 * BLOCK, &dir_block(&[(b"..", Nid(0), DIR)]));
    let size = block.len() as u64;
    maker.inode(0, Inode { i_u: 8, bit4: true, ..inode(DIR, DataLayout::FlatPlain, size) }, &[], &[]);
    for nid in 1..=30 {
        maker.inode(nid, Inode { i_u: 9, bit4: true, ..inode(DIR, DataLayout::FlatPlain, 512) }, &[], &[]);
    }
    maker.bytes()
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/hostile").join(format!("{name}.img"))
}

#[test]
fn images_made_to_do_harm_are_refused_by_name() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for row in &ROWS {
        let made = (row.make)();
        let path = path_of(row.name);
        if update {
            fs::write(&path, &made).unwrap();
        }
        let kept = fs::read(&path).unwrap();
        assert!(kept == made, "{}: the file is not what its row makes; UPDATE_GOLDEN=1 writes it", row.name);
        let meter = Meter::new(kept, BUDGET);
        let outcome = read_all(meter.clone(), &OpenOptions::default());
        meter.settle(row.name);
        assert_eq!(outcome.errors.first().map(String::as_str), Some(row.error), "{}", row.name);
    }
}

#[test]
fn every_image_of_the_folder_has_a_row() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/hostile");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let known = ROWS.iter().any(|row| path_of(row.name) == path);
        // Those of the check as a whole have rows of their own, in tests/verify.rs.
        assert!(known || path.is_dir() || path.ends_with("README.md"), "{}", path.display());
    }
}
