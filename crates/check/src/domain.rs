//! Several images in one domain: equal fingerprints have to stand for equal contents, or whoever is looked up
//! last supplies the bytes of everybody (Linux's `erofs_ishare_fill_inode`).

use erofs_format::words;
use erofs_image::printable;
use hashbrown::HashMap;

use crate::finding::{Code, Finding};
use crate::fingerprint::{Content, shown};
use crate::report::Report;

/// Files with equal fingerprints and different contents. The images are given with the names that the
/// findings have for them; the first file with a fingerprint is the one that the others are compared with.
pub fn conflicts(images: &[(&str, &Report)]) -> Vec<Finding> {
    let mut known: HashMap<&[u8], (usize, &Content)> = HashMap::new();
    let mut findings = Vec::new();
    for (index, (name, report)) in images.iter().enumerate() {
        for content in &report.contents {
            let (first, other) = *known.entry(content.value.as_slice()).or_insert((index, content));
            if other.digest == content.digest && other.size == content.size {
                continue;
            }
            let code = if first == index { Code::FingerprintConflict } else { Code::DomainConflict };
            // What one image says against itself is reported where that image is checked.
            if first == index && images.len() > 1 {
                continue;
            }
            let other_name = images.get(first).map_or("", |image| image.0);
            let what = format!("fingerprint {}", shown(&content.value));
            let found = format!("{} with digest {}", words::bytes(content.size), digest(content));
            let wanted = format!(
                "{} with digest {}, those of {other_name}:{}",
                words::bytes(other.size),
                digest(other),
                printable(&other.path)
            );
            let path = if images.len() > 1 {
                [name.as_bytes(), b":", &content.path].concat()
            } else {
                content.path.clone()
            };
            findings
                .push(Finding::new(code, what, found, wanted).at(&path, content.nid).ordered(content.order));
        }
    }
    findings
}

fn digest(content: &Content) -> String {
    shown(content.digest.get(..content.digest.len().min(8)).unwrap_or_default())
}
