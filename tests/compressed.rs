//! Compressed images: the running kernel, fsck.erofs and our own reader judge every algorithm, pcluster size
//! and form of index; the bytes must not depend on threads.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_testkit::compare::{assert_extracted, assert_same};
use erofs_testkit::require::need;
use erofs_testkit::{Backing, Expect, Mount, content, corpora, mount, peers, place, trees};

/// The builder under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
/// The reader under test.
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
/// The attribute that the images of these tests carry fingerprints in, and the option that asks for it.
const KEY: &str = "trusted.erofs.fingerprint";
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";

/// Algorithms at levels that stand for each way in which they work.
const ALGORITHMS: [&str; 8] =
    ["lz4", "lz4hc,9", "zstd,3", "zstd,12", "deflate,1", "libdeflate,6", "lzma,1", "zstd,1"];
const PCLUSTERS: [u32; 3] = [4096, 65_536, 1 << 20];
/// Forms of an image: words of `-E` and other options that go together.
const FORMS: [&[&str]; 10] = [
    &[],
    &["-Elegacy-compress"],
    &["-Eztailpacking"],
    &["-Elegacy-compress,ztailpacking"],
    &["-Efragments"],
    &["-Eall-fragments"],
    &["-Efragments=32768,fragdedupe=off"],
    &["-E48bit"],
    &["-Ededupe"],
    &["--max-extent-bytes=65536"],
];

/// A tree with contents of every kind around every edge of a block and of a pcluster.
fn source() -> tempfile::TempDir {
    let source = place::scratch().unwrap();
    content::write_lengths(source.path(), &content::edges(4096)).unwrap();
    let text: Vec<u8> =
        (0..60_000_u32).flat_map(|n| format!("line {} of a text\n", n / 3).into_bytes()).collect();
    for length in [1, 100, 4095, 4096, 4097, 8192, 65_535, 65_536, 70_000, 200_001, text.len()] {
        fs::write(source.path().join(format!("text-{length}")), &text[..length]).unwrap();
    }
    let mixed: Vec<u8> = text
        .chunks(50_000)
        .zip(1..)
        .flat_map(|(piece, n)| [piece, &content::noise(n, 40_000)].concat())
        .collect();
    fs::write(source.path().join("mixed"), &mixed).unwrap();
    fs::write(source.path().join("mixed-copy"), &mixed).unwrap();
    fs::write(source.path().join("noise"), content::noise(7, 300_000)).unwrap();
    content::sparse(&source.path().join("holes"), 3_000_000, &[(1_000_000, vec![7; 70_000])]).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    source
}

/// The same with a file longer than a segment, the part of a file that one worker encodes.
fn source_and_long() -> tempfile::TempDir {
    let source = source();
    fs::write(source.path().join("zeros"), vec![0; (16 << 20) + 300_000]).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    source
}

fn build(options: &[&str], source: &Path) -> (tempfile::TempDir, PathBuf) {
    peers::image(MKFS, options, source)
}

/// The options of every combination of algorithm and form with one size of pclusters.
fn combinations(pcluster: u32) -> Vec<Vec<String>> {
    let combination = |algorithm: &str, form: &[&str]| {
        let mut options = vec![KEY_OPTION.to_owned(), format!("-z{algorithm}"), format!("-C{pcluster}")];
        options.extend(form.iter().map(ToString::to_string));
        options
    };
    ALGORITHMS.iter().flat_map(|algorithm| FORMS.map(|form| combination(algorithm, form))).collect()
}

fn words(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// Has the kernel, fsck.erofs and our reader read each image of that size of pclusters: built once, judged by
/// all three.
///
/// The long file, more bytes than all others together, is in every third image: each algorithm in each form
/// meets it with one size of pclusters.
fn everyone_reads(pcluster: u32) {
    let backings = need("the kernel reads every way to compress", mount::both());
    let peers = need("fsck.erofs accepts every way to compress", peers::find());
    let (short, long) = (source(), source_and_long());
    let size = PCLUSTERS.iter().position(|size| *size == pcluster).unwrap();
    for (number, options) in combinations(pcluster).iter().enumerate() {
        let source = if (number + size).is_multiple_of(3) { &long } else { &short };
        let (_dir, image) = build(&words(options), source.path());
        if let Some(backings) = &backings {
            let backing = backings[number % backings.len()];
            let what = format!("{options:?}, mounted by {backing:?}");
            let mounted = Mount::new(&image, backing).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), &what);
            read_at_odd_places(source.path(), mounted.path(), &what);
        }
        if let Some(peers) = &peers
            && let Err(error) = peers.check(&["--extract", "--xattr-inode-digest"], &image)
        {
            panic!("{options:?}: {error}");
        }
        let what = format!("{options:?}, extracted");
        assert_extracted(ISHARE, &image, source.path(), &Expect::with_sha256(KEY), &what);
    }
}

