//! The archive that a kernel unpacks as its initial file system: cpio in the "newc" form
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).

/// What the length of a header with its name and that of a content are rounded up to.
const ALIGNMENT: usize = 4;
/// The name of the last entry.
const TRAILER: &str = "TRAILER!!!";
/// Modes: regular file and directory.
const FILE: u32 = 0o100_755;
const DIRECTORY: u32 = 0o040_755;

/// An archive that is being written.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory. Its parent comes before it.
    pub(crate) fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY, &[]);
    }

    /// Adds a file that may be executed.
    pub(crate) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, FILE, content);
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Inode, mode, owner, group, links, time, length, four device numbers, length of the name, checksum.
        // A length that 32 bits do not hold is cut, and the kernel then finds no valid header behind the
        // content.
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_len = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let fields = [self.entries, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_headers_names_and_contents_in_their_places() {
        let mut archive = Archive::default();
        archive.directory("dev");
        archive.file("init", b"hello");
        let bytes = archive.finish();
        let zeros = |count: usize| "0".repeat(count);
        let header = |inode: u32, mode: &str, len: u32, name: u32| {
            let (owners, devices) = (zeros(16), zeros(32));
            format!(
                "070701{inode:08x}{mode}{owners}00000001{}{len:08x}{devices}{name:08x}{}",
                zeros(8),
                zeros(8)
            )
        };
        let want = [
            header(1, "000041ed", 0, 4),
            "dev\0\0\0".to_owned(),
            header(2, "000081ed", 5, 5),
            "init\0\0hello\0\0\0".to_owned(),
            header(3, "00000000", 0, 11),
            "TRAILER!!!\0\0\0\0".to_owned(),
        ];
        assert_eq!(String::from_utf8(bytes).unwrap(), want.concat());
    }
}
