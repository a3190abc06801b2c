//! The extended attributes of an inode under their full names: those behind the inode first, then the shared
//! ones.

use erofs_format::feature::compat;
use erofs_format::inode::xattr_body_size;
use erofs_format::xattr::{self, BodyHeader, ENTRY_SIZE, HEADER_SIZE, INDEX_NONE, SHARED_ID_SIZE};
use erofs_format::xattr_prefix::{self, LongPrefix};
use erofs_format::{FormatError, Nid, Rule};

use crate::error::{ImageError, Result};
use crate::image::Image;
use crate::inode::Inode;
use crate::space::Space;

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// The full name; for a hidden one, what is stored.
    pub name: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The name has no namespace, so that the kernel shows it to nobody.
    pub hidden: bool,
    /// Stored once for several inodes.
    pub shared: bool,
}

/// The extended attributes of an inode, read one by one. Ends after the first error.
#[derive(Debug)]
pub struct Xattrs<'a> {
    image: &'a Image,
    nid: Nid,
    stored: Stored<'a>,
    ended: bool,
}

impl Iterator for Xattrs<'_> {
    type Item = Result<Xattr>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let outcome = match self.stored.next() {
                None => None,
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(entry)) => match self.image.named(&entry) {
                    Ok(None) => continue,
                    Ok(Some(xattr)) => return Some(Ok(xattr)),
                    Err(error) => Some(Err(error)),
                },
            };
            self.ended = true;
            return outcome.map(|error: Result<Xattr>| error.map_err(|error| error.at_nid(self.nid)));
        }
        None
    }
}

/// An entry as it is stored; the value is still to be read.
#[derive(Debug)]
struct StoredEntry<'a> {
    space: &'a Space,
    at: u64,
    name_index: u8,
    name: Vec<u8>,
    value_at: u64,
    value_len: usize,
    shared: bool,
}

impl StoredEntry<'_> {
    /// Takes the entry at the start of `bytes`, which stand at byte `at` of `space`; also its size with
    /// padding.
    fn decode<'a>(space: &'a Space, at: u64, bytes: &[u8], shared: bool) -> Result<(StoredEntry<'a>, usize)> {
        let head = xattr::EntryHead::decode(bytes, at)?;
        let name_end = ENTRY_SIZE.saturating_add(head.name_len);
        let name = bytes
            .get(ENTRY_SIZE..name_end)
            .ok_or_else(|| FormatError::short("xattr entry", at, bytes.len(), name_end))?;
        let value_at = at.saturating_add(u64::try_from(name_end).unwrap_or(u64::MAX));
        let size = xattr::padded_size(head.name_len, head.value_len);
        let name = name.to_vec();
        let value_len = head.value_len;
        Ok((StoredEntry { space, at, name_index: head.name_index, name, value_at, value_len, shared }, size))
    }

    fn value(&self) -> Result<Vec<u8>> {
        self.space.read_vec("xattr value", self.value_at, self.value_len)
    }
}

/// The entries of an inode as they are stored, inline ones first.
#[derive(Debug)]
struct Stored<'a> {
    space: &'a Space,
    /// The inode's xattrs, header and shared ids included: at most 262,148 bytes.
    body: Vec<u8>,
    /// Where the body starts in its space.
    start: u64,
    /// Where the next inline entry starts in the body.
    next: usize,
    ids: std::vec::IntoIter<u32>,
    shared_space: Option<(&'a Space, u64)>,
}

impl<'a> Stored<'a> {
    /// The header of `inode`'s xattrs, and the entries. `None` without xattrs.
    fn open(image: &'a Image, inode: &Inode) -> Result<Option<(BodyHeader, Self)>> {
        let icount = inode.record.xattr_icount;
        let size = xattr_body_size(icount);
        if size == 0 {
            return Ok(None);
        }
        let space = image.space_of(inode.nid)?;
        let start = inode.xattrs_at()?;
        if size <= HEADER_SIZE {
            // Reserved by the format; Linux answers EOPNOTSUPP.
            let at = inode.at.saturating_add(2);
            return Err(FormatError::field("inode.i_xattr_icount", at, icount, "0, or 2 and more")
                .of(Rule::Inode)
                .into());
        }
        let body = space.read_vec("xattrs of an inode", start, size)?;
        let header = BodyHeader::decode(&body, start)?;
        let ids_len = usize::from(header.shared_count).saturating_mul(SHARED_ID_SIZE);
        let inline = HEADER_SIZE.saturating_add(ids_len);
        let ids = body.get(HEADER_SIZE..inline).ok_or_else(|| {
            let want = format!("what fits into {size} bytes of xattrs");
            let at = start.saturating_add(4);
            FormatError::field("xattr header h_shared_count", at, header.shared_count, want).of(Rule::Xattr)
        })?;
        let stored_ids = ids.chunks_exact(SHARED_ID_SIZE);
        let mut ids = Vec::with_capacity(stored_ids.len());
        for id in stored_ids {
            ids.push(xattr::decode_shared_id(id, start)?);
        }
        let shared_space = if ids.is_empty() { None } else { Some(image.shared_xattrs()?) };
        let stored = Self { space, body, start, next: inline, ids: ids.into_iter(), shared_space };
        Ok(Some((header, stored)))
    }

    /// No entries.
    fn none(space: &'a Space) -> Self {
        let ids = Vec::new().into_iter();
        Self { space, body: Vec::new(), start: 0, next: 0, ids, shared_space: None }
    }

    fn next_inline(&mut self) -> Result<StoredEntry<'a>> {
        let rest = self.body.get(self.next..).unwrap_or_default();
        let at = self.start.saturating_add(u64::try_from(self.next).unwrap_or(u64::MAX));
        let (entry, size) = StoredEntry::decode(self.space, at, rest, false)?;
        if size > rest.len() {
            let want = format!("at most {}, the end of the inode's xattrs", rest.len());
            return Err(FormatError::field("xattr entry size", at, size, want).of(Rule::Xattr).into());
        }
        self.next = self.next.saturating_add(size);
        Ok(entry)
    }
}

