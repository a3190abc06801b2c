//! Holes of sparse files: parts that take no place on the disk and read as zeros, found without reading them.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{SeekFrom, Stat, seek};
use rustix::io::Errno;

use super::read::read;

/// Shorter reads cost less than to ask for holes.
const ASK_LEN: usize = 64 << 10;

/// What is known of the holes of an open file.
#[derive(Debug)]
pub(super) struct Holes {
    /// The length of the content; 0 for a file that has no holes.
    size: u64,
    /// The hole that was found last: where it starts, or was asked for, and where it ends.
    last: Mutex<(u64, u64)>,
}

impl Holes {
    /// Of a file with this state.
    pub(super) fn new(stat: &Stat) -> Self {
        // st_blocks counts units of 512 bytes, whatever the block size is (stat(2)).
        let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Self { size: if stored < size { size } else { 0 }, last: Mutex::new((0, 0)) }
    }

    /// The first byte from `offset` on that is not in a hole, at most the size. Where nothing is known it is
    /// `offset`.
    pub(super) fn data_from(&self, fd: BorrowedFd<'_>, offset: u64) -> u64 {
        if offset >= self.size {
            return offset;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if (last.0..last.1).contains(&offset) {
            return last.1;
        }
        let data = match seek(fd, SeekFrom::Data(offset)) {
            Ok(data) => data.clamp(offset, self.size),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => self.size,
            Err(_) => offset,
        };
        if data != offset {
            *last = (offset, data);
        }
        data
    }

    /// The first byte from `offset`, which is in no hole, that is in one; `end` if there is none before it.
    fn hole_from(fd: BorrowedFd<'_>, offset: u64, end: u64) -> u64 {
        match seek(fd, SeekFrom::Hole(offset)) {
            Ok(hole) if hole > offset => hole.min(end),
            Ok(_) | Err(_) => end,
        }
    }

    /// Fills `buf` from `offset` on as far as the file goes.
    pub(super) fn read(&self, fd: BorrowedFd<'_>, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        if self.size == 0 || buf.len() < ASK_LEN {
            return read(fd, offset, buf);
        }
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset.saturating_add(filled as u64);
            let end = at.saturating_add((buf.len() - filled) as u64);
            let data = self.data_from(fd, at).min(end);
            let (zeros, rest) = split(&mut buf[filled..], data - at);
            zeros.fill(0);
            filled += zeros.len();
            let (wanted, _) = split(rest, Self::hole_from(fd, data, end) - data);
            let found = read(fd, data, wanted)?;
            filled += found;
            if found < wanted.len() || (found == 0 && zeros.is_empty()) {
                break;
            }
        }
        Ok(filled)
    }
}

fn split(bytes: &mut [u8], at: u64) -> (&mut [u8], &mut [u8]) {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_at_mut(at)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileExt as _;

    use rustix::fs::fstat;

    use super::*;

    /// A file of so many bytes with data at some places, and its bytes.
    fn make(size: u64, data: &[u64]) -> (File, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        for &at in data {
            let piece = [at.to_le_bytes()[2] | 1; 5000];
            let piece = &piece[..piece.len().min(usize::try_from(size - at).unwrap())];
            file.write_all_at(piece, at).unwrap();
            bytes[usize::try_from(at).unwrap()..][..piece.len()].copy_from_slice(piece);
        }
        (file, bytes)
    }

    #[test]
    fn what_is_read_does_not_depend_on_holes() {
        let mib = 1 << 20;
        for (size, data) in [
            (8 * mib, &[][..]),
            (8 * mib, &[0]),
            (8 * mib, &[3 * mib, 5 * mib + 1]),
            (8 * mib + 7, &[8 * mib]),
            (3 * mib, &[0, 100_000, 200_000, 2 * mib]),
        ] {
            let (file, bytes) = make(size, data);
            let holes = Holes::new(&fstat(&file).unwrap());
            for offset in [0, 1, 4096, 3 * mib - 1, 3 * mib + 4000, size - 1, size, size + 9] {
                for length in [1, ASK_LEN - 1, ASK_LEN, 1 << 20, 9 << 20] {
                    let mut found = vec![0xa5; length];
                    let count = holes.read(file.as_fd(), offset, &mut found).unwrap();
                    let rest =
                        usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                    let wanted = &rest[..rest.len().min(length)];
                    assert!(found[..count] == *wanted, "{size}: {length} from {offset}: {count} bytes");
                }
            }
        }
    }

    #[test]
    fn holes_are_found_without_reading() {
        let size = 1 << 40;
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(b"data", size / 2).unwrap();
        let holes = Holes::new(&fstat(&file).unwrap());
        let data = holes.data_from(file.as_fd(), 0);
        assert!(data <= size / 2 && data > size / 2 - (1 << 21), "{data}");
        assert_eq!(holes.data_from(file.as_fd(), 12_345), data, "the same hole");
        assert_eq!(holes.data_from(file.as_fd(), data), data);
        assert_eq!(holes.data_from(file.as_fd(), size / 2 + (1 << 22)), size);
        assert_eq!(holes.data_from(file.as_fd(), size), size);
        let (full, _) = make(5000, &[0]);
        let holes = Holes::new(&fstat(&full).unwrap());
        assert_eq!(holes.data_from(full.as_fd(), 0), 0);
    }
}
