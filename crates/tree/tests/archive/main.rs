//! Tar archives as sources, beside what GNU tar unpacks.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod compressed;
#[path = "../../../tar/tests/archives/make.rs"]
#[expect(dead_code, reason = "it is made for the parser's own tests")]
mod make;
mod rules;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use erofs_testkit::place::scratch;
use erofs_testkit::require::{need, program, root};
use erofs_testkit::trees::one_of_each;
use erofs_tree::{
    ContentRef, DirOptions, DirSource, Kind, Silent, Source, Stream, TarOptions, TarSource, TarStream, Tree,
};

/// The tree with content references in the order of inodes, and the contents in that order.
fn numbered(mut tree: Tree, mut content: impl FnMut(ContentRef, u64) -> Vec<u8>) -> (Tree, Vec<Vec<u8>>) {
    let mut contents = Vec::new();
    for inode in &mut tree.inodes {
        if let Kind::File { size, content: reference } = &mut inode.kind {
            contents.push(content(*reference, *size));
            *reference = ContentRef(u32::try_from(contents.len()).unwrap());
        }
    }
    (tree, contents)
}

fn whole(source: &mut dyn Source) -> (Tree, Vec<Vec<u8>>) {
    let tree = source.scan(&Silent).unwrap();
    numbered(tree, |reference, size| {
        let content = source.open(reference).unwrap();
        let mut bytes = vec![7; usize::try_from(size).unwrap()];
        assert_eq!(content.read_at(0, &mut bytes).unwrap(), bytes.len());
        // Everything that is said to be a hole is zeros, and so is what is read in pieces.
        let mut at = 0;
        while at < size {
            let data = content.data_from(at);
            assert!(
                bytes[usize::try_from(at).unwrap()..usize::try_from(data).unwrap()]
                    .iter()
                    .all(|&byte| byte == 0)
            );
            let mut piece = [1; 1000];
            let count = content.read_at(data, &mut piece).unwrap();
            assert_eq!(piece[..count], bytes[usize::try_from(data).unwrap()..][..count]);
            at = data + 100_000;
        }
        content.finish().unwrap();
        bytes
    })
}

fn streamed(stream: &mut dyn Stream) -> (Tree, Vec<Vec<u8>>) {
    let mut contents = HashMap::new();
    while let Some(file) = stream.next().unwrap() {
        let mut bytes = vec![7; usize::try_from(file.size).unwrap()];
        for piece in bytes.chunks_mut(777) {
            stream.read(piece).unwrap();
        }
        assert!(contents.insert(file.content, bytes).is_none());
    }
    let tree = stream.finish().unwrap();
    numbered(tree, |reference, _| contents.get(&reference).cloned().unwrap_or_default())
}

/// Compares both ways of reading an archive with the directory that GNU tar makes of it.
fn compare(archive: &Path, what: &str) {
    // File systems on disks hold fewer attributes than the tree has.
    let out = scratch().unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "--atime-preserve", "-xpf"]);
    let output = tar.arg(archive).arg("-C").arg(out.path()).output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    let wanted = whole(&mut DirSource::new(out.path(), DirOptions::default()).unwrap());
    let options = TarOptions::default();
    let mut source = TarSource::open(archive, options.clone()).unwrap();
    let found = whole(&mut source);
    same(&found, &wanted, what);
    let mut stream = TarStream::new(File::open(archive).unwrap(), "-", &options);
    same(&streamed(&mut stream), &wanted, what);
    let mut spooled = TarSource::spooled(File::open(archive).unwrap(), "-", options).unwrap();
    same(&whole(&mut spooled), &wanted, what);
}

fn same(found: &(Tree, Vec<Vec<u8>>), wanted: &(Tree, Vec<Vec<u8>>), what: &str) {
    for ((id, inode), wanted) in found.0.iter().zip(&wanted.0.inodes) {
        let path = found.0.path_of(id).escape_ascii().to_string();
        let (short, other) = (format!("{inode:?}"), format!("{wanted:?}"));
        assert!(inode == wanted, "{what}: {path}: {short:.300} and {other:.300}");
    }
    assert_eq!(found.0.len(), wanted.0.len(), "{what}");
    assert!(found.1 == wanted.1, "{what}: contents");
}

#[test]
fn trees_are_those_that_gnu_tar_unpacks() {
    let found = program("tar").and_then(|tar| root().map(|()| tar));
    let Some(_) = need("archives unpacked by GNU tar as root", found) else { return };
    let source = one_of_each().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    for format in [
        "--format=gnu",
        "--format=posix --xattrs --xattrs-include=*",
        "--format=gnu -S",
        "--format=posix -S --xattrs",
    ] {
        // Sockets are not archived.
        let command = format!("tar --numeric-owner {format} -cf {} .", archive.display());
        let output = Command::new("sh").args(["-c", &command]).current_dir(source.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        compare(&archive, format);
    }
    fs::remove_file(archive).unwrap();
}

#[test]
fn a_stream_that_is_cut_is_an_error() {
    let bytes = make::archive(&[make::file(b"a", &[b'x'; 2000])]);
    let mut stream = TarStream::new(Cursor::new(&bytes[..1000]), "-", &TarOptions::default());
    let file = stream.next().unwrap().unwrap();
    assert_eq!((file.size, file.path.as_slice()), (2000, &b"a"[..]));
    let error = stream.read(&mut [0; 2000]).unwrap_err().to_string();
    assert_eq!(
        error,
        "-: tar archive, byte 1000: content: found the end of the input, wanted the rest of a file"
    );
}
