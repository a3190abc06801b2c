//! Bytes that are read and written at offsets, by several threads at once.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Bytes that can be read anywhere.
pub trait ReadAt: Sync {
    /// How many bytes there are. The same at every call.
    fn len(&self) -> u64;

    /// Fills `bytes` from byte `at` on; an error if they are not all there.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A place for bytes.
pub trait WriteAt: Sync {
    /// Writes all of `bytes` from byte `at` on.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let part = usize::try_from(at).ok().and_then(|from| self.get(from..from.checked_add(bytes.len())?));
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(at, bytes)
    }
}

/// Bytes in memory, which grow with zeros as far as they are written.
impl WriteAt for Mutex<Vec<u8>> {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let from = usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let to = from.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut all = self.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < to {
            all.resize(to, 0);
        }
        all[from..to].copy_from_slice(bytes);
        Ok(())
    }
}

impl WriteAt for File {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }
}

/// An open file or block device. Its length is taken once.
#[derive(Debug)]
pub struct FileBytes {
    file: File,
    length: u64,
}

impl FileBytes {
    /// Opens a regular file or block device for reading.
    ///
    /// # Errors
    /// When it cannot be opened, or has no length.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Asked before opening, because opening a pipe waits for somebody to write into it.
        let kind = std::fs::metadata(path)?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() && !kind.is_block_device() {
            let is =
                if kind.is_fifo() { "a pipe, which can only be read once" } else { "not a regular file" };
            return Err(io::Error::other(format!("is {is}, want a regular file or a block device")));
        }
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, length })
    }
}

impl ReadAt for FileBytes {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }
}
