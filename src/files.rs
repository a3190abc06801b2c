//! The files of a command line: none that is written may be one that is read, nor may two outputs be one
//! file.
//!
//! Files are compared by what they are, not by how their paths are spelled.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use erofs_builder::output::Identity;

use crate::exit::{WrongUse, one_line};

/// The longest text that is read, in bytes: hints and scenarios have some lines.
const TEXT_MAX: u64 = 16 << 20;

/// Reads a text file.
///
/// # Errors
/// When it cannot be read, is longer than 16 MiB (a device may have no end), or is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(TEXT_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > TEXT_MAX {
        let wrong = format!("found more than {TEXT_MAX} bytes, want at most that many");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, wrong));
    }
    Ok(text)
}

/// A path for messages: bytes that are no text are escaped.
pub fn shown(path: &Path) -> String {
    erofs_format::printable(path.as_os_str().as_encoded_bytes())
}

/// A file of a command line.
#[derive(Debug)]
pub struct Item {
    name: String,
    identities: Vec<Identity>,
}

impl Item {
    /// The file at `path`, which the command line names by `flag`.
    pub fn new(flag: &str, path: &Path) -> Self {
        let name = one_line(&format!("{flag} {}", path.to_string_lossy()));
        Self { name, identities: Identity::of(path) }
    }

    /// Where stdout goes: nothing that matters unless that is a file or a block device.
    pub fn stdout() -> Self {
        Self { name: "stdout".to_owned(), identities: Identity::of_open(io::stdout()) }
    }

    fn is(&self, other: &Self) -> bool {
        self.identities.iter().any(|identity| other.identities.contains(identity))
    }
}

/// Refuses files that would be overwritten: what is written must be neither what is read nor another output.
///
/// # Errors
/// The first two items that are one file.
pub fn keep_apart(read: &[Item], written: &[Item]) -> Result<(), WrongUse> {
    for (index, output) in written.iter().enumerate() {
        let others = read.iter().map(|item| (item, "which is read"));
        let others = others.chain(written[..index].iter().map(|item| (item, "which is written too")));
        for (other, why) in others {
            if output.is(other) {
                return Err(WrongUse(format!("{}: is the same file as {}, {why}", output.name, other.name)));
            }
        }
    }
    Ok(())
}

/// Whether stdout goes to one of the outputs, so that nothing may be printed there.
pub fn stdout_is_among(written: &[Item]) -> bool {
    let stdout = Item::stdout();
    written.iter().any(|item| item.is(&stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_file_are_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let item = |name: &str| Item::new("--flag", &dir.path().join(name));
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("new", dir.path().join("dangling")).unwrap();
        for (read, written, wrong) in [
            (vec!["file"], vec!["new"], None),
            (vec!["file"], vec!["link"], Some("link: is the same file as --flag")),
            (vec![], vec!["new", "dangling"], Some("dangling: is the same file as --flag")),
            (vec!["new"], vec!["new"], Some("which is read")),
            (vec!["file"], vec!["new", "./new"], Some("which is written too")),
        ] {
            let items = |names: &[&str]| names.iter().map(|name| item(name)).collect::<Vec<_>>();
            let outcome = keep_apart(&items(&read), &items(&written)).map_err(|WrongUse(text)| text);
            match wrong {
                None => assert_eq!(outcome, Ok(())),
                Some(words) => assert!(outcome.unwrap_err().contains(words), "{read:?} {written:?}"),
            }
        }
        let null = || vec![Item::new("--flag", Path::new("/dev/null"))];
        assert!(keep_apart(&null(), &null()).is_ok());
    }
}
