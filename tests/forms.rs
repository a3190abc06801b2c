//! What holds for images of every form: no inode has number 0, zeros take no space by one rule, and where
//! files are shared every page has one extent.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_format::Nid;
use erofs_format::feature::incompat;
use erofs_image::{Follow, Image, OpenOptions};
use erofs_testkit::compare::assert_same;
use erofs_testkit::require::need;
use erofs_testkit::{Backing, Expect, Mount, content, mount, peers, place};

/// The builder under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
/// The program that makes companions.
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";
const MIB: usize = 1 << 20;

fn open(image: &Path, devices: &[&Path]) -> Image {
    OpenOptions::new().devices(devices).open(image).unwrap()
}

fn index(options: &[&str], original: &Path) -> (tempfile::TempDir, PathBuf) {
    let dir = place::scratch().unwrap();
    let companion = dir.path().join("companion");
    let mut command = Command::new(ISHARE);
    command.arg("index").args(options).arg("-o").arg(&companion).arg(original);
    peers::run(&mut command).unwrap_or_else(|error| panic!("{options:?}: {error}"));
    (dir, companion)
}

/// readdir(3) does not return names of inode number 0: `ls`, `tar` and overlayfs would not see them.
#[test]
fn no_inode_has_number_0() {
    let source = place::scratch().unwrap();
    fs::create_dir(source.path().join("sub")).unwrap();
    fs::write(source.path().join("small"), "small").unwrap();
    fs::write(source.path().join("text"), content::text(1, 50_000)).unwrap();
    let supported = need("names of every form are listed by the kernel", mount::supported(Backing::Loop));
    let judge = |image: &Path, devices: &[&Path], what: &str| {
        for step in open(image, devices).walk_all().unwrap() {
            let step = step.unwrap();
            assert_ne!(step.inode.nid, Nid(0), "{what}: {:?}", String::from_utf8_lossy(&step.path));
        }
    };
    for options in [
        &[][..],
        &["-zlz4"],
        &["-zlz4", "-Efragments"],
        &["-zlz4", "-Efragments", "--zD"],
        &["-zlz4", "-E48bit"],
        &["-m4096"],
        &["-zlz4", "-m4096"],
    ] {
        // A root with long attributes does not fit where the metadata starts, so another inode does.
        for root in ["--root-xattr-isize=0", "--root-xattr-isize=8100"] {
            let options = [&[root, KEY_OPTION], options].concat();
            let (_dir, image) = peers::image(MKFS, &options, source.path());
            judge(&image, &[], &format!("{options:?}"));
            if supported.is_some() {
                let mounted = Mount::new(&image, Backing::Loop).unwrap();
                let listed = peers::run(Command::new("ls").arg("-a").arg(mounted.path())).unwrap();
                let listed = String::from_utf8(listed.stdout).unwrap();
                assert_eq!(
                    listed.split_whitespace().collect::<Vec<_>>(),
                    [".", "..", "small", "sub", "text"]
                );
            }
        }
    }
    let (_dir, original) = peers::image(MKFS, &["--root-xattr-isize=8100"], source.path());
    for options in [&["--plain-metadata"][..], &[], &["--overlay", "--plain-metadata"]] {
        let (_dir, companion) = index(options, &original);
        let devices: &[&Path] = if options.contains(&"--overlay") { &[] } else { &[&original] };
        judge(&companion, devices, &format!("companion {options:?}"));
    }
}

/// Bytes of holes, and whether the image has chunk-based files, of a tree with one file.
fn holes(options: &[&str], content: &[u8]) -> (u64, bool) {
    let source = place::scratch().unwrap();
    fs::write(source.path().join("file"), content).unwrap();
    let (_dir, image) = peers::image(MKFS, options, source.path());
    let image = open(&image, &[]);
    let data = image.data(&image.resolve(b"/file", Follow::Never).unwrap()).unwrap();
    let (mut at, mut holes) = (0, 0);
    while at < data.len() {
        let extent = data.map(at).unwrap();
        if extent.place == erofs_format::extent::Place::Hole {
            holes += extent.length;
        }
        at += extent.length;
    }
    let mut read = vec![1; content.len()];
    data.read_range(0, &mut read).unwrap();
    assert!(read == content, "{options:?}: other content");
    (holes, image.superblock().incompat & incompat::CHUNKED_FILE != 0)
}

