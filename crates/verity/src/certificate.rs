//! Certificates: reading them from PEM, their public keys, and whether one vouches for another.
//!
//! Of RFC 5280 this is what code signing on one machine needs: names, signatures, and what is in `purpose`.

use std::time::SystemTime;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912;
use der::Encode as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1v15::VerifyingKey;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::Certificate;

use crate::error::VerityError;
use crate::purpose::may_issue;

/// A chain has at most this many certificates between the signer's and a trusted one.
const CHAIN_MAX: usize = 8;

/// Certificates that the caller trusts.
#[derive(Debug, Clone)]
pub struct Certificates(pub(crate) Vec<Certificate>);

impl Certificates {
    /// Reads one or several certificates in PEM; other blocks and text between them are passed over.
    ///
    /// # Errors
    /// When there is none, or one is damaged.
    pub fn from_pem(pem: &[u8]) -> Result<Self, VerityError> {
        let text = String::from_utf8_lossy(pem);
        let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
        let mut rest = text.as_ref();
        let mut all = Vec::new();
        while let Some(from) = rest.find(begin) {
            let number = all.len() + 1;
            let block = rest.get(from..).unwrap_or_default();
            let length = block.find(end).map(|at| at + end.len());
            let length = length
                .ok_or_else(|| VerityError::Certificate(format!("number {number} has no line {end}")))?;
            let damaged = |error| VerityError::Certificate(format!("number {number} is damaged: {error}"));
            all.push(<Certificate as der::DecodePem>::from_pem(&block[..length]).map_err(damaged)?);
            rest = &block[length..];
        }
        if all.is_empty() {
            return Err(VerityError::Certificate("found none, want a block CERTIFICATE in PEM".to_owned()));
        }
        Ok(Self(all))
    }

    /// The first one.
    pub(crate) fn first(&self) -> Result<&Certificate, VerityError> {
        self.0.first().ok_or_else(|| VerityError::Certificate("found none, want one".to_owned()))
    }
}

/// The RSA keys that there are here: up to what the crate takes, from what NIST SP 800-57 asks for since
/// 2014.
pub(crate) const RSA_KEYS: &str = "RSA key of 2048 to 8192 bits";
/// The least length of an RSA key in bits.
const RSA_MIN: u32 = 2048;

/// What is wrong with the length of an RSA key; longer ones than [`RSA_KEYS`] cannot be read.
pub(crate) fn too_short(key: &impl PublicKeyParts) -> Option<String> {
    let bits = key.n().bit_width();
    (bits < RSA_MIN).then(|| format!("found an RSA key of {bits} bits, want at least {RSA_MIN}"))
}

/// The hashes that signatures are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// By the identifier of the hash alone.
    pub(crate) fn of_digest(oid: ObjectIdentifier) -> Option<Self> {
        [
            (rfc5912::ID_SHA_256, Self::Sha256),
            (rfc5912::ID_SHA_384, Self::Sha384),
            (rfc5912::ID_SHA_512, Self::Sha512),
        ]
        .into_iter()
        .find_map(|(known, hash)| (known == oid).then_some(hash))
    }

    /// By the identifier of a kind of signature that names its hash.
    pub(crate) fn of_signature(oid: ObjectIdentifier) -> Option<Self> {
        [
            (rfc5912::SHA_256_WITH_RSA_ENCRYPTION, Self::Sha256),
            (rfc5912::SHA_384_WITH_RSA_ENCRYPTION, Self::Sha384),
            (rfc5912::SHA_512_WITH_RSA_ENCRYPTION, Self::Sha512),
            (rfc5912::ECDSA_WITH_SHA_256, Self::Sha256),
            (rfc5912::ECDSA_WITH_SHA_384, Self::Sha384),
            (rfc5912::ECDSA_WITH_SHA_512, Self::Sha512),
        ]
        .into_iter()
        .find_map(|(known, hash)| (known == oid).then_some(hash))
    }

    pub(crate) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// A public key of a kind that is known.
