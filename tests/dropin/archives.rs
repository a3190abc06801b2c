//! The command lines of programs that give mkfs.erofs a tar archive on standard input.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use erofs_testkit::compare::assert_same;
use erofs_testkit::require::{Absent, need, program, root};
use erofs_testkit::{Backing, Expect, Mount, mount, peers, trees};

use crate::Room;

const UUID: &str = "-U 00000000-0000-0000-0000-000000000000";

/// A caller, its command line, and what the image is beside the source of the archive.
fn callers() -> Vec<(&'static str, String, Expect)> {
    let plain = Expect::default;
    let at_0 = || Expect { mtime: Some((0, 0)), ..Expect::default() };
    vec![
        ("containerd", format!("--tar=f --aufs --quiet -Enoinline_data -b4096 {UUID} IMG"), plain()),
        (
            "containerd with its documented options",
            format!("--tar=f --aufs --quiet -Enoinline_data -T0 --mkfs-time --sort=none {UUID} IMG"),
            plain(),
        ),
        (
            "ctr images convert",
            format!("--tar=f --aufs --quiet -Enoinline_data -b4096 -zzstd -C 65536 {UUID} IMG"),
            plain(),
        ),
        (
            "nexus-erofs",
            format!("--tar=f --aufs --quiet -Enoinline_data --sort=none -b4096 {UUID} IMG"),
            plain(),
        ),
        ("cocoon", format!("--tar=f -zlz4hc -C4096 -T0 {UUID} IMG"), at_0()),
        (
            "nixpkgs",
            format!("--quiet --force-uid=0 --force-gid=0 -L nix {UUID} -T 0 --hard-dereference --tar=f IMG"),
            Expect { owner: Some((0, 0)), hard_links: false, ..at_0() },
        ),
        ("compressed, in order", format!("--tar --sort=none -zlz4 --unxz {UUID} IMG"), plain()),
    ]
}

/// Runs `program` with an archive as standard input.
fn run(program: &Path, words: &str, image: &Path, archive: &Path) -> Output {
    let words =
        words.split_whitespace().map(|word| if word == "IMG" { image.as_os_str() } else { word.as_ref() });
    let mut command = Command::new(program);
    command.env_remove("SOURCE_DATE_EPOCH").args(words).stdin(File::open(archive).unwrap());
    command.output().unwrap()
}

/// A source, and an archive of it that GNU tar made, with these options too.
fn archived(room: &Room, more: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let source = trees::one_of_each().unwrap();
    // GNU tar leaves sockets out and makes two pipes of two names; --aufs has no other name for a whiteout.
    let find = ["(", "-type", "s", "-o", "-type", "p", "-name", "*again", ")", "-delete"];
    assert!(Command::new("find").arg(source.path()).args(find).status().unwrap().success());
    fs::remove_file(source.path().join("special/c-0-0")).unwrap();
    let touch = ["-depth", "-exec", "touch", "-chd", "@1600000000", "{}", "+"];
    assert!(Command::new("find").arg(source.path()).args(touch).status().unwrap().success());
    let archive = room.path("a.tar");
    let options = ["--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-cf"];
    let tar = Command::new("tar")
        .args(more)
        .args(options)
        .arg(&archive)
        .arg("-C")
        .arg(source.path())
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
    (source, archive)
}

#[test]
fn archives_on_standard_input() {
    let found = program("tar").and_then(|_| root()).and_then(|()| mount::supported(Backing::Loop));
    let Some(()) = need("callers of mkfs.erofs that give it an archive", found) else { return };
    let room = Room::new();
    // Without holes and with times of whole seconds: erofs-utils 1.9.4 gives files with holes the names that
    // GNU tar has for readers that do not know them, and drops fractions of seconds.
    let (source, archive) = archived(&room, &[]);
    let peers = need("archives, compared with erofs-utils", peers::find());
    for (caller, words, expect) in callers() {
        let what = format!("{caller}: {words}");
        let image = room.path("ours.img");
        let output = run(&room.program(), &words, &image, &archive);
        assert_eq!(output.status.code(), Some(0), "{what}: {output:?}");
        let ours = Mount::new(&image, Backing::Loop).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same(source.path(), ours.path(), &expect, &what);
        let Some(peers) = peers.filter(|_| caller.starts_with("containerd")) else { continue };
        let image = room.path("theirs.img");
        let output = run(&peers.mkfs, &words, &image, &archive);
        assert_eq!(output.status.code(), Some(0), "erofs-utils, {what}: {output:?}");
        let theirs = Mount::new(&image, Backing::Loop).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same(theirs.path(), ours.path(), &Expect::default(), &format!("against erofs-utils, {what}"));
    }
}