#[test]
fn everyone_reads_pclusters_of_one_block() {
    everyone_reads(4096);
}

#[test]
fn everyone_reads_pclusters_of_many_blocks() {
    everyone_reads(65_536);
}

#[test]
fn everyone_reads_the_largest_pclusters() {
    everyone_reads(1 << 20);
}

/// Reads pieces at odd offsets, in an order of their own, from a cache that holds nothing of the file.
fn read_at_odd_places(source: &Path, copy: &Path, what: &str) {
    for name in ["mixed", "text-200001", "holes"] {
        let want = fs::read(source.join(name)).unwrap();
        let file = File::open(copy.join(name)).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let mut numbers = content::Stream::new(99);
        for _ in 0..20 {
            let at = usize::try_from(numbers.below(want.len() as u64 - 1)).unwrap();
            let length = usize::try_from(numbers.below(10_000)).unwrap() + 1;
            let mut piece = vec![0; length.min(want.len() - at)];
            file.read_exact_at(&mut piece, at as u64).unwrap();
            assert!(piece == want[at..at + piece.len()], "{what}: {name} at byte {at}");
        }
    }
}

#[test]
fn threads_do_not_change_the_image() {
    let source = source_and_long();
    for options in PCLUSTERS.into_iter().flat_map(combinations).step_by(5) {
        let mut images = [1, 2, 5].map(|workers| {
            let workers = format!("--workers={workers}");
            let options: Vec<&str> = words(&options).into_iter().chain([workers.as_str()]).collect();
            let (_dir, image) = build(&options, source.path());
            fs::read(image).unwrap()
        });
        let [one, others @ ..] = &mut images;
        assert!(others.iter().all(|other| other == one), "{options:?}");
    }
}

#[test]
fn a_debian_root_file_system() {
    let Some(source) = need("the kernel reads a compressed Debian root", corpora::debian_root()) else {
        return;
    };
    let Some(()) = need("the kernel reads a compressed Debian root", mount::supported(Backing::Loop)) else {
        return;
    };
    for form in FORMS {
        let options: Vec<&str> = [&[KEY_OPTION, "-zlz4", "-C65536"], form].concat();
        let (_dir, image) = build(&options, &source);
        let mounted = Mount::new(&image, Backing::Loop).unwrap();
        assert_same(&source, mounted.path(), &Expect::with_sha256(KEY), &format!("{options:?}"));
        // Programs and libraries are mapped, not read.
        let sum = |root: &Path| {
            let program = ["/usr/bin/sha256sum", "/usr/bin/perl"];
            let said = Command::new("chroot").arg(root).args(program).output().unwrap();
            assert!(said.status.success(), "{options:?}: {said:?}");
            said.stdout
        };
        assert_eq!(sum(mounted.path()), sum(&source), "{options:?}");
    }
}

/// Whether a file is stored compressed depends on its content alone, not on what else is in the image: two
/// images with the same options must agree, or their pages are not shared.
#[test]
fn the_class_of_a_file_depends_on_its_content() {
    let small = place::scratch().unwrap();
    let large = source();
    for name in ["mixed", "noise", "text-70000", "text-4096"] {
        fs::copy(large.path().join(name), small.path().join(name)).unwrap();
    }
    for form in FORMS {
        let options: Vec<&str> = [&[KEY_OPTION, "-zlz4", "-C65536"], form].concat();
        let layouts = [small.path(), large.path()].map(|source| {
            let (_dir, image) = build(&options, source);
            ["mixed", "noise", "text-70000", "text-4096"].map(|name| is_compressed(&image, name))
        });
        assert_eq!(layouts[0], layouts[1], "{options:?}");
        assert!(layouts[0][0], "{options:?}: what gets smaller is compressed");
    }
    for (class, want) in [("always", true), ("never", false)] {
        let class = format!("--compress-class={class}");
        let (_dir, image) = build(&["-zlz4", &class], small.path());
        for name in ["mixed", "noise", "text-70000"] {
            assert_eq!(is_compressed(&image, name), want, "{class}: {name}");
        }
    }
}

