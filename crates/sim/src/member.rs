//! An image of a simulation: where it is, and in which domain it is mounted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use erofs_image::{Image, ImageError, OpenOptions};

use crate::facts::ImageFiles;

/// An image of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The domain; images of different domains share nothing.
    pub domain: String,
    /// The image file or block device.
    pub path: PathBuf,
    /// Its extra devices, in the order of its device table.
    pub devices: Vec<PathBuf>,
}

impl ImageFiles for Member {
    fn image(&self) -> &Path {
        &self.path
    }

    fn devices(&self) -> &[PathBuf] {
        &self.devices
    }
}

impl Member {
    /// An image without extra devices.
    pub fn new(domain: &str, path: impl Into<PathBuf>) -> Self {
        Self { domain: domain.to_owned(), path: path.into(), devices: Vec::new() }
    }

    /// Opens it, to read contents.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn open(&self) -> Result<Image, ImageError> {
        OpenOptions::new().devices(&self.devices).open(&self.path)
    }
}

/// The first two of these paths that lead to one file, in their order.
pub fn same_file<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Option<(&'a Path, &'a Path)> {
    let mut known = HashMap::new();
    paths.into_iter().find_map(|path| {
        // One that does not exist is an error where it is opened.
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        known.insert(real, path).map(|other| (other, path))
    })
}
