//! Outputs that are not simply a new file in a folder: what is written in place, and what stays when a run is
//! ended.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use erofs_testkit::content;
use erofs_testkit::peers::run;
use erofs_testkit::require::{Absent, need, root};

use crate::output::loop_device;
use crate::{MKFS, Ran, Room, SOMEONE, names, strace};

const NO_FLAGS: &[&str] = &[];

#[test]
fn an_empty_file_that_is_held_open_is_filled() {
    let room = Room::new();
    let path = room.path("img");
    let mut held = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    room.build(NO_FLAGS, &path).assert_done();
    let mut bytes = Vec::new();
    held.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, room.image(NO_FLAGS));
    // A run that fails leaves it empty.
    let path = room.path("other");
    let held = File::create(&path).unwrap();
    room.build(&["--force-uid=4294967294", "--uid-offset=2"], &path).assert_refused(1, "");
    fs::set_permissions(room.source().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(room.source().join("large"), content::noise(1, 64 << 20)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 1000; exec \"$@\"", "sh", MKFS]).arg(&path).arg(room.source());
    Ran::of(&mut command)
        .assert_refused(1, &format!("{}: cannot be written: File too large", path.display()));
    assert_eq!(held.metadata().unwrap().len(), 0);
}

#[test]
fn descriptors_are_written_in_place() {
    let room = Room::new();
    let want = room.image(NO_FLAGS);
    let file = || {
        let path = room.path("held");
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut &file, &vec![7; 100_000]).unwrap();
        // Without a name there is nothing that could be replaced.
        fs::remove_file(path).unwrap();
        file
    };
    let content = |mut file: File| {
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    for path in ["/dev/fd/0", "/proc/self/fd/0", "/dev/stdin"] {
        let held = file();
        let mut command = Command::new(MKFS);
        command.arg(path).arg(room.source()).stdin(held.try_clone().unwrap());
        Ran::of(&mut command).assert_done();
        assert!(content(held) == want, "{path}");
    }
    // Where stdout is the image, the summary is printed elsewhere.
    for flag in ["--json", "-d2"] {
        let held = file();
        let mut command = Command::new(MKFS);
        command.arg(flag).arg("/dev/stdout").arg(room.source()).stdout(held.try_clone().unwrap());
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert!(output.status.success() && content(held) == want, "{flag}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("inodes"), "{flag}");
    }
    let log = room.path("log");
    fs::write(&log, "older lines").unwrap();
    let appended = File::options().append(true).open(&log).unwrap();
    let mut command = Command::new(MKFS);
    let output = command.arg("/dev/stdout").arg(room.source()).stdout(appended).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("opened for appending"));
    assert_eq!(fs::read(log).unwrap(), b"older lines");
}

/// A mount that ends with the test.
struct Mounted(PathBuf);

impl Mounted {
    fn new(arguments: &[&str], what: &Path, point: PathBuf) -> Result<Self, Absent> {
        root()?;
        let mounted = run(Command::new("mount").args(arguments).arg(what).arg(&point));
        mounted.map_err(|error| Absent::because(error.to_string()))?;
        Ok(Self(point))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).output());
    }
}

#[test]
fn a_mount_point_is_written_in_place() {
    let room = Room::new();
    let (below, point) = (room.path("below"), room.path("point"));
    fs::write(&below, vec![7; 100_000]).unwrap();
    fs::write(&point, "").unwrap();
    let mounted = Mounted::new(&["--bind"], &below, point.clone());
    let Some(_mounted) = need("a file that is a mount point", mounted) else { return };
    room.build(NO_FLAGS, &point).assert_done();
    assert_eq!(fs::read(below).unwrap(), room.image(NO_FLAGS));
}

/// A copy of the program that everybody can reach, beside a source that everybody can read.
fn for_someone(room: &Room) -> Result<PathBuf, Absent> {
    root()?;
    let program = room.path("mkfs-erofs");
    // Another process makes the copy, because a file that this one has open for writing cannot be run while
    // some thread of the tests is between fork and exec.
    run(Command::new("cp").arg(MKFS).arg(&program)).unwrap();
    fs::set_permissions(room.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    Ok(program)
}

#[test]
fn a_file_that_can_only_be_written_is_written_in_place() {
    let room = Room::new();
    let Some(program) = need("outputs of another user", for_someone(&room)) else { return };
    let build = |image: &Path| {
        Ran::of(Command::new(&program).uid(SOMEONE).gid(SOMEONE).arg("-T0").arg(image).arg(room.source()))
    };
    let want = room.image(&["-T0"]);
    // The folder takes no new files; it does, but keeps what belongs to others.
    for (folder, mode) in [("closed", 0o755), ("sticky", 0o1777)] {
        let folder = room.path(folder);
        fs::create_dir(&folder).unwrap();
        let image = folder.join("img");
        for old in [vec![], vec![7; 100_000]] {
            fs::write(&image, &old).unwrap();
            fs::set_permissions(&image, fs::Permissions::from_mode(0o666)).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            build(&image).assert_done();
            assert!(fs::read(&image).unwrap() == want, "{mode:o}, {} bytes before", old.len());
            assert_eq!(names(&folder), ["img"]);
        }
        fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).unwrap();
        build(&image).assert_refused(
            1,
            &format!("{}: cannot be opened for writing: Permission denied", image.display()),
        );
    }
    // A folder that takes files, and shows nobody which: its names cannot be synced.
    let folder = room.path("dark");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o333)).unwrap();
    let ran = build(&folder.join("img"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr.contains("warning: ") && ran.stderr.contains("its folder cannot be synced"),
        "{ran:?}"
    );
    assert_eq!(fs::read(folder.join("img")).unwrap(), want);
}

