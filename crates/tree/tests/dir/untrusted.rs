//! File systems whose numbers and sizes are not what they say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use erofs_testkit::fuse::{Mounted, Node, Numbers, supported};
use erofs_testkit::require::need;
use erofs_tree::{Content, DirSource, Kind, Source as _, Tree, TreeError};

use super::support::{content, id, inode, scan, scan_error};

fn read(source: &DirSource, tree: &Tree, path: &str) -> Vec<u8> {
    let Kind::File { size, .. } = inode(tree, path).kind else { panic!("{path}: not a file") };
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    let opened: Box<dyn Content> = source.open(content(tree, path)).unwrap();
    let found = opened.read_at(0, &mut bytes).unwrap();
    opened.finish().unwrap();
    bytes.truncate(found);
    bytes
}

#[test]
fn names_with_one_number_are_one_file_only_if_all_else_is_the_same() {
    let Some(()) = need("files with the same number", supported()) else { return };
    let file = |content: &[u8], links| Node::file(content).numbered(77, links);
    let mut entries = vec![
        ("a".to_owned(), file(b"first", 2)),
        ("b".to_owned(), file(b"the second, longer", 2)),
        ("c".to_owned(), file(b"First", 2)),
        ("d".to_owned(), Node::symlink("first").numbered(77, 2)),
        ("e".to_owned(), file(b"first", 2)),
        ("f".to_owned(), Node::symlink("first").numbered(77, 2)),
        ("g".to_owned(), file(b"first", 1)),
        ("h".to_owned(), file(b"", 2)),
        ("i".to_owned(), file(b"", 2)),
    ];
    // More of them than are remembered: none may become another one.
    entries.extend((0..20).map(|number| (format!("many{number:02}"), file(&[number, 0], 2))));
    entries.extend((0..20).map(|number| (format!("more{number:02}"), file(&[number, 0], 2))));
    let entries = entries.iter().map(|(name, node)| (name.as_str(), node.clone()));
    let mounted = Mounted::new(&Node::directory(entries), Numbers::Kept).unwrap();
    let (source, tree) = scan(mounted.path());
    let mut groups: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for entry in tree.get(tree.root).unwrap().entries() {
        let name = String::from_utf8(entry.name.to_vec()).unwrap();
        groups.entry(entry.inode.0).or_default().push(name);
    }
    let small: Vec<String> =
        groups.values().map(|names| names.concat()).filter(|names| names.len() < 4).collect();
    assert_eq!(small, ["ae", "b", "c", "df", "g", "hi"]);
    assert_eq!(inode(&tree, "a").links, 2);
    for (path, wanted) in
        [("a", &b"first"[..]), ("b", b"the second, longer"), ("c", b"First"), ("g", b"first")]
    {
        assert_eq!(read(&source, &tree, path), wanted, "{path}");
    }
    for number in 0..20 {
        for name in ["many", "more"] {
            assert_eq!(read(&source, &tree, &format!("{name}{number:02}")), [number, 0], "{name}{number}");
        }
    }
    // Those that are remembered are found again; what comes later is stored once more.
    assert_eq!(id(&tree, "many00"), id(&tree, "more00"));
    assert_ne!(id(&tree, "many19"), id(&tree, "more19"));
}

#[test]
fn inode_numbers_may_change_if_nothing_else_does() {
    let Some(()) = need("files with changing numbers", supported()) else { return };
    // More than one task looks at.
    let names: Vec<String> = (0..1500).map(|number| format!("f{number:04}")).collect();
    let many = names.iter().map(|name| (name.as_str(), Node::file(name.as_bytes())));
    let inner = Node::directory([("file", Node::file(b"deep"))]);
    let root = Node::directory([("many", Node::directory(many)), ("inner", inner)]);
    let mounted = Mounted::new(&root, Numbers::Anew).unwrap();
    let (source, tree) = scan(mounted.path());
    assert_eq!(tree.counts().files, 1501);
    assert_eq!(read(&source, &tree, "inner/file"), b"deep");
    for name in &names {
        assert_eq!(read(&source, &tree, &format!("many/{name}")), name.as_bytes());
    }
}

#[test]
fn content_beyond_the_size_is_never_left_out_in_silence() {
    let Some(()) = need("files with wrong sizes", supported()) else { return };
    let root = Node::directory([
        ("empty", Node::file(b"")),
        ("less", Node::file(b"longer than said").sized(6)),
        ("more", Node::file(b"shorter").sized(100)),
        ("none", Node::file(b"not empty").sized(0)),
        ("right", Node::file(b"right")),
    ]);
    let mounted = Mounted::new(&root, Numbers::Kept).unwrap();
    let (source, tree) = scan(mounted.path());
    for (path, wanted) in
        [("empty", &b""[..]), ("more", b"shorter"), ("none", b"not empty"), ("right", b"right")]
    {
        assert_eq!(read(&source, &tree, path), wanted, "{path}");
    }
    let mut bytes = [0; 6];
    let opened = source.open(content(&tree, "less")).unwrap();
    assert_eq!(opened.read_at(0, &mut bytes[..4]).unwrap(), 4, "the rest is still to come");
    let error = opened.read_at(0, &mut bytes).unwrap_err();
    let wanted = "less: size: found 6 and content behind that, wanted the length of the content";
    assert!(error.to_string().ends_with(wanted), "{error}");
    assert_eq!(
        source.warnings(),
        ["1 file says that it is empty and has content, which is stored as it was when the source was \
             scanned (first is none)"]
    );
}

#[test]
fn files_of_proc_have_their_content() {
    let (source, tree) = scan(Path::new("/proc/sys/kernel/random"));
    let wanted = fs::read("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!((read(&source, &tree, "boot_id"), wanted.len()), (wanted, 37));
    // What is read again has the content of the scan, although every read of this file gives another one.
    assert_eq!(read(&source, &tree, "uuid"), read(&source, &tree, "uuid"));
    let [warning] = &source.warnings()[..] else { panic!("{:?}", source.warnings()) };
    assert!(warning.contains(" files say that they are empty and have content, "), "{warning}");
}

#[test]
fn contents_without_end_are_refused() {
    let Some(()) = need("files with wrong sizes", supported()) else { return };
    let endless = Node::file(&vec![1; (1 << 20) + 1]).sized(0);
    let mounted = Mounted::new(&Node::directory([("endless", endless)]), Numbers::Kept).unwrap();
    let error = scan_error(mounted.path());
    assert!(matches!(error, TreeError::Invalid { what: "size", .. }), "{error:?}");
    let wanted = "endless: size: found 0 and too much content to keep, wanted the length of the content";
    assert!(error.to_string().ends_with(wanted), "{error}");
}
