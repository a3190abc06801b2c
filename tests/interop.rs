//! erofs-utils reads what we write, and we read what it writes: two builders and two readers of one format.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_testkit::compare::assert_extracted;
use erofs_testkit::peers::{self, Peers, run};
use erofs_testkit::require::{need, root};
use erofs_testkit::{Expect, content, place, random, trees};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::Value;

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

const KEY: &str = "trusted.erofs.fingerprint";
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";

/// How the data of regular files can be laid out; both builders spell it alike.
const LAYOUTS: [&[&str]; 7] = [
    &[],
    &["-E^inline_data"],
    &["--chunksize=4096"],
    &["--chunksize=65536"],
    &["--chunksize=4096", "-Eforce-chunk-indexes"],
    &["--chunksize=4096", "-Eforce-inode-blockmap"],
    &["-Eforce-inode-extended"],
];

/// The block sizes that the peers read and write; Debian builds them for pages of 4 KiB.
const PEER_BLOCKS: [usize; 4] = [512, 1024, 2048, 4096];

/// The peers and root, which a comparison of owners and of `trusted.` attributes needs.
fn peers_as_root(check: &str) -> Option<&'static Peers> {
    need(check, root())?;
    need(check, peers::find())
}

/// Files of all lengths around the edges of a block, with one copy and one file with holes.
fn lengths(block_size: usize) -> tempfile::TempDir {
    let dir = place::scratch().unwrap();
    content::write_lengths(dir.path(), &content::edges(block_size)).unwrap();
    fs::write(dir.path().join("copy"), content::noise(4097, 4097)).unwrap();
    content::sparse(&dir.path().join("holes"), 500_000, &[(100_000, vec![7; 70_000])]).unwrap();
    trees::set_times(dir.path(), 2).unwrap();
    dir
}

/// Builds an image of ours and returns it with what `--json` says of it.
fn build(options: &[&str], source: &Path) -> (tempfile::TempDir, PathBuf, Value) {
    let dir = place::disk_scratch().unwrap();
    let image = dir.path().join("image");
    let mut all = vec!["--json"];
    all.extend(options);
    let output =
        peers::build(MKFS, &all, &image, source).unwrap_or_else(|error| panic!("{options:?}: {error}"));
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    (dir, image, summary)
}

/// `fsck.erofs` reads every byte and recomputes every fingerprint, and warns of none that is missing.
fn assert_accepted(peers: &Peers, image: &Path, what: &str) {
    let output =
        peers.check(&["--xattr-inode-digest"], image).unwrap_or_else(|error| panic!("{what}: {error}"));
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("<W>") && !text.contains("<E>"), "{what}: fsck.erofs says {text}");
}

/// The value of one line of `dump.erofs -s`.
fn dumped<'a>(dump: &'a str, name: &str) -> &'a str {
    let value = dump.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| *key == name);
    value.unwrap_or_else(|| panic!("no line {name} in {dump}")).1.trim()
}

/// What `dump.erofs` finds in the superblock is what our summary says.
fn assert_same_superblock(peers: &Peers, image: &Path, summary: &Value, what: &str) {
    let output = run(Command::new(&peers.dump).arg("-s").arg(image)).unwrap();
    let dump = String::from_utf8(output.stdout).unwrap();
    let number = |name: &str| dumped(&dump, name).parse::<u64>().unwrap();
    let block_size = number("Filesystem blocksize");
    assert_eq!(summary["block_size"], block_size, "{what}");
    assert_eq!(summary["image_bytes"], number("Filesystem blocks") * block_size, "{what}");
    assert_eq!(summary["image_bytes"], fs::metadata(image).unwrap().len(), "{what}");
    assert_eq!(summary["inodes"], number("Filesystem inode count"), "{what}");
    assert_eq!(summary["uuid"], dumped(&dump, "Filesystem UUID"), "{what}");
    let compat = dumped(&dump, "Filesystem compatible features");
    assert!(compat.contains("sb_csum") && compat.contains("ishare_xattrs"), "{what}: {compat}");
    assert!(dumped(&dump, "Filesystem incompatible features").contains("xattr_prefixes"), "{what}");
}

