//! The file that an image is written to.
//!
//! A new file, and one that replaces an older one, is invisible until it is whole: it is built without a name
//! (`O_TMPFILE`), or with a temporary one, and takes its name when everything is on the disk. A killed,
//! failed or disk-full run leaves the older file as it was.
//!
//! Written in place is what cannot, or must not, be replaced: block devices and other special files,
//! descriptors (`/proc/self/fd/N`, `/dev/stdout`), empty files (whoever made one may hold it open), mount
//! points, and files in folders that take no new file.

use std::fs::File;
use std::io::{self, IoSlice, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::error::BuildError;
use crate::output::commit::{Complete, Form, Set};
use crate::output::device;
use crate::output::leftover::{self, Leftover, Undo};
use crate::output::place::{self, Found, Place, type_of};
use crate::output::temporary::{self, Named};
pub use crate::store::target::{Target, Wrap};

/// What is done when the image is complete, but has neither its length nor its name: takes the image and its
/// length in bytes, returns the length with what was put behind it, and the outputs that get their names
/// together with the image.
pub type LastStep = Box<dyn FnOnce(&ImageFile, u64) -> Result<(u64, Set), BuildError> + Send + Sync>;

/// An image that is being written.
pub struct ImageFile {
    file: Arc<File>,
    /// What its bytes go through: the file itself, or what precedes it.
    target: Arc<dyn Target>,
    wrap: Option<Wrap>,
    path: PathBuf,
    /// First byte of the image in the file.
    offset: u64,
    how: How,
    last: Option<LastStep>,
}

impl std::fmt::Debug for ImageFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, target: _, wrap: _, path, offset, how, last: _ } = self;
        let mut shown = f.debug_struct("ImageFile");
        shown.field("file", file).field("path", path).field("offset", offset).field("how", how);
        shown.finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum How {
    /// It becomes the file of this name.
    New { place: Place, temporary: Option<Named> },
    /// The file is there, and is written where it is.
    InPlace { kind: FileType, begun: OnceLock<Leftover> },
}

impl ImageFile {
    /// Prepares the image at `path`, `offset` bytes from its start. A symlink is followed. Bytes before the
    /// offset keep the content that an existing file has there, or are zeros. What is there already does not
    /// change before [`Self::begin`].
    ///
    /// # Errors
    /// When nothing can be written there: the error names the path.
    pub fn create(path: &Path, offset: u64) -> Result<Self, BuildError> {
        let fail = |action| move |cause| BuildError::Write { path: path.to_path_buf(), action, cause };
        match place::find(path) {
            Ok(Found::Nothing(place)) => {
                let (file, temporary) =
                    temporary::create(&place.folder).map_err(fail("no file can be made in its folder"))?;
                Ok(Self::new(file, path, offset, How::New { place, temporary }))
            }
            Ok(Found::Something(place, stat)) => Self::over(place, &stat, path, offset),
            Ok(Found::Descriptor(place)) => {
                let file = open_descriptor(&place).map_err(fail("cannot be opened for writing"))?;
                Self::in_place(file, path, offset)
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(fail("cannot be written")(error))
            }
            Err(error) => Err(fail("cannot be looked at")(error)),
        }
    }

    /// Prepares an image where something is already: that is replaced or, if it must not or cannot be,
    /// written in place.
    fn over(place: Place, stat: &Stat, path: &Path, offset: u64) -> Result<Self, BuildError> {
        let fail = |action| move |cause| BuildError::Write { path: path.to_path_buf(), action, cause };
        if type_of(stat) == FileType::Directory {
            return Err(fail("cannot be written")(io::ErrorKind::IsADirectory.into()));
        }
        if type_of(stat) != FileType::RegularFile {
            let file = open_existing(&place, stat).map_err(fail("cannot be opened for writing"))?;
            return Self::in_place(file, path, offset);
        }
        // Whoever made an empty file may hold it open, and wants to find the image in it.
        if stat.st_size == 0
            && let Ok(file) = open_existing(&place, stat)
        {
            return Self::in_place(file, path, offset);
        }
        let refusal = match place.irreplaceable(stat) {
            None => match temporary::create(&place.folder) {
                Ok(new) => return Self::replacing(new, place, stat, path, offset),
                Err(error) => error,
            },
            Some(why) => io::Error::new(io::ErrorKind::PermissionDenied, why),
        };
        let refused = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
        if !refused.contains(&refusal.kind()) {
            return Err(fail("no file can be made in its folder")(refusal));
        }
        let file = open_existing(&place, stat).map_err(|error| {
            let text = format!("{error}; nor can it be replaced: {refusal}");
            fail("cannot be opened for writing")(io::Error::new(error.kind(), text))
        })?;
        Self::in_place(file, path, offset)
    }

