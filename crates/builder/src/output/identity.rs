//! Which paths mean the same file.

use std::ffi::OsString;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use super::place::{self, Found};

/// What a path means, apart from how it is spelled: links are followed, and neither bind mounts nor hard
/// links hide anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A regular file or a directory: number of its device, number of its inode.
    File(u64, u64),
    /// A block device: its own number, which all its nodes have in common.
    Device(u64),
    /// A name that nothing has yet: the folder's numbers, and the name.
    New(u64, u64, OsString),
}

impl Identity {
    /// What a path means: nothing for pipes, terminals and other things without content of their own, and for
    /// paths that cannot be followed. Two for a loop device, which is also the file behind it.
    pub fn of(path: &Path) -> Vec<Self> {
        match place::find(path) {
            Ok(Found::Nothing(place)) => {
                let folder = rustix::fs::fstat(&place.folder).ok();
                folder.map(|folder| Self::New(folder.st_dev, folder.st_ino, place.name)).into_iter().collect()
            }
            Ok(Found::Something(_, stat)) => Self::of_stat(&stat),
            Ok(Found::Descriptor(_)) => {
                rustix::fs::stat(path).map_or_else(|_| Vec::new(), |stat| Self::of_stat(&stat))
            }
            Err(_) => Vec::new(),
        }
    }

    /// What an open file is.
    pub fn of_open(file: impl std::os::fd::AsFd) -> Vec<Self> {
        rustix::fs::fstat(file).map_or_else(|_| Vec::new(), |stat| Self::of_stat(&stat))
    }

    fn of_stat(stat: &Stat) -> Vec<Self> {
        let kind = place::type_of(stat);
        if kind == FileType::BlockDevice {
            return [Self::Device(stat.st_rdev)].into_iter().chain(behind_loop(stat.st_rdev)).collect();
        }
        let has_content = kind == FileType::RegularFile || kind == FileType::Directory;
        has_content.then_some(Self::File(stat.st_dev, stat.st_ino)).into_iter().collect()
    }
}

/// The file behind a loop device (`loop_attr_backing_file_show`, `drivers/block/loop.c`).
fn behind_loop(device: u64) -> Option<Identity> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = std::fs::read(format!("/sys/dev/block/{major}:{minor}/loop/backing_file")).ok()?;
    let path = file.strip_suffix(b"\n").unwrap_or(&file);
    let stat = rustix::fs::stat(path).ok()?;
    Some(Identity::File(stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        for name in ["file", "other"] {
            std::fs::write(path(name), "").unwrap();
        }
        std::os::unix::fs::symlink("../file", path("sub/link")).unwrap();
        std::os::unix::fs::symlink("sub/new", path("to-new")).unwrap();
        std::fs::hard_link(path("file"), path("hard")).unwrap();
        let same = |one: &str, other: &str| Identity::of(&path(one)) == Identity::of(&path(other));
        assert!(same("file", "sub/../file") && same("file", "sub/link") && same("file", "hard"));
        assert!(same("to-new", "sub/new") && same("sub/new", "./sub/../sub/new"));
        assert!(!same("file", "other") && !same("new", "sub/new") && !same("new", "new2"));
        assert!(Identity::of(Path::new("/dev/null")).is_empty());
        assert!(Identity::of(&path("none/x")).is_empty());
    }
}