#[test]
fn peers_accept_every_layout_and_block_size() {
    let Some(peers) = peers_as_root("fsck.erofs and dump.erofs accept every layout") else { return };
    for block_size in PEER_BLOCKS {
        let source = lengths(block_size);
        let block_option = format!("-b{block_size}");
        for layout in LAYOUTS {
            let mut options = vec![block_option.as_str(), KEY_OPTION];
            options.extend(layout);
            let (_dir, image, summary) = build(&options, source.path());
            let what = format!("{options:?}");
            assert_accepted(peers, &image, &what);
            assert_same_superblock(peers, &image, &summary, &what);
        }
    }
}

#[test]
fn peers_accept_one_of_each_thing() {
    let Some(peers) = peers_as_root("fsck.erofs and dump.erofs accept one of each thing") else { return };
    let source = trees::one_of_each().unwrap();
    let rows: [&[&str]; 6] = [
        &[KEY_OPTION],
        &["--ishare-key"],
        &["--xattr-inode-digest=user.print"],
        &[KEY_OPTION, "-x0"],
        &[KEY_OPTION, "-x1000", "--all-root", "-T1"],
        &[KEY_OPTION, "--chunksize=4096", "--no-file-dedupe", "--xattr-prefix=user.prefix.of"],
    ];
    for options in rows {
        let (_dir, image, summary) = build(options, source.path());
        assert_accepted(peers, &image, &format!("{options:?}"));
        assert_same_superblock(peers, &image, &summary, &format!("{options:?}"));
    }
}

#[test]
fn peers_accept_random_trees() {
    let Some(peers) = peers_as_root("fsck.erofs accepts random trees") else { return };
    let mut runner = TestRunner::deterministic();
    for case in 0..16 {
        let spec = random::tree(80).new_tree(&mut runner).unwrap().current();
        let source = place::scratch().unwrap();
        spec.make(source.path()).unwrap();
        // fsck.erofs cannot check fingerprints where there are none, so there is always a file with content.
        fs::write(source.path().join("content"), b"content").unwrap();
        let (_dir, image, _) = build(&[KEY_OPTION], source.path());
        assert_accepted(peers, &image, &format!("case {case}: {spec:?}"));
    }
}

/// `dump.erofs` finds every path and prints its size.
#[test]
fn peers_find_every_path() {
    let Some(peers) = peers_as_root("dump.erofs finds every path") else { return };
    let source = lengths(512);
    let (_dir, image, _) = build(&[KEY_OPTION, "-b512"], source.path());
    for len in content::edges(512) {
        let path = format!("--path=/{len:07}");
        let output = run(Command::new(&peers.dump).arg(&path).arg(&image)).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&format!("Size: {len} ")), "{path}: {text}");
    }
}

/// The digests of both tools are byte-identical because both equal the one that the comparison computes
/// itself.
#[test]
fn we_read_what_the_peer_writes() {
    let Some(peers) = peers_as_root("our reader reads the images of mkfs.erofs") else { return };
    let source = trees::one_of_each().unwrap();
    // mkfs.erofs marks a directory with an overlayfs whiteout in it, so its image would not be a copy of this
    // source.
    fs::remove_file(source.path().join("special/c-0-0")).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    let dir = place::disk_scratch().unwrap();
    let image = dir.path().join("image");
    let plain = Expect::default;
    let rows: [(&[&str], Expect); 9] = [
        (&[], plain()),
        (&["-x-1"], Expect { xattrs: false, ..plain() }),
        (&["-x0"], plain()),
        (&["-x1000"], plain()),
        (&["-Exattr-name-filter", "--xattr-prefix=user.prefix.of"], plain()),
        (&["-Eplain-xattr-prefixes", "--xattr-prefix=user.prefix.of"], plain()),
        (&["--xattr-inode-digest=trusted.erofs.fingerprint"], Expect::with_sha256(KEY)),
        (
            &["--all-root", "-T1700000000"],
            Expect { owner: Some((0, 0)), mtime: Some((1_700_000_000, 0)), ..plain() },
        ),
        (&["--hard-dereference"], Expect { hard_links: false, ..plain() }),
    ];
    for (options, expect) in rows {
        peers.build(options, &image, source.path()).unwrap();
        assert_extracted(ISHARE, &image, source.path(), &expect, &format!("mkfs.erofs {options:?}"));
    }
}

