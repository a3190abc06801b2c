//! The bytes of an inode with its xattrs and its table, and those of a directory.

use erofs_format::FormatError;
use erofs_format::datalayout::DataLayout;
use erofs_format::dirent::{self, Dirent};
use erofs_format::inode::{self, Mtime, Version};
use erofs_tree::{InodeId, Kind};

use super::dirs::{Target, file_type, with_dots};
use super::place::Layout;
use super::table::Made;

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
            Kind::File { .. } | Kind::Directory { .. } | Kind::Symlink { .. } | Kind::Fifo | Kind::Socket => {
                (made.layout, made.i_u)
            }
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
        let mut inode = record.encode()?;
        encode_table(made, 0, &mut inode);
        Ok(inode)
    }
}

/// Appends the table of the inode that starts at byte `start` of `out`. Inodes stand on multiples of 32, so
/// what aligns a table is the length in front of it alone.
fn encode_table(made: &Made, start: usize, out: &mut Vec<u8>) {
    if !made.table.is_empty() {
        let header = out.len() - start;
        out.resize(start + header.next_multiple_of(made.alignment), 0);
        out.extend_from_slice(&made.table);
    }
}

/// The bytes of a directory: whole blocks padded with zeros, then the last one as far as it goes.
pub(crate) fn encode_directory(
    layout: &Layout<'_>,
    id: InodeId,
    parent: InodeId,
) -> Result<Vec<u8>, FormatError> {
    let headers = &layout.headers;
    let (tree, block_bits) = (headers.tree, headers.block_bits);
    let entries = tree.inodes[id.index()].entries();
    let blocks = headers.directory_plan(entries);
    let mut names = with_dots(entries, headers.dot_omitted());
    let mut bytes = Vec::with_capacity(blocks.len() * block_bits.bytes());
    let mut block = Vec::new();
    for (number, planned) in blocks.iter().enumerate() {
        block.clear();
        for (name, target) in names.by_ref().take(planned.entries) {
            let inode = match target {
                Target::Itself => id,
                Target::Parent => parent,
                Target::Child(child) => child,
            };
            let file_type = Some(file_type(&tree.inodes[inode.index()]));
            block.push(Dirent { nid: layout.nid_of(inode)?, file_type, name });
        }
        bytes.resize(number * block_bits.bytes(), 0);
        dirent::encode_block(&block, &mut bytes)?;
    }
    Ok(bytes)
}
