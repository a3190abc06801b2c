//! The bytes of a compressed file: pclusters are read and decoded, each once for reads in a row, and the last
//! ones are kept.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use erofs_decode::{Amount, decode, strip_padding, widest};
use erofs_format::FormatError;
use erofs_format::compression::Algorithm;
use erofs_format::extent::{Coding, Stored, ZExtent, interlace_head_at, interlace_split};
use erofs_format::words;

use crate::compressed::{Map, in_memory, part_of};
use crate::context::Context;
use crate::device::Devices;
use crate::error::{Cause, ImageError, Result};
use crate::inode::Inode;
use crate::space::{Space, length_of};

/// How many decoded bytes of a file are kept, besides those of the extent that was decoded last.
const KEPT: usize = 4 << 20;

/// The content of a compressed file.
#[derive(Debug)]
pub(crate) struct Compressed {
    context: Arc<Context>,
    devices: Arc<Devices>,
    space: Space,
    map: Map,
    decoded: Mutex<Decoded>,
}

/// Extents in memory, the one that was used last in front.
#[derive(Debug, Default)]
struct Decoded {
    extents: VecDeque<(ZExtent, Arc<Vec<u8>>)>,
    bytes: usize,
}

impl Decoded {
    fn find(&mut self, offset: u64) -> Option<(ZExtent, Arc<Vec<u8>>)> {
        let holds = |(extent, _): &(ZExtent, Arc<Vec<u8>>)| (extent.start..extent.end()).contains(&offset);
        let index = self.extents.iter().position(holds)?;
        let found = self.extents.remove(index)?;
        self.extents.push_front(found.clone());
        Some(found)
    }

    fn keep(&mut self, extent: ZExtent, bytes: &Arc<Vec<u8>>) {
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.extents.push_front((extent, Arc::clone(bytes)));
        while self.bytes > KEPT && self.extents.len() > 1 {
            let Some((_, oldest)) = self.extents.pop_back() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.len());
        }
    }
}

/// A run of bytes that can be handed on at once.
pub(crate) enum Run {
    /// So many zeros.
    Hole(u64),
    /// So many bytes that are not compressed, to be read with [`Compressed::read`].
    Plain(u64),
    /// Decoded bytes, from this one on.
    Decoded(Arc<Vec<u8>>, usize),
}

