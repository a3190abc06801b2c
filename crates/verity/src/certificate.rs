//! Certificates: reading them from PEM, their public keys, and whether one vouches for another.
//!
//! Of RFC 5280 this is what code signing on one machine needs: names, signatures, basic constraints, key usage. A
//! certificate authority with a critical extension that is not known here vouches for nothing.

use std::time::SystemTime;

use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5280, rfc5912};
use der::Encode as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1v15::VerifyingKey;
use rsa::pkcs8::DecodePublicKey as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use crate::error::VerityError;

/// A chain has at most this many certificates between the signer's and a trusted one.
const CHAIN_MAX: usize = 8;

/// Critical extensions that are understood, or that do not limit what a signature is good for here.
const KNOWN: [ObjectIdentifier; 5] = [
    rfc5280::ID_CE_BASIC_CONSTRAINTS,
    rfc5280::ID_CE_KEY_USAGE,
    rfc5280::ID_CE_EXT_KEY_USAGE,
    rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
    rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER,
];

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
        let unknown = || {
            let subject = certificate.tbs_certificate().subject();
            VerityError::Certificate(format!(
                "{subject}: its key is no RSA (to 4096 bits), P-256 or P-384 key"
            ))
        };
        let der = certificate.tbs_certificate().subject_public_key_info().to_der().map_err(|_| unknown())?;
        if let Ok(key) = rsa::PublicKey::from_public_key_der(&der) {
            return Ok(Self::Rsa(key));
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

    /// The bytes of a signature in the form that stands in a PKCS#7: of the curves, DER is made of the two numbers one
    /// behind the other, which is what keys in hardware often give.
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

/// Whether a certificate may vouch for others that have `between` certificates of authorities under it.
fn is_authority(certificate: &Certificate, between: usize) -> bool {
    let tbs = certificate.tbs_certificate();
    let unknown = tbs.extensions().is_some_and(|extensions| {
        extensions.iter().any(|extension| extension.critical && !KNOWN.contains(&extension.extn_id))
    });
    let basic = matches!(
        tbs.get_extension::<BasicConstraints>(),
        Ok(Some((_, BasicConstraints { ca: true, path_len_constraint })))
            if path_len_constraint.is_none_or(|limit| between <= usize::from(limit))
    );
    let usage = match tbs.get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    !unknown && basic && usage
}

/// Whether a certificate may sign data: a key usage, if there is one, has to say so.
pub(crate) fn may_sign(certificate: &Certificate) -> bool {
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.digital_signature() || usage.non_repudiation(),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// The certificates from `signer`'s issuer up to a trusted one; `None` if there is no such chain.
pub(crate) fn chain<'a>(
    signer: &'a Certificate,
    others: &'a [Certificate],
    trusted: &'a [Certificate],
) -> Option<Vec<&'a Certificate>> {
    let mut chain: Vec<&Certificate> = Vec::new();
    let mut last = signer;
    for between in 0..CHAIN_MAX {
        let vouches = |issuer: &&Certificate| is_authority(issuer, between) && issued(issuer, last);
        if let Some(anchor) = trusted.iter().find(vouches) {
            chain.push(anchor);
            return Some(chain);
        }
        let next = others.iter().find(|issuer| !chain.contains(issuer) && vouches(issuer))?;
        chain.push(next);
        last = next;
    }
    None
}

/// Whether a certificate is valid at a moment.
pub(crate) fn is_valid_at(certificate: &Certificate, moment: SystemTime) -> bool {
    let validity = certificate.tbs_certificate().validity();
    (validity.not_before.to_system_time()..=validity.not_after.to_system_time()).contains(&moment)
}
