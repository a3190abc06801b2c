//! A walk over everything below a directory: entries in the order in which the image has them, a directory
//! before what is in it.

use std::fs::{self, FileType};
use std::io;
use std::path::Path;

/// Calls `visit` with every path below `dir` and what it is.
pub(crate) fn walk(dir: &Path, visit: &mut dyn FnMut(&Path, FileType) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()? {
        let (path, kind) = (entry.path(), entry.file_type()?);
        visit(&path, kind)?;
        if kind.is_dir() {
            walk(&path, visit)?;
        }
    }
    Ok(())
}
