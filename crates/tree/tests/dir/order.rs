//! Hard links, canonical order, excludes and depth.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::sync::Mutex;

use erofs_tree::{
    DirOptions, DirSource, Exclude, Kind, Progress, Silent, Source as _, Stage, Timestamp, Tree, TreeError,
};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use super::support::{content, id, inode, options, paths, scan, scan_with, set_mtime};

#[test]
fn hard_links_are_one_inode_met_in_canonical_order() {
    let outside = tempfile::tempdir().unwrap();
    let dir = outside.path().join("tree");
    for name in ["a", "b/c", "z"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    // The last name in canonical order is made first, and one name is outside the tree.
    fs::write(dir.join("z/last"), b"shared").unwrap();
    for name in ["b/c/middle", "b/also", "a/first"] {
        fs::hard_link(dir.join("z/last"), dir.join(name)).unwrap();
    }
    fs::hard_link(dir.join("z/last"), outside.path().join("elsewhere")).unwrap();
    symlink("target", dir.join("b/link")).unwrap();
    fs::hard_link(dir.join("b/link"), dir.join("zz")).unwrap();

    let (source, tree) = scan(&dir);
    let wanted = [
        ("", 0),
        ("/a", 1),
        ("/a/first", 2),
        ("/b", 3),
        ("/b/also", 2),
        ("/b/c", 4),
        ("/b/c/middle", 2),
        ("/b/link", 5),
        ("/z", 6),
        ("/z/last", 2),
        ("/zz", 5),
    ];
    assert_eq!(paths(&tree), wanted.map(|(path, number)| (path.to_owned(), number)));
    assert_eq!((inode(&tree, "a/first").links, inode(&tree, "zz").links), (4, 2));
    assert_eq!((tree.counts().files, tree.counts().hard_links, tree.counts().file_bytes), (1, 4, 6));
    assert_eq!(source.path(content(&tree, "z/last")), dir.join("a/first"));
    for (path, first) in [("b/c/middle", "/a/first"), ("zz", "/b/link"), ("b/c", "/b/c"), ("", "/")] {
        assert_eq!(tree.path_of(id(&tree, path)), first.as_bytes());
    }

    let (source, tree) = scan_with(&dir, DirOptions { hard_dereference: true, ..options() });
    assert_eq!((tree.len(), tree.counts().files, tree.counts().hard_links), (11, 4, 0));
    assert_eq!(source.path(content(&tree, "z/last")), dir.join("z/last"));
    assert!(tree.inodes.iter().all(|inode| inode.is_directory() || inode.links == 1));
}

/// Makes the same tree with names in the given order.
fn make(root: &Path, backwards: bool) {
    let mut names: Vec<String> = (0..60).flat_map(|d| (0..30).map(move |f| format!("d{d}/f{f}"))).collect();
    // More than twice as many as one task looks at, directories among them.
    names.extend((0..2500).map(|f| format!("large/f{f}")));
    names.extend((0..40).map(|d| format!("large/g{d}/file")));
    if backwards {
        names.reverse();
    }
    for name in &names {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &name.as_bytes()[..name.len() % 7]).unwrap();
    }
    for (link, name) in [("d7/f99", "d40/f3"), ("large/f0000", "large/g5/file"), ("a", "large/f77")] {
        fs::hard_link(root.join(name), root.join(link)).unwrap();
    }
    let time = Timestamp { sec: 1_600_000_000, nsec: 7 };
    for name in &names {
        set_mtime(&root.join(name), time);
    }
    for dir in
        names.iter().filter_map(|name| Path::new(name).parent()).chain([Path::new(""), Path::new("large")])
    {
        set_mtime(&root.join(dir), time);
    }
}

