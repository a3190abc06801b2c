//! One thing that is wrong with an image: a code, the place, what was found, and what was wanted.

use std::fmt;

use erofs_format::{FormatError, Rule, words};
use erofs_image::{Cause, ImageError, printable};

/// The part of a check to which a code belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The superblock and what it leads to.
    Superblock,
    /// Inodes, directories, attributes, extents.
    Structure,
    /// Fingerprints.
    Fingerprints,
    /// The profile that was asked for.
    Profile,
    /// Several images together.
    Domain,
    /// The dm-verity hash tree and its signature.
    Verity,
}

impl Area {
    /// Every area, in the order of reports.
    pub const ALL: [Self; 6] =
        [Self::Superblock, Self::Structure, Self::Fingerprints, Self::Profile, Self::Domain, Self::Verity];

    /// The name for people and machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superblock => "superblock",
            Self::Structure => "structure",
            Self::Fingerprints => "fingerprints",
            Self::Profile => "profile",
            Self::Domain => "domain",
            Self::Verity => "verity",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident $area:ident $name:literal,)*) => {
        /// What kind of thing is wrong. The names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $code,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The name for people and machines.
            pub fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            /// The part of the check.
            pub fn area(self) -> Area {
                match self { $(Self::$code => Area::$area,)* }
            }
        }
    };
}

codes! {
    /// A field of the superblock, the device table, the compression configurations or the prefix table.
    Superblock Superblock "superblock",
    /// The superblock's checksum is not that of its bytes.
    Checksum Superblock "checksum",
    /// Reserved bytes of the superblock are not 0.
    Reserved Superblock "reserved",
    /// A feature bit that is not known.
    UnknownFeature Superblock "unknown-feature",
    /// The image is shorter than the superblock says.
    Truncated Superblock "truncated",
    /// The number of inodes in the superblock is not that of the inodes that there are.
    InodeCount Superblock "inode-count",
    /// Something is used whose feature bit is not set.
    FeatureMissing Structure "feature-missing",
    /// An inode cannot be read.
    Inode Structure "inode",
    /// A directory cannot be read.
    Directory Structure "directory",
    /// Names of a directory are not in order, or not unique.
    DirectoryOrder Structure "directory-order",
    /// A directory inside itself, or with two names.
    DirectoryLoop Structure "directory-loop",
    /// `.` or `..` is absent or leads elsewhere.
    Dots Structure "dots",
    /// The type in a directory entry is not that of the inode.
    FileType Structure "file-type",
    /// The link count is not the number of names.
    LinkCount Structure "link-count",
    /// Something lies past the end of a device.
    Bounds Structure "bounds",
    /// Bytes of an inode, its attributes or its index belong to something else as well.
    MetadataOverlap Structure "metadata-overlap",
    /// Two files share some of their blocks in a way that no deduplication makes.
    DataOverlap Structure "data-overlap",
    /// Extended attributes cannot be read, or have values that Linux refuses.
    Xattr Structure "xattr",
    /// Linux lists an extended attribute and does not give its value.
    XattrHidden Structure "xattr-hidden",
    /// Inodes in the metabox have shared attributes outside of it, for which Linux may read other bytes.
    XattrMisread Structure "xattr-misread",
    /// A name leads to the inode with number 0, so that readdir(3) leaves it out.
    InodeZero Structure "inode-zero",
    /// The root directory has inode number 0, so that readdir(3) leaves out what leads to it.
    RootZero Structure "root-zero",
    /// Bytes of a page of 4096 bytes stand in several places, which kernels that share page cache read wrong.
    SubPageExtents Fingerprints "sub-page-extents",
    /// The map from a file to its blocks cannot be read.
    Map Structure "map",
    /// Compressed data cannot be decoded.
    Compressed Structure "compressed-data",
    /// The number of compressed blocks in the inode is not that of its pclusters.
    Blocks Structure "blocks",
    /// The target of a symbolic link.
    Symlink Structure "symlink",
    /// A file with content has no fingerprint, though the image announces them.
    FingerprintMissing Fingerprints "fingerprint-missing",
    /// A file has several fingerprints.
    FingerprintDuplicate Fingerprints "fingerprint-duplicate",
    /// The fingerprint is not that of the content.
    FingerprintWrong Fingerprints "fingerprint-wrong",
    /// The value is empty, longer than a block, or has not the length that its tag wants.
    FingerprintLength Fingerprints "fingerprint-length",
    /// The digest is in hexadecimal digits, so it equals no other image's.
    FingerprintHexadecimal Fingerprints "fingerprint-hexadecimal",
    /// Another attribute looks like the fingerprint, under another namespace.
    FingerprintAlias Fingerprints "fingerprint-alias",
    /// A fingerprint of a file without content.
    FingerprintOnEmpty Fingerprints "fingerprint-on-empty",
    /// A fingerprint of something that is no regular file.
    FingerprintOnOther Fingerprints "fingerprint-on-other",
    /// The name filter hides the fingerprint from the kernel.
    FingerprintFiltered Fingerprints "fingerprint-filtered",
    /// Equal fingerprints of different contents in one image.
    FingerprintConflict Fingerprints "fingerprint-conflict",
    /// Not the plain format.
    NotCore Profile "not-core",
    /// Not in canonical form.
    NotCanonical Profile "not-canonical",
    /// No fingerprint that can be checked, where the profile wants one for each file with content.
    NotFingerprinted Profile "not-fingerprinted",
    /// Equal fingerprints of different contents in two images.
    DomainConflict Domain "domain-conflict",
    /// The hash tree is not that of the image.
    Verity Verity "verity",
    /// The signature is not one of the root hash by somebody who is trusted.
    Signature Verity "signature",
}

