//! One tree over another, against maps of paths.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use erofs_testkit::content::Stream as Random;
use erofs_tree::{
    ContentRef, Inode, InodeId, Kind, Layers, Origin, Progress, Silent, Source, Stage, Tree, TreeError,
    Whiteouts, merge,
};

use super::model::{Layer, Memory, Node, Path, bytes, directory, file, join, node, tree, xattr};

const ALL: [Whiteouts; 3] = [Whiteouts::None, Whiteouts::Overlay, Whiteouts::Oci];

/// What a path leads to, without what numbers and other names add to it, and the first of all paths of the
/// same file.
type Flat = BTreeMap<Path, (Inode, Option<Vec<u8>>, Path)>;

fn flat(node: &Inode, content: Option<Vec<u8>>, first: &Path) -> (Inode, Option<Vec<u8>>, Path) {
    let mut kind = node.kind.clone();
    if node.is_directory() {
        kind = directory();
    } else if let Kind::File { content, .. } = &mut kind {
        *content = ContentRef(0);
    }
    (Inode { kind, links: 0, ..node.clone() }, content, first.clone())
}

fn content_of(inode: &Inode) -> Option<ContentRef> {
    if let Kind::File { content, .. } = inode.kind { Some(content) } else { None }
}

/// The paths of a map, with the bytes of contents.
fn flat_model(nodes: &BTreeMap<Path, Node>) -> Flat {
    let content = |node: &Node| content_of(&node.inode).map(|content| bytes(node.layer, content));
    let first = |path: &Path, wanted: &Node| {
        let is_same = |node: &Node| (node.layer, node.key) == (wanted.layer, wanted.key);
        let same = nodes.iter().find(|(_, node)| !wanted.inode.is_directory() && is_same(node));
        same.map_or(path, |(path, _)| path).clone()
    };
    nodes
        .iter()
        .map(|(path, node)| (path.clone(), flat(&node.inode, content(node), &first(path, node))))
        .collect()
}

/// The paths of a tree, with the bytes of contents.
fn flat_tree(tree: &Tree, bytes_of: &dyn Fn(ContentRef) -> Vec<u8>) -> Flat {
    let mut paths: Vec<(Path, InodeId)> = vec![(Vec::new(), tree.root)];
    let mut at = 0;
    while let Some((path, id)) = paths.get(at).cloned() {
        let entries = tree.get(id).unwrap().entries();
        paths.extend(entries.iter().map(|entry| (join(&path, &entry.name), entry.inode)));
        at += 1;
    }
    paths.sort();
    let first = |id| &paths.iter().find(|(_, other)| *other == id).unwrap().0;
    let content = |inode: &Inode| content_of(inode).map(bytes_of);
    let entry = |(path, id): &(Path, InodeId)| {
        let inode = tree.get(*id).unwrap();
        (path.clone(), flat(inode, content(inode), first(*id)))
    };
    paths.iter().map(entry).collect()
}

fn read(source: &dyn Source, content: ContentRef) -> Vec<u8> {
    let mut buf = vec![0; 100];
    let count = source.open(content).unwrap().read_at(0, &mut buf).unwrap();
    buf.truncate(count);
    buf
}

#[test]
fn random_layers_are_merged_as_maps_of_paths() {
    let mut random = Random::new(17);
    let mut merged = [0; 3];
    for round in 0..400 {
        let count = usize::try_from(random.below(4)).unwrap() + 1;
        let layers: Vec<Layer> = (0..count).map(|layer| Layer::random(&mut random, layer, 14)).collect();
        for (at, whiteouts) in ALL.into_iter().enumerate() {
            let mut want = BTreeMap::new();
            let mut sources: Vec<Box<dyn Source>> = Vec::new();
            for (layer, made) in layers.iter().enumerate() {
                made.put_over(&mut want, whiteouts);
                sources.push(Box::new(Memory::new(layer, made.tree(layer, whiteouts))));
            }
            let mut source = Layers::new(sources, whiteouts);
            let found = source.scan(&Silent).unwrap();
            found.validate().unwrap();
            let read = |content| read(&source, content);
            assert_eq!(
                flat_tree(&found, &read),
                flat_model(&want),
                "round {round}, {whiteouts:?}: {layers:#?}"
            );
            merged[at] += found.len();
        }
    }
    // Something was hidden, and not everything.
    assert!(merged[0] > merged[1] && merged[1] > 2000 && merged[2] > 2000, "{merged:?}");
}

/// A path, what it leads to, and names and values of its attributes.
type Given<'a> = (&'a str, Kind, &'a [(&'a str, &'a str)]);

