//! Sources that are not what they should be.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use erofs_testkit::content;
use erofs_testkit::peers::run;
use erofs_testkit::require::{Absent, need, root};

use crate::{MKFS, Ran, Room, SOMEONE, names};

fn mkfs(image: &Path, source: &Path) -> Ran {
    Ran::of(Command::new(MKFS).arg(image).arg(source))
}

#[test]
fn sources_that_are_no_directories() {
    let room = Room::new();
    let image = room.path("img");
    let missing = room.path("missing");
    let line = format!("SOURCE {}: No such file or directory", missing.display());
    mkfs(&image, &missing).assert_refused(1, &line);
    let strange = room.path("").join(OsStr::from_bytes(b"a\xff"));
    let line = format!("SOURCE {}: No such file or directory", room.path("a\\xff").display());
    mkfs(&image, &strange).assert_refused(1, &line);
    let file = room.source().join("a");
    let line = format!("SOURCE {}: not a directory, want one, or --tar for an archive", file.display());
    mkfs(&image, &file).assert_refused(1, &line);
    mkfs(&file, &file).assert_refused(1, &format!("IMAGE and SOURCE are the same: {}", file.display()));
    let source = room.source();
    mkfs(&source, &source).assert_refused(1, &format!("IMAGE and SOURCE are the same: {}", source.display()));
    let line = format!("{}: cannot be written: is a directory", source.join("sub").display());
    mkfs(&source.join("sub"), &source).assert_refused(1, &line);
    assert!(!image.exists());
    assert_eq!(fs::read(file).unwrap(), vec![b'a'; 5000]);
}

#[test]
fn a_symlink_to_a_directory_is_a_source() {
    let room = Room::new();
    let link = room.path("to-source");
    std::os::unix::fs::symlink(room.source(), &link).unwrap();
    let image = room.path("img");
    mkfs(&image, &link).assert_done();
    assert_eq!(fs::read(image).unwrap(), room.image::<&str>(&[]));
}

#[test]
fn messages_about_odd_names_stay_on_one_line() {
    let room = Room::new();
    let odd = room.path("new\nline").join(OsStr::from_bytes(b"\x1b[2J"));
    mkfs(&room.path("img"), &odd).assert_refused(1, "SOURCE ");
}

#[test]
fn an_unreadable_file_is_named() {
    let Some(()) = need("a file that cannot be read", root()) else { return };
    let room = Room::new();
    let secret = room.source().join("sub/secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    // The program and the folders have to be in reach of the other user. Another process makes the copy,
    // because a file that this one has open for writing cannot be run while some thread of the tests is
    // between fork and exec.
    let program = room.path("mkfs");
    run(Command::new("cp").arg(MKFS).arg(&program)).unwrap();
    fs::create_dir(room.path("out")).unwrap();
    fs::set_permissions(room.path("out"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(room.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let image = room.path("out/img");
    let build = || Ran::of(Command::new(&program).uid(SOMEONE).gid(SOMEONE).arg(&image).arg(room.source()));
    build().assert_refused(1, &format!("cannot open {}: Permission denied (os error 13)", secret.display()));
    assert_eq!(names(&room.path("out")), [""; 0]);
    fs::remove_file(&secret).unwrap();
    build().assert_done();
    assert_eq!(names(&room.path("out")), ["img"]);
}

/// A file such as /var/log/lastlog, where one user has a large number.
#[test]
fn long_holes_take_no_time() {
    let room = Room::new();
    let log = fs::File::create(room.source().join("lastlog")).unwrap();
    let tib = 1 << 40;
    log.set_len(tib).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&log, b"x", tib - 1).unwrap();
    let image = room.path("img");
    for flags in [&[][..], &["--chunksize=1M"], &["--chunksize=2G"], &["-b512"]] {
        // Read at a gibibyte each second, it would take a quarter of an hour.
        let mut command = Command::new("timeout");
        let ran = Ran::of(command.args(["100", MKFS, "--json"]).args(flags).arg(&image).arg(room.source()));
        let summary = ran.json();
        assert!(summary["hole_bytes"].as_u64().unwrap() >= tib - (1 << 31), "{flags:?}: {summary}");
    }
    log.set_len(i64::MAX as u64).unwrap();
    let found = "/lastlog: found a file of 9223372036854775807 bytes, want at most ";
    for (flags, line) in [
        (&[][..], "70368744177664: there is no room for more chunks, but longer ones would do"),
        (&["--chunksize=2G"], "144115188075855872: there is no room for more chunks of this length"),
        (&["--ishare-key"], "17592186044416: fingerprints of longer ones take hours"),
        (&["-zlz4"], "8796093022208: an index has no room for more blocks"),
    ] {
        room.build(flags, &image).assert_refused(1, &format!("{found}{line}\n"));
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_named() {
    let room = Room::new();
    let path = room.source().join("log");
    fs::write(&path, content::noise(1, 32 << 20)).unwrap();
    let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let over = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                log.write_all(b"x").unwrap();
            }
        });
        let ran = room.build(&["--ishare-key"], &room.path("img"));
        over.store(true, Ordering::Relaxed);
        ran
    });
    ran.assert_refused(1, &path.display().to_string());
    assert!(ran.stderr.contains("changed while"), "{ran:?}");
    assert_eq!(names(&room.path("")), ["source"]);
}

