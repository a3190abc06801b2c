//! Detached signatures over root hashes: PKCS#7 in DER, as Linux (`root_hash_sig_key_desc` of dm-verity) and
//! systemd (`.roothash.p7s`) take them.
//!
//! What is signed is the text of the root hash: 64 lower-case hexadecimal digits without an end of line. The
//! form is that of `openssl smime -sign -nocerts -noattr -binary -outform der`: `SignedData` of version 1
//! with one signer, named by issuer and serial number, without signed attributes. Linux names the kinds of
//! signature it knows in `pkcs7_sig_note_pkey_algo`: RSA has to be called `rsaEncryption` there.

use std::time::SystemTime;

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5911, rfc5912};
use der::asn1::{OctetString, SetOfVec};
use der::{Any, Decode as _, Encode as _};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::certificate::{Certificates, Hash, PublicKey, chain, is_valid_at};
use crate::error::VerityError;
use crate::key::PrivateKey;
use crate::params::{RootHash, to_hex};
use crate::purpose::may_sign;

/// A signature with more signers than this is not looked at.
const SIGNERS_MAX: usize = 16;

/// How the signer's certificate is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is one of the trusted certificates.
    Given,
    /// It leads to the trusted certificate with this subject.
    Issued {
        /// The subject.
        by: String,
    },
}

/// Who signed a root hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The subject of the certificate.
    pub subject: String,
    /// Its serial number in hexadecimal digits.
    pub serial: String,
    /// Since when it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// The subjects of those that are not valid at the moment of the check: of it and every certificate up to
    /// the trusted one. Linux does not ask.
    pub not_valid: Vec<String>,
    /// How it is trusted.
    pub trust: Trust,
    /// Whether the signature covers attributes, among them the digest of the root hash.
    pub has_attributes: bool,
}

fn wrong(text: impl Into<String>) -> VerityError {
    VerityError::Signature(text.into())
}

fn encoding(error: der::Error) -> VerityError {
    wrong(format!("cannot be encoded: {error}"))
}

/// The bytes that a key has to sign, by SHA-256: the text of the root hash.
pub fn to_be_signed(root: &RootHash) -> Vec<u8> {
    root.to_string().into_bytes()
}

/// Signs a root hash; the certificate is the first of `certificates`. With `embed` all of them are put into
/// the signature, as registries want it; Linux and systemd look them up in their own.
///
/// # Errors
/// When the key is not the one of the certificate, or the certificate may not sign.
pub fn sign(
    root: &RootHash,
    key: &PrivateKey,
    certificates: &Certificates,
    embed: bool,
) -> Result<Vec<u8>, VerityError> {
    join(root, &key.sign(&to_be_signed(root))?, certificates, embed)
}

/// Makes a signature of the bytes that a key elsewhere made of [`to_be_signed`].
///
/// # Errors
/// When the bytes are no signature of the root hash by the key of the first certificate, or that may not
/// sign.
pub fn join(
    root: &RootHash,
    raw: &[u8],
    certificates: &Certificates,
    embed: bool,
) -> Result<Vec<u8>, VerityError> {
    let certificate = certificates.first()?;
    let subject = certificate.tbs_certificate().subject();
    may_sign(certificate)
        .map_err(|why| VerityError::Certificate(format!("{subject} may not sign: {why}")))?;
    let key = PublicKey::of(certificate)?;
    let raw = key.in_form(raw);
    if !key.verifies(Hash::Sha256, &to_be_signed(root), &raw) {
        return Err(wrong(format!(
            "{root}: not signed by the key of the certificate {subject} with SHA-256"
        )));
    }
    let sha256 = AlgorithmIdentifierOwned { oid: rfc5912::ID_SHA_256, parameters: Some(Any::null()) };
    let signature_algorithm = match key {
        PublicKey::Rsa(_) => {
            AlgorithmIdentifierOwned { oid: rfc5912::RSA_ENCRYPTION, parameters: Some(Any::null()) }
        }
        PublicKey::P256(_) | PublicKey::P384(_) => {
            AlgorithmIdentifierOwned { oid: rfc5912::ECDSA_WITH_SHA_256, parameters: None }
        }
    };
    let tbs = certificate.tbs_certificate();
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: tbs.issuer().clone(),
            serial_number: tbs.serial_number().clone(),
        }),
        digest_alg: sha256.clone(),
        signed_attrs: None,
        signature_algorithm,
        signature: OctetString::new(raw).map_err(encoding)?,
        unsigned_attrs: None,
    };
    let embedded: Vec<_> = certificates.0.iter().cloned().map(CertificateChoices::Certificate).collect();
    let data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![sha256]).map_err(encoding)?,
        encap_content_info: EncapsulatedContentInfo { econtent_type: rfc5911::ID_DATA, econtent: None },
        certificates: if embed { Some(CertificateSet::try_from(embedded).map_err(encoding)?) } else { None },
        crls: None,
        signer_infos: SignerInfos::try_from(vec![signer]).map_err(encoding)?,
    };
    let content = Any::encode_from(&data).map_err(encoding)?;
    ContentInfo { content_type: rfc5911::ID_SIGNED_DATA, content }.to_der().map_err(encoding)
}

