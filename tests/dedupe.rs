//! Parts of files that are stored once (`-E dedupe`): the running kernel, fsck.erofs and our own reader judge
//! files that were cut out of each other at every alignment.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_testkit::compare::{assert_extracted, assert_same};
use erofs_testkit::content::{Stream, noise, text};
use erofs_testkit::require::need;
use erofs_testkit::{Backing, Expect, Mount, mount, peers, place, trees};

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
const KEY: &str = "trusted.erofs.fingerprint";
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";

/// What images are made with: pclusters of one block, of two, which are too short for some seams, and longer
/// ones; every form of index; ends of files in other places.
const FORMS: [&[&str]; 9] = [
    &["-zlz4", "-Ededupe"],
    &["-zlz4", "-C8192", "-Ededupe"],
    &["-zlz4", "-C65536", "-Ededupe"],
    &["-zzstd,3", "-C1048576", "-Ededupe"],
    &["-zdeflate,1", "-C65536", "-Ededupe,ztailpacking"],
    &["-zlz4hc,4", "-C16384", "-Ededupe,fragments"],
    &["-zlz4", "-C65536", "-Eall-fragments,dedupe"],
    &["-zzstd,1", "-C65536", "-E48bit,dedupe"],
    &["-zlz4", "-C65536", "-b1024", "-Ededupe"],
];

fn build(options: &[&str], source: &Path) -> (tempfile::TempDir, PathBuf) {
    peers::image(MKFS, &[&[KEY_OPTION], options].concat(), source)
}

/// Files that are versions of each other: with bytes before, between and instead, cut at the end, in another
/// order.
fn versions() -> tempfile::TempDir {
    let source = place::scratch().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(source.path().join(name), bytes).unwrap();
    for (name, first) in [
        ("text", text(1, 900_000)),
        ("noise", noise(2, 500_000)),
        ("mixed", [text(3, 200_000), noise(4, 150_000), vec![0; 300_000], text(5, 250_000)].concat()),
    ] {
        let half = first.len() / 2;
        write(&format!("{name}-1"), &first);
        write(&format!("{name}-2-shifted"), &[&noise(6, 777), &first[..]].concat());
        write(&format!("{name}-3-blocks-before"), &[&noise(7, 8192), &first[..]].concat());
        let mut patched = first.clone();
        for at in (70_000..patched.len()).step_by(130_001) {
            patched[at] ^= 0xff;
        }
        write(&format!("{name}-4-patched"), &patched);
        write(&format!("{name}-5-inserted"), &[&first[..half], b"between", &first[half..]].concat());
        write(&format!("{name}-6-cut"), &first[..half + 1234]);
        write(&format!("{name}-7-turned"), &[&first[half..], &first[..half]].concat());
        write(&format!("{name}-8-twice"), &first.repeat(2));
        write(&format!("{name}-9-equal"), &first);
    }
    trees::set_times(source.path(), 1).unwrap();
    source
}

/// A file of several segments that repeats itself across their edges, and a copy of its middle.
fn large() -> tempfile::TempDir {
    let source = place::scratch().unwrap();
    let part = [noise(1, 3_000_000), text(2, 4_000_001)].concat();
    let whole = [&part[..], &noise(3, 5_000_000), &part, &noise(4, 3_000_000), &part, &part].concat();
    fs::write(source.path().join("copy"), &whole[5_000_003..30_000_000]).unwrap();
    fs::write(source.path().join("whole"), &whole).unwrap();
    fs::write(source.path().join("equal"), &whole).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    source
}

/// Files that were pasted together from pieces of a few contents, at any alignment.
fn pasted(seed: u64) -> tempfile::TempDir {
    let source = place::scratch().unwrap();
    let mut numbers = Stream::new(seed);
    let contents = [text(seed, 300_000), noise(seed, 300_000), vec![b'z'; 100_000], text(seed + 1, 60_000)];
    for file in 0..12 {
        let mut bytes = Vec::new();
        for _ in 0..=numbers.below(6) {
            let content = &contents[usize::try_from(numbers.below(4)).unwrap()];
            let start = usize::try_from(numbers.below(content.len() as u64)).unwrap();
            let length = usize::try_from(numbers.below(200_000)).unwrap();
            bytes.extend_from_slice(&content[start..content.len().min(start + length)]);
        }
        fs::write(source.path().join(format!("file-{file}")), bytes).unwrap();
    }
    trees::set_times(source.path(), 1).unwrap();
    source
}