#[test]
fn the_tree_does_not_depend_on_threads_or_on_the_order_of_creation() {
    let first = tempfile::tempdir().unwrap();
    let second = tempfile::tempdir().unwrap();
    make(first.path(), false);
    make(second.path(), true);
    let mut trees: Vec<Tree> = Vec::new();
    for dir in [&first, &second] {
        for threads in [1, 2, 8] {
            trees.push(scan_with(dir.path(), DirOptions { threads, ..options() }).1);
        }
    }
    assert_eq!(trees[0].counts().files, 1800 + 2540);
    assert_eq!(trees[0].counts().hard_links, 3);
    for tree in &trees[1..] {
        assert_eq!(tree, &trees[0]);
    }
    let mut visited = Vec::new();
    trees[0].for_each_path(|inode, path| visited.push((inode.0, [b"/", path].concat())));
    assert!(visited.iter().map(|(number, _)| *number).eq(0..u32::try_from(trees[0].len()).unwrap()));
    for (number, path) in visited {
        assert_eq!(trees[0].path_of(erofs_tree::InodeId(number)), path);
    }
    // path_of searches; the walk is its reference implementation.
    let mut seen = std::collections::BTreeSet::new();
    for (path, number) in paths(&trees[0]) {
        if seen.insert(number) {
            let wanted = if path.is_empty() { "/" } else { &path };
            assert_eq!(trees[0].path_of(erofs_tree::InodeId(number)), wanted.as_bytes());
        }
    }
}

#[test]
fn excluded_entries_are_left_out_with_their_contents() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["usr/bin/true", "usr/bin/false.o", "usr/lib/a.o", "usr/lib/a.so", "bin/sh", "tmp/x/y"] {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), b"x").unwrap();
    }
    let kept = |paths: &[&str], regexes: &[&str]| {
        let mut exclude = Exclude::new();
        for path in paths {
            exclude.add_path(path).unwrap();
        }
        for regex in regexes {
            exclude.add_regex(regex).unwrap();
        }
        let mut source = DirSource::new(dir.path(), options()).unwrap();
        assert!(source.leave_out(&exclude));
        let tree = source.scan(&Silent).unwrap();
        let files: Vec<String> = tree
            .iter()
            .filter(|(_, inode)| matches!(inode.kind, Kind::File { .. }))
            .map(|(id, _)| String::from_utf8(tree.path_of(id)).unwrap())
            .collect();
        (files.join(" "), source.excluded())
    };
    let cases: [(&[&str], &[&str], &str, u64); 6] = [
        (&[], &[], "/bin/sh /tmp/x/y /usr/bin/false.o /usr/bin/true /usr/lib/a.o /usr/lib/a.so", 0),
        (&["usr/bin"], &[], "/bin/sh /tmp/x/y /usr/lib/a.o /usr/lib/a.so", 1),
        (&["/usr/lib/a.o", "tmp"], &[], "/bin/sh /usr/bin/false.o /usr/bin/true /usr/lib/a.so", 2),
        (&[], &[r"\.o$"], "/bin/sh /tmp/x/y /usr/bin/true /usr/lib/a.so", 2),
        (&[], &["^bin"], "/tmp/x/y /usr/bin/false.o /usr/bin/true /usr/lib/a.o /usr/lib/a.so", 1),
        (&["absent"], &["."], "", 3),
    ];
    for (exact, regexes, wanted, excluded) in cases {
        assert_eq!(kept(exact, regexes), (wanted.to_owned(), excluded), "{exact:?} {regexes:?}");
    }
}

#[test]
fn what_is_being_written_is_skipped_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("out")).unwrap();
    for name in ["out/new\nimg", "a.tmp"] {
        fs::write(at(name), b"").unwrap();
    }
    // A place is one name; a file that is written to is the same one under all of its names.
    for (name, link) in [("out/new\nimg", "kept"), ("a.tmp", "out/b.tmp")] {
        fs::hard_link(at(name), at(link)).unwrap();
    }
    let stat = fs::metadata(at("a.tmp")).unwrap();
    let skip_files = vec![(stat.dev(), stat.ino())];
    let skip = vec![at("out/new\nimg"), at("none"), at("missing/none")];
    let (source, tree) = scan_with(dir.path(), DirOptions { skip, skip_files, ..options() });
    assert_eq!(paths(&tree).iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["", "/kept", "/out"]);
    assert_eq!(
        source.warnings(),
        ["a.tmp", "out/b.tmp", "out/new\\x0aimg"].map(|name| format!("{name}: skipped, it is being written"))
    );
}

