//! `erofs-ishare verify`: wrong images are found by the name of what is wrong with them, and right ones are
//! right.
//!
//! The wrong images stand in `testdata/hostile/verify`, each made by its row here; `UPDATE_GOLDEN=1` writes
//! them anew.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../crates/image/tests/common/mod.rs"]
mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::{BLOCK, META, Maker, dir_block, inode, xattr_body};
use erofs_algo::fingerprint;
use erofs_check::{Options, Source, check};
use erofs_format::Nid;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{ChunkAddress, ChunkFormat, encode_entry};
use erofs_format::feature::{compat, incompat};
use erofs_format::filetype::FileType;
use erofs_format::inode::{Inode, Version};
use erofs_format::superblock;
use erofs_format::xattr::{Entry, INDEX_NONE, INDEX_TRUSTED, INDEX_USER};
use erofs_format::xattr_prefix::{LongPrefix, name_index};
use erofs_testkit::require::need;
use erofs_testkit::{content, peers, place, trees};
use serde_json::Value;

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

const DIR: FileType = FileType::Directory;
const REG: FileType = FileType::Regular;
/// The attribute of the fingerprints, in two parts.
const NAMESPACE: &[u8] = b"trusted.";
const NAME: &[u8] = b"fp";
/// What files of the images hold.
const TEXT: &[u8] = b"the text of a file";

/// Changes to a superblock: the place of a byte from its start, and the byte.
type Bytes = &'static [(usize, u8)];

fn value(bytes: &[u8]) -> Vec<u8> {
    fingerprint::of(fingerprint::TABLE[0], uuid::Uuid::nil(), bytes).value
}

fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    let raw = value(bytes)[b"sha256:".len()..].to_vec();
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap();
    let digits: String = raw.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect();
    [b"sha256:", digits.as_bytes()].concat()
}

/// The root directory with these entries, of which so many are directories; link counts are right.
fn root(maker: &mut Maker, entries: &[(&[u8], Nid, FileType)]) {
    directory(maker, 0, Nid(0), entries);
}

fn directory(maker: &mut Maker, nid: u64, parent: Nid, entries: &[(&[u8], Nid, FileType)]) {
    let dots: [(&[u8], Nid, FileType); 2] = [(b".", Nid(nid), DIR), (b"..", parent, DIR)];
    let mut all: Vec<_> = dots.iter().chain(entries).copied().collect();
    all.sort_unstable_by_key(|entry| entry.0);
    put_directory(maker, nid, &all, entries.iter().filter(|entry| entry.2 == DIR).count());
}

fn put_directory(maker: &mut Maker, nid: u64, all: &[(&[u8], Nid, FileType)], subdirectories: usize) {
    let block = dir_block(all);
    let nlink = 2 + u32::try_from(subdirectories).unwrap();
    let record = Inode { nlink, ..inode(DIR, DataLayout::FlatInline, block.len() as u64) };
    maker.inode(nid, record, &[], &block);
}

/// An image with fingerprints whose `/file` (nid 8) has these attributes and this content.
fn with_attributes(attributes: &[(u8, &[u8], &[u8])], text: &[u8]) -> Vec<u8> {
    announced(2, |maker| {
        root(maker, &[(b"file", Nid(8), REG)]);
        maker.file(8, &xattr_body(0, &[], attributes), text);
    })
}

/// An image of so many inodes that announces fingerprints under [`NAME`].
fn announced(inodes: u64, fill: impl FnOnce(&mut Maker)) -> Vec<u8> {
    let mut maker = Maker::new(12);
    let mut table = Vec::new();
    LongPrefix::of(&[NAMESPACE, NAME].concat()).unwrap().encode(&mut table).unwrap();
    let at = 11 * BLOCK;
    maker.put(at, &table);
    maker.superblock.incompat = incompat::XATTR_PREFIXES;
    maker.superblock.compat = compat::ISHARE_XATTRS | compat::PLAIN_XATTR_PFX;
    maker.superblock.inodes = inodes;
    maker.superblock.xattr_prefix_count = 1;
    maker.superblock.xattr_prefix_start = u32::try_from(at / 4).unwrap();
    fill(&mut maker);
    maker.bytes()
}

/// An image of so many inodes without fingerprints.
fn plain(inodes: u64, fill: impl FnOnce(&mut Maker)) -> Vec<u8> {
    let mut maker = Maker::new(12);
    maker.superblock.inodes = inodes;
    fill(&mut maker);
    maker.bytes()
}

/// An image with two files, at nids 8 and 16, with these inodes.
fn two_files(one: Inode, other: Inode) -> Vec<u8> {
    plain(3, |maker| {
        root(maker, &[(b"a", Nid(8), REG), (b"b", Nid(16), REG)]);
        maker.inode(8, one, &[], &[]);
        maker.inode(16, other, &[], &[]);
    })
}

