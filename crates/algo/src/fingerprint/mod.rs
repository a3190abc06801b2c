//! Fingerprints: values that name a file's content, one row per kind.
//!
//! The kernel takes a value as opaque bytes; the kinds matter to the builder, which makes them, and to
//! checkers, which find the kind by its tag and make the value again.

mod blake3;
mod kind;
mod sha2;
mod uuid;

pub use kind::{Fingerprint, FingerprintKind, Hasher};

/// Every kind, the default first.
pub const TABLE: [FingerprintKind; 4] = [sha2::SHA256, blake3::BLAKE3, sha2::SHA512, uuid::UUID];

/// The kind that the command line calls `name`.
pub fn by_name(name: &str) -> Option<FingerprintKind> {
    TABLE.into_iter().find(|kind| kind.name == name)
}

/// The kind whose tag and length `value` has.
pub fn by_value(value: &[u8]) -> Option<FingerprintKind> {
    TABLE
        .into_iter()
        .find(|kind| value.strip_prefix(kind.tag).is_some_and(|rest| rest.len() == kind.digest_len))
}

/// The fingerprint of `content`, which is in memory.
pub fn of(kind: FingerprintKind, namespace: ::uuid::Uuid, content: &[u8]) -> Fingerprint {
    kind::whole((kind.hasher)(namespace), content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn values_match_published_vectors() {
        // FIPS 180-4 and the BLAKE3 paper, for "abc"; the UUID from Python's uuid.uuid5 with sha256's digest
        // as name.
        let namespace = ::uuid::Uuid::NAMESPACE_URL;
        for (name, want) in [
            ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("blake3", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            (
                "sha512",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            ("uuid", "988bb44871b955aa96ff8a5a101b8e61"),
        ] {
            let kind = by_name(name).unwrap();
            let Fingerprint { value, digest: full } = of(kind, namespace, b"abc");
            assert!(full.len() >= 32);
            let digest = value.strip_prefix(kind.tag).unwrap();
            assert_eq!(digest.len(), kind.digest_len);
            assert_eq!(hex(digest), want, "{name}");
            assert_eq!(by_value(&value).unwrap().name, name);
            assert!(value.len() <= 71);
        }
        assert!(by_name("md5").is_none());
        assert!(by_value(b"sha256:short").is_none());
    }

    #[test]
    fn pieces_make_the_same_value_as_the_whole() {
        let content: Vec<u8> = (0..70_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for kind in TABLE {
            let mut hasher = (kind.hasher)(::uuid::Uuid::NAMESPACE_OID);
            for piece in content.chunks(1000) {
                hasher.update(piece);
            }
            let whole = of(kind, ::uuid::Uuid::NAMESPACE_OID, &content);
            assert_eq!(hasher.finish(), whole, "{}", kind.name);
            let ends: Vec<&[u8]> = (0..40).map(|n| &content[n * 1000..]).collect();
            let each = (kind.each)(::uuid::Uuid::NAMESPACE_OID, &ends);
            assert_eq!(each.len(), ends.len());
            for (fingerprint, end) in each.iter().zip(ends) {
                assert_eq!(*fingerprint, of(kind, ::uuid::Uuid::NAMESPACE_OID, end), "{}", kind.name);
            }
        }
    }
}
