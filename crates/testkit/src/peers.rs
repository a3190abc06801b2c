//! The programs of erofs-utils: a builder and a checker of the same format by other people.
//!
//! They are taken from the directory in `EROFS_PEERS`, or fetched once to `target/peers` by
//! `tools/erofs-utils.sh`, beside the system. The script holds a lock, so that test programs at the same time
//! fetch once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::place;
use crate::require::Absent;

/// Paths of the peer programs.
#[derive(Debug, Clone)]
pub struct Peers {
    /// `mkfs.erofs`, the builder.
    pub mkfs: PathBuf,
    /// `fsck.erofs`, the checker.
    pub fsck: PathBuf,
    /// `dump.erofs`, which prints the structures of an image.
    pub dump: PathBuf,
}

/// The peers, fetched on the first call if need be.
///
/// # Errors
/// When they are not there and cannot be fetched; the reason is the script's last line.
pub fn find() -> std::result::Result<&'static Peers, Absent> {
    static PEERS: OnceLock<std::result::Result<Peers, Absent>> = OnceLock::new();
    PEERS.get_or_init(locate).as_ref().map_err(Clone::clone)
}

fn locate() -> std::result::Result<Peers, Absent> {
    let dir = match std::env::var_os("EROFS_PEERS") {
        Some(dir) => PathBuf::from(dir),
        None => fetch()?,
    };
    let bin = dir.join("bin");
    let peers =
        Peers { mkfs: bin.join("mkfs.erofs"), fsck: bin.join("fsck.erofs"), dump: bin.join("dump.erofs") };
    for program in [&peers.mkfs, &peers.fsck, &peers.dump] {
        if !program.is_file() {
            return Err(Absent::because(format!("{} is not there", program.display())));
        }
    }
    Ok(peers)
}

fn fetch() -> std::result::Result<PathBuf, Absent> {
    let dir = place::target_dir().join("peers");
    run(Command::new(place::workspace().join("tools/erofs-utils.sh")).arg(&dir))
        .map_err(|error| Absent::because(error.to_string()))?;
    Ok(dir)
}

impl Peers {
    /// Builds `image` from `source` with `mkfs.erofs`.
    ///
    /// # Errors
    /// When the program fails.
    pub fn build<S: AsRef<OsStr>>(&self, options: &[S], image: &Path, source: &Path) -> Result<Output> {
        run(Command::new(&self.mkfs).arg("--quiet").args(options).arg(image).arg(source))
    }

    /// Has `fsck.erofs` read every byte of `image`, with these options besides `--extract`.
    ///
    /// # Errors
    /// When the program finds a fault.
    pub fn check<S: AsRef<OsStr>>(&self, options: &[S], image: &Path) -> Result<Output> {
        run(Command::new(&self.fsck).arg("--extract").args(options).arg(image))
    }
}

/// Builds `image` from `source` with the builder at `program`, whose command line is that of `mkfs.erofs`.
///
/// # Errors
/// When the program fails.
pub fn build<S: AsRef<OsStr>>(program: &str, options: &[S], image: &Path, source: &Path) -> Result<Output> {
    run(Command::new(program).args(options).arg(image).arg(source))
}

/// How many lines of what a failed program wrote are kept for the error.
const LAST_LINES: usize = 4;

/// The image that `program` builds of `source` with these options, in a folder of its own.
///
/// # Panics
///
/// If it does not build one.
pub fn image(program: &str, options: &[&str], source: &Path) -> (TempDir, PathBuf) {
    let dir = place::disk_scratch().unwrap_or_else(|error| panic!("{error}"));
    let image = dir.path().join("image");
    if let Err(error) = build(program, options, &image, source) {
        panic!("{options:?}: {error}");
    }
    (dir, image)
}

/// Runs a program to its end and keeps what it wrote.
///
/// # Errors
/// When it cannot start or ends with another status than 0; the error has the last lines that it wrote.
pub fn run(command: &mut Command) -> Result<Output> {
    let program = format!("{command:?}");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            return Err(Error::Command { program, outcome: error.to_string(), output: String::new() });
        }
    };
    if output.status.success() {
        return Ok(output);
    }
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    let output_lines = lines.get(from..).unwrap_or_default().join(" / ");
    Err(Error::Command { program, outcome: output.status.to_string(), output: output_lines })
}
