//! Extended attributes and fingerprints of small images made by hand.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

mod common;

use common::{BLOCK, Maker, inode, xattr_body};
use erofs_format::Nid;
use erofs_format::datalayout::DataLayout;
use erofs_format::feature::{compat, incompat};
use erofs_format::filetype::FileType;
use erofs_format::inode::Inode;
use erofs_format::xattr::{self, BodyHeader, Entry, INDEX_NONE, INDEX_TRUSTED, INDEX_USER};
use erofs_format::xattr_prefix::{LongPrefix, name_index};
use erofs_image::{Fingerprint, Follow, Image, Private};

/// Where the prefix table and the shared xattrs stand, in blocks.
const PREFIXES: usize = 8;
const SHARED: usize = 9;

/// An image with the file `/file` (nid 8) that has this xattr body, and with these long prefixes.
fn with_xattrs(body: &[u8], prefixes: &[&[u8]], ishare: Option<u8>) -> Maker {
    let mut maker = Maker::new(28);
    maker.dir(0, Nid(0), &[(b"file", Nid(8), FileType::Regular)]);
    maker.file(8, body, b"");
    maker.superblock.xattr_blkaddr = u32::try_from(SHARED).unwrap();
    let mut table = Vec::new();
    for prefix in prefixes {
        LongPrefix::of(prefix).unwrap().encode(&mut table).unwrap();
    }
    if !prefixes.is_empty() {
        maker.put(PREFIXES * BLOCK, &table);
        maker.superblock.incompat |= incompat::XATTR_PREFIXES;
        maker.superblock.compat |= compat::PLAIN_XATTR_PFX;
        maker.superblock.xattr_prefix_count = u8::try_from(prefixes.len()).unwrap();
        maker.superblock.xattr_prefix_start = u32::try_from(PREFIXES * BLOCK / 4).unwrap();
    }
    if let Some(number) = ishare {
        maker.superblock.compat |= compat::ISHARE_XATTRS;
        maker.superblock.ishare_xattr_prefix_id = number;
    }
    maker
}

fn file(image: &Image) -> erofs_image::Inode {
    image.resolve(b"/file", Follow::Never).unwrap()
}

/// Name, value, hidden, shared.
type Row = (String, Vec<u8>, bool, bool);

/// What is listed, or the error.
fn listed(maker: &Maker) -> Result<Vec<Row>, String> {
    let image = maker.open().map_err(|error| error.to_string())?;
    let list = image.xattrs(&file(&image)).map_err(|error| error.to_string())?;
    list.map(|xattr| {
        let xattr = xattr.map_err(|error| error.to_string())?;
        Ok((String::from_utf8(xattr.name).unwrap(), xattr.value, xattr.hidden, xattr.shared))
    })
    .collect()
}

#[test]
fn inline_ones_come_first_under_their_full_names() {
    let mut shared = Vec::new();
    Entry { name_index: name_index(1), name: b"opaque", value: b"y" }.encode(&mut shared).unwrap();
    let second = u32::try_from(shared.len() / 4).unwrap();
    Entry { name_index: INDEX_USER, name: b"s", value: b"" }.encode(&mut shared).unwrap();
    let mut body = xattr_body(
        0,
        &[second, 0],
        &[(INDEX_USER, b"a", b"1"), (name_index(0), b"", b"print"), (INDEX_NONE, b"own", b"2")],
    );
    // Zeros behind the last entry are no attributes: mkfs.erofs leaves such room where --root-xattr-isize
    // asks for it.
    body.extend([0; 8]);
    let mut maker = with_xattrs(&body, &[b"erofs.key", b"trusted.overlay."], None);
    maker.put(SHARED * BLOCK, &shared);
    let name = |name: &str, value: &[u8], hidden, shared| (name.to_owned(), value.to_vec(), hidden, shared);
    assert_eq!(
        listed(&maker).unwrap(),
        [
            name("user.a", b"1", false, false),
            name("erofs.key", b"print", true, false),
            name("own", b"2", true, false),
            name("user.s", b"", false, true),
            name("trusted.overlay.opaque", b"y", false, true),
        ]
    );
    let image = maker.open().unwrap();
    let file = file(&image);
    for (name, want) in [
        (&b"user.a"[..], Some(&b"1"[..])),
        (b"user.s", Some(b"")),
        (b"trusted.overlay.opaque", Some(b"y")),
        (b"trusted.overlay.opaqu", None),
        (b"user.overlay.opaque", None),
        (b"erofs.key", None),
        (b"nonsense", None),
    ] {
        assert_eq!(image.xattr(&file, name).unwrap().as_deref(), want, "{}", String::from_utf8_lossy(name));
    }
    assert_eq!(
        image.xattr_by_index(&file, INDEX_NONE, b"erofs.key").unwrap().as_deref(),
        Some(&b"print"[..])
    );
}

