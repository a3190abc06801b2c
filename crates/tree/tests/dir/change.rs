//! Trees that change after the scan: always an error that names the path, never other bytes.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use erofs_tree::{Silent, Source as _, Timestamp, TreeError};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::support::{content, scan, set_mtime};

const TIME: Timestamp = Timestamp { sec: 1_500_000_000, nsec: 5 };

/// What is done to `dir/file`, which holds ten bytes.
type Deed = fn(&Path);

fn append(path: &Path) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

fn cut(path: &Path) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(4).unwrap();
}

fn rewrite(path: &Path) {
    fs::write(path, b"9876543210").unwrap();
}

/// Other bytes, but the old length and time of modification.
fn rewrite_and_hide(path: &Path) {
    rewrite(path);
    set_mtime(path, TIME);
}

fn replace(path: &Path) {
    let other = path.with_extension("other");
    fs::write(&other, b"0123456789").unwrap();
    set_mtime(&other, TIME);
    fs::rename(other, path).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn remove_all(path: &Path) {
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

fn to_fifo(path: &Path) {
    remove(path);
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

fn to_link(path: &Path) {
    fs::rename(path, path.with_extension("moved")).unwrap();
    symlink("file.moved", path).unwrap();
}

fn to_directory(path: &Path) {
    remove(path);
    fs::create_dir(path).unwrap();
}

fn to_socket(path: &Path) {
    remove(path);
    drop(UnixListener::bind(path).unwrap());
}

fn parent_to_link(path: &Path) {
    let parent = path.parent().unwrap();
    fs::rename(parent, parent.with_extension("moved")).unwrap();
    symlink("dir.moved", parent).unwrap();
}

fn what(error: &TreeError) -> &str {
    if let TreeError::Changed { what, .. } = error {
        return what;
    }
    assert!(matches!(error, TreeError::Vanished { .. }), "{error:?}");
    "vanished"
}

fn make() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    let path = dir.path().join("dir/file");
    fs::write(&path, b"0123456789").unwrap();
    set_mtime(&path, TIME);
    for name in ["other", "third"] {
        fs::write(dir.path().join("dir").join(name), b"other").unwrap();
    }
    dir
}

#[test]
fn between_scan_and_open() {
    let cases: [(&str, Deed, &str); 12] = [
        ("append", append, "size"),
        ("cut", cut, "size"),
        ("rewrite", rewrite, "mtime"),
        ("rewrite and hide", rewrite_and_hide, "ctime"),
        ("replace", replace, "inode"),
        ("remove", remove, "vanished"),
        ("remove all", remove_all, "vanished"),
        ("to fifo", to_fifo, "file type"),
        ("to link", to_link, "file type"),
        ("to directory", to_directory, "file type"),
        ("to socket", to_socket, "file type"),
        ("parent to link", parent_to_link, "file type"),
    ];
    // A directory stays open if others of its files were opened before; it need not be reached by its name
    // again then.
    let ways = cases.into_iter().flat_map(|case| [(case, false), (case, true)]);
    for ((name, deed, wanted), is_open) in ways.filter(|way| !(way.1 && way.0.0 == "parent to link")) {
        let dir = make();
        let path = dir.path().join("dir/file");
        let (source, tree) = scan(dir.path());
        for other in ["dir/other", "dir/third"].into_iter().filter(|_| is_open) {
            source.open(content(&tree, other)).unwrap().finish().unwrap();
        }
        deed(&path);
        let error = source.open(content(&tree, "dir/file")).err().unwrap_or_else(|| panic!("{name}: opened"));
        assert_eq!(what(&error), wanted, "{name}, {is_open}");
        assert_eq!(error.path(), Some(path.as_path()), "{name}, {is_open}");
    }
}

#[test]
fn between_open_and_finish() {
    let cases: [(&str, Deed, &str); 7] = [
        ("append", append, "size"),
        ("cut", cut, "size"),
        ("rewrite", rewrite, "mtime"),
        ("rewrite and hide", rewrite_and_hide, "ctime"),
        ("replace", replace, "ctime"),
        ("remove", remove, "ctime"),
        ("to fifo", to_fifo, "ctime"),
    ];
    for (name, deed, wanted) in cases {
        let dir = make();
        let path = dir.path().join("dir/file");
        let (source, tree) = scan(dir.path());
        let opened = source.open(content(&tree, "dir/file")).unwrap();
        opened.finish().unwrap();
        deed(&path);
        let error = opened.finish().expect_err(name);
        assert_eq!((what(&error), error.path()), (wanted, Some(path.as_path())), "{name}");
    }
}

#[test]
fn messages_say_what_was_found_and_wanted() {
    let dir = make();
    let path = dir.path().join("dir/file");
    let (source, tree) = scan(dir.path());
    let opened = source.open(content(&tree, "dir/file")).unwrap();
    append(&path);
    let wanted = format!("{}: size changed while the source was read: found 14, wanted 10", path.display());
    assert_eq!(opened.finish().unwrap_err().to_string(), wanted);
    cut(&path);
    let mut buf = [0; 10];
    assert_eq!(opened.read_at(0, &mut buf).unwrap(), 4);
    fs::write(&path, b"0123456789").unwrap();
    set_mtime(&path, Timestamp { sec: -1, nsec: 0 });
    let text = opened.finish().unwrap_err().to_string();
    assert!(
        text.ends_with(
            "mtime changed while the source was read: found -1.000000000, wanted 1500000000.000000005"
        ),
        "{text}"
    );
}

#[test]
fn reads_are_short_only_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    File::create(&path).unwrap().set_len(3 << 20).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"end").unwrap();
    let (source, tree) = scan(dir.path());
    let opened = source.open(content(&tree, "file")).unwrap();
    let len = (3 << 20) + 3;
    for (offset, room, wanted) in [
        (0, 2 << 20, 2 << 20),
        (0, 4 << 20, len),
        (len - 1, 10, 1),
        (len, 10, 0),
        (len + 99, 10, 0),
        (5, 0, 0),
    ] {
        let mut buf = vec![1; room];
        assert_eq!(opened.read_at(offset as u64, &mut buf).unwrap(), wanted, "{offset} {room}");
    }
    let mut buf = [0; 6];
    opened.read_at(len as u64 - 6, &mut buf).unwrap();
    assert_eq!(&buf, b"\0\0\0end");
    opened.finish().unwrap();
}

