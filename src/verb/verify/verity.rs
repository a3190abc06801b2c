//! The dm-verity hash tree of an image, and the signature over its root hash.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use erofs_check::{Code, Finding};
use erofs_verity::{Certificates, FileBytes, Request, RootHash, Signer, VerityError, signature};
use serde::Serialize;

use crate::verb::cover::{self, Uncovered};
use crate::verb::sign::read;
use crate::verb::source::shown;

/// What is to be compared with the image.
#[derive(Debug, clap::Args)]
pub(super) struct VerityArgs {
    /// Check the image against its dm-verity hash tree: the one behind it, or in FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    verity: Option<OsString>,

    /// The root hash that is trusted: 64 hexadecimal digits, or the file that holds them
    #[arg(long, value_name = "HEX|FILE", requires = "verity")]
    roothash: Option<String>,

    /// Check the signature over the root hash: it has to be of one of these certificates, or of one that they
    /// issued and that the signature brings along (`sign --embed-certificates`) or is given as well
    #[arg(long, value_name = "CA.pem", requires = "verity")]
    certificate: Vec<PathBuf>,

    /// Hold the certificates of the signature to their dates, which Linux does not do
    #[arg(long, requires = "certificate")]
    require_valid_dates: bool,

    /// The signature [default: IMAGE.roothash.p7s, without a .raw at the end of IMAGE]
    #[arg(long, value_name = "X.p7s", requires = "certificate")]
    signature: Option<PathBuf>,
}

/// What a tree says of an image.
pub(super) struct Tree {
    root: RootHash,
    /// How many bytes it covers, from the first on, if that is the whole file system as far as the superblock
    /// tells.
    pub(super) covered: Option<u64>,
}

/// What was proved.
#[derive(Debug, Serialize)]
pub(super) struct Proved {
    /// The root hash that the tree leads to.
    pub(super) root_hash: String,
    /// Whether it was compared with one that is trusted: given, or signed.
    pub(super) trusted: bool,
    /// The subject of the certificate of whoever signed it.
    pub(super) signer: Option<String>,
    /// Whether that certificate is valid today; Linux does not ask.
    pub(super) certificate_valid: Option<bool>,
}

impl VerityArgs {
    /// Whether anything is to be checked.
    pub(super) fn is_asked(&self) -> bool {
        self.verity.is_some()
    }

    /// Whether files are named that belong to one image.
    pub(super) fn names_files(&self) -> bool {
        let file = self.verity.as_ref().is_some_and(|file| !file.is_empty());
        file || self.roothash.is_some() || self.signature.is_some()
    }

    /// Checks tree, root hash and signature of an image; also says how many bytes of it they cover, if there
    /// is a tree that covers the file system.
    pub(super) fn check(&self, image: &Path) -> anyhow::Result<(Option<Proved>, Vec<Finding>, Option<u64>)> {
        let mut findings = Vec::new();
        let want = self.roothash.as_deref().map(root_hash).transpose()?;
        let Some(tree) = self.tree(image, want, &mut findings)? else { return Ok((None, findings, None)) };
        let signer = self.signer(image, &tree.root, &mut findings)?;
        let proved = Proved {
            root_hash: tree.root.to_string(),
            trusted: signer.is_some() || want == Some(tree.root),
            certificate_valid: signer.as_ref().map(|signer| signer.not_valid.is_empty()),
            signer: signer.map(|signer| signer.subject),
        };
        Ok((Some(proved), findings, tree.covered))
    }

    /// What the tree leads to, if there is a tree that can be used.
    fn tree(
        &self,
        image: &Path,
        root: Option<RootHash>,
        findings: &mut Vec<Finding>,
    ) -> anyhow::Result<Option<Tree>> {
        let open = |path: &Path| FileBytes::open(path).with_context(|| shown(path));
        let data = open(image)?;
        let file = self.verity.as_deref().filter(|file| !file.is_empty()).map(Path::new);
        let tree = file.map(open).transpose()?;
        let mut report = |found: String, wanted: &str| {
            findings.push(Finding::new(Code::Verity, "dm-verity hash tree", found, wanted));
        };
        let (hashes, hash_offset) = if let Some(tree) = &tree {
            (tree, 0)
        } else {
            let Some(at) = cover::hash_tree(&data) else {
                report("none behind the image".into(), "one there, or --verity=FILE");
                return Ok(None);
            };
            (&data, at)
        };
        let request = Request { data: &data, hashes, hash_offset, root, threads: 0 };
        match erofs_verity::check(&request) {
            Ok(checked) => {
                if let Some(wrong) = checked.wrong {
                    report(wrong.to_string(), "a tree that fits the data and the root hash");
                }
                // An image without a superblock has a finding of its own.
                let uncovered = cover::uncovered(&data, &checked).ok().flatten();
                if let Some(found) = uncovered {
                    report(found.to_string(), Uncovered::WANTED);
                }
                let covered = uncovered.is_none().then_some(checked.data_bytes);
                Ok(Some(Tree { root: checked.root, covered }))
            }
            Err(error @ (VerityError::Superblock { .. } | VerityError::Short { .. })) => {
                report(error.to_string(), "a tree");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Who signed the root hash.
    fn signer(
        &self,
        image: &Path,
        root: &RootHash,
        findings: &mut Vec<Finding>,
    ) -> anyhow::Result<Option<Signer>> {
        if self.certificate.is_empty() {
            return Ok(None);
        }
        let mut pem = Vec::new();
        for path in &self.certificate {
            pem.extend(read(path)?);
            pem.push(b'\n');
        }
        let trusted = Certificates::from_pem(&pem)?;
        let path = self.signature.clone().unwrap_or_else(|| beside(image));
        let der = read(&path)?;
        match signature::verify(&der, root, &trusted, SystemTime::now()) {
            Ok(signer) => {
                if self.require_valid_dates && !signer.not_valid.is_empty() {
                    let found = format!("{} out of its dates", signer.not_valid.join(", "));
                    let wanted = "certificates that are valid today (--require-valid-dates)";
                    findings.push(Finding::new(Code::Signature, shown(&path), found, wanted));
                }
                Ok(Some(signer))
            }
            Err(error) => {
                let wanted = format!("one of the root hash {root} by somebody who is trusted");
                findings.push(Finding::new(Code::Signature, shown(&path), error, wanted));
                Ok(None)
            }
        }
    }
}

fn root_hash(text: &str) -> anyhow::Result<RootHash> {
    if let Ok(hash) = RootHash::parse(text) {
        return Ok(hash);
    }
    let path = Path::new(text);
    let read = read(path)?;
    RootHash::parse(&String::from_utf8_lossy(&read)).with_context(|| shown(path))
}

/// Where systemd looks for the signature.
fn beside(image: &Path) -> PathBuf {
    let name = image.as_os_str().as_bytes();
    let stem = name.strip_suffix(b".raw").filter(|stem| !stem.is_empty() && !stem.ends_with(b"/"));
    let mut path = OsStr::from_bytes(stem.unwrap_or(name)).to_owned();
    path.push(".roothash.p7s");
    path.into()
}