#[test]
fn a_folder_that_cannot_be_synced_is_a_warning() {
    let Some(strace) = need("folders that cannot be synced", strace()) else { return };
    let room = Room::new();
    for error in ["EIO", "EOPNOTSUPP"] {
        let mut command = Command::new(&strace);
        // The first is that of the image.
        command.args(["-f", "-qq", "-o/dev/null", "-e", &format!("inject=fsync:error={error}:when=2")]);
        let ran = Ran::of(command.arg(MKFS).arg(room.path("img")).arg(room.source()));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains("/img: is complete, but its folder cannot be synced"), "{ran:?}");
        assert_eq!(fs::read(room.path("img")).unwrap(), room.image(NO_FLAGS));
        fs::remove_file(room.path("img")).unwrap();
    }
}

#[test]
fn paths_may_be_longer_than_the_kernel_takes() {
    let room = Room::new();
    let want = room.image(NO_FLAGS);
    let script = "set -e
        for i in $(seq 20); do mkdir $3; cd $3; done
        \"$1\" --quiet img \"$2\"
        \"$1\" --quiet \"$PWD/long\" \"$2\"
        ln -s img link
        \"$1\" --quiet link \"$2\"
        cmp img long >&2
        cat img";
    let mut command = Command::new("bash");
    let command = command.args(["-c", script, "bash", MKFS]).arg(room.source()).arg("d".repeat(250));
    let output = command.current_dir(room.path("")).output().unwrap();
    assert!(output.stdout == want, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn temporary_files_of_outputs_in_place_are_in_tmpdir() {
    let room = Room::new();
    let backing = room.path("disk");
    File::create(&backing).unwrap().set_len(64 << 20).unwrap();
    let Some(disk) = need("temporary files of an image on a block device", loop_device(&backing)) else {
        return;
    };
    // Fragments of more than 16 MiB do not wait in memory.
    for number in 0..20 {
        fs::write(room.source().join(format!("f{number}")), content::noise(number, 1 << 20)).unwrap();
    }
    fs::create_dir(room.path("tmp")).unwrap();
    let build = |tmp: &str| {
        let mut command = Command::new(MKFS);
        command.args(["--quiet", "-zlz4", "-Eall-fragments"]).arg(disk.path()).arg(room.source());
        Ran::of(command.env("TMPDIR", room.path(tmp)))
    };
    build("tmp").assert_done();
    assert_eq!(names(&room.path("tmp")), [""; 0]);
    let line = format!("temporary file: in {}: No such file", room.path("none").display());
    build("none").assert_refused(1, &line);
}

/// Starts the program where nothing is mounted on `/proc`: without it no file can be without a name until it
/// is whole.
fn without_proc(arguments: &[&OsStr]) -> Result<Child, Absent> {
    root()?;
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).args(arguments);
    command.spawn().map_err(|error| Absent::because(error.to_string()))
}

/// Waits for a name in the folder, or for the end of the process.
fn wait_for_name(child: &mut Child, folder: &Path) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none() {
        if names(folder).iter().any(|name| name.to_string_lossy().starts_with(".mkfs-erofs-")) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

#[test]
fn a_run_that_is_ended_leaves_no_temporary_name() {
    let room = Room::new();
    fs::write(room.source().join("large"), content::noise(2, 192 << 20)).unwrap();
    let folder = room.path("out");
    fs::create_dir(&folder).unwrap();
    let image = folder.join("img");
    for signal in ["INT", "TERM", "HUP"] {
        for old in [&[][..], b"older image"] {
            let before: &[&str] = if old.is_empty() { &[] } else { &["img"] };
            if !old.is_empty() {
                fs::write(&image, old).unwrap();
            }
            let source = room.source();
            let line = [OsStr::new(MKFS), OsStr::new("--quiet"), image.as_os_str(), source.as_os_str()];
            let Some(mut child) = need("temporary names", without_proc(&line)) else { return };
            assert!(wait_for_name(&mut child, &folder), "no temporary name was seen");
            run(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string())).unwrap();
            let status = child.wait().unwrap();
            assert!(status.signal().is_some(), "{signal}: {status}");
            assert_eq!(names(&folder), before, "{signal}");
            if !old.is_empty() {
                assert_eq!(fs::read(&image).unwrap(), old);
                fs::remove_file(&image).unwrap();
            }
        }
    }
    // A file that is written in place was empty, and is so again.
    fs::write(&image, "").unwrap();
    let mut child = Command::new(MKFS).arg("--quiet").arg(&image).arg(room.source()).spawn().unwrap();
    while fs::metadata(&image).unwrap().len() == 0 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    run(Command::new("kill").arg("-TERM").arg(child.id().to_string())).unwrap();
    assert!(child.wait().unwrap().signal().is_some());
    assert_eq!(fs::metadata(&image).unwrap().len(), 0);
}

#[test]
fn ignored_signals_stay_ignored() {
    let room = Room::new();
    fs::write(room.source().join("large"), content::noise(2, 64 << 20)).unwrap();
    let image = room.path("img");
    fs::write(&image, "").unwrap();
    let script = "trap '' HUP; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", MKFS, "--quiet"]).arg(&image).arg(room.source());
    let mut child = command.spawn().unwrap();
    while fs::metadata(&image).unwrap().len() == 0 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    run(Command::new("kill").arg("-HUP").arg(child.id().to_string())).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read(image).unwrap(), room.image(NO_FLAGS));
}
