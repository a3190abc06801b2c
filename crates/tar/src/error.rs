//! What can be wrong with an archive.

use std::fmt;

/// The longest value of an archive that a message shows, in bytes.
const SHOWN: usize = 60;

/// An error in an archive. The message is one line: place, field, the value found, and what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The sum of a header's bytes is not the one that the header states: the block is no header, or damaged.
    Checksum(Fault),
    /// A field has a value that it cannot have.
    Invalid(Fault),
    /// GNU tar, bsdtar and Python's tarfile do not all read this in the same way, so that each of them can be
    /// shown another archive. With [`Options::lenient`](crate::Options) it is read by the rule of this crate.
    Differs(Fault),
    /// A form of archive that is not read at all, such as a part of an archive in several volumes.
    Refused(Fault),
    /// More than [`Options`](crate::Options) allows.
    Limit(Fault),
    /// The archive ends within a header or a content.
    Cut(Fault),
    /// The archive ends without its end marker, two blocks of zeros.
    NoEnd(Fault),
    /// Bytes other than zero behind the end marker.
    Garbage(Fault),
}

/// Place and values of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The offset of the field or record in the archive, in bytes.
    pub offset: u64,
    /// What it is: `size`, `checksum`, `pax record path`.
    pub field: &'static str,
    /// The value found, escaped so that it is printable ASCII, and shortened.
    pub found: String,
    /// What was wanted.
    pub want: &'static str,
}

impl Fault {
    pub(crate) fn new(offset: u64, field: &'static str, found: &[u8], want: &'static str) -> Self {
        let shown = found.get(..SHOWN).unwrap_or(found);
        let dots = if shown.len() < found.len() { "…" } else { "" };
        Self { offset, field, found: format!("\"{}\"{dots}", shown.escape_ascii()), want }
    }

    pub(crate) fn number(
        offset: u64,
        field: &'static str,
        found: impl fmt::Display,
        want: &'static str,
    ) -> Self {
        Self { offset, field, found: found.to_string(), want }
    }
}

impl Error {
    /// Place and values.
    pub fn fault(&self) -> &Fault {
        match self {
            Self::Checksum(fault)
            | Self::Invalid(fault)
            | Self::Differs(fault)
            | Self::Refused(fault)
            | Self::Limit(fault)
            | Self::Cut(fault)
            | Self::NoEnd(fault)
            | Self::Garbage(fault) => fault,
        }
    }

    /// The offset in the archive, in bytes.
    pub fn offset(&self) -> u64 {
        self.fault().offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { offset, field, found, want } = self.fault();
        write!(f, "tar archive, byte {offset}: {field}: found {found}, wanted {want}")?;
        if let Self::Differs(_) = self {
            write!(f, "; tar programs read this differently")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line() {
        let fault = Fault::new(512, "size", b"9\n\xff", "octal digits");
        let text = Error::Invalid(fault).to_string();
        assert_eq!(text, "tar archive, byte 512: size: found \"9\\n\\xff\", wanted octal digits");
        let long = Fault::new(0, "path", &[b'x'; 300], "a short one");
        assert!(Error::Limit(long).to_string().len() < 150);
        let differs = Error::Differs(Fault::number(7, "size", 3, "0"));
        assert_eq!(
            differs.to_string(),
            "tar archive, byte 7: size: found 3, wanted 0; tar programs read this differently"
        );
        assert_eq!(differs.offset(), 7);
    }
}
