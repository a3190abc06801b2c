//! Companion images: the running kernel mounts them with the original beside them, and the tree is that of the original's
//! source; the overlay form lies over the original.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use erofs_lab::{Lab, LabError, Limits, Located};
use erofs_testkit::compare::assert_same;
use erofs_testkit::require::{self, Absent, need};
use erofs_testkit::{Backing, Expect, Mount, content, corpora, mount, peers, place, trees};

/// The builder of the originals.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
/// The program under test.
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
/// The attribute that companions carry fingerprints in.
const KEY: &str = "trusted.erofs.fingerprint";
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";

/// An original and what was made of it.
struct Made {
    _dir: tempfile::TempDir,
    original: PathBuf,
    companion: PathBuf,
}

fn run(options: &[&str], original: &Path, companion: &Path) -> Output {
    Command::new(ISHARE).arg("index").args(options).arg(original).arg("-o").arg(companion).output().unwrap()
}

fn make(build: &[&str], index: &[&str], source: &Path) -> Made {
    let dir = place::disk_scratch().unwrap();
    let (original, companion) = (dir.path().join("original"), dir.path().join("companion"));
    peers::build(MKFS, build, &original, source).unwrap();
    let output = run(index, &original, &companion);
    assert!(output.status.success(), "{build:?} {index:?}: {}", String::from_utf8_lossy(&output.stderr));
    Made { _dir: dir, original, companion }
}

/// A mount that the kit has no name for; gone when this value is dropped.
struct Mounted {
    point: tempfile::TempDir,
    device: Option<String>,
}

impl Mounted {
    /// Mounts with these options, what they name being there.
    fn new(kind: &str, what: &Path, options: &str) -> Self {
        let point = place::disk_scratch().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", kind, "-o", options]).arg(what).arg(point.path());
        peers::run(&mut command).unwrap_or_else(|error| panic!("{options}: {error}"));
        Self { point, device: None }
    }

    /// Mounts a companion with its original, by loop devices or straight from the files.
    fn companion(made: &Made, backing: Backing) -> Self {
        let (original, companion) = (made.original.display(), &made.companion);
        match backing {
            Backing::File => {
                // mount(8) would make a loop device of it.
                let point = place::disk_scratch().unwrap();
                let options = std::ffi::CString::new(format!("device={original}")).unwrap();
                let flags = rustix::mount::MountFlags::RDONLY;
                rustix::mount::mount(companion, point.path(), "erofs", flags, Some(options.as_c_str()))
                    .unwrap();
                Self { point, device: None }
            }
            Backing::Loop => {
                let mut command = Command::new("losetup");
                command.args(["--find", "--show", "--read-only"]).arg(&made.original);
                let device = String::from_utf8(peers::run(&mut command).unwrap().stdout).unwrap();
                let device = device.trim().to_owned();
                let mut mounted = Self::new("erofs", companion, &format!("ro,loop,device={device}"));
                mounted.device = Some(device);
                mounted
            }
        }
    }

    fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.point.path()).status());
        if let Some(device) = &self.device {
            drop(Command::new("losetup").arg("--detach").arg(device).status());
        }
    }
}

/// A tree with lengths around the edges of blocks, holes, and files that are equal.
fn lengths(block_size: u64) -> tempfile::TempDir {
    let source = place::scratch().unwrap();
    content::write_lengths(source.path(), &content::edges(usize::try_from(block_size).unwrap())).unwrap();
    fs::write(source.path().join("copy"), content::noise(4097, 4097)).unwrap();
    content::sparse(&source.path().join("holes"), 500_000, &[(100_000, vec![7; 70_000])]).unwrap();
    content::sparse(&source.path().join("nothing"), 5_000_000, &[]).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    source
}

