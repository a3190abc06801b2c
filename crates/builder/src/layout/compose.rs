//! The bytes of an inode with its xattrs and its table.

use erofs_format::FormatError;
use erofs_format::datalayout::DataLayout;
use erofs_format::inode::{self, Mtime, Version};
use erofs_tree::{InodeId, Kind};

use super::dirs::file_type;
use super::place::Layout;
use super::table::Made;

/// The block number of a chunk table that means "hole".
const HOLE: u32 = u32::MAX;

/// The file type of an internal inode.
const S_IFREG: u16 = 0o100_000;

impl Layout<'_> {
    /// Appends inode and xattrs of `id`, and its table if it has one.
    pub(crate) fn encode_inode(
        &self,
        id: InodeId,
        made: &Made,
        fingerprint: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let headers = &self.headers;
        let (source, placed) = (&headers.tree.inodes[id.index()], &self.placed[id.index()]);
        let (layout, i_u) = match source.kind {
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                (DataLayout::FlatPlain, inode::encode_device(major, minor)?)
            }
            _ => (made.layout, made.i_u),
        };
        let mtime = match placed.version {
            Version::Compact => Mtime::SinceEpoch(0),
            Version::Extended => Mtime::Absolute { sec: source.mtime.sec, nsec: source.mtime.nsec },
        };
        let start = out.len();
        let record = inode::Inode {
            version: placed.version,
            layout,
            bit4: headers.dot_omitted() && source.is_directory(),
            xattr_icount: inode::xattr_icount(placed.xattr_size as usize)?,
            mode: source.permissions | file_type(source).mode_bits(),
            size: headers.size_of(source),
            mtime,
            i_u,
            hi: 0,
            ino: placed.serial,
            uid: source.uid,
            gid: source.gid,
            nlink: source.links,
        };
        out.extend_from_slice(&record.encode()?);
        headers.xattrs.encode_body(source, fingerprint, out)?;
        let header = start + placed.version.size() + placed.xattr_size as usize;
        if out.len() > header {
            return Err(FormatError::limit("xattrs of an inode", out.len() - start, placed.header_size()));
        }
        out.resize(header, 0);
        encode_table(made, start, out);
        Ok(())
    }

    /// The bytes of an internal inode of `size` bytes of content, with its table.
    pub(crate) fn encode_internal(
        &self,
        serial: u32,
        size: u64,
        made: &Made,
    ) -> Result<Vec<u8>, FormatError> {
        let record = inode::Inode {
            version: Version::Extended,
            layout: made.layout,
            bit4: false,
            xattr_icount: 0,
            mode: S_IFREG,
            size,
            mtime: Mtime::Absolute { sec: self.headers.epoch.sec, nsec: self.headers.epoch.nsec },
            i_u: made.i_u,
            hi: 0,
            ino: serial,
            uid: 0,
            gid: 0,
            nlink: 1,
        };
        let mut inode = record.encode()?.to_vec();
        encode_table(made, 0, &mut inode);
        Ok(inode)
    }
}

/// Appends the table of the inode that starts at byte `start` of `out`. Inodes stand on multiples of 32, so what aligns a table
/// is the length in front of it alone.
fn encode_table(made: &Made, start: usize, out: &mut Vec<u8>) {
    if !made.table.is_empty() {
        let header = out.len() - start;
        out.resize(start + header.next_multiple_of(made.alignment), 0);
        out.extend_from_slice(&made.table);
    }
}

/// A block address in 32 bits, below the one that means "nowhere".
pub(crate) fn block_32(block: u64) -> Result<u32, FormatError> {
    u32::try_from(block)
        .ok()
        .filter(|&narrow| narrow != HOLE)
        .ok_or_else(|| FormatError::limit("block address", block, "fewer than 2^32 - 1 blocks"))
}
