//! Under the name `mkfs.erofs`: the command lines of known callers, option by option what is taken and what
//! is refused, and what installers look for in the program.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

mod archives;
mod callers;
mod options;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use erofs_testkit::place;
use tempfile::TempDir;

/// The program under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");

/// A folder on a disk, with the program under the name of erofs-utils.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let dir = place::disk_scratch().unwrap();
        symlink(MKFS, dir.path().join("mkfs.erofs")).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self) -> PathBuf {
        self.path("mkfs.erofs")
    }

    /// A small source.
    fn source(&self) -> PathBuf {
        let source = self.path("source");
        fs::create_dir_all(source.join("etc")).unwrap();
        fs::write(source.join("etc/file"), vec![b'a'; 20_000]).unwrap();
        fs::write(source.join("copy"), vec![b'a'; 20_000]).unwrap();
        source
    }
}

/// Runs `program` in the folder `source`; of its words, `IMG`, `DIR` and `HINTS` are paths.
fn run(program: &Path, words: &str, image: &Path, source: &Path, hints: &Path) -> Output {
    let mut command = Command::new(program);
    command.env_remove("SOURCE_DATE_EPOCH").current_dir(source);
    for word in words.split_whitespace() {
        match word {
            "IMG" => command.arg(image),
            "DIR" => command.arg(source),
            "HINTS" => command.arg(hints),
            "''" => command.arg(""),
            word => command.arg(word),
        };
    }
    command.output().unwrap()
}
