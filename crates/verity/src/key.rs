//! Private keys: read from PEM, wiped when they are dropped, never shown. The stack is wiped as well, because
//! the crates that read keys pass primes on it.

use std::fmt;
use std::io::Read;

use getrandom::SysRng;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::certificate::{RSA_KEYS, too_short};
use crate::error::VerityError;
use crate::wipe;

/// A file with a key is not longer than this.
const FILE_MAX: usize = 64 << 10;

/// An RSA key, or one of the curves P-256 and P-384.
pub struct PrivateKey(Option<Kind>);

enum Kind {
    Rsa(Box<rsa::pkcs1v15::SigningKey<Sha256>>),
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        let kind = self.0.take();
        wipe::behind(|| drop(kind));
    }
}

fn wrong(text: impl Into<String>) -> VerityError {
    VerityError::Key(text.into())
}

impl PrivateKey {
    /// Reads a key in PEM: PKCS#8, PKCS#1 or SEC 1, not encrypted. What is read is wiped from memory.
    ///
    /// # Errors
    /// When there is none, it is encrypted, of another kind, or damaged. The error has nothing of the
    /// content.
    pub fn read(source: impl Read) -> Result<Self, VerityError> {
        wipe::behind(|| Self::read_text(source))
    }

    fn read_text(source: impl Read) -> Result<Self, VerityError> {
        // With all of its room from the start, the buffer is never moved, and no copy stays behind.
        let mut bytes = Zeroizing::new(vec![0; FILE_MAX]);
        let mut filled = 0;
        let mut source = source;
        loop {
            match source.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
            }
        }
        if filled == FILE_MAX {
            return Err(wrong(format!("found at least {FILE_MAX} bytes, want a key in PEM")));
        }
        let text =
            std::str::from_utf8(&bytes[..filled]).map_err(|_| wrong("found bytes, want text in PEM"))?;
        Self::from_pem(text)
    }

    fn from_pem(text: &str) -> Result<Self, VerityError> {
        let Some((label, block)) = key_block(text) else {
            return Err(wrong("found no block PRIVATE KEY, want one in PEM"));
        };
        let damaged = || wrong(format!("the block {label} cannot be read"));
        if label.starts_with("ENCRYPTED") || block.contains("Proc-Type:") {
            return Err(wrong(
                "it is encrypted, which is not supported: give the signature by --join-signature",
            ));
        }
        match label {
            "PRIVATE KEY" => Self::from_pkcs8(block).unwrap_or_else(|| {
                Err(wrong(format!(
                    "the block PRIVATE KEY is no {RSA_KEYS}, P-256 or P-384 key, or is damaged"
                )))
            }),
            "RSA PRIVATE KEY" => {
                rsa::PrivateKey::from_pkcs1_pem(block).map_err(|_| damaged()).and_then(Self::rsa)
            }
            "EC PRIVATE KEY" => {
                let small = p256::SecretKey::from_sec1_pem(block).map(|key| Self::p256(&key));
                small
                    .or_else(|_| p384::SecretKey::from_sec1_pem(block).map(|key| Self::p384(&key)))
                    .map_err(|_| wrong("the block EC PRIVATE KEY is no P-256 or P-384 key, or is damaged"))
            }
            _ => Err(wrong(format!("found a block {label}, want PRIVATE KEY"))),
        }
    }

    fn from_pkcs8(block: &str) -> Option<Result<Self, VerityError>> {
        if let Ok(key) = rsa::PrivateKey::from_pkcs8_pem(block) {
            return Some(Self::rsa(key));
        }
        if let Ok(key) = p256::SecretKey::from_pkcs8_pem(block) {
            return Some(Ok(Self::p256(&key)));
        }
        p384::SecretKey::from_pkcs8_pem(block).ok().map(|key| Ok(Self::p384(&key)))
    }

    fn rsa(key: rsa::PrivateKey) -> Result<Self, VerityError> {
        match too_short(&key) {
            None => Ok(Self(Some(Kind::Rsa(Box::new(rsa::pkcs1v15::SigningKey::new(key)))))),
            Some(why) => Err(wrong(why)),
        }
    }

    fn p256(key: &p256::SecretKey) -> Self {
        Self(Some(Kind::P256(Box::new(key.into()))))
    }

    fn p384(key: &p384::SecretKey) -> Self {
        Self(Some(Kind::P384(Box::new(key.into()))))
    }

    /// Signs the SHA-256 of `message`: PKCS#1 v1.5 for RSA, DER for the curves. RSA is blinded with random
    /// numbers of the system, which the signature does not depend on; the curves take their nonces from key
    /// and message (RFC 6979).
    ///
    /// # Errors
    /// When the key is too short for it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, VerityError> {
        wipe::behind(|| self.signature(message))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, VerityError> {
        let hash = Sha256::digest(message);
        let failed = |_| wrong("cannot sign with it");
        match self.0.as_ref().ok_or_else(|| wrong("it is gone"))? {
            Kind::Rsa(key) => key
                .try_sign_with_rng(&mut SysRng, message)
                .map(|signature| signature.to_vec())
                .map_err(failed),
            Kind::P256(key) => {
                let signature: Result<p256::ecdsa::DerSignature, _> = key.sign_prehash(&hash);
                signature.map(|signature| signature.as_bytes().to_vec()).map_err(failed)
            }
            Kind::P384(key) => {
                let signature: Result<p384::ecdsa::DerSignature, _> = key.sign_prehash(&hash);
                signature.map(|signature| signature.as_bytes().to_vec()).map_err(failed)
            }
        }
    }
}

/// The label of the first block that is a private key, and the block with its two lines around it. Other
/// blocks, such as the curve's parameters or the certificate, may come first.
fn key_block(text: &str) -> Option<(&str, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    const KEY: &str = "PRIVATE KEY";
    let mut rest = text;
    loop {
        let from = rest.find(BEGIN)?;
        let block = &rest[from..];
        let (label, _) = block.strip_prefix(BEGIN)?.split_once("-----")?;
        if label.ends_with(KEY) {
            let end = format!("-----END {label}-----");
            let length = block.find(&end)? + end.len();
            return block.get(..length).map(|block| (label, block));
        }
        rest = &block[BEGIN.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_are_no_key_are_passed_over_or_named() {
        for (text, words) in [
            ("", "found no block PRIVATE KEY"),
            ("-----BEGIN EC PARAMETERS-----\nx\n-----END EC PARAMETERS-----\n", "found no block PRIVATE KEY"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "found no block PRIVATE KEY"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "is no RSA key of 2048 to 8192 bits, P-256 or P-384 key",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
                "it is encrypted",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----",
                "it is encrypted",
            ),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
                "found a block OPENSSH PRIVATE KEY, want PRIVATE KEY",
            ),
        ] {
            let error = PrivateKey::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("AAAA"), "{text:?}: {error}");
        }
        assert!(PrivateKey::read(std::io::repeat(b'x')).is_err());
        assert!(PrivateKey::read(&b"\xff"[..]).is_err());
    }
}
