//! An entry, of its header and of what came in front of it.

use crate::entry::{Entry, Kind, Record, Time};
use crate::error::{Error, Fault};
use crate::globals::Globals;
use crate::header::{BLOCK, Form, GID, Header, MAJOR, MINOR, MODE, MTIME, SIZE, UID};
use crate::known::Known;
use crate::options::Options;
use crate::sparse::{self, Front, Map, Pax};

/// What a header says of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// Its path.
    Name,
    /// Its target.
    Link,
    /// PAX records.
    Pax,
    /// PAX records for all that follow.
    Global,
}

/// What headers said of the entry that is to come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    /// Where the first of them begins.
    pub(crate) start: Option<u64>,
    name: Option<Long>,
    link: Option<Long>,
    records: Option<Vec<Record>>,
}

/// A name of GNU tar that is too long for a header.
#[derive(Clone, Debug)]
struct Long {
    name: Vec<u8>,
    offset: u64,
}

impl Pending {
    /// Takes a long name, whose header is at `offset`.
    pub(crate) fn name(
        &mut self,
        what: Text,
        name: &[u8],
        offset: u64,
        options: &Options,
    ) -> Result<(), Error> {
        check_name("long name", name, offset, options)?;
        let slot = if what == Text::Name { &mut self.name } else { &mut self.link };
        let is_again = slot.replace(Long { name: name.into(), offset }).is_some();
        if is_again && !options.lenient {
            return Err(Error::Differs(Fault::new(offset, "long name", name, "one for an entry")));
        }
        Ok(())
    }

    /// Takes PAX records, whose header is at `offset`.
    pub(crate) fn records(&mut self, records: Vec<Record>, offset: u64, lenient: bool) -> Result<(), Error> {
        if self.records.replace(records).is_some() && !lenient {
            let want = "one header of pax records for an entry";
            return Err(Error::Differs(Fault::number(offset, "header", "a second one", want)));
        }
        Ok(())
    }
}

/// An entry, and what is still to come of its map.
pub(crate) struct Built {
    pub(crate) entry: Entry,
    pub(crate) map: Option<Map>,
    pub(crate) front: Option<Front>,
    /// Whether blocks follow that continue `map`.
    pub(crate) has_more: bool,
    pub(crate) contradictions: u64,
}

/// What an entry is made of.
struct Parts<'a> {
    header: &'a Header<'a>,
    options: &'a Options,
    known: Known,
    contradictions: u64,
}

/// Makes an entry; none of a volume label, which is no file.
pub(crate) fn build(
    header: &Header<'_>,
    block: &[u8; BLOCK],
    pending: Pending,
    globals: &Globals,
    options: &Options,
    has_pax: bool,
) -> Result<Option<Built>, Error> {
    let Pending { name, link, records, .. } = pending;
    let records = records.unwrap_or_default();
    let known = Known::new(&records, globals, options)?;
    let mut parts = Parts { header, options, known, contradictions: 0 };
    if header.type_flag() == b'V' {
        return parts.label().map(|()| None);
    }
    let own = header.path()?;
    let path = parts.path(&own, name)?;
    let size = parts.size()?;
    let kind = parts.kind(&own, &path, link, size)?;
    let stored = parts.stored(&kind, size, has_pax)?;
    let (mut map, mut front, mut has_more) = (None, None, false);
    match sparse::pax(&records, options.max_segments)? {
        Some(_) if kind != Kind::File || header.type_flag() == b'S' => {
            return Err(parts.wrong_type("a regular file with a map of holes"));
        }
        Some(Pax::Known(known)) => map = Some(known),
        Some(Pax::InFront(map)) => front = Some(map),
        None if header.type_flag() == b'S' => {
            let (old, more) = sparse::old(header, block, options.max_segments)?;
            (map, has_more) = (Some(old), more);
        }
        None => {}
    }
    let real = map.as_ref().map(Map::size).or(front.as_ref().map(Front::size)).unwrap_or(stored);
    parts.same("size and SCHILY.realsize", parts.known.real_size.filter(|_| kind == Kind::File), real)?;
    let mtime = Time { seconds: header.number(MTIME)?, nanoseconds: 0 };
    let (uid, gid) = (header.unsigned(UID)?, header.unsigned(GID)?);
    let entry = Entry {
        path,
        kind,
        // What of the type of file some programs of the past have in the mode is dropped.
        mode: u16::try_from(header.unsigned(MODE)? & 0o7777).unwrap_or_default(),
        uid: parts.known.uid.unwrap_or(uid),
        gid: parts.known.gid.unwrap_or(gid),
        mtime: parts.known.mtime.unwrap_or(mtime),
        size: real,
        header_offset: header.offset,
        data_offset: 0,
        stored,
        segments: None,
        xattrs: parts.known.xattrs(header.offset, options)?,
        records,
    };
    Ok(Some(Built { entry, map, front, has_more, contradictions: parts.contradictions }))
}