impl Code {
    /// Whether the image is right in spite of it: every file of it can be read.
    pub fn is_warning(self) -> bool {
        matches!(self, Self::RootZero | Self::SubPageExtents | Self::XattrMisread)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// The path in the image, where it is known.
    pub path: Option<Vec<u8>>,
    /// The inode, where it is known.
    pub nid: Option<u64>,
    /// The field or place.
    pub what: String,
    /// What is there.
    pub found: String,
    /// What should be there; empty where the found says it all.
    pub wanted: String,
    /// Findings are reported in the order of the walk.
    pub(crate) order: u64,
}

impl Finding {
    /// A finding about the image as a whole.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over literals and numbers")]
    pub fn new(code: Code, what: impl ToString, found: impl ToString, wanted: impl ToString) -> Self {
        let (what, found, wanted) = (what.to_string(), found.to_string(), wanted.to_string());
        Self { code, path: None, nid: None, what, found, wanted, order: 0 }
    }

    /// The same, about an inode. What is known already stays.
    #[must_use]
    pub fn at(mut self, path: &[u8], nid: u64) -> Self {
        self.path.get_or_insert_with(|| path.to_vec());
        self.nid.get_or_insert(nid);
        self
    }

    #[must_use]
    pub(crate) fn ordered(self, order: u64) -> Self {
        Self { order, ..self }
    }

