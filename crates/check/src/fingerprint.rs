//! The fingerprint of a file: which of its attributes is one, and whether it is that of the content.

use erofs_algo::fingerprint::{self as algo, Fingerprint as Computed, FingerprintKind, Hasher};
use erofs_format::words;
use erofs_format::xattr;
use erofs_format::xattr_prefix::LongPrefix;
use erofs_image::{Image, ImageError, Inode, Xattr, printable};
use uuid::Uuid;

use crate::finding::{Code, Finding};

/// The name under which fingerprints are stored.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// The full name; for a hidden one, what is stored.
    name: Vec<u8>,
    /// The name for people.
    shown: String,
    hidden: bool,
    /// The name without its namespace.
    bare: Vec<u8>,
    /// The longest value that the kernel takes, in bytes: a block.
    limit: usize,
}

impl Key {
    /// The key of an image; `None` if it announces none.
    pub(crate) fn of(image: &Image) -> Result<Option<Self>, ImageError> {
        let Some(prefix) = image.ishare_prefix()? else { return Ok(None) };
        // The kernel takes the infix as a string that ends at its first NUL.
        let bare = prefix.infix.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let read = LongPrefix { base_index: prefix.base_index, infix: bare.clone() };
        let name = read.full(0)?;
        let limit = image.superblock().block_bits.bytes();
        let shown = printable(&name);
        Ok(Some(Self { name, shown, hidden: prefix.base_index == xattr::INDEX_NONE, bare, limit }))
    }

    /// Whether an attribute is the fingerprint.
    pub(crate) fn is(&self, attribute: &Xattr) -> bool {
        attribute.name == self.name && attribute.hidden == self.hidden
    }

    /// Whether an attribute is not the fingerprint, but could be taken for it: the same name in another
    /// namespace.
    fn is_alias(&self, attribute: &Xattr) -> bool {
        if self.is(attribute) {
            return false;
        }
        let bare = xattr::split_name(&attribute.name).map_or(attribute.name.as_slice(), |(_, rest)| rest);
        let same = attribute.name == self.name || bare == self.bare || bare == self.name;
        same && algo::by_value(&attribute.value).is_some()
    }
}

/// What the attributes of an inode say, and what is wrong with that before anybody looks at the content.
pub(crate) fn of_attributes(
    key: &Key,
    inode: &Inode,
    attributes: &[Xattr],
    findings: &mut Vec<Finding>,
) -> Option<Vec<u8>> {
    let mut report = |code, found: String, wanted: &str| {
        findings.push(Finding::new(code, &key.shown, found, wanted));
    };
    if let Some(alias) = attributes.iter().find(|attribute| key.is_alias(attribute)) {
        let hidden = if alias.hidden { " (hidden)" } else { "" };
        let found = format!("the same under the name {}{hidden}", printable(&alias.name));
        report(Code::FingerprintAlias, found, "one fingerprint, under the name that the image announces");
    }
    let mut values = attributes.iter().filter(|attribute| key.is(attribute));
    let Some(first) = values.next() else {
        if inode.is_file() && inode.size() > 0 {
            report(Code::FingerprintMissing, "none".into(), "one for each file with content");
        }
        return None;
    };
    let more = values.count();
    if more > 0 {
        let found = format!("{} of them", more.saturating_add(1));
        report(Code::FingerprintDuplicate, found, "one, because the kernel takes the first");
    }
    if !inode.is_file() {
        report(
            Code::FingerprintOnOther,
            format!("one of a {}", inode.file_type.name()),
            "regular files only",
        );
        return None;
    }
    if inode.size() == 0 {
        report(Code::FingerprintOnEmpty, "one of an empty file".into(), "files with content only");
        return None;
    }
    let length = first.value.len();
    if length == 0 || length > key.limit {
        let wanted = format!("1 to {} bytes, a block", key.limit);
        report(Code::FingerprintLength, words::bytes(length), &wanted);
        return None;
    }
    Some(first.value.clone())
}

/// The content of a file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The fingerprint as stored.
    pub value: Vec<u8>,
    /// A cryptographic digest of the bytes that were read; of one kind for all contents of equal value.
    pub digest: Vec<u8>,
    /// Length in bytes.
    pub size: u64,
    /// The path.
    pub path: Vec<u8>,
    /// The inode.
    pub nid: u64,
    pub(crate) order: u64,
}

/// A fingerprint that is being recomputed.
pub(crate) struct Judge<'a> {
    value: &'a [u8],
    /// The kind that the value's tag names, if there is one.
    tagged: Option<FingerprintKind>,
    /// Those of the tag's kind, else of all kinds whose hexadecimal digits the value could be.
    hashers: Vec<(FingerprintKind, Box<dyn Hasher>)>,
    /// The value can be recomputed.
    decisive: bool,
}

/// What came of it.
pub(crate) struct Verdict {
    pub(crate) digest: Vec<u8>,
    pub(crate) finding: Option<Finding>,
    /// The value could be compared with the content.
    pub(crate) judged: bool,
}

