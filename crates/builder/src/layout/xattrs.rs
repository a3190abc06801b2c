//! Which xattrs an image stores, where, and under which prefix.
//!
//! An xattr that many inodes have is stored once in the shared area and referred to by number; the others
//! follow their inodes. A fingerprint always follows its inode, first of all, because Linux looks
//! for it whenever the inode is looked up.

use std::collections::BTreeMap;

use erofs_format::FormatError;
use erofs_format::words;
use erofs_format::xattr::{self, BodyHeader, Entry};
use erofs_format::xattr_prefix;
use erofs_tree::{Inode, Tree};

use super::prefixes::Prefixes;
use crate::error::BuildError;
use crate::options::{BuildOptions, FingerprintOptions, FingerprintValue};

/// The xattrs of an image.
#[derive(Debug)]
pub(crate) struct Xattrs<'t> {
    pub(crate) prefixes: Prefixes,
    /// Shared xattrs and their place in the shared area, in bytes from its start.
    shared: BTreeMap<(&'t [u8], &'t [u8]), u64>,
    /// The byte at which the shared area starts, once it has a place.
    shared_at: u64,
    shared_base: u64,
    area: Vec<u8>,
    filter: bool,
}

/// Removes from the tree every xattr that must not be stored: those that claim to be fingerprints and those
/// whose namespace the format does not know. Returns how many of the first there were; the second become
/// warnings.
///
/// # Errors
/// A file of the source has a fingerprint where that is forbidden, or where it is to be taken none, or one
/// that has not 1 to `longest` bytes.
pub(crate) fn sift(
    tree: &mut Tree,
    fingerprint: Option<&FingerprintOptions>,
    longest: u64,
    warnings: &mut Vec<String>,
) -> Result<u64, BuildError> {
    let mut dropped = 0;
    let mut unknown: BTreeMap<Box<[u8]>, u64> = BTreeMap::new();
    for index in 0..tree.inodes.len() {
        if let Some(FingerprintOptions { value: FingerprintValue::Source, key, .. }) = fingerprint {
            check_source(tree, index, key, longest)?;
        }
        if tree.inodes[index].xattrs.is_empty() {
            continue;
        }
        let claims = |xattr: &erofs_tree::Xattr| fingerprint.is_some_and(|f| *f.key == *xattr.name);
        if let Some(options) = fingerprint
            && options.strict
            && !matches!(options.value, FingerprintValue::Source)
            && tree.inodes[index].xattrs.iter().any(claims)
        {
            let id = erofs_tree::InodeId(u32::try_from(index).unwrap_or(u32::MAX));
            return Err(BuildError::OwnFingerprint {
                path: crate::error::shown(&tree.path_of(id)),
                name: String::from_utf8_lossy(&options.key).into_owned(),
            });
        }
        let inode = &mut tree.inodes[index];
        let keeps_own =
            matches!(fingerprint, Some(FingerprintOptions { value: FingerprintValue::Source, .. }))
                && carries_fingerprint(inode);
        let mut kept = std::mem::take(&mut inode.xattrs).into_vec();
        kept.retain(|xattr| {
            if claims(xattr) {
                dropped += u64::from(!keeps_own);
                return keeps_own;
            }
            let known = xattr::split_name(&xattr.name).is_some();
            if !known {
                *unknown.entry(xattr.name.clone()).or_default() += 1;
            }
            known
        });
        inode.xattrs = kept.into_boxed_slice();
    }
    for (name, count) in unknown {
        let name = String::from_utf8_lossy(&name).into_owned();
        let inodes = words::noun(count, "inode", "inodes");
        warnings.push(format!("xattr {name} of {count} {inodes} left out: the format has no such namespace"));
    }
    Ok(dropped)
}

/// Checks the fingerprint that the source gave the inode of this index, if it is one that has to have one.
fn check_source(tree: &Tree, index: usize, key: &[u8], longest: u64) -> Result<(), BuildError> {
    let inode = &tree.inodes[index];
    let found = inode.xattr(key).map_or(0, <[u8]>::len);
    if !carries_fingerprint(inode) || (1..=longest).contains(&(found as u64)) {
        return Ok(());
    }
    Err(BuildError::SourceFingerprint {
        path: crate::error::shown(
            &tree.path_of(erofs_tree::InodeId(u32::try_from(index).unwrap_or(u32::MAX))),
        ),
        name: String::from_utf8_lossy(key).into_owned(),
        found,
        want: longest,
    })
}

