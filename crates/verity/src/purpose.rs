//! What a certificate may be used for: key usage, extended key usage, basic constraints, and critical
//! extensions (RFC 5280, 4.2). Each rule says in words what keeps a certificate from a use, for the error.

use const_oid::ObjectIdentifier;
use const_oid::db::{DB, rfc5280};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

/// Critical extensions that are understood, or that do not limit what a signature is good for here.
const KNOWN: [ObjectIdentifier; 7] = [
    rfc5280::ID_CE_BASIC_CONSTRAINTS,
    rfc5280::ID_CE_KEY_USAGE,
    rfc5280::ID_CE_EXT_KEY_USAGE,
    rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
    rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER,
    rfc5280::ID_CE_SUBJECT_ALT_NAME,
    rfc5280::ID_CE_CERTIFICATE_POLICIES,
];

/// The purposes of a certificate for images, if it names any: signed code, or everything.
const PURPOSES: [ObjectIdentifier; 2] = [rfc5280::ID_KP_CODE_SIGNING, rfc5280::ANY_EXTENDED_KEY_USAGE];

/// Why not.
type Refusal = Result<(), String>;

fn name(oid: ObjectIdentifier) -> String {
    DB.by_oid(&oid).map_or_else(|| oid.to_string(), str::to_owned)
}

fn refuse(found: &str, want: &str) -> Refusal {
    Err(format!("found {found}, want {want}"))
}

/// Whether a certificate may sign data. A key usage or an extended key usage, if there is one, has to say so.
pub(crate) fn may_sign(certificate: &Certificate) -> Refusal {
    for_code(certificate)?;
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) if usage.digital_signature() || usage.non_repudiation() => Ok(()),
        Ok(Some(_)) => refuse("a key usage without signatures", "digitalSignature or nonRepudiation in it"),
        Ok(None) => Ok(()),
        Err(_) => refuse("a damaged key usage", "one or none"),
    }
}

/// Whether a certificate may vouch for others that have `between` certificates of authorities under it. An
/// extended key usage of an authority limits what it issues, as it does for OpenSSL and others.
pub(crate) fn may_issue(certificate: &Certificate, between: usize) -> Refusal {
    for_code(certificate)?;
    let tbs = certificate.tbs_certificate();
    match tbs.get_extension::<BasicConstraints>() {
        Ok(Some((_, BasicConstraints { ca: true, path_len_constraint })))
            if path_len_constraint.is_none_or(|limit| between <= usize::from(limit)) => {}
        Ok(Some((_, BasicConstraints { ca: true, .. }))) => {
            let authorities = if between == 1 { "authority" } else { "authorities" };
            return refuse(&format!("{between} {authorities} under it"), "as many as its path length allows");
        }
        Ok(Some(_) | None) => return refuse("no authority", "CA:TRUE in its basic constraints"),
        Err(_) => return refuse("damaged basic constraints", "CA:TRUE in them"),
    }
    match tbs.get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) if usage.key_cert_sign() => Ok(()),
        Ok(Some(_)) => refuse("a key usage without certificates", "keyCertSign in it"),
        Ok(None) => Ok(()),
        Err(_) => refuse("a damaged key usage", "one or none"),
    }
}

/// What holds for every certificate: no critical extension that is not known, and code among its purposes.
fn for_code(certificate: &Certificate) -> Refusal {
    let tbs = certificate.tbs_certificate();
    let mut extensions = tbs.extensions().into_iter().flatten();
    let unknown = extensions.find(|extension| extension.critical && !KNOWN.contains(&extension.extn_id));
    if let Some(extension) = unknown {
        return refuse(
            &format!("the critical extension {}", name(extension.extn_id)),
            "none that is not known",
        );
    }
    match tbs.get_extension::<ExtendedKeyUsage>() {
        Ok(Some((_, ExtendedKeyUsage(found)))) if !found.iter().any(|oid| PURPOSES.contains(oid)) => {
            let found: Vec<String> = found.into_iter().map(name).collect();
            refuse(&format!("the extended key usage {}", found.join(", ")), "codeSigning in it, or none")
        }
        Ok(_) => Ok(()),
        Err(_) => refuse("a damaged extended key usage", "one or none"),
    }
}
