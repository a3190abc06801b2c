//! Every kind of file, and metadata, names and targets at their limits.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use erofs_tree::{DirSource, Kind, Silent, Source as _, Timestamp, TreeError};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::support::{content, inode, options, runs_as_root, runs_as_user, scan, scan_error, set_mtime};

fn mknod(path: &Path, kind: FileType, major: u32, minor: u32) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), makedev(major, minor)).unwrap();
}

#[test]
fn every_kind_of_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), b"content").unwrap();
    fs::write(at("empty"), b"").unwrap();
    fs::create_dir_all(at("dir/inner")).unwrap();
    symlink("dir/inner", at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    mknod(&at("fifo"), FileType::Fifo, 0, 0);
    let _socket = UnixListener::bind(at("socket")).unwrap();

    let (_, tree) = scan(dir.path());
    assert!(matches!(inode(&tree, "file").kind, Kind::File { size: 7, .. }));
    assert!(matches!(inode(&tree, "empty").kind, Kind::File { size: 0, .. }));
    assert_eq!(inode(&tree, "link").kind, Kind::Symlink { target: b"dir/inner".as_slice().into() });
    assert_eq!(inode(&tree, "dangling").kind, Kind::Symlink { target: b"nowhere".as_slice().into() });
    assert_eq!(inode(&tree, "fifo").kind, Kind::Fifo);
    assert_eq!(inode(&tree, "socket").kind, Kind::Socket);
    assert_eq!((inode(&tree, "/").links, inode(&tree, "dir").links, inode(&tree, "file").links), (3, 3, 1));
    let counts = tree.counts();
    assert_eq!((counts.inodes, counts.files, counts.directories, counts.symlinks), (9, 2, 3, 2));
    assert_eq!((counts.fifos, counts.sockets, counts.devices, counts.file_bytes), (1, 1, 0, 7));
}

#[test]
fn root_only_device_numbers() {
    if !runs_as_root("making devices") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, kind, major, minor) in [
        ("null", FileType::CharacterDevice, 1, 3),
        ("whiteout", FileType::CharacterDevice, 0, 0),
        ("large", FileType::CharacterDevice, 4095, 1_048_575),
        ("disk", FileType::BlockDevice, 259, 65_537),
    ] {
        mknod(&dir.path().join(name), kind, major, minor);
        let (_, tree) = scan(dir.path());
        let wanted = if kind == FileType::BlockDevice {
            Kind::BlockDevice { major, minor }
        } else {
            Kind::CharDevice { major, minor }
        };
        assert_eq!(inode(&tree, name).kind, wanted, "{name}");
    }
}

#[test]
fn permissions_and_times() {
    let dir = tempfile::tempdir().unwrap();
    for (name, mode, time) in [
        ("plain", 0o644, Timestamp { sec: 1_700_000_000, nsec: 123_456_789 }),
        ("setuid", 0o4755, Timestamp { sec: 0, nsec: 0 }),
        ("setgid", 0o2750, Timestamp { sec: 4_294_967_296, nsec: 999_999_999 }),
        ("all", 0o7777, Timestamp { sec: -1, nsec: 1 }),
        ("owner", 0o400, Timestamp { sec: 1, nsec: 0 }),
    ] {
        for is_dir in [false, true] {
            let name = format!("{name}-{is_dir}");
            let path = dir.path().join(&name);
            if is_dir {
                fs::create_dir(&path).unwrap();
            } else {
                fs::write(&path, b"").unwrap();
            }
            let mode = if is_dir { mode | 0o100 } else { mode };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            set_mtime(&path, time);
            let (_, tree) = scan(dir.path());
            let found = inode(&tree, &name);
            assert_eq!((u32::from(found.permissions), found.mtime), (mode, time), "{name}");
        }
    }
    let link = dir.path().join("link");
    symlink("x", &link).unwrap();
    let time = Timestamp { sec: 12, nsec: 34 };
    set_mtime(&link, time);
    set_mtime(dir.path(), time);
    let (_, tree) = scan(dir.path());
    assert_eq!((inode(&tree, "link").mtime, inode(&tree, "/").mtime), (time, time));
}

