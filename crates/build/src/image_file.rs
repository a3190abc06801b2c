//! The file that an image is written to: invisible until it is whole.
//!
//! A regular file is built without a name (`O_TMPFILE`) and takes its name by a rename when everything is on the disk,
//! so that a killed, failed or disk-full run leaves nothing behind. Where the file system cannot do that, a temporary
//! file beside the image serves, which is removed on failure. Block devices and other existing special files are
//! written in place.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::BuildError;

/// The permissions of a new image, before the umask.
const NEW_MODE: u32 = 0o666;
/// As many symlinks as Linux follows.
const LINKS_MAX: u32 = 40;

/// What is done when the image is complete, but has neither its length nor its name: takes the image and its length in
/// bytes, returns the length with what was put behind it.
pub type LastStep = Box<dyn FnOnce(&ImageFile, u64) -> Result<u64, BuildError> + Send + Sync>;

/// An image that is being written.
pub struct ImageFile {
    file: File,
    path: PathBuf,
    /// First byte of the image in the file.
    offset: u64,
    how: How,
    last: Option<LastStep>,
}

impl std::fmt::Debug for ImageFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, path, offset, how, last: _ } = self;
        let mut shown = f.debug_struct("ImageFile");
        shown.field("file", file).field("path", path).field("offset", offset).field("how", how);
        shown.finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum How {
    /// The file has no name yet; it gets one in this folder, then the image's.
    Nameless,
    /// A temporary file beside the image.
    Named(tempfile::TempPath),
    /// The file was there and is no regular one.
    InPlace,
}

