//! The bytes of a file: extents become copies, zeros and decoded pclusters. A file inside an image is a
//! [`ReadAt`] again.

use std::io;
use std::sync::Arc;

use erofs_format::compression::Algorithm;
use erofs_format::extent::{Extent, Place, Stored, ZExtent};
use erofs_format::map_header::MapHeader;

use crate::context::Context;
use crate::device::Devices;
use crate::error::Result;
use crate::inode::Inode;
use crate::map;
use crate::pcluster::{Compressed, Run};
use crate::read_at::ReadAt;
use crate::space::{Space, length_of};

/// How many bytes a copy moves at once.
const PIECE: usize = 1 << 18;

/// The content of an inode. Clones share what is kept of a compressed file.
#[derive(Debug, Clone)]
pub struct FileData {
    devices: Arc<Devices>,
    space: Space,
    inode: Inode,
    compressed: Option<Arc<Compressed>>,
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
    /// The content of an inode; of a compressed one the map header is read.
    pub(crate) fn open(
        devices: Arc<Devices>,
        space: Space,
        context: &Arc<Context>,
        inode: Inode,
    ) -> Result<Self> {
        let filled = inode.has_data() && inode.size() > 0;
        let compressed = if filled && inode.layout().is_compressed() {
            let opened = Compressed::open(Arc::clone(context), Arc::clone(&devices), space.clone(), &inode);
            Some(Arc::new(opened.map_err(|error| error.at_nid(inode.nid))?))
        } else {
            None
        };
        Ok(Self { devices, space, inode, compressed })
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

    /// The extent that holds byte `offset`; it may start before. An error at or past the end. What is stored
    /// of a compressed file is [`Place::Encoded`]; [`FileData::zmap`] says more.
    pub fn map(&self, offset: u64) -> Result<Extent> {
        match self.zmap(offset)? {
            None => map::map(&self.devices, &self.space, &self.inode, offset)
                .map_err(|error| error.at_nid(self.inode.nid)),
            Some(extent) => {
                let hole = extent.stored == Stored::Hole;
                let place = if hole { Place::Hole } else { Place::Encoded(extent.stored) };
                Ok(Extent { start: extent.start, length: extent.length, place })
            }
        }
    }

    /// The first byte within a page of `page` bytes at which Linux begins another extent: the page has its
    /// bytes in several places. Nothing if every page has them in one, and for compressed files.
    ///
    /// Linux 7.2.13 and 7.3.4 read such a page wrong, or crash, where files share page cache (`inode_share`):
    /// the inode that holds the shared pages has blocks of one page, so `iomap_read_folio_iter` takes the
    /// page as read when the first extent has come. Only blocks that are smaller than a page lead there.
    ///
    /// # Errors
    /// A chunk table that cannot be read.
    pub fn extent_within_page(&self, page: u64) -> Result<Option<u64>> {
        if self.is_empty() || self.devices.block_bits().size() >= page {
            return Ok(None);
        }
        map::extent_within_page(&self.devices, &self.space, &self.inode, page)
            .map_err(|error| error.at_nid(self.inode.nid))
    }

    /// The extent of a compressed file that holds byte `offset`; it may start before. `None` for files that
    /// are not compressed, an error at or past the end.
    pub fn zmap(&self, offset: u64) -> Result<Option<ZExtent>> {
        let extent = self.compressed.as_ref().map(|compressed| compressed.map().extent(offset)).transpose();
        extent.map_err(|error| error.at_nid(self.inode.nid))
    }

    /// Whether Linux finds the same extents of a compressed file from every byte; right for other files.
    /// Reads the whole index.
    pub fn check_map(&self) -> Result<()> {
        let checked = self.compressed.as_ref().map_or(Ok(()), |compressed| compressed.map().check());
        checked.map_err(|error| error.at_nid(self.inode.nid))
    }

    /// The algorithms that the map header of a compressed file names; none with extent records, which name
    /// them one by one.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        self.compressed.as_ref().map(|compressed| compressed.map().algorithms()).unwrap_or_default()
    }

    /// The map header of a compressed file, which says in which form its extents are stored; `None` for other
    /// files.
    pub fn map_header(&self) -> Option<MapHeader> {
        self.compressed.as_ref().map(|compressed| compressed.map().header())
    }

    /// The stored bytes of an extent of a compressed file, as they are: at most a MiB, none of holes and
    /// fragments. `extent` must be one that [`FileData::zmap`] gave.
    pub fn stored(&self, extent: &ZExtent) -> Result<Vec<u8>> {
        let stored = self.compressed.as_ref().map(|compressed| compressed.stored(extent));
        stored.unwrap_or_else(|| Ok(Vec::new())).map_err(|error| error.at_nid(self.inode.nid))
    }

    /// Fills `buf` from `offset` on, up to the end of the file, and returns how many bytes that was. 0 at or
    /// past the end.
    pub fn read_range(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buf.len());
        let buf = buf.get_mut(..wanted).unwrap_or_default();
        match &self.compressed {
            Some(compressed) => compressed.read(offset, buf),
            None => self.read_plain(offset, buf),
        }
        .map_err(|error| error.at_nid(self.inode.nid))?;
        Ok(wanted)
    }

    fn read_plain(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut rest = buf;
        let mut offset = offset;
        while !rest.is_empty() {
            let extent = self.map(offset)?;
            let skip = offset.saturating_sub(extent.start);
            let length = usize::try_from(extent.length.saturating_sub(skip)).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_mut(length.min(rest.len()));
            self.fill(extent.place, skip, now)?;
            offset = offset.saturating_add(length_of(now));
            rest = later;
        }
        Ok(())
    }

    fn fill(&self, place: Place, skip: u64, buf: &mut [u8]) -> Result<()> {
        match place {
            // Nothing of a file that is not compressed is encoded.
            Place::Hole | Place::Encoded(_) => buf.fill(0),
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
            let length = match self.run(offset)? {
                Run::Hole(length) => {
                    sink(Piece::Hole(length))?;
                    length
                }
                Run::Decoded(bytes, skip) => {
                    let bytes = bytes.get(skip..).unwrap_or_default();
                    sink(Piece::Bytes(bytes))?;
                    length_of(bytes)
                }
                Run::Plain(length) => {
                    buf.resize(usize::try_from(length).unwrap_or(usize::MAX).min(PIECE), 0);
                    self.read_range(offset, &mut buf)?;
                    sink(Piece::Bytes(&buf))?;
                    length_of(&buf)
                }
            };
            offset = offset.saturating_add(length);
        }
        Ok(())
    }

    /// What comes at byte `offset`, which must be below the length; never of length 0.
    fn run(&self, offset: u64) -> Result<Run> {
        if let Some(compressed) = &self.compressed {
            return compressed.run(offset).map_err(|error| error.at_nid(self.inode.nid));
        }
        let extent = self.map(offset)?;
        let left = extent.start.saturating_add(extent.length).saturating_sub(offset);
        Ok(if extent.place == Place::Hole { Run::Hole(left) } else { Run::Plain(left) })
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
