//! A directory and a tar archive of it give the same image; a stream gives one that is as good.

use std::fs::{self, File};
use std::io::BufReader;
use std::process::Command;

use erofs_builder::{BuildOptions, ImageFile, build, build_stream};
use erofs_testkit::require::{need, program, root};
use erofs_testkit::trees::one_of_each;
use erofs_tree::{DirOptions, DirSource, Silent, TarOptions, TarSource, TarStream};

#[test]
fn a_directory_and_its_archive_give_the_same_image() {
    let found = program("tar").and_then(|tar| root().map(|()| tar));
    let Some(_) = need("images of archives that GNU tar makes", found) else { return };
    let tree = one_of_each().unwrap();
    // GNU tar does not archive sockets, and takes two names of a pipe for two pipes.
    let find = ["(", "-type", "s", "-o", "-type", "p", "-name", "*again", ")", "-delete"];
    assert!(Command::new("find").arg(tree.path()).args(find).status().unwrap().success());
    erofs_testkit::trees::set_times(tree.path(), 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    let options = ["--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-S", "-cf"];
    let status =
        Command::new("tar").args(options).arg(&archive).args(["-C"]).arg(tree.path()).arg(".").status();
    assert!(status.unwrap().success());

    let image = |name: &str| ImageFile::create(&folder.path().join(name), 0).unwrap();
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let options = BuildOptions::default();
    let mut directory = DirSource::new(tree.path(), DirOptions::default()).unwrap();
    let wanted = build(&mut directory, image("directory"), &options, &Silent).unwrap();
    let mut source = TarSource::open(&archive, TarOptions::default()).unwrap();
    build(&mut source, image("archive"), &options, &Silent).unwrap();
    assert!(bytes("archive") == bytes("directory"), "the images differ");

    let mut stream =
        TarStream::new(BufReader::new(File::open(&archive).unwrap()), "-", &TarOptions::default());
    let found = build_stream(&mut stream, image("stream"), &options, &Silent).unwrap();
    assert_eq!((found.inodes, found.hard_links), (wanted.inodes, wanted.hard_links));
    assert_eq!((found.files, found.logical_bytes), (wanted.files, wanted.logical_bytes));
}
