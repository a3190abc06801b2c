//! What is to be said about the superblock beyond what the reader refuses.

use erofs_format::Nid;
use erofs_format::feature::{self, compat};
use erofs_format::superblock::{self, Superblock};
use erofs_format::words;
use erofs_image::{Image, ReadAt};

use crate::finding::{Code, Finding};

/// The most blocks of an LZ4 pcluster that the superblock may announce, whatever the size of a block: Linux
/// compares the number before it knows that size (`z_erofs_load_lz4_config`).
const LZ4_BLOCKS_MAX: u16 = 256;

/// Checks the superblock of an image that could be opened.
pub(crate) fn check(image: &Image, primary: &dyn ReadAt) -> Vec<Finding> {
    let mut findings = Vec::new();
    let superblock = image.superblock();
    findings.extend(checksum(superblock, primary));
    findings.extend(reserved(superblock, primary));
    let unknown = feature::unknown(&feature::COMPAT, superblock.compat);
    if unknown != 0 {
        let found = format!("{:#x} with unknown bits {unknown:#x}", superblock.compat);
        let known = feature::COMPAT.iter().fold(0, |bits, row| bits | row.bit);
        let wanted = format!("bits of {known:#x} only");
        findings.push(Finding::new(Code::UnknownFeature, "superblock.feature_compat", found, wanted));
    }
    let has_fragments = superblock.incompat & feature::incompat::FRAGMENTS != 0;
    if superblock.packed_nid != Nid(0) && !has_fragments {
        let wanted = "0 without the feature fragments";
        findings.push(Finding::new(
            Code::Superblock,
            "superblock.packed_nid",
            superblock.packed_nid.0,
            wanted,
        ));
    }
    let lz4 = image.compression_configs().lz4;
    if let Some(lz4) = lz4.filter(|lz4| lz4.max_pclusterblks > LZ4_BLOCKS_MAX) {
        let wanted = format!("at most {LZ4_BLOCKS_MAX} blocks, of any size");
        findings.push(Finding::new(Code::Superblock, "lz4 pcluster size", lz4.max_pclusterblks, wanted));
    }
    let bytes = superblock.blocks.saturating_mul(superblock.block_bits.size());
    if bytes > image.primary_len() {
        let found = words::bytes(image.primary_len());
        let wanted = format!("{}, which are {bytes} bytes", words::blocks(superblock.blocks));
        findings.push(Finding::new(Code::Truncated, "the image", found, wanted));
    }
    findings
}

fn checksum(superblock: &Superblock, primary: &dyn ReadAt) -> Option<Finding> {
    if superblock.compat & compat::SB_CHKSUM == 0 {
        return None;
    }
    let mut covered = vec![0; superblock::checksum_span(superblock.block_bits)];
    if primary.read_at(superblock::OFFSET, &mut covered).is_err() {
        let found = format!("an image of {}", words::bytes(primary.len()));
        return Some(Finding::new(Code::Checksum, "superblock.checksum", found, "the block that it covers"));
    }
    let found = superblock::verify_checksum(superblock, &covered).err()?;
    Some(Finding::of(&found.into(), Code::Checksum))
}

/// Bytes that mean nothing are 0, as their encoder leaves them.
fn reserved(superblock: &Superblock, primary: &dyn ReadAt) -> Option<Finding> {
    let mut stored = vec![0; superblock::record_size(superblock.extslots)];
    primary.read_at(superblock::OFFSET, &mut stored).ok()?;
    // With the 48-bit layout the root's nid can stand in its old place; bytes that are wrong are so in both
    // forms.
    let narrow =
        Superblock { incompat: superblock.incompat & !feature::incompat::BIT48, ..superblock.clone() };
    let forms: Vec<Vec<u8>> =
        [superblock, &narrow].into_iter().filter_map(|form| form.encode().ok()).collect();
    let is_wrong =
        |(at, byte): &(usize, &u8)| !forms.is_empty() && forms.iter().all(|form| form.get(*at) != Some(byte));
    let (at, byte) = stored.iter().enumerate().find(is_wrong)?;
    let at = superblock::OFFSET.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
    let what = format!("reserved byte {at} of the superblock");
    Some(Finding::new(Code::Reserved, what, format!("{byte:#04x}"), "0"))
}
