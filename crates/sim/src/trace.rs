//! A list of accesses, as a recorder of a real workload writes it: one access per line, without times.
//!
//! ```text
//! # image      path         offset length method  bytes per call (may be left out)
//! redis.img    /bin/redis   0      -      exec
//! redis.img    /etc/a\040b  4096   8192   read    4096
//! ```
//!
//! Fields are separated by blanks or tabs. In image and path a backslash begins an escape: three octal
//! digits, `x` and two hexadecimal ones, or one of `\a \b \f \n \r \t \v \\ \" \'`. `-` as a length means up
//! to the end of the file. Empty lines and lines that begin with `#` say nothing.

use std::io::{BufRead, Read as _};

use crate::error::TraceError;
use crate::scenario::Method;

/// The longest line that is read, in bytes.
pub const LINE_MAX: usize = 1 << 16;
/// More fields than a line can have.
const FIELDS_MAX: usize = 7;
/// The length of each call where a line does not say it, in bytes.
pub const CALL: u64 = 64 << 10;

/// How an access brings pages in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// Exactly these pages were in memory, without anything that the kernel reads ahead.
    Pages,
    /// A call, with what the kernel reads ahead for it.
    Call(Method),
}

/// Every name of the fifth field.
const NAMES: [(&str, How); 8] = [
    ("read", How::Call(Method::Read)),
    ("mmap", How::Call(Method::Mmap)),
    ("exec", How::Call(Method::Exec)),
    ("willneed", How::Call(Method::Willneed)),
    ("sendfile", How::Call(Method::Sendfile)),
    ("splice", How::Call(Method::Splice)),
    ("copy-up", How::Call(Method::CopyUp)),
    ("pages", How::Pages),
];

/// One access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The image, by the name that the recorder knew.
    pub image: Vec<u8>,
    /// The file, from `/` on.
    pub path: Vec<u8>,
    /// First byte.
    pub offset: u64,
    /// How many bytes; to the end of the file where nothing is said.
    pub length: Option<u64>,
    /// How.
    pub how: How,
    /// The length of each call in bytes, for calls that read.
    pub call: u64,
}

/// Reads a trace line by line. Ends after the first error.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `source`.
    pub fn new(source: R) -> Self {
        Self { lines: Lines::new(source, LINE_MAX) }
    }

    /// The number of the line that was read last, from 1 on.
    pub fn line(&self) -> u64 {
        self.lines.number
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Err(error) = self.lines.advance()? {
                return Some(Err(error));
            }
            let blank = |byte: &u8| byte.is_ascii_whitespace();
            let fields: Vec<&[u8]> =
                self.lines.text.split(blank).filter(|field| !field.is_empty()).take(FIELDS_MAX).collect();
            if fields.first().is_some_and(|first| !first.starts_with(b"#")) {
                let record = parse(self.lines.number, &fields);
                self.lines.ended |= record.is_err();
                return Some(record);
            }
        }
    }
}

fn parse(line: u64, fields: &[&[u8]]) -> Result<Record, TraceError> {
    let (image, path, offset, length, how, call) = match *fields {
        [image, path, offset, length, how] => (image, path, offset, length, how, None),
        [image, path, offset, length, how, call] => (image, path, offset, length, how, Some(call)),
        _ => return Err(TraceError::Fields { line, found: fields.len() }),
    };
    let wrong = |field, found: &[u8], want| TraceError::Field {
        line,
        field,
        found: String::from_utf8_lossy(found).into_owned(),
        want,
    };
    let name = |field, text| {
        unescape(text).ok_or_else(|| wrong(field, text, "escapes such as \\040, \\x20, \\n or \\\\"))
    };
    let bytes = |field, text| number(text).ok_or_else(|| wrong(field, text, "a decimal number of bytes"));
    let record = Record {
        image: name("image", image)?,
        path: name("path", path)?,
        offset: bytes("offset", offset)?,
        length: if length == b"-" { None } else { Some(bytes("length", length)?) },
        how: how_named(how).ok_or_else(|| {
            wrong("method", how, "read, mmap, exec, willneed, sendfile, splice, copy-up, or pages")
        })?,
        call: call.map_or(Ok(CALL), |call| bytes("bytes per call", call))?,
    };
    if !record.path.starts_with(b"/") {
        return Err(wrong("path", path, "a path from / on"));
    }
    if record.call == 0 {
        return Err(wrong("bytes per call", b"0", "at least 1"));
    }
    Ok(record)
}

fn how_named(name: &[u8]) -> Option<How> {
    NAMES.iter().find(|row| row.0.as_bytes() == name).map(|row| row.1)
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

impl Record {
    /// The line that reads as this record, with its end.
    pub fn line(&self) -> Vec<u8> {
        let name = NAMES.iter().find(|row| row.1 == self.how).map_or("", |row| row.0);
        let length = self.length.map_or_else(|| "-".to_owned(), |length| length.to_string());
        let mut line = escape(&self.image);
        if line.starts_with(b"#") {
            line.splice(..1, *b"\\043");
        }
        line.push(b' ');
        line.extend(escape(&self.path));
        line.extend(format!(" {} {length} {name}", self.offset).into_bytes());
        if self.call != CALL {
            line.extend(format!(" {}", self.call).into_bytes());
        }
        line.push(b'\n');
        line
    }
}

/// The bytes with octal escapes for what would end a field, and for what is not printable.
pub fn escape(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    for byte in name {
        if byte.is_ascii_graphic() && *byte != b'\\' {
            text.push(*byte);
        } else {
            text.extend(format!("\\{byte:03o}").into_bytes());
        }
    }
    text
}

/// The bytes that a text with C's escapes stands for; octal escapes have one to three digits.
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (byte, used) = escaped(rest)?;
        bytes.push(byte);
        rest = rest.get(used..)?;
    }
    Some(bytes)
}