    fn new(file: File, path: &Path, offset: u64, how: How) -> Self {
        let file = Arc::new(file);
        let target = Arc::clone(&file);
        Self { file, target, wrap: None, path: path.to_path_buf(), offset, how, last: None }
    }

    fn in_place(file: File, path: &Path, offset: u64) -> Result<Self, BuildError> {
        let stat = rustix::fs::fstat(&file).map_err(|error| BuildError::Write {
            path: path.to_path_buf(),
            action: "cannot be looked at",
            cause: error.into(),
        })?;
        let how = How::InPlace { kind: type_of(&stat), begun: OnceLock::new() };
        Ok(Self::new(file, path, offset, how))
    }

    /// A file that will replace another one: it has its owner, its permissions and its first bytes.
    fn replacing(
        (file, temporary): (File, Option<Named>),
        place: Place,
        stat: &Stat,
        path: &Path,
        offset: u64,
    ) -> Result<Self, BuildError> {
        let fail = |action| move |cause| BuildError::Write { path: path.to_path_buf(), action, cause };
        // Only root can give files away; for others the image becomes theirs, as with any rename.
        drop(std::os::unix::fs::fchown(&file, Some(stat.st_uid), Some(stat.st_gid)));
        rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode))
            .map_err(|error| fail("its permissions cannot be carried over")(error.into()))?;
        let kept = offset.min(u64::try_from(stat.st_size).unwrap_or(0));
        keep_start(&place, &file, kept).map_err(fail("bytes before the offset cannot be kept"))?;
        Ok(Self::new(file, path, offset, How::New { place, temporary }))
    }

    /// Has `last` done as the last step before the image is durable and gets its name; if it fails, there is
    /// no image.
    #[must_use]
    pub fn with_last_step(self, last: LastStep) -> Self {
        Self { last: Some(last), ..self }
    }

    /// Has the bytes of the image, and those of temporary files, pass through what `wrap` makes of their
    /// files. To be called before anything is written.
    #[must_use]
    pub fn through(self, wrap: Wrap) -> Self {
        let target = wrap(self.target);
        Self { target, wrap: Some(wrap), ..self }
    }

    /// The path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode number of the file that is being written, which must not become part of the image.
    /// The file that has the image's name until then is another one, unless it is written in place.
    pub fn identity(&self) -> Option<(u64, u64)> {
        rustix::fs::fstat(&self.file).ok().map(|stat| (stat.st_dev, stat.st_ino))
    }

    /// Where temporary files of this build belong.
    pub(crate) fn scratch(&self) -> Scratch {
        let folder = match &self.how {
            How::New { place, .. } => Some(Arc::clone(&place.folder)),
            // A device has no place for files beside it, and the folder of a file that is written in place
            // may take none.
            How::InPlace { .. } => None,
        };
        Scratch { folder, wrap: self.wrap.clone() }
    }

    /// Prepares what is written in place, which from here on loses its content: a file is cut to the offset,
    /// and both ends of a device, if the image starts at its first byte, are filled with zeros, so that no
    /// signature of an older file system stays (see `output::device`). To be called before anything is
    /// written.
    ///
    /// # Errors
    /// When the file cannot be cut or written.
    pub fn begin(&self) -> Result<(), BuildError> {
        let How::InPlace { kind, begun } = &self.how else { return Ok(()) };
        if *kind == FileType::BlockDevice && self.offset == 0 {
            let length = (&*self.file).seek(SeekFrom::End(0));
            let wiped = length.and_then(|length| device::wipe(self.target.as_ref(), length));
            wiped.map_err(|cause| self.failed("cannot be written", cause))?;
        }
        if *kind == FileType::RegularFile {
            let cut = || {
                let length = self.file.metadata()?.len().min(self.offset);
                leftover::watch();
                let undo = Undo::Cut { file: self.file.try_clone()?, length };
                let leftover = leftover::lock().add(undo);
                self.target.set_len(length)?;
                io::Result::Ok(leftover)
            };
            // Without its end it is still cut if the run fails; twice does no harm.
            drop(begun.set(cut().map_err(|cause| self.failed("cannot be cut", cause))?));
        }
        Ok(())
    }

    /// Writes `bytes` at byte `at` of the image. May be called from several threads.
    pub fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), BuildError> {
        self.write_vectored_at(at, &mut [IoSlice::new(bytes)])
    }

    /// Writes the pieces one behind the other from byte `at` of the image on. May be called from several
    /// threads.
    pub(crate) fn write_vectored_at(&self, at: u64, pieces: &mut [IoSlice<'_>]) -> Result<(), BuildError> {
        let place = self.offset.checked_add(at).ok_or(io::ErrorKind::FileTooLarge);
        let _in_place = self.is_in_place().then(leftover::writing);
        let outcome = place.map_err(io::Error::from).and_then(|place| self.target.write_at(place, pieces));
        outcome.map_err(|cause| self.failed("cannot be written", cause))
    }

    /// Reads bytes of the image back; what lies past its end so far reads as zeros.
    pub fn read_at(&self, at: u64, bytes: &mut [u8]) -> Result<(), BuildError> {
        let read = self.target.read_at(self.offset.saturating_add(at), bytes);
        let filled = read.map_err(|cause| self.failed("cannot be read back", cause))?;
        bytes[filled..].fill(0);
        Ok(())
    }

    /// Whether bytes that were never written read as zeros.
    pub(crate) fn starts_as_zeros(&self) -> bool {
        match &self.how {
            How::New { .. } => true,
            How::InPlace { kind, .. } => *kind == FileType::RegularFile,
        }
    }

    /// Whether others can see the image while it is written.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self.how, How::InPlace { .. })
    }

    /// Makes durable what was written so far.
    pub(crate) fn sync(&self) -> Result<(), BuildError> {
        match self.target.sync() {
            // Character devices and pipes have nothing to make durable.
            Err(error) if self.is_in_place() && error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            outcome => outcome.map_err(|cause| self.failed("cannot be made durable", cause)),
        }
    }

    /// Forgets everything from byte `length` of the image on, of a regular file.
    pub(crate) fn cut(&self, length: u64) -> Result<(), BuildError> {
        let _in_place = self.is_in_place().then(leftover::writing);
        let end = self.offset.saturating_add(length);
        self.target.set_len(end).map_err(|cause| self.failed("cannot be given its length", cause))
    }

    /// Sets the length of the image and makes it durable; it gets its name by [`Set::commit`]. The last step
    /// is not taken.
    ///
    /// # Errors
    /// When the system refuses; an older file stays what it was.
    pub fn complete(self, length: u64) -> Result<Complete, BuildError> {
        if self.starts_as_zeros() {
            self.cut(length)?;
        }
        self.sync()?;
        let Self { file, path, how, .. } = self;
        let form = match how {
            How::New { place, temporary } => Form::New { place, temporary },
            How::InPlace { begun, .. } => Form::InPlace(begun.into_inner()),
        };
        Ok(Complete { file, path, form })
    }

    /// Takes the last step, completes the image and gives it its name, together with the outputs of the last
    /// step and behind them. Returns what the user should know: folders that could not be synced.
    ///
    /// # Errors
    /// When the system refuses; older files stay what they were, but for those that are written in place.
    pub fn finish(mut self, length: u64) -> Result<Vec<String>, BuildError> {
        let (length, mut set) = match self.last.take() {
            None => (length, Set::default()),
            Some(last) => last(&self, length)?,
        };
        set.add(self.complete(length)?);
        set.commit()
    }

    /// Writes a file whole or not at all. Returns what the user should know, as [`Self::finish`].
    ///
    /// # Errors
    /// As for [`Self::finish`].
    pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<Vec<String>, BuildError> {
        let mut set = Set::default();
        set.add(Self::create(path, 0)?.fill(bytes)?);
        set.commit()
    }

    /// Writes all bytes of the file, which gets its name with a set.
    ///
    /// # Errors
    /// As for [`Self::complete`].
    pub fn fill(self, bytes: &[u8]) -> Result<Complete, BuildError> {
        self.begin()?;
        self.write_at(0, bytes)?;
        self.complete(bytes.len() as u64)
    }

    fn failed(&self, action: &'static str, cause: io::Error) -> BuildError {
        BuildError::Write { path: self.path.clone(), action, cause }
    }
}