impl<'a> Iterator for Stored<'a> {
    type Item = Result<StoredEntry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next < self.body.len() {
            return Some(self.next_inline());
        }
        let id = self.ids.next()?;
        let (space, start) = self.shared_space?;
        let at = u64::from(id).saturating_mul(xattr::SHARED_ID_UNIT).saturating_add(start);
        Some(read_shared(space, at))
    }
}

/// Reads the fixed part and the name of the shared entry at byte `at`.
fn read_shared(space: &Space, at: u64) -> Result<StoredEntry<'_>> {
    let most = ENTRY_SIZE.saturating_add(xattr::NAME_MAX);
    let bytes = space.read_up_to("shared xattr entry", at, ENTRY_SIZE, most)?;
    StoredEntry::decode(space, at, &bytes, true).map(|(entry, _)| entry)
}

impl Image {
    /// The extended attributes of an inode, in the order in which they are stored. Those that stay hidden
    /// from user space are there too and say so.
    pub fn xattrs(&self, inode: &Inode) -> Result<Xattrs<'_>> {
        let stored = Stored::open(self, inode).map_err(|error| error.at_nid(inode.nid))?;
        let ended = stored.is_none();
        let stored = match stored {
            Some((_, stored)) => stored,
            None => Stored::none(self.space_of(inode.nid)?),
        };
        Ok(Xattrs { image: self, nid: inode.nid, stored, ended })
    }

    /// The header of the attributes of an inode as it is stored; `None` without attributes. Its name filter
    /// counts only in images that have such filters.
    pub fn xattr_header(&self, inode: &Inode) -> Result<Option<BodyHeader>> {
        let stored = Stored::open(self, inode).map_err(|error| error.at_nid(inode.nid))?;
        Ok(stored.map(|(header, _)| header))
    }

    /// The value of the attribute with this full name; `None` if the inode has none. Only names of the
    /// format's namespaces can be asked for, as in Linux; see [`Image::xattr_by_index`] for hidden ones.
    pub fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match xattr::split_name(name) {
            Some((index, rest)) => self.xattr_by_index(inode, index, rest),
            None => Ok(None),
        }
    }

    /// The value of the first attribute whose namespace is `index` and whose name behind it is `name`,
    /// whether it is stored under a long prefix or not (Linux's `erofs_getxattr`). The name filter, if the
    /// image has it, is believed.
    pub fn xattr_by_index(&self, inode: &Inode, index: u8, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.find_xattr(inode, index, name).map_err(|error| error.at_nid(inode.nid))? {
            Some(entry) => entry.value().map(Some).map_err(|error| error.at_nid(inode.nid)),
            None => Ok(None),
        }
    }

    fn find_xattr(&self, inode: &Inode, index: u8, name: &[u8]) -> Result<Option<StoredEntry<'_>>> {
        let Some((header, stored)) = Stored::open(self, inode)? else { return Ok(None) };
        let superblock = self.superblock();
        let filtered = superblock.compat & compat::XATTR_FILTER != 0 && superblock.xattr_filter_reserved == 0;
        if filtered && header.name_filter & xattr::filter_bit(index, name) != 0 {
            return Ok(None);
        }
        for entry in stored {
            let entry = entry?;
            if self.matches(&entry, index, name) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn matches(&self, entry: &StoredEntry<'_>, index: u8, name: &[u8]) -> bool {
        let Some(number) = xattr_prefix::number_of(entry.name_index) else {
            return entry.name_index == index && entry.name == name;
        };
        // A number without a prefix matches nothing, as in Linux.
        let prefix = self.prefixes().get(usize::from(number));
        prefix.and_then(|prefix| prefix.strip(index, name)) == Some(entry.name.as_slice())
    }

    /// An entry under its full name; `None` for the zeros that may follow the last one.
    fn named(&self, entry: &StoredEntry<'_>) -> Result<Option<Xattr>> {
        if entry.name_index == INDEX_NONE && entry.name.is_empty() && entry.value_len == 0 {
            return Ok(None);
        }
        let (base_index, beginning) = self.beginning(entry)?;
        let name = [beginning.as_slice(), &entry.name].concat();
        if name.contains(&0) {
            let found = erofs_format::printable(&name);
            return Err(FormatError::field("xattr name", entry.at, found, "a name without NUL")
                .of(Rule::Xattr)
                .into());
        }
        let hidden = base_index == INDEX_NONE;
        Ok(Some(Xattr { name, value: entry.value()?, hidden, shared: entry.shared }))
    }

    fn beginning(&self, entry: &StoredEntry<'_>) -> Result<(u8, Vec<u8>)> {
        let wrong = |want: String| {
            let found = format!("{:#x}", entry.name_index);
            ImageError::from(
                FormatError::field("xattr entry e_name_index", entry.at.saturating_add(1), found, want)
                    .of(Rule::Xattr),
            )
        };
        if let Some(number) = xattr_prefix::number_of(entry.name_index) {
            let prefixes = self.prefixes();
            let prefix: &LongPrefix = prefixes.get(usize::from(number)).ok_or_else(|| {
                wrong(format!("a number below xattr_prefix_count, which is {}", prefixes.len()))
            })?;
            return Ok((prefix.base_index, prefix.full(entry.at)?));
        }
        let namespace = xattr::namespace(entry.name_index);
        let namespace = namespace.ok_or_else(|| wrong("0 to 4, 6, or a long prefix".into()))?;
        Ok((entry.name_index, namespace.to_vec()))
    }
}
