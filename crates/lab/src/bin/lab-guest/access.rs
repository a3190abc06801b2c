//! The ways to ask for the bytes of a file, each by the very system call.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use erofs_sim::scenario::{Method, Syscall};
use rustix::fs::{Advice, OFlags};
use rustix::io::ReadWriteFlags;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::pipe::SpliceFlags;

use crate::sys::{self, Kind, Mapping, PAGE};

/// How long a program may run.
const PROGRAM_TIME: Duration = Duration::from_secs(20);
/// How often it is looked whether it still does.
const PROGRAM_PAUSE: Duration = Duration::from_millis(5);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// First byte.
    pub(crate) offset: u64,
    /// How many bytes; to the end where nothing is said.
    pub(crate) length: Option<u64>,
    /// Bytes in each call.
    pub(crate) call: u64,
    /// The exact system call, where the method has several.
    pub(crate) syscall: Option<Syscall>,
}

impl Range {
    /// A whole file, in calls of 64 KiB.
    pub(crate) const WHOLE: Self = Self { offset: 0, length: None, call: 64 << 10, syscall: None };

    /// The range in calls, cut at the end of a file of `size` bytes.
    fn calls(self, size: u64) -> impl Iterator<Item = (u64, u64)> {
        let end = self.end(size);
        let mut at = self.offset;
        std::iter::from_fn(move || {
            let (start, len) = (at, self.call.max(1).min(end.saturating_sub(at)));
            at += len;
            (len > 0).then_some((start, len))
        })
    }

    fn end(self, size: u64) -> u64 {
        self.length.map_or(size, |length| self.offset.saturating_add(length)).min(size)
    }
}

/// Asks for bytes of the file at `path`, which is in the mount at `point`.
pub(crate) fn access(point: &Path, path: &Path, method: Method, range: Range) -> io::Result<()> {
    match method {
        Method::Exec => exec(path),
        Method::CopyUp => copy_up(point, path),
        Method::Read | Method::Mmap | Method::Willneed | Method::Sendfile | Method::Splice => {
            through(&File::open(path)?, method, range)
        }
    }
}

