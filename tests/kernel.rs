//! The running kernel is the judge: images are built, mounted by loop device and straight from the file, and
//! every path is compared with the source.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use erofs_testkit::compare::assert_same;
use erofs_testkit::require::need;
use erofs_testkit::{
    Backing, Digest, Expect, Fingerprint, Mount, content, corpora, mount, peers, place, trees,
};

/// The builder under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");

/// The attribute that the images of these tests carry fingerprints in, and the option that asks for it.
const KEY: &str = "trusted.erofs.fingerprint";
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";

/// How the data of regular files can be laid out, and the options that ask for it.
const LAYOUTS: [(&str, &[&str]); 7] = [
    ("flat inline", &[]),
    ("flat plain", &["-E^inline_data"]),
    ("chunks of 4 KiB", &["--chunksize=4096"]),
    ("chunks of 64 KiB", &["--chunksize=65536"]),
    ("chunk indexes", &["--chunksize=4096", "-Eforce-chunk-indexes"]),
    ("block maps", &["--chunksize=4096", "-Eforce-inode-blockmap"]),
    ("extended inodes", &["-Eforce-inode-extended"]),
];

/// Builds an image of `source` in a directory of its own.
fn build(options: &[&str], source: &Path) -> (tempfile::TempDir, PathBuf) {
    let dir = place::disk_scratch().unwrap();
    let image = dir.path().join("image");
    if let Err(error) = peers::build(MKFS, options, &image, source) {
        panic!("{options:?}: {error}");
    }
    (dir, image)
}

/// Builds an image of `source`, mounts it in these ways and compares.
fn check(options: &[&str], source: &Path, backings: &[Backing], expect: &Expect) {
    let (_dir, image) = build(options, source);
    for &backing in backings {
        let what = format!("{options:?}, mounted by {backing:?}");
        let mounted = Mount::new(&image, backing).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same(source, mounted.path(), expect, &what);
    }
}

#[test]
fn one_of_each_thing() {
    let Some(backings) = need("the kernel reads one of each thing", mount::both()) else { return };
    let source = trees::one_of_each().unwrap();
    check(&[KEY_OPTION], source.path(), &backings, &Expect::with_sha256(KEY));
    check(&["--chunksize=4096"], source.path(), &[Backing::Loop], &Expect::default());
}

#[test]
fn an_empty_directory() {
    let Some(backings) = need("the kernel reads an empty directory", mount::both()) else { return };
    let source = place::scratch().unwrap();
    check(&[KEY_OPTION], source.path(), &backings, &Expect::with_sha256(KEY));
}

/// What options change about a tree, one row for each.
#[test]
fn options_that_change_the_tree() {
    let Some(()) = need("the kernel reads images with each option", mount::supported(Backing::Loop)) else {
        return;
    };
    let source = trees::one_of_each().unwrap();
    let plain = Expect::default;
    let printed = |name: &str, digest| Expect {
        fingerprint: Some(Fingerprint { name: name.into(), digest }),
        ..Expect::default()
    };
    let at = Some((1_700_000_000, 0));
    let rows: Vec<(&[&str], Expect)> = vec![
        (&["--ishare-key=user.print"], printed("user.print", Digest::Sha256)),
        (
            &["--ishare-key=security.print", "--ishare-digest=blake3"],
            printed("security.print", Digest::Blake3),
        ),
        (&["--ishare-key=trusted.a.b.c", "--ishare-digest=sha512"], printed("trusted.a.b.c", Digest::Sha512)),
        // The default name has no namespace that Linux would list.
        (&["--ishare-key"], plain()),
        (&[KEY_OPTION, "--no-file-dedupe"], Expect::with_sha256(KEY)),
        (&["-x-1"], Expect { xattrs: false, ..plain() }),
        (&["-x0"], plain()),
        (&["-x1", KEY_OPTION], Expect::with_sha256(KEY)),
        (&["-x1000"], plain()),
        (
            &["--xattr-prefix=user.prefix.of", "--xattr-prefix=trusted.oth", KEY_OPTION],
            Expect::with_sha256(KEY),
        ),
        (&["--all-root"], Expect { owner: Some((0, 0)), ..plain() }),
        (&["--force-uid=70000", "--force-gid=5"], Expect { owner: Some((70_000, 5)), ..plain() }),
        (&["-T1700000000"], Expect { mtime: at, ..plain() }),
        (
            &["-T1700000000", "--all-root", "-Eforce-inode-compact"],
            Expect { mtime: at, owner: Some((0, 0)), ..plain() },
        ),
        (&["--ignore-mtime", "-T1700000000"], Expect { mtime: at, ..plain() }),
        (&["-T1700000000", "--mkfs-time"], plain()),
        (&["--hard-dereference"], Expect { hard_links: false, ..plain() }),
        (&["--exclude-path=names"], Expect { excluded: vec!["names".into()], ..plain() }),
        (&["--dsunit=16", "-L", "label", "-U", "clear", "-Enosbcrc"], plain()),
        (&["--root-xattr-isize=500", "--fsalignblks=16"], plain()),
        (&["--workers=1"], plain()),
    ];
    for (options, expect) in rows {
        check(options, source.path(), &[Backing::Loop], &expect);
    }
}

