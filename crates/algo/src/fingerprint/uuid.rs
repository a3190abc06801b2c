//! An identifier of the publisher's own: `uuid:` and the 16 raw bytes of a version 5 UUID (RFC 9562) in the
//! publisher's namespace, whose name is the 32 raw bytes of the content's SHA-256. Publishers with different
//! namespaces never share.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::kind::{Fingerprint, FingerprintKind, Hasher};
use crate::sha256;

const TAG: &[u8] = b"uuid:";

/// The row of UUIDs.
pub(super) const UUID: FingerprintKind = FingerprintKind {
    name: "uuid",
    tag: TAG,
    digest_len: 16,
    hasher: |namespace| Box::new(Hash { state: Sha256::new(), namespace }),
    each: |namespace, contents| {
        sha256::each(contents).iter().map(|digest| named(&namespace, digest)).collect()
    },
    needs_namespace: true,
};

struct Hash {
    state: Sha256,
    namespace: Uuid,
}

impl Hasher for Hash {
    fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    fn finish(self: Box<Self>) -> Fingerprint {
        named(&self.namespace, &self.state.finalize())
    }
}

fn named(namespace: &Uuid, digest: &[u8]) -> Fingerprint {
    let value = [TAG, Uuid::new_v5(namespace, digest).as_bytes()].concat();
    Fingerprint { value, digest: digest.to_vec() }
}
