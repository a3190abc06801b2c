//! The bytes of an inode with its xattrs, and of the chunk table behind it.

use erofs_format::FormatError;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{self, ChunkAddress, ChunkFormat};
use erofs_format::inode::{self, Mtime, Version};
use erofs_format::map_header;
use erofs_tree::{InodeId, Kind};

use super::dirs::file_type;
use super::plan::{Placed, Plan};

/// Where the bytes of a file are, as the content stage found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// Consecutive blocks from this one on; the tail is behind the inode if the plan says so.
    Flat {
        /// First block.
        start: u64,
    },
    /// Pclusters.
    Compressed {
        /// Compact or full.
        layout: DataLayout,
        /// Blocks that the pclusters take.
        blocks: u32,
        /// Map header and index, to stand at a multiple of 8.
        table: Vec<u8>,
    },
    /// Chunks, each with a first block or none.
    Chunks {
        /// How the table is stored.
        format: ChunkFormat,
        /// One entry for each chunk; `u32::MAX` for a hole.
        blocks: std::sync::Arc<[u32]>,
    },
}

/// The block number of a chunk table that means "hole".
pub(crate) const HOLE: u32 = u32::MAX;

impl Data {
    /// Bytes that stand for the places, for the image's UUID.
    pub(crate) fn to_key(&self) -> Vec<u8> {
        match self {
            Self::Flat { start } => start.to_le_bytes().to_vec(),
            Self::Compressed { table, .. } => table.clone(),
            Self::Chunks { format, blocks } => {
                let blocks = blocks.iter().flat_map(|block| block.to_le_bytes());
                format.encode().to_le_bytes().into_iter().chain(blocks).collect()
            }
        }
    }

    /// Bytes that the inode's table takes, alignment left out.
    pub(crate) fn table_size(&self) -> u64 {
        match self {
            Self::Flat { .. } => 0,
            Self::Compressed { table, .. } => table.len() as u64,
            Self::Chunks { format, blocks } => (format.entry_size() * blocks.len()) as u64,
        }
    }
}

impl Plan<'_> {
    /// Appends inode and xattrs of `id`, which is stored as `placed` says, and its chunk table if it has one. What
    /// `data` means for other than regular files: the first block of a directory or a long symlink.
    pub(crate) fn encode_inode(
        &self,
        id: InodeId,
        placed: &Placed,
        data: &Data,
        fingerprint: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let source = &self.tree.inodes[id.index()];
        let (layout, i_u) = match (&source.kind, data) {
            (Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor }, _) => {
                (DataLayout::FlatPlain, inode::encode_device(*major, *minor)?)
            }
            (_, Data::Chunks { format, .. }) => (DataLayout::ChunkBased, format.encode()),
            (_, Data::Compressed { layout, blocks, .. }) => (*layout, *blocks),
            (_, Data::Flat { start }) => (placed.layout, block_32(*start)?),
        };
        let mtime = match placed.version {
            Version::Compact => Mtime::SinceEpoch(0),
            Version::Extended => Mtime::Absolute { sec: source.mtime.sec, nsec: source.mtime.nsec },
        };
        let start = out.len();
        let record = inode::Inode {
            version: placed.version,
            layout,
            bit4: self.dot_omitted() && source.is_directory(),
            xattr_icount: inode::xattr_icount(placed.xattr_size as usize)?,
            mode: source.permissions | file_type(source).mode_bits(),
            size: self.size_of(source),
            mtime,
            i_u,
            hi: 0,
            ino: placed.serial,
            uid: source.uid,
            gid: source.gid,
            nlink: source.links,
        };
        out.extend_from_slice(&record.encode()?);
        self.xattrs.encode_body(source, fingerprint, out)?;
        let header = start + placed.version.size() + placed.xattr_size as usize;
        if out.len() > header {
            return Err(FormatError::limit("xattrs of an inode", out.len() - start, placed.header_size()));
        }
        out.resize(header, 0);
        self.encode_table(data, start, out)
    }

    /// Appends what follows the inode that starts at byte `start` of `out` and its xattrs: the map header with the index, or the
    /// chunk table.
    pub(crate) fn encode_table(
        &self,
        data: &Data,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        // Inodes stand on multiples of 32, so what aligns a table is the length in front of it alone.
        let header = out.len() - start;
        if let Data::Compressed { table, .. } = data {
            out.resize(start + header.next_multiple_of(map_header::SIZE), 0);
            out.extend_from_slice(table);
        }
        if let Data::Chunks { format, blocks } = data {
            out.resize(start + header.next_multiple_of(format.entry_size()), 0);
            for &block in blocks.iter() {
                let address = (block != HOLE).then(|| self.chunk_address(block));
                chunk::encode_entry(*format, address, out)?;
            }
        }
        Ok(())
    }

    /// A block of the unified address space by its device. Linux reads both forms alike; erofs-utils (1.9.4) reads from
    /// the primary device whatever does not name another.
    fn chunk_address(&self, block: u32) -> ChunkAddress {
        match self.device_at.and_then(|start| block.checked_sub(start)) {
            Some(block) => ChunkAddress { device: 1, block: u64::from(block) },
            None => ChunkAddress { device: 0, block: u64::from(block) },
        }
    }
}

/// A block address in 32 bits, below the one that means "nowhere".
pub(crate) fn block_32(block: u64) -> Result<u32, FormatError> {
    u32::try_from(block)
        .ok()
        .filter(|&narrow| narrow != HOLE)
        .ok_or_else(|| FormatError::limit("block address", block, "fewer than 2^32 - 1 blocks"))
}
