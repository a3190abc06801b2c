//! The bytes of a file: extents become copies and zeros. A file inside an image is a [`ReadAt`] again.

use std::io;
use std::sync::Arc;

use erofs_format::extent::{Extent, Place};

use crate::device::Devices;
use crate::error::Result;
use crate::inode::Inode;
use crate::map;
use crate::read_at::ReadAt;
use crate::space::{Space, length_of};

/// How many bytes a copy moves at once.
const PIECE: usize = 1 << 18;

/// The content of an inode.
#[derive(Debug, Clone)]
pub struct FileData {
    devices: Arc<Devices>,
    space: Space,
    algorithms: Arc<str>,
    inode: Inode,
}

/// A piece of a file, in order: bytes, or zeros that are stored nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many zeros.
    Hole(u64),
}

impl FileData {
    pub(crate) fn new(devices: Arc<Devices>, space: Space, algorithms: Arc<str>, inode: Inode) -> Self {
        Self { devices, space, algorithms, inode }
    }

    /// The inode.
    pub fn inode(&self) -> &Inode {
        &self.inode
    }

    /// Length in bytes; 0 for files without content, such as device nodes.
    pub fn len(&self) -> u64 {
        if self.inode.has_data() { self.inode.size() } else { 0 }
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The extent that holds byte `offset`; it may start before. An error at or past the end.
    pub fn map(&self, offset: u64) -> Result<Extent> {
        map::map(&self.devices, &self.space, &self.algorithms, &self.inode, offset)
            .map_err(|error| error.at_nid(self.inode.nid))
    }

    /// Fills `buf` from `offset` on, up to the end of the file, and returns how many bytes that was. 0 at or past the end.
    pub fn read_range(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buf.len());
        let mut rest = buf.get_mut(..wanted).unwrap_or_default();
        let mut offset = offset;
        while !rest.is_empty() {
            let extent = self.map(offset)?;
            let skip = offset.saturating_sub(extent.start);
            let length = usize::try_from(extent.length.saturating_sub(skip)).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_mut(length.min(rest.len()));
            self.fill(extent.place, skip, now).map_err(|error| error.at_nid(self.inode.nid))?;
            offset = offset.saturating_add(length_of(now));
            rest = later;
        }
        Ok(wanted)
    }

    fn fill(&self, place: Place, skip: u64, buf: &mut [u8]) -> Result<()> {
        match place {
            Place::Hole => buf.fill(0),
            Place::Device { device, byte } => self.devices.read(device, byte.saturating_add(skip), buf)?,
            Place::Inline { byte } => self.space.read("inline data", byte.saturating_add(skip), buf)?,
        }
        Ok(())
    }

    /// Hands every byte of the file to `sink`, in order and in pieces of bounded length. Holes are not read.
    pub fn copy<E>(
        &self,
        mut sink: impl FnMut(Piece<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E>
    where
        E: From<crate::ImageError>,
    {
        let mut offset = 0;
        let mut buf = Vec::new();
        while offset < self.len() {
            let extent = self.map(offset)?;
            let end = extent.start.saturating_add(extent.length);
            if extent.place == Place::Hole {
                sink(Piece::Hole(end.saturating_sub(offset)))?;
                offset = end;
                continue;
            }
            let length = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(PIECE);
            buf.resize(length, 0);
            let skip = offset.saturating_sub(extent.start);
            self.fill(extent.place, skip, &mut buf).map_err(|error| error.at_nid(self.inode.nid))?;
            sink(Piece::Bytes(&buf))?;
            offset = offset.saturating_add(length_of(&buf));
        }
        Ok(())
    }
}

impl ReadAt for FileData {
    fn len(&self) -> u64 {
        Self::len(self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let length = length_of(buf);
        if offset.checked_add(length).is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_range(offset, buf)?;
        Ok(())
    }
}