impl Parts<'_> {
    /// An error unless archives that programs read differently are accepted.
    fn differs(&self, fault: impl FnOnce() -> Fault) -> Result<(), Error> {
        if self.options.lenient { Ok(()) } else { Err(Error::Differs(fault())) }
    }

    fn wrong_type(&self, want: &'static str) -> Error {
        let flag = [self.header.type_flag()];
        Error::Invalid(Fault::new(self.header.type_offset(), "type", &flag, want))
    }

    /// A volume label of GNU tar, which Python's tarfile takes for a file.
    fn label(&self) -> Result<(), Error> {
        let fault = || Fault::new(self.header.type_offset(), "type", b"V", "no volume label");
        self.differs(fault)?;
        if self.size()? != 0 {
            return Err(Error::Refused(fault()));
        }
        Ok(())
    }

    /// The path: that of PAX records before a long name of GNU tar, and that before the header's own.
    fn path(&mut self, own: &[u8], long: Option<Long>) -> Result<Vec<u8>, Error> {
        let sparse = self.known.sparse_path.take();
        let record = self.known.path.take();
        self.two_names(long.as_ref(), sparse.as_ref().or(record.as_ref()))?;
        let (path, place) = sparse
            .or(record)
            .or_else(|| long.map(|long| (long.name, long.offset)))
            .unwrap_or_else(|| (own.to_vec(), self.header.path_offset()));
        check_name("path", &path, place, self.options)?;
        Ok(path)
    }

    /// Looks at a name that has both forms. Which of them counts depends on the order, or does not.
    fn two_names(&mut self, long: Option<&Long>, record: Option<&(Vec<u8>, u64)>) -> Result<(), Error> {
        let (Some(long), Some((name, _))) = (long, record) else { return Ok(()) };
        if long.name == *name {
            return Ok(());
        }
        self.contradictions += 1;
        let want = "the same name as in the pax record";
        self.differs(|| Fault::new(long.offset, "long name", &long.name, want))
    }

    fn link(&mut self, long: Option<Long>) -> Result<Vec<u8>, Error> {
        let record = self.known.link.take();
        self.two_names(long.as_ref(), record.as_ref())?;
        let (target, place) = record
            .or_else(|| long.map(|long| (long.name, long.offset)))
            .unwrap_or_else(|| (self.header.link().to_vec(), self.header.link_offset()));
        check_name("target of a link", &target, place, self.options)?;
        Ok(target)
    }

    /// The size that the entry states. A PAX record counts more than the header.
    fn size(&self) -> Result<u64, Error> {
        let own = self.header.unsigned(SIZE)?;
        Ok(self.known.size.map_or(own, |(size, _)| size))
    }

    fn kind(&mut self, own: &[u8], path: &[u8], link: Option<Long>, size: u64) -> Result<Kind, Error> {
        let flag = self.header.type_flag();
        Ok(match flag {
            0 | b'0' | b'7' => self.file(own, path, size)?,
            b'S' if self.header.form == Form::Gnu => {
                if path.ends_with(b"/") {
                    return Err(self.wrong_type("a path without a slash at its end"));
                }
                self.same("size of a sparse file", self.known.size, self.header.unsigned(SIZE)?)?;
                Kind::File
            }
            b'1' => Kind::HardLink { target: self.link(link)? },
            b'2' => Kind::Symlink { target: self.link(link)? },
            b'3' | b'4' => {
                let (major, minor) = (self.device(MAJOR)?, self.device(MINOR)?);
                self.same("major number", self.known.major, u64::from(major))?;
                self.same("minor number", self.known.minor, u64::from(minor))?;
                if flag == b'3' {
                    Kind::CharDevice { major, minor }
                } else {
                    Kind::BlockDevice { major, minor }
                }
            }
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'D' => {
                let want = "no directory of an incremental archive";
                self.differs(|| Fault::new(self.header.type_offset(), "type", &[flag], want))?;
                Kind::Directory
            }
            b'M' | b'S' => {
                let want = "a file that is in one volume, with holes as GNU tar has them";
                return Err(Error::Refused(Fault::new(self.header.type_offset(), "type", &[flag], want)));
            }
            _ if self.options.lenient => self.file(own, path, size)?,
            _ => {
                let want = "a type of POSIX or GNU tar";
                return Err(Error::Refused(Fault::new(self.header.type_offset(), "type", &[flag], want)));
            }
        })
    }

    /// A regular file, or a directory as Unix V7 has them: a file whose path ends with a slash.
    fn file(&self, own: &[u8], path: &[u8], size: u64) -> Result<Kind, Error> {
        let is_directory = path.ends_with(b"/");
        let is_old = self.header.type_flag() == 0;
        let is_same = if is_directory {
            is_old && own.ends_with(b"/") && size == 0
        } else {
            !is_old || !own.ends_with(b"/")
        };
        if !is_same {
            let want = "a slash at the end of directories alone";
            self.differs(|| Fault::new(self.header.path_offset(), "path", path, want))?;
        }
        Ok(if is_directory { Kind::Directory } else { Kind::File })
    }

    fn device(&self, field: crate::header::Field) -> Result<u32, Error> {
        let value = self.header.unsigned(field)?;
        let want = "at most 4294967295";
        u32::try_from(value).map_err(|_| {
            Error::Invalid(Fault::number(self.header.place(field), "device number", value, want))
        })
    }

    /// How many bytes follow the header.
    fn stored(&mut self, kind: &Kind, size: u64, has_pax: bool) -> Result<u64, Error> {
        let own = self.header.unsigned(SIZE)?;
        self.contradictions += u64::from(own != 0 && own != size);
        let is_dump = self.header.type_flag() == b'D';
        match kind {
            Kind::File => Ok(size),
            Kind::Directory if is_dump => Ok(size),
            Kind::HardLink { .. } if size != 0 && has_pax => {
                // POSIX.1-2001 allows a content; bsdtar reads it, GNU tar takes it for the next header.
                let want = "0 for a hard link";
                self.differs(|| Fault::number(self.header.place(SIZE), "size", size, want))?;
                Ok(size)
            }
            // What a header states as their size is of no meaning to any program. bsdtar takes a content that
            // a record states.
            Kind::Directory
            | Kind::Symlink { .. }
            | Kind::HardLink { .. }
            | Kind::CharDevice { .. }
            | Kind::BlockDevice { .. }
            | Kind::Fifo => {
                if let Some((size, place)) = self.known.size.filter(|&(size, _)| size != 0) {
                    let want = "0 for what has no content";
                    self.differs(|| Fault::number(place, "size", size, want))?;
                }
                Ok(0)
            }
        }
    }

    /// Compares a record with a value that some programs take instead of it.
    fn same(&self, field: &'static str, record: Option<(u64, u64)>, value: u64) -> Result<(), Error> {
        match record {
            Some((found, place)) if found != value => {
                self.differs(|| Fault::number(place, field, found, "the value that the header has"))
            }
            _ => Ok(()),
        }
    }
}

fn check_name(field: &'static str, name: &[u8], place: u64, options: &Options) -> Result<(), Error> {
    if name.is_empty() || name.contains(&0) {
        return Err(Error::Invalid(Fault::new(place, field, name, "a name without NUL")));
    }
    if name.len() > options.max_name {
        let want = "a shorter name (max_name)";
        return Err(Error::Limit(Fault::number(place, field, format!("{} bytes", name.len()), want)));
    }
    Ok(())
}
