//! The tree by itself: what it promises, how it is shaped, how it is searched.

use erofs_tree::{
    ContentRef, Entry, Inode, InodeId, Kind, ShapeOptions, TimeRule, Timestamp, Tree, TreeError, Xattr, apply,
};

const TIME: Timestamp = Timestamp { sec: 100, nsec: 50 };

fn inode(links: u32, kind: Kind) -> Inode {
    Inode { permissions: 0o755, uid: 10, gid: 20, mtime: TIME, links, xattrs: Box::default(), kind }
}

fn entry(name: &str, inode: u32) -> Entry {
    Entry { name: name.as_bytes().into(), inode: InodeId(inode) }
}

fn file(content: u32) -> Kind {
    Kind::File { size: 5, content: ContentRef(content) }
}

fn xattr(name: &str) -> Xattr {
    Xattr { name: name.as_bytes().into(), value: Box::default() }
}

/// `/a/` with `/a/f`; `/b`, the same file as `/a/f`; `/c`, a symbolic link.
fn sample() -> Tree {
    let root = Kind::Directory { entries: vec![entry("a", 1), entry("b", 2), entry("c", 3)] };
    let inner = Kind::Directory { entries: vec![entry("f", 2)] };
    let link = Kind::Symlink { target: b"b".as_slice().into() };
    let inodes = vec![inode(3, root), inode(2, inner), inode(2, file(0)), inode(1, link)];
    Tree { inodes, root: InodeId(0) }
}

fn entries(tree: &mut Tree, dir: usize) -> &mut Vec<Entry> {
    let Kind::Directory { entries } = &mut tree.inodes[dir].kind else {
        panic!("inode {dir} is no directory")
    };
    entries
}

#[test]
fn the_sample_is_valid_and_searched() {
    let tree = sample();
    tree.validate().unwrap();
    for (path, wanted) in [
        ("", Some(0)),
        ("/", Some(0)),
        ("a/f", Some(2)),
        ("//b", Some(2)),
        ("c/", Some(3)),
        ("a/x", None),
        ("b/x", None),
        (".", None),
    ] {
        assert_eq!(tree.lookup(path.as_bytes()).map(|id| id.0), wanted, "{path}");
    }
    for (id, wanted) in [(0, "/"), (1, "/a"), (2, "/a/f"), (3, "/c"), (9, "inode 9")] {
        assert_eq!(tree.path_of(InodeId(id)), wanted.as_bytes());
    }
    let counts = tree.counts();
    assert_eq!((counts.inodes, counts.hard_links, counts.file_bytes), (4, 1, 5));
    assert_eq!((tree.len(), tree.is_empty(), tree.iter().count()), (4, false, 4));
}

#[test]
fn every_broken_promise_is_found() {
    type Damage = fn(&mut Tree);
    let cases: [(Damage, &str, &str); 21] = [
        (|t| t.inodes.clear(), "/", "root"),
        (|t| t.root = InodeId(1), "/", "root"),
        (|t| t.inodes[0].kind = Kind::Fifo, "/", "root"),
        (|t| entries(t, 0)[0].inode = InodeId(3), "/a", "inode"),
        (|t| entries(t, 1)[0].name = b"".as_slice().into(), "/a/", "length of the name"),
        (|t| entries(t, 1)[0].name = vec![b'x'; 256].into(), "", "length of the name"),
        (|t| entries(t, 1)[0].name = b"x/y".as_slice().into(), "/a/x/y", "name"),
        (|t| entries(t, 1)[0].name = b"..".as_slice().into(), "/a/..", "name"),
        (|t| entries(t, 0)[1].name = b"a".as_slice().into(), "/a", "order of names"),
        (|t| entries(t, 0)[2].name = b"aa".as_slice().into(), "/aa", "order of names"),
        (|t| entries(t, 0)[2].inode = InodeId(7), "/c", "inode"),
        (|t| entries(t, 0)[1].inode = InodeId(1), "/b", "directory"),
        (|t| entries(t, 0)[1].inode = InodeId(0), "/b", "directory"),
        (|t| t.inodes.push(inode(1, Kind::Fifo)), "/", "inodes"),
        (|t| t.inodes[2].links = 1, "/a/f", "links"),
        (|t| t.inodes[0].links = 2, "/", "links"),
        (|t| t.inodes[2].permissions = 0o10000, "/a/f", "permissions"),
        (|t| t.inodes[3].mtime.nsec = 1_000_000_000, "/c", "nanoseconds of mtime"),
        (
            |t| t.inodes[3].kind = Kind::Symlink { target: Box::default() },
            "/c",
            "length of the symbolic link",
        ),
        (|t| t.inodes[1].xattrs = [xattr("user.b"), xattr("user.a")].into(), "/a", "order of xattrs"),
        (|t| t.inodes[1].xattrs = [xattr("user.a"), xattr("user.a")].into(), "/a", "order of xattrs"),
    ];
    for (number, (damage, wanted_path, wanted_what)) in cases.into_iter().enumerate() {
        let mut tree = sample();
        damage(&mut tree);
        let error = tree.validate().unwrap_err();
        let TreeError::Invalid { path, what, .. } = error else { panic!("case {number}: {error:?}") };
        assert_eq!(what, wanted_what, "case {number}");
        let path = path.to_str().unwrap();
        assert!(wanted_path.is_empty() || path == wanted_path, "case {number}: {path}");
    }
}