/// Every layout with every block size that the kernel of a machine with pages of 4 KiB reads, over lengths
/// around every edge of a block.
#[test]
fn layouts_block_sizes_and_lengths() {
    let Some(backings) = need("the kernel reads every layout and block size", mount::both()) else { return };
    for block_size in [512, 1024, 2048, 4096] {
        let source = place::scratch().unwrap();
        content::write_lengths(source.path(), &content::edges(block_size)).unwrap();
        fs::write(source.path().join("copy"), content::noise(4097, 4097)).unwrap();
        content::sparse(&source.path().join("holes"), 500_000, &[(100_000, vec![7; 70_000])]).unwrap();
        trees::set_times(source.path(), 1).unwrap();
        let block_option = format!("-b{block_size}");
        for (_, layout) in LAYOUTS {
            let mut options = vec![block_option.as_str(), KEY_OPTION];
            options.extend(layout);
            check(&options, source.path(), &backings, &Expect::with_sha256(KEY));
        }
    }
}

/// Directories of every size around a block's edge, in every block size.
#[test]
fn directories_and_block_sizes() {
    let Some(backings) = need("the kernel reads directories in every block size", mount::both()) else {
        return;
    };
    let source = place::scratch().unwrap();
    for count in (0..60).chain([100, 127, 128, 129, 340, 341, 342, 1000, 3000]) {
        let dir = source.path().join(format!("{count}"));
        fs::create_dir(&dir).unwrap();
        trees::many_entries(&dir, count).unwrap();
    }
    for option in ["-b512", "-b1024", "-b2048", "-b4096"] {
        check(&[option, KEY_OPTION], source.path(), &backings, &Expect::with_sha256(KEY));
    }
}

#[test]
fn a_debian_root_file_system() {
    let Some(source) = need("the kernel reads a Debian root file system", corpora::debian_root()) else {
        return;
    };
    let Some(backings) = need("the kernel reads a Debian root file system", mount::both()) else { return };
    check(&[KEY_OPTION], &source, &backings, &Expect::with_sha256(KEY));
}

/// One file with a million names is also a directory with a million entries.
#[test]
fn a_million_names_of_one_file() {
    const COUNT: usize = 1_000_000;
    let Some(()) = need("the kernel reads a million entries", mount::supported(Backing::Loop)) else {
        return;
    };
    let source = place::scratch().unwrap();
    trees::many_links(source.path(), COUNT).unwrap();
    let (_dir, image) = build(&[KEY_OPTION], source.path());
    drop(source);
    let mounted = Mount::new(&image, Backing::Loop).unwrap();
    let mut names: Vec<OsString> =
        fs::read_dir(mounted.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), COUNT);
    names.sort();
    assert!(names.iter().enumerate().all(|(at, name)| *name == *format!("{at:06}")));
    for at in [0, 1, 65_535, 500_000, COUNT - 1] {
        let meta = fs::symlink_metadata(mounted.path().join(format!("{at:06}"))).unwrap();
        assert_eq!((meta.nlink(), meta.len()), (COUNT as u64, 10));
    }
}

