//! Images whose inodes or directories are compressed: the running kernel, fsck.erofs and our own reader judge
//! them with and without compressed contents; a kernel that shares page cache shares between them and plain
//! ones.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

#[path = "common/lab.rs"]
mod common_lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_lab::{Limits, Located};
use erofs_testkit::compare::{assert_extracted, assert_same};
use erofs_testkit::require::need;
use erofs_testkit::{Expect, LoopDevice, Mount, content, corpora, mount, peers, place, trees};

/// The builder under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
/// The reader under test.
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
/// The attribute that the images of these tests carry fingerprints in, and the option that asks for it.
const KEY: &str = "trusted.erofs.fingerprint";
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";

/// Every algorithm, sizes of pclusters, and ways to store contents beside it; then what else can be done to
/// directories.
const FORMS: [&[&str]; 27] = [
    &["-m4096"],
    &["-m4096:lz4"],
    &["-m16384:lz4hc,9"],
    &["-m65536:zstd,9"],
    &["-m1048576:deflate,1"],
    &["-m32768:lzma,1"],
    &["-m16384:zstd", "-E^inline_data"],
    &["-m16384:zstd", "--chunksize=4096"],
    &["-m8192:zstd", "-b512"],
    &["-m8192:zstd", "-b2048", "-zlz4"],
    &["-m8192:zstd", "-Eforce-inode-extended", "-x0"],
    &["-m4096", "-zlz4"],
    &["-m8192:1", "-zlz4:zstd,5", "-C65536"],
    &["-m65536:lzma,1", "-zlz4hc", "-C16384", "-Elegacy-compress"],
    &["-m16384", "-zdeflate,1", "-C16384", "-Eztailpacking"],
    &["-m16384:lz4", "-zzstd", "-C65536", "-Efragments"],
    &["-m8192", "-zzstd", "-C32768", "-Eall-fragments"],
    &["-m65536", "-zzstd", "-C65536", "-E48bit"],
    &["-m65536:lz4", "-zzstd", "-C65536", "-E48bit,fragments"],
    &["-m16384:zstd", "-zlz4", "--compress-class=never"],
    &["-m16384", "-zlz4", "--zD", "-Edot-omitted"],
    &["-m16384:deflate,1", "-zzstd", "-C65536", "--zD=1", "-E48bit,fragments"],
    &["-zlz4", "--zD"],
    &["-zzstd", "-C65536", "--zD=1", "-Efragments", "--MZ"],
    &["-Edot-omitted", "--MZ=id"],
    &["-E48bit"],
    &["-zlz4", "-b1024", "--zD", "-Edot-omitted", "--MZ=0"],
];

/// One of each thing, directories and links that have whole blocks, and contents around the edges of blocks.
fn source() -> tempfile::TempDir {
    let source = trees::one_of_each().unwrap();
    let lengths = source.path().join("more lengths");
    fs::create_dir(&lengths).unwrap();
    content::write_lengths(&lengths, &content::edges(4096)).unwrap();
    let entries = source.path().join("more entries");
    fs::create_dir(&entries).unwrap();
    trees::many_entries(&entries, 300).unwrap();
    let text = content::text(3, 600_000);
    for length in [1, 100, 4097, 70_000, text.len()] {
        fs::write(source.path().join(format!("text-{length}")), &text[..length]).unwrap();
    }
    content::sparse(&source.path().join("more holes"), 3_000_000, &[(1_000_000, vec![7; 70_000])]).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    source
}

fn build(options: &[&str], source: &Path) -> (tempfile::TempDir, PathBuf) {
    peers::image(MKFS, options, source)
}

/// Each image is built once and judged by the kernel, by fsck.erofs and dump.erofs, by our checker and our
/// reader.
#[test]
fn everyone_reads_every_form() {
    let backings = need("the kernel reads compressed metadata", mount::both());
    let peers = need("fsck.erofs accepts compressed metadata", peers::find());
    let source = source();
    for (number, form) in FORMS.iter().enumerate() {
        let options = [form, &[KEY_OPTION][..]].concat();
        let (_dir, image) = build(&options, source.path());
        if let Some(backings) = &backings {
            let backing = backings[number % backings.len()];
            let what = format!("{options:?}, mounted by {backing:?}");
            let mounted = Mount::new(&image, backing).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), &what);
            assert!(has_dots(&mounted.path().join("more entries")), "{what}");
        }
        if let Some(peers) = &peers {
            let announced = form.iter().any(|option| option.starts_with("-m"));
            the_peers_find_nothing_wrong(peers, &image, announced, &format!("{options:?}"));
        }
        let mut verify = Command::new(ISHARE);
        if let Err(error) = peers::run(verify.arg("verify").arg(&image)) {
            panic!("{options:?}: {error}");
        }
        let what = format!("{options:?}, extracted");
        assert_extracted(ISHARE, &image, source.path(), &Expect::with_sha256(KEY), &what);
    }
}

