//! What Linux refuses, or takes and gives to nobody, is found by `erofs-ishare verify`: one image for each
//! kind. That Linux does so is shown by `tests/mutations`.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../crates/image/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::{BLOCK, Maker, dir_block, inode, xattr_body};
use erofs_algo::fingerprint;
use erofs_check::{Finding, Options, Report, Source, check};
use erofs_format::Nid;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{ChunkAddress, ChunkFormat, encode_entry};
use erofs_format::feature::{compat, incompat};
use erofs_format::filetype::FileType;
use erofs_format::inode::{Inode, Version};
use erofs_format::xattr::{
    INDEX_ACL_ACCESS, INDEX_ACL_DEFAULT, INDEX_SECURITY, INDEX_TRUSTED, INDEX_USER, filter_bit,
};
use erofs_format::xattr_prefix::LongPrefix;

const DIR: FileType = FileType::Directory;
const REG: FileType = FileType::Regular;
const LINK: FileType = FileType::Symlink;
/// Where the root directory is: nid 0 is for those tests that want it.
const ROOT: u64 = 4;

fn report(image: Vec<u8>) -> Report {
    check(&Source::new(Arc::new(image), Vec::new()), &Options { threads: 1, ..Options::default() }).unwrap()
}

/// Findings as code and path.
fn listed(findings: &[Finding]) -> Vec<(&'static str, String)> {
    let path = |finding: &Finding| String::from_utf8(finding.path.clone().unwrap_or_default()).unwrap();
    findings.iter().map(|finding| (finding.code.name(), path(finding))).collect()
}

/// An image whose root directory has these entries.
fn image(entries: &[(&[u8], Nid, FileType)], fill: impl FnOnce(&mut Maker)) -> Vec<u8> {
    let mut maker = Maker::new(16);
    maker.superblock.root_nid = Nid(ROOT);
    maker.superblock.inodes = 1 + entries.len() as u64;
    let dots: [(&[u8], Nid, FileType); 2] = [(b".", Nid(ROOT), DIR), (b"..", Nid(ROOT), DIR)];
    let mut all: Vec<_> = dots.iter().chain(entries).copied().collect();
    all.sort_unstable_by_key(|entry| entry.0);
    directory(&mut maker, &dir_block(&all));
    fill(&mut maker);
    maker.bytes()
}

/// The root directory with these bytes.
fn directory(maker: &mut Maker, block: &[u8]) {
    let record = Inode { nlink: 2, ..inode(DIR, DataLayout::FlatInline, block.len() as u64) };
    maker.inode(ROOT, record, &[], block);
}

/// An image with `/file` (nid 16) of this type, with these attributes and this name filter.
fn with_attributes(file_type: FileType, filter: u32, attributes: &[(u8, &[u8], &[u8])]) -> Vec<u8> {
    image(&[(b"file", Nid(16), file_type)], |maker| {
        maker.superblock.compat |= compat::XATTR_FILTER;
        let body = xattr_body(filter, &[], attributes);
        maker.inode(16, inode(file_type, DataLayout::FlatInline, 4), &body, b"text");
    })
}

fn acl(tags: &[u16]) -> Vec<u8> {
    let entry = |tag: &u16| [tag.to_le_bytes(), 5_u16.to_le_bytes(), [7, 0], [0, 0]].concat();
    [vec![2, 0, 0, 0], tags.iter().flat_map(entry).collect()].concat()
}

fn capability(form: u32, length: usize) -> Vec<u8> {
    let mut value = form.to_le_bytes().to_vec();
    value.resize(length, 0);
    value
}

