//! `/proc/self/mountinfo`: one line per mount, as `proc_pid_mountinfo(5)` describes it.

use erofs_format::printable;

use crate::error::{LiveError, Result};

/// The file, in messages.
const PLACE: &str = "/proc/self/mountinfo";
/// The longest piece of a wrong line that a message shows, in bytes.
const SHOWN: usize = 80;

/// The number of a device: major and minor. File systems without a block device have major 0.
pub type DeviceNumber = (u32, u32);

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The device of the superblock.
    pub device: DeviceNumber,
    /// The directory of the file system that is mounted, `/` unless it is a bind mount of a part.
    pub root: Vec<u8>,
    /// Where it is mounted.
    pub point: Vec<u8>,
    /// The kind of file system.
    pub fstype: String,
    /// What was given as the source; for EROFS the device or the image file, as it was typed.
    pub source: Vec<u8>,
    /// The options of the superblock.
    pub options: Vec<String>,
}

impl MountEntry {
    /// Whether the superblock has an option without a value.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|other| other == option)
    }

    /// The value of an option of the superblock.
    pub fn value(&self, option: &str) -> Option<&str> {
        self.options.iter().find_map(|other| other.strip_prefix(option)?.strip_prefix('='))
    }

    /// Whether it is an EROFS mount.
    pub fn is_erofs(&self) -> bool {
        self.fstype == "erofs"
    }

    /// Whether the kernel reads the image from a regular file, without a block device
    /// (`erofs_is_fileio_mode`).
    pub fn is_file_backed(&self) -> bool {
        self.device.0 == 0
    }
}

/// Reads all mounts, in the order of the file: a later mount on the same directory hides an earlier one.
///
/// # Errors
/// A line that does not have the fields.
pub fn parse(text: &[u8]) -> Result<Vec<MountEntry>> {
    let lines = text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(index, line)| entry(line).ok_or_else(|| wrong(index + 1, line))).collect()
}

fn wrong(line: usize, found: &[u8]) -> LiveError {
    let found = printable(found.get(..SHOWN).unwrap_or(found));
    LiveError::Line { place: PLACE, line, found, want: "the fields of a mount" }
}

fn entry(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
    // Optional fields of any number end with a dash.
    fields.find(|field| *field == b"-")?;
    let fstype = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescaped(fields.next()?);
    let options = String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
    let options = options.split(',').map(str::to_owned).collect();
    Some(MountEntry { device, root, point, fstype, source, options })
}

/// Takes the octal escapes out, which the kernel writes for blank, tab, newline and backslash
/// (`mangle_path`).
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let text = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
            42 27 7:0 / /m/a\\040b\\134 ro,relatime shared:3 master:1 - erofs /dev/loop0 ro,cache_strategy=readaround,inode_share\n\
            43 27 0:39 /sub /m2 ro - erofs a\xff.img ro,directio,fsoffset=4096\n";
        let mounts = parse(text).unwrap();
        assert_eq!(mounts.len(), 3);
        assert!(!mounts[0].is_erofs() && mounts[1].is_erofs());
        assert_eq!(mounts[1].point, b"/m/a b\\");
        assert_eq!(mounts[1].device, (7, 0));
        assert!(mounts[1].has("inode_share") && !mounts[2].has("inode_share"));
        assert_eq!(mounts[1].value("cache_strategy"), Some("readaround"));
        assert_eq!(mounts[1].value("cache"), None);
        assert_eq!(
            (mounts[2].root.as_slice(), mounts[2].source.as_slice()),
            (&b"/sub"[..], &b"a\xff.img"[..])
        );
        assert!(mounts[2].is_file_backed() && !mounts[1].is_file_backed());
    }

    #[test]
    fn wrong_lines_are_errors_with_their_number() {
        for (text, want) in [
            (&b"x"[..], "/proc/self/mountinfo: line 1: found x, want the fields of a mount"),
            (
                b"1 2 0:1 / /p rw - t s o\n1 2 0:x / /p rw - t s o",
                "/proc/self/mountinfo: line 2: found 1 2 0:x / /p rw - t s o, want the fields of a mount",
            ),
            (
                b"1 2 0:1 / /p rw t s o",
                "/proc/self/mountinfo: line 1: found 1 2 0:1 / /p rw t s o, want the fields of a mount",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for (field, want) in
            [(&b"a\\"[..], &b"a\\"[..]), (b"\\08x", b"\\08x"), (b"\\777", b"\\777"), (b"\\0401", b" 1")]
        {
            assert_eq!(unescaped(field), want);
        }
    }
}
