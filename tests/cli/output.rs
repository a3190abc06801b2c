//! What happens to the image file: all or nothing.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use erofs_testkit::peers::run;
use erofs_testkit::require::{Absent, need, root};
use erofs_testkit::{LoopDevice, content};

use crate::{MKFS, Ran, Room, names};

/// A build that fails after the scan: an owner that does not fit with its offset.
const FAILING: [&str; 2] = ["--force-uid=4294967294", "--uid-offset=2"];

#[test]
fn a_failed_run_leaves_everything_as_it_was() {
    let room = Room::new();
    let image = room.path("img");
    room.build(&FAILING, &image).assert_refused(1, "");
    assert_eq!(names(&room.path("")), ["source"]);
    fs::write(&image, "older image").unwrap();
    room.build(&FAILING, &image).assert_refused(1, "");
    assert_eq!(fs::read(&image).unwrap(), b"older image");
    assert_eq!(names(&room.path("")), ["img", "source"]);
    let line = format!("{}: ", room.path("no/img").display());
    room.build::<&str>(&[], &room.path("no/img")).assert_refused(1, &line);
}

#[test]
fn an_existing_image_is_replaced_and_keeps_its_permissions() {
    let room = Room::new();
    let image = room.path("img");
    fs::write(&image, vec![0xff; 1 << 20]).unwrap();
    fs::set_permissions(&image, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&image).unwrap().ino();
    let held_open = File::open(&image).unwrap();
    room.build::<&str>(&[], &image).assert_done();
    let after = fs::metadata(&image).unwrap();
    assert_eq!(after.mode() & 0o7777, 0o640);
    assert_ne!(after.ino(), before);
    assert_eq!(fs::read(&image).unwrap(), room.image::<&str>(&[]));
    // Whoever has the older image mounted or open keeps it.
    let mut older = Vec::new();
    (&held_open).read_to_end(&mut older).unwrap();
    assert_eq!(older, vec![0xff; 1 << 20]);
}

#[test]
fn a_symlink_keeps_pointing_at_the_image() {
    let room = Room::new();
    let link = room.path("link.img");
    std::os::unix::fs::symlink("real.img", &link).unwrap();
    for _ in 0..2 {
        room.build::<&str>(&[], &link).assert_done();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("real.img"));
        assert_eq!(names(&room.path("")), ["link.img", "real.img", "source"]);
    }
    assert_eq!(fs::read(room.path("real.img")).unwrap(), room.image::<&str>(&[]));
}