fn flat(block: u32, size: u64) -> Inode {
    Inode { i_u: block, ..inode(REG, DataLayout::FlatPlain, size) }
}

/// A right image with other bytes in its superblock.
fn with_superblock(bytes: Bytes) -> Vec<u8> {
    let mut image = with_attributes(&[(INDEX_TRUSTED, NAME, &value(TEXT))], TEXT);
    for (at, byte) in bytes {
        image[usize::try_from(superblock::OFFSET).unwrap() + at] = *byte;
    }
    image
}

fn chunked(block: u64, announced: bool) -> Vec<u8> {
    plain(2, |maker| {
        let format = ChunkFormat { blkbits: 0, indexes: true, wide: false };
        let mut table = Vec::new();
        encode_entry(format, Some(ChunkAddress { device: 0, block }), &mut table).unwrap();
        if announced {
            maker.superblock.incompat = incompat::CHUNKED_FILE;
        }
        root(maker, &[(b"file", Nid(8), REG)]);
        let record = Inode { i_u: format.encode(), ..inode(REG, DataLayout::ChunkBased, 9) };
        maker.inode(8, record, &[], &table);
    })
}

struct Row {
    /// The name of the file.
    name: &'static str,
    make: fn() -> Vec<u8>,
    /// The code of the finding, and how the path of it begins; no code for a right image.
    found: Option<(&'static str, &'static str)>,
}

fn row(name: &'static str, found: (&'static str, &'static str), make: fn() -> Vec<u8>) -> Row {
    Row { name, make, found: Some(found) }
}

fn fingerprints() -> Vec<Row> {
    vec![
        Row {
            name: "right",
            make: || with_attributes(&[(INDEX_TRUSTED, NAME, &value(TEXT))], TEXT),
            found: None,
        },
        Row {
            name: "right-by-prefix",
            make: || with_attributes(&[(name_index(0), b"", &value(TEXT))], TEXT),
            found: None,
        },
        row("forged", ("fingerprint-wrong", "/file"), || {
            with_attributes(&[(INDEX_TRUSTED, NAME, &value(b"the text of others"))], TEXT)
        }),
        row("duplicated", ("fingerprint-duplicate", "/file"), || {
            let value = value(TEXT);
            with_attributes(&[(INDEX_TRUSTED, NAME, &value), (name_index(0), b"", &value)], TEXT)
        }),
        row("missing", ("fingerprint-missing", "/file"), || {
            with_attributes(&[(INDEX_USER, b"other", b"value")], TEXT)
        }),
        row("hexadecimal", ("fingerprint-hexadecimal", "/file"), || {
            with_attributes(&[(INDEX_TRUSTED, NAME, &hexadecimal(TEXT))], TEXT)
        }),
        row("bare-hexadecimal", ("fingerprint-hexadecimal", "/file"), || {
            with_attributes(&[(INDEX_TRUSTED, NAME, &hexadecimal(TEXT)[7..])], TEXT)
        }),
        row("resized", ("fingerprint-wrong", "/file"), || {
            with_attributes(&[(INDEX_TRUSTED, NAME, &value(TEXT))], &TEXT[..9])
        }),
        row("cut-value", ("fingerprint-length", "/file"), || {
            with_attributes(&[(INDEX_TRUSTED, NAME, &value(TEXT)[..20])], TEXT)
        }),
        row("no-value", ("fingerprint-length", "/file"), || {
            with_attributes(&[(INDEX_TRUSTED, NAME, b"")], TEXT)
        }),
        row("long-value", ("fingerprint-length", "/file"), || {
            with_attributes(&[(INDEX_TRUSTED, NAME, &[b'x'; BLOCK + 1])], b"")
                .into_iter()
                .enumerate()
                // The size of the file, which is at byte 8 of its inode; its content is one hole.
                .map(|(at, byte)| if at == Maker::byte_of(Nid(8)) + 8 { 9 } else { byte })
                .collect::<Vec<u8>>()
        }),
    ]
}