#[test]
fn the_kernel_reads_every_layout_of_the_original() {
    let Some(backings) = need("the kernel reads companions of every layout", mount::both()) else { return };
    let rows: [(u64, &[&str]); 8] = [
        (4096, &[]),
        (4096, &["-E^inline_data"]),
        (4096, &["--chunksize=4096"]),
        (4096, &["--chunksize=65536", "-Eforce-chunk-indexes"]),
        (4096, &[KEY_OPTION, "--ishare-digest=blake3"]),
        (512, &[]),
        (1024, &["--chunksize=4096"]),
        (2048, &["-Eforce-inode-extended"]),
    ];
    for (block_size, options) in rows {
        let source = lengths(block_size);
        let block_option = format!("-b{block_size}");
        let options = [&[block_option.as_str()], options].concat();
        for metadata in ["--plain-metadata", "-m16384:zstd", "-m4096:lz4", "--metadata=65536:deflate,1"] {
            let made = make(&options, &[KEY_OPTION, metadata], source.path());
            for backing in backings {
                let what = format!("{options:?} {metadata} by {backing:?}");
                let mounted = Mounted::companion(&made, backing);
                assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), &what);
            }
        }
    }
}

#[test]
fn one_of_each_thing() {
    let Some(backings) = need("the kernel reads a companion with one of each thing", mount::both()) else {
        return;
    };
    let source = trees::one_of_each().unwrap();
    for options in [&[][..], &[KEY_OPTION, "--ishare-digest=blake3"]] {
        let made = make(options, &[KEY_OPTION], source.path());
        for backing in backings {
            let mounted = Mounted::companion(&made, backing);
            assert_same(source.path(), mounted.path(), &Expect::with_sha256(KEY), "one of each");
        }
    }
}

/// Where overlayfs can show everything: it hides what it takes for its own.
#[test]
fn the_overlay_form_lies_over_the_original() {
    let check = "overlayfs finds the data of a companion's files in the original";
    let Some(()) = need(check, mount::supported(Backing::Loop)) else { return };
    let source = lengths(4096);
    let folder = source.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("one"), "two names").unwrap();
    fs::hard_link(folder.join("one"), source.path().join("other")).unwrap();
    std::os::unix::fs::symlink("folder/one", source.path().join("link")).unwrap();
    xattr::set(folder.join("one"), "user.note", b"kept").unwrap();
    xattr::set(folder.join("one"), "trusted.note", b"kept too").unwrap();
    trees::set_times(source.path(), 1).unwrap();
    for options in [&[][..], &["-zlz4", "-Efragments"]] {
        let made = make(options, &["--overlay"], source.path());
        let bytes = fs::metadata(&made.companion).unwrap().len();
        assert!(bytes < 64 << 10, "{bytes} bytes for no contents");
        let meta = Mount::new(&made.companion, Backing::Loop).unwrap();
        let data = Mount::new(&made.original, Backing::Loop).unwrap();
        let layers = format!("lowerdir={}::{}", meta.path().display(), data.path().display());
        let options = format!("ro,metacopy=on,redirect_dir=on,{layers}");
        let mounted = Mounted::new("overlay", Path::new("overlay"), &options);
        assert_same(source.path(), mounted.path(), &Expect::default(), &options);
    }
}