#[test]
fn bytes_before_the_offset_are_left_alone() {
    let room = Room::new();
    let plain = room.image::<&str>(&[]);
    for (existing, want) in [
        (vec![], vec![0; 8192]),
        (vec![7; 100], [vec![7; 100], vec![0; 8092]].concat()),
        (vec![7; 1 << 20], vec![7; 8192]),
    ] {
        let image = room.path("img");
        if !existing.is_empty() {
            fs::write(&image, &existing).unwrap();
        }
        room.build(&["--offset=8K", "--quiet"], &image).assert_done();
        let found = fs::read(&image).unwrap();
        assert!(found[..8192] == want[..] && found[8192..] == plain[..], "{} bytes before", existing.len());
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn an_image_in_its_own_source_is_skipped() {
    let room = Room::new();
    let image = room.source().join("sub/img");
    let first = room.build(&["--json", "-T1"], &image).json();
    assert_eq!(first["warnings"], serde_json::json!([]), "there was none to skip");
    let bytes = fs::read(&image).unwrap();
    let second = room.build(&["--json", "-T1"], &image).json();
    let warnings = second["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{second}");
    assert!(warnings[0].as_str().unwrap().contains("sub/img"), "{second}");
    assert_eq!(second["files"], first["files"]);
    assert_eq!(fs::read(&image).unwrap(), bytes);
}

/// Snapshots made of hard links have the image of yesterday under another name.
#[test]
fn another_name_of_the_old_image_is_a_file_like_any_other() {
    let room = Room::new();
    let image = room.path("img");
    let old = content::noise(3, 9000);
    fs::write(&image, &old).unwrap();
    for name in ["yesterday", "sub/img"] {
        fs::hard_link(&image, room.source().join(name)).unwrap();
    }
    let ran = room.build(&["--json", "-T1"], &image);
    let summary = ran.json();
    assert_eq!((&summary["warnings"], &summary["files"]), (&serde_json::json!([]), &4.into()), "{ran:?}");
    assert!(fs::read(&image).unwrap().windows(4096).any(|bytes| bytes == &old[..4096]));
    // The same in the folder of the image, which itself is left out.
    let inside = room.source().join("sub/img");
    let summary = room.build(&["--json", "-T1"], &inside).json();
    assert_eq!(
        (summary["warnings"].as_array().unwrap().len(), &summary["files"]),
        (1, &4.into()),
        "{summary}"
    );
    assert_eq!(fs::read(room.source().join("yesterday")).unwrap(), old);
}

/// The process, once it has a file open in `folder` that has no name there, or once it has ended.
fn started(mut child: Child, folder: &Path) -> Child {
    let descriptors = PathBuf::from(format!("/proc/{}/fd", child.id()));
    while child.try_wait().unwrap().is_none() {
        let open = fs::read_dir(&descriptors).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        if targets
            .any(|target| target.starts_with(folder) && target.to_string_lossy().ends_with(" (deleted)"))
        {
            break;
        }
    }
    child
}

#[test]
fn a_killed_run_leaves_nothing_behind() {
    let room = Room::new();
    fs::write(room.source().join("large"), content::noise(2, 96 << 20)).unwrap();
    let folder = room.path("out");
    fs::create_dir(&folder).unwrap();
    let image = folder.join("img");
    let mut command = Command::new(MKFS);
    command.args(["--ishare-key", "--quiet"]).arg(&image).arg(room.source());
    let mut child = started(command.spawn().unwrap(), &folder);
    child.kill().unwrap();
    let was_killed = child.wait().unwrap().code().is_none();
    let want: &[&str] = if was_killed { &[] } else { &["img"] };
    assert_eq!(names(&folder), want);
    // An older image survives as well.
    fs::write(&image, "older image").unwrap();
    let mut child = started(command.spawn().unwrap(), &folder);
    child.kill().unwrap();
    let was_killed = child.wait().unwrap().code().is_none();
    assert_eq!(names(&folder), ["img"]);
    assert_eq!(fs::read(&image).unwrap() == b"older image", was_killed);
}

/// A file system of its own, of one megabyte.
pub(crate) struct SmallDisk {
    pub(crate) room: Room,
}

impl SmallDisk {
    pub(crate) fn new() -> Result<Self, Absent> {
        root()?;
        let room = Room::new();
        let point = room.path("disk");
        fs::create_dir(&point).unwrap();
        let mut mount = Command::new("mount");
        let mounted = run(mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&point));
        mounted.map_err(|error| Absent::because(error.to_string()))?;
        Ok(Self { room })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.room.path("disk")).output());
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let Some(disk) = need("a full disk", SmallDisk::new()) else { return };
    let room = &disk.room;
    fs::write(room.source().join("large"), content::noise(3, 4 << 20)).unwrap();
    let image = room.path("disk/img");
    let line = format!("{}: ", image.display());
    let ran = room.build(&["--ishare-key"], &image);
    assert!(ran.assert_refused(1, &line).stderr.contains("No space left on device"), "{ran:?}");
    assert_eq!(names(&room.path("disk")), [""; 0]);
    fs::write(&image, "older image").unwrap();
    room.build(&["--ishare-key"], &image).assert_refused(1, &line);
    assert_eq!(fs::read(&image).unwrap(), b"older image");
    assert_eq!(names(&room.path("disk")), ["img"]);
}

/// A loop device over a file, where there can be one.
pub(crate) fn loop_device(file: &Path) -> Result<LoopDevice, Absent> {
    root()?;
    LoopDevice::new(file).map_err(|error| Absent::because(error.to_string()))
}

#[test]
fn a_block_device_is_written_in_place() {
    let room = Room::new();
    let flags = ["--ishare-key", "--quiet", "-E^inline_data"];
    let want = room.image(&flags);
    let backing = room.path("disk");
    let size = want.len() + (64 << 10);
    fs::write(&backing, vec![0xff; size]).unwrap();
    let Some(disk) = need("an image on a block device", loop_device(&backing)) else { return };
    room.build(&flags, disk.path()).assert_done();
    let mut found = vec![0; size];
    File::open(disk.path()).unwrap().read_exact_at(&mut found, 0).unwrap();
    assert!(found[..want.len()] == want[..], "the image differs from that in a file");
    assert!(found[want.len()..].iter().all(|&byte| byte == 0), "what was there before is gone");

    // A device that is too small is an error.
    fs::write(room.source().join("large"), content::noise(4, 1 << 20)).unwrap();
    room.build(&flags, disk.path()).assert_refused(1, &format!("{}: ", disk.path().display()));
    // So is one that is in use.
    let in_use = format!("{}: cannot be opened for writing", disk.path().display());
    let holder = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::EXCL;
    let held = rustix::fs::open(disk.path(), holder, rustix::fs::Mode::empty()).unwrap();
    room.build(&flags, disk.path()).assert_refused(1, &in_use);
    drop(held);
}

#[test]
fn a_pipe_is_no_place_for_an_image() {
    let room = Room::new();
    let mut command = Command::new(MKFS);
    let command = command.arg("/dev/stdout").arg(room.source());
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let ran = Ran {
        code: output.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    ran.assert_refused(1, "/dev/stdout: ");
}
