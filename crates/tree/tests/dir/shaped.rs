//! What a directory source leaves out by itself, against what is left out of its whole tree.

use std::fs;
use std::path::PathBuf;

use erofs_tree::{
    Content, ContentRef, DirOptions, DirSource, Exclude, Kind, Progress, ShapeOptions, Shaped, Silent,
    Source, Tree, TreeError,
};

use super::support::options;

/// A directory that is scanned whole, whatever is to be left out.
struct Whole(DirSource);

impl Source for Whole {
    fn scan(&mut self, progress: &dyn Progress) -> Result<Tree, TreeError> {
        self.0.scan(progress)
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        self.0.open(content)
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.0.path(content)
    }

    fn warnings(&self) -> Vec<String> {
        self.0.warnings()
    }
}

/// The tree with references numbered in its order, the bytes that they lead to, and the warnings.
fn result(mut source: impl Source) -> (Tree, Vec<Vec<u8>>, Vec<String>) {
    let mut tree = source.scan(&Silent).unwrap();
    tree.validate().unwrap();
    let mut contents = Vec::new();
    for inode in &mut tree.inodes {
        let Kind::File { size, content } = &mut inode.kind else { continue };
        let open = source.open(*content).unwrap();
        let mut bytes = vec![0; usize::try_from(*size).unwrap()];
        assert_eq!(open.read_at(0, &mut bytes).unwrap(), bytes.len());
        open.finish().unwrap();
        *content = ContentRef(u32::try_from(contents.len()).unwrap());
        contents.push(bytes);
    }
    (tree, contents, source.warnings())
}

#[test]
fn left_out_by_the_source_or_of_its_tree() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["usr/bin/true", "usr/bin/false.o", "usr/lib/a.o", "usr/lib/deep/er/b", "bin/sh", "tmp/x/y"] {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), name).unwrap();
    }
    // Names of one file of which some rules leave out the first, some the last and some both.
    for name in ["usr/lib/a.so", "tmp/x/link", "usr/zz"] {
        fs::hard_link(dir.path().join("bin/sh"), dir.path().join(name)).unwrap();
    }
    let shape = ShapeOptions { force_uid: Some(77), ..ShapeOptions::default() };
    let cases: [(&[&str], &[&str]); 7] = [
        (&[], &[]),
        (&["usr/bin"], &[]),
        (&["bin", "bin/sh", "absent"], &[]),
        (&["/usr/lib/a.o", "tmp"], &["^bin"]),
        (&[], &[r"\.o$"]),
        (&["usr/zz"], &["^(bin|tmp)/", "deep/"]),
        (&["absent"], &["."]),
    ];
    let mut sizes = Vec::new();
    for (paths, regexes) in cases {
        let rules = || {
            let mut exclude = Exclude::new();
            for path in paths {
                exclude.add_path(path).unwrap();
            }
            for regex in regexes {
                exclude.add_regex(regex).unwrap();
            }
            exclude
        };
        let source = || DirSource::new(dir.path(), options()).unwrap();
        let early = result(Shaped::new(source(), shape, rules()));
        let late = result(Shaped::new(Whole(source()), shape, rules()));
        assert_eq!(early, late, "{paths:?} {regexes:?}");
        sizes.push((early.0.len(), early.2.len()));
    }
    assert_eq!(sizes, [(15, 0), (12, 0), (14, 2), (10, 0), (13, 0), (11, 0), (1, 1)]);
}

#[test]
fn what_is_excluded_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    // A file that would be skipped with a warning if it were looked at.
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/image"), "x").unwrap();
    let skip = vec![dir.path().join("sub/image")];
    let source = || DirSource::new(dir.path(), DirOptions { skip: skip.clone(), ..options() }).unwrap();
    let mut exclude = Exclude::new();
    exclude.add_path("sub").unwrap();
    let warnings = |(tree, _, warnings): (Tree, Vec<Vec<u8>>, Vec<String>)| (tree.len(), warnings.len());
    let shape = ShapeOptions::default();
    assert_eq!(warnings(result(Shaped::new(source(), shape, exclude.clone()))), (1, 0));
    assert_eq!(warnings(result(Shaped::new(Whole(source()), shape, exclude))), (1, 1));
}