fn odd_fingerprints() -> Vec<Row> {
    vec![
        row("hidden-alias", ("fingerprint-alias", "/file"), || {
            let name = [NAMESPACE, NAME].concat();
            let value = value(TEXT);
            with_attributes(&[(INDEX_NONE, &name, &value), (INDEX_TRUSTED, NAME, &value)], TEXT)
        }),
        row("alias-in-another-namespace", ("fingerprint-alias", "/file"), || {
            let value = value(TEXT);
            with_attributes(&[(INDEX_TRUSTED, NAME, &value), (INDEX_USER, NAME, &value)], TEXT)
        }),
        row("empty-file", ("fingerprint-on-empty", "/file"), || {
            with_attributes(&[(INDEX_TRUSTED, NAME, &value(b""))], b"")
        }),
        row("on-a-link", ("fingerprint-on-other", "/link"), || {
            announced(2, |maker| {
                root(maker, &[(b"link", Nid(8), FileType::Symlink)]);
                let body = xattr_body(0, &[], &[(INDEX_TRUSTED, NAME, &value(b"target"))]);
                maker.inode(8, inode(FileType::Symlink, DataLayout::FlatInline, 6), &body, b"target");
            })
        }),
        row("filtered", ("fingerprint-filtered", "/file"), || {
            announced(2, |maker| {
                maker.superblock.compat |= compat::XATTR_FILTER;
                root(maker, &[(b"file", Nid(8), REG)]);
                let body = xattr_body(u32::MAX, &[], &[(INDEX_TRUSTED, NAME, &value(TEXT))]);
                maker.file(8, &body, TEXT);
            })
        }),
        row("two-contents", ("fingerprint-conflict", "/b"), || {
            announced(3, |maker| {
                root(maker, &[(b"a", Nid(8), REG), (b"b", Nid(12), REG)]);
                let body = xattr_body(0, &[], &[(INDEX_TRUSTED, NAME, b"one value")]);
                maker.file(8, &body, b"one");
                maker.file(12, &body, b"two");
            })
        }),
    ]
}

fn superblocks() -> Vec<Row> {
    vec![
        row("reserved-byte", ("reserved", ""), || with_superblock(&[(106, 1)])),
        row("unknown-compatible-feature", ("unknown-feature", ""), || with_superblock(&[(9, 0x80)])),
        row("bad-checksum", ("checksum", ""), || with_superblock(&[(8, 0x31), (4, 1)])),
        row("prefix-id", ("superblock", ""), || with_superblock(&[(0x69, 7)])),
        row("truncated", ("truncated", ""), || with_superblock(&[])[..11 * BLOCK + 8].to_vec()),
    ]
}

fn directories() -> Vec<Row> {
    vec![
        row("looping", ("directory-loop", "/a/b/back"), || {
            plain(3, |maker| {
                root(maker, &[(b"a", Nid(8), DIR)]);
                directory(maker, 8, Nid(0), &[(b"b", Nid(16), DIR)]);
                directory(maker, 16, Nid(8), &[(b"back", Nid(8), DIR)]);
            })
        }),
        row("bad-order", ("directory-order", "/"), || {
            plain(2, |maker| {
                put_directory(
                    maker,
                    0,
                    &[(b".", Nid(0), DIR), (b"..", Nid(0), DIR), (b"a", Nid(8), REG), (b"b", Nid(8), REG)],
                    0,
                );
                // Both names become one.
                let at = Maker::byte_of(Nid(0)) + 32 + 4 * 12 + 4;
                maker.put(at, b"a");
                maker.inode(8, Inode { nlink: 2, ..inode(REG, DataLayout::FlatPlain, 0) }, &[], &[]);
            })
        }),
        row("wrong-parent", ("dots", "/d"), || {
            plain(2, |maker| {
                root(maker, &[(b"d", Nid(8), DIR)]);
                directory(maker, 8, Nid(8), &[]);
            })
        }),
        row("no-dots", ("dots", "/d"), || {
            plain(2, |maker| {
                root(maker, &[(b"d", Nid(8), DIR)]);
                put_directory(maker, 8, &[(b"..", Nid(0), DIR)], 0);
            })
        }),
        row("wrong-type", ("file-type", "/file"), || {
            plain(2, |maker| {
                root(maker, &[(b"file", Nid(8), FileType::Symlink)]);
                maker.file(8, &[], TEXT);
            })
        }),
        row("few-links", ("link-count", "/b"), || {
            plain(2, |maker| {
                root(maker, &[(b"a", Nid(8), REG), (b"b", Nid(8), REG)]);
                maker.file(8, &[], TEXT);
            })
        }),
        row("many-links", ("link-count", "/a"), || {
            plain(2, |maker| {
                root(maker, &[(b"a", Nid(8), REG)]);
                maker.inode(8, Inode { nlink: 2, ..inode(REG, DataLayout::FlatPlain, 0) }, &[], &[]);
            })
        }),
        row("links-of-a-directory", ("link-count", "/"), || {
            plain(1, |maker| put_directory(maker, 0, &[(b".", Nid(0), DIR), (b"..", Nid(0), DIR)], 1))
        }),
    ]
}