/// Checks a detached signature of a root hash, with or without signed attributes, against trusted
/// certificates: those of signers, or of authorities that issued the certificates that the signature brings
/// along. Dates are reported, not enforced.
///
/// # Errors
/// When the signature is damaged or not detached, nobody that is trusted signed, or someone signed something
/// else.
pub fn verify(
    der: &[u8],
    root: &RootHash,
    trusted: &Certificates,
    now: SystemTime,
) -> Result<Signer, VerityError> {
    let damaged = |error| wrong(format!("is no PKCS#7 in DER: {error}"));
    let info = ContentInfo::from_der(der).map_err(damaged)?;
    if info.content_type != rfc5911::ID_SIGNED_DATA {
        return Err(wrong(format!("found content of type {}, want signed data", info.content_type)));
    }
    let data: SignedData = info.content.decode_as().map_err(damaged)?;
    // So does Linux (pkcs7_verify for VERIFYING_UNSPECIFIED_SIGNATURE).
    let kind = data.encap_content_info.econtent_type;
    if kind != rfc5911::ID_DATA {
        let data = rfc5911::ID_DATA;
        return Err(wrong(format!("encapContentInfo.eContentType: found {kind}, want {data} (data)")));
    }
    // Linux refuses it as well (pkcs7_supply_detached_data).
    if data.encap_content_info.econtent.is_some() {
        return Err(wrong("holds what it signs, want a detached one"));
    }
    let embedded: Vec<Certificate> = data
        .certificates
        .iter()
        .flat_map(|set| set.0.iter())
        .filter_map(|choice| match choice {
            CertificateChoices::Certificate(certificate) => Some(certificate.clone()),
            CertificateChoices::Other(_) => None,
        })
        .collect();
    let signers = data.signer_infos.0.iter().take(SIGNERS_MAX);
    let mut first = None;
    for signer in signers {
        match one(signer, root, &embedded, trusted, now) {
            Ok(found) => return Ok(found),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| wrong("found no signer, want one")))
}

