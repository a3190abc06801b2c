//! Golden images: image, hash tree, root hash and sidecars are all new or all old, whatever fails.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use erofs_testkit::content;
use erofs_testkit::require::need;

use crate::output::SmallDisk;
use crate::{MKFS, Room, names, strace};

/// Two sets: the tree in a file of its own, and behind the image.
const SETS: [&[&str]; 2] = [
    &["--verity-sidecar=systemd", "--verity-roothash=out/root"],
    &["--verity-sidecar=containerd,oci", "--verity-roothash=out/root"],
];

/// The files of the set and what is in them.
type Files = BTreeMap<String, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let read = |name: &std::ffi::OsString| fs::read(folder.join(name)).unwrap();
    names(folder).iter().map(|name| (name.to_string_lossy().into_owned(), read(name))).collect()
}

/// Runs a command line in the room.
fn run(room: &Room, line: &[&str]) -> Output {
    Command::new(line[0]).args(&line[1..]).current_dir(room.path("")).output().unwrap()
}

fn line<'a>(before: &[&'a str], flags: &[&'a str]) -> Vec<&'a str> {
    [before, &[MKFS, "-T0", "--quiet"], flags, &["out/app.raw", "source"]].concat()
}

/// A room with a set, what a build would make of it now, and what it is so far.
fn changed_set(flags: &[&str], with_old: bool) -> (Room, Files, Files) {
    let room = Room::new();
    fs::create_dir(room.path("out")).unwrap();
    let build = || {
        let output = run(&room, &line(&[], flags));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        files(&room.path("out"))
    };
    let old = if with_old { build() } else { Files::new() };
    fs::write(room.source().join("new"), content::noise(1, 10_000)).unwrap();
    let new = build();
    restore(&room.path("out"), &old);
    (room, old, new)
}

fn restore(folder: &Path, files: &Files) {
    for name in names(folder) {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
fn a_system_call_that_fails_leaves_the_older_set_whole() {
    let Some(strace) = need("sets of files with system calls that fail", strace()) else { return };
    let strace = strace.to_str().unwrap();
    // Exchanging names is refused in one row, as file systems that cannot do it do.
    let calls = [
        ("linkat", "EIO"),
        ("renameat", "EIO"),
        ("renameat2", "EPERM"),
        ("renameat2", "EINVAL"),
        ("fsync", "EIO"),
        ("ftruncate", "ENOSPC"),
        ("pwrite64", "ENOSPC"),
        ("unlinkat", "EIO"),
    ];
    for flags in SETS {
        for with_old in [true, false] {
            let (room, old, new) = changed_set(flags, with_old);
            let out = room.path("out");
            for (call, error) in calls {
                for count in 1..100 {
                    let inject = format!("inject={call}:error={error}:when={count}");
                    let log = room.path("log");
                    let before = [strace, "-f", "-qq", "-o", log.to_str().unwrap(), "-e", &inject];
                    let output = run(&room, &line(&before, flags));
                    let injected = fs::read_to_string(&log).unwrap().contains("(INJECTED)");
                    let mut found = files(&out);
                    if call == "unlinkat" {
                        // What cannot be removed is an older file, or a second name.
                        found.retain(|name, _| !name.starts_with(".mkfs-erofs-"));
                    }
                    let case = format!(
                        "{flags:?}, older: {with_old}, {inject}: {:?}",
                        String::from_utf8_lossy(&output.stderr)
                    );
                    let want = if output.status.success() { &new } else { &old };
                    assert!(found == *want, "{case}: {:?}", found.keys());
                    restore(&out, &old);
                    if !injected {
                        break;
                    }
                    assert!(count < 99, "{case}: no end");
                }
            }
        }
    }
}

#[test]
fn a_signal_leaves_one_of_both_sets() {
    let Some(strace) = need("sets of files and signals", strace()) else { return };
    let strace = strace.to_str().unwrap();
    for flags in SETS {
        let (room, old, new) = changed_set(flags, true);
        let out = room.path("out");
        for (call, signal) in [
            ("linkat", "TERM"),
            ("renameat2", "TERM"),
            ("fsync", "INT"),
            ("fsync", "KILL"),
            ("renameat2", "KILL"),
        ] {
            for count in 1..20 {
                let inject = format!("inject={call}:signal={signal}:when={count}");
                let before = [strace, "-f", "-qq", "-o/dev/null", "-e", &inject];
                let output = run(&room, &line(&before, flags));
                let found = files(&out);
                let case = format!("{flags:?}, {inject}: {:?} {:?}", output.status, found.keys());
                let ended = output.status.signal().is_some();
                // Only a kill between two changes of names can leave files of both sets, and the older ones
                // beside them.
                if call == "renameat2" && signal == "KILL" && ended {
                    for (name, bytes) in &old {
                        assert!(found[name] == *bytes || found[name] == new[name], "{case}: {name}");
                    }
                    restore_missing(&room, flags, &new, &case);
                } else {
                    assert!(found == new || (ended && found == old), "{case}");
                }
                restore(&out, &old);
                if !ended {
                    break;
                }
            }
        }
    }
}

/// The same command once more makes the set whole.
fn restore_missing(room: &Room, flags: &[&str], new: &Files, case: &str) {
    let output = run(room, &line(&[], flags));
    assert!(output.status.success(), "{case}");
    let mut found = files(&room.path("out"));
    found.retain(|name, _| !name.starts_with(".mkfs-erofs-"));
    assert!(found == *new, "{case}: {:?}", found.keys());
}

#[test]
fn a_full_disk_below_a_sidecar_leaves_the_older_set_whole() {
    let Some(disk) = need("a sidecar on a full disk", SmallDisk::new()) else { return };
    let room = &disk.room;
    let (image, full) = (room.path("app.raw"), room.path("disk/full"));
    let (tree, roothash) = (room.path("disk/tree"), room.path("root"));
    let build = || {
        let flag = |name: &str, path: &Path| format!("{name}={}", path.display());
        room.build(&[flag("--verity", &tree), flag("--verity-roothash", &roothash), "-T0".to_owned()], &image)
    };
    build().assert_done();
    let read = |paths: [&PathBuf; 3]| paths.map(|path| fs::read(path).unwrap());
    let old = read([&image, &tree, &roothash]);
    fs::write(room.source().join("new"), content::noise(1, 3 << 20)).unwrap();
    // Less is left than the tree takes.
    fs::write(&full, vec![1; (1 << 20) - (16 << 10)]).unwrap();
    let ran = build();
    assert!(ran.assert_refused(1, "").stderr.contains("No space left on device"), "{ran:?}");
    assert!(read([&image, &tree, &roothash]) == old);
    assert_eq!(names(&room.path("disk")), ["full", "tree"]);
    fs::remove_file(full).unwrap();
    build().assert_done();
    assert!(read([&image, &tree, &roothash]) != old);
}

#[test]
fn a_signature_of_another_root_hash_is_moved_aside() {
    let room = Room::new();
    let path = |name: &str| room.path(name);
    let build = || room.build(&["--verity-sidecar=systemd", "-T0"], &path("app.raw"));
    let has = |name: &str| path(name).exists();
    // A signature without a root hash is of an unknown one.
    fs::write(path("app.roothash.p7s"), "unknown").unwrap();
    let ran = build();
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stderr
            .contains("app.roothash.p7s: signs another root hash, and is renamed to app.roothash.p7s.stale"),
        "{ran:?}"
    );
    assert!(!has("app.roothash.p7s") && has("app.roothash.p7s.stale"));
    // The same image has the same root hash, of which the signature is.
    fs::write(path("app.roothash.p7s"), "right").unwrap();
    build().assert_done();
    assert_eq!(fs::read(path("app.roothash.p7s")).unwrap(), b"right");
    fs::write(room.source().join("new"), "new").unwrap();
    let ran = build();
    assert!(ran.stderr.contains("renamed to app.roothash.p7s.stale.1"), "{ran:?}");
    assert_eq!(fs::read(path("app.roothash.p7s.stale")).unwrap(), b"unknown");
    assert_eq!(fs::read(path("app.roothash.p7s.stale.1")).unwrap(), b"right");
    assert!(!has("app.roothash.p7s"));
}
