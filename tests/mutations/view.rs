//! What can be seen of an image, one line for each path, in the same words for the kernel and for our reader.

use std::hash::{DefaultHasher, Hasher as _};

/// Larger files are read at their start and at their end only: so many bytes of each.
const WHOLE: u64 = 1 << 20;
const ENDS: u64 = 256 << 10;
/// How many bytes one call reads.
const CALL: usize = 64 << 10;
/// How many paths are looked at, and how deep.
pub(crate) const PATHS: usize = 2000;
pub(crate) const DEPTH: usize = 64;
/// The names of attributes that are ACLs begin with this.
const ACL: &[u8] = b"system.posix_acl_";

/// Everything that was seen, and everything that could not be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) lines: Vec<String>,
    pub(crate) troubles: Vec<String>,
}

/// What lstat(2) says of a file.
pub(crate) struct Status {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) device: (u32, u32),
}

impl View {
    pub(crate) fn status(&mut self, path: &str, status: &Status) {
        let Status { mode, uid, gid, nlink, size, mtime: (sec, nsec), device: (major, minor) } = status;
        self.lines
            .push(format!("{path} {mode:o} {uid}:{gid} {nlink} {size} {sec}.{nsec:09} {major}:{minor}"));
    }

    pub(crate) fn attribute(&mut self, path: &str, name: &[u8], value: &[u8]) {
        let value = if name.starts_with(ACL) { plain_acl(value) } else { value.to_vec() };
        self.lines.push(format!("{path} xattr {}={:016x}", name.escape_ascii(), hash(&value)));
    }

    /// Forgets all attributes, and all trouble with them.
    pub(crate) fn without_attributes(&mut self) {
        self.lines.retain(|line| !line.contains(" xattr "));
        self.troubles.retain(|line| !line.contains("xattr"));
    }

    pub(crate) fn note(&mut self, path: &str, what: &str) {
        self.lines.push(format!("{path} {what}"));
    }

    pub(crate) fn trouble(&mut self, path: &str, what: &str) {
        self.troubles.push(format!("{path} {what}"));
    }

    /// The content of a file of `size` bytes; `read` fills a buffer from an offset on and returns how much
    /// that was.
    pub(crate) fn content(
        &mut self,
        path: &str,
        size: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, String>,
    ) {
        let mut hasher = DefaultHasher::new();
        let mut buffer = vec![0; CALL];
        let ranges =
            if size <= WHOLE { vec![(0, size)] } else { vec![(0, ENDS), (size.saturating_sub(ENDS), size)] };
        for (mut at, end) in ranges {
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(CALL).min(CALL);
                match read(at, &mut buffer[..want]) {
                    Ok(0) => return self.trouble(path, &format!("ends at byte {at} of {size}")),
                    Ok(length) => {
                        hasher.write(&buffer[..length]);
                        at += length as u64;
                    }
                    Err(error) => return self.trouble(path, &format!("read at byte {at}: {error}")),
                }
            }
        }
        self.note(path, &format!("content {:016x}", hasher.finish()));
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// An ACL as Linux gives it out: entries that are about no user and no group by number have no number
/// (`posix_acl_to_xattr`).
fn plain_acl(value: &[u8]) -> Vec<u8> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let mut plain = value.to_vec();
    for entry in plain.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        if tag != USER && tag != GROUP {
            entry[4..].fill(0xff);
        }
    }
    plain
}
