//! The verbs of `erofs-ishare`: what they print, how they end, and what extract leaves on the disk.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use erofs_testkit::compare::assert_same;
use erofs_testkit::require::{need, root};
use erofs_testkit::{Expect, content, place, trees};
use serde_json::Value;

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn ishare<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    let output = Command::new(ISHARE).args(arguments).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn build(options: &[&str], source: &Path, image: &Path) {
    let output = Command::new(MKFS).arg("--quiet").args(options).args([image, source]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A small tree and its image. Owners are those of root and times are 0, so that listings are the same
/// everywhere.
struct Sample {
    place: tempfile::TempDir,
}

impl Sample {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        let place = place::scratch().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir_all(tree.join("d/e")).unwrap();
        fs::write(tree.join("d/one"), b"1\n").unwrap();
        fs::write(tree.join("d/e/two"), b"22").unwrap();
        fs::write(tree.join("big"), content::noise(1, 10_000)).unwrap();
        fs::write(tree.join("empty"), b"").unwrap();
        fs::write(tree.join(OsStr::from_bytes(b"odd\x1b\\\xff")), b"odd").unwrap();
        symlink("d/one", tree.join("link")).unwrap();
        fs::hard_link(tree.join("d/one"), tree.join("same")).unwrap();
        for (path, mode) in
            [("", 0o755), ("d", 0o755), ("d/e", 0o1777), ("d/one", 0o644), ("big", 0o4750), ("empty", 0o600)]
        {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        let sample = Self { place };
        let options = [
            "-T0",
            "--all-root",
            "--ishare-key=trusted.fp",
            "-Lsample",
            "-U00000000-0000-4000-8000-000000000001",
        ];
        build(&[&options, more].concat(), &tree, &sample.image());
        sample
    }

    fn image(&self) -> PathBuf {
        self.place.path().join("image")
    }

    /// Runs a verb on the image.
    fn run(&self, verb: &[&str], paths: &[&str]) -> Run {
        let image = self.image();
        let words =
            verb.iter().map(OsStr::new).chain([image.as_os_str()]).chain(paths.iter().map(OsStr::new));
        ishare(words)
    }

    /// A line on stderr about the image.
    fn line(&self, text: &str) -> String {
        format!("erofs-ishare: {}: {text}\n", self.image().display())
    }
}

#[test]
fn exit_codes_and_first_words() {
    let sample = Sample::new();
    let image = sample.image();
    let image = image.to_str().unwrap();
    let nothing = image.replace("image", "nothing");
    for (words, code, out, err) in [
        (vec![], 2, "", "Look into EROFS images"),
        (vec!["--help"], 0, "Look into EROFS images", ""),
        (vec!["--version"], 0, "erofs-ishare ", ""),
        (vec!["help", "extract"], 0, "Copy files out of an image", ""),
        (vec!["frobnicate"], 2, "", "error: unrecognized subcommand 'frobnicate'"),
        (vec!["ls"], 2, "", "error: the following required arguments were not provided"),
        (vec!["cat", image], 2, "", "error: the following required arguments were not provided"),
        (vec!["extract", image], 2, "", "error: the following required arguments were not provided"),
        (
            vec!["ls", "--null", "--json", image],
            2,
            "",
            "error: the argument '--null' cannot be used with '--json'",
        ),
        (vec!["ls", "--offset=x", image], 2, "", "error: invalid value 'x' for '--offset <BYTES>'"),
        (
            vec!["inspect", "/"],
            1,
            "",
            "erofs-ishare: /: is a directory, want a regular file or a block device\n",
        ),
        (
            vec!["ls", &nothing],
            1,
            "",
            &format!("erofs-ishare: {nothing}: No such file or directory (os error 2)\n"),
        ),
        (vec!["ls", image, "/x"], 1, "", &sample.line("/x: no such file or directory")),
        (vec!["ls", image], 0, "big\n", ""),
    ] {
        let run = ishare(&words);
        assert_eq!(run.code, code, "{words:?}: {run:?}");
        for (found, want) in [(run.out, out), (run.err, err)] {
            assert!(
                if want.is_empty() { found.is_empty() } else { found.starts_with(want) },
                "{words:?}: {found}"
            );
        }
    }
}

#[test]
fn listings_are_as_documented() {
    let sample = Sample::new();
    let odd = "odd\\x1b\\\\\\xff";
    let names = format!("big\nd\nempty\nlink\n{odd}\nsame\n");
    let time = "1970-01-01T00:00:00Z";
    for (verb, path, want) in [
        (&["ls"][..], "/", names.clone()),
        (&["ls"], "d", "e\none\n".into()),
        (&["ls"], "/d/one", "/d/one\n".into()),
        (&["ls", "-R"], "/d/", "/d\n/d/e\n/d/e/two\n/d/one\n".into()),
        (&["ls", "-l"], "/link", format!("lrwxrwxrwx   1     0     0          5 {time} /link -> d/one\n")),
        (
            &["ls", "-lR"],
            "/d",
            format!(
                "drwxr-xr-x   3     0     0         55 {time} /d\n\
                 drwxrwxrwt   2     0     0         42 {time} /d/e\n\
                 -rw-r--r--   1     0     0          2 {time} /d/e/two\n\
                 -rw-r--r--   2     0     0          2 {time} /d/one\n"
            ),
        ),
        (&["ls", "-l"], "/big", format!("-rwsr-x---   1     0     0      10000 {time} /big\n")),
    ] {
        let run = sample.run(verb, &[path]);
        assert_eq!(run, Run { code: 0, out: want, err: String::new() }, "{verb:?} {path}");
    }
    let raw = Command::new(ISHARE).args(["ls", "-0"]).arg(sample.image()).output().unwrap();
    assert_eq!(raw.stdout, b"big\0d\0empty\0link\0odd\x1b\\\xff\0same\0");
    let with_xattrs = sample.run(&["ls", "--xattrs"], &["/d/one"]).out;
    assert!(
        with_xattrs.starts_with("/d/one\n    trusted.fp=0x7368613235363a4355a46b19d348dc"),
        "{with_xattrs}"
    );
}

#[test]
fn listings_in_json_say_everything() {
    let sample = Sample::new();
    let run = sample.run(&["ls", "--json", "-R", "--xattrs"], &[]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let all: Value = serde_json::from_str(&run.out).unwrap();
    let entries = all["entries"].as_array().unwrap();
    let of = |path: &str| entries.iter().find(|entry| entry["path"] == path).unwrap();
    assert_eq!(entries.len(), 10);
    let one = of("/d/one");
    for (key, want) in [
        ("type", "regular file".into()),
        ("mode", "0644".into()),
        ("nlink", 2.into()),
        ("uid", 0.into()),
        ("gid", 0.into()),
        ("size", 2.into()),
        ("mtime", "1970-01-01T00:00:00Z".into()),
        ("layout", "flat inline".into()),
        ("nid", of("/same")["nid"].clone()),
    ] {
        assert_eq!(one[key], want, "{key}");
    }
    let value = one["fingerprint_hex"].as_str().unwrap();
    assert!(value.starts_with("7368613235363a"), "{value}");
    assert_eq!(one["xattrs"][0]["name"], "trusted.fp");
    assert_eq!(one["xattrs"][0]["value_hex"], value);
    assert_eq!(one["xattrs"][0]["hidden"], false);
    assert_eq!(of("/link")["target"], "d/one");
    assert_eq!(of("/empty")["fingerprint_hex"], Value::Null);
    assert_eq!(of("/odd\u{1b}\\\u{fffd}")["path_hex"], "2f6f64641b5cff");
}

#[test]
fn inspect_tells_what_the_image_is() {
    let sample = Sample::new();
    let run = sample.run(&["inspect", "--json"], &[]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&run.out).unwrap();
    let bytes = fs::metadata(sample.image()).unwrap().len();
    for (pointer, want) in [
        ("/image_bytes", bytes.into()),
        ("/block_size", 4096.into()),
        ("/blocks", (bytes / 4096).into()),
        ("/uuid", "00000000-0000-4000-8000-000000000001".into()),
        ("/label", "sample".into()),
        ("/build_time", "1970-01-01T00:00:00Z".into()),
        ("/build_time_seconds", 0.into()),
        ("/checksum", true.into()),
        ("/kernel_to_share", "7.0".into()),
        ("/ishare/key", "trusted.fp".into()),
        ("/ishare/hidden", false.into()),
        ("/counts/inodes", 9.into()),
        ("/counts/files", 5.into()),
        ("/counts/directories", 3.into()),
        ("/counts/symlinks", 1.into()),
        ("/counts/special_files", 0.into()),
        ("/counts/hard_links", 1.into()),
        ("/counts/logical_bytes", 10_007.into()),
        ("/counts/empty_files", 1.into()),
        ("/counts/files_with_fingerprint", 4.into()),
        ("/counts/files_without_fingerprint", 0.into()),
        ("/unknown_compat_bits", 0.into()),
    ] {
        assert_eq!(report.pointer(pointer), Some(&want), "{pointer}");
    }
    let has = |list: &str, name: &str| report[list].as_array().unwrap().contains(&name.into());
    assert!(has("compat", "ishare_xattrs") && has("incompat", "xattr_prefixes"));
    let feature = report["features"].as_array().unwrap().iter().find(|row| row["name"] == "ishare_xattrs");
    assert_eq!(feature.unwrap()["since"], "7.0");
    let text = sample.run(&["inspect"], &[]).out;
    for line in [
        "fingerprint key   trusted.fp\n",
        "shares with       Linux 7.0\n",
        "feature           ishare_xattrs (compat, Linux 7.0)\n",
        "  fingerprinted   4\n",
        "label             sample\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn an_image_inside_a_file_is_found_by_its_offset() {
    let sample = Sample::new();
    let inside = sample.place.path().join("disk");
    fs::write(&inside, [vec![0; 8192], fs::read(sample.image()).unwrap()].concat()).unwrap();
    let inside = inside.to_str().unwrap();
    assert_eq!(ishare(["cat", "--offset", "8192", inside, "/same"]).out, "1\n");
    let message = ishare(["cat", inside, "/same"]).err;
    assert!(
        message
            .contains("not an EROFS image: found the magic number 0x00000000 at byte 1024, want 0xe0f5e1e2"),
        "{message}"
    );
}

#[test]
fn cat_writes_what_it_can() {
    let sample = Sample::new();
    let run = sample.run(&["cat"], &["link", "/d/e/two", "/d", "/none", "/same"]);
    let errors = [
        sample.line("/d: is a directory, want a regular file"),
        sample.line("/none: no such file or directory"),
    ];
    assert_eq!(run, Run { code: 1, out: "1\n221\n".into(), err: errors.concat() });
    let whole = Command::new(ISHARE).arg("cat").args([&sample.image(), Path::new("/big")]).output().unwrap();
    assert_eq!(whole.stdout, content::noise(1, 10_000));
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let sample = Sample::new();
    let tree = sample.place.path().join("tree");
    fs::write(tree.join("long"), vec![b'x'; 4 << 20]).unwrap();
    let image = sample.place.path().join("long.img");
    build(&[], &tree, &image);
    for verb in [&["cat"][..], &["ls", "-R"]] {
        let mut child = Command::new(ISHARE)
            .args(verb)
            .arg(&image)
            .args(if verb[0] == "cat" { vec!["/long"] } else { vec![] })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut some = [0; 1];
        let mut pipe = child.stdout.take().unwrap();
        pipe.read_exact(&mut some).unwrap();
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]), "{verb:?}");
    }
}

#[test]
fn one_line_says_what_is_wrong_and_the_rest_is_listed() {
    // Without a checksum, so that not the superblock's is the first fault.
    let sample = Sample::with(&["-Enosbcrc"]);
    let mut bytes = fs::read(sample.image()).unwrap();
    let listing: Value = serde_json::from_str(&sample.run(&["ls", "--json"], &[]).out).unwrap();
    let entries = listing["entries"].as_array().unwrap();
    let nid = entries.iter().find(|entry| entry["name"] == "empty").unwrap()["nid"].as_u64().unwrap();
    let report: Value = serde_json::from_str(&sample.run(&["inspect", "--json"], &[]).out).unwrap();
    let at = report["meta_blkaddr"].as_u64().unwrap() * 4096 + nid * 32;
    bytes[usize::try_from(at).unwrap()] = 0xff;
    fs::write(sample.image(), bytes).unwrap();
    let error = format!("nid {nid}: inode.i_format at byte {at}: found ");
    let run = sample.run(&["ls", "-R"], &["/"]);
    assert_eq!((run.code, run.out.lines().count()), (1, 9), "{run:?}");
    assert!(run.err.contains(&format!("/empty: {error}")) && run.err.lines().count() == 1, "{run:?}");
    let run = sample.run(&["inspect"], &[]);
    assert!(run.code == 1 && run.err.contains("warning: nothing is counted, because /empty: nid"), "{run:?}");
    let out = sample.place.path().join("out");
    let run = sample.run(&["extract", "--json", "--no-xattrs", "-o", out.to_str().unwrap()], &[]);
    let summary: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &summary["errors"], &summary["files"]), (1, &1.into(), &4.into()), "{run:?}");
    assert!(!out.join("empty").exists() && out.join("same").exists());
}