#[test]
fn a_renamed_root_stays_the_same_tree() {
    let dir = make();
    fs::create_dir(dir.path().join("root")).unwrap();
    fs::rename(dir.path().join("dir"), dir.path().join("root/dir")).unwrap();
    let (source, tree) = scan(&dir.path().join("root"));
    fs::rename(dir.path().join("root"), dir.path().join("moved")).unwrap();
    source.open(content(&tree, "dir/file")).unwrap().finish().unwrap();
}

#[test]
fn a_directory_in_which_files_were_opened_stays_the_same_one() {
    let dir = make();
    let (source, tree) = scan(dir.path());
    for other in ["dir/other", "dir/third"] {
        source.open(content(&tree, other)).unwrap().finish().unwrap();
    }
    parent_to_link(&dir.path().join("dir/file"));
    let opened = source.open(content(&tree, "dir/file")).unwrap();
    let mut bytes = [0; 10];
    assert_eq!(opened.read_at(0, &mut bytes).unwrap(), 10);
    opened.finish().unwrap();
    assert_eq!(&bytes, b"0123456789");
}

#[test]
fn the_next_scan_opens_its_own_directories() {
    let dir = make();
    let (mut source, tree) = scan(dir.path());
    for other in ["dir/other", "dir/third"] {
        source.open(content(&tree, other)).unwrap().finish().unwrap();
    }
    let elsewhere = tempfile::tempdir_in(dir.path().parent().unwrap()).unwrap();
    fs::rename(dir.path().join("dir"), elsewhere.path().join("dir")).unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    fs::write(dir.path().join("dir/file"), b"another").unwrap();
    let tree = source.scan(&Silent).unwrap();
    for _ in 0..3 {
        source.open(content(&tree, "dir/file")).unwrap().finish().unwrap();
    }
}
