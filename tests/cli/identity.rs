//! Outputs that are inputs, or each other, are refused by what they are, and nothing is touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use erofs_testkit::Mount;
use erofs_testkit::require::{Absent, need};

use crate::output::loop_device;
use crate::{ISHARE, MKFS, Room};

/// Runs a command line in the room; `MKFS` and `ISHARE` are the programs.
fn try_line(room: &Room, line: &str) -> (Option<i32>, String) {
    let words: Vec<&str> = line.split(' ').collect();
    let program = if words[0] == "MKFS" { MKFS } else { ISHARE };
    let mut command = Command::new(program);
    let command = command.args(&words[1..]).current_dir(room.path("")).stdin(Stdio::null());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn outputs_that_are_inputs_are_refused_in_every_verb() {
    let room = Room::new();
    room.build(&["--ishare-key", "--verity", "--quiet"], &room.path("a.img")).assert_done();
    for name in ["k", "c", "h", "j", "trace", "hints", "old.img"] {
        fs::write(room.path(name), format!("content of {name}")).unwrap();
    }
    fs::write(room.path("hints"), "4096 .*\n").unwrap();
    symlink("a.img", room.path("link")).unwrap();
    symlink("new.img", room.path("dangling")).unwrap();
    fs::hard_link(room.path("k"), room.path("k-hard")).unwrap();
    fs::write(room.path("scenario"), "title = \"t\"\nevent = []\n[images]\na = \"a.img\"\n").unwrap();
    let before: Vec<_> = fs::read_dir(room.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    for (line, words) in [
        ("ISHARE sign a.img --key k --certificate c -o k", "--output k: is the same file as --key k"),
        ("ISHARE sign a.img --key k --certificate c -o ./k-hard", "is the same file as --key k"),
        ("ISHARE sign a.img --key k --certificate c -o a.img", "is the same file as IMAGE a.img"),
        ("ISHARE sign a.img --key k --certificate c -o link", "is the same file as IMAGE a.img"),
        ("ISHARE sign a.img --key k --certificate c -o c", "is the same file as --certificate c"),
        ("ISHARE sign --roothash h --key k --certificate c -o h", "is the same file as --roothash h"),
        ("ISHARE sign --roothash h --join-signature j --certificate c -o j", "as --join-signature j"),
        ("ISHARE sign a.img --to-be-signed a.img", "--to-be-signed a.img: is the same file as IMAGE"),
        ("ISHARE index -q -o link a.img", "--output link: is the same file as IMAGE a.img"),
        ("ISHARE simulate --html a.img a.img", "--html a.img: is the same file as IMAGE a.img"),
        ("ISHARE simulate --html link --domain d=a.img", "is the same file as IMAGE a.img"),
        ("ISHARE simulate --html trace --access trace:trace a.img", "is the same file as --access trace"),
        (
            "ISHARE simulate --trace-out trace --access trace:trace a.img",
            "is the same file as --access trace",
        ),
        (
            "ISHARE simulate --trace-out new --html ./new --access trace:trace a.img",
            "--trace-out new: is the same file as --html ./new, which is written too",
        ),
        ("ISHARE simulate --scenario scenario --html scenario", "is the same file as --scenario"),
        ("ISHARE simulate --scenario scenario --html a.img", "is the same file as image"),
        ("MKFS --verity=./new.img new.img source", "--verity ./new.img: is the same file as IMAGE new.img"),
        ("MKFS --verity=dangling new.img source", "is the same file as IMAGE new.img"),
        ("MKFS --verity=t --verity-roothash=t new.img source", "as --verity t, which is written too"),
        ("MKFS --verity-sidecar=systemd --verity-roothash=new.roothash new.raw source", "written too"),
        ("MKFS -zlz4 --compress-hints=hints hints source", "is the same file as --compress-hints hints"),
    ] {
        let (code, stderr) = try_line(&room, line);
        assert!(code == Some(2) && stderr.contains(words), "{line}: {code:?} {stderr}");
        assert_eq!(stderr.matches('\n').count(), 1, "{stderr}");
    }
    for (path, bytes) in before {
        assert!(fs::read(&path).unwrap() == bytes, "{} was changed", path.display());
    }
    assert!(!room.path("new").exists() && !room.path("new.img").exists() && !room.path("t").exists());
}

#[test]
fn what_is_printed_does_not_go_to_the_image_itself() {
    let room = Room::new();
    let image = room.path("a.img");
    room.build(&["--ishare-key", "--quiet"], &image).assert_done();
    let before = fs::read(&image).unwrap();
    for (line, code) in [
        (&["inspect", "a.img"][..], 2),
        (&["ls", "a.img"], 2),
        (&["cat", "a.img", "a"], 2),
        (&["index", "-o", "new.img", "a.img"], 2),
        (&["simulate", "a.img"], 2),
        (&["verify", "a.img"], 16),
    ] {
        let stdout = fs::OpenOptions::new().append(true).open(&image).unwrap();
        let mut command = Command::new(ISHARE);
        let output = command.args(line).current_dir(room.path("")).stdout(stdout).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("stdout: is the same file as IMAGE"));
        assert!(fs::read(&image).unwrap() == before, "{line:?}");
    }
}

#[test]
fn extract_does_not_replace_the_image_that_it_reads() {
    let room = Room::new();
    fs::write(room.source().join("a.img"), "of the image").unwrap();
    room.build(&["--quiet"], &room.path("a.img")).assert_done();
    let before = fs::read(room.path("a.img")).unwrap();
    let (code, stderr) = try_line(&room, "ISHARE extract --overwrite -o . a.img");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/a.img: replace: is the image that is read"), "{stderr}");
    assert!(fs::read(room.path("a.img")).unwrap() == before);
    assert!(room.path("sub/b").exists(), "the rest is extracted");
}

#[test]
fn a_loop_device_is_the_file_behind_it() {
    let room = Room::new();
    let image = room.path("a.img");
    room.build(&["--ishare-key", "--quiet"], &image).assert_done();
    let Some(disk) = need("an image and its loop device", loop_device(&image)) else { return };
    let before = fs::read(&image).unwrap();
    for (read, written) in [(image.as_path(), disk.path()), (disk.path(), &image)] {
        let mut command = Command::new(ISHARE);
        let output = command.args(["index", "-q", "-o"]).arg(written).arg(read).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn trace_does_not_write_over_the_image_of_a_mount() {
    let room = Room::new();
    let image = room.path("a.img");
    room.build(&["--ishare-key", "--quiet"], &image).assert_done();
    let Some(disk) = need("a trace over the image of its mount", loop_device(&image)) else { return };
    let mounted = Mount::with_options("erofs", disk.path(), "ro");
    let mounted = mounted.map_err(|error| Absent::because(error.to_string()));
    let Some(mounted) = need("a trace over the image of its mount", mounted) else { return };
    let before = fs::read(&image).unwrap();
    let trace = |output: &Path| {
        let mut command = Command::new(ISHARE);
        command.arg("trace").arg(mounted.path()).arg("-o").arg(output).output().unwrap()
    };
    let refused = trace(&image);
    let done = trace(&room.path("list"));
    drop(mounted);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(done.status.success());
    assert!(fs::read(&image).unwrap() == before);
}
