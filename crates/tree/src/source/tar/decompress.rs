//! Compressed archives, recognised by their first bytes.

use std::io::{self, BufRead, BufReader, Cursor, Error, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::{LzipReader, XzReader};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// The largest window of Zstandard, as a power of two in bytes: 128 MiB, what `zstd --long` makes and
/// `zstd -d` takes without being told.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The most memory for the dictionary of xz, in KiB: 256 MiB. `xz -9` needs 65 MiB.
const XZ_MEMORY: u32 = 256 << 10;
/// How many bytes of compressed data are read at once.
const BUFFER: usize = 128 * 1024;
/// How many bytes say what an archive is: up to the magic of a tar header.
pub(super) const PEEK: usize = 262;
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Gzip,
    Zstd,
    Xz,
    Lzip,
    Bzip2,
}

/// What the first bytes of an archive say; none if it is not compressed.
pub(super) fn form(start: &[u8]) -> Option<Form> {
    // The path of its first file can look like anything.
    if start.get(TAR_MAGIC.0..).is_some_and(|rest| rest.starts_with(TAR_MAGIC.1)) {
        return None;
    }
    match start {
        [0x1f, 0x8b, ..] => Some(Form::Gzip),
        // A frame, or one that is to be skipped.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Form::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Form::Xz),
        [b'L', b'Z', b'I', b'P', ..] => Some(Form::Lzip),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Form::Bzip2),
        _ => None,
    }
}

/// Reads until `buf` is full or the input ends.
pub(super) fn fill(input: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What `input` yields, decompressed if it is gzip, Zstandard, xz or lzip, each of one or several members.
///
/// Memory is bounded: windows of Zstandard up to 128 MiB and dictionaries of xz up to 256 MiB; those of lzip
/// are at most 512 MiB by its format. Input that ends within a member is an error.
///
/// # Errors
/// Those of reading the first bytes; [`ErrorKind::Unsupported`] if they are those of bzip2.
pub fn decompressed<'a>(mut input: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut start = vec![0; PEEK];
    let length = fill(&mut input, &mut start)?;
    start.truncate(length);
    let form = form(&start);
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(input));
    Ok(match form {
        None => Box::new(whole),
        Some(Form::Gzip) => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole))),
        Some(Form::Zstd) => Box::new(BufReader::with_capacity(BUFFER, Zstd::new(whole)?)),
        Some(Form::Xz) => {
            Box::new(BufReader::with_capacity(BUFFER, XzReader::new_mem_limit(whole, true, XZ_MEMORY)))
        }
        Some(Form::Lzip) => Box::new(BufReader::with_capacity(BUFFER, LzipReader::new(whole))),
        Some(Form::Bzip2) => {
            let found = "found bzip2, wanted gzip, zstd, xz, lzip or no compression";
            return Err(Error::new(ErrorKind::Unsupported, found));
        }
    })
}

/// Frames of Zstandard.
struct Zstd<R> {
    input: R,
    context: DCtx<'static>,
    /// Whether a frame has begun and is not complete.
    is_open: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> io::Result<Self> {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(zstd_error)?;
        Ok(Self { input, context, is_open: false })
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !buf.is_empty() {
            let bytes = self.input.fill_buf()?;
            let is_end = bytes.is_empty();
            if is_end && !self.is_open {
                break;
            }
            let mut from = InBuffer::around(bytes);
            let mut to = OutBuffer::around(buf);
            let hint = self.context.decompress_stream(&mut to, &mut from).map_err(zstd_error)?;
            let (consumed, written) = (from.pos(), to.pos());
            self.input.consume(consumed);
            self.is_open = hint != 0;
            if written != 0 {
                return Ok(written);
            }
            if is_end {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the input ends within a frame of zstd"));
            }
        }
        Ok(0)
    }
}

fn zstd_error(code: usize) -> Error {
    Error::new(ErrorKind::InvalidData, format!("zstd: {}", get_error_name(code)))
}
