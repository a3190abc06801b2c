//! The bytes of a file on their way into a hash, in pieces and in few system calls.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use erofs_format::extent::Place;
use erofs_image::{FileData, Image, ImageError, Piece, ReadAt};

/// How many bytes are read at once: so much stays in a processor's cache until it is hashed.
const PIECE: usize = 256 << 10;
/// How many bytes are read for a small file, which are those of the next ones, too.
const WINDOW: usize = 128 << 10;
/// A file of so many bytes has a thread that reads it, while another hashes it.
const AHEAD_MIN: u64 = 32 << 20;
/// How many pieces that thread may be ahead.
const AHEAD: usize = 4;

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A piece that was read.
enum Filled {
    /// So many bytes of the buffer, which comes back.
    Bytes(Vec<u8>, usize),
    /// So many zeros, and the buffer that was not needed.
    Hole(Vec<u8>, u64),
}

impl Filled {
    /// Hands the bytes over and gives the buffer back.
    fn give(self, sink: &mut dyn FnMut(&[u8])) -> Vec<u8> {
        match self {
            Self::Bytes(buffer, length) => {
                sink(buffer.get(..length).unwrap_or_default());
                buffer
            }
            Self::Hole(buffer, length) => {
                zeros(length, sink);
                buffer
            }
        }
    }
}

fn zeros(length: u64, sink: &mut dyn FnMut(&[u8])) {
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        sink(ZEROS.get(..now).unwrap_or_default());
        left = left.saturating_sub(u64::try_from(now).unwrap_or(u64::MAX));
    }
}

/// The bytes that a thread read last of the primary device. Files that come one after the other mostly lie
/// one behind the other, so that many small ones cost one system call, and no byte is copied or read twice.
pub(crate) struct Window {
    /// Nothing where extra devices have parts of the address space.
    source: Option<Arc<dyn ReadAt>>,
    buffer: Vec<u8>,
    /// Where the buffer begins, and how much of it is filled.
    start: u64,
    filled: usize,
}

impl Window {
    pub(crate) fn new(image: &Image, primary: &Arc<dyn ReadAt>) -> Self {
        let source = image.devices().slots().is_empty().then(|| Arc::clone(primary));
        Self { source, buffer: vec![0; PIECE], start: 0, filled: 0 }
    }

    fn known(&self, at: u64) -> Option<&[u8]> {
        let skip = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.buffer.get(skip..self.filled).filter(|bytes| !bytes.is_empty())
    }

    /// The bytes from `at` on: some of the next `most`, or none if they cannot be read this way.
    fn get(&mut self, at: u64, most: usize) -> Option<&[u8]> {
        if self.known(at).is_none() {
            let source = self.source.as_ref()?;
            let left = usize::try_from(source.len().checked_sub(at)?).unwrap_or(usize::MAX);
            let length = most.clamp(WINDOW, PIECE).min(left);
            self.filled = 0;
            source.read_at(at, self.buffer.get_mut(..length)?).ok()?;
            (self.start, self.filled) = (at, length);
        }
        let bytes = self.known(at)?;
        bytes.get(..bytes.len().min(most))
    }
}

/// Hands every byte of a file to `sink`, in order. With `ahead`, large files are read by a thread of their
/// own.
pub(crate) fn read(
    data: &FileData,
    window: &mut Window,
    ahead: bool,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), ImageError> {
    if data.inode().layout().is_compressed() {
        return data.copy(|piece| {
            match piece {
                Piece::Bytes(bytes) => sink(bytes),
                Piece::Hole(length) => zeros(length, sink),
            }
            Ok::<(), ImageError>(())
        });
    }
    if ahead && data.len() >= AHEAD_MIN {
        return read_ahead(data, sink);
    }
    let mut offset = 0;
    while offset < data.len() {
        let extent = data.map(offset)?;
        let end = extent.start.saturating_add(extent.length);
        let left = |offset| usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        if extent.place == Place::Hole {
            zeros(end.saturating_sub(offset), sink);
            offset = end;
        }
        if let Place::Device { device: 0, byte } = extent.place {
            let place = |offset: u64| byte.saturating_add(offset.saturating_sub(extent.start));
            while offset < end
                && let Some(bytes) = window.get(place(offset), left(offset))
            {
                sink(bytes);
                offset = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
        }
        // What is elsewhere, and what cannot be read, so that the reader says why.
        while offset < end {
            let mut buffer = vec![0; left(offset).min(PIECE)];
            data.read_range(offset, &mut buffer)?;
            sink(&buffer);
            offset = offset.saturating_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        }
    }
    Ok(())
}

/// Reads a file that is not compressed, piece by piece: `take` gets each and gives the buffer for the next,
/// or nothing to stop. Gives back the last one.
fn pieces(
    data: &FileData,
    mut buffer: Vec<u8>,
    mut take: impl FnMut(Filled) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, ImageError> {
    let mut offset = 0;
    while offset < data.len() {
        let extent = data.map(offset)?;
        let end = extent.start.saturating_add(extent.length);
        let left = end.saturating_sub(offset);
        let filled = if extent.place == Place::Hole {
            offset = end;
            Filled::Hole(buffer, left)
        } else {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = data.read_range(offset, buffer.get_mut(..length).unwrap_or_default())?;
            offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            Filled::Bytes(buffer, read)
        };
        let Some(next) = take(filled) else { return Ok(Vec::new()) };
        buffer = next;
    }
    Ok(buffer)
}

/// The same by two threads, one that reads and this one; by this one alone where there is no other.
fn read_ahead(data: &FileData, sink: &mut dyn FnMut(&[u8])) -> Result<(), ImageError> {
    let (full, filled) = sync_channel::<Filled>(AHEAD);
    // There is room for every buffer that is on its way, so that giving one back never waits.
    let (back, empty) = sync_channel::<Vec<u8>>(AHEAD.saturating_add(1));
    let ends = Mutex::new(Some((full, empty)));
    let take_ends = || ends.lock().unwrap_or_else(PoisonError::into_inner).take();
    let reader = || {
        let Some((full, empty)) = take_ends() else { return Ok(()) };
        let mut fresh = AHEAD;
        let send = |piece| {
            full.send(piece).ok()?;
            match fresh.checked_sub(1) {
                Some(fewer) => {
                    fresh = fewer;
                    Some(vec![0; PIECE])
                }
                None => empty.recv().ok(),
            }
        };
        pieces(data, vec![0; PIECE], send).map(drop)
    };
    let main = |others: usize| {
        if others == 0 {
            return pieces(data, vec![0; PIECE], |piece| Some(piece.give(sink))).map(drop);
        }
        for piece in filled {
            // The reader may have ended by now, and needs no buffer then.
            drop(back.try_send(piece.give(sink)));
        }
        drop(back);
        Ok(())
    };
    let (hashed, read) = erofs_threads::beside("read", 1, reader, main);
    read.into_iter().chain([hashed]).collect()
}