/// The kind by which a value can be recomputed, if its tag tells that; the namespace is that of kinds that
/// need one.
pub(crate) fn decisive_kind(value: &[u8], namespace: Option<Uuid>) -> Option<FingerprintKind> {
    algo::by_value(value).filter(|kind| !kind.needs_namespace || namespace.is_some())
}

impl<'a> Judge<'a> {
    /// For a value; the namespace is that of kinds that need one.
    pub(crate) fn new(value: &'a [u8], namespace: Option<Uuid>) -> Self {
        let tagged = algo::by_value(value);
        let decisive = decisive_kind(value, namespace).is_some();
        let mut kinds: Vec<FingerprintKind> = match tagged {
            Some(kind) => vec![kind],
            None => algo::TABLE.into_iter().filter(|kind| could_be_hex(value, kind)).collect(),
        };
        if kinds.is_empty() {
            kinds.extend(algo::TABLE.first());
        }
        let namespace = namespace.unwrap_or(Uuid::nil());
        let hashers: Vec<_> = kinds.into_iter().map(|kind| (kind, (kind.hasher)(namespace))).collect();
        Self { value, tagged, hashers, decisive }
    }

    /// The next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.hashers {
            hasher.update(bytes);
        }
    }

    /// All bytes were there.
    pub(crate) fn finish(self) -> Verdict {
        let Self { value, tagged, hashers, decisive } = self;
        let computed: Vec<(FingerprintKind, Computed)> =
            hashers.into_iter().map(|(kind, hasher)| (kind, hasher.finish())).collect();
        let finding = match tagged {
            Some(_) if !decisive => None,
            Some(kind) => computed.first().and_then(|(_, made)| wrong(value, kind, made)),
            None => untagged(value, &computed),
        };
        let digest = computed.into_iter().next().map(|(_, made)| made.digest).unwrap_or_default();
        Verdict { digest, finding, judged: decisive }
    }
}

impl Verdict {
    /// For a value of a decisive kind, and what the content makes.
    pub(crate) fn of(value: &[u8], kind: FingerprintKind, made: Computed) -> Self {
        let finding = wrong(value, kind, &made);
        Self { digest: made.digest, finding, judged: true }
    }
}

/// A value that is not that of the content.
fn wrong(value: &[u8], kind: FingerprintKind, made: &Computed) -> Option<Finding> {
    (made.value != value).then(|| {
        let wanted = format!("{}, that of the content", shown(&made.value));
        Finding::new(Code::FingerprintWrong, kind.name, shown(value), wanted)
    })
}

/// What is wrong with a value of no kind that is known here, if that can be said.
fn untagged(value: &[u8], computed: &[(FingerprintKind, Computed)]) -> Option<Finding> {
    for (kind, made) in computed {
        let digest = made.value.strip_prefix(kind.tag).unwrap_or(&made.value);
        if digits_of(value, kind).is_some_and(|digits| digits.eq_ignore_ascii_case(hex(digest).as_bytes())) {
            let wanted = format!("{} and the {} raw bytes", printable(kind.tag), kind.digest_len);
            return Some(Finding::new(Code::FingerprintHexadecimal, kind.name, shown(value), wanted));
        }
    }
    let kind = algo::TABLE.into_iter().find(|kind| value.starts_with(kind.tag))?;
    let length = value.len().saturating_sub(kind.tag.len());
    let found = format!("{} behind {}", words::bytes(length), printable(kind.tag));
    Some(Finding::new(Code::FingerprintLength, kind.name, found, kind.digest_len))
}

/// The hexadecimal digits in a value, if they could be a digest of this kind.
fn digits_of<'a>(value: &'a [u8], kind: &FingerprintKind) -> Option<&'a [u8]> {
    let digits = value.strip_prefix(kind.tag).unwrap_or(value);
    let fits = digits.len() == kind.digest_len.saturating_mul(2);
    (fits && digits.iter().all(u8::is_ascii_hexdigit)).then_some(digits)
}

fn could_be_hex(value: &[u8], kind: &FingerprintKind) -> bool {
    !kind.needs_namespace && digits_of(value, kind).is_some()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16);
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).filter_map(digit).collect()
}

/// A value for people: a tag that is text as it is, the rest in hexadecimal digits.
pub(crate) fn shown(value: &[u8]) -> String {
    const SHOWN: usize = 80;
    let tag =
        algo::TABLE.into_iter().map(|kind| kind.tag).find(|tag| value.starts_with(tag)).unwrap_or_default();
    let rest = value.strip_prefix(tag).unwrap_or(value);
    let part = rest.get(..rest.len().min(SHOWN)).unwrap_or_default();
    let more = if part.len() < rest.len() { "…" } else { "" };
    let is_text = !part.is_empty() && part.iter().all(u8::is_ascii_graphic);
    let rest = if is_text { printable(part) } else { hex(part) };
    format!("{}{rest}{more}", printable(tag))
}
