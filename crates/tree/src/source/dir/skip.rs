//! Files that are left out because the build itself writes them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::stat;

use super::place::{DirTable, Identity};

/// A name in a directory that is left out.
#[derive(Debug)]
struct Place {
    /// The directory.
    folder: Identity,
    /// Its path from the root, if it is inside: where inode numbers do not stay, it is known by that.
    inside: Option<Vec<u8>>,
    name: Vec<u8>,
}

/// What is left out.
#[derive(Debug, Default)]
pub(super) struct Skip {
    places: Vec<Place>,
    identities: Vec<Identity>,
}

impl Skip {
    /// The places of `paths`, and the files with these device and inode numbers under whatever name.
    ///
    /// A path stands for a name and not for a file: other names of the same file are not left out.
    pub(super) fn new(root: &Path, paths: &[PathBuf], identities: &[(u64, u64)]) -> Self {
        let root = root.canonicalize().ok();
        let place = |path: &PathBuf| {
            let name = path.file_name()?.as_bytes().to_vec();
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
            let inside = root.as_ref().and_then(|root| folder.strip_prefix(root).ok());
            let inside = inside.map(|inside| inside.as_os_str().as_bytes().to_vec());
            Some(Place { folder: Identity::of(&stat(&folder).ok()?), inside, name })
        };
        Self {
            places: paths.iter().filter_map(place).collect(),
            identities: identities.iter().map(|&(dev, ino)| Identity { dev, ino }).collect(),
        }
    }

    /// The names that are left out in a directory.
    pub(super) fn names(&self, dirs: &DirTable, dir: u32, folder: Identity) -> Vec<Vec<u8>> {
        let is_here = |place: &&Place| {
            place.folder == folder
                || place.inside.as_ref().is_some_and(|inside| {
                    let depth = inside.split(|&byte| byte == b'/').count();
                    dirs.short_path(dir, depth).as_ref() == Some(inside)
                })
        };
        self.places.iter().filter(is_here).map(|place| place.name.clone()).collect()
    }

    /// Whether a file is left out under every name.
    pub(super) fn has(&self, identity: Identity) -> bool {
        self.identities.contains(&identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_by_its_path_where_numbers_change() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let mut dirs = DirTable::new();
        let a = dirs.add(0, b"a").unwrap();
        let b = dirs.add(a, b"b").unwrap();
        let paths = ["image", "a/b/sidecar", "missing/x"].map(|path| dir.path().join(path));
        let skip = Skip::new(dir.path(), &paths, &[(1, 2)]);
        let identity = |path: &str| Identity::of(&stat(dir.path().join(path)).unwrap());
        let other = Identity { dev: 0, ino: 0 };
        for (number, folder, wanted) in [
            (0, identity("."), &[b"image".as_slice()][..]),
            (0, other, &[b"image"]),
            (a, identity("a"), &[]),
            (a, other, &[]),
            (b, identity("a/b"), &[b"sidecar"]),
            (b, other, &[b"sidecar"]),
            // The same directory at another place, as by a mount.
            (a, identity("a/b"), &[b"sidecar"]),
        ] {
            assert_eq!(skip.names(&dirs, number, folder), wanted, "{number}");
        }
        assert!(skip.has(Identity { dev: 1, ino: 2 }) && !skip.has(other));
    }
}