#[test]
fn attributes_that_linux_does_not_give_out() {
    let (right, unmasked) = (acl(&[1, 2, 4, 16, 32]), acl(&[1, 2, 4, 32]));
    let long = vec![b'n'; 251];
    let hides = filter_bit(INDEX_USER, b"a");
    for (file_type, filter, attributes, want) in [
        (REG, 0, &[(INDEX_ACL_ACCESS, &b""[..], &right[..]), (INDEX_USER, b"a", b"1")][..], None),
        (REG, !hides, &[(INDEX_USER, b"a", b"1")], None),
        (REG, 0, &[(INDEX_SECURITY, b"capability", &capability(0x0200_0001, 20))], None),
        (REG, 0, &[(INDEX_ACL_ACCESS, b"", &unmasked)], Some("xattr")),
        (REG, 0, &[(INDEX_ACL_DEFAULT, b"", &right[..11])], Some("xattr")),
        (REG, 0, &[(INDEX_ACL_ACCESS, b"more", &right)], Some("xattr")),
        (REG, 0, &[(INDEX_SECURITY, b"capability", &capability(0x0200_0001, 24))], Some("xattr")),
        (REG, 0, &[(INDEX_USER, b"", b"1")], Some("xattr")),
        (REG, 0, &[(INDEX_USER, &long, b"1")], Some("xattr")),
        (REG, hides, &[(INDEX_USER, b"a", b"1")], Some("xattr-hidden")),
        (REG, 0, &[(INDEX_TRUSTED, b"a", b"1"), (INDEX_TRUSTED, b"a", b"2")], Some("xattr-hidden")),
        (LINK, 0, &[(INDEX_USER, b"a", b"1")], Some("xattr-hidden")),
        (LINK, 0, &[(INDEX_ACL_ACCESS, b"", &right)], Some("xattr-hidden")),
    ] {
        let report = report(with_attributes(file_type, filter, attributes));
        let want: Vec<_> = want.map(|code| (code, "/file".to_owned())).into_iter().collect();
        assert_eq!(listed(&report.findings), want, "{file_type:?} {filter:#x} {attributes:x?}");
        assert_eq!(listed(&report.warnings), [], "{attributes:x?}");
    }
}

#[test]
fn entries_have_types_that_there_are() {
    let block = |file_type: u8, at: usize| {
        let entries: [(&[u8], Nid, FileType); 3] =
            [(b".", Nid(ROOT), DIR), (b"..", Nid(ROOT), DIR), (b"file", Nid(16), REG)];
        let mut block = dir_block(&entries);
        block[at * 12 + 10] = file_type;
        block
    };
    for (file_type, at, want) in [
        (2, 0, None),
        (8, 0, Some("/.")),
        (1, 1, Some("/..")),
        (0, 1, Some("/..")),
        (8, 2, Some("/file")),
        (0x81, 2, Some("/file")),
    ] {
        let image = image(&[(b"file", Nid(16), REG)], |maker| {
            directory(maker, &block(file_type, at));
            maker.file(16, &[], b"");
        });
        let want: Vec<_> = want.map(|path| ("file-type", path.to_owned())).into_iter().collect();
        assert_eq!(listed(&report(image).findings), want, "type {file_type} of entry {at}");
    }
}

#[test]
fn inodes_have_values_that_can_be_used() {
    let of = |file_type, record: Inode| {
        image(&[(b"file", Nid(16), file_type)], |maker| {
            maker.inode(16, record, &[], &[]);
        })
    };
    let fifo = inode(FileType::Fifo, DataLayout::FlatPlain, 0);
    let file = Inode { version: Version::Extended, ..inode(REG, DataLayout::FlatPlain, 0) };
    for (image, want) in [
        (of(FileType::Fifo, fifo), None),
        (of(FileType::Fifo, Inode { size: 5, ..fifo }), Some(("inode", "/file"))),
        (of(REG, Inode { uid: u32::MAX - 1, ..file }), None),
        (of(REG, Inode { uid: u32::MAX, ..file }), Some(("inode", "/file"))),
        (of(REG, Inode { gid: u32::MAX, ..file }), Some(("inode", "/file"))),
        (image(&[], |maker| maker.superblock.packed_nid = Nid(16)), Some(("superblock", ""))),
    ] {
        let want: Vec<_> = want.map(|(code, path)| (code, path.to_owned())).into_iter().collect();
        assert_eq!(listed(&report(image).findings), want);
    }
}

/// readdir(3) leaves out names whose inode number is 0.
#[test]
fn inode_number_0_is_no_number() {
    let named = image(&[(b"file", Nid(0), REG)], |maker| {
        maker.file(0, &[], b"text");
    });
    assert_eq!(listed(&report(named).findings), [("inode-zero", "/file".to_owned())]);
    let mut maker = Maker::new(8);
    maker.superblock.inodes = 1;
    let record = Inode { nlink: 2, ..inode(DIR, DataLayout::FlatInline, 0) };
    let block = dir_block(&[(b".", Nid(0), DIR), (b"..", Nid(0), DIR)]);
    maker.inode(0, Inode { size: block.len() as u64, ..record }, &[], &block);
    let report = report(maker.bytes());
    assert_eq!(
        (listed(&report.findings), listed(&report.warnings)),
        (vec![], vec![("root-zero", "/".to_owned())])
    );
}

/// 1536 zeros as LZ4, at the end of a block.
fn zeros() -> Vec<u8> {
    let data = [&[0x1f, 0, 1, 0, 255, 255, 255, 255, 255, 236][..], &[0x50, 0, 0, 0, 0, 0]].concat();
    [vec![0; BLOCK - data.len()], data].concat()
}

