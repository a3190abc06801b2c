//! Rules about owners, times and what is left out, over a source of any kind.

use std::collections::HashSet;
use std::path::PathBuf;

use super::port::{Content, Source};
use super::stream::{Stream, Streamed};
use crate::error::{TreeError, show_bytes, to_path};
use crate::exclude::{Exclude, prune};
use crate::node::{ContentRef, Kind, Tree};
use crate::progress::Progress;
use crate::shape::{ShapeOptions, apply};

/// How many bytes of a content that is left out are read at once.
const DRAIN_LEN: usize = 64 * 1024;

/// A [`Source`] or a [`Stream`] whose tree follows rules: first entries are left out, then owners and times
/// change.
///
/// A rule that leaves out a path which no entry has is a warning, after those of what is inside.
///
/// # Streams
///
/// Contents of files that are left out are read from the stream and dropped. A name that stays may turn out
/// to be a hard link to such a file: then [`finish`](Stream::finish) is an error, because the content cannot
/// be had any more.
///
/// # Example
///
/// ```
/// use erofs_tree::{DirOptions, DirSource, Exclude, Shaped, ShapeOptions, Silent, Source as _};
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("program"), "")?;
/// std::fs::write(folder.path().join("program.o"), "")?;
///
/// let mut exclude = Exclude::new();
/// exclude.add_regex(r"\.o$")?;
/// let rules = ShapeOptions { force_uid: Some(0), force_gid: Some(0), ..ShapeOptions::default() };
/// let inner = DirSource::new(folder.path(), DirOptions::default())?;
/// let tree = Shaped::new(inner, rules, exclude).scan(&Silent)?;
/// assert!(tree.iter().all(|(_, inode)| (inode.uid, inode.gid) == (0, 0)));
/// assert!(tree.lookup(b"program").is_some() && tree.lookup(b"program.o").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Shaped<S> {
    inner: S,
    shape: ShapeOptions,
    exclude: Exclude,
    /// Contents of a stream that were left out.
    dropped: HashSet<ContentRef>,
}

impl<S> Shaped<S> {
    /// `inner` with these rules.
    pub fn new(inner: S, shape: ShapeOptions, exclude: Exclude) -> Self {
        Self { inner, shape, exclude, dropped: HashSet::new() }
    }

    /// What the rules are over.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn unmatched(&self) -> impl Iterator<Item = String> {
        let warn = |path| format!("excluded path {}: no entry of the source has it", show_bytes(path));
        self.exclude.unmatched().map(warn)
    }
}

impl<S: Source> Source for Shaped<S> {
    fn scan(&mut self, progress: &dyn Progress) -> Result<Tree, TreeError> {
        let is_done = self.inner.leave_out(&self.exclude);
        let mut tree = self.inner.scan(progress)?;
        if !is_done {
            tree = prune(tree, &self.exclude)?;
        }
        apply(&mut tree, &self.shape)?;
        Ok(tree)
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        self.inner.open(content)
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.inner.path(content)
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.inner.warnings();
        warnings.extend(self.unmatched());
        warnings
    }
}

impl<S: Stream> Stream for Shaped<S> {
    /// The next file that is not left out; its owner and time are those of the stream.
    fn next(&mut self) -> Result<Option<Streamed>, TreeError> {
        while let Some(streamed) = self.inner.next()? {
            if !self.exclude.covers(&streamed.path) {
                return Ok(Some(streamed));
            }
            self.drain(&streamed)?;
        }
        Ok(None)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<(), TreeError> {
        self.inner.read(buf)
    }

    fn finish(&mut self) -> Result<Tree, TreeError> {
        let mut tree = prune(self.inner.finish()?, &self.exclude)?;
        let is_dropped =
            |kind: &Kind| matches!(kind, Kind::File { content, .. } if self.dropped.contains(content));
        if let Some((id, _)) = tree.iter().find(|(_, inode)| is_dropped(&inode.kind)) {
            return Err(TreeError::Invalid {
                path: to_path(&tree.path_of(id)),
                what: "content",
                found: "a hard link to a file that is excluded".into(),
                wanted: "names of one file in a stream to be all excluded or all kept",
            });
        }
        apply(&mut tree, &self.shape)?;
        Ok(tree)
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.inner.path(content)
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.inner.warnings();
        warnings.extend(self.unmatched());
        warnings
    }
}

impl<S: Stream> Shaped<S> {
    /// Reads a content that nobody wants.
    fn drain(&mut self, streamed: &Streamed) -> Result<(), TreeError> {
        if streamed.size != 0 {
            self.dropped.insert(streamed.content);
        }
        let mut buf = vec![0; DRAIN_LEN];
        let mut left = streamed.size;
        while left != 0 {
            let count = usize::try_from(left).unwrap_or(DRAIN_LEN).min(DRAIN_LEN);
            self.inner.read(buf.get_mut(..count).unwrap_or_default())?;
            left -= count as u64;
        }
        Ok(())
    }
}
