//! Content fingerprints, computed a second way: what the attribute of a file must hold.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use sha2::Digest as _;

/// The digests that a fingerprint can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// `sha256:` and 32 raw bytes, as `mkfs.erofs` writes it.
    Sha256,
    /// `sha512:` and 64 raw bytes.
    Sha512,
    /// `blake3:` and 32 raw bytes.
    Blake3,
}

/// The fingerprint that every regular file that is not empty must carry, and nothing else may.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    /// The full name of the attribute, such as `trusted.erofs.fingerprint`.
    pub name: OsString,
    /// What its value is made of.
    pub digest: Digest,
}

impl Fingerprint {
    /// A SHA-256 fingerprint under this full attribute name.
    pub fn sha256(name: impl Into<OsString>) -> Self {
        Self { name: name.into(), digest: Digest::Sha256 }
    }
}

impl Digest {
    /// The attribute's value for these bytes.
    pub fn of_bytes(self, bytes: &[u8]) -> Vec<u8> {
        // A slice cannot fail to be read.
        self.of_reader(bytes).unwrap_or_default()
    }

    /// The attribute's value for the content of a file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_file(self, path: &Path) -> io::Result<Vec<u8>> {
        self.of_reader(File::open(path)?)
    }

    fn of_reader(self, mut reader: impl io::Read) -> io::Result<Vec<u8>> {
        match self {
            Self::Sha256 => {
                let mut hasher = sha2::Sha256::new();
                feed(&mut reader, |bytes| hasher.update(bytes))?;
                Ok([b"sha256:".as_slice(), &hasher.finalize()].concat())
            }
            Self::Sha512 => {
                let mut hasher = sha2::Sha512::new();
                feed(&mut reader, |bytes| hasher.update(bytes))?;
                Ok([b"sha512:".as_slice(), &hasher.finalize()].concat())
            }
            Self::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                feed(&mut reader, |bytes| {
                    hasher.update(bytes);
                })?;
                Ok([b"blake3:".as_slice(), hasher.finalize().as_bytes()].concat())
            }
        }
    }
}

fn feed(reader: &mut impl io::Read, mut update: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            got => update(buffer.get(..got).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published digest of the three bytes `abc`.
    #[test]
    fn sha256_of_abc() {
        let value = Digest::Sha256.of_bytes(b"abc");
        assert_eq!(&value[..7], b"sha256:");
        assert_eq!(value[7..11], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(value.len(), 39);
    }

    #[test]
    fn lengths_of_the_others() {
        assert_eq!(Digest::Sha512.of_bytes(b"abc").len(), 7 + 64);
        assert_eq!(Digest::Blake3.of_bytes(b"abc").len(), 7 + 32);
    }
}
