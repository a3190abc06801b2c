//! The only door to bytes: a length and reading at an offset, for files, block devices, byte slices, and
//! parts of them.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Cause, Result};

/// Bytes that can be read anywhere, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are. The same at every call.
    fn len(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on; an error, and no promise about `buf`, if they are not all
    /// there.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        u64::try_from(<[u8]>::len(self)).unwrap_or(u64::MAX)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let part = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buf.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(part);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buf)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buf)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buf)
    }
}

/// A regular file or a block device. Its length is taken once, when it is opened.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    length: u64,
}

impl FileSource {
    /// Opens a file or block device for reading. An error for anything else: a directory, a pipe, a character
    /// device.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |error: io::Error| Cause::Source(error.to_string());
        let kind = std::fs::metadata(path).map_err(wrong)?.file_type();
        // Asked before opening, because opening a pipe waits for somebody to write into it.
        if !kind.is_file() && !kind.is_block_device() {
            let what = if kind.is_dir() {
                "a directory"
            } else if kind.is_fifo() {
                "a pipe, which can only be read once"
            } else if kind.is_socket() {
                "a socket"
            } else {
                "not a regular file"
            };
            return Err(Cause::Source(format!("is {what}, want a regular file or a block device")).into());
        }
        Self::new(File::open(path).map_err(wrong)?).map_err(|error| wrong(error).into())
    }

    /// Takes an open file. Its length is where it can be sought to, which holds for block devices as well.
    pub fn new(mut file: File) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, length })
    }
}

impl ReadAt for FileSource {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

/// The first bytes of another source, as many as something vouches for.
#[derive(Debug)]
pub struct FrontView<R> {
    source: R,
    length: u64,
}

impl<R: ReadAt> FrontView<R> {
    /// The first `length` bytes of `source`; all of them if it ends before.
    pub fn new(source: R, length: u64) -> Self {
        let length = length.min(source.len());
        Self { source, length }
    }
}

impl<R: ReadAt> ReadAt for FrontView<R> {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read_at(offset, buf)
    }
}

/// The bytes of another source from an offset on: an image inside a larger file (`--offset`, the kernel's
/// `fsoffset=`).
#[derive(Debug)]
pub struct OffsetView<R> {
    source: R,
    offset: u64,
}

impl<R: ReadAt> OffsetView<R> {
    /// The bytes of `source` from `offset` on; none if it ends before.
    pub fn new(source: R, offset: u64) -> Self {
        Self { source, offset }
    }
}

impl<R: ReadAt> ReadAt for OffsetView<R> {
    fn len(&self) -> u64 {
        self.source.len().saturating_sub(self.offset)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let offset = offset.checked_add(self.offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.source.read_at(offset, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn every_source_reads_the_same_bytes_and_refuses_the_same_ranges() {
        let bytes = b"0123456789".to_vec();
        let path = std::env::temp_dir().join(format!("erofs-image-read-at-{}", std::process::id()));
        File::create(&path).unwrap().write_all(&[b"ab".as_slice(), &bytes].concat()).unwrap();
        let file = OffsetView::new(FileSource::open(&path).unwrap(), 2);
        std::fs::remove_file(&path).unwrap();
        let shared: Arc<[u8]> = bytes.clone().into();
        let front = FrontView::new([&bytes[..], b"cd"].concat(), 10);
        let whole = FrontView::new(bytes.clone(), 11);
        let sources: [Box<dyn ReadAt>; 5] =
            [Box::new(bytes), Box::new(shared), Box::new(file), Box::new(front), Box::new(whole)];
        for source in sources {
            assert_eq!(source.len(), 10);
            assert!(!source.is_empty());
            let mut buf = [0; 4];
            source.read_at(6, &mut buf).unwrap();
            assert_eq!(&buf, b"6789");
            assert!(source.read_at(7, &mut buf).is_err());
            assert!(source.read_at(u64::MAX, &mut buf).is_err());
            source.read_at(10, &mut []).unwrap();
        }
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        let message = FileSource::open(Path::new("/")).unwrap_err().to_string();
        assert_eq!(message, "is a directory, want a regular file or a block device");
        let message = FileSource::open(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(message.starts_with("is not a regular file"), "{message}");
        let message = FileSource::open(Path::new("/does/not/exist")).unwrap_err().to_string();
        assert!(message.starts_with("No such file"), "{message}");
    }
}