#[test]
fn extracting_gives_the_tree_back() {
    let check = "erofs-ishare extract over a tree of everything";
    let Some(()) = need(check, root()) else { return };
    let tree = trees::one_of_each().unwrap();
    let place = place::scratch().unwrap();
    let image = place.path().join("image");
    for (number, options) in [
        &["-b4096"][..],
        &["-b512", "--chunksize=512"],
        &["-b65536", "-x0", "--ishare-key"],
        &["-b16384", "-Eforce-inode-extended", "-E^inline_data"],
        &["--chunksize=1048576", "-Eforce-chunk-indexes"],
    ]
    .into_iter()
    .enumerate()
    {
        build(options, tree.path(), &image);
        let out = place.path().join(format!("out{number}"));
        let run = ishare(["extract".as_ref(), image.as_os_str(), "-o".as_ref(), out.as_os_str()]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{options:?}");
        assert_same(tree.path(), &out, &Expect::default(), &format!("{options:?}"));
        fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn extracting_keeps_holes() {
    let place = place::scratch().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    content::sparse(&tree.join("holes"), 64 << 20, &[(32 << 20, b"data".to_vec())]).unwrap();
    let (image, out) = (place.path().join("image"), place.path().join("out"));
    build(&[], &tree, &image);
    let run = ishare(["extract".as_ref(), image.as_os_str(), "-o".as_ref(), out.as_os_str()]);
    assert_eq!(run.code, 0, "{run:?}");
    let metadata = fs::metadata(out.join("holes")).unwrap();
    assert_eq!(metadata.len(), 64 << 20);
    // Holes are looked for in units of 1 MiB.
    assert!(metadata.blocks() * 512 <= 1 << 20, "{} blocks", metadata.blocks());
    let mut found = fs::File::open(out.join("holes")).unwrap();
    let mut bytes = Vec::new();
    found.read_to_end(&mut bytes).unwrap();
    assert!(
        bytes.iter().enumerate().all(|(at, byte)| (32 << 20..(32 << 20) + 4).contains(&at) || *byte == 0)
    );
    assert_eq!(&bytes[32 << 20..(32 << 20) + 4], b"data");
}

#[test]
fn extracting_a_part_puts_it_into_the_directory() {
    let sample = Sample::new();
    let out = sample.place.path().join("out");
    let place = out.to_str().unwrap();
    assert_eq!(sample.run(&["extract", "--quiet", "-o", place], &["/d"]).code, 0);
    assert_eq!(fs::read(out.join("e/two")).unwrap(), b"22");
    assert_eq!(sample.run(&["extract", "--quiet", "-o", place], &["/big"]).code, 0);
    let owned = rustix::process::geteuid().is_root();
    let mode = fs::metadata(out.join("big")).unwrap().mode() & 0o7777;
    assert_eq!(mode, if owned { 0o4750 } else { 0o750 });
    let other = sample.place.path().join("other");
    let words = ["extract", "--quiet", "--no-same-owner", "-o", other.to_str().unwrap()];
    assert_eq!(sample.run(&words, &["/big"]).code, 0);
    assert_eq!(fs::metadata(other.join("big")).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn nothing_is_replaced_unless_that_is_asked_for() {
    let sample = Sample::new();
    let out = sample.place.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("big"), b"mine").unwrap();
    symlink("/nowhere", out.join("same")).unwrap();
    let place = out.to_str().unwrap();
    let run = sample.run(&["extract", "--quiet", "-o", place], &[]);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.err,
        "erofs-ishare: /big: regular file: File exists (os error 17)\n\
         erofs-ishare: /same: hard link: File exists (os error 17)\n"
    );
    assert_eq!(fs::read(out.join("big")).unwrap(), b"mine");
    let run = sample.run(&["extract", "--quiet", "-o", place], &["/d"]);
    assert!(run.code == 0 && out.join("one").exists(), "{run:?}");

    let run = sample.run(&["extract", "--quiet", "--overwrite", "-o", place], &[]);
    assert_eq!(run, Run { code: 0, out: String::new(), err: String::new() });
    assert_eq!(fs::read(out.join("big")).unwrap(), content::noise(1, 10_000));
    assert_eq!(fs::metadata(out.join("same")).unwrap().ino(), fs::metadata(out.join("d/one")).unwrap().ino());
}

#[test]
fn links_on_the_disk_do_not_lead_out_of_the_directory() {
    let sample = Sample::new();
    let (out, outside) = (sample.place.path().join("out"), sample.place.path().join("outside"));
    fs::create_dir(&out).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, out.join("d")).unwrap();
    symlink(outside.join("big"), out.join("big")).unwrap();
    let run = sample.run(&["extract", "--quiet", "--overwrite", "-o", out.to_str().unwrap()], &[]);
    assert_eq!(run.code, 1);
    let refused = run.err.lines().next().unwrap();
    assert!(refused.starts_with("erofs-ishare: /d: directory: "), "{}", run.err);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // A link in the place of a file is replaced, never written through.
    assert!(fs::symlink_metadata(out.join("big")).unwrap().is_file());
    // The first name was below the directory that could not be made, so this one is a file of its own.
    assert_eq!(fs::read(out.join("same")).unwrap(), b"1\n");
}