/// Makes `depth` directories inside each other and a file in every 500th and in the last.
fn make_deep(root: &Path, name: &str, depth: usize) {
    let mut at: OwnedFd = openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    for level in 1..=depth {
        mkdirat(&at, name, Mode::from_raw_mode(0o700)).unwrap();
        at = openat(&at, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        if level % 500 == 0 || level == depth {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(&at, "file", flags, Mode::from_raw_mode(0o600)).unwrap();
            rustix::io::write(&file, level.to_string().as_bytes()).unwrap();
        }
    }
}

/// Takes a chain of directories down from the top, since the usual way of removing them opens all at once.
fn remove_deep(root: &Path, name: &str) {
    let (top, next) = (root.join(name), root.join("next"));
    while top.exists() {
        if top.join("file").exists() {
            fs::remove_file(top.join("file")).unwrap();
        }
        let inner = top.join(name);
        let has_inner = inner.exists();
        if has_inner {
            fs::rename(&inner, &next).unwrap();
        }
        fs::remove_dir(&top).unwrap();
        if has_inner {
            fs::rename(&next, &top).unwrap();
        }
    }
}

#[test]
fn directories_may_be_nested_deeper_than_a_path_can_say() {
    for (name, depth) in [("d".to_owned(), 3000), ("n".repeat(255), 40)] {
        let dir = tempfile::tempdir().unwrap();
        make_deep(dir.path(), &name, depth);
        let (source, tree) = scan(dir.path());
        assert_eq!(tree.counts().directories, depth as u64 + 1);
        let mut files = 0;
        for (inode_id, inode) in tree.iter() {
            let Kind::File { content, .. } = inode.kind else { continue };
            let mut buf = [0; 8];
            let opened = source.open(content).unwrap();
            let count = opened.read_at(0, &mut buf).unwrap();
            opened.finish().unwrap();
            let level = tree.path_of(inode_id).split(|&byte| byte == b'/').count() - 2;
            assert_eq!(buf[..count], *level.to_string().as_bytes());
            files += 1;
        }
        assert_eq!(files, if depth == 3000 { 6 } else { 1 });
        drop(source);
        remove_deep(dir.path(), &name);
    }
}

#[derive(Default)]
struct Recorder(Mutex<(Vec<String>, u64)>);

impl Progress for Recorder {
    fn begin(&self, stage: Stage, total_entries: u64, total_bytes: u64) {
        self.0.lock().unwrap().0.push(format!("begin {stage:?} {total_entries} {total_bytes}"));
    }
    fn advance(&self, entries: u64, _bytes: u64) {
        self.0.lock().unwrap().1 += entries;
    }
    fn end(&self, stage: Stage) {
        self.0.lock().unwrap().0.push(format!("end {stage:?}"));
    }
}

#[test]
fn progress_hears_of_every_entry() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..3000 {
        fs::write(dir.path().join(number.to_string()), b"").unwrap();
    }
    let recorder = Recorder::default();
    let mut source = DirSource::new(dir.path(), options()).unwrap();
    source.scan(&recorder).unwrap();
    let (calls, entries) = recorder.0.into_inner().unwrap();
    assert_eq!((calls, entries), (vec!["begin Scan 0 0".to_owned(), "end Scan".to_owned()], 3000));
}

#[test]
fn unknown_contents_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (source, _) = scan(dir.path());
    let error = source.open(erofs_tree::ContentRef(0)).err().unwrap();
    assert!(matches!(error, TreeError::UnknownContent { found: 0, files: 0 }));
    assert_eq!(source.path(erofs_tree::ContentRef(0)), Path::new(""));
}