/// Checks one signer.
fn one(
    info: &SignerInfo,
    root: &RootHash,
    embedded: &[Certificate],
    trusted: &Certificates,
    now: SystemTime,
) -> Result<Signer, VerityError> {
    let named = |certificate: &&Certificate| is_named(&info.sid, certificate);
    let given = trusted.0.iter().find(named);
    let Some(certificate) = given.or_else(|| embedded.iter().find(named)) else {
        return Err(wrong(format!(
            "its signer is {}, whose certificate is not there: sign with --embed-certificates, or give that \
             certificate by --certificate as well",
            shown(&info.sid)
        )));
    };
    let subject = certificate.tbs_certificate().subject();
    may_sign(certificate).map_err(|why| wrong(format!("the certificate {subject} may not sign: {why}")))?;
    let (chain, trust) = if given.is_some() {
        (Vec::new(), Trust::Given)
    } else {
        let found = chain(certificate, embedded, &trusted.0);
        let found =
            found.map_err(|why| wrong(format!("no trusted certificate vouches for {subject}{why}")))?;
        let by = found.last().map(|anchor| anchor.tbs_certificate().subject().to_string());
        (found, Trust::Issued { by: by.unwrap_or_default() })
    };
    let hash = hash_of(info)?;
    let message = match &info.signed_attrs {
        None => to_be_signed(root),
        Some(attributes) => {
            check_attributes(attributes, &hash.digest(&to_be_signed(root)))?;
            attributes.to_der().map_err(encoding)?
        }
    };
    if !PublicKey::of(certificate)?.verifies(hash, &message, info.signature.as_bytes()) {
        return Err(wrong(format!("is not the one of {root} by {subject}")));
    }
    let tbs = certificate.tbs_certificate();
    let all = std::iter::once(&certificate).chain(&chain);
    let not_valid = all.filter(|one| !is_valid_at(one, now));
    let not_valid = not_valid.map(|one| one.tbs_certificate().subject().to_string()).collect();
    Ok(Signer {
        subject: tbs.subject().to_string(),
        serial: to_hex(tbs.serial_number().as_bytes()),
        not_before: tbs.validity().not_before.to_system_time(),
        not_after: tbs.validity().not_after.to_system_time(),
        not_valid,
        trust,
        has_attributes: info.signed_attrs.is_some(),
    })
}

fn is_named(sid: &SignerIdentifier, certificate: &Certificate) -> bool {
    let tbs = certificate.tbs_certificate();
    match sid {
        SignerIdentifier::IssuerAndSerialNumber(name) => {
            name.issuer == *tbs.issuer() && name.serial_number == *tbs.serial_number()
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => {
            matches!(tbs.get_extension::<SubjectKeyIdentifier>(), Ok(Some((_, own))) if own == *id)
        }
    }
}

fn shown(sid: &SignerIdentifier) -> String {
    match sid {
        SignerIdentifier::IssuerAndSerialNumber(name) => {
            format!("number {} of {}", to_hex(name.serial_number.as_bytes()), name.issuer)
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => format!("key {}", to_hex(id.0.as_bytes())),
    }
}

/// The hash of a signature. Where its kind names one as well, both have to be the same.
fn hash_of(info: &SignerInfo) -> Result<Hash, VerityError> {
    let kind = info.signature_algorithm.oid;
    let unknown = || {
        let digest = info.digest_alg.oid;
        wrong(format!("found kind {kind} with hash {digest}, want RSA (PKCS#1 v1.5) or ECDSA with SHA-2"))
    };
    let hash = Hash::of_digest(info.digest_alg.oid).ok_or_else(unknown)?;
    let agrees = kind == rfc5912::RSA_ENCRYPTION || Hash::of_signature(kind) == Some(hash);
    if agrees { Ok(hash) } else { Err(unknown()) }
}

/// Signed attributes have to say that the content is data and which digest it has (RFC 5652, 5.3).
fn check_attributes(attributes: &x509_cert::attr::Attributes, digest: &[u8]) -> Result<(), VerityError> {
    let only = |oid| {
        let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
        match (found.next(), found.next()) {
            (Some(attribute), None) if attribute.values.len() == 1 => attribute.values.get(0),
            _ => None,
        }
    };
    let kind = only(rfc5911::ID_CONTENT_TYPE).and_then(|value| value.decode_as::<ObjectIdentifier>().ok());
    if kind != Some(rfc5911::ID_DATA) {
        return Err(wrong("its attributes do not say what kind of content is signed"));
    }
    let signed = only(rfc5911::ID_MESSAGE_DIGEST).and_then(|value| value.decode_as::<OctetString>().ok());
    if signed.is_none_or(|signed| signed.as_bytes() != digest) {
        return Err(wrong("its attributes are those of another root hash"));
    }
    Ok(())
}