/// A tree of these nodes and the root.
fn made<const N: usize>(layer: usize, nodes: [Given<'_>; N]) -> Tree {
    let mut map = BTreeMap::from([(Vec::new(), node(layer, 0, directory()))]);
    for (key, (path, kind, xattrs)) in (1..).zip(nodes) {
        let mut node = node(layer, key, kind);
        node.inode.xattrs = xattrs.iter().map(|(name, value)| xattr(name, value)).collect();
        map.insert(path.as_bytes().to_vec(), node);
    }
    tree(&map)
}

fn names(tree: &Tree) -> String {
    let mut paths = Vec::new();
    tree.for_each_path(|_, path| paths.push(path.escape_ascii().to_string()));
    paths.join(" ").trim_start().to_owned()
}

#[test]
fn origins_say_which_side_a_content_is_from() {
    let lower = made(0, [("a", file(0, 7), &[]), ("b", file(0, 8), &[]), ("c", file(0, 9), &[])]);
    let upper = made(1, [("b", file(1, 5), &[]), ("d", directory(), &[]), ("d/e", file(1, 4), &[])]);
    let merged = merge(lower, upper, Whiteouts::None).unwrap();
    assert_eq!(names(&merged.tree), "a b c d d/e");
    let (lower, upper) = (|key| Origin::Lower(ContentRef(key)), |key| Origin::Upper(ContentRef(key)));
    assert_eq!(merged.contents, [lower(7), upper(5), lower(9), upper(4)]);
    let references = merged.tree.inodes.iter().filter_map(content_of).map(|content| content.0);
    assert!(references.eq(0..4));
}

#[test]
fn overlayfs_marks_mean_what_the_kernel_takes_them_for() {
    let lower = || {
        let names = ["a", "b", "c", "d", "d/e", "f", "f/g", "h", "h/i"];
        made(
            0,
            names.map(|name| {
                let is_directory = names.iter().any(|other| other.starts_with(&format!("{name}/")));
                (name, if is_directory { directory() } else { file(0, 1) }, &[][..])
            }),
        )
    };
    assert_eq!(names(&lower()), "a b c d d/e f f/g h h/i");
    let empty = || Kind::File { size: 0, content: ContentRef(0) };
    let null = |major, minor| Kind::CharDevice { major, minor };
    let upper = made(
        1,
        [
            ("a", null(0, 0), &[]),
            ("absent", null(0, 0), &[]),
            // Only a character device 0/0 is a whiteout, and files are where the directory says so.
            ("b", Kind::BlockDevice { major: 0, minor: 0 }, &[]),
            ("c", null(1, 0), &[]),
            ("d", directory(), &[("trusted.overlay.opaque", "x")]),
            ("d/e", empty(), &[("trusted.overlay.whiteout", "")]),
            ("d/file", empty(), &[]),
            ("f", directory(), &[("user.overlay.opaque", "y")]),
            ("f/x", empty(), &[("trusted.overlay.whiteout", "")]),
            ("h", directory(), &[("trusted.overlay.opaque", "n"), ("trusted.overlay.overlay.opaque", "y")]),
            ("h/null", null(0, 0), &[]),
        ],
    );
    let merged = merge(lower(), upper.clone(), Whiteouts::Overlay).unwrap().tree;
    assert_eq!(names(&merged), "b c d d/file f f/x h h/i");
    let attributes = |path: &str| {
        let inode = merged.get(merged.lookup(path.as_bytes()).unwrap()).unwrap();
        inode.xattrs.iter().map(|xattr| xattr.name.escape_ascii().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(attributes("h"), ["trusted.overlay.opaque"]);
    assert!(["d", "f", "f/x"].iter().all(|path| attributes(path).is_empty()));
    // To others they are names like any other.
    for whiteouts in [Whiteouts::None, Whiteouts::Oci] {
        let merged = merge(lower(), upper.clone(), whiteouts).unwrap().tree;
        assert_eq!(names(&merged), "a absent b c d d/e d/file f f/g f/x h h/i h/null");
    }
}

#[test]
fn oci_marks_mean_what_the_specification_says() {
    let lower = made(
        0,
        [
            ("a", directory(), &[]),
            ("a/old", file(0, 1), &[]),
            ("b", file(0, 2), &[]),
            ("c", directory(), &[]),
            ("c/old", file(0, 3), &[]),
            ("d", file(0, 4), &[]),
        ],
    );
    let upper = made(
        1,
        [
            // A directory that is deleted below and new here.
            (".wh.a", file(1, 1), &[]),
            ("a", directory(), &[]),
            ("a/new", file(1, 2), &[]),
            (".wh.b", Kind::Fifo, &[]),
            (".wh.absent", file(1, 3), &[]),
            (".wh.", file(1, 4), &[]),
            (".wh...", file(1, 5), &[]),
            (".wh..wh.aufs", file(1, 6), &[]),
            (".wh..wh.plnk", directory(), &[]),
            (".wh..wh.plnk/1.2", file(1, 7), &[]),
            ("c", directory(), &[]),
            ("c/.wh..wh..opq", file(1, 8), &[]),
            ("c/new", file(1, 9), &[]),
        ],
    );
    let merged = merge(lower, upper, Whiteouts::Oci).unwrap().tree;
    assert_eq!(names(&merged), "a a/new c c/new d");
}

#[test]
fn hard_links_stay_where_both_names_stay() {
    let mut nodes = BTreeMap::from([(Vec::new(), node(0, 0, directory()))]);
    for path in ["a", "b", "c"] {
        nodes.insert(path.into(), node(0, 1, file(0, 1)));
    }
    let upper = made(1, [("a", file(1, 1), &[])]);
    let merged = merge(tree(&nodes), upper, Whiteouts::None).unwrap();
    let links: Vec<u32> = merged.tree.inodes.iter().map(|inode| inode.links).collect();
    assert_eq!((names(&merged.tree).as_str(), links), ("a b", vec![2, 1, 2]));
    assert_eq!(merged.tree.lookup(b"b"), merged.tree.lookup(b"c"));
}

#[test]
fn the_upper_directory_decides_metadata() {
    let mut lower = made(0, [("a", directory(), &[("user.lower", "")]), ("a/b", Kind::Fifo, &[])]);
    lower.inodes[0].permissions = 0o700;
    let upper = made(1, [("a", directory(), &[("user.upper", "")])]);
    let merged = merge(lower, upper, Whiteouts::Overlay).unwrap().tree;
    assert_eq!((merged.inodes[0].permissions, merged.inodes[0].uid), (0o755, 101));
    assert_eq!((merged.inodes[1].uid, &*merged.inodes[1].xattrs), (101, &[xattr("user.upper", "")][..]));
    assert_eq!(names(&merged), "a a/b");
}

#[test]
fn what_cannot_be_followed_is_an_error() {
    let plain = || made(0, [("a", directory(), &[])]);
    let redirect =
        made(1, [("a", directory(), &[]), ("a/b", directory(), &[("trusted.overlay.redirect", "/c")])]);
    let error = merge(plain(), redirect.clone(), Whiteouts::Overlay).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/a/b: overlayfs attribute: found trusted.overlay.redirect, wanted a layer without redirected \
         directories and metadata copies"
    );
    merge(plain(), redirect, Whiteouts::Oci).unwrap();
    let copy = made(1, [("b", file(1, 1), &[("user.overlay.metacopy", "")])]);
    merge(plain(), copy, Whiteouts::Overlay).unwrap_err();
    // A tree that breaks a promise, on each side.
    let mut broken = plain();
    broken.inodes[1].links = 7;
    for (lower, upper) in [(broken.clone(), plain()), (plain(), broken)] {
        let error = merge(lower, upper, Whiteouts::None).unwrap_err();
        assert!(matches!(error, TreeError::Invalid { what: "links", .. }), "{error}");
    }
}

#[test]
fn deep_trees_need_no_stack() {
    let depth = 50_000;
    let deep = || {
        let level = |id: u32| {
            let entries = if id == depth {
                Vec::new()
            } else {
                vec![erofs_tree::Entry { name: b"d".as_slice().into(), inode: InodeId(id + 1) }]
            };
            let links = if id == depth { 2 } else { 3 };
            Inode { links, kind: Kind::Directory { entries }, ..node(0, 0, directory()).inode }
        };
        Tree { inodes: (0..=depth).map(level).collect(), root: InodeId(0) }
    };
    assert_eq!(merge(deep(), deep(), Whiteouts::Overlay).unwrap().tree, deep());
}

#[test]
fn layers_are_one_source() {
    struct Counted {
        begun: AtomicU32,
        ended: AtomicU32,
    }
    impl Progress for Counted {
        fn begin(&self, stage: Stage, _: u64, _: u64) {
            assert_eq!(stage, Stage::Scan);
            self.begun.fetch_add(1, Ordering::Relaxed);
        }
        fn end(&self, _: Stage) {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
    let counted = Counted { begun: AtomicU32::new(0), ended: AtomicU32::new(0) };
    let layers = [made(0, [("a", file(0, 1), &[])]), made(1, [(".wh.b", file(1, 1), &[])])];
    let sources = layers.into_iter().enumerate().map(|(layer, tree)| Memory::new(layer, tree)).collect();
    let mut source = Layers::new(sources, Whiteouts::Oci);
    let tree = source.scan(&counted).unwrap();
    assert_eq!(names(&tree), "a");
    assert_eq!((counted.begun.into_inner(), counted.ended.into_inner()), (1, 1));
    assert_eq!(source.warnings(), ["layer 1: warning of source 0", "layer 2: warning of source 1"]);
    assert_eq!(source.path(ContentRef(0)).to_str(), Some("0:a"));
    assert_eq!(source.path(ContentRef(1)).to_str(), Some(""));
    let error = source.open(ContentRef(1)).err().unwrap();
    assert_eq!(error.to_string(), "content reference 1 is unknown: the scan found 1 files");
    let mut none = Layers::<Memory>::new(Vec::new(), Whiteouts::None);
    assert_eq!(none.scan(&Silent).unwrap().len(), 1);
    // Whiteouts are not in the result, even where there is nothing under them.
    let lowest = made(0, [(".wh.b", file(0, 1), &[]), ("c", directory(), &[])]);
    let mut one = Layers::new(vec![Memory::new(0, lowest)], Whiteouts::Oci);
    assert_eq!(names(&one.scan(&Silent).unwrap()), "c");
}