    /// What the reader says is wrong.
    pub(crate) fn of(error: &ImageError, otherwise: Code) -> Self {
        let code = code_of(error, otherwise);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the other causes print themselves")]
        let (what, found, wanted) = match error.cause() {
            Cause::Format(FormatError::Field { field, at, found, want, .. }) => {
                (format!("{field} at byte {at}"), found.clone(), want.clone())
            }
            Cause::Format(FormatError::Short { structure, at, found, want }) => {
                (format!("{structure} at byte {at}"), words::bytes(*found), format!("at least {want}"))
            }
            Cause::Format(FormatError::Limit { what, found, limit }) => {
                ((*what).to_owned(), found.clone(), limit.clone())
            }
            Cause::Beyond { what, space, at, length, end } => (
                format!("{what} at byte {at}"),
                words::bytes(*length),
                format!("an end within {space}, which has {}", words::bytes(*end)),
            ),
            Cause::Decode { start, length, at, source } => (
                format!("{} at byte {start} of the file, stored at byte {at}", words::bytes(*length)),
                source.to_string(),
                "data that can be decoded".to_owned(),
            ),
            other => (otherwise.name().to_owned(), other.to_string(), String::new()),
        };
        let nid = error.nid().map(|nid| nid.0);
        Self { path: error.path().map(<[u8]>::to_vec), nid, ..Self::new(code, what, found, wanted) }
    }
}

/// The code of what the reader refuses; `otherwise` is what was being read.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other causes say nothing about the place")]
fn code_of(error: &ImageError, otherwise: Code) -> Code {
    match error.cause() {
        Cause::Format(FormatError::Field { rule, .. }) => code_of_rule(*rule, otherwise),
        Cause::Beyond { .. } if otherwise == Code::Superblock => Code::Superblock,
        Cause::Beyond { .. } => Code::Bounds,
        Cause::Decode { .. } | Cause::NoPackedInode { .. } => Code::Compressed,
        Cause::DirectoryTwice { .. } => Code::DirectoryLoop,
        Cause::NoMetabox { .. } => Code::FeatureMissing,
        _ => otherwise,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other rules say nothing about the place")]
fn code_of_rule(rule: Rule, otherwise: Code) -> Code {
    match rule {
        Rule::Checksum => Code::Checksum,
        Rule::Feature => Code::UnknownFeature,
        Rule::NameOrder => Code::DirectoryOrder,
        // What the superblock leads to, such as the packed inode, is part of it.
        _ if otherwise == Code::Superblock => Code::Superblock,
        Rule::TableEnd => Code::Bounds,
        Rule::Inode => Code::Inode,
        Rule::Dirent => Code::Directory,
        Rule::Xattr => Code::Xattr,
        _ => otherwise,
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code.name())?;
        if let Some(path) = &self.path {
            write!(f, "{}: ", printable(path))?;
        }
        if let Some(nid) = self.nid {
            write!(f, "nid {nid}: ")?;
        }
        write!(f, "{}: found {}", self.what, self.found)?;
        if self.wanted.is_empty() { Ok(()) } else { write!(f, ", want {}", self.wanted) }
    }
}

/// How many findings of one image are kept: a hostile one can have some for each of its bytes.
pub const FINDINGS_MAX: usize = 100_000;

/// Findings up to [`FINDINGS_MAX`], and how many there were beyond.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    pub(crate) more: u64,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.extend(other.list);
        self.more = self.more.saturating_add(other.more);
    }
}

impl Extend<Finding> for Findings {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, findings: T) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lines_are_whole() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        let finding =
            Finding::new(Code::LinkCount, "link count", 3, "2, the number of names").at(b"/a\n", 36);
        assert_eq!(
            finding.to_string(),
            "link-count: /a\\x0a: nid 36: link count: found 3, want 2, the number of names"
        );
    }

    #[test]
    fn the_code_follows_the_rule_and_not_the_text() {
        let error = |rule| ImageError::from(FormatError::field("any text", 0, 1, 2).of(rule));
        for (rule, otherwise, want) in [
            (Rule::Checksum, Code::Superblock, Code::Checksum),
            (Rule::Feature, Code::Superblock, Code::UnknownFeature),
            (Rule::Inode, Code::Superblock, Code::Superblock),
            (Rule::Inode, Code::Map, Code::Inode),
            (Rule::Dirent, Code::Inode, Code::Directory),
            (Rule::NameOrder, Code::Directory, Code::DirectoryOrder),
            (Rule::Xattr, Code::Inode, Code::Xattr),
            (Rule::TableEnd, Code::Map, Code::Bounds),
            (Rule::Algorithm, Code::Map, Code::Map),
            (Rule::Value, Code::Symlink, Code::Symlink),
        ] {
            assert_eq!(Finding::of(&error(rule), otherwise).code, want, "{rule:?}");
        }
        let misleading = ImageError::from(FormatError::field("inode.i_size", 0, 1, 2));
        assert_eq!(Finding::of(&misleading, Code::Map).code, Code::Map);
    }
}
