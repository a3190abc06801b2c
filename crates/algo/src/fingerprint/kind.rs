//! What a kind of fingerprint has to offer.

use uuid::Uuid;

/// Takes the bytes of one file in order and ends with the fingerprint's value.
pub trait Hasher: Send {
    /// The next bytes of the file.
    fn update(&mut self, bytes: &[u8]);
    /// The fingerprint of all bytes so far.
    fn finish(self: Box<Self>) -> Fingerprint;
}

/// The fingerprint of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The value of the xattr: 1 to 71 bytes, so that it fits the smallest block (Linux ignores values longer
    /// than a block).
    pub value: Vec<u8>,
    /// The cryptographic digest of the content, 32 bytes or more: equal for equal files only.
    pub digest: Vec<u8>,
}

/// A kind of fingerprint.
#[derive(Clone, Copy)]
pub struct FingerprintKind {
    /// The name on the command line.
    pub name: &'static str,
    /// The bytes with which every value begins.
    pub tag: &'static [u8],
    /// How many bytes follow the tag.
    pub digest_len: usize,
    /// A fresh hasher. The UUID is the publisher's namespace, for kinds that need one.
    pub hasher: fn(namespace: Uuid) -> Box<dyn Hasher>,
    /// The fingerprints of contents that are in memory, in their order: the same values, made faster where
    /// several can be made at once.
    pub each: fn(namespace: Uuid, contents: &[&[u8]]) -> Vec<Fingerprint>,
    /// Whether the kind needs a namespace.
    pub needs_namespace: bool,
}

impl std::fmt::Debug for FingerprintKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FingerprintKind({})", self.name)
    }
}

/// The fingerprint of a content that is in memory, by a fresh hasher.
pub(super) fn whole(mut hasher: Box<dyn Hasher>, content: &[u8]) -> Fingerprint {
    hasher.update(content);
    hasher.finish()
}

/// The fingerprints of contents, one after the other.
pub(super) fn one_by_one(contents: &[&[u8]], hasher: fn() -> Box<dyn Hasher>) -> Vec<Fingerprint> {
    contents.iter().map(|content| whole(hasher(), content)).collect()
}

/// The fingerprint whose value is a tag and the digest itself.
pub(super) fn tagged(tag: &[u8], digest: &[u8]) -> Fingerprint {
    Fingerprint { value: [tag, digest].concat(), digest: digest.to_vec() }
}
