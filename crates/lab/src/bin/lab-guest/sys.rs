//! The system calls that have no safe form: mappings, `mincore`, `cachestat`, `readahead`, an `io_uring`, and
//! the `ioctl`s of loop devices and of the device mapper.

#![expect(unsafe_code, reason = "mmap, mincore, cachestat and ioctl have no safe form")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr;

/// The size of a page in bytes.
pub(crate) const PAGE: usize = 4096;

/// `cachestat` (`include/uapi/asm-generic/unistd.h`).
const SYS_CACHESTAT: libc::c_long = 451;
/// `FS_IOC_GETFSLABEL` (`include/uapi/linux/fs.h`).
const FS_IOC_GETFSLABEL: libc::Ioctl = 0x8100_9431_u32 as libc::Ioctl;
/// The longest label (`FSLABEL_MAX`).
const FSLABEL_MAX: usize = 256;
/// The `ioctl`s of loop devices (`include/uapi/linux/loop.h`).
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LOOP_CLR_FD: libc::Ioctl = 0x4c01;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
/// The `ioctl`s of the device mapper, without their number.
const DM_IOCTL: libc::Ioctl = 0xc138_fd00_u32 as libc::Ioctl;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_config`, of whose `struct loop_info64` only `lo_flags` is used here.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    before_flags: [u8; 52],
    flags: u32,
    after_flags: [u8; 176],
    reserved: [u64; 8],
}

/// `struct cachestat_range` and `struct cachestat`.
#[repr(C)]
struct CachestatRange {
    offset: u64,
    len: u64,
}
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cache: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// How many pages the file has in memory of its own (`nr_cache`).
pub(crate) fn cachestat(file: &File) -> io::Result<u64> {
    let range = CachestatRange { offset: 0, len: 0 };
    let mut found = Cachestat::default();
    // SAFETY: both structures have the kernel's layout and live until the call returns.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut found, 0) };
    if result == 0 { Ok(found.cache) } else { Err(io::Error::last_os_error()) }
}

/// Whether the file takes the label `ioctl`, which members of a key do not.
pub(crate) fn has_label_ioctl(file: &File) -> io::Result<bool> {
    let mut label = [0_u8; FSLABEL_MAX];
    // SAFETY: the kernel writes at most `FSLABEL_MAX` bytes, which is the length of the array.
    match checked(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFSLABEL, label.as_mut_ptr()) }) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number of a loop device that is free.
pub(crate) fn loop_free(control: &File) -> io::Result<libc::c_int> {
    // SAFETY: this ioctl takes no argument.
    checked(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })
}

/// Lets a loop device show a file, read-only.
pub(crate) fn loop_configure(device: &File, file: &File, direct: bool) -> io::Result<()> {
    let fd = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
    let flags = LO_FLAGS_READ_ONLY | if direct { LO_FLAGS_DIRECT_IO } else { 0 };
    let config = LoopConfig {
        fd,
        block_size: 0,
        before_flags: [0; 52],
        flags,
        after_flags: [0; 176],
        reserved: [0; 8],
    };
    // SAFETY: the structure has the kernel's layout and lives until the call returns.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }).map(drop)
}

/// Takes the file of a loop device away.
pub(crate) fn loop_clear(device: &File) -> io::Result<()> {
    // SAFETY: this ioctl takes no argument.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD) }).map(drop)
}

/// The `ioctl` with this number of the device mapper (`include/uapi/linux/dm-ioctl.h`).
pub(crate) fn device_mapper(control: &File, number: u8, request: &mut [u8]) -> io::Result<()> {
    let number = DM_IOCTL | libc::Ioctl::from(number);
    // SAFETY: the request says in its own `data_size` how long it is, and its builder sets that to the
    // slice's length; the kernel reads and writes no more.
    checked(unsafe { libc::ioctl(control.as_raw_fd(), number, request.as_mut_ptr()) }).map(drop)
}

/// Kills every process but this one.
pub(crate) fn kill_all() -> io::Result<()> {
    // SAFETY: this call touches no memory of the program.
    match checked(unsafe { libc::kill(-1, libc::SIGKILL) }) {
        // There is none.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

/// `readahead`.
pub(crate) fn readahead(file: &File, offset: u64, length: usize) -> io::Result<()> {
    let offset = i64::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: this call touches no memory of the program.
    if unsafe { libc::readahead(file.as_raw_fd(), offset, length) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Reads into `buffer` from `offset` on by `IORING_OP_READ`; returns how many bytes there were.
pub(crate) fn ring_read(
    ring: &mut io_uring::IoUring,
    file: &File,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let descriptor = io_uring::types::Fd(file.as_raw_fd());
    let length = u32::try_from(buffer.len()).map_err(io::Error::other)?;
    let entry = io_uring::opcode::Read::new(descriptor, buffer.as_mut_ptr(), length).offset(offset).build();
    // SAFETY: file and buffer live until the completion has arrived, which is waited for below.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let done = ring.completion().next().ok_or_else(|| io::Error::other("no completion"))?.result();
    usize::try_from(done).map_err(|_| io::Error::from_raw_os_error(-done))
}

/// How a file is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Shared and read-only.
    Shared,
    /// Private and read-only.
    Private,
    /// Private and executable.
    Executable,
    /// Private and writable.
    Writable,
}

/// A file in memory.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut libc::c_void,
    len: usize,
}

impl Mapping {
    /// Maps the first `len` bytes, at least one.
    pub(crate) fn new(file: &File, len: usize, kind: Kind) -> io::Result<Self> {
        let (protection, flags) = match kind {
            Kind::Shared => (libc::PROT_READ, libc::MAP_SHARED),
            Kind::Private => (libc::PROT_READ, libc::MAP_PRIVATE),
            Kind::Executable => (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE),
            Kind::Writable => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE),
        };
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { start, len }) }
    }

    /// Keeps faults from reading ahead.
    pub(crate) fn without_readahead(&self) -> io::Result<()> {
        self.advise(0, self.len, libc::MADV_RANDOM)
    }

    /// `MADV_WILLNEED` on bytes of it, from the start of a page on.
    pub(crate) fn willneed(&self, from: usize, len: usize) -> io::Result<()> {
        self.advise(from, len, libc::MADV_WILLNEED)
    }

    /// `MADV_POPULATE_READ` on bytes of it, from the start of a page on.
    pub(crate) fn populate(&self, from: usize, len: usize) -> io::Result<()> {
        self.advise(from, len, libc::MADV_POPULATE_READ)
    }

    fn advise(&self, from: usize, len: usize, advice: libc::c_int) -> io::Result<()> {
        if from.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the range lies in the mapping; these advices change no content.
        checked(unsafe { libc::madvise(self.start.byte_add(from), len, advice) }).map(drop)
    }

    /// Copies a page that is in memory.
    pub(crate) fn copy_page(&self, page: usize, to: &mut [u8; PAGE]) {
        let at = page.saturating_mul(PAGE);
        if at < self.len {
            // SAFETY: the page lies in the mapping, which reaches to the end of its last page; nobody
            // shortens the file, because it is on a read-only file system, and nobody writes to it.
            unsafe { ptr::copy_nonoverlapping(self.start.cast::<u8>().add(at), to.as_mut_ptr(), PAGE) };
        }
    }

    /// Writes a byte of a page, into a mapping that is [`Kind::Writable`].
    pub(crate) fn write(&self, page: usize) {
        let at = page.saturating_mul(PAGE);
        if at < self.len {
            // SAFETY: the byte lies in the mapping; the caller has made it writable, and it is private.
            unsafe { self.start.cast::<u8>().add(at).write_volatile(1) };
        }
    }

    /// The address of the first byte.
    pub(crate) fn address(&self) -> u64 {
        self.start as u64
    }

    /// Which pages are in memory.
    pub(crate) fn resident(&self) -> io::Result<Vec<bool>> {
        let mut pages = vec![0_u8; self.len.div_ceil(PAGE)];
        // SAFETY: the range is the mapping, and the vector has a byte for each of its pages.
        checked(unsafe { libc::mincore(self.start, self.len, pages.as_mut_ptr()) })?;
        Ok(pages.into_iter().map(|page| page & 1 == 1).collect())
    }

    /// Reads a byte of a page. A page behind the end is left alone.
    pub(crate) fn touch(&self, page: usize) {
        let at = page.saturating_mul(PAGE);
        if at < self.len {
            // SAFETY: the byte lies in the mapping, whose file nobody shortens: it is on a read-only file
            // system.
            unsafe { self.start.cast::<u8>().add(at).read_volatile() };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping, and nothing refers into it.
        unsafe { libc::munmap(self.start, self.len) };
    }
}