fn places() -> Vec<Row> {
    vec![
        row("cross-linked", ("data-overlap", "/b"), || two_files(flat(9, 1024), flat(10, 512))),
        row("same-start", ("data-overlap", "/a"), || two_files(flat(9, 1024), flat(9, 512))),
        Row { name: "deduplicated", make: || two_files(flat(9, 1024), flat(9, 1024)), found: None },
        row("data-in-metadata", ("metadata-overlap", "/a"), || {
            two_files(flat(u32::try_from(META).unwrap(), 512), flat(9, 512))
        }),
        row("data-in-superblock", ("metadata-overlap", "/a"), || two_files(flat(2, 512), flat(9, 512))),
        row("inodes-overlap", ("metadata-overlap", "/b"), || {
            plain(3, |maker| {
                root(maker, &[(b"a", Nid(8), REG), (b"b", Nid(9), REG)]);
                maker.inode(
                    8,
                    Inode { version: Version::Extended, ..inode(REG, DataLayout::FlatPlain, 0) },
                    &[],
                    &[],
                );
                maker.inode(9, inode(REG, DataLayout::FlatPlain, 0), &[], &[]);
            })
        }),
        row("past-the-end", ("bounds", "/b"), || two_files(flat(9, 512), flat(11, 1024))),
        row("chunk-far-away", ("bounds", "/file"), || chunked(4_000_000, true)),
        row("chunks-not-announced", ("feature-missing", "/file"), || chunked(9, false)),
        row("bad-inode", ("inode", "/file"), || {
            plain(2, |maker| {
                root(maker, &[(b"file", Nid(8), REG)]);
                maker.file(8, &[], TEXT);
                maker.put(Maker::byte_of(Nid(8)), &[0x0f]);
            })
        }),
        row("xattrs-past-their-end", ("xattr", "/file"), || {
            let mut body = xattr_body(0, &[], &[(INDEX_USER, b"a", b"value")]);
            body[14..16].copy_from_slice(&u16::MAX.to_le_bytes());
            plain(2, |maker| {
                root(maker, &[(b"file", Nid(8), REG)]);
                maker.file(8, &body, TEXT);
            })
        }),
        row("chunk-format-of-a-pipe", ("inode", "/pipe"), || {
            plain(2, |maker| {
                root(maker, &[(b"pipe", Nid(8), FileType::Fifo)]);
                let record = Inode { i_u: 0x100, ..inode(FileType::Fifo, DataLayout::ChunkBased, 0) };
                maker.inode(8, record, &[], &[]);
            })
        }),
        row("empty-link", ("symlink", "/link"), || {
            plain(2, |maker| {
                root(maker, &[(b"link", Nid(8), FileType::Symlink)]);
                maker.inode(8, inode(FileType::Symlink, DataLayout::FlatPlain, 0), &[], &[]);
            })
        }),
    ]
}

/// A compressed file (nid 8) with an index of four entries, and a flat one (nid 16), whose blocks are where
/// it says.
fn compressed_and_flat(block: u32) -> Vec<u8> {
    plain(3, |maker| {
        maker.superblock.incompat = incompat::LZ4_0PADDING;
        root(maker, &[(b"compressed", Nid(8), REG), (b"flat", Nid(40), REG)]);
        // Four lclusters, each a pcluster of one block that is stored as it is, and an index of 8 bytes for
        // each behind the map header and 8 reserved bytes.
        let mut index = vec![0_u8; 16];
        for number in 0..4_u32 {
            index.extend_from_slice(&[0; 4]);
            index.extend_from_slice(&(7 + number).to_le_bytes());
        }
        let record = Inode { i_u: 4, ..inode(REG, DataLayout::CompressedFull, 4 * BLOCK as u64) };
        maker.inode(8, record, &[], &index);
        maker.inode(40, flat(block, 512), &[], &[]);
    })
}

/// Two compressed files (nids 8 and 16) of one block of 512 bytes each, which are stored in the same block.
/// LZ4 is the one, and the type of the other's index entry is given: 0 for bytes as they are, 1 for LZ4.
fn one_pcluster(second: u32) -> Vec<u8> {
    plain(3, |maker| {
        maker.superblock.incompat = incompat::LZ4_0PADDING;
        root(maker, &[(b"a", Nid(8), REG), (b"b", Nid(16), REG)]);
        for (nid, kind) in [(8, 1), (16, second)] {
            let mut index = vec![0_u8; 16];
            index.extend_from_slice(&u32::to_le_bytes(kind));
            index.extend_from_slice(&9_u32.to_le_bytes());
            let record = Inode { i_u: 1, ..inode(REG, DataLayout::CompressedFull, BLOCK as u64) };
            maker.inode(nid, record, &[], &index);
        }
        // 1 letter, a match of 506 bytes, and 5 letters, at the end of the block.
        let encoded = [0x1f, b'a', 1, 0, 255, 232, 0x50, b'a', b'a', b'a', b'a', b'a'];
        maker.put(10 * BLOCK - encoded.len(), &encoded);
    })
}

/// Two files with one shared attribute, which stands in block `area`, and the first of them with a block of
/// its own.
fn shared_attribute(area: u32) -> Vec<u8> {
    plain(3, |maker| {
        maker.superblock.xattr_blkaddr = area;
        root(maker, &[(b"a", Nid(8), REG), (b"b", Nid(16), REG)]);
        let mut entry = Vec::new();
        Entry { name_index: INDEX_USER, name: b"note", value: b"shared by both" }.encode(&mut entry).unwrap();
        maker.put(area as usize * BLOCK + 8, &entry);
        let body = xattr_body(0, &[2], &[]);
        maker.inode(8, flat(9, 512), &body, &[]);
        maker.inode(16, inode(REG, DataLayout::FlatPlain, 0), &body, &[]);
    })
}

