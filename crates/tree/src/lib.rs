//! The tree that is to be stored, and the sources it comes from.
//!
//! A [`Source`] is scanned once and gives a [`Tree`]: every inode with its metadata, names that point at
//! inodes, and for each regular file a [`ContentRef`] by which the source opens its bytes later. The crate
//! knows nothing of EROFS.
//!
//! [`TarSource`] reads a tar archive at offsets, [`TarStream`] one that comes once.
//!
//! [`Shaped`] applies rules to what a source or a [`Stream`] gives: owners, times, what is left out.
//! [`Layers`] makes one source of several that lie over each other, by [`merge`].
//!
//! Files in reading order: `node` (the tree), `validate` (what a tree promises), `canonical` (trees of parts
//! of others), `ere` (POSIX regular expressions), `exclude` (what is left out), `shape` (owner and time rules), `merge` (one tree over another),
//! `progress`, `error`, `source::port` and `source::stream` (the traits), `source::dir` (a local directory),
//! `source::tar` (tar archives), `source::shaped`, `source::layers`.
//!
//! Invariant: order is decided here. Names are sorted by their bytes, xattrs by their names, and inodes are
//! in canonical order (depth first, children by name, each inode where it is first met). The same directory
//! therefore gives an equal `Tree`, whatever the order of readdir and the number of threads.
//!
//! # Example
//!
//! ```
//! use erofs_tree::{DirOptions, DirSource, Silent, Source as _};
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("hello"), "world\n")?;
//!
//! let mut source = DirSource::new(folder.path(), DirOptions::default())?;
//! let tree = source.scan(&Silent)?;
//! tree.validate()?;
//! let root = &tree.inodes[tree.root.index()];
//! assert_eq!(&*root.entries()[0].name, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod canonical;
pub mod ere;
mod error;
mod exclude;
mod merge;
mod node;
mod progress;
mod shape;
pub mod source;
mod validate;

pub use erofs_tar::Options as TarFormat;
pub use error::{TreeError, show_path};
pub use exclude::{Exclude, prune};
pub use merge::{Merged, Origin, Whiteouts, merge};
pub use node::{
    ContentRef, Counts, Entry, Inode, InodeId, Kind, MAX_NAME_LEN, MAX_SYMLINK_LEN, Timestamp, Tree, Xattr,
};
pub use progress::{Progress, Silent, Stage};
pub use shape::{ShapeOptions, TimeRule, apply};
pub use source::dir::{DirOptions, DirSource, Unmapped};
pub use source::layers::Layers;
pub use source::port::{Content, Source};
pub use source::shaped::Shaped;
pub use source::stream::{Stream, Streamed};
pub use source::tar::{TarOptions, TarSource, TarStream};
