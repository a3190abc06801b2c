//! SHA-256 and SHA-512 of the content: `sha256:` or `sha512:` and the raw digest. The first is what
//! mkfs.erofs writes, byte for byte, so that images of both tools share.

use sha2::{Digest, Sha256, Sha512};

use super::kind::{Fingerprint, FingerprintKind, Hasher, one_by_one, tagged};
use crate::sha256;

const TAG_256: &[u8] = b"sha256:";
const TAG_512: &[u8] = b"sha512:";

/// The row of SHA-256.
pub(super) const SHA256: FingerprintKind = FingerprintKind {
    name: "sha256",
    tag: TAG_256,
    digest_len: 32,
    hasher: |_| Box::new(Hash { state: Sha256::new(), tag: TAG_256 }),
    each: |_, contents| sha256::each(contents).iter().map(|digest| tagged(TAG_256, digest)).collect(),
    needs_namespace: false,
};

/// The row of SHA-512.
pub(super) const SHA512: FingerprintKind = FingerprintKind {
    name: "sha512",
    tag: TAG_512,
    digest_len: 64,
    hasher: |_| fresh_512(),
    each: |_, contents| one_by_one(contents, fresh_512),
    needs_namespace: false,
};

fn fresh_512() -> Box<dyn Hasher> {
    Box::new(Hash { state: Sha512::new(), tag: TAG_512 })
}

struct Hash<D> {
    state: D,
    tag: &'static [u8],
}

impl<D: Digest + Send> Hasher for Hash<D> {
    fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    fn finish(self: Box<Self>) -> Fingerprint {
        tagged(self.tag, &self.state.finalize())
    }
}