#[test]
fn owners() {
    let cases = [
        (None, None, 0, 0, (10, 20)),
        (Some(0), Some(0), 0, 0, (0, 0)),
        (None, None, 100_000, 200_000, (100_010, 200_020)),
        (Some(5), None, 1, 2, (6, 22)),
        (None, None, u32::MAX - 11, u32::MAX - 21, (u32::MAX - 1, u32::MAX - 1)),
    ];
    for (force_uid, force_gid, uid_offset, gid_offset, wanted) in cases {
        let mut tree = sample();
        let options = ShapeOptions { force_uid, force_gid, uid_offset, gid_offset, time: TimeRule::Keep };
        apply(&mut tree, &options).unwrap();
        assert!(tree.inodes.iter().all(|inode| (inode.uid, inode.gid) == wanted), "{wanted:?}");
        assert!(tree.inodes.iter().all(|inode| inode.mtime == TIME));
    }
}

#[test]
fn offsets_past_32_bits_are_errors_and_change_nothing() {
    let mut tree = sample();
    tree.inodes[2].uid = u32::MAX;
    tree.inodes[3].gid = u32::MAX - 4;
    let before = tree.clone();
    for (options, wanted) in [
        (ShapeOptions { uid_offset: 1, ..Default::default() }, "/a/f: uid 4294967295 with offset 1"),
        (ShapeOptions { gid_offset: 5, ..Default::default() }, "/c: gid 4294967291 with offset 5"),
        (ShapeOptions { gid_offset: 4, ..Default::default() }, "/c: gid 4294967291 with offset 4"),
        (
            ShapeOptions { force_uid: Some(9), uid_offset: u32::MAX, ..Default::default() },
            "/: uid 9 with offset 4294967295",
        ),
    ] {
        let error = apply(&mut tree, &options).unwrap_err().to_string();
        assert_eq!(error, format!("{wanted} is more than 4294967294"));
        assert_eq!(tree, before);
    }
}

#[test]
fn times() {
    let at = |sec, nsec| Timestamp { sec, nsec };
    let cases = [
        (TimeRule::Keep, at(100, 50), at(100, 50)),
        (TimeRule::Fixed(at(-7, 3)), at(100, 50), at(-7, 3)),
        (TimeRule::Fixed(at(500, 0)), at(100, 50), at(500, 0)),
        (TimeRule::Clamp(at(100, 0)), at(99, 999_999_999), at(99, 999_999_999)),
        (TimeRule::Clamp(at(100, 0)), at(100, 0), at(100, 0)),
        (TimeRule::Clamp(at(100, 0)), at(100, 1), at(100, 0)),
        (TimeRule::Clamp(at(100, 0)), at(2_000_000_000, 0), at(100, 0)),
        (TimeRule::Clamp(at(100, 0)), at(-5, 9), at(-5, 9)),
    ];
    for (time, before, after) in cases {
        let mut tree = sample();
        tree.inodes.iter_mut().for_each(|inode| inode.mtime = before);
        apply(&mut tree, &ShapeOptions { time, ..Default::default() }).unwrap();
        assert!(tree.inodes.iter().all(|inode| inode.mtime == after), "{time:?} {before:?}");
    }
}