pub(crate) enum PublicKey {
    Rsa(rsa::PublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl PublicKey {
    pub(crate) fn of(certificate: &Certificate) -> Result<Self, VerityError> {
        let subject = certificate.tbs_certificate().subject();
        let unknown =
            || VerityError::Certificate(format!("{subject}: its key is no {RSA_KEYS}, P-256 or P-384 key"));
        let der = certificate.tbs_certificate().subject_public_key_info().to_der().map_err(|_| unknown())?;
        if let Ok(key) = rsa::PublicKey::from_public_key_der(&der) {
            return match too_short(&key) {
                None => Ok(Self::Rsa(key)),
                Some(why) => Err(VerityError::Certificate(format!("{subject}: {why}"))),
            };
        }
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(&der) {
            return Ok(Self::P256(key));
        }
        p384::ecdsa::VerifyingKey::from_public_key_der(&der).map(Self::P384).map_err(|_| unknown())
    }

    /// Whether `signature` is one of `message` by this key, as PKCS#1 v1.5 or in DER.
    pub(crate) fn verifies(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let digest = hash.digest(message);
        match self {
            Self::Rsa(key) => {
                let Ok(signature) = rsa::pkcs1v15::Signature::try_from(signature) else { return false };
                let key = key.clone();
                match hash {
                    Hash::Sha256 => VerifyingKey::<Sha256>::new(key).verify_prehash(&digest, &signature),
                    Hash::Sha384 => VerifyingKey::<Sha384>::new(key).verify_prehash(&digest, &signature),
                    Hash::Sha512 => VerifyingKey::<Sha512>::new(key).verify_prehash(&digest, &signature),
                }
                .is_ok()
            }
            Self::P256(key) => p256::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
        }
    }

    /// The bytes of a signature in the form that stands in a PKCS#7: of the curves, DER is made of the two
    /// numbers one behind the other, which is what keys in hardware often give.
    pub(crate) fn in_form(&self, signature: &[u8]) -> Vec<u8> {
        let of_numbers = match self {
            Self::Rsa(_) => None,
            Self::P256(_) => p256::ecdsa::Signature::from_slice(signature)
                .ok()
                .map(|signature| signature.to_der().as_bytes().to_vec()),
            Self::P384(_) => p384::ecdsa::Signature::from_slice(signature)
                .ok()
                .map(|signature| signature.to_der().as_bytes().to_vec()),
        };
        of_numbers.unwrap_or_else(|| signature.to_vec())
    }
}

/// Whether `issuer` made `certificate`: name and signature.
fn issued(issuer: &Certificate, certificate: &Certificate) -> bool {
    let (above, below) = (issuer.tbs_certificate(), certificate.tbs_certificate());
    if above.subject() != below.issuer() || certificate.signature_algorithm() != below.signature() {
        return false;
    }
    let Some(hash) = Hash::of_signature(certificate.signature_algorithm().oid) else { return false };
    let Ok(message) = below.to_der() else { return false };
    let Some(signature) = certificate.signature().as_bytes() else { return false };
    PublicKey::of(issuer).is_ok_and(|key| key.verifies(hash, &message, signature))
}

/// The certificates from `signer`'s issuer up to a trusted one.
///
/// # Errors
/// What keeps the first certificate that issued one of them from vouching for it; empty if there is none.
pub(crate) fn chain<'a>(
    signer: &'a Certificate,
    others: &'a [Certificate],
    trusted: &'a [Certificate],
) -> Result<Vec<&'a Certificate>, String> {
    let mut chain: Vec<&Certificate> = Vec::new();
    let mut last = signer;
    let mut refusal = String::new();
    for between in 0..CHAIN_MAX {
        let mut vouches = |issuer: &&Certificate| {
            if !issued(issuer, last) {
                return false;
            }
            let refused = may_issue(issuer, between).err();
            if let Some(why) = refused.as_ref().filter(|_| refusal.is_empty()) {
                refusal = format!(": {}: {why}", issuer.tbs_certificate().subject());
            }
            refused.is_none()
        };
        if let Some(anchor) = trusted.iter().find(&mut vouches) {
            chain.push(anchor);
            return Ok(chain);
        }
        let Some(next) = others.iter().find(|issuer| !chain.contains(issuer) && vouches(issuer)) else {
            break;
        };
        chain.push(next);
        last = next;
    }
    Err(refusal)
}

/// Whether a certificate is valid at a moment.
pub(crate) fn is_valid_at(certificate: &Certificate, moment: SystemTime) -> bool {
    let validity = certificate.tbs_certificate().validity();
    (validity.not_before.to_system_time()..=validity.not_after.to_system_time()).contains(&moment)
}