/// The contents that fsck.erofs 1.9.4 takes out of such images are wrong wherever they are not compressed,
/// whoever made the image, so that nothing is extracted here: it reads metadata and directories alone.
fn the_peers_find_nothing_wrong(peers: &peers::Peers, image: &Path, announced: bool, what: &str) {
    if let Err(error) = peers::run(Command::new(&peers.fsck).arg(image)) {
        panic!("{what}: {error}");
    }
    let dump = peers::run(Command::new(&peers.dump).arg(image)).unwrap().stdout;
    assert_eq!(String::from_utf8(dump).unwrap().contains("48bit metabox"), announced, "{what}");
}

/// Whether a directory lists itself and its parent.
fn has_dots(dir: &Path) -> bool {
    let dir = rustix::fs::Dir::new(fs::File::open(dir).unwrap()).unwrap();
    dir.map(Result::unwrap).filter(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")).count() == 2
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let source = source();
    // More than one segment of metadata.
    let many = source.path().join("many files");
    fs::create_dir(&many).unwrap();
    for number in 0..5_000_u64 {
        fs::write(many.join(format!("{number}")), content::noise(number, 3_700)).unwrap();
    }
    for form in [&["-m16384:zstd"][..], &["-m4096", "-zlz4", "-Efragments"], &["-zlz4", "--zD"]] {
        let of = |workers: &str| {
            let (_dir, image) = build(&[form, &[workers, "-T1", KEY_OPTION]].concat(), source.path());
            fs::read(image).unwrap()
        };
        let one = of("--workers=1");
        assert!(one == of("--workers=2") && one == of("--workers=5"), "{form:?}");
    }
}

/// Where a device held something else before, no byte of that stays.
#[test]
fn devices_get_the_same_bytes() {
    let check = "compressed metadata on a block device";
    let Some(()) = need(check, mount::supported(erofs_testkit::Backing::Loop)) else { return };
    let source = source();
    let tight = ["-m65536", "-zzstd", "-C65536", "-E48bit,fragments"];
    // Longer than what is wiped at the start of a device.
    let long = ["--fsalignblks=4096"];
    for form in [&["-m16384:zstd"][..], &tight, &["-zzstd", "-C65536", "-E48bit", "--zD"], &long] {
        let options = [form, &["-T1"]].concat();
        let (dir, image) = build(&options, source.path());
        let want = fs::read(image).unwrap();
        let disk = dir.path().join("disk");
        fs::write(&disk, vec![0xa5; want.len() + (1 << 20)]).unwrap();
        let device = LoopDevice::new(&disk).unwrap();
        peers::build(MKFS, &options, device.path(), source.path()).unwrap();
        drop(device);
        assert!(fs::read(&disk).unwrap()[..want.len()] == want, "{form:?}");
    }
}

#[test]
fn a_debian_root_file_system() {
    let check = "compressed metadata of a Debian root file system";
    let Some(source) = need(check, corpora::debian_root()) else { return };
    let Some(backings) = need(check, mount::both()) else { return };
    // By both ways of mounting, as the forms above are by one each.
    let forms: [&[&str]; 3] = [
        &["-m32768:zstd"],
        &["-m65536:deflate,3", "-zlz4", "-C65536"],
        &["-m4096:lz4", "-zlz4", "-Eztailpacking"],
    ];
    for form in forms {
        let options = [form, &[KEY_OPTION]].concat();
        let (_dir, image) = build(&options, &source);
        let plain: Vec<&str> = options.iter().copied().filter(|option| !option.starts_with("-m")).collect();
        let (_other, without) = build(&plain, &source);
        let bytes = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(bytes(&image) < bytes(&without), "{form:?}: {} of {}", bytes(&image), bytes(&without));
        for backing in backings {
            let what = format!("{form:?}, mounted by {backing:?}");
            let mounted = Mount::new(&image, backing).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(&source, mounted.path(), &Expect::with_sha256(KEY), &what);
        }
    }
}

/// On a kernel that shares page cache: what an image with compressed metadata brings into memory serves a
/// plain one, and the other way round. A tail behind an inode is shared too.
#[test]
fn it_shares_with_an_image_without() {
    let check = "images with compressed metadata share page cache on a real kernel";
    let Some(lab) = common_lab::lab(check) else { return };
    let source = place::scratch().unwrap();
    fs::write(source.path().join("big"), content::noise(1, 8 << 20)).unwrap();
    fs::write(source.path().join("tail"), content::noise(2, (1 << 20) + 100)).unwrap();
    fs::write(source.path().join("small"), content::noise(3, 100)).unwrap();
    let dir = place::disk_scratch().unwrap();
    for (name, options) in [("boxed", &["-m16384:zstd", "-T1"][..]), ("plain", &["-T2"])] {
        peers::build(MKFS, &[options, &[KEY_OPTION]].concat(), &dir.path().join(name), source.path())
            .unwrap();
    }
    let list: Vec<_> = ["block", "file-directio"]
        .map(|backend| {
            let text = format!(
                "title = '{backend}'
                event = [
                  {{ do = 'mount', mount = 'b', image = 'b', domain = 'd', backend = '{backend}' }},
                  {{ do = 'mount', mount = 'p', image = 'p', domain = 'd', backend = '{backend}' }},
                  {{ do = 'stat-all', mount = 'b' }},
                  {{ do = 'stat-all', mount = 'p' }},
                  {{ do = 'read', mount = 'b', path = '/big', method = 'read' }},
                  {{ do = 'read', mount = 'p', path = '/big', method = 'read' }},
                  {{ do = 'read', mount = 'p', path = '/tail', method = 'read' }},
                  {{ do = 'read', mount = 'b', path = '/tail', method = 'read' }},
                  {{ do = 'read', mount = 'b', path = '/small', method = 'read' }},
                  {{ do = 'read', mount = 'p', path = '/small', method = 'read' }},
                ]
                [images]
                b = 'boxed'
                p = 'plain'\n"
            );
            Located::parse(&text, &dir.path().join("scenario.toml")).unwrap()
        })
        .into();
    let report = lab.run(&list, Limits::default()).unwrap();
    for scenario in &report.scenarios {
        let pages = scenario.data_pages();
        assert_eq!(pages[pages.len() - 6..], [2048, 0, 257, 0, 1, 0], "{scenario}");
        for (path, want) in [("/big", 2048), ("/tail", 257), ("/small", 1)] {
            let of =
                |mount| scenario.file(mount, path).unwrap().same_frames.as_ref().map_or(0, |same| same.pages);
            assert_eq!(of("b") + of("p"), want, "{path}: frames that both mounts show\n{scenario}");
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_in_one_line() {
    let source = place::scratch().unwrap();
    let target = source.path().join("image");
    let rows: [(&[&str], &str); 9] = [
        (&["-zlz4", "--zD=2"], "--zD"),
        (&["-m0"], "-m: found 0 bytes, want a multiple of 4096"),
        (&["-m5000:zstd"], "-m: found 5000 bytes"),
        (&["-m2097152:zstd"], "up to 1048576"),
        (&["-mx"], "-m: "),
        (&["-m4096:none"], "-m: found the algorithm \"none\""),
        (&["-m4096:zstd,99"], "-m "),
        (&["-m4096:1", "-zlz4"], "-m: found algorithm 1, want a number below 1"),
        (&["--MZ=d"], "found d without i"),
    ];
    for (options, want) in rows {
        let output = Command::new(MKFS).args(options).arg(&target).arg(source.path()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {text}");
        assert!(text.contains(want), "{options:?}: {text}");
        assert!(!target.exists(), "{options:?} left an image");
    }
}

/// The metabox is a file of the image: what is wrong with its data is a finding, and no failure to read.
#[test]
fn damaged_metadata_is_a_finding() {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let source = source();
    let (_place, image) = build(&["-m4096:zstd"], source.path());
    let mut bytes = fs::read(&image).unwrap();
    let frames: Vec<usize> = (0..bytes.len() - 64).filter(|&at| bytes[at..].starts_with(&MAGIC)).collect();
    for at in frames {
        for byte in &mut bytes[at + 20..at + 60] {
            *byte ^= 0x55;
        }
    }
    fs::write(&image, bytes).unwrap();
    let output = Command::new(ISHARE).arg("verify").arg(&image).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("zstd data of "), "{text}");
}