/// A file of more than 4 GiB that is nearly all hole takes an image of its data only, and reads like the
/// source.
#[test]
fn a_sparse_file_of_more_than_4_gib() {
    let Some(backings) = need("the kernel reads a file of more than 4 GiB", mount::both()) else { return };
    let source = place::scratch().unwrap();
    let gib = 1_u64 << 30;
    let pieces = [0, gib, 4 * gib - 5000, 4 * gib + 70_000].map(|at| (at, content::noise(at, 10_000)));
    content::sparse(&source.path().join("large"), 4 * gib + 80_001, &pieces).unwrap();
    let (_dir, image) = build(&[KEY_OPTION], source.path());
    let stored = fs::metadata(&image).unwrap().len();
    assert!(stored < 64 << 20, "40,000 bytes of data in a file with holes take {stored} bytes");
    for backing in backings {
        let mounted = Mount::new(&image, backing).unwrap();
        assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), &format!("{backing:?}"));
    }
}

/// An image that starts at an offset in its file, as a partition does.
#[test]
fn an_image_at_an_offset() {
    let Some(()) = need("the kernel reads an image at an offset", mount::supported(Backing::Loop)) else {
        return;
    };
    let source = place::scratch().unwrap();
    content::write_lengths(source.path(), &content::edges(4096)).unwrap();
    let dir = place::disk_scratch().unwrap();
    let (whole, image) = (dir.path().join("whole"), dir.path().join("image"));
    peers::build(MKFS, &["--offset=1048576", KEY_OPTION], &whole, source.path()).unwrap();
    let bytes = fs::read(&whole).unwrap();
    assert!(bytes[..1 << 20].iter().all(|&byte| byte == 0), "bytes before the offset were written");
    fs::write(&image, &bytes[1 << 20..]).unwrap();
    let mounted = Mount::new(&image, Backing::Loop).unwrap();
    assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), "an image at an offset");
}

/// Times before 1970, at the last second of 32 bits, and long after.
#[test]
fn times_far_away() {
    let Some(backings) = need("the kernel reads times far away", mount::both()) else { return };
    let source = place::scratch().unwrap();
    let last = i64::from(i32::MAX);
    for (at, seconds) in [-2_000_000_000, -1, 0, 1, last, last + 1, 2 * last + 1, 2 * last + 2, 9_000_000_000]
        .iter()
        .enumerate()
    {
        for nanoseconds in [0, 1, 999_999_999] {
            let path = source.path().join(format!("{at}-{nanoseconds}"));
            fs::write(&path, "time").unwrap();
            trees::set_mtime(&path, *seconds, nanoseconds).unwrap();
        }
    }
    for options in [&[KEY_OPTION][..], &[KEY_OPTION, "-T1700000000", "--mkfs-time"]] {
        check(options, source.path(), &backings, &Expect::with_sha256(KEY));
    }
}

/// A fingerprint in the source never reaches the image: a file must not choose whose pages it shares.
#[test]
fn a_source_does_not_choose_its_fingerprint() {
    let Some(()) = need("the kernel shows only fingerprints of content", mount::supported(Backing::Loop))
    else {
        return;
    };
    let source = place::scratch().unwrap();
    for name in ["file", "empty"] {
        let path = source.path().join(name);
        fs::write(&path, if name == "file" { "content" } else { "" }).unwrap();
        xattr::set(&path, KEY, b"sha256:chosen by the source").unwrap();
    }
    xattr::set(source.path(), KEY, b"on a directory").unwrap();
    check(&[KEY_OPTION], source.path(), &[Backing::Loop], &Expect::with_sha256(KEY));
}
