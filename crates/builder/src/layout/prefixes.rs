//! The long xattr name prefixes of an image, which the options alone decide, and their table.

use erofs_format::FormatError;
use erofs_format::xattr;
use erofs_format::xattr_prefix::{self, LongPrefix};

use crate::error::BuildError;
use crate::options::BuildOptions;

/// What is known of the name of fingerprints.
#[derive(Debug, Clone)]
pub(crate) struct FingerprintKey {
    /// The number of its prefix.
    pub(crate) prefix: u8,
    /// The full name.
    pub(crate) name: Vec<u8>,
    pub(crate) filter_bit: u32,
}

/// The long prefixes. Number 0 is that of fingerprints, if there are any, and serves nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Prefixes {
    pub(crate) list: Vec<LongPrefix>,
    pub(crate) fingerprint: Option<FingerprintKey>,
}

impl Prefixes {
    /// Those that the options ask for.
    pub(crate) fn new(options: &BuildOptions) -> Result<Self, BuildError> {
        let mut list = Vec::new();
        let mut fingerprint = None;
        if let Some(wanted) = &options.content.fingerprint {
            let prefix = LongPrefix::of_fingerprint(&wanted.key)?;
            let filter_bit = xattr::filter_bit(prefix.base_index, &prefix.infix);
            fingerprint = Some(FingerprintKey { prefix: 0, name: wanted.key.clone(), filter_bit });
            list.push(prefix);
        }
        for name in &options.layout.xattr_prefixes {
            let prefix = LongPrefix::of(name)?;
            if !list.contains(&prefix) {
                list.push(prefix);
            }
        }
        if list.len() > xattr_prefix::COUNT_MAX {
            return Err(FormatError::limit("xattr name prefixes", list.len(), xattr_prefix::COUNT_MAX).into());
        }
        Ok(Self { list, fingerprint })
    }

    /// The table.
    pub(crate) fn table(&self) -> Result<Vec<u8>, FormatError> {
        let mut table = Vec::new();
        self.list.iter().try_for_each(|prefix| prefix.encode(&mut table))?;
        Ok(table)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u8 {
        u8::try_from(self.list.len()).unwrap_or(u8::MAX)
    }
}
