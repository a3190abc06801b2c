//! `erofs-ishare sign`: a detached signature over the root hash of an image's hash tree.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use erofs_builder::ImageFile;
use erofs_verity::{Certificates, FileBytes, PrivateKey, Request, RootHash, signature};

use super::Done;
use super::cover::{self, Uncovered};
use super::source::shown;
use super::undumped::Undumped;
use crate::exit::{WrongUse, one_line};
use crate::files::{self, Item};
use crate::output;

/// Certificates and signatures are not longer than this, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Permissions with which others could read a private key.
const OTHERS: u32 = 0o077;

/// Sign the root hash of an image's dm-verity hash tree
///
/// Makes the detached PKCS#7 signature, in DER, that dm-verity and systemd take: over the 64 hexadecimal
/// digits of the root hash, without an end of line. An image is checked completely against its hash tree,
/// which has to cover its whole file system, before its root hash is signed. The certificate has to allow
/// signatures: digitalSignature or nonRepudiation in its key usage and codeSigning in its extended key usage,
/// where it has them. Core dumps are off while the key is in memory. Where the key is kept elsewhere,
/// --to-be-signed writes what it has to sign, with SHA-256, and --join-signature makes the PKCS#7 of the
/// result.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image: its hash tree is behind it, or in the file of --verity
    #[arg(required_unless_present = "roothash", conflicts_with = "roothash")]
    image: Option<PathBuf>,

    /// Sign the root hash in FILE, hexadecimal digits, without looking at any image
    #[arg(long, value_name = "FILE")]
    roothash: Option<PathBuf>,

    /// The file that holds the hash tree of IMAGE
    #[arg(long, value_name = "FILE", conflicts_with = "roothash")]
    verity: Option<PathBuf>,

    /// The private key in PEM: RSA of 2048 bits or more, P-256 or P-384, not encrypted
    #[arg(long, value_name = "KEY.pem", required_unless_present_any = ["to_be_signed", "join_signature"])]
    key: Option<PathBuf>,

    /// The certificate of the key in PEM; more may follow it in the file
    #[arg(long, value_name = "CERT.pem", required_unless_present = "to_be_signed")]
    certificate: Option<PathBuf>,

    /// The signature
    #[arg(short, long, value_name = "X.p7s", required_unless_present = "to_be_signed")]
    output: Option<PathBuf>,

    /// Put the certificates into the signature, so that `verify --certificate CA.pem` finds them there, as
    /// registries want it; dm-verity and systemd have their own
    #[arg(long)]
    embed_certificates: bool,

    /// Write to FILE the bytes that the key has to sign by SHA-256 (PKCS#1 v1.5 for RSA), and end
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["key", "certificate", "output", "embed_certificates", "join_signature"]
    )]
    to_be_signed: Option<PathBuf>,

    /// Take the signature in FILE, which a key elsewhere made of those bytes, instead of making one
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    join_signature: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    keep_apart(args)?;
    let root = root(args)?;
    if let Some(file) = &args.to_be_signed {
        write(file, &signature::to_be_signed(&root))?;
        return Ok(Done::Whole);
    }
    let (Some(certificate), Some(file)) = (&args.certificate, &args.output) else {
        bail!("found no certificate or no place for the signature");
    };
    let named = || shown(certificate);
    let certificates = Certificates::from_pem(&read(certificate)?).with_context(named)?;
    let embed = args.embed_certificates;
    let signature = match (&args.join_signature, &args.key) {
        (Some(raw), _) => signature::join(&root, &read(raw)?, &certificates, embed)?,
        (None, Some(key)) => {
            let _undumped = undumped();
            signature::sign(&root, &private_key(key)?, &certificates, embed)?
        }
        (None, None) => bail!("found no key"),
    };
    write(file, &signature)?;
    Ok(Done::Whole)
}

/// Refuses outputs that are inputs: keys and certificates are small files of which there may be no other
/// copy.
fn keep_apart(args: &Args) -> Result<(), WrongUse> {
    let items = |files: &[(&str, &Option<PathBuf>)]| -> Vec<Item> {
        files.iter().filter_map(|(flag, path)| Some(Item::new(flag, path.as_ref()?))).collect()
    };
    let read = items(&[
        ("IMAGE", &args.image),
        ("--roothash", &args.roothash),
        ("--verity", &args.verity),
        ("--key", &args.key),
        ("--certificate", &args.certificate),
        ("--join-signature", &args.join_signature),
    ]);
    files::keep_apart(&read, &items(&[("--output", &args.output), ("--to-be-signed", &args.to_be_signed)]))
}

/// The root hash that is to be signed.
fn root(args: &Args) -> anyhow::Result<RootHash> {
    if let Some(file) = &args.roothash {
        let text = read(file)?;
        return RootHash::parse(&String::from_utf8_lossy(&text)).with_context(|| shown(file));
    }
    let Some(image) = &args.image else { bail!("found no image") };
    let data = FileBytes::open(image).with_context(|| shown(image))?;
    let tree =
        args.verity.as_ref().map(|path| FileBytes::open(path).with_context(|| shown(path))).transpose()?;
    let (hashes, hash_offset) = if let Some(tree) = &tree {
        (tree, 0)
    } else {
        let at = cover::hash_tree(&data)
            .ok_or_else(|| anyhow!("found no hash tree behind it, want --verity FILE"));
        (&data, at.with_context(|| shown(image))?)
    };
    let request = Request { data: &data, hashes, hash_offset, root: None, threads: 0 };
    let checked = erofs_verity::check(&request).with_context(|| shown(image))?;
    if let Some(wrong) = checked.wrong {
        return Err(anyhow!("{wrong}; nothing was signed").context(shown(image)));
    }
    match cover::uncovered(&data, &checked).with_context(|| shown(image))? {
        None => Ok(checked.root),
        Some(found) => {
            let wanted = Uncovered::WANTED;
            Err(anyhow!("hash tree: found {found}, want {wanted}; nothing was signed").context(shown(image)))
        }
    }
}

fn undumped() -> Option<Undumped> {
    Undumped::begin()
        .inspect_err(|error| {
            let text = format!("warning: core dumps cannot be turned off: {error}");
            output::complain(super::NAME, &one_line(&text));
        })
        .ok()
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKey> {
    let file = File::open(path).with_context(|| shown(path))?;
    let metadata = file.metadata().with_context(|| shown(path))?;
    if metadata.is_file() && metadata.mode() & OTHERS != 0 {
        let mode = metadata.mode() & 0o777;
        let text = format!("warning: {}: others can use this key: mode {mode:03o}", shown(path));
        output::complain(super::NAME, &one_line(&text));
    }
    PrivateKey::read(file).with_context(|| shown(path))
}

/// Reads a certificate or a signature, which is not longer than 1 MiB.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| shown(path))?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).with_context(|| shown(path))?;
    if bytes.len() as u64 > FILE_MAX {
        bail!("{}: found more than {FILE_MAX} bytes", shown(path));
    }
    Ok(bytes)
}

/// Writes a file that appears whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    for warning in ImageFile::write_whole(path, bytes)? {
        output::complain(super::NAME, &one_line(&format!("warning: {warning}")));
    }
    Ok(())
}
