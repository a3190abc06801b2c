//! The same tree gives the same bytes: whatever the number of threads, the order in which the file system
//! lists names, the file system, the time of day, the time zone, the locale and the working directory.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use erofs_testkit::peers::run;
use erofs_testkit::{content, place, trees};

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";

/// One run of the builder.
#[derive(Clone, Default)]
struct Run {
    options: Vec<&'static str>,
    environment: Vec<(&'static str, &'static str)>,
    working_directory: Option<PathBuf>,
}

impl Run {
    fn with(options: &[&'static str]) -> Self {
        Self { options: options.to_vec(), ..Self::default() }
    }

    /// The bytes of the image that this run makes of `source`.
    fn image(&self, source: &Path) -> Vec<u8> {
        let dir = place::disk_scratch().unwrap();
        let image = dir.path().join("image");
        let mut command = Command::new(MKFS);
        command.args(&self.options).arg(&image).arg(source);
        command.env_remove("SOURCE_DATE_EPOCH").envs(self.environment.iter().copied());
        if let Some(dir) = &self.working_directory {
            command.current_dir(dir);
        }
        run(&mut command).unwrap_or_else(|error| panic!("{:?}: {error}", self.options));
        fs::read(image).unwrap()
    }
}

/// Without a diff of megabytes in the message.
fn assert_same_bytes(left: &[u8], right: &[u8], what: &str) {
    let at = left.iter().zip(right).position(|(left, right)| left != right);
    assert!(left == right, "{what}: {} and {} bytes, first different byte {at:?}", left.len(), right.len());
}

#[test]
fn any_number_of_threads() {
    let source = trees::one_of_each().unwrap();
    let large = content::noise(5, 9 << 20);
    fs::write(source.path().join("large"), &large).unwrap();
    fs::write(source.path().join("large again"), &large).unwrap();
    trees::set_times(source.path(), 3).unwrap();
    let rows: [&[&'static str]; 4] =
        [&[KEY_OPTION], &[], &[KEY_OPTION, "--chunksize=4096"], &[KEY_OPTION, "--no-file-dedupe", "-b1024"]];
    for options in rows {
        let reference = Run::with(options).image(source.path());
        for workers in ["--workers=1", "--workers=2", "--workers=5"] {
            let options: Vec<_> = options.iter().copied().chain([workers]).collect();
            for _ in 0..2 {
                assert_same_bytes(
                    &reference,
                    &Run::with(&options).image(source.path()),
                    &format!("{options:?}"),
                );
            }
        }
    }
}

/// Makes one tree in a given order of creation. Attributes are small enough for a disk file system.
fn make(root: &Path, order: &[usize]) {
    for at in order {
        let dir = root.join(format!("d{}", at % 7));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join(format!("f{at}"));
        fs::write(&file, content::noise(*at as u64 % 40, at * 61 % 20_000)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let mut names = ["user.b", "user.a", "user.ab"];
        if at % 2 == order[0] % 2 {
            names.reverse();
        }
        for name in names {
            xattr::set(&file, name, format!("{}", at % 3).as_bytes()).unwrap();
        }
    }
    for at in order {
        let name = root.join(format!("d{}", at % 5)).join(format!("link{at}"));
        fs::hard_link(root.join(format!("d{}", at % 7)).join(format!("f{at}")), name).unwrap();
    }
    for dir in [root.to_path_buf()].into_iter().chain((0..7).map(|at| root.join(format!("d{at}")))) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    trees::set_times(root, 4).unwrap();
}

#[test]
fn any_order_of_creation_on_any_file_system() {
    let forward: Vec<usize> = (0..300).collect();
    let backward: Vec<usize> = (0..300).rev().collect();
    let mixed: Vec<usize> = (0..300).map(|at| at * 77 % 300).collect();
    let mut images = BTreeMap::new();
    for (name, order) in [("forward", &forward), ("backward", &backward), ("mixed", &mixed)] {
        for (place, dir) in [("memory", place::scratch().unwrap()), ("disk", place::disk_scratch().unwrap())]
        {
            make(dir.path(), order);
            images.insert(format!("{name} on {place}"), Run::with(&[KEY_OPTION]).image(dir.path()));
        }
    }
    let reference = images["forward on memory"].clone();
    for (name, image) in images {
        assert_same_bytes(&reference, &image, &name);
    }
}

/// Time zone, locale, working directory and the clock leave no trace.
#[test]
fn any_surroundings() {
    let source = trees::one_of_each().unwrap();
    let reference = Run::with(&[KEY_OPTION]).image(source.path());
    let mut runs = vec![
        Run { environment: vec![("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8")], ..Run::default() },
        Run {
            environment: vec![("TZ", "America/Anchorage"), ("LC_ALL", "C"), ("HOME", "/")],
            ..Run::default()
        },
        Run {
            environment: vec![("RAYON_NUM_THREADS", "3"), ("NO_COLOR", "1"), ("TERM", "dumb")],
            ..Run::default()
        },
        Run { working_directory: Some(PathBuf::from("/")), ..Run::default() },
        Run { working_directory: Some(source.path().to_path_buf()), ..Run::default() },
    ];
    // A build time that came from the clock would differ after this.
    std::thread::sleep(Duration::from_millis(1100));
    for run in &mut runs {
        run.options = vec![KEY_OPTION];
        let what = format!("{:?} in {:?}", run.environment, run.working_directory);
        assert_same_bytes(&reference, &run.image(source.path()), &what);
    }
}

/// A path to the source is not part of the tree: it may be relative, end in a slash or go through a symlink.
#[test]
fn any_spelling_of_the_source() {
    let base = place::scratch().unwrap();
    let source = base.path().join("tree");
    fs::create_dir(&source).unwrap();
    make(&source, &(0..40).collect::<Vec<_>>());
    std::os::unix::fs::symlink("tree", base.path().join("alias")).unwrap();
    let reference = Run::with(&[KEY_OPTION]).image(&source);
    for spelling in ["tree", "tree/", "./tree/.", "tree/d1/..", "alias/"] {
        let run = Run { working_directory: Some(base.path().to_path_buf()), ..Run::with(&[KEY_OPTION]) };
        assert_same_bytes(&reference, &run.image(Path::new(&OsString::from(spelling))), spelling);
    }
}

/// `SOURCE_DATE_EPOCH` counts when it is given and `-T` means the same; different times are different images.
#[test]
fn the_build_time_is_what_was_asked_for() {
    let source = place::scratch().unwrap();
    make(source.path(), &(0..20).collect::<Vec<_>>());
    let epoch =
        |seconds| Run { environment: vec![("SOURCE_DATE_EPOCH", seconds)], ..Run::with(&[KEY_OPTION]) };
    let none = Run::with(&[KEY_OPTION]).image(source.path());
    let early = epoch("1600000000").image(source.path());
    assert_same_bytes(&early, &epoch("1600000000").image(source.path()), "the same SOURCE_DATE_EPOCH twice");
    assert!(early != epoch("1600000001").image(source.path()), "SOURCE_DATE_EPOCH has no effect");
    assert!(early != none, "SOURCE_DATE_EPOCH has no effect");
    let option = |text| Run::with(&[KEY_OPTION, text]).image(source.path());
    assert!(option("-T1600000000") != option("-T1600000001"), "-T has no effect");
    assert_same_bytes(&option("-T1600000000"), &option("-T1600000000"), "the same -T twice");
}

/// What lay at the output before, and on which file system it lies, leaves no trace.
#[test]
fn any_output() {
    let source = place::scratch().unwrap();
    make(source.path(), &(0..50).collect::<Vec<_>>());
    let reference = Run::with(&[KEY_OPTION]).image(source.path());
    for dir in [place::scratch().unwrap(), place::disk_scratch().unwrap()] {
        let image = dir.path().join("image");
        for before in [None, Some(0), Some(10 << 20)] {
            if let Some(len) = before {
                fs::write(&image, vec![0xa5; len]).unwrap();
            }
            run(Command::new(MKFS)
                .env_remove("SOURCE_DATE_EPOCH")
                .arg(KEY_OPTION)
                .arg(&image)
                .arg(source.path()))
            .unwrap();
            assert_same_bytes(&reference, &fs::read(&image).unwrap(), &format!("over {before:?} bytes"));
        }
    }
}

/// Options, and what is changed in the tree.
type Row<'c> = (&'static [&'static str], &'c dyn Fn(&Path));

/// Trees that differ in nothing that is stored give the same image, UUID and order of everything included.
#[test]
fn what_is_not_stored_leaves_no_trace() {
    let names = |root: &Path| -> Vec<PathBuf> {
        let files = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap());
        files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
    };
    let times: &dyn Fn(&Path) = &|root| trees::set_times(root, 9).unwrap();
    let attributes: &dyn Fn(&Path) = &|root| {
        for name in names(root) {
            xattr::set(&name, "user.b", b"another value").unwrap();
            xattr::set(&name, "user.other", b"value").unwrap();
        }
    };
    let left_out: &dyn Fn(&Path) = &|root| {
        fs::create_dir(root.join("left out")).unwrap();
        fs::write(root.join("left out/file"), vec![1; 9000]).unwrap();
        trees::set_times(root, 4).unwrap();
    };
    // The same files, but no name leads to the inode of another.
    let copies: &dyn Fn(&Path) = &|root| {
        for name in names(root) {
            run(Command::new("cp").arg("--preserve=all").arg(&name).arg(root.join("copy"))).unwrap();
            fs::rename(root.join("copy"), name).unwrap();
        }
        trees::set_times(root, 4).unwrap();
    };
    let rows: [Row<'_>; 10] = [
        (&["--ignore-mtime"], times),
        (&["--ignore-mtime", "-T1700000000", "--mkfs-time", KEY_OPTION], times),
        (&["--ignore-mtime", "-zlz4", "-Efragments"], times),
        (&["--ignore-mtime", "-m4096:zstd", "-Edot-omitted"], times),
        (&["-Eforce-inode-compact"], times),
        (&["-T5"], times),
        (&["-x-1"], attributes),
        (&["--exclude-regex=^left"], left_out),
        (&["--hard-dereference", "-T1"], copies),
        (&["--hard-dereference", "--chunksize=4096", "--all-time"], copies),
    ];
    for (options, change) in rows {
        let (one, other) = (place::scratch().unwrap(), place::scratch().unwrap());
        for dir in [&one, &other] {
            make(dir.path(), &(0..60).collect::<Vec<_>>());
        }
        change(other.path());
        let image = |dir: &tempfile::TempDir| Run::with(options).image(dir.path());
        assert_same_bytes(&image(&one), &image(&other), &format!("{options:?}"));
    }
}

/// A sparse file and one with its zeros written out are the same content.
#[test]
fn holes_of_the_source() {
    let (sparse, full) = (place::disk_scratch().unwrap(), place::disk_scratch().unwrap());
    let mib = 1 << 20;
    for (name, length, data) in [
        ("all", 33 * mib, &[][..]),
        ("front", 34 * mib + 7, &[(34 * mib, 7)]),
        ("middle", 36 * mib, &[(17 * mib + 100, mib)]),
        ("small", 300_000, &[(100_000, 10)]),
    ] {
        let file = fs::File::create(sparse.path().join(name)).unwrap();
        file.set_len(length).unwrap();
        for &(at, length) in data {
            let bytes = content::noise(at, usize::try_from(length).unwrap());
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes, at).unwrap();
        }
    }
    run(Command::new("cp").args(["-a", "--sparse=never"]).arg(sparse.path().join(".")).arg(full.path()))
        .unwrap();
    let rows: [&[&'static str]; 14] = [
        &[],
        &[KEY_OPTION],
        &["--chunksize=4096"],
        &["--chunksize=1048576", KEY_OPTION],
        &["--chunksize=8388608", KEY_OPTION],
        &["-b512", "--no-file-dedupe", KEY_OPTION],
        &["-zlz4", KEY_OPTION],
        &["-zzstd,3", "-C65536"],
        &["-zlz4", "-Ededupe", KEY_OPTION],
        &["-zzstd", "-Efragments,dedupe"],
        &["-zlz4", "-Eall-fragments"],
        &["-zlz4:zstd", "-Ehead2", "-C16384", KEY_OPTION],
        &["-zdeflate", "-E48bit", KEY_OPTION],
        &["-zlz4", "--compress-class=never", KEY_OPTION],
    ];
    for options in rows {
        let image = |dir: &tempfile::TempDir, workers| {
            let options: Vec<_> = options.iter().copied().chain([workers, "-T1"]).collect();
            Run::with(&options).image(dir.path())
        };
        let (sparse, full) = (image(&sparse, "--workers=3"), image(&full, "--workers=2"));
        assert_same_bytes(&sparse, &full, &format!("{options:?}"));
    }
}