/// A directory, its archive as a file, on a pipe, and compressed: the same image, fingerprints included.
#[test]
fn the_same_image_from_a_directory_and_its_archives() {
    let found = program("tar").and_then(|_| root());
    let Some(()) = need("one image from a directory and its archives", found) else { return };
    let room = Room::new();
    let (source, archive) = archived(&room, &["-S"]);
    let from = |name: &str, arguments: &[&Path], input: Stdio| {
        let image = room.path(name);
        let mut command = Command::new(crate::MKFS);
        command.args(["--quiet", "--ishare-key", "-zlz4"]);
        if name != "directory" {
            command.arg("--tar");
        }
        let output = command.arg(&image).args(arguments).stdin(input).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        fs::read(image).unwrap()
    };
    let wanted = from("directory", &[source.path()], Stdio::null());
    assert!(from("archive", &[&archive], Stdio::null()) == wanted, "archive");
    let mut cat = Command::new("cat").arg(&archive).stdout(Stdio::piped()).spawn().unwrap();
    assert!(from("pipe", &[], Stdio::from(cat.stdout.take().unwrap())) == wanted, "pipe");
    assert!(cat.wait().unwrap().success());
    for compressor in ["gzip", "xz", "zstd"] {
        let found = program(compressor).map_err(|_| Absent::because(format!("{compressor} is not there")));
        let Some(_) = need("archives that are compressed", found) else { continue };
        let mut packed =
            Command::new(compressor).args(["-1", "-c"]).arg(&archive).stdout(Stdio::piped()).spawn().unwrap();
        assert!(from(compressor, &[], Stdio::from(packed.stdout.take().unwrap())) == wanted, "{compressor}");
        assert!(packed.wait().unwrap().success());
    }
}

/// An archive that is cut short or damaged leaves nothing behind, and what was there as it was.
#[test]
fn archives_that_cannot_be_read() {
    let room = Room::new();
    let (image, archive) = (room.path("image"), room.path("a.tar"));
    fs::write(&image, "old").unwrap();
    let mut good = tar_of_one_file();
    good[0x94] ^= 1;
    for (name, bytes, want) in [
        ("a checksum", good, "byte 148: checksum: "),
        ("a cut content", tar_of_one_file()[..700].to_vec(), "a.tar: "),
        ("no end", tar_of_one_file()[..1024].to_vec(), "a.tar: "),
        ("no archive", b"what is this".to_vec(), "a.tar: "),
        ("a gzip stream that ends", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1], "a.tar"),
    ] {
        fs::write(&archive, bytes).unwrap();
        for order in ["--sort=path", "--sort=none"] {
            let mut command = Command::new(crate::MKFS);
            let output = command.args(["--tar", order]).arg(&image).arg(&archive).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{name}, {order}: {text}");
            assert!(text.lines().count() == 1 && text.contains(want), "{name}, {order}: {text}");
            assert_eq!(fs::read(&image).unwrap(), b"old", "{name}, {order}");
            let left: Vec<_> =
                fs::read_dir(room.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left.len(), 3, "{name}, {order}: {left:?}");
        }
    }
}

/// The image does not take the place of the archive that it is made of.
#[test]
fn the_archive_stays() {
    let room = Room::new();
    let archive = room.path("a.tar");
    fs::write(&archive, tar_of_one_file()).unwrap();
    for from in ["SOURCE", "standard input"] {
        let mut command = Command::new(crate::MKFS);
        command.arg("--tar").arg(&archive).stdin(File::open(&archive).unwrap());
        if from == "SOURCE" {
            command.arg(&archive);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{from}: {text}");
        assert!(text.starts_with(&format!("mkfs-erofs: IMAGE and {from} are the same: ")), "{text}");
        assert!(fs::read(&archive).unwrap() == tar_of_one_file(), "{from}");
    }
}

/// A file of 300 bytes in a ustar archive with its end marker.
fn tar_of_one_file() -> Vec<u8> {
    let mut bytes = vec![0; 2048];
    for (at, text) in [
        (0, "file"),
        (100, "0000644\0"),
        (108, "0000000\0"),
        (116, "0000000\0"),
        (124, "00000000454\0"),
        (136, "00000000000\0"),
        (148, "        0"),
        (257, "ustar\x0000"),
    ] {
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum: u32 = bytes[..512].iter().map(|&byte| u32::from(byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes[512..812].fill(b'x');
    bytes
}