/// On a kernel that shares page cache: what a companion brings into memory serves an image that was built with
/// fingerprints, and the other way round. The frames are the same.
#[test]
fn a_companion_shares_with_an_image_that_has_fingerprints() {
    let check = "a companion shares page cache on a real kernel";
    let Some(()) = need(check, require::root()) else { return };
    let lab = match Lab::prepare(&place::target_dir().join("lab")) {
        Ok(lab) => lab,
        Err(LabError::Absent { what }) => {
            need::<()>(check, Err(Absent::because(what)));
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let source = place::scratch().unwrap();
    fs::write(source.path().join("big"), content::noise(1, 8 << 20)).unwrap();
    // Blocks in the original, and a tail in the companion.
    fs::write(source.path().join("tail"), content::noise(2, (1 << 20) + 100)).unwrap();
    for metadata in ["-m32768:zstd", "--plain-metadata"] {
        shares(&lab, &make(&[], &[KEY_OPTION, metadata], source.path()), source.path());
    }
}

fn shares(lab: &Lab, made: &Made, source: &Path) {
    let dir = made.original.parent().unwrap();
    peers::build(MKFS, &[KEY_OPTION, "-T1"], &dir.join("built"), source).unwrap();
    let list: Vec<_> = ["block", "file-directio"]
        .map(|backend| {
            let text = format!(
                "title = '{backend}'
                event = [
                  {{ do = 'mount', mount = 'c', image = 'c', domain = 'd', backend = '{backend}', devices = ['o'] }},
                  {{ do = 'mount', mount = 'b', image = 'b', domain = 'd', backend = '{backend}' }},
                  {{ do = 'stat-all', mount = 'c' }},
                  {{ do = 'stat-all', mount = 'b' }},
                  {{ do = 'read', mount = 'c', path = '/big', method = 'read' }},
                  {{ do = 'read', mount = 'b', path = '/big', method = 'read' }},
                  {{ do = 'read', mount = 'b', path = '/tail', method = 'read' }},
                  {{ do = 'read', mount = 'c', path = '/tail', method = 'read' }},
                ]
                [images]
                c = 'companion'
                o = 'original'
                b = 'built'\n"
            );
            Located::parse(&text, &dir.join("scenario.toml")).unwrap()
        })
        .into();
    let report = lab.run(&list, Limits::default()).unwrap();
    for scenario in &report.scenarios {
        let pages = scenario.data_pages();
        assert_eq!(pages[pages.len() - 4..], [2048, 0, 257, 0], "{scenario}");
        for (path, want) in [("/big", 2048), ("/tail", 257)] {
            let found: u64 = ["b", "c"]
                .map(|mount| {
                    scenario.file(mount, path).unwrap().same_frames.as_ref().map_or(0, |same| same.pages)
                })
                .iter()
                .sum();
            assert_eq!(found, want, "{path}: frames that both mounts show\n{scenario}");
        }
    }
}

/// The bytes depend on the original alone, and a companion is itself a tree that can be read with its device.
#[test]
fn companions_are_the_same_each_time() {
    let source = lengths(4096);
    let one = make(&[], &["--workers=1"], source.path());
    for metadata in [&[][..], &["--plain-metadata"]] {
        let [some, more] = ["--workers=1", "--workers=3"]
            .map(|workers| make(&[], &[metadata, &[workers]].concat(), source.path()));
        assert!(fs::read(&some.companion).unwrap() == fs::read(&more.companion).unwrap(), "{metadata:?}");
    }
    let extract = |image: &Path, device: Option<&Path>, to: &Path| {
        let mut command = Command::new(ISHARE);
        command.arg("extract").arg("--output").arg(to).arg(image);
        if let Some(device) = device {
            command.arg("--device").arg(device);
        }
        peers::run(&mut command).unwrap();
    };
    let dir = place::scratch().unwrap();
    let (direct, through) = (dir.path().join("direct"), dir.path().join("through"));
    extract(&one.original, None, &direct);
    extract(&one.companion, Some(&one.original), &through);
    assert_same(&direct, &through, &Expect::default(), "read with and without the companion");
}

/// What fsck.erofs 1.9.4 reads of inodes in a metabox is wrong, whoever made the image, so that metadata is plain here.
/// Where blocks stand before a tail, fsck.erofs 1.9.4 reads them from the companion instead of its device, because a flat
/// inode names no device; Linux looks the address up. So this is about originals without tails.
#[test]
fn fsck_accepts_companions() {
    let Some(peers) = need("fsck.erofs accepts companions", peers::find()) else { return };
    let source = lengths(4096);
    for options in ["-E^inline_data", "--chunksize=4096"] {
        let made = make(&[options], &[KEY_OPTION, "--plain-metadata"], source.path());
        let device = format!("--device={}", made.original.display());
        if let Err(error) = peers.check(&[device.as_str(), "--xattr-inode-digest"], &made.companion) {
            panic!("{options}: {error}");
        }
    }
    for options in [&[][..], &["-zlz4"]] {
        let made = make(options, &["--overlay"], source.path());
        peers.check::<&str>(&[], &made.companion).unwrap();
    }
}

#[test]
fn a_debian_root_file_system() {
    let Some(source) = need("the companion of a Debian root file system", corpora::debian_root()) else {
        return;
    };
    let Some(backings) = need("the companion of a Debian root file system", mount::both()) else { return };
    // Tails cannot be referred to: where the original has them behind its inodes, they are copied.
    let rows: [(&[&str], &[&str], u64); 4] = [
        (&[], &[], 3),
        (&["-E^inline_data"], &[], 1),
        (&["-E^inline_data"], &["--plain-metadata"], 1),
        (&[], &["--plain-metadata"], 7),
    ];
    for (options, metadata, percent) in rows {
        let made = make(options, &[metadata, &[KEY_OPTION]].concat(), &source);
        let bytes = |path: &Path| fs::metadata(path).unwrap().len();
        let (original, companion) = (bytes(&made.original), bytes(&made.companion));
        assert!(companion * 100 < original * percent, "{options:?}: {companion} bytes beside {original}");
        for backing in backings {
            let mounted = Mounted::companion(&made, backing);
            assert_same(&source, mounted.path(), &Expect::with_sha256(KEY), &format!("by {backing:?}"));
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line() {
    let dir = place::disk_scratch().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("text"), "many times the same ".repeat(10_000)).unwrap();
    let [plain, packed, companion] = ["plain", "packed", "companion"].map(|name| dir.path().join(name));
    peers::build::<&str>(MKFS, &[], &plain, &source).unwrap();
    peers::build(MKFS, &["-zlz4"], &packed, &source).unwrap();
    assert!(run(&[], &plain, &companion).status.success());
    let rows: [(&Path, &[&str], i32, &str); 9] = [
        (&plain, &["-m4096:zstd", "--plain-metadata"], 2, "cannot be used with"),
        (&plain, &["-m4096:1"], 2, "-m: found algorithm 1"),
        (&plain, &["-m1000:zstd"], 1, "pcluster of the metadata: found 1000 bytes"),
        (&packed, &[], 1, "/text: found compressed data, want data that is stored as it is"),
        (&companion, &[], 1, "found data on 1 extra devices"),
        (&plain, &["--overlay", "--ishare-digest=sha256"], 2, "cannot be used with"),
        (&plain, &["--ishare-digest=uuid"], 2, "needs --ishare-namespace"),
        (&plain, &["--ishare-digest=source"], 2, "possible values"),
        (&source.join("text"), &[], 1, "superblock"),
    ];
    for (image, options, code, want) in rows {
        let target = dir.path().join("target");
        let output = run(options, image, &target);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{options:?}: {text}");
        assert!(text.contains(want), "{options:?}: {text}");
        assert!(!target.exists(), "{options:?} left a companion");
    }
    let same = run(&[], &plain, &plain);
    assert_eq!(same.status.code(), Some(2));
    assert!(String::from_utf8(same.stderr).unwrap().contains("are the same file"));
}

/// Malformed originals give an error or a companion, never a panic and never an endless run.
#[test]
fn hostile_originals() {
    let dir = place::scratch().unwrap();
    for entry in fs::read_dir(place::workspace().join("testdata/hostile")).unwrap() {
        let image = entry.unwrap().path();
        if image.extension().is_none_or(|extension| extension != "img") {
            continue;
        }
        for options in [&[][..], &["--overlay"]] {
            let output = run(options, &image, &dir.path().join("companion"));
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {text}", image.display());
            assert!(text.lines().count() <= 1, "{}: {text}", image.display());
        }
    }
}