fn areas() -> Vec<Row> {
    vec![
        Row { name: "compressed", make: || compressed_and_flat(11), found: None },
        // The index of the compressed file goes from byte 1536 + 8 * 32 + 48 on.
        row("data-in-compressed-index", ("metadata-overlap", "/compressed"), || compressed_and_flat(3)),
        Row { name: "one-pcluster", make: || one_pcluster(1), found: None },
        row("one-pcluster-two-codings", ("data-overlap", "/a"), || one_pcluster(0)),
        Row { name: "shared-attribute", make: || shared_attribute(10), found: None },
        row("data-in-shared-attributes", ("metadata-overlap", ""), || shared_attribute(9)),
        // Right, and not in canonical form.
        Row {
            name: "unused-features",
            make: || {
                plain(2, |maker| {
                    maker.superblock.incompat = incompat::CHUNKED_FILE;
                    maker.superblock.compat = compat::XATTR_FILTER;
                    root(maker, &[(b"file", Nid(8), REG)]);
                    maker.file(8, &[], TEXT);
                })
            },
            found: None,
        },
        row("few-inodes", ("inode-count", ""), || with_superblock(&[(16, 1)])),
        row("many-inodes", ("inode-count", ""), || with_superblock(&[(20, 1)])),
    ]
}

fn rows() -> Vec<Row> {
    [fingerprints(), odd_fingerprints(), superblocks(), directories(), places(), areas()]
        .into_iter()
        .flatten()
        .collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/hostile/verify")
}

fn path_of(name: &str) -> PathBuf {
    folder().join(format!("{name}.img"))
}

fn verify<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(ISHARE).arg("verify").args(arguments).output().unwrap()
}

/// The findings of a run with `--json`, as code and path.
fn findings(output: &Output) -> Vec<(String, String)> {
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |finding: &Value| {
        let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        (text("code"), text("path"))
    };
    json["images"][0]["findings"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn wrong_images_are_found_by_name() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for row in rows() {
        let made = (row.make)();
        let path = path_of(row.name);
        if update {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&path, &made).unwrap();
        }
        let kept = fs::read(&path).unwrap();
        assert!(kept == made, "{}: the file is not what its row makes; UPDATE_GOLDEN=1 writes it", row.name);
        let output = verify([OsStr::new("--json"), path.as_os_str()]);
        let found = findings(&output);
        let Some((code, at)) = row.found else {
            assert_eq!((output.status.code(), found), (Some(0), Vec::new()), "{}", row.name);
            continue;
        };
        assert_eq!(output.status.code(), Some(4), "{}: {found:?}", row.name);
        let is_it = |(name, path): &(String, String)| name == code && path.starts_with(at);
        assert!(found.iter().any(is_it), "{}: {found:?}", row.name);
        assert!(found.len() <= 3, "{}: {found:?}", row.name);
    }
}

#[test]
fn every_image_of_the_folder_has_a_row() {
    let rows = rows();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        assert!(rows.iter().any(|row| path_of(row.name) == path), "{}", path.display());
    }
}

/// Every byte changed: a report or an error, never a panic, and no error without a reason.
#[test]
fn no_byte_brings_the_check_down() {
    let image = with_attributes(&[(INDEX_TRUSTED, NAME, &value(TEXT))], TEXT);
    let options = Options { threads: 1, profile: Some(erofs_check::Profile::Hardened), ..Options::default() };
    let mut wrong = 0_u32;
    for at in (1024..1024 + 160).chain(META * BLOCK..META * BLOCK + 9 * 32).chain(11 * BLOCK..11 * BLOCK + 8)
    {
        for change in [|byte: u8| byte ^ 1, |byte: u8| byte ^ 0x80, |_| 0xff, |_| 0] {
            let mut bytes = image.clone();
            bytes[at] = change(bytes[at]);
            let report = check(&Source::new(Arc::new(bytes), Vec::new()), &options);
            wrong += u32::from(report.is_err_and(|error| !error.to_string().contains("device")));
        }
    }
    assert_eq!(wrong, 0);
}

/// Builds an image of a tree with fingerprints.
fn build(dir: &Path, tree: &Path, options: &[&str], name: &str) -> PathBuf {
    let image = dir.join(name);
    let key = ["--quiet", "-T0", "--all-root", "--ishare-key=trusted.erofs.fingerprint"];
    let output = Command::new(MKFS).args(key).args(options).args([&image, tree]).output().unwrap();
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    image
}

