//! The names of directories: `.` and `..` among them, in byte order.

use erofs_format::filetype::FileType;
use erofs_tree::{Entry, Inode, InodeId, Kind};

/// The names of a directory with `..` and, unless it is omitted, `.` at their places.
pub(crate) fn names(entries: &[Entry], dot_omitted: bool) -> impl Iterator<Item = &[u8]> {
    with_dots(entries, dot_omitted).map(|(name, _)| name)
}

/// The target of a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Itself,
    Parent,
    Child(InodeId),
}

/// The same with what each name leads to.
pub(super) fn with_dots(entries: &[Entry], dot_omitted: bool) -> impl Iterator<Item = (&[u8], Target)> {
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
