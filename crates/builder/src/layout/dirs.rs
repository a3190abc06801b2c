//! Directories: `.` and `..` among the names, in byte order.

use erofs_format::FormatError;
use erofs_format::dirent::{self, Dirent};
use erofs_format::filetype::FileType;
use erofs_tree::{Entry, Inode, InodeId, Kind};

use super::place::Layout;

/// The names of a directory with `..` and, unless it is omitted, `.` at their places.
pub(crate) fn names(entries: &[Entry], dot_omitted: bool) -> impl Iterator<Item = &[u8]> {
    with_dots(entries, dot_omitted).map(|(name, _)| name)
}

/// The target of a name.
#[derive(Debug, Clone, Copy)]
enum Target {
    Itself,
    Parent,
    Child(InodeId),
}

fn with_dots(entries: &[Entry], dot_omitted: bool) -> impl Iterator<Item = (&[u8], Target)> {
    let before = |name: &'static [u8]| entries.partition_point(move |entry| *entry.name < *name);
    let (dot, dots) = (before(b"."), before(b".."));
    let children = |range: std::ops::Range<usize>| {
        entries[range].iter().map(|entry| (&*entry.name, Target::Child(entry.inode)))
    };
    children(0..dot)
        .chain((!dot_omitted).then_some((&b"."[..], Target::Itself)))
        .chain(children(dot..dots))
        .chain([(&b".."[..], Target::Parent)])
        .chain(children(dots..entries.len()))
}

/// The type of an inode as directory entries store it.
pub(crate) fn file_type(inode: &Inode) -> FileType {
    match inode.kind {
        Kind::File { .. } => FileType::Regular,
        Kind::Directory { .. } => FileType::Directory,
        Kind::Symlink { .. } => FileType::Symlink,
        Kind::CharDevice { .. } => FileType::CharDevice,
        Kind::BlockDevice { .. } => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}

/// The bytes of a directory: whole blocks padded with zeros, then the last one as far as it goes.
pub(crate) fn encode(layout: &Layout<'_>, id: InodeId, parent: InodeId) -> Result<Vec<u8>, FormatError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_where_their_bytes_put_them() {
        let entry = |name: &str| Entry { name: name.as_bytes().into(), inode: InodeId(0) };
        let entries: Vec<Entry> = ["!", "-", ".!", "...", "a"].map(entry).into();
        let sorted: Vec<&[u8]> = names(&entries, false).collect();
        assert_eq!(sorted, [&b"!"[..], b"-", b".", b".!", b"..", b"...", b"a"]);
        assert!(sorted.is_sorted());
        assert_eq!(names(&[], false).collect::<Vec<_>>(), [&b"."[..], b".."]);
        assert_eq!(names(&entries[..2], true).collect::<Vec<_>>(), [&b"!"[..], b"-", b".."]);
    }
}