impl Compressed {
    pub(crate) fn open(
        context: Arc<Context>,
        devices: Arc<Devices>,
        space: Space,
        inode: &Inode,
    ) -> Result<Self> {
        let map = Map::open(&context, space.clone(), inode)?;
        Ok(Self { context, devices, space, map, decoded: Mutex::default() })
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// What comes at byte `offset`, which must be below the size of the file.
    pub(crate) fn run(&self, offset: u64) -> Result<Run> {
        let (extent, decoded) = match self.find(offset) {
            Some((extent, bytes)) => (extent, Some(bytes)),
            None => (self.map.extent(offset)?, None),
        };
        let skip = offset.saturating_sub(extent.start);
        let left = extent.length.saturating_sub(skip);
        Ok(match (extent.stored, extent.coding) {
            (Stored::Hole, _) => Run::Hole(left),
            (_, Coding::Compressed(algorithm)) => {
                let bytes = match decoded {
                    Some(bytes) => bytes,
                    None => self.decoded(&extent, algorithm)?,
                };
                Run::Decoded(bytes, in_memory(skip))
            }
            _ => Run::Plain(left),
        })
    }

    /// Fills `buf` from byte `offset` on; all of it must lie within the file.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut rest = buf;
        let mut offset = offset;
        while !rest.is_empty() {
            let length = self.read_some(offset, rest)?;
            rest = rest.get_mut(length..).unwrap_or_default();
            offset = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Fills the first bytes of `buf`, which are those of one extent, and returns how many.
    fn read_some(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if let Some((extent, bytes)) = self.find(offset) {
            return copy(&extent, &bytes, offset, buf);
        }
        let extent = self.map.extent(offset)?;
        let (skip, length) = part_of(&extent, offset, buf);
        let Coding::Compressed(algorithm) = extent.coding else {
            self.read_plain(&extent, skip, buf.get_mut(..length).unwrap_or_default())?;
            return Ok(length);
        };
        if u64::try_from(length) == Ok(extent.length) {
            self.decode_into(&extent, algorithm, buf.get_mut(..length).unwrap_or_default())?;
            return Ok(length);
        }
        copy(&extent, &self.decoded(&extent, algorithm)?, offset, buf)
    }

    fn find(&self, offset: u64) -> Option<(ZExtent, Arc<Vec<u8>>)> {
        self.decoded.lock().unwrap_or_else(PoisonError::into_inner).find(offset)
    }

    /// Bytes that are stored as they are, from byte `skip` of their extent on.
    fn read_plain(&self, extent: &ZExtent, skip: u64, buf: &mut [u8]) -> Result<()> {
        match extent.stored {
            Stored::Hole => buf.fill(0),
            Stored::Fragment { offset } => {
                let packed = self.context.packed.as_ref().ok_or(Cause::NoPackedInode { offset })?;
                let at = offset.saturating_add(skip);
                let length = length_of(buf);
                if at.checked_add(length).is_none_or(|end| end > packed.len()) {
                    let want =
                        format!("an end within the packed inode, which has {}", words::bytes(packed.len()));
                    return Err(FormatError::field("fragment", at, words::bytes(length), want).into());
                }
                packed.read_at(at, buf).map_err(|error| of_packed(error, at, length))?;
            }
            Stored::Inline { byte, .. } => {
                self.space.read("inline pcluster", byte.saturating_add(skip), buf)?;
            }
            Stored::Pcluster { byte, length } if extent.coding == Coding::Interlaced => {
                let bits = self.context.compression.block_bits;
                let split = interlace_split(extent.start, extent.length, bits);
                let head_at = interlace_head_at(extent.start, length, bits)?;
                let head = in_memory(split.saturating_sub(skip)).min(buf.len());
                let (first, second) = buf.split_at_mut(head);
                if !first.is_empty() {
                    self.read_device(byte.saturating_add(head_at).saturating_add(skip), first)?;
                }
                if !second.is_empty() {
                    self.read_device(byte.saturating_add(skip.saturating_sub(split)), second)?;
                }
            }
            Stored::Pcluster { byte, .. } => self.read_device(byte.saturating_add(skip), buf)?,
        }
        Ok(())
    }

    fn read_device(&self, byte: u64, buf: &mut [u8]) -> Result<()> {
        // Pclusters have no device number: their addresses are those of the unified space.
        self.devices.read(0, byte, buf)
    }

    fn decoded(&self, extent: &ZExtent, algorithm: Algorithm) -> Result<Arc<Vec<u8>>> {
        let stored = self.stored(extent)?;
        let mut bytes = vec![0; in_memory(extent.length)];
        self.decode_stored(extent, algorithm, &stored, &mut bytes)?;
        let bytes = Arc::new(bytes);
        self.decoded.lock().unwrap_or_else(PoisonError::into_inner).keep(*extent, &bytes);
        Ok(bytes)
    }

    fn decode_into(&self, extent: &ZExtent, algorithm: Algorithm, buf: &mut [u8]) -> Result<()> {
        let stored = self.stored(extent)?;
        self.decode_stored(extent, algorithm, &stored, buf)
    }

    /// The stored bytes of a pcluster; at most a MiB.
    pub(crate) fn stored(&self, extent: &ZExtent) -> Result<Vec<u8>> {
        match extent.stored {
            Stored::Pcluster { byte, length } => {
                let mut stored = vec![0; in_memory(u64::from(length))];
                self.read_device(byte, &mut stored)?;
                Ok(stored)
            }
            Stored::Inline { byte, length } => {
                self.space.read_vec("inline pcluster", byte, usize::from(length))
            }
            Stored::Hole | Stored::Fragment { .. } => Ok(Vec::new()),
        }
    }

    fn decode_stored(
        &self,
        extent: &ZExtent,
        algorithm: Algorithm,
        stored: &[u8],
        buf: &mut [u8],
    ) -> Result<()> {
        let (Stored::Pcluster { byte, .. } | Stored::Inline { byte, .. }) = extent.stored else {
            return Ok(());
        };
        self.context.work.decoded.take(extent.length)?;
        let bits = self.context.compression.block_bits;
        let window = in_memory(bits.size().saturating_sub(bits.within(byte)));
        let padded = algorithm != Algorithm::Lz4 || self.context.lz4_padding;
        let amount = if extent.partial || !padded { Amount::Part } else { Amount::Whole };
        let input = if padded { strip_padding(stored, window) } else { Ok(stored) };
        let row = self.context.windows.iter().find(|row| row.0 == algorithm);
        let window = row.map_or_else(|| widest(algorithm), |row| row.1);
        input.and_then(|input| decode(algorithm, input, buf, amount, window)).map_err(|source| {
            Cause::Decode { start: extent.start, length: extent.length, at: byte, source }.into()
        })
    }
}

/// The error of reading the packed inode: it is a file of this image, so its own error says most.
fn of_packed(error: io::Error, at: u64, length: u64) -> ImageError {
    error.downcast().unwrap_or_else(|source| {
        let space = "the packed inode".to_owned();
        Cause::Io { what: "fragment", space, at, length, source: Arc::new(source) }.into()
    })
}

fn copy(extent: &ZExtent, bytes: &[u8], offset: u64, buf: &mut [u8]) -> Result<usize> {
    let (skip, length) = part_of(extent, offset, buf);
    let skip = in_memory(skip);
    let from = bytes.get(skip..skip.saturating_add(length));
    let (Some(from), Some(to)) = (from, buf.get_mut(..length)) else {
        return Err(FormatError::limit("extent", length, "bytes that were decoded").into());
    };
    to.copy_from_slice(from);
    Ok(length)
}
