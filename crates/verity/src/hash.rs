//! The digest of a block: SHA-256 over the salt and the block.

use sha2::{Digest as _, Sha256};

use crate::params::{Digest, Salt};

/// A hash that has taken the salt.
#[derive(Clone)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn new(salt: &Salt) -> Self {
        Self(Sha256::new_with_prefix(salt.as_bytes()))
    }

    pub(crate) fn block(&self, bytes: &[u8]) -> Digest {
        let mut hash = self.0.clone();
        hash.update(bytes);
        hash.finalize().into()
    }
}
