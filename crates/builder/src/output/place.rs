//! What the path of an output means: a name in a folder, every link on the way followed.
//!
//! The folder stays open, so that later renames of folders, long paths and changes of the working directory
//! do not matter.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

/// As many symlinks as Linux follows (`MAXSYMLINKS`, `include/linux/namei.h`).
const LINKS_MAX: u32 = 40;
/// Paths of this length or more are walked in pieces: `PATH_MAX` with its NUL, `include/uapi/linux/limits.h`.
const PATH_MAX: usize = 4096;

/// A name in an open folder.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) folder: Arc<OwnedFd>,
    pub(crate) name: OsString,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing has the name yet.
    Nothing(Place),
    /// Something has it, which is no symbolic link.
    Something(Place, Stat),
    /// A link in `/proc` to an open file, which may have no name, or have lost it: `/proc/self/fd/N`,
    /// `/dev/fd/N`, `/dev/stdout`.
    Descriptor(Place),
}

/// Follows a path.
///
/// # Errors
/// Those of the system for folders on the way; [`io::ErrorKind::IsADirectory`] for paths that end with `/`,
/// `.` or `..`.
pub(crate) fn find(path: &Path) -> io::Result<Found> {
    let mut folder = Arc::new(rustix::fs::openat(CWD, ".", folder_flags(), Mode::empty())?);
    let mut rest = path.as_os_str().as_bytes().to_vec();
    for _ in 0..=LINKS_MAX {
        let at = rest.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let name = OsString::from_vec(rest.split_off(at));
        if name == "." || name == ".." || (name.is_empty() && at > 0) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if at > 0 {
            folder = Arc::new(open_folder(folder.as_fd(), &rest)?);
        }
        let place = Place { folder: Arc::clone(&folder), name };
        match rustix::fs::readlinkat(&folder, place.name.as_os_str(), Vec::new()) {
            Ok(_) if rustix::fs::fstatfs(&folder)?.f_type == PROC_SUPER_MAGIC => {
                return Ok(Found::Descriptor(place));
            }
            Ok(target) => rest = target.into_bytes(),
            Err(Errno::NOENT) => return Ok(Found::Nothing(place)),
            Err(Errno::INVAL) => {
                let stat = rustix::fs::statat(&folder, place.name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
                return Ok(Found::Something(place, stat));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::LOOP.into())
}

fn folder_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// Opens a folder whose path may be longer than the kernel takes at once.
fn open_folder(base: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let mut folder: Option<OwnedFd> = None;
    let mut rest = path;
    loop {
        let piece = if rest.len() < PATH_MAX {
            rest
        } else {
            let end =
                rest[..PATH_MAX - 1].iter().rposition(|&byte| byte == b'/').ok_or(Errno::NAMETOOLONG)?;
            &rest[..=end]
        };
        let from = folder.as_ref().map_or(base, AsFd::as_fd);
        let next = rustix::fs::openat(from, piece, folder_flags(), Mode::empty())?;
        rest = &rest[piece.len()..];
        // What follows the first piece is relative to it.
        rest = &rest[rest.iter().take_while(|&&byte| byte == b'/').count()..];
        if rest.is_empty() {
            return Ok(next);
        }
        folder = Some(next);
    }
}

impl Place {
    /// The folder and the name, as system calls take them.
    pub(crate) fn at(&self) -> (BorrowedFd<'_>, &OsStr) {
        (self.folder.as_fd(), &self.name)
    }

    /// Another name in the same folder.
    pub(crate) fn beside(&self, name: OsString) -> Self {
        Self { folder: Arc::clone(&self.folder), name }
    }

    /// Whether anything has the name.
    pub(crate) fn is_taken(&self) -> bool {
        rustix::fs::statat(&self.folder, self.name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Why the regular file of this name, with this status, can be written but not be replaced by another
    /// one, if it can be known before: rename(2) would fail with EBUSY or EPERM.
    pub(crate) fn irreplaceable(&self, file: &Stat) -> Option<&'static str> {
        let attributes = |name: &OsStr| {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let status = rustix::fs::statx(&self.folder, name, flags, StatxFlags::BASIC_STATS).ok();
            status.map_or(StatxAttributes::empty(), |status| status.stx_attributes)
        };
        if attributes(&self.name).contains(StatxAttributes::MOUNT_ROOT) {
            return Some("it is a mount point");
        }
        if attributes(OsStr::new(".")).intersects(StatxAttributes::APPEND | StatxAttributes::IMMUTABLE) {
            return Some("its folder keeps its names");
        }
        let folder = rustix::fs::fstat(&self.folder).ok()?;
        let user = rustix::process::geteuid();
        let others = |owner: u32| owner != user.as_raw();
        let sticky = folder.st_mode & Mode::SVTX.bits() != 0;
        (sticky && !user.is_root() && others(file.st_uid) && others(folder.st_uid))
            .then_some("its folder is sticky and it belongs to somebody else")
    }
}

/// The type of a file.
pub(crate) fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &Path) -> String {
        match find(path) {
            Ok(Found::Nothing(place)) => format!("nothing {}", place.name.display()),
            Ok(Found::Something(place, _)) => format!("something {}", place.name.display()),
            Ok(Found::Descriptor(place)) => format!("descriptor {}", place.name.display()),
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn links_are_followed_to_the_last_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        std::fs::write(path("sub/file"), "").unwrap();
        for (link, to) in
            [("to-file", "sub/file"), ("to-new", "sub/../sub/new"), ("loop", "loop"), ("abs", "/dev/stdin")]
        {
            std::os::unix::fs::symlink(to, path(link)).unwrap();
        }
        for (name, want) in [
            ("sub/file", "something file"),
            ("to-file", "something file"),
            ("to-new", "nothing new"),
            ("none/x", "entity not found"),
            ("loop", "filesystem loop or indirection limit (e.g. symlink loop)"),
            ("abs", "descriptor 0"),
            ("sub/", "is a directory"),
            ("sub/..", "is a directory"),
        ] {
            assert_eq!(kind(&path(name)), want, "{name}");
        }
        assert_eq!(kind(Path::new("/dev/fd/1")), "descriptor 1");
        assert_eq!(kind(Path::new("")), "nothing ");
    }

    #[test]
    fn paths_longer_than_the_kernel_takes_are_walked_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().to_path_buf();
        let long = "d".repeat(250);
        let mut folder: OwnedFd = std::fs::File::open(&path).unwrap().into();
        for _ in 0..20 {
            rustix::fs::mkdirat(&folder, &long, Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, &long, folder_flags(), Mode::empty()).unwrap();
            path.push(&long);
        }
        assert_eq!(kind(&path.join("x")), "nothing x");
        rustix::fs::symlinkat("y", &folder, "x").unwrap();
        assert_eq!(kind(&path.join("x")), "nothing y");
    }
}
