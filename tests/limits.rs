//! Limits of the system: threads that cannot be started, memory that cannot be had, system calls that a
//! sandbox refuses, files that may not grow. Nothing of it may crash, hang, or change what is made.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use erofs_testkit::require::{need, root};
use erofs_testkit::{content, place, refuse};
use tempfile::TempDir;

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

/// A directory with a tree: text and noise, files that are alike, and one that is read and hashed by two
/// threads (32 MiB).
fn scratch() -> TempDir {
    let dir = place::scratch().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    for (index, seed) in [1, 2, 1].into_iter().enumerate() {
        let bytes = [content::text(seed, 400_000), content::noise(seed, 100_000)].concat();
        fs::write(tree.join("below").join(index.to_string()), bytes).unwrap();
    }
    fs::write(tree.join("large"), vec![b'x'; 33 << 20]).unwrap();
    dir
}

/// A program that is started by `fork`, because `posix_spawn` takes system calls that are refused here.
fn forked(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.uid(rustix::process::geteuid().as_raw());
    command
}

/// `program` under the limit that `ulimit` sets, such as `-v 100000`.
fn limited(ulimit: &str, program: &str, arguments: &[&str], dir: &Path) -> Output {
    let script = format!("ulimit {ulimit} && exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command.current_dir(dir).env_remove("RUST_BACKTRACE").args(["-c", &script, program]).args(arguments);
    command.output().unwrap()
}

/// Whether there was no memory for the program to be loaded, or for the stack of its first thread.
fn has_not_begun(output: &Output) -> bool {
    let error = err(output);
    let signs = ["error while loading", "failed to allocate an alternative stack"];
    output.status.code() == Some(127) || signs.iter().any(|sign| error.contains(sign))
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is done, in this order, and the files that come of it.
const WORK: &[(&str, &[&str], &[&str])] = &[
    (MKFS, &["--ishare-key", "--verity", "plain", "tree"], &["plain"]),
    (MKFS, &["-zzstd,12", "-C65536", "-Efragments,dedupe", "-m65536", "--zD", "small", "tree"], &["small"]),
    (MKFS, &["--chunksize=65536", "--verity=hashes", "chunks", "tree"], &["chunks", "hashes"]),
    (ISHARE, &["index", "-o", "companion", "chunks"], &["companion"]),
    (ISHARE, &["verify", "--verity", "plain"], &[]),
    (ISHARE, &["verify", "plain"], &[]),
    (ISHARE, &["verify", "small", "chunks"], &[]),
    (ISHARE, &["verify", "--device", "chunks", "companion"], &[]),
    (ISHARE, &["simulate", "--json", "--allow-unshared", "plain", "chunks"], &[]),
    (ISHARE, &["simulate", "--json", "--allow-unshared", "--verify", "plain", "chunks"], &[]),
    (ISHARE, &["ls", "-lR", "plain"], &[]),
    (ISHARE, &["extract", "--json", "-o", "extracted", "small"], &["extracted/below/1", "extracted/large"]),
];

/// What came of a step: the exit code, stdout, stderr, and the files.
type Came = (Option<i32>, String, String, Vec<Vec<u8>>);

/// Does all of it.
fn all(dir: &Path) -> Vec<Came> {
    let step = |(program, arguments, files): &(&str, &[&str], &[&str])| {
        let mut command = forked(program);
        if *program == MKFS {
            command.args(["-T0", "--all-root", "--quiet", "--workers=4"]);
        }
        let output = command.current_dir(dir).args(*arguments).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let made = files.iter().map(|file| fs::read(dir.join(file)).unwrap_or_default()).collect();
        (output.status.code(), stdout, err(&output), made)
    };
    WORK.iter().map(step).collect()
}

/// Holds what is done in a sandbox to what is done without one.
fn assert_same(sandbox: impl FnOnce(&Path) -> Option<Vec<Came>>) {
    let dir = scratch();
    let want = all(dir.path());
    fs::remove_dir_all(dir.path().join("extracted")).unwrap();
    let Some(found) = sandbox(dir.path()) else { return };
    for ((step, want), found) in WORK.iter().zip(&want).zip(&found) {
        assert_eq!(want.0, Some(0), "{step:?} without a sandbox: {} {}", want.1, want.2);
        let (code, out, error, made) = found;
        assert_eq!((code, out, error), (&want.0, &want.1, &want.2), "{step:?}");
        assert!(*made == want.3, "{step:?}: other bytes");
    }
}

#[test]
fn everything_is_done_where_no_thread_can_be_started() {
    assert_same(|dir| need("work without threads", refuse::threads(|| all(dir))));
}

#[test]
fn everything_is_done_where_newer_system_calls_are_refused() {
    assert_same(|dir| need("work in an old sandbox", refuse::calls(refuse::NEWER_CALLS, || all(dir))));
    let new = || forked(ISHARE).args(["domain", "new"]).output().unwrap();
    let Some(new) = need("identifiers in an old sandbox", refuse::calls(refuse::NEWER_CALLS, new)) else {
        return;
    };
    assert!(new.status.success() && new.stdout.len() == 65, "{}", err(&new));
}

#[test]
fn a_limit_on_threads_changes_nothing() {
    let Some(()) = need("a limit on the threads of a user", root()) else { return };
    let dir = scratch();
    assert_eq!(all(dir.path())[0].0, Some(0));
    for path in [dir.path().to_path_buf(), dir.path().join("plain"), dir.path().join("small")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    // Another user has the program's folder closed to it, perhaps; and nobody else is this one.
    fs::copy(ISHARE, dir.path().join("ishare")).unwrap();
    let user = 0x4000_0000 + std::process::id();
    for threads in 1..=4 {
        let script = format!("ulimit -u {threads} && exec ./ishare verify plain small");
        let mut command = Command::new("timeout");
        command.current_dir(dir.path()).args(["60", "bash", "-c", &script]).uid(user).gid(user);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{threads} threads: {}", err(&output));
    }
}

/// Whether a message is one line of the program; or, where less than 2 MiB could not be had, one of the
/// standard library, which adds a note.
fn is_one_line(error: &str) -> bool {
    let mut lines = error.lines().filter(|line| !line.starts_with("note: run with"));
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    match line.strip_prefix("memory allocation of ").and_then(|rest| rest.split_once(' ')) {
        Some((bytes, "bytes failed")) => bytes.parse::<u64>().is_ok_and(|bytes| bytes < 2 << 20),
        Some(_) => false,
        None => line.starts_with("mkfs-erofs: "),
    }
}

#[test]
fn where_memory_is_short_the_image_is_the_same_or_there_is_one_line() {
    let dir = scratch();
    fs::remove_file(dir.path().join("tree/large")).unwrap();
    let options: [&[&str]; 7] = [
        &["--ishare-key"],
        &["-zlz4hc", "-C65536"],
        &["-zzstd,3", "-C1048576", "--squeeze"],
        &["-zzstd,19", "-C1048576"],
        &["-zdeflate,9", "-C65536", "--squeeze"],
        &["-zlibdeflate,12", "-C65536"],
        &["-zlzma,9", "-C1048576"],
    ];
    let build = |limit: Option<u32>, options: &[&str], image: &str| {
        let line = [&["-T0", "--all-root", "--quiet", "--workers=4"], options, &[image, "tree"]].concat();
        let ulimit = limit.map_or_else(|| "-c 0".to_owned(), |mebibytes| format!("-v {}", mebibytes << 10));
        limited(&ulimit, MKFS, &line, dir.path())
    };
    let (mut done, mut refused) = (0, 0);
    for options in options {
        assert!(build(None, options, "whole").status.success(), "{options:?}");
        let want = fs::read(dir.path().join("whole")).unwrap();
        // Below, there is hardly memory for the program itself.
        for mebibytes in [16, 18, 20, 24, 32, 48, 80, 150] {
            let output = build(Some(mebibytes), options, "short");
            let error = err(&output);
            // A program that has no memory to be loaded has not begun; below 12 MiB, none has.
            if has_not_begun(&output) {
                continue;
            }
            if output.status.success() {
                assert!(fs::read(dir.path().join("short")).unwrap() == want, "{mebibytes} MiB: {options:?}");
                done += 1;
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{mebibytes} MiB: {options:?}: {error}");
            assert!(is_one_line(&error), "{mebibytes} MiB: {options:?}: {error}");
            refused += 1;
        }
    }
    assert!(done > 20 && refused > 3, "{done} {refused}");
}

#[test]
fn files_that_may_not_grow_are_errors() {
    let dir = scratch();
    let mkfs = ["-T0", "--quiet", "image", "tree"];
    assert!(limited("-c 0", MKFS, &mkfs, dir.path()).status.success());
    let id = ["domain", "new", "-o", "id"];
    // In units of 1024 bytes.
    for (ulimit, program, arguments) in [
        ("-f 1000", MKFS, &["-T0", "--quiet", "short", "tree"][..]),
        ("-f 100", MKFS, &["-T0", "--quiet", "-zlz4", "short", "tree"]),
        ("-f 1000", ISHARE, &["extract", "-o", "out", "image"]),
        ("-f 0", ISHARE, &["index", "-o", "companion", "image"]),
        ("-f 0", ISHARE, &id),
    ] {
        let output = limited(ulimit, program, arguments, dir.path());
        let error = err(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains("File too large"), "{arguments:?}: {error}");
    }
    assert!(!dir.path().join("short").exists() && !dir.path().join("companion").exists());
}

#[test]
fn what_is_read_where_memory_is_short_is_right_or_an_error() {
    let dir = scratch();
    let build = ["-T0", "--quiet", "-zlzma", "-C1048576", "--ishare-key", "small", "tree"];
    assert!(limited("-c 0", MKFS, &build, dir.path()).status.success());
    for (arguments, failed) in
        [(&["verify", "small"][..], 8), (&["cat", "small", "/large"], 1), (&["ls", "-lR", "small"], 1)]
    {
        let mut done = 0;
        for mebibytes in [16, 20, 30, 50, 100, 200] {
            let output = limited(&format!("-v {}", mebibytes << 10), ISHARE, arguments, dir.path());
            let error = err(&output);
            if has_not_begun(&output) {
                continue;
            }
            if output.status.success() {
                done += 1;
                continue;
            }
            assert_eq!(output.status.code(), Some(failed), "{mebibytes} MiB: {arguments:?}: {error}");
            assert!(error.lines().count() <= 2, "{mebibytes} MiB: {arguments:?}: {error}");
        }
        assert!(done > 0, "{arguments:?}");
    }
}

#[test]
fn the_number_of_workers_is_bounded() {
    let dir = scratch();
    fs::remove_file(dir.path().join("tree/large")).unwrap();
    for options in [&["--ishare-key", "--verity"][..], &["-zzstd", "-Ededupe"]] {
        let build = |workers: &str, image: &str| {
            let line = [&["-T0", "--quiet", workers], options, &[image, "tree"]].concat();
            let output = Command::new(MKFS).current_dir(dir.path()).args(&line).output().unwrap();
            assert!(output.status.success(), "{line:?}: {}", err(&output));
            fs::read(dir.path().join(image)).unwrap()
        };
        assert!(build("--workers=4294967295", "many") == build("--workers=1", "one"), "{options:?}");
    }
    let index = ["index", "--workers=4294967295", "-o", "companion", "many"];
    let output = Command::new(ISHARE).current_dir(dir.path()).args(index).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
}