/// What follows a backslash: the byte, and how many characters say it.
fn escaped(rest: &[u8]) -> Option<(u8, usize)> {
    let first = *rest.first()?;
    let digits = |from: usize, most: usize, radix: u32| {
        let run =
            rest.iter().skip(from).take(most).take_while(|byte| char::from(**byte).is_digit(radix)).count();
        let text = std::str::from_utf8(rest.get(from..from + run)?).ok()?;
        Some((u8::from_str_radix(text, radix).ok()?, from + run))
    };
    Some(match first {
        b'0'..=b'7' => return digits(0, 3, 8),
        b'x' => return digits(1, 2, 16),
        b'a' => (7, 1),
        b'b' => (8, 1),
        b't' => (b'\t', 1),
        b'n' => (b'\n', 1),
        b'v' => (11, 1),
        b'f' => (12, 1),
        b'r' => (b'\r', 1),
        b'\\' | b'"' | b'\'' => (first, 1),
        _ => return None,
    })
}

/// Lines of bounded length.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    source: R,
    limit: usize,
    /// The line that was read last, without its end.
    pub(crate) text: Vec<u8>,
    /// Its number, from 1 on.
    pub(crate) number: u64,
    /// Nothing more is read.
    pub(crate) ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(source: R, limit: usize) -> Self {
        Self { source, limit, text: Vec::new(), number: 0, ended: false }
    }

    /// Reads the next line; nothing at the end, and after an error.
    pub(crate) fn advance(&mut self) -> Option<Result<(), TraceError>> {
        if self.ended {
            return None;
        }
        self.text.clear();
        self.number += 1;
        let most = u64::try_from(self.limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut self.source).take(most).read_until(b'\n', &mut self.text);
        let line = self.number;
        if self.text.last() == Some(&b'\n') {
            self.text.pop();
            return Some(Ok(()));
        }
        // Without its end, a line is the last one, or there is more of it than may be.
        self.ended = true;
        match read {
            Err(cause) => Some(Err(TraceError::Io { line, cause })),
            Ok(_) if self.text.len() > self.limit => Some(Err(TraceError::Long { line, limit: self.limit })),
            Ok(0) => None,
            Ok(_) => Some(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Result<Record, String>> {
        Reader::new(text).map(|record| record.map_err(|error| error.to_string())).collect()
    }

    fn record(image: &[u8], path: &[u8], offset: u64, length: Option<u64>, how: How) -> Record {
        Record { image: image.to_vec(), path: path.to_vec(), offset, length, how, call: CALL }
    }

    #[test]
    fn records_lead_back_from_their_lines() {
        let read_call = How::Call(Method::Read);
        let mut every: Vec<Record> =
            NAMES.iter().map(|(_, how)| record(b"a.img", b"/bin/sh", 4096, Some(1), *how)).collect();
        every.push(record(b"#x y", "/a b\\\n\u{fc}\u{0}".as_bytes(), 0, None, read_call));
        every.push(Record { call: 512, ..record(b"i", b"/f", u64::MAX, Some(0), read_call) });
        let text: Vec<u8> = every.iter().flat_map(Record::line).collect();
        assert!(text.iter().all(|byte| byte.is_ascii_graphic() || b" \n".contains(byte)));
        let found: Vec<Record> = read(&text).into_iter().map(Result::unwrap).collect();
        assert_eq!(found, every);
    }

    #[test]
    fn lines_may_be_spaced_and_commented() {
        let text = b"# a comment\n\n  a.img\t/f\\x20g\\n\\7 0   -  mmap\r\n#\n";
        let want = record(b"a.img", b"/f g\n\x07", 0, None, How::Call(Method::Mmap));
        assert_eq!(read(text), [Ok(want)]);
        assert_eq!(read(b""), []);
        assert_eq!(read(b"a /f 0 1 pages").len(), 1, "the end of the last line may be missing");
    }

    #[test]
    fn wrong_lines_are_named() {
        let long = vec![b'x'; LINE_MAX + 1];
        for (text, want) in [
            (&b"a /f 0 1"[..], "line 1: found 4 fields, want 5 or 6"),
            (b"\n# x\na /f 0 1 read 4 5 6 7", "line 3: found 7 fields, want 5 or 6"),
            (b"a f 0 1 read", "line 1: path: found \"f\", want a path from / on"),
            (b"a /f -1 1 read", "line 1: offset: found \"-1\", want a decimal number of bytes"),
            (b"a /f 0 +1 read", "line 1: length: found \"+1\""),
            (b"a /f 0 18446744073709551616 read", "line 1: length: found"),
            (b"a /f 0 1 write", "line 1: method: found \"write\", want read, mmap"),
            (b"a /f 0 1 read 0", "line 1: bytes per call: found \"0\", want at least 1"),
            (b"a /\\q 0 1 read", "line 1: path: found \"/\\\\q\", want escapes"),
            (b"a\\ /f 0 1 read", "line 1: image: found"),
            (b"a /\\400 0 1 read", "line 1: path: found"),
            (&long, "line 1: found more than 65536 bytes"),
        ] {
            let found = read(text);
            let message = found.last().unwrap().as_ref().unwrap_err();
            assert!(message.starts_with(want), "{message}");
            assert_eq!(found.len(), 1);
        }
    }
}