#[test]
fn the_name_filter_is_believed_where_it_counts() {
    let present = xattr::filter_bit(INDEX_USER, b"a");
    let absent = BodyHeader::filter_of(0);
    for (name, filter, bits, reserved, want) in [
        ("right filter", BodyHeader::filter_of(present), compat::XATTR_FILTER, 0, true),
        ("filter that denies it", absent, compat::XATTR_FILTER, 0, false),
        ("no filter feature", absent, 0, 0, true),
        ("filter of another kind", absent, compat::XATTR_FILTER, 1, true),
    ] {
        let body = xattr_body(filter, &[], &[(INDEX_USER, b"a", b"1")]);
        let mut maker = with_xattrs(&body, &[], None);
        maker.superblock.compat |= bits;
        maker.superblock.xattr_filter_reserved = reserved;
        let image = maker.open().unwrap();
        assert_eq!(image.xattr(&file(&image), b"user.a").unwrap().is_some(), want, "{name}");
        assert_eq!(listed(&maker).unwrap().len(), 1, "{name}");
    }
}

#[test]
fn fingerprints_are_taken_as_the_kernel_takes_them() {
    let key = b"trusted.erofs.fp";
    let long = vec![b'v'; BLOCK];
    let value = |value: &[u8]| Fingerprint::Value(value.to_vec());
    let private = Fingerprint::Private;
    let under = |index, name: &'static [u8], value: &[u8]| xattr_body(0, &[], &[(index, name, value)]);
    let cases: [(&str, Vec<u8>, Fingerprint); 9] = [
        ("under the prefix", under(name_index(1), b"", b"sum"), value(b"sum")),
        ("spelled out", under(INDEX_TRUSTED, b"erofs.fp", b"sum"), value(b"sum")),
        ("under another prefix", under(name_index(0), b"fp", b"sum"), value(b"sum")),
        ("one block long", under(name_index(1), b"", &long), value(&long)),
        (
            "longer",
            under(name_index(1), b"", &[&long[..], b"v"].concat()),
            private(Private::TooLong { length: 513, limit: 512 }),
        ),
        ("empty", under(name_index(1), b"", b""), private(Private::Empty)),
        ("another name", under(name_index(1), b".more", b"sum"), private(Private::Absent)),
        ("another namespace", under(INDEX_USER, b"erofs.fp", b"sum"), private(Private::Absent)),
        ("no xattrs", Vec::new(), private(Private::Absent)),
    ];
    for (name, body, want) in cases {
        let image = with_xattrs(&body, &[b"trusted.erofs.", key], Some(1)).open().unwrap();
        assert_eq!(image.fingerprint(&file(&image)).unwrap(), want, "{name}");
        assert_eq!(image.fingerprint(&image.root().unwrap()).unwrap(), private(Private::NotAFile), "{name}");
        assert_eq!(image.ishare_prefix().unwrap().unwrap().full(0).unwrap(), key);
    }
    let body = under(name_index(1), b"", b"sum");
    let image = with_xattrs(&body, &[b"trusted.erofs.", key], None).open().unwrap();
    assert_eq!(image.fingerprint(&file(&image)).unwrap(), private(Private::NoFeature));
    let hidden = under(name_index(0), b"", b"sum");
    let image = with_xattrs(&hidden, &[b"erofs.fingerprint.v1"], Some(0)).open().unwrap();
    assert_eq!(image.fingerprint(&file(&image)).unwrap().value(), Some(&b"sum"[..]));
}

