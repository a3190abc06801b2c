//! What the PAX records of an entry say.

use std::collections::BTreeMap;

use crate::entry::{Record, Time, Xattr};
use crate::error::{Error, Fault};
use crate::globals::Globals;
use crate::options::Options;
use crate::text::{base_64, decimal, percent, time};

/// The longest name of an extended attribute in bytes (Linux's `XATTR_NAME_MAX`).
const MAX_XATTR_NAME: usize = 255;

/// Keywords of POSIX that are read.
const OWN: [&[u8]; 6] = [b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"];

/// The values of records that are known, and where the records are.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) path: Option<(Vec<u8>, u64)>,
    /// The path of a sparse file, which is stored under another one.
    pub(crate) sparse_path: Option<(Vec<u8>, u64)>,
    pub(crate) link: Option<(Vec<u8>, u64)>,
    pub(crate) size: Option<(u64, u64)>,
    pub(crate) real_size: Option<(u64, u64)>,
    pub(crate) major: Option<(u64, u64)>,
    pub(crate) minor: Option<(u64, u64)>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<Time>,
    xattrs: BTreeMap<Vec<u8>, Value>,
}

/// The value of an extended attribute in both of its forms.
#[derive(Debug, Default)]
struct Value {
    schily: Option<Vec<u8>>,
    libarchive: Option<Vec<u8>>,
}

impl Known {
    /// Reads the records of an entry, and the global ones.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Differs`], [`Error::Refused`] with the offset of a record.
    pub(crate) fn new(records: &[Record], globals: &Globals, options: &Options) -> Result<Self, Error> {
        let mut known = Self::default();
        for key in [&b"uid"[..], b"gid", b"mtime"] {
            if let Some(record) = globals.get(key) {
                known.take(record, options)?;
            }
        }
        let mut before: [Option<&Record>; OWN.len()] = [None; OWN.len()];
        for record in records {
            if let Some(at) = OWN.iter().position(|own| *own == record.key) {
                let again = before.get_mut(at).and_then(|before| before.replace(record));
                if again.is_some_and(|again| again.value != record.value) && !options.lenient {
                    return Err(Error::Differs(fault(record, "the same value as before")));
                }
            }
            known.take(record, options)?;
        }
        Ok(known)
    }

    fn take(&mut self, record: &Record, options: &Options) -> Result<(), Error> {
        if OWN.contains(&&*record.key) && record.value.is_empty() {
            return self.take_back(record, options);
        }
        let number = || decimal(&record.value).ok_or_else(|| invalid(record, "decimal digits"));
        let text = || (record.value.clone(), record.offset);
        match &*record.key {
            b"path" => self.path = Some(text()),
            b"GNU.sparse.name" => self.sparse_path = Some(text()),
            b"linkpath" => self.link = Some(text()),
            b"size" => self.size = Some((number()?, record.offset)),
            b"SCHILY.realsize" => self.real_size = Some((number()?, record.offset)),
            b"SCHILY.devmajor" => self.major = Some((number()?, record.offset)),
            b"SCHILY.devminor" => self.minor = Some((number()?, record.offset)),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => {
                let want = "seconds since the epoch as a decimal number";
                self.mtime = Some(time(&record.value).ok_or_else(|| invalid(record, want))?);
            }
            b"hdrcharset" if !matches!(&*record.value, b"BINARY" | b"ISO-IR 10646 2000 UTF-8") => {
                return Err(Error::Refused(fault(record, "BINARY or ISO-IR 10646 2000 UTF-8")));
            }
            key if key.starts_with(b"GNU.volume.") => {
                return Err(Error::Refused(fault(record, "an archive in one volume")));
            }
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    let name = unescape(name, record, options)?;
                    self.xattr(name, record)?.schily = Some(record.value.clone());
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let want = "a name with % and two digits for a byte, a value in base 64";
                    let name = percent(name).ok_or_else(|| invalid(record, want))?;
                    let value = base_64(&record.value).ok_or_else(|| invalid(record, want))?;
                    self.xattr(name, record)?.libarchive = Some(value);
                }
            }
        }
        Ok(())
    }

    /// An empty value: the record is as if it had not come, says POSIX. Programs differ.
    fn take_back(&mut self, record: &Record, options: &Options) -> Result<(), Error> {
        if !options.lenient {
            return Err(Error::Differs(fault(record, "a value")));
        }
        match &*record.key {
            b"path" => self.path = None,
            b"linkpath" => self.link = None,
            b"size" => self.size = None,
            b"uid" => self.uid = None,
            b"gid" => self.gid = None,
            _ => self.mtime = None,
        }
        Ok(())
    }

    fn xattr(&mut self, name: Vec<u8>, record: &Record) -> Result<&mut Value, Error> {
        if name.is_empty() || name.len() > MAX_XATTR_NAME || name.contains(&0) {
            let want = "the name of an attribute, of 1 to 255 bytes without NUL";
            return Err(Error::Invalid(Fault::new(record.offset, "pax record", &record.key, want)));
        }
        Ok(self.xattrs.entry(name).or_default())
    }

    /// The extended attributes, by name.
    ///
    /// # Errors
    /// [`Error::Differs`] if one has two values, in the forms of different programs.
    pub(crate) fn xattrs(&mut self, place: u64, options: &Options) -> Result<Vec<Xattr>, Error> {
        let mut xattrs = Vec::new();
        for (name, Value { schily, libarchive }) in std::mem::take(&mut self.xattrs) {
            if schily.is_some() && libarchive.is_some() && schily != libarchive && !options.lenient {
                let want = "the same value in SCHILY.xattr and LIBARCHIVE.xattr";
                return Err(Error::Differs(Fault::new(place, "extended attribute", &name, want)));
            }
            xattrs.extend(schily.or(libarchive).map(|value| Xattr { name, value }));
        }
        Ok(xattrs)
    }
}

/// Undoes what GNU tar 1.29 and later do to the names of attributes in keywords: `%25` for `%`, `%3D` for
/// `=`. Other programs take such names as they are.
fn unescape(name: &[u8], record: &Record, options: &Options) -> Result<Vec<u8>, Error> {
    let escape = |at: &[u8]| match at {
        [b'%', b'2', b'5', ..] => Some(b'%'),
        [b'%', b'3', b'D', ..] => Some(b'='),
        _ => None,
    };
    let mut plain = Vec::new();
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = escape(rest);
        if escaped.is_some() && !options.lenient {
            let want = "a name without %25 and %3D";
            return Err(Error::Differs(Fault::new(record.offset, "extended attribute", name, want)));
        }
        plain.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { rest.get(3..).unwrap_or_default() } else { after };
    }
    Ok(plain)
}

fn fault(record: &Record, want: &'static str) -> Fault {
    let shown = [&*record.key, b"=", &*record.value].concat();
    Fault::new(record.offset, "pax record", &shown, want)
}

fn invalid(record: &Record, want: &'static str) -> Error {
    Error::Invalid(fault(record, want))
}