#[test]
fn root_only_owners() {
    if !runs_as_root("giving files away") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, uid, gid) in
        [("small", 1, 2), ("wide", 65_536, 100_000), ("widest", 4_294_967_294, 4_000_000_000)]
    {
        let path = dir.path().join(name);
        fs::write(&path, b"").unwrap();
        chown(&path, Some(uid), Some(gid)).unwrap();
        let (_, tree) = scan(dir.path());
        let found = inode(&tree, name);
        assert_eq!((found.uid, found.gid), (uid, gid), "{name}");
    }
}

#[test]
fn names_of_any_bytes() {
    let longest = [b'n'; 255];
    let names: [&[u8]; 9] =
        [b"new\nline", b"\xff\xfe", b" ", b"\x01", b"...", b"-", b"\\", "\u{1f600}".as_bytes(), &longest];
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        fs::create_dir(dir.path().join(OsStr::from_bytes(name))).unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(name)).join(OsStr::from_bytes(name)), name).unwrap();
    }
    let (source, tree) = scan(dir.path());
    assert_eq!(tree.len(), 1 + 2 * names.len());
    for name in names {
        let path = [name, b"/", name].concat();
        let mut buf = [0; 300];
        let count = source.open(content(&tree, &path)).unwrap().read_at(0, &mut buf).unwrap();
        assert_eq!(&buf[..count], name);
        assert_eq!(source.path(content(&tree, &path)), dir.path().join(OsStr::from_bytes(&path)));
    }
}

#[test]
fn symbolic_links_of_every_length() {
    let dir = tempfile::tempdir().unwrap();
    for len in [1, 59, 60, 255, 256, 4094, 4095] {
        let target = vec![b't'; len];
        let name = format!("link{len}");
        // A file system may hold fewer bytes than the kernel allows; then the limit cannot be tested on it.
        symlink(OsStr::from_bytes(&target), dir.path().join(&name)).unwrap();
        let (_, tree) = scan(dir.path());
        assert_eq!(inode(&tree, &name).kind, Kind::Symlink { target: target.into() });
    }
}

#[test]
fn the_root_may_be_a_link_and_nothing_below_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    fs::write(dir.path().join("real/file"), b"x").unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    symlink("/", dir.path().join("real/escape")).unwrap();
    let (source, tree) = scan(&dir.path().join("link"));
    assert_eq!(tree.len(), 3);
    assert!(matches!(inode(&tree, "escape").kind, Kind::Symlink { .. }));
    assert_eq!(source.root(), dir.path().join("link"));
    source.open(content(&tree, "file")).unwrap();
}

#[test]
fn roots_that_are_no_directories() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    for name in ["file", "missing"] {
        let path = dir.path().join(name);
        let error = DirSource::new(&path, options()).unwrap_err();
        let TreeError::Io { path: named, action, .. } = error else { panic!("{error:?}") };
        assert_eq!((named, action), (path, "open the directory"));
    }
}

#[test]
fn user_only_what_may_not_be_read_is_named() {
    if !runs_as_user("files that may not be read") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("closed"), b"x").unwrap();
    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let (source, tree) = scan(dir.path());
    let error = source.open(content(&tree, "closed")).err().unwrap();
    assert_eq!(error.path(), Some(dir.path().join("closed").as_path()));
    assert!(error.to_string().starts_with("cannot open "), "{error}");

    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let error = scan_error(dir.path());
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(error.path(), Some(locked.as_path()));
    assert!(error.to_string().starts_with("cannot open the directory "), "{error}");
}

#[test]
fn an_empty_directory_is_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = DirSource::new(dir.path(), options()).unwrap();
    for _ in 0..2 {
        let tree = source.scan(&Silent).unwrap();
        assert_eq!((tree.len(), tree.inodes[0].links), (1, 2));
    }
    assert!(source.warnings().is_empty());
}
