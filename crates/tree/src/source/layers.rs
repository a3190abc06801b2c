//! Several sources over each other, as one.

use std::path::PathBuf;

use super::port::{Content, Source};
use crate::error::TreeError;
use crate::merge::{Origin, Whiteouts, merge};
use crate::node::{ContentRef, Inode, InodeId, Kind, Timestamp, Tree};
use crate::progress::{Progress, Stage};

/// Sources over each other, the lowest first: their trees are [merged](merge) in this order, and each content
/// is read from the source that it came from.
///
/// Marks of whiteouts count in every source, so that none is in the result. Warnings of the sources begin
/// with the number of the layer, the lowest being 1. Without any source it is an empty directory of root with
/// mode 0755.
///
/// # Example
///
/// ```
/// use erofs_tree::{DirOptions, DirSource, Layers, Silent, Source as _, Whiteouts};
///
/// let (base, patch) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// std::fs::write(base.path().join("greeting"), "hello")?;
/// std::fs::write(base.path().join("unwanted"), "")?;
/// std::fs::write(patch.path().join("greeting"), "good morning")?;
/// std::fs::write(patch.path().join(".wh.unwanted"), "")?;
///
/// let layer = |folder: &tempfile::TempDir| DirSource::new(folder.path(), DirOptions::default());
/// let mut layers = Layers::new(vec![layer(&base)?, layer(&patch)?], Whiteouts::Oci);
/// let tree = layers.scan(&Silent)?;
/// assert_eq!(tree.counts().file_bytes, "good morning".len() as u64);
/// assert!(tree.lookup(b"unwanted").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Layers<S = Box<dyn Source>> {
    sources: Vec<S>,
    whiteouts: Whiteouts,
    /// Where each content of the last scan is: the index of the source, and what it calls it.
    contents: Vec<(usize, ContentRef)>,
}

impl<S: Source> Layers<S> {
    /// These sources over each other, the lowest first.
    pub fn new(sources: Vec<S>, whiteouts: Whiteouts) -> Self {
        Self { sources, whiteouts, contents: Vec::new() }
    }

    fn find(&self, content: ContentRef) -> Option<(&S, ContentRef)> {
        let &(layer, content) = self.contents.get(content.0 as usize)?;
        Some((self.sources.get(layer)?, content))
    }

    fn scan_all(&mut self, progress: &dyn Progress) -> Result<(Tree, Vec<(usize, ContentRef)>), TreeError> {
        let mut tree = empty();
        let mut contents: Vec<(usize, ContentRef)> = Vec::new();
        for (layer, source) in self.sources.iter_mut().enumerate() {
            let merged = merge(tree, source.scan(progress)?, self.whiteouts)?;
            tree = merged.tree;
            let place = |origin: &Origin| match *origin {
                // The lower tree came from the loop before.
                Origin::Lower(content) => contents.get(content.0 as usize).copied(),
                Origin::Upper(content) => Some((layer, content)),
            };
            contents = merged.contents.iter().filter_map(place).collect();
        }
        Ok((tree, contents))
    }
}

/// A tree of nothing but its root.
fn empty() -> Tree {
    let root = Inode {
        permissions: 0o755,
        uid: 0,
        gid: 0,
        mtime: Timestamp::default(),
        links: 2,
        xattrs: [].into(),
        kind: Kind::Directory { entries: Vec::new() },
    };
    Tree { inodes: vec![root], root: InodeId(0) }
}

impl<S: Source> Source for Layers<S> {
    fn scan(&mut self, progress: &dyn Progress) -> Result<Tree, TreeError> {
        progress.begin(Stage::Scan, 0, 0);
        let scanned = self.scan_all(&Within(progress));
        progress.end(Stage::Scan);
        let (tree, contents) = scanned?;
        self.contents = contents;
        Ok(tree)
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        let unknown = TreeError::UnknownContent { found: content.0, files: self.contents.len() };
        let (source, content) = self.find(content).ok_or(unknown)?;
        source.open(content)
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.find(content).map(|(source, content)| source.path(content)).unwrap_or_default()
    }

    fn warnings(&self) -> Vec<String> {
        let layers = (1..).zip(&self.sources);
        let of = |(number, source): (u32, &S)| {
            source.warnings().into_iter().map(move |warning| format!("layer {number}: {warning}"))
        };
        layers.flat_map(of).collect()
    }
}

/// The progress of a part of a stage.
struct Within<'a>(&'a dyn Progress);

impl Progress for Within<'_> {
    fn advance(&self, entries: u64, bytes: u64) {
        self.0.advance(entries, bytes);
    }
}