/// Asks for bytes of an open file.
pub(crate) fn through(file: &File, method: Method, range: Range) -> io::Result<()> {
    let size = file.metadata()?.len();
    match method {
        Method::Read => read(file, size, range),
        Method::Mmap => touch(file, size, range),
        Method::Willneed => willneed(file, size, range),
        Method::Sendfile => sendfile(file, size, range),
        Method::Splice => splice(file, size, range),
        Method::Exec | Method::CopyUp => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn read(file: &File, size: u64, range: Range) -> io::Result<()> {
    let mut buffer = vec![0; length(range.call.min(size))?];
    if range.syscall == Some(Syscall::DirectFlag) {
        rustix::fs::fcntl_setfl(file, OFlags::DIRECT)?;
    }
    let mut ring = match range.syscall {
        Some(Syscall::IoUring) => Some(io_uring::IoUring::new(1)?),
        _ => None,
    };
    let mut stream = file;
    stream.seek(SeekFrom::Start(range.offset))?;
    for (mut at, len) in range.calls(size) {
        let mut part = buffer.get_mut(..length(len)?).unwrap_or_default();
        while !part.is_empty() {
            let half = part.len() / 2;
            let count = match (range.syscall, &mut ring) {
                (_, Some(ring)) => sys::ring_read(ring, file, at, part)?,
                (Some(Syscall::Read), None) => stream.read(part)?,
                (Some(Syscall::Readv), None) => {
                    let (left, right) = part.split_at_mut(half);
                    rustix::io::readv(file, &mut [IoSliceMut::new(left), IoSliceMut::new(right)])?
                }
                (Some(Syscall::Preadv2), None) => {
                    rustix::io::preadv2(file, &mut [IoSliceMut::new(part)], at, ReadWriteFlags::empty())?
                }
                _ => file.read_at(part, at)?,
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += count as u64;
            part = part.get_mut(count..).unwrap_or_default();
        }
    }
    Ok(())
}

fn willneed(file: &File, size: u64, range: Range) -> io::Result<()> {
    let wanted = length(range.end(size).saturating_sub(range.offset))?;
    match range.syscall {
        Some(Syscall::Readahead) => sys::readahead(file, range.offset, wanted),
        Some(Syscall::Madvise) => {
            Mapping::new(file, length(size)?, Kind::Shared)?.willneed(length(range.offset)?, wanted)
        }
        _ => {
            let length = range.length.and_then(std::num::NonZero::new);
            Ok(rustix::fs::fadvise(file, range.offset, length, Advice::WillNeed)?)
        }
    }
}

fn touch(file: &File, size: u64, range: Range) -> io::Result<()> {
    if range.offset >= range.end(size) {
        return Ok(());
    }
    let kind = match range.syscall {
        Some(Syscall::MapPrivate) => Kind::Private,
        Some(Syscall::MapExec) => Kind::Executable,
        Some(Syscall::MapWritten) => Kind::Writable,
        _ => Kind::Shared,
    };
    let mapping = Mapping::new(file, length(size)?, kind)?;
    let first = length(range.offset)? / PAGE;
    if range.syscall == Some(Syscall::Populate) {
        return mapping.populate(first * PAGE, length(range.end(size))? - first * PAGE);
    }
    for page in first..length(range.end(size))?.div_ceil(PAGE) {
        if kind == Kind::Writable {
            mapping.write(page);
        } else {
            mapping.touch(page);
        }
    }
    Ok(())
}

fn sendfile(file: &File, size: u64, range: Range) -> io::Result<()> {
    let sink = OpenOptions::new().write(true).open("/dev/null")?;
    for (mut at, len) in range.calls(size) {
        let end = at + len;
        while at < end {
            let wanted = length(end - at)?;
            if rustix::fs::sendfile(&sink, file, Some(&mut at), wanted)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(())
}

fn splice(file: &File, size: u64, range: Range) -> io::Result<()> {
    let sink = OpenOptions::new().write(true).open("/dev/null")?;
    let (output, input) = rustix::pipe::pipe()?;
    for (mut at, len) in range.calls(size) {
        let end = at + len;
        while at < end {
            let wanted = length(end - at)?;
            let mut moved =
                rustix::pipe::splice(file, Some(&mut at), &input, None, wanted, SpliceFlags::empty())?;
            if moved == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while moved > 0 {
                moved -= rustix::pipe::splice(&output, None, &sink, None, moved, SpliceFlags::empty())?;
            }
        }
    }
    Ok(())
}

/// Starts a program without arguments and waits for its end, whatever its status is.
fn exec(path: &Path) -> io::Result<()> {
    let mut child =
        Command::new(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > PROGRAM_TIME {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(PROGRAM_PAUSE);
    }
    Ok(())
}

/// Where the overlay's own files are.
const COW: &str = "/cow";

/// Has an overlay over the mount copy the file up; overlay and copy are gone afterwards.
fn copy_up(point: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(COW)?;
    rustix::mount::mount("none", COW, "tmpfs", MountFlags::empty(), None)?;
    let copied = copy_up_in(Path::new(COW), point, path);
    let unmounted = rustix::mount::unmount(COW, UnmountFlags::empty());
    copied.and(unmounted.map_err(io::Error::from))
}

fn copy_up_in(cow: &Path, point: &Path, path: &Path) -> io::Result<()> {
    let (upper, work, merged) = (cow.join("upper"), cow.join("work"), cow.join("merged"));
    for dir in [&upper, &work, &merged] {
        fs::create_dir(dir)?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", point.display(), upper.display(), work.display());
    let options = std::ffi::CString::new(options)?;
    rustix::mount::mount("none", &merged, "overlay", MountFlags::empty(), options.as_c_str())?;
    let inside = path.strip_prefix(point).unwrap_or(path);
    let file = merged.join(inside);
    // Setting the permissions that it has is a change too.
    let changed = fs::metadata(&file).and_then(|metadata| fs::set_permissions(&file, metadata.permissions()));
    let unmounted = rustix::mount::unmount(&merged, UnmountFlags::empty());
    changed.and(unmounted.map_err(io::Error::from))
}

/// Maps a whole file and touches every page.
pub(crate) fn map(path: &Path) -> io::Result<Mapping> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mapping = Mapping::new(&file, length(size)?, Kind::Shared)?;
    (0..length(size)?.div_ceil(PAGE)).for_each(|page| mapping.touch(page));
    Ok(mapping)
}

fn length(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(io::Error::other)
}