/// The same random trees from both builders, read by our reader.
#[test]
fn we_read_random_trees_of_both() {
    let Some(peers) = peers_as_root("our reader reads random trees of mkfs.erofs") else { return };
    let mut runner = TestRunner::deterministic();
    let dir = place::disk_scratch().unwrap();
    let theirs = dir.path().join("theirs");
    for case in 0..24 {
        let spec = random::tree(80).new_tree(&mut runner).unwrap().current();
        let source = place::scratch().unwrap();
        spec.make(source.path()).unwrap();
        let mut options = vec![KEY_OPTION];
        options.extend(LAYOUTS[case % LAYOUTS.len()]);
        let (_dir, ours, _) = build(&options, source.path());
        options[0] = "--xattr-inode-digest=trusted.erofs.fingerprint";
        peers.build(&options, &theirs, source.path()).unwrap();
        for (image, whose) in [(&ours, "ours"), (&theirs, "theirs")] {
            let what = format!("case {case}, {whose}, {options:?}: {spec:?}");
            assert_extracted(ISHARE, image, source.path(), &Expect::with_sha256(KEY), &what);
        }
    }
}

#[test]
fn we_read_every_layout_and_block_size_of_the_peer() {
    let Some(peers) = peers_as_root("our reader reads every layout of mkfs.erofs") else { return };
    let dir = place::disk_scratch().unwrap();
    let image = dir.path().join("image");
    for block_size in PEER_BLOCKS {
        let source = lengths(block_size);
        for layout in LAYOUTS {
            let block_option = format!("-b{block_size}");
            let mut options = vec![block_option.as_str(), "--xattr-inode-digest=trusted.erofs.fingerprint"];
            options.extend(layout);
            peers.build(&options, &image, source.path()).unwrap();
            assert_extracted(
                ISHARE,
                &image,
                source.path(),
                &Expect::with_sha256(KEY),
                &format!("mkfs.erofs {options:?}"),
            );
        }
    }
}

/// Our own images through our own reader, with the block sizes that no peer here and no kernel with pages of
/// 4 KiB reads.
#[test]
fn we_read_what_we_write_in_large_blocks() {
    let Some(()) = need("our reader reads large blocks", root()) else { return };
    for block_size in [8192, 16384, 32768, 65536] {
        let source = lengths(block_size);
        let block_option = format!("-b{block_size}");
        let layouts: [&[&str]; 4] =
            [&[], &["-E^inline_data"], &["--chunksize=65536"], &["-Eforce-inode-extended"]];
        for layout in layouts {
            let mut options = vec![block_option.as_str(), KEY_OPTION];
            options.extend(layout);
            let (_dir, image, _) = build(&options, source.path());
            assert_extracted(
                ISHARE,
                &image,
                source.path(),
                &Expect::with_sha256(KEY),
                &format!("{options:?}"),
            );
        }
    }
}

/// `ls` and `cat` of a peer's image name and print what is in it.
#[test]
fn we_list_and_print_what_the_peer_writes() {
    let Some(peers) = peers_as_root("ls and cat read the images of mkfs.erofs") else { return };
    let source = lengths(4096);
    fs::create_dir(source.path().join("folder")).unwrap();
    fs::write(source.path().join("folder").join(OsStr::from_bytes(b"inside")), b"found").unwrap();
    let dir = place::disk_scratch().unwrap();
    let image = dir.path().join("image");
    peers.build(&["-T1"], &image, source.path()).unwrap();
    let listed = run(Command::new(ISHARE).arg("ls").arg(&image).arg("/folder")).unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("inside"), "{listed:?}");
    for (path, wanted) in [("/folder/inside", b"found".to_vec()), ("/0004097", content::noise(4097, 4097))] {
        let printed = run(Command::new(ISHARE).arg("cat").arg(&image).arg(path)).unwrap();
        assert!(printed.stdout == wanted, "{path}: {} bytes, want {}", printed.stdout.len(), wanted.len());
    }
}

/// Both tools count the same inodes and agree on the key, read from each other's images.
#[test]
fn inspect_reads_the_images_of_both() {
    let Some(peers) = peers_as_root("inspect reads the images of mkfs.erofs") else { return };
    let source = lengths(4096);
    let dir = place::disk_scratch().unwrap();
    let theirs = dir.path().join("theirs");
    peers.build(&["--xattr-inode-digest=trusted.erofs.fingerprint"], &theirs, source.path()).unwrap();
    let (_dir, ours, _) = build(&[KEY_OPTION], source.path());
    for image in [theirs, ours] {
        let output = run(Command::new(ISHARE).args(["inspect", "--json"]).arg(&image)).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value.is_object(), "{text}");
        assert!(text.contains(KEY), "{}: no {KEY} in {text}", image.display());
    }
}
