//! Files that are written before they have their name: without any name where the file system has such files
//! (`O_TMPFILE`), else with a temporary one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::leftover::{self, Leftover, Undo};
use super::place::Place;

/// Permissions of a new file, before the umask.
const NEW_MODE: Mode = Mode::from_bits_retain(0o666);
/// How many temporary names are tried.
const ATTEMPTS: u32 = 1000;

/// A temporary name, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) place: Place,
    pub(crate) leftover: Leftover,
}

/// Opens a new file in the folder, without a name if that can be.
pub(crate) fn create(folder: &Arc<OwnedFd>) -> io::Result<(File, Option<Named>)> {
    if let Some(file) = nameless(folder)? {
        return Ok((file, None));
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (file, named) =
        with_name(folder, |name| rustix::fs::openat(folder, name.as_os_str(), flags, NEW_MODE))?;
    Ok((file.into(), Some(named)))
}

/// Opens a file in the folder that will never have a name.
pub(crate) fn scratch(folder: &Arc<OwnedFd>) -> io::Result<File> {
    // Its temporary name, if it had to have one, is removed at once.
    create(folder).map(|(file, _)| file)
}

/// A file without a name; `None` where the file system has no such thing.
fn nameless(folder: &OwnedFd) -> io::Result<Option<File>> {
    // Without /proc it could not be given a name later.
    if !Path::new("/proc/self/fd").is_dir() {
        return Ok(None);
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, ".", flags, NEW_MODE) {
        Ok(file) => Ok(Some(file.into())),
        // What other kinds of new files would be refused for as well. Who does not know the flag at all takes
        // it for the directory itself, and says that this is one.
        Err(error @ (Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOSPC | Errno::DQUOT)) => {
            Err(error.into())
        }
        Err(_) => Ok(None),
    }
}

/// Gives the file without a name a temporary name in the folder.
pub(crate) fn link(file: &File, folder: &Arc<OwnedFd>) -> io::Result<Named> {
    let source = own_name(file);
    let make =
        |name: &OsString| rustix::fs::linkat(CWD, &source, folder, name.as_os_str(), AtFlags::SYMLINK_FOLLOW);
    with_name(folder, make).map(|((), named)| named)
}

/// Gives the file without a name its name; false if that is taken.
pub(crate) fn link_new(file: &File, place: &Place) -> io::Result<bool> {
    let (folder, name) = place.at();
    match rustix::fs::linkat(CWD, own_name(file), folder, name, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn own_name(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Makes something with a name that nothing in the folder has yet.
fn with_name<T>(
    folder: &Arc<OwnedFd>,
    make: impl Fn(&OsString) -> rustix::io::Result<T>,
) -> io::Result<(T, Named)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    leftover::watch();
    let mut table = leftover::lock();
    for _ in 0..ATTEMPTS {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = OsString::from(format!(".mkfs-erofs-{}-{number}", std::process::id()));
        match make(&name) {
            Ok(new) => {
                let undo = Undo::Remove { folder: Arc::clone(folder), name: name.clone() };
                let place = Place { folder: Arc::clone(folder), name };
                return Ok((new, Named { place, leftover: table.add(undo) }));
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_there_as_long_as_they_are_held() {
        let dir = tempfile::tempdir().unwrap();
        let folder: Arc<OwnedFd> = Arc::new(File::open(dir.path()).unwrap().into());
        let count = || std::fs::read_dir(dir.path()).unwrap().count();
        let (file, _) = create(&folder).unwrap();
        let (one, two) = (link(&file, &folder).unwrap(), link(&file, &folder).unwrap());
        assert_ne!(one.place.name, two.place.name);
        assert_eq!(count(), 2);
        drop(one);
        drop(two);
        drop(scratch(&folder).unwrap());
        assert_eq!(count(), 0);
    }
}