/// Whether an inode is one of those that carry a fingerprint: a regular file with content.
pub(crate) fn carries_fingerprint(inode: &Inode) -> bool {
    matches!(inode.kind, erofs_tree::Kind::File { size, .. } if size != 0)
}

/// The longest that the xattrs of `inode` can be in bytes, whatever is shared and whatever prefixes there
/// are; `fingerprint` is the length of its fingerprint's value, if it is to have one.
pub(crate) fn longest_body(inode: &Inode, fingerprint: Option<usize>) -> usize {
    if inode.xattrs.is_empty() && fingerprint.is_none() {
        return 0;
    }
    let own = inode.xattrs.iter().map(|own| {
        let rest = xattr::split_name(&own.name).map_or(own.name.len(), |(_, rest)| rest.len());
        // Shared ones take the length of an id.
        xattr::padded_size(rest, own.value.len()).max(xattr::SHARED_ID_SIZE)
    });
    own.sum::<usize>() + xattr::HEADER_SIZE + fingerprint.map_or(0, |value| xattr::padded_size(0, value))
}

impl<'t> Xattrs<'t> {
    /// Decides for a whole tree, which [`sift`] has gone through.
    pub(crate) fn plan(tree: &'t Tree, options: &BuildOptions, prefixes: Prefixes) -> Self {
        let mut plan = Self {
            prefixes,
            shared: BTreeMap::new(),
            shared_at: 0,
            shared_base: 0,
            area: Vec::new(),
            filter: options.layout.xattr_filter,
        };
        if let Some(tolerance) = options.layout.xattr_tolerance {
            plan.share(tree, tolerance);
        }
        plan
    }

    fn share(&mut self, tree: &'t Tree, tolerance: u32) {
        let mut counts: BTreeMap<(&'t [u8], &'t [u8]), u32> = BTreeMap::new();
        for inode in &tree.inodes {
            for xattr in inode.xattrs.iter().filter(|xattr| !self.is_fingerprint(&xattr.name)) {
                *counts.entry((&xattr.name, &xattr.value)).or_default() += 1;
            }
        }
        for ((name, value), count) in counts {
            if count > tolerance {
                let at = u64::try_from(self.area.len()).unwrap_or(u64::MAX);
                let mut area = std::mem::take(&mut self.area);
                let outcome = self.entry(name, value).and_then(|entry| entry.encode(&mut area));
                self.area = area;
                // A value that is too long is reported where its file is known.
                if outcome.is_ok() {
                    self.shared.insert((name, value), at);
                }
            }
        }
    }

    fn is_fingerprint(&self, name: &[u8]) -> bool {
        self.prefixes.fingerprint.as_ref().is_some_and(|key| key.name == name)
    }

    /// The bytes of the shared area, whose entries start at multiples of 4.
    pub(crate) fn shared_area(&self) -> &[u8] {
        &self.area
    }

    /// Tells where the shared area is: at byte `at`, a multiple of 4. Its ids count from byte `base`.
    pub(crate) fn set_shared_at(&mut self, at: u64, base: u64) {
        self.shared_at = at;
        self.shared_base = base;
    }

    /// Where the shared area starts.
    pub(crate) fn shared_at(&self) -> u64 {
        self.shared_at
    }

    /// The number of the fingerprints' prefix.
    pub(crate) fn fingerprint_prefix(&self) -> Option<u8> {
        self.prefixes.fingerprint.as_ref().map(|key| key.prefix)
    }

    /// Whether name filters are written.
    pub(crate) fn has_filter(&self) -> bool {
        self.filter
    }