/// Equal files that hints give to different algorithms: pclusters keep the algorithm that made them.
#[test]
fn equal_files_of_two_algorithms() {
    let source = place::scratch().unwrap();
    let hints = place::scratch().unwrap();
    let path = hints.path().join("hints");
    fs::write(&path, "65536 0 ^first\n65536 1 ^second\n").unwrap();
    let text = content::text(1, 300_000);
    for name in ["first", "second", "third", "second-again"] {
        fs::write(source.path().join(name), &text).unwrap();
    }
    fs::write(source.path().join("second-longer"), [&content::noise(2, 8192), &text[..]].concat()).unwrap();
    let hints = format!("--compress-hints={}", path.display());
    for more in [&[][..], &["-Ededupe"], &["-Ededupe", "--no-file-dedupe"], &["-E48bit,dedupe"]] {
        let options = [&[KEY_OPTION, "-zlz4:zstd", "-C65536", &hints], more].concat();
        let (_dir, image) = build(&options, source.path());
        let done = Command::new(ISHARE).arg("verify").arg(&image).output().unwrap();
        assert!(done.status.success(), "{more:?}: {}", String::from_utf8_lossy(&done.stdout));
        let opened = erofs_image::OpenOptions::new().open(&image).unwrap();
        for name in ["first", "second", "third", "second-again", "second-longer"] {
            let inode = opened.resolve(name.as_bytes(), erofs_image::Follow::All).unwrap();
            assert!(inode.layout().is_compressed(), "{more:?}: {name}");
        }
    }
}

/// Whether a file of the root directory is stored compressed.
fn is_compressed(image: &Path, name: &str) -> bool {
    let image = erofs_image::OpenOptions::new().open(image).unwrap();
    let inode = image.resolve(name.as_bytes(), erofs_image::Follow::All).unwrap();
    inode.layout().is_compressed()
}

#[test]
fn what_cannot_be_meant_is_refused_in_one_line() {
    let source = place::scratch().unwrap();
    let hints = source.path().join("hints");
    fs::write(&hints, "# sizes\n65536 7 \\.so$\n").unwrap();
    let hints = format!("--compress-hints={}", hints.display());
    let rows: [(&[&str], &str); 9] = [
        (&["-zlz5"], "-z: found the algorithm \"lz5\", want lz4, lz4hc, zstd, "),
        (&["-zzstd,99"], "-z zstd: level 99, want "),
        (&["-zzstd,fast"], "-z zstd: found level \"fast\", want "),
        (
            &["-zlz4", "-C1000"],
            "-C: found 1000 bytes, want a multiple of the block size, 4096, up to 1048576",
        ),
        (&["-zlz4", "-C2097152"], "-C: found 2097152 bytes, want "),
        (&["-zlz4", "--chunksize=4096"], "--chunksize: contradicts -z"),
        (&["--compress-class=always"], "--compress-class=always: needs -z"),
        (&["-zlz4", "-Efragdedupe=some"], "-E fragdedupe=some: found some, want full, inode or off"),
        (&["-zlz4", &hints], "--compress-hints: "),
    ];
    for (options, want) in rows {
        let image = source.path().join("image");
        let done = Command::new(MKFS).args(options).arg(image).arg(source.path()).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        let line = said.strip_prefix("mkfs-erofs: ").unwrap_or(&said);
        assert!(line.starts_with(want) && line.trim_end().lines().count() == 1, "{options:?}: {said}");
        assert_eq!(done.status.code(), Some(2), "{options:?}");
    }
}

#[test]
fn hints_choose_size_and_algorithm() {
    let source = source();
    let dir = place::scratch().unwrap();
    let hints = dir.path().join("hints");
    fs::write(&hints, "0 ^text-70000$\n4096 1 ^mixed\n").unwrap();
    fs::copy(source.path().join("text-70000"), source.path().join("without-hint")).unwrap();
    let hints = format!("--compress-hints={}", hints.display());
    let (_dir, image) = build(&["-zlz4:zstd,3", "-C65536", &hints, KEY_OPTION], source.path());
    assert!(!is_compressed(&image, "text-70000"));
    // An equal file has what its own hints say, whichever of them is read first.
    assert!(is_compressed(&image, "without-hint"));
    assert!(is_compressed(&image, "mixed") && is_compressed(&image, "text-200001"));
    let Some(()) = need("the kernel reads two algorithms", mount::supported(Backing::Loop)) else { return };
    let mounted = Mount::new(&image, Backing::Loop).unwrap();
    assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), "hints");
}