/// An image with a compressed file of three lclusters in one pcluster. The second and the third entry lead
/// `back` and `ahead`.
fn with_index(back: [u16; 2], ahead: [u16; 2]) -> Vec<u8> {
    image(&[(b"file", Nid(16), REG)], |maker| {
        maker.superblock.incompat = incompat::LZ4_0PADDING;
        let mut index = vec![0; 16];
        index.extend([1, 0, 0, 0, 12, 0, 0, 0]);
        for (back, ahead) in back.into_iter().zip(ahead) {
            index.extend([2, 0, 0, 0]);
            index.extend(back.to_le_bytes());
            index.extend(ahead.to_le_bytes());
        }
        maker.put(12 * BLOCK, &zeros());
        maker.inode(16, Inode { i_u: 1, ..inode(REG, DataLayout::CompressedFull, 1536) }, &[], &index);
    })
}

/// Linux looks for the extent of a page from that page, whatever leads there from the start of the file.
#[test]
fn every_lcluster_leads_to_its_head() {
    for (back, ahead, right) in [
        ([1, 2], [2, 1], true),
        ([1, 1], [1, 1], true),
        ([1, 2], [0, 0], true),
        ([2, 2], [2, 1], false),
        ([0, 2], [2, 1], false),
        ([1, 3], [2, 1], false),
    ] {
        let found = listed(&report(with_index(back, ahead)).findings);
        let want: &[_] = if right { &[] } else { &[("map", "/file".to_owned())] };
        assert_eq!(found, want, "{back:?} {ahead:?}");
    }
}

const NAME: &[u8] = b"fp";

/// An image with fingerprints whose `/file` has this inode, with this behind its attributes.
fn with_fingerprint(record: Inode, behind: &[u8], content: &[u8]) -> Vec<u8> {
    image(&[(b"file", Nid(16), REG)], |maker| {
        let mut table = Vec::new();
        LongPrefix::of(&[b"trusted.", NAME].concat()).unwrap().encode(&mut table).unwrap();
        maker.put(15 * BLOCK, &table);
        maker.superblock.incompat = incompat::XATTR_PREFIXES | incompat::CHUNKED_FILE;
        maker.superblock.compat = compat::ISHARE_XATTRS | compat::PLAIN_XATTR_PFX;
        maker.superblock.xattr_prefix_count = 1;
        maker.superblock.xattr_prefix_start = u32::try_from(15 * BLOCK / 4).unwrap();
        let value = fingerprint::of(fingerprint::TABLE[0], uuid::Uuid::nil(), content).value;
        maker.inode(16, record, &xattr_body(0, &[], &[(INDEX_TRUSTED, NAME, &value)]), behind);
    })
}

fn chunks(blocks: &[Option<u64>]) -> Vec<u8> {
    let format = ChunkFormat { blkbits: 0, indexes: false, wide: false };
    let mut table = Vec::new();
    for block in blocks {
        let address = block.map(|block| ChunkAddress { device: 0, block });
        encode_entry(format, address, &mut table).unwrap();
    }
    let size = (blocks.len() * BLOCK) as u64;
    let record = Inode { i_u: format.encode(), ..inode(REG, DataLayout::ChunkBased, size) };
    with_fingerprint(record, &table, &vec![0; blocks.len() * BLOCK])
}

fn inline(size: u64) -> Vec<u8> {
    let tail = vec![0; usize::try_from(size).unwrap() % BLOCK];
    let record = Inode { i_u: 8, ..inode(REG, DataLayout::FlatInline, size) };
    with_fingerprint(record, &tail, &vec![0; usize::try_from(size).unwrap()])
}

/// Linux 7.2 and 7.3 read such files wrong, or crash, where they share page cache.
#[test]
fn pages_of_shared_files_have_one_place() {
    let warning = vec![("sub-page-extents", "/file".to_owned())];
    for (name, image, want) in [
        ("blocks in a row", chunks(&[Some(8), Some(9), Some(10)]), vec![]),
        ("a hole and nothing else", chunks(&[None; 9]), vec![]),
        ("data, then a hole", chunks(&[Some(8), None]), warning.clone()),
        ("a hole, then data", chunks(&[None, Some(8)]), warning.clone()),
        ("blocks apart", chunks(&[Some(8), Some(10)]), warning.clone()),
        ("a tail alone", inline(100), vec![]),
        ("a tail behind blocks", inline(512 + 100), warning),
    ] {
        let report = report(image);
        assert_eq!((listed(&report.findings), listed(&report.warnings)), (vec![], want), "{name}");
    }
}
