//! The system calls that have no safe form: mappings, `mincore`, `madvise`, `cachestat`, and the label
//! `ioctl`. The only file of the crate with unsafe code.

#![expect(unsafe_code, reason = "mmap, mincore, madvise, cachestat and ioctl have no safe form")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::ptr;

/// `cachestat` has the same number on every architecture but alpha (`include/uapi/asm-generic/unistd.h`).
const SYS_CACHESTAT: libc::c_long = 451;
/// `FS_IOC_GETFSLABEL` (`include/uapi/linux/fs.h`), as architectures with the generic `ioctl` numbers have
/// it. The type of the number is signed in musl, so that the cast wraps there.
const FS_IOC_GETFSLABEL: libc::Ioctl = 0x8100_9431_u32 as libc::Ioctl;
/// The longest label in bytes (`FSLABEL_MAX`).
const FSLABEL_MAX: usize = 256;

/// `struct cachestat_range` (`include/uapi/linux/mman.h`).
#[repr(C)]
struct CachestatRange {
    offset: u64,
    len: u64,
}

/// `struct cachestat` (`include/uapi/linux/mman.h`).
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cache: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many pages the inode behind an open file or directory has in memory of its own (`nr_cache`).
///
/// # Errors
/// `ENOSYS` before Linux 6.5, `EPERM` where the file belongs to somebody else.
pub(crate) fn cachestat(file: &File) -> io::Result<u64> {
    let range = CachestatRange { offset: 0, len: 0 };
    let mut found = Cachestat::default();
    // SAFETY: both structures have the kernel's layout and live until the call returns.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut found, 0) };
    if result == 0 { Ok(found.cache) } else { Err(io::Error::last_os_error()) }
}

/// Whether the file takes the label `ioctl`, which files with shared pages do not (`erofs_ishare_fops`).
///
/// # Errors
/// Everything but `ENOTTY`.
pub(crate) fn takes_label_ioctl(file: &File) -> io::Result<bool> {
    let mut label = [0_u8; FSLABEL_MAX];
    // SAFETY: the kernel writes at most `FSLABEL_MAX` bytes, which is the length of the array.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFSLABEL, label.as_mut_ptr()) };
    match checked(result) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A part of a file in the address space, read-only. Mapping it reads nothing.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut libc::c_void,
    len: usize,
    page: usize,
}

impl Mapping {
    /// Maps `len` bytes, at least one, from `offset`, a multiple of the page size `page`. Faults will not
    /// read ahead.
    pub(crate) fn new(file: &File, offset: u64, len: usize, page: usize) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), offset)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = Self { start, len, page };
        // SAFETY: the range is the mapping; this advice changes no content.
        checked(unsafe { libc::madvise(mapping.start, mapping.len, libc::MADV_RANDOM) })?;
        Ok(mapping)
    }

    /// The address of the first byte.
    pub(crate) fn address(&self) -> u64 {
        self.start as u64
    }

    /// Which pages are in memory, by `mincore`: true to the owner of the file and to `CAP_FOWNER`, "all" to
    /// others.
    pub(crate) fn resident(&self) -> io::Result<Vec<bool>> {
        let mut pages = vec![0_u8; self.len.div_ceil(self.page)];
        // SAFETY: the range is the mapping, and the vector has a byte for each of its pages.
        checked(unsafe { libc::mincore(self.start, self.len, pages.as_mut_ptr()) })?;
        Ok(pages.into_iter().map(|page| page & 1 == 1).collect())
    }

    /// Enters pages that are in memory into the page table (`MADV_POPULATE_READ`, Linux 5.14). A page that
    /// has left memory meanwhile is read again; if that fails it is an error here, not a signal.
    pub(crate) fn populate(&self, pages: Range<usize>) -> io::Result<()> {
        let first = pages.start.saturating_mul(self.page).min(self.len);
        let last = pages.end.saturating_mul(self.page).min(self.len);
        // SAFETY: the range lies in the mapping, whose first byte is at a page boundary; no content changes.
        checked(unsafe { libc::madvise(self.start.byte_add(first), last - first, libc::MADV_POPULATE_READ) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping, and nothing refers into it.
        unsafe { libc::munmap(self.start, self.len) };
    }
}