    /// An xattr as it is stored: under the longest prefix that fits. The fingerprints' prefix serves nothing
    /// else.
    fn entry<'a>(&self, name: &'a [u8], value: &'a [u8]) -> Result<Entry<'a>, FormatError> {
        let (base, rest) = xattr::split_name(name).ok_or_else(|| {
            FormatError::limit(
                "xattr name",
                String::from_utf8_lossy(name),
                "names in a namespace that it knows",
            )
        })?;
        let fingerprint = self.fingerprint_prefix();
        let long = (0..).zip(&self.prefixes.list).filter(|(number, _)| Some(*number) != fingerprint);
        let best = long
            .filter_map(|(number, prefix)| prefix.strip(base, rest).map(|suffix| (number, suffix)))
            .min_by_key(|(_, suffix)| suffix.len());
        Ok(match best {
            Some((number, suffix)) => {
                Entry { name_index: xattr_prefix::name_index(number), name: suffix, value }
            }
            None => Entry { name_index: base, name: rest, value },
        })
    }

    /// How many bytes the xattrs of `inode` take behind it: 0, or a header and entries. `fingerprint` is the
    /// length of its fingerprint's value, if it is to have one.
    pub(crate) fn body_size(&self, inode: &Inode, fingerprint: Option<usize>) -> Result<usize, FormatError> {
        if inode.xattrs.is_empty() && fingerprint.is_none() {
            return Ok(0);
        }
        let mut size = xattr::HEADER_SIZE + fingerprint.map_or(0, |value| xattr::padded_size(0, value));
        let mut shared = 0;
        for own in inode.xattrs.iter().filter(|own| !self.is_fingerprint(&own.name)) {
            if self.shared_id(own, &mut shared).is_some() {
                size += xattr::SHARED_ID_SIZE;
            } else {
                let entry = self.entry(&own.name, &own.value)?;
                if own.value.len() > xattr::VALUE_MAX || entry.name.len() > xattr::NAME_MAX {
                    let shown = format!(
                        "{} with {}",
                        String::from_utf8_lossy(&own.name),
                        words::bytes(own.value.len())
                    );
                    return Err(FormatError::limit(
                        "xattr",
                        shown,
                        format!("values of {} bytes", xattr::VALUE_MAX),
                    ));
                }
                size += entry.size();
            }
        }
        Ok(size)
    }

    fn shared_id(&self, own: &erofs_tree::Xattr, used: &mut usize) -> Option<u64> {
        let at = *self.shared.get(&(&*own.name, &*own.value))?;
        if *used == xattr::SHARED_MAX {
            return None;
        }
        *used += 1;
        Some(self.shared_at - self.shared_base + at)
    }

    /// Appends the xattrs of `inode`: header, shared ids, fingerprint, the other entries in the order of
    /// their names.
    pub(crate) fn encode_body(
        &self,
        inode: &Inode,
        fingerprint: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        if inode.xattrs.is_empty() && fingerprint.is_none() {
            return Ok(());
        }
        let mut filter = 0;
        let mut ids = Vec::new();
        let mut entries = Vec::new();
        let mut used = 0;
        if let (Some(value), Some(key)) = (fingerprint, &self.prefixes.fingerprint) {
            filter |= key.filter_bit;
            let entry = Entry { name_index: xattr_prefix::name_index(key.prefix), name: b"", value };
            entry.encode(&mut entries)?;
        }
        for own in inode.xattrs.iter().filter(|own| !self.is_fingerprint(&own.name)) {
            if let Some((base, rest)) = xattr::split_name(&own.name) {
                filter |= xattr::filter_bit(base, rest);
            }
            match self.shared_id(own, &mut used) {
                Some(at) => ids.push(at / xattr::SHARED_ID_UNIT),
                None => self.entry(&own.name, &own.value)?.encode(&mut entries)?,
            }
        }
        let name_filter = if self.filter { BodyHeader::filter_of(filter) } else { 0 };
        let shared_count = u8::try_from(ids.len()).unwrap_or(u8::MAX);
        BodyHeader { name_filter, shared_count }.encode(out);
        for id in ids {
            let id = u32::try_from(id).map_err(|_| {
                FormatError::limit("place of a shared xattr", id, "the first 16 GiB of the metadata")
            })?;
            out.extend_from_slice(&id.to_le_bytes());
        }
        out.extend_from_slice(&entries);
        Ok(())
    }
}
