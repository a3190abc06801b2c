//! `mkfs-erofs` as users and scripts meet it: wording, exit codes, the summary, and what happens to files
//! when a run fails.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

mod identity;
mod output;
mod places;
mod rootless;
mod sets;
mod signatures;
mod source;
mod words;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_testkit::peers::run;
use erofs_testkit::place;
use erofs_testkit::require::Absent;
use tempfile::TempDir;

/// The program under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
/// The other one.
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
/// An unprivileged user and group of nobody in particular.
const SOMEONE: u32 = 65_534;

/// A program of another package.
fn program(name: &str, package: &str) -> Result<PathBuf, Absent> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps programs for administrators, which is not in the path of others.
    let folders = std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| Absent::because(format!("{name} is not on this machine (package {package})")))
}

/// The tool that makes system calls fail.
fn strace() -> Result<PathBuf, Absent> {
    let strace = program("strace", "strace")?;
    // Some sandboxes let nobody trace.
    let works = run(Command::new(&strace).args(["-qq", "-o/dev/null", "true"]));
    works.map_err(|error| Absent::because(error.to_string()))?;
    Ok(strace)
}

/// What a run said and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.env_remove("SOURCE_DATE_EPOCH").output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Done, without a word on stderr.
    fn assert_done(&self) -> &Self {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self
    }

    /// Ended with this code, nothing on stdout, and one line on stderr that begins like this.
    fn assert_refused(&self, code: i32, line: &str) -> &Self {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.stderr.starts_with(&format!("mkfs-erofs: {line}")), "want {line}: {self:?}");
        assert_eq!(self.stderr.matches('\n').count(), 1, "{self:?}");
        assert!(self.stderr.ends_with('\n') && !self.stderr.ends_with(".\n"), "{self:?}");
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A folder with a small source tree in it and room for images beside it.
struct Room {
    dir: TempDir,
}

impl Room {
    /// In memory, where extended attributes work.
    fn new() -> Self {
        let dir = place::scratch().unwrap();
        let room = Self { dir };
        fs::create_dir_all(room.source().join("sub")).unwrap();
        fs::write(room.source().join("a"), vec![b'a'; 5000]).unwrap();
        fs::write(room.source().join("sub/b"), vec![b'a'; 5000]).unwrap();
        fs::write(room.source().join("empty"), "").unwrap();
        fs::hard_link(room.source().join("a"), room.source().join("link")).unwrap();
        std::os::unix::fs::symlink("a", room.source().join("symlink")).unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// Builds `image` from the source.
    fn build<S: AsRef<OsStr>>(&self, flags: &[S], image: &Path) -> Ran {
        Ran::of(Command::new(MKFS).args(flags).arg(image).arg(self.source()))
    }

    /// The bytes of an image of the source.
    fn image<S: AsRef<OsStr>>(&self, flags: &[S]) -> Vec<u8> {
        let image = self.path("reference.img");
        let ran = self.build(flags, &image);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let bytes = fs::read(&image).unwrap();
        fs::remove_file(image).unwrap();
        bytes
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}
