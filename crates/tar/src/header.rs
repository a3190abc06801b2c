//! The fields of a header block.

use crate::error::{Error, Fault};
use crate::number::number;

/// The unit of an archive in bytes: headers take one, contents are padded to it.
pub const BLOCK: usize = 512;

/// Which of the forms a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// That of Unix V7, which ends behind the target of a link.
    V7,
    /// That of POSIX.1-1988 and later, with a prefix of the path.
    Ustar,
    /// That of GNU tar, which has times and a map of holes instead of the prefix.
    Gnu,
}

/// Where a field is in the block, and what it is called.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    name: &'static str,
    start: usize,
    length: usize,
}

impl Field {
    const fn new(name: &'static str, start: usize, length: usize) -> Self {
        Self { name, start, length }
    }
}

const NAME: Field = Field::new("path", 0, 100);
pub(crate) const MODE: Field = Field::new("mode", 100, 8);
pub(crate) const UID: Field = Field::new("uid", 108, 8);
pub(crate) const GID: Field = Field::new("gid", 116, 8);
pub(crate) const SIZE: Field = Field::new("size", 124, 12);
pub(crate) const MTIME: Field = Field::new("mtime", 136, 12);
const CHECKSUM: Field = Field::new("checksum", 148, 8);
const TYPE: usize = 156;
const LINK: Field = Field::new("target of a link", 157, 100);
const MAGIC: Field = Field::new("magic", 257, 8);
pub(crate) const MAJOR: Field = Field::new("major number", 329, 8);
pub(crate) const MINOR: Field = Field::new("minor number", 337, 8);
const PREFIX: Field = Field::new("prefix of the path", 345, 155);
/// A header block whose checksum is right.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub(crate) offset: u64,
    pub(crate) form: Form,
    lenient: bool,
}

impl<'a> Header<'a> {
    /// Looks at a block at `offset` in the archive.
    ///
    /// # Errors
    /// [`Error::Checksum`], and [`Error::Differs`] for a magic that some programs take for that of POSIX.
    pub(crate) fn new(block: &'a [u8; BLOCK], offset: u64, lenient: bool) -> Result<Self, Error> {
        let header = Self { block, offset, form: Form::V7, lenient };
        header.check_sum()?;
        let magic = header.field(MAGIC);
        let form = if magic.starts_with(b"ustar\0") {
            Form::Ustar
        } else if magic == b"ustar  \0" {
            Form::Gnu
        } else if magic.starts_with(b"ustar") {
            header.differs(MAGIC, "ustar and NUL, or ustar, two blanks and NUL")?;
            Form::Ustar
        } else {
            Form::V7
        };
        Ok(Self { form, ..header })
    }

    fn check_sum(&self) -> Result<(), Error> {
        let field = CHECKSUM.start..CHECKSUM.start + CHECKSUM.length;
        let bytes = (0..).zip(self.block).map(|(at, &byte)| if field.contains(&at) { b' ' } else { byte });
        let (unsigned, signed) = bytes.fold((0_i64, 0_i64), |(unsigned, signed), byte| {
            (unsigned + i64::from(byte), signed + i64::from(byte.cast_signed()))
        });
        let stated = self.field(CHECKSUM);
        // Some programs of the past took characters for signed numbers; all readers accept both.
        if number(stated).is_some_and(|sum| sum.value == unsigned || sum.value == signed) {
            return Ok(());
        }
        let want = "the sum of the bytes of the header";
        Err(Error::Checksum(Fault::new(self.place(CHECKSUM), CHECKSUM.name, stated, want)))
    }

    pub(crate) fn type_flag(&self) -> u8 {
        self.block[TYPE]
    }

    /// Where the field of the type is in the archive.
    pub(crate) fn type_offset(&self) -> u64 {
        self.offset + TYPE as u64
    }

    /// The bytes of a part of the block.
    pub(crate) fn bytes(&self, start: usize, length: usize) -> &'a [u8] {
        self.block.get(start..start + length).unwrap_or_default()
    }

    fn field(&self, field: Field) -> &'a [u8] {
        self.bytes(field.start, field.length)
    }

    /// Where a field is in the archive.
    pub(crate) fn place(&self, field: Field) -> u64 {
        self.offset + field.start as u64
    }

    /// A number.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is none; [`Error::Differs`] if programs read different ones.
    pub(crate) fn number(&self, field: Field) -> Result<i64, Error> {
        let bytes = self.field(field);
        let found = number(bytes).ok_or_else(|| {
            let want = "octal digits, or a number of 63 bits in base 256";
            Error::Invalid(Fault::new(self.place(field), field.name, bytes, want))
        })?;
        if !found.is_clear {
            self.differs(field, "octal digits, padded by blanks or zeros on their right")?;
        }
        Ok(found.value)
    }

    /// A number that is not negative.
    ///
    /// # Errors
    /// Those of [`Self::number`]; [`Error::Invalid`] if it is negative.
    pub(crate) fn unsigned(&self, field: Field) -> Result<u64, Error> {
        let value = self.number(field)?;
        u64::try_from(value).map_err(|_| {
            Error::Invalid(Fault::number(self.place(field), field.name, value, "a number from 0 on"))
        })
    }

    /// The path that the header itself has.
    ///
    /// # Errors
    /// [`Error::Differs`] if something is at the place of the prefix in a form that has none.
    pub(crate) fn path(&self) -> Result<Vec<u8>, Error> {
        let name = until_nul(self.field(NAME));
        let prefix = until_nul(self.field(PREFIX));
        match self.form {
            Form::Ustar if !prefix.is_empty() && name.is_empty() => {
                let want = "a name behind the prefix";
                return Err(Error::Invalid(Fault::new(self.place(NAME), NAME.name, name, want)));
            }
            Form::Ustar if !prefix.is_empty() => return Ok([prefix, b"/", name].concat()),
            // Python's tarfile takes this for a prefix whatever the form is, but for sparse files of GNU tar,
            // which has times there.
            Form::V7 if !prefix.is_empty() => self.differs(PREFIX, "nothing in a header without magic")?,
            Form::Gnu if !prefix.is_empty() && self.type_flag() != b'S' => {
                self.differs(PREFIX, "nothing in a header of GNU tar")?;
            }
            Form::V7 | Form::Ustar | Form::Gnu => {}
        }
        Ok(name.into())
    }

    pub(crate) fn path_offset(&self) -> u64 {
        self.place(NAME)
    }

    /// The target of a link that the header itself has.
    pub(crate) fn link(&self) -> &'a [u8] {
        until_nul(self.field(LINK))
    }

    pub(crate) fn link_offset(&self) -> u64 {
        self.place(LINK)
    }

    /// An error unless archives that programs read differently are accepted.
    fn differs(&self, field: Field, want: &'static str) -> Result<(), Error> {
        if self.lenient {
            return Ok(());
        }
        Err(Error::Differs(Fault::new(self.place(field), field.name, self.field(field), want)))
    }
}

/// What is in front of the first NUL.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