#[test]
fn our_images_are_right_and_hardened() {
    let Some(()) = need("verify of our images", erofs_testkit::require::root()) else { return };
    let dir = place::scratch().unwrap();
    let tree = trees::one_of_each().unwrap();
    trees::many_entries(tree.path(), 300).unwrap();
    for options in [
        &[][..],
        &["-b512"],
        &["-x0"],
        &["-x-1"],
        &["--chunksize=4096"],
        &["--chunksize=65536", "-Eforce-chunk-indexes"],
        &["-Eforce-inode-extended", "-E^inline_data"],
        &["--ishare-digest=blake3"],
    ] {
        let image = build(dir.path(), tree.path(), options, "plain.img");
        let output = verify([OsStr::new("--profile=hardened"), image.as_os_str()]);
        assert_eq!(output.status.code(), Some(0), "{options:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
    for options in [
        &["-zlz4"][..],
        &["-zzstd", "-C65536", "-Eall-fragments"],
        &["-zlz4", "-Eztailpacking"],
        &["-zdeflate", "-E48bit"],
    ] {
        let image = build(dir.path(), tree.path(), options, "compressed.img");
        let output = verify([&image]);
        assert_eq!(output.status.code(), Some(0), "{options:?}: {}", String::from_utf8_lossy(&output.stdout));
        let output = verify([OsStr::new("--profile=core"), image.as_os_str()]);
        assert_eq!(output.status.code(), Some(4), "{options:?}");
    }
}

/// The ways in which `mkfs.erofs` makes images. `{blob}` stands for a file for the data.
const MODES: [&str; 65] = [
    "",
    "-x-1",
    "-x0",
    "-x1",
    "-x255",
    "-b512",
    "-b512 -Enoinline_data",
    "-b1024",
    "-b2048",
    "-T0",
    "-Eforce-inode-compact",
    "-Eforce-inode-extended",
    "-Eforce-inode-extended --xattr-inode-digest=trusted.fp",
    "-Enosbcrc",
    "-Exattr-name-filter",
    "-E48bit",
    "-E^inline_data",
    "--mount-point=/a/b",
    "--all-root",
    "--uid-offset=100000",
    "--hard-dereference",
    "--root-xattr-isize=1024",
    "--sort=none",
    "--dsunit=16",
    "--fsalignblks=8",
    "--xattr-prefix=user. --xattr-prefix=trusted.",
    "--xattr-prefix=user. -Eplain-xattr-prefixes",
    "--chunksize=4096",
    "--chunksize=4096 --xattr-inode-digest=trusted.fp",
    "--chunksize=65536 -Eforce-chunk-indexes",
    "--chunksize=4096 -Eforce-inode-blockmap",
    "--chunksize=4096 --blobdev={blob}",
    "--chunksize=65536 --blobdev={blob}",
    "-zlz4",
    "-zlz4 --xattr-inode-digest=trusted.fp",
    "-zlz4 -Elegacy-compress",
    "-zlz4 -E^inline_data",
    "-zlz4hc,9 -C65536",
    "-zlz4hc,9 -C65536 -Elegacy-compress",
    "-zlz4 -Eztailpacking",
    "-zlz4 -Efragments",
    "-zlz4 -Efragdedupe=inode,fragments",
    "-zlz4 -Eall-fragments,dedupe -C65536",
    "-zlz4 -Ededupe",
    "-zlz4 -E48bit",
    "-zlz4 -E48bit,fragments,dedupe",
    "-zlz4 -b512",
    "-zlz4 --zD=1",
    "-zlz4 -m4096",
    "-zlz4 --max-extent-bytes=65536",
    "-zlzma -C1048576",
    "-zlzma,6 -C16384 -Ededupe",
    "-zdeflate,9 -C16384",
    "-zdeflate,9 -C16384 -Ededupe",
    "-zdeflate -E48bit -C1048576",
    "-zzstd -C65536",
    "-zzstd,3 -C65536 -E48bit --xattr-inode-digest=trusted.fp",
    "-zzstd -C65536 -m32768",
    "-zlz4:zstd -C65536",
    "--tar=f",
    "--tar=f --xattr-inode-digest=trusted.fp",
    "--tar=f -zlz4",
    "--tar=f --chunksize=4096",
    "--tar=f --ovlfs-strip=1",
    "--tar=i",
];

/// The mode whose images have what `fsck.erofs` does not look at: files made of chunks in an image that does
/// not announce any. Linux reads them, because it does not look at that bit either; a reader that has no
/// chunks would not be warned.
const UNANNOUNCED: &str = "--tar=i";

/// A small tree with everything that makes the modes differ.
fn small_tree(tree: &Path) {
    content::write_lengths(tree, &content::edges(4096)).unwrap();
    trees::many_entries(&tree.join("many"), 300).unwrap();
    let text = |from: u32| (from..from + 60_000).flat_map(|line| format!("{line}\n").into_bytes());
    for (name, from) in [("text", 0), ("copy", 0), ("shifted", 77)] {
        fs::write(tree.join(name), text(from).collect::<Vec<u8>>()).unwrap();
        xattr::set(tree.join(name), "user.shared", b"the same for some files").unwrap();
        xattr::set(tree.join(name), "trusted.own", name.as_bytes()).unwrap();
    }
    content::sparse(&tree.join("sparse"), 1 << 20, &[(300_000, content::noise(3, 5000))]).unwrap();
    fs::hard_link(tree.join("text"), tree.join("many/link")).unwrap();
    std::os::unix::fs::symlink("many/link", tree.join("symlink")).unwrap();
}

#[test]
fn images_of_mkfs_erofs_are_judged_as_by_fsck_erofs() {
    let check = "verify beside fsck.erofs";
    let Some(peers) = need(check, peers::find()) else { return };
    let Some(()) = need(check, erofs_testkit::require::root()) else { return };
    let dir = place::scratch().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (image, blob, tree, archive) = (path("image"), path("blob"), path("tree"), path("tree.tar"));
    fs::create_dir_all(tree.join("many")).unwrap();
    small_tree(&tree);
    let mut tar = Command::new("tar");
    let tar = tar.args(["--format=posix", "--xattrs", "--xattrs-include=*", "-C"]).arg(&tree).arg("-cf");
    assert!(tar.arg(&archive).arg(".").output().unwrap().status.success());
    for mode in MODES {
        let options = mode.replace("{blob}", &blob.display().to_string());
        let options: Vec<&str> = options.split(' ').filter(|option| !option.is_empty()).collect();
        let source = if mode.starts_with("--tar") { &archive } else { &tree };
        let device = if mode.contains("{blob}") { Some(&blob) } else { None };
        let device = device.or_else(|| (mode == UNANNOUNCED).then_some(&archive));
        drop(fs::remove_file(&blob));
        peers.build(&options, &image, source).unwrap();
        let device: Vec<String> = device.iter().map(|path| format!("--device={}", path.display())).collect();
        let mut theirs = peers.check(&device, &image).is_ok();
        if mode.contains("digest") {
            let digests = Command::new(&peers.fsck).arg("--xattr-inode-digest").arg(&image).output().unwrap();
            theirs &= digests.status.success();
        }
        let output = verify(device.iter().map(OsStr::new).chain([OsStr::new("--json"), image.as_os_str()]));
        let found = findings(&output);
        assert!(theirs, "{mode}: fsck.erofs");
        if mode == UNANNOUNCED {
            assert_eq!(output.status.code(), Some(4), "{mode}: {found:?}");
            assert!(found.iter().all(|(code, _)| code == "feature-missing"), "{mode}: {found:?}");
        } else {
            assert_eq!((output.status.code(), found), (Some(0), Vec::new()), "{mode}");
        }
    }
}

/// A file of 2^42 bytes, all of them holes, has a fingerprint that nobody can wait for.
#[test]
fn contents_without_end_are_not_read() {
    let image = announced(2, |maker| {
        maker.superblock.incompat |= incompat::CHUNKED_FILE;
        root(maker, &[(b"file", Nid(8), REG)]);
        let format = ChunkFormat { blkbits: 31, indexes: false, wide: false };
        let mut table = Vec::new();
        for _ in 0..4 {
            encode_entry(format, None, &mut table).unwrap();
        }
        let record = inode(REG, DataLayout::ChunkBased, 1 << 42);
        let record = Inode { i_u: format.encode(), version: Version::Extended, ..record };
        maker.inode(8, record, &xattr_body(0, &[], &[(INDEX_TRUSTED, NAME, &value(TEXT))]), &table);
    });
    let dir = place::scratch().unwrap();
    let path = dir.path().join("image");
    fs::write(&path, image).unwrap();
    let output = verify([&path]);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(8), "{text}");
    let want = "/file: contents: found more than 1099512020992 bytes, want no more than is read of an image of this size";
    assert!(text.contains(want), "{text}");
}

/// Files of 32 MiB and more come before all others, and two threads read and hash each of them.
#[test]
fn large_files_are_read_to_their_ends() {
    const LENGTH: usize = 33 << 20;
    let Some(()) = need("verify of large files", erofs_testkit::require::root()) else { return };
    let dir = place::scratch().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("large"), content::noise(1, LENGTH)).unwrap();
    fs::write(tree.join("small"), content::noise(2, 5000)).unwrap();
    let holes = [(1 << 20, content::noise(3, 700_000)), ((40 << 20) - 100, content::noise(4, 50))];
    content::sparse(&tree.join("sparse"), 40 << 20, &holes).unwrap();
    let image = build(dir.path(), &tree, &["--chunksize=4096"], "image");
    let output = verify([&image]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("3 fingerprints compared with 73.0 MiB"), "{text}");
    // Where the last bytes of the large file are.
    let mut bytes = fs::read(&image).unwrap();
    let end = &fs::read(tree.join("large")).unwrap()[LENGTH - 4096..];
    let at = bytes.chunks(4096).position(|block| block == end).unwrap() * 4096;
    bytes[at] ^= 1;
    let changed = dir.path().join("changed");
    fs::write(&changed, &bytes).unwrap();
    // Metadata comes behind the contents, so that an image that is cut there has none.
    for (length, code, path) in
        [(bytes.len(), "fingerprint-wrong", "/large"), (at, "truncated", ""), (at, "bounds", "/")]
    {
        fs::File::options().write(true).open(&changed).unwrap().set_len(length as u64).unwrap();
        let found = findings(&verify([OsStr::new("--json"), changed.as_os_str()]));
        assert!(found.contains(&(code.to_owned(), path.to_owned())), "{length}: {found:?}");
    }
}