#[test]
fn zeros_are_holes_where_they_pay_with_and_without_compression() {
    let noise = |seed: u64, length: usize| content::noise(seed, length);
    let with = |zeros: usize| [noise(1, 8192), vec![0; zeros], noise(2, 5000)].concat();
    let (little, much) = (with(8192), with(3 * MIB));
    let large = [noise(1, 18 * MIB), vec![0; 20 * MIB], noise(2, 5000)].concat();
    let never = ["-zlz4", "--compress-class=never"];
    for (options, content, want) in [
        // Nothing but holes would make these images need Linux 5.15.
        (&[][..], &little, (0, false)),
        (&[], &much, (2 * MIB as u64, true)),
        (&[], &large, (20 * MIB as u64, true)),
        (&["-Eholes"], &little, (8192, true)),
        (&["-E^holes"], &much, (0, false)),
        (&[KEY_OPTION, "-E^holes"], &little, (0, false)),
        // These need a newer one anyway.
        (&[KEY_OPTION], &little, (8192, true)),
        (&["-m4096"], &little, (8192, true)),
        (&["-Edot-omitted"], &little, (8192, true)),
    ] {
        assert_eq!(holes(options, content), want, "{options:?} {}", content.len());
        // Files that are stored as they are beside compressed ones have the same holes.
        let options = [options, &never].concat();
        assert_eq!(holes(&options, content), want, "{options:?} {}", content.len());
    }
    assert_eq!(holes(&["-zzstd", "--compress-class=never"], &little), (8192, true), "zstd needs Linux 6.10");
    // An odd alignment of files must not move the segments of a large one apart.
    for options in [&["--dsunit=3"][..], &["--dsunit=3", "-E^holes"]] {
        holes(&[options, &never].concat(), &large);
    }
}

/// Asserts that no page of a file has bytes in more than one place.
fn assert_one_extent_in_each_page(image: &Image, what: &str) {
    for step in image.walk_all().unwrap() {
        let step = step.unwrap();
        if !step.inode.is_file() {
            continue;
        }
        let data = image.data(&step.inode).unwrap();
        let mut at = 0;
        while at < data.len() {
            let extent = data.map(at).unwrap();
            let path = String::from_utf8_lossy(&step.path).into_owned();
            assert_eq!(extent.start % 4096, 0, "{what}: {path}: an extent starts at byte {}", extent.start);
            at = extent.start + extent.length;
        }
    }
}

/// Linux 7.2 and 7.3 return wrong data for such pages, or crash, where they are shared.
#[test]
fn with_fingerprints_every_page_has_one_extent() {
    let source = place::scratch().unwrap();
    for number in 0..40_u64 {
        let mut file = Vec::new();
        for piece in 0..=number {
            let lengths = [300, 512, 1024, 1536, 2048, 3048, 4096, 5000];
            let length = lengths[usize::try_from((number * 7 + piece * piece * 5) % 8).unwrap()];
            let zeros = (number * 3 + piece) % 2 == 0;
            file.extend(if zeros { vec![0; length] } else { content::noise(number * 100 + piece, length) });
        }
        fs::write(source.path().join(format!("file-{number}")), file).unwrap();
    }
    let supported = need("small blocks are read by the kernel", mount::supported(Backing::Loop));
    for block in ["-b512", "-b1024", "-b2048"] {
        for options in [&[][..], &["--chunksize=4096"], &["-zlz4", "--compress-class=never"], &["-Ededupe"]] {
            let options = [&[block, KEY_OPTION], options].concat();
            let (_dir, image) = peers::image(MKFS, &options, source.path());
            assert_one_extent_in_each_page(&open(&image, &[]), &format!("{options:?}"));
            if supported.is_some() {
                let mounted = Mount::new(&image, Backing::Loop).unwrap();
                let expect = Expect::with_sha256("trusted.erofs.fingerprint");
                assert_same(source.path(), mounted.path(), &expect, &format!("{options:?}"));
            }
        }
        let chunks = format!("--chunksize={}", &block[2..]);
        for options in [&[block][..], &[block, &chunks], &[block, "-Eholes,^inline_data"]] {
            let (_dir, original) = peers::image(MKFS, options, source.path());
            for metadata in [&["--plain-metadata"][..], &[]] {
                let (_dir, companion) = index(&[metadata, &[KEY_OPTION]].concat(), &original);
                let what = format!("companion {metadata:?} of {options:?}");
                assert_one_extent_in_each_page(&open(&companion, &[&original]), &what);
            }
        }
    }
}