/// An output that is written from its first byte to its last, and appears whole or not at all.
#[derive(Debug)]
pub struct Stream {
    file: ImageFile,
    at: u64,
}

impl Stream {
    /// Prepares the output at `path`.
    ///
    /// # Errors
    /// As for [`ImageFile::create`].
    pub fn create(path: &Path) -> Result<Self, BuildError> {
        Ok(Self { file: ImageFile::create(path, 0)?, at: 0 })
    }

    /// Completes the output and gives it its name. Returns what the user should know, as
    /// [`ImageFile::finish`].
    ///
    /// # Errors
    /// As for [`ImageFile::finish`].
    pub fn finish(self) -> Result<Vec<String>, BuildError> {
        if self.at == 0 {
            self.file.begin()?;
        }
        self.file.finish(self.at)
    }
}

impl io::Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at == 0 {
            self.file.begin().map_err(io::Error::other)?;
        }
        self.file.write_at(self.at, bytes).map_err(io::Error::other)?;
        self.at = self.at.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where temporary files belong.
#[derive(Clone)]
pub(crate) struct Scratch {
    /// In this folder, or else in that of the environment: `TMPDIR`, or `/tmp`.
    folder: Option<Arc<OwnedFd>>,
    wrap: Option<Wrap>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Scratch {
    /// The folder of the environment.
    #[cfg(test)]
    pub(crate) fn temporary() -> Self {
        Self { folder: None, wrap: None }
    }

    /// Opens a file that will never have a name.
    pub(crate) fn open(&self) -> io::Result<Arc<dyn Target>> {
        let file: Arc<dyn Target> = Arc::new(self.file()?);
        Ok(self.wrap.as_ref().map_or(Arc::clone(&file), |wrap| wrap(file)))
    }

    fn file(&self) -> io::Result<File> {
        if let Some(folder) = &self.folder {
            return temporary::scratch(folder);
        }
        let path = std::env::temp_dir();
        let folder = File::open(&path).and_then(|folder| temporary::scratch(&Arc::new(folder.into())));
        folder.map_err(|error| {
            let text = format!("in {}: {error}", erofs_tree::show_path(&path));
            io::Error::new(error.kind(), text)
        })
    }
}

/// Opens a file that exists. Block devices that are in use are refused.
fn open_existing(place: &Place, stat: &Stat) -> io::Result<File> {
    let exclusive = if type_of(stat) == FileType::BlockDevice { OFlags::EXCL } else { OFlags::empty() };
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | exclusive;
    let (folder, name) = place.at();
    Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?.into())
}

/// Opens the file behind a descriptor again, from its first byte on.
fn open_descriptor(place: &Place) -> io::Result<File> {
    let (folder, name) = place.at();
    let stat = rustix::fs::statat(folder, name, rustix::fs::AtFlags::empty())?;
    if type_of(&stat) == FileType::RegularFile && appends(place) {
        let text = "found a descriptor that was opened for appending, want one for writing";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let exclusive = if type_of(&stat) == FileType::BlockDevice { OFlags::EXCL } else { OFlags::empty() };
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | exclusive;
    Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?.into())
}

/// Whether what is written to the descriptor is to follow what is there: the image would replace it.
fn appends(place: &Place) -> bool {
    let flags = || {
        let (folder, name) = place.at();
        let path = Path::new("../fdinfo").join(name);
        let info = rustix::fs::openat(folder, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let info = io::read_to_string(File::from(info)).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(flags.trim(), 8).ok()
    };
    flags().is_some_and(|flags| flags & OFlags::APPEND.bits() != 0)
}

/// Copies the first bytes of the existing file.
fn keep_start(existing: &Place, file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let (folder, name) = existing.at();
    let from = rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut from = io::Read::take(File::from(from), length);
    let mut to = file;
    io::copy(&mut from, &mut to).map(drop)
}
