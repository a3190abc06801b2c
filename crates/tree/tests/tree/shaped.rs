//! Rules over sources and streams in memory.

use std::collections::BTreeMap;

use erofs_testkit::content::Stream as Random;
use erofs_tree::{
    Exclude, Kind, ShapeOptions, Shaped, Silent, Source, Stream, TimeRule, Timestamp, Tree, TreeError,
    Whiteouts, prune,
};

use super::model::{Layer, Memory, Node, Path, directory, file, node, tree};

fn rules(paths: &[&str], regexes: &[&str]) -> Exclude {
    let mut exclude = Exclude::new();
    for path in paths {
        exclude.add_path(path).unwrap();
    }
    for regex in regexes {
        exclude.add_regex(regex).unwrap();
    }
    exclude
}

fn shape() -> ShapeOptions {
    let time = TimeRule::Fixed(Timestamp { sec: 9, nsec: 1 });
    ShapeOptions { force_uid: Some(3), gid_offset: 1000, time, ..ShapeOptions::default() }
}

/// Two directories with files; `z/link` and `a/first` are one file.
fn sample() -> BTreeMap<Path, Node> {
    let nodes = [
        ("", node(0, 0, directory())),
        ("a", node(0, 1, directory())),
        ("a/first", node(0, 2, file(0, 2))),
        ("a/other", node(0, 3, file(0, 3))),
        ("z", node(0, 4, directory())),
        ("z/link", node(0, 2, file(0, 2))),
        ("z/zero", node(0, 5, Kind::Fifo)),
    ];
    nodes.into_iter().map(|(path, node)| (path.as_bytes().to_vec(), node)).collect()
}

#[test]
fn random_trees_are_pruned_as_maps_of_paths() {
    let mut random = Random::new(3);
    let exclude = rules(&["a", "b/c", "c/a."], &[r"\.w$", "a.*b", r"c/\xff"]);
    let mut left_out = 0;
    for _ in 0..300 {
        let mut nodes = Layer::random(&mut random, 0, 20).nodes;
        let whole = tree(&nodes);
        nodes.retain(|path, _| {
            let mut ends = (0..=path.len()).filter(|&end| end == path.len() || path[end] == b'/');
            !ends.any(|end| end != 0 && exclude.matches(&path[..end]))
        });
        let found = prune(whole.clone(), &exclude).unwrap();
        assert_eq!(found, tree(&nodes));
        left_out += whole.len() - found.len();
    }
    assert!(left_out > 500, "{left_out}");
}

#[test]
fn a_source_and_a_stream_get_the_same_rules() {
    let exclude = || rules(&["a/other", "absent", "z/zero/below"], &["zer"]);
    let mut source = Shaped::new(Memory::new(0, tree(&sample())), shape(), exclude());
    let found = source.scan(&Silent).unwrap();
    let mut want = sample();
    want.retain(|path, _| path != b"a/other" && path != b"z/zero");
    for node in want.values_mut() {
        node.inode.uid = 3;
        node.inode.gid += 1000;
        node.inode.mtime = Timestamp { sec: 9, nsec: 1 };
    }
    assert_eq!(found, tree(&want));
    let unmatched = [
        "excluded path absent: no entry of the source has it",
        "excluded path z/zero/below: no entry of the source has it",
    ];
    assert_eq!(Source::warnings(&source), [&["warning of source 0"], &unmatched[..]].concat());

    let mut stream = Shaped::new(Memory::new(0, tree(&sample())), shape(), exclude());
    let streamed = stream.next().unwrap().unwrap();
    // The last one first; the one that is left out is not to be seen.
    assert_eq!(streamed.path, b"a/first");
    let mut content = vec![0; usize::try_from(streamed.size).unwrap()];
    stream.read(&mut content).unwrap();
    assert_eq!(content, b"content 2 of layer 0");
    assert!(stream.next().unwrap().is_none());
    assert_eq!(stream.finish().unwrap(), found);
    assert_eq!(Stream::warnings(&stream), [&["warning of the stream"], &unmatched[..]].concat());
}

/// All contents that a stream gives are read.
fn pour(mut stream: Shaped<Memory>) -> (Vec<Path>, Result<Tree, TreeError>) {
    let mut paths = Vec::new();
    while let Some(streamed) = stream.next().unwrap() {
        stream.read(&mut vec![0; usize::try_from(streamed.size).unwrap()]).unwrap();
        paths.push(streamed.path);
    }
    (paths, stream.finish())
}

#[test]
fn a_stream_that_loses_a_content_which_is_wanted_is_an_error() {
    let stream =
        |paths| Shaped::new(Memory::new(0, tree(&sample())), ShapeOptions::default(), rules(paths, &[]));
    let (paths, tree) = pour(stream(&["a"]));
    assert!(paths.is_empty());
    assert_eq!(
        tree.unwrap_err().to_string(),
        "/z/link: content: found a hard link to a file that is excluded, wanted names of one file in a \
         stream to be all excluded or all kept"
    );
    let (paths, tree) = pour(stream(&["a", "z/link"]));
    assert_eq!((paths.len(), tree.unwrap().len()), (0, 3));
    let (paths, tree) = pour(stream(&["z"]));
    assert_eq!((paths.len(), tree.unwrap().len()), (2, 4));
}

#[test]
fn owners_that_are_left_out_cannot_overflow() {
    let mut nodes = sample();
    nodes.get_mut(&b"a/other"[..]).unwrap().inode.uid = u32::MAX - 1;
    let shape = ShapeOptions { uid_offset: 5, ..ShapeOptions::default() };
    let scan = |exclude| Shaped::new(Memory::new(0, tree(&nodes)), shape, exclude).scan(&Silent);
    let error = scan(rules(&[], &[])).unwrap_err();
    assert!(matches!(error, TreeError::IdOverflow { .. }), "{error}");
    scan(rules(&["a/other"], &[])).unwrap();
}

#[test]
fn names_that_lead_nowhere_are_errors() {
    let exclude = rules(&["q"], &[]);
    for (target, found) in [(99, "one that the tree does not have"), (1, "a second name of a directory")] {
        let mut tree = Layer::random(&mut Random::new(1), 0, 0).tree(0, Whiteouts::None);
        let directory = tree.inodes[0].clone();
        tree.inodes.push(directory);
        let entry =
            |name: &[u8], inode| erofs_tree::Entry { name: name.into(), inode: erofs_tree::InodeId(inode) };
        tree.inodes[0].kind = Kind::Directory { entries: vec![entry(b"a", 1), entry(b"b", target)] };
        let error = prune(tree, &exclude).unwrap_err().to_string();
        let want = format!(
            "inode {target}: inode: found {found}, wanted inodes with names, each directory with one"
        );
        assert_eq!(error, want);
    }
}
