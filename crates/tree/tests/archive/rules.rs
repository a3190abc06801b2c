//! What entries make of a tree.

use std::io::Cursor;

use erofs_tree::{Kind, Stream as _, TarOptions, TarStream, Timestamp, Tree, TreeError};

use super::make::{archive, file, head, pax};

fn tree_with(parts: &[Vec<u8>], options: &TarOptions) -> Result<Tree, TreeError> {
    TarStream::new(Cursor::new(archive(parts)), "a.tar", options).finish()
}

fn tree(parts: &[Vec<u8>]) -> Result<Tree, TreeError> {
    tree_with(parts, &TarOptions::default())
}

/// All paths but the root, with a letter for the kind and the mode.
fn shown(tree: &Tree) -> String {
    let mut all = Vec::new();
    tree.for_each_path(|id, path| {
        let inode = tree.get(id).unwrap();
        let letter = match inode.kind {
            Kind::File { .. } => 'f',
            Kind::Directory { .. } => 'd',
            Kind::Symlink { .. } => 'l',
            Kind::CharDevice { .. } => 'c',
            Kind::BlockDevice { .. } => 'b',
            Kind::Fifo => 'p',
            Kind::Socket => 's',
        };
        let opaque = if inode.xattr(b"trusted.overlay.opaque") == Some(b"y") { "!" } else { "" };
        all.push(format!("{}:{letter}{:o}{opaque}", path.escape_ascii(), inode.permissions));
    });
    all.join(" ")
}

fn directory(path: &[u8]) -> Vec<u8> {
    head(b'5', path, 0).put(100, b"0000700\0").done()
}

fn link(path: &[u8], target: &[u8]) -> Vec<u8> {
    head(b'1', path, 0).link(target).done()
}

#[test]
fn paths() {
    let dots = [file(b"./a", b""), file(b"/b//c/./d", b""), directory(b"./")];
    assert_eq!(shown(&tree(&dots).unwrap()), ":d700 a:f644 b:d755 b/c:d755 b/c/d:f644");
    for (path, what) in [(&b"../a"[..], ".."), (b"a/../b", ".."), (b"/", "root"), (&[b'n'; 100], "")] {
        let found = tree(&[file(path, b"")]);
        match what {
            "" => drop(found.unwrap()),
            _ => assert!(found.is_err(), "{}", path.escape_ascii()),
        }
    }
    let long = pax(b'x', &[("path", &[b'n'; 256])]);
    assert!(tree(&[long, file(b"a", b"")]).unwrap_err().to_string().contains("1 to 255 bytes"));
}

#[test]
fn missing_parents() {
    let made = Timestamp { sec: 77, nsec: 5 };
    let tree = tree_with(&[file(b"d/a", b"")], &TarOptions { made, ..TarOptions::default() }).unwrap();
    assert_eq!(tree.inodes.iter().map(|inode| inode.mtime.sec).collect::<Vec<_>>(), [77, 77, 1000]);
}

#[test]
fn the_same_path_twice() {
    let file_twice = tree(&[file(b"a", b"1"), file(b"a", b"22")]).unwrap();
    assert_eq!(file_twice.counts().file_bytes, 2);
    let directory_twice = [directory(b"d/"), file(b"d/a", b""), head(b'5', b"d", 0).done()];
    assert_eq!(shown(&tree(&directory_twice).unwrap()), ":d755 d:d644 d/a:f644");
    assert_eq!(shown(&tree(&[file(b"a", b""), directory(b"a")]).unwrap()), ":d755 a:d700");
    assert_eq!(shown(&tree(&[directory(b"a"), file(b"a", b"")]).unwrap()), ":d755 a:f644");
    let full = tree(&[directory(b"a"), file(b"a/b", b""), file(b"a", b"")]).unwrap_err();
    assert!(full.to_string().starts_with("a.tar, byte 1024: a: type: "), "{full}");
}

#[test]
fn hard_links() {
    let linked =
        tree(&[file(b"b", b"xyz"), link(b"a", b"./b"), link(b"c", b"/a"), link(b"a", b"a")]).unwrap();
    assert_eq!((linked.counts().files, linked.counts().hard_links, linked.inodes[1].links), (1, 2, 3));
    let symlink = head(b'2', b"s", 0).link(b"nowhere").done();
    assert_eq!(tree(&[symlink, link(b"t", b"s")]).unwrap().counts().hard_links, 1);
    for parts in [
        vec![link(b"a", b"b"), file(b"b", b"")],
        vec![directory(b"d"), link(b"a", b"d")],
        vec![file(b"b", b""), link(b"a", b"../b")],
    ] {
        let error = tree(&parts).unwrap_err();
        assert!(matches!(error, TreeError::ArchiveEntry { .. }), "{error}");
    }
    // A link keeps the file that a later entry takes the name of.
    let kept = tree(&[file(b"b", b"xyz"), link(b"a", b"b"), file(b"b", b"1")]).unwrap();
    assert_eq!((kept.counts().files, kept.counts().file_bytes), (2, 4));
}

#[test]
fn nothing_below_what_is_no_directory() {
    let symlink = head(b'2', b"s", 0).link(b"/etc").done();
    for parent in [symlink, file(b"s", b"")] {
        let error = tree(&[parent, file(b"s/passwd", b"")]).unwrap_err().to_string();
        assert!(error.contains("s above it, wanted directories above it"), "{error}");
    }
}

#[test]
fn owners_that_do_not_fit() {
    let error = tree(&[pax(b'x', &[("uid", b"4294967296")]), file(b"a", b"")]).unwrap_err().to_string();
    assert_eq!(error, "a.tar, byte 0: a: uid: found 4294967296, wanted at most 4294967294");
}

#[test]
fn whiteouts() {
    let parts = [
        file(b".wh.gone", b""),
        file(b"d/.wh..wh..opq", b""),
        directory(b"d/"),
        file(b"d/a", b""),
        file(b".wh..wh.plnk", b""),
        directory(b"again/"),
        file(b".wh.again", b""),
        file(b".wh.later", b""),
        directory(b"later/"),
        file(b".wh.file", b""),
        file(b"file", b""),
    ];
    let options = TarOptions { whiteouts: true, ..TarOptions::default() };
    let tree = tree_with(&parts, &options).unwrap();
    assert_eq!(shown(&tree), ":d755 again:d700! d:d700! d/a:f644 file:f644 gone:c0 later:d700!");
    let plain = tree_with(&parts[..1], &TarOptions::default()).unwrap();
    assert_eq!(shown(&plain), ":d755 .wh.gone:f644");
}

#[test]
fn access_rules_that_are_not_stored() {
    let acl = || pax(b'x', &[("SCHILY.acl.access", b"user::rw-")]);
    let bytes = archive(&[acl(), file(b"a", b""), acl(), file(b"b", b""), file(b"c", b"")]);
    let mut stream = TarStream::new(Cursor::new(bytes), "a.tar", &TarOptions::default());
    stream.finish().unwrap();
    let wanted = "2 entries have SCHILY.acl.access or others like it, which is not stored (first is a)";
    assert_eq!(stream.warnings(), [wanted]);
}