#[test]
fn the_kernel_reads_versions_of_files() {
    let Some(backings) = need("the kernel reads parts that are stored once", mount::both()) else { return };
    for source in [versions(), large()] {
        for (number, options) in FORMS.iter().enumerate() {
            let (_dir, image) = build(options, source.path());
            let backing = backings[number % backings.len()];
            let what = format!("{options:?}, mounted by {backing:?}");
            let mounted = Mount::new(&image, backing).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), &what);
        }
    }
}

#[test]
fn the_kernel_reads_what_was_pasted_together() {
    let Some(()) = need("the kernel reads what was pasted together", mount::supported(Backing::Loop)) else {
        return;
    };
    for seed in 0..24 {
        let source = pasted(seed);
        let options = FORMS[usize::try_from(seed).unwrap() % FORMS.len()];
        let (_dir, image) = build(options, source.path());
        let what = format!("seed {seed}, {options:?}");
        let mounted = Mount::new(&image, Backing::Loop).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), &what);
    }
}

#[test]
fn parts_of_partly_cached_files_are_read() {
    let Some(()) = need("the kernel reads parts of partly cached files", mount::supported(Backing::Loop))
    else {
        return;
    };
    let content = noise(12, 60_000).repeat(5)[..277_079].to_vec();
    let source = place::scratch().unwrap();
    fs::write(source.path().join("file"), &content).unwrap();
    for options in
        [["-zlz4", "-C65536", "-E48bit,dedupe"], ["-zzstd,1", "-C65536", "-E48bit,dedupe,all-fragments"]]
    {
        let (_dir, image) = build(&options, source.path());
        let mounted = Mount::new(&image, Backing::Loop).unwrap();
        let mut numbers = Stream::new(1);
        let mut below = |limit: usize| usize::try_from(numbers.below(limit as u64)).unwrap();
        for round in 0..400 {
            let file = fs::File::open(mounted.path().join("file")).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            if round % 2 == 0 {
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
            }
            for _ in 0..=below(6) {
                let start = below(content.len());
                let length = (below(60_000) + 1).min(content.len() - start);
                let mut bytes = vec![0; length];
                let what = format!("{options:?}, round {round}: {length} bytes from {start} on");
                let found =
                    file.read_at(&mut bytes, start as u64).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(found == length && bytes == content[start..start + length], "{what}: {found} came");
            }
        }
    }
}

#[test]
fn our_reader_and_verify_agree() {
    for source in [versions(), large(), pasted(100), pasted(101)] {
        for options in FORMS {
            let (_dir, image) = build(options, source.path());
            let what = format!("{options:?}, extracted");
            assert_extracted(ISHARE, &image, source.path(), &Expect::with_sha256(KEY), &what);
            let done = Command::new(ISHARE).arg("verify").arg(&image).output().unwrap();
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "{options:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

#[test]
fn fsck_finds_nothing_wrong() {
    let Some(peers) = need("fsck.erofs accepts parts that are stored once", peers::find()) else { return };
    for source in [versions(), pasted(200)] {
        for options in FORMS {
            let (_dir, image) = build(options, source.path());
            if let Err(error) = peers.check(&["--extract", "--xattr-inode-digest"], &image) {
                panic!("{options:?}: {error}");
            }
        }
    }
}

/// Nine versions take little more than one; what is stored once is counted.
#[test]
fn versions_take_little_more_than_one() {
    let source = versions();
    // Between blocks of one pcluster nothing can be cut: there only what is shifted by whole blocks is found.
    for (options, most) in [(FORMS[0], 80), (FORMS[2], 45), (FORMS[3], 60), (FORMS[6], 55), (FORMS[7], 45)] {
        let (_dir, image) = build(options, source.path());
        let words: Vec<String> = options.iter().map(|word| word.replace(",dedupe", "")).collect();
        let without: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| *word != "-Ededupe").collect();
        let (_other, plain) = build(&without, source.path());
        let [small, large] = [&image, &plain].map(|image| fs::metadata(image).unwrap().len());
        assert!(small * 100 < large * most, "{options:?}: {small} bytes against {large}");
    }
}

#[test]
fn threads_do_not_change_the_image() {
    let sources = [versions(), large(), pasted(300)];
    for (source, options) in sources.iter().zip([FORMS[2], FORMS[5], FORMS[6]]) {
        let images = ["--workers=1", "--workers=2", "--workers=5"].map(|workers| {
            let options: Vec<&str> = options.iter().copied().chain([workers]).collect();
            let (_dir, image) = build(&options, source.path());
            fs::read(image).unwrap()
        });
        assert!(images.iter().all(|image| *image == images[0]), "{options:?}");
    }
}