/// Files of sysfs say that they are a page long and hold less.
#[test]
fn a_file_that_is_shorter_than_it_says_is_named() {
    let source = Path::new("/sys/kernel/mm/transparent_hugepage");
    let found = if source.is_dir() { Ok(()) } else { Err(Absent::because("no /sys/kernel/mm")) };
    let Some(()) = need("a file that is shorter than it says", found) else { return };
    let room = Room::new();
    let ran = mkfs(&room.path("img"), source);
    ran.assert_refused(1, &format!("{}/", source.display()));
    assert!(ran.stderr.contains("changed while"), "{ran:?}");
    assert!(!room.path("img").exists());
}

#[test]
fn a_source_does_not_choose_its_fingerprints() {
    let room = Room::new();
    let name = "user.fingerprint";
    let set = xattr::set(room.source().join("sub/b"), name, b"chosen");
    let found = set.map_err(|error| Absent::because(format!("no user xattrs in scratch space: {error}")));
    let Some(()) = need("a source with an xattr of the key's name", found) else { return };
    let image = room.path("img");
    let key = format!("--ishare-key={name}");

    let dropped = room.build(&["--json", &key], &image).json();
    assert_eq!(dropped["fingerprints"]["dropped_from_source"], 1, "{dropped}");
    assert_eq!(dropped["fingerprints"]["files"], 2, "{dropped}");
    let text = room.build(&[&key], &image).stdout;
    assert!(text.contains("1 left out that the source claimed"), "{text}");
    assert!(!fs::read(&image).unwrap().windows(6).any(|bytes| bytes == b"chosen"));

    let before = fs::read(&image).unwrap();
    room.build(&[&key, "--strict"], &image).assert_refused(1, "");
    let ran = room.build(&[&key, "--strict"], &image);
    assert!(ran.stderr.contains("sub/b") && ran.stderr.contains(name), "{ran:?}");
    assert_eq!(fs::read(&image).unwrap(), before);
    // Another key is another matter.
    room.build(&["--ishare-key=user.other", "--strict", "--quiet"], &image).assert_done();

    let ran = room.build(&[&key, "--ishare-digest=source"], &image);
    assert_eq!(ran.code, Some(1), "a file without the attribute: {ran:?}");
    assert!(ran.stderr.contains("fingerprint xattr user.fingerprint of the source"), "{ran:?}");
    xattr::set(room.source().join("a"), name, b"chosen too").unwrap();
    let taken = room.build(&[&key, "--ishare-digest=source", "--json"], &image).json();
    assert_eq!(taken["fingerprints"]["digest"], "source");
    assert_eq!(taken["fingerprints"]["files"], 2);
    assert!(fs::read(&image).unwrap().windows(10).any(|bytes| bytes == b"chosen too"));
}