#[test]
fn wrong_attributes_are_errors_with_a_place() {
    let long = vec![b'v'; 100];
    let cut = |mut body: Vec<u8>, length: usize| {
        body.truncate(length);
        body
    };
    let cases: [(&str, Vec<u8>, &str); 7] = [
        (
            "entry past the end",
            cut(xattr_body(0, &[], &[(INDEX_USER, b"a", &long)]), 40),
            "nid 8: xattr entry size at byte 1836: found 108, want at most 28, the end of the inode's xattrs",
        ),
        (
            "shared ids past the end",
            {
                let mut body = xattr_body(0, &[], &[(INDEX_USER, b"a", b"")]);
                body[4] = 9;
                body
            },
            "nid 8: xattr header h_shared_count at byte 1828: found 9, want what fits into 20 bytes of xattrs",
        ),
        (
            "shared id past the image",
            xattr_body(0, &[1 << 20], &[]),
            "nid 8: shared xattr entry at byte 4198912: found 4 bytes, want an end within the image, which has 14336 bytes",
        ),
        (
            "prefix that is not there",
            xattr_body(0, &[], &[(name_index(3), b"a", b"")]),
            "nid 8: xattr entry e_name_index at byte 1837: found 0x83, want a number below xattr_prefix_count, which is 1",
        ),
        (
            "namespace that is not there",
            xattr_body(0, &[], &[(5, b"a", b"")]),
            "nid 8: xattr entry e_name_index at byte 1837: found 0x5, want 0 to 4, 6, or a long prefix",
        ),
        (
            "NUL in a name",
            xattr_body(0, &[], &[(INDEX_USER, b"a\0b", b"")]),
            "nid 8: xattr name at byte 1836: found user.a\\x00b, want a name without NUL",
        ),
        (
            "only a header",
            xattr_body(0, &[], &[]),
            "nid 8: inode.i_xattr_icount at byte 1794: found 1, want 0, or 2 and more",
        ),
    ];
    for (name, body, want) in cases {
        let maker = with_xattrs(&body, &[b"user.p."], None);
        assert_eq!(listed(&maker).unwrap_err(), want, "{name}");
    }
    // What cannot be named matches nothing, but does not stand in the way of what is asked for.
    let body = xattr_body(0, &[], &[(name_index(3), b"a", b""), (INDEX_USER, b"b", b"1")]);
    let image = with_xattrs(&body, &[b"user.p."], None).open().unwrap();
    assert_eq!(image.xattr(&file(&image), b"user.b").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn links_are_read_as_linux_takes_them() {
    let link = |target: &[u8], size: u64| {
        let mut maker = Maker::new(8);
        maker.dir(0, Nid(0), &[(b"l", Nid(8), FileType::Symlink)]);
        let record = Inode { i_u: u32::MAX, ..inode(FileType::Symlink, DataLayout::FlatPlain, size) };
        if size == target.len() as u64 {
            maker.link(8, target);
        } else {
            maker.inode(8, record, &[], &[]);
        }
        let image = maker.open().unwrap();
        let inode = image.resolve(b"/l", Follow::Never).unwrap();
        image.link_target(&inode).map_err(|error| error.to_string())
    };
    assert_eq!(link(b"target", 6).unwrap(), b"target");
    let want = "want 1 to 4095 bytes without NUL";
    assert_eq!(
        link(b"a\0b", 3).unwrap_err(),
        format!("nid 8: symbolic link at byte 1792: found a NUL byte, {want}")
    );
    for size in [0, 4096, u64::from(u32::MAX)] {
        let found = format!("found a symbolic link of {size} bytes");
        assert_eq!(
            link(b"xx", size).unwrap_err(),
            format!("nid 8: symbolic link at byte 1792: {found}, {want}")
        );
    }
}