#[test]
fn a_poisoned_domain_is_found_beforehand() {
    let dir = place::scratch().unwrap();
    let put = |name: &str, bytes: Vec<u8>| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    // A value of no kind: only the comparison of both images can tell.
    let good = put("good.img", with_attributes(&[(INDEX_TRUSTED, NAME, b"opaque value")], TEXT));
    let evil =
        put("evil.img", with_attributes(&[(INDEX_TRUSTED, NAME, b"opaque value")], b"EVIL text of a fil"));
    for image in [&good, &evil] {
        assert_eq!(verify([image]).status.code(), Some(0));
    }
    assert_eq!(verify([&good, &evil]).status.code(), Some(0));
    let output = verify([OsStr::new("--domain"), good.as_os_str(), evil.as_os_str()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4), "{text}");
    let line = text.lines().find(|line| line.contains("domain-conflict")).unwrap();
    for part in ["evil.img:/file", "good.img:/file", "18 bytes with digest"] {
        assert!(line.contains(part), "{line}");
    }
    let output = verify([OsStr::new("--domain"), good.as_os_str(), good.as_os_str()]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn forms_and_exit_codes() {
    let dir = place::scratch().unwrap();
    let right = path_of("right");
    let forged = path_of("forged");
    let unused = path_of("unused-features");
    let (right, forged, unused) =
        (right.to_str().unwrap(), forged.to_str().unwrap(), unused.to_str().unwrap());
    let missing = dir.path().join("missing");
    let missing = missing.to_str().unwrap();
    for (arguments, code, out) in [
        (vec![right], 0, "right (2 inodes, 1 fingerprint compared with"),
        (vec![forged], 4, "fingerprint-wrong: /file: nid 8: sha256: found sha256:"),
        (vec![missing], 8, "not wholly read"),
        (vec![forged, missing], 12, "fingerprint-wrong"),
        (vec![], 16, ""),
        (vec!["--wrong"], 16, ""),
        (vec!["--json", "--junit", right], 16, ""),
        (vec!["--device=x", right, forged], 16, ""),
        (vec!["--verity", "--offset=512", right], 16, ""),
        (vec!["--verity", right], 4, "verity: dm-verity hash tree: found none behind the image"),
        (vec!["--help"], 0, "Check images"),
        (vec!["--junit", right], 0, "<testcase classname="),
        (vec!["--junit", forged], 4, "<failure message=\"fingerprint-wrong: /file"),
        (vec!["--profile=hardened", right], 4, "not-canonical: superblock.feature_compat: found no checksum"),
        (
            vec!["--profile=hardened", unused],
            4,
            "superblock.feature_incompat: found chunked_file, which nothing makes use of",
        ),
        (
            vec!["--profile=hardened", unused],
            4,
            "superblock.feature_compat: found xattr_filter, which nothing makes use of",
        ),
        (vec![unused], 0, "right"),
    ] {
        let output = verify(&arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(out), "{arguments:?}: {text}");
    }
}

#[test]
fn a_golden_image_is_checked_from_signature_to_content() {
    let dir = place::scratch().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), content::noise(1, 20_000)).unwrap();
    let root = dir.path().join("root");
    let root_option = format!("--verity-roothash={}", root.display());
    let image = build(dir.path(), &tree, &["--verity", &root_option], "golden.img");
    let named = format!("--roothash={}", root.display());
    let run = |options: &[&str]| {
        let output = verify(options.iter().map(OsStr::new).chain([image.as_os_str()]));
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&["--verity", &named]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&fs::read_to_string(&root).unwrap()), "{text}");
    let (code, text) = run(&["--verity"]);
    assert!(code == Some(0) && text.contains("compared with nothing"), "{text}");
    let (code, text) = run(&["--verity", &format!("--roothash={}", "0".repeat(64))]);
    assert!(code == Some(4) && text.contains("verity: dm-verity hash tree: found root hash"), "{text}");
    let mut bytes = fs::read(&image).unwrap();
    bytes[1024 + 70] ^= 1;
    fs::write(&image, bytes).unwrap();
    let (code, text) = run(&["--verity", &named]);
    assert!(code == Some(4) && text.contains("data block 0 at byte 0"), "{text}");
}
