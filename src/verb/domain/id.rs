//! `domain new`: an identifier from the system's random source; and how one is read from its file.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::output;
use crate::verb::Done;
use crate::verb::source::shown;

/// Random bytes of an identifier.
const RANDOM: usize = 32;
/// The longest value that `fsconfig` takes, without the NUL behind it (`strndup_user` in `fs/fsopen.c`).
pub(super) const LENGTH_MAX: usize = 255;

/// Make an identifier of 256 random bits, as 64 hexadecimal digits
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file that is not there yet: only its owner will read it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let id = new()?;
    if let Some(path) = &args.output {
        write(path, &id).with_context(|| shown(path))?;
    } else {
        let mut out = output::stdout();
        writeln!(out, "{id}")?;
        out.flush()?;
    }
    Ok(Done::Whole)
}

fn new() -> anyhow::Result<String> {
    let mut bytes = [0_u8; RANDOM];
    // Where a sandbox refuses the system call, the crate reads /dev/urandom.
    getrandom::fill(&mut bytes).context("the system's random numbers")?;
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect())
}

fn write(path: &Path, id: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = writeln!(file, "{id}").and_then(|()| file.sync_all());
    // Half an identifier must not stay where a whole one is expected.
    written.inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// An identifier and who can read it.
pub(super) struct Kept {
    /// The identifier: the first line of the file.
    pub(super) id: String,
    /// The permissions of the file.
    pub(super) mode: u32,
}

/// Reads an identifier from its file.
///
/// # Errors
/// When the file cannot be read, or holds something else than one line of text. The error has nothing of the
/// content.
pub(super) fn read(path: &Path) -> anyhow::Result<Kept> {
    let file = File::open(path).with_context(|| shown(path))?;
    let mode = file.metadata().with_context(|| shown(path))?.mode() & 0o7777;
    let mut bytes = Vec::new();
    file.take(LENGTH_MAX as u64 + 2).read_to_end(&mut bytes).with_context(|| shown(path))?;
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let id = std::str::from_utf8(text).ok().filter(|id| !id.is_empty() && id.len() <= LENGTH_MAX);
    match id.filter(|id| !id.contains(['\n', '\0'])) {
        Some(id) => Ok(Kept { id: id.to_owned(), mode }),
        None => bail!("{}: found no identifier, want one line of 1 to {LENGTH_MAX} bytes", shown(path)),
    }
}