impl ImageFile {
    /// Prepares the image at `path`, `offset` bytes from its start. A symlink is followed. Bytes before the offset
    /// keep the content that an existing file has there, or are zeros.
    pub fn create(path: &Path, offset: u64) -> Result<Self, BuildError> {
        let fail = |action| move |cause| BuildError::Write { path: path.to_path_buf(), action, cause };
        let existing = match std::fs::metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fail("cannot be looked at")(error)),
        };
        let names_folder = path.as_os_str().as_bytes().ends_with(b"/");
        if names_folder || existing.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            return Err(fail("cannot be an image")(io::ErrorKind::IsADirectory.into()));
        }
        if let Some(metadata) = &existing
            && !metadata.is_file()
        {
            let exclusive =
                if metadata.file_type().is_block_device() { rustix::fs::OFlags::EXCL.bits() } else { 0 };
            let flags = i32::try_from(exclusive).unwrap_or(0);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(flags)
                .open(path)
                .map_err(fail("cannot be opened for writing"))?;
            return Ok(Self { file, path: path.to_path_buf(), offset, how: How::InPlace, last: None });
        }
        let target = if existing.is_some() {
            path.canonicalize().map_err(fail("cannot be resolved"))?
        } else {
            resolve_new(path)
        };
        let folder = folder_of(&target);
        let (file, how) = if let Some(file) = open_nameless(folder) {
            (file, How::Nameless)
        } else {
            std::fs::metadata(folder).map_err(fail("its folder cannot be looked at"))?;
            let named = tempfile::Builder::new()
                .prefix(".mkfs-erofs-")
                .permissions(std::fs::Permissions::from_mode(NEW_MODE))
                .tempfile_in(folder)
                .map_err(fail("no temporary file can be made beside it"))?;
            let (file, path) = named.into_parts();
            (file, How::Named(path))
        };
        if let Some(metadata) = &existing {
            // Only root can give files away; for others the image becomes theirs, as with any rename.
            drop(std::os::unix::fs::fchown(&file, Some(metadata.uid()), Some(metadata.gid())));
            file.set_permissions(std::fs::Permissions::from_mode(metadata.mode() & 0o7777))
                .map_err(fail("its permissions cannot be carried over"))?;
            keep_start(&target, &file, offset.min(metadata.len()))
                .map_err(fail("bytes before the offset cannot be kept"))?;
        }
        Ok(Self { file, path: target, offset, how, last: None })
    }

    /// Has `last` done as the last step before the image is durable and gets its name; if it fails, there is no image.
    #[must_use]
    pub fn with_last_step(self, last: LastStep) -> Self {
        Self { last: Some(last), ..self }
    }

    /// Where the image will be, symlinks resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode number of the file that is being written, which must not become part of the image.
    /// The file that has the image's name until then is another one, unless it is written in place.
    pub fn identity(&self) -> Option<(u64, u64)> {
        self.file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// The folder in which temporary files of this build belong.
    pub(crate) fn folder(&self) -> &Path {
        match self.how {
            // Devices have no room for files beside them.
            How::InPlace => Path::new("/tmp"),
            How::Nameless | How::Named(_) => folder_of(&self.path),
        }
    }

    /// Writes `bytes` at byte `at` of the image. May be called from several threads.
    pub fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), BuildError> {
        let place = self.offset.checked_add(at).ok_or(io::ErrorKind::FileTooLarge);
        let outcome = place.map_err(io::Error::from).and_then(|place| self.file.write_all_at(bytes, place));
        outcome.map_err(|cause| self.failed("cannot be written", cause))
    }

    /// Writes the pieces one behind the other from byte `at` of the image on. May be called from several threads.
    pub(crate) fn write_vectored_at(&self, at: u64, pieces: &mut [IoSlice<'_>]) -> Result<(), BuildError> {
        let mut place = self.offset.saturating_add(at);
        let mut rest = pieces;
        while !rest.is_empty() {
            match rustix::io::pwritev(&self.file, rest, place) {
                Ok(0) => return Err(self.failed("cannot be written", io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    IoSlice::advance_slices(&mut rest, count);
                    place = place.saturating_add(count as u64);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.failed("cannot be written", error.into())),
            }
        }
        Ok(())
    }

    /// Reads bytes of the image back; what lies past its end so far reads as zeros.
    pub fn read_at(&self, at: u64, bytes: &mut [u8]) -> Result<(), BuildError> {
        let mut filled = 0;
        while filled < bytes.len() {
            let place = self.offset.saturating_add(at).saturating_add(filled as u64);
            match self.file.read_at(&mut bytes[filled..], place) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("cannot be read back", error)),
            }
        }
        bytes[filled..].fill(0);
        Ok(())
    }

    /// Whether bytes that were never written read as zeros.
    pub(crate) fn starts_as_zeros(&self) -> bool {
        !matches!(self.how, How::InPlace)
    }

    /// Makes durable what was written so far.
    pub(crate) fn sync(&self) -> Result<(), BuildError> {
        match self.file.sync_data() {
            // Character devices and pipes have nothing to make durable.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            outcome => outcome.map_err(|cause| self.failed("cannot be made durable", cause)),
        }
    }

    /// Forgets everything from byte `length` of the image on, of a regular file.
    pub(crate) fn cut(&self, length: u64) -> Result<(), BuildError> {
        let end = self.offset.saturating_add(length);
        self.file.set_len(end).map_err(|cause| self.failed("cannot be given its length", cause))
    }

    /// Takes the last step, sets the length of the image, makes it durable and gives it its name.
    pub fn finish(mut self, length: u64) -> Result<(), BuildError> {
        let length = match self.last.take() {
            None => length,
            Some(last) => last(&self, length)?,
        };
        let Self { file, path, offset, how, last: _ } = self;
        let fail = |action| {
            let path = path.clone();
            move |cause| BuildError::Write { path, action, cause }
        };
        let end = offset.saturating_add(length);
        if !matches!(how, How::InPlace) {
            file.set_len(end).map_err(fail("cannot be given its length"))?;
        }
        match file.sync_all() {
            // Character devices and pipes have nothing to make durable.
            Err(error) if matches!(how, How::InPlace) && error.kind() == io::ErrorKind::InvalidInput => {}
            outcome => outcome.map_err(fail("cannot be made durable"))?,
        }
        match how {
            How::InPlace => return Ok(()),
            How::Named(temporary) => {
                temporary.persist(&path).map_err(|e| fail("cannot be renamed")(e.error))?;
            }
            How::Nameless => name_it(&file, &path).map_err(fail("cannot be given its name"))?,
        }
        sync_folder(folder_of(&path)).map_err(fail("its folder cannot be made durable"))
    }

    fn failed(&self, action: &'static str, cause: io::Error) -> BuildError {
        BuildError::Write { path: self.path.clone(), action, cause }
    }
}

/// A path that does not exist yet, through dangling symlinks if it is one.
fn resolve_new(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        match std::fs::read_link(&path) {
            Ok(target) => path = folder_of(&path).join(target),
            Err(_) => break,
        }
    }
    path
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file without a name, with the permissions that a new file gets; `None` where the file system has no such thing.
fn open_nameless(folder: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    // Without /proc it could not be given a name later.
    if !Path::new("/proc/self/fd").is_dir() {
        return None;
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::from_raw_mode(NEW_MODE)).ok().map(File::from)
}

/// Gives the nameless file its name. Where the name is taken, it gets a temporary one first and is renamed over the old
/// file, because a link cannot replace one.
fn name_it(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |name: &Path| match rustix::fs::linkat(CWD, &source, CWD, name, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(io::Error::from(error)),
    };
    if link(path)? {
        return Ok(());
    }
    let folder = folder_of(path);
    for attempt in 0..100_u32 {
        let temporary = folder.join(format!(".mkfs-erofs-{}-{attempt}", std::process::id()));
        if link(&temporary)? {
            return std::fs::rename(&temporary, path).inspect_err(|_| drop(std::fs::remove_file(&temporary)));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn keep_start(existing: &Path, file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let mut from = io::Read::take(File::open(existing)?, length);
    let mut to = file;
    io::copy(&mut from, &mut to).map(drop)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems have nothing to make durable in a folder.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        outcome => outcome,
    }
}
