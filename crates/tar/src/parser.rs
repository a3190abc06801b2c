//! The parser: blocks of headers in, entries out.

use std::mem;

use crate::build::{Built, Pending, Text, build};
use crate::entry::{Entry, Record};
use crate::error::{Error, Fault};
use crate::globals::{self, Globals};
use crate::header::{BLOCK, Header, SIZE, until_nul};
use crate::options::Options;
use crate::records;
use crate::sparse::{Front, Map};

/// Takes the blocks of headers of one archive, in order, and yields its entries.
///
/// The caller reads: it gives the block at [`offset`](Self::offset) to [`push`](Self::push) again and again.
/// Contents of files are not given to the parser; after an entry the offset is that of the next header, and
/// the caller reads or skips what is in front of it. At the end of its input it calls
/// [`finish`](Self::finish). After an error nothing more can be had from a parser.
#[derive(Clone, Debug)]
pub struct Parser {
    options: Options,
    offset: u64,
    state: State,
    pending: Pending,
    globals: Globals,
    /// Whether a header of PAX records came.
    has_pax: bool,
    contradictions: u64,
}

/// What the next block is.
#[derive(Clone, Debug)]
enum State {
    /// A header, or the first of two blocks of zeros.
    Header,
    /// The content of a header that says something of the next one.
    Text { what: Text, offset: u64, left: usize, bytes: Vec<u8> },
    /// The continued map of an old sparse file.
    OldMap(Box<Entry>, Map),
    /// A map in front of the content.
    Front(Box<Entry>, Front),
    /// The second block of zeros.
    Zeros,
    /// What is behind the end marker.
    End,
    /// Nothing, after an error.
    Failed(Error),
}

impl Parser {
    /// A parser at the beginning of an archive.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            offset: 0,
            state: State::Header,
            pending: Pending::default(),
            globals: Globals::new(),
            has_pax: false,
            contradictions: 0,
        }
    }

    /// Where the block that [`push`](Self::push) wants is in the archive, in bytes: a multiple of 512.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many times a PAX record said something else than the header of its entry where that says anything,
    /// such as another size that is not 0. The record counts.
    pub fn contradictions(&self) -> u64 {
        self.contradictions
    }

    /// PAX records that are for all entries from here on, the last of each keyword.
    pub fn globals(&self) -> impl Iterator<Item = &Record> {
        self.globals.values()
    }

    /// Whether the end marker came. What follows it is still to be pushed.
    pub fn is_at_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Takes the block at [`offset`](Self::offset); an entry, if it is complete with it.
    ///
    /// # Errors
    /// Every [`Error`] but [`Error::NoEnd`]. Its place is in this block, or in one that came before.
    pub fn push(&mut self, block: &[u8; BLOCK]) -> Result<Option<Entry>, Error> {
        let pushed = self.step(block);
        if let Err(error) = &pushed {
            self.state = State::Failed(error.clone());
        }
        pushed
    }

    fn step(&mut self, block: &[u8; BLOCK]) -> Result<Option<Entry>, Error> {
        let place = self.offset;
        self.offset = self.add(BLOCK as u64)?;
        match mem::replace(&mut self.state, State::Header) {
            State::Header => self.header(block, place),
            State::Text { what, offset, left, mut bytes } => {
                let count = left.min(BLOCK);
                bytes.extend(block.iter().take(count));
                self.text(what, offset, left - count, bytes).map(|()| None)
            }
            State::OldMap(entry, mut map) => {
                if map.continue_old(block, place)? {
                    self.state = State::OldMap(entry, map);
                    return Ok(None);
                }
                self.complete(*entry, Some(map)).map(Some)
            }
            State::Front(mut entry, mut front) => {
                entry.stored = entry.stored.checked_sub(BLOCK as u64).ok_or_else(|| {
                    let want = "the map of a sparse file";
                    Error::Invalid(Fault::number(place, "size", "the end of the content", want))
                })?;
                let Some(map) = front.take(block, place)? else {
                    self.state = State::Front(entry, front);
                    return Ok(None);
                };
                self.complete(*entry, Some(map)).map(Some)
            }
            State::Zeros => self.zeros(block, place),
            State::End => self.behind(block, place),
            State::Failed(error) => Err(error),
        }
    }

    /// Ends the archive. `length` is the length of the input in bytes, and `rest` what of it is behind
    /// [`offset`](Self::offset): fewer than 512 bytes, or none.
    ///
    /// # Errors
    /// [`Error::Cut`] within an entry, also if the input is shorter than the content of the last entry;
    /// [`Error::NoEnd`] behind one, unless [lenient](Options::lenient); [`Error::Garbage`] if `rest` is other
    /// than zeros behind the end marker.
    pub fn finish(&self, length: u64, rest: &[u8]) -> Result<(), Error> {
        let cut = |field, want| Err(Error::Cut(Fault::number(length, field, "the end of the input", want)));
        let marker = |found| {
            let want = "two blocks of zeros behind the last entry";
            Err(Error::NoEnd(Fault::number(self.offset, "end marker", found, want)))
        };
        if length < self.offset {
            return cut("content", "the rest of a file");
        }
        match &self.state {
            State::Failed(error) => Err(error.clone()),
            State::Text { .. } | State::OldMap(..) | State::Front(..) => cut("header", "the rest of it"),
            State::End if self.options.lenient => Ok(()),
            State::End => no_garbage(rest, self.offset),
            State::Header | State::Zeros if !rest.is_empty() => cut("header", "a block of 512 bytes"),
            State::Header => {
                self.nothing_pending(self.offset)?;
                if self.options.lenient { Ok(()) } else { marker("the end of the input") }
            }
            State::Zeros if self.options.lenient => Ok(()),
            State::Zeros => marker("one block of zeros"),
        }
    }

    fn header(&mut self, block: &[u8; BLOCK], place: u64) -> Result<Option<Entry>, Error> {
        if block.iter().all(|&byte| byte == 0) {
            self.nothing_pending(place)?;
            self.pending = Pending::default();
            self.state = State::Zeros;
            return Ok(None);
        }
        let header = Header::new(block, place, self.options.lenient)?;
        let what = match header.type_flag() {
            b'L' => Text::Name,
            b'K' => Text::Link,
            b'x' | b'X' => Text::Pax,
            b'g' => Text::Global,
            _ => return self.entry(&header, block),
        };
        if what != Text::Global {
            self.pending.start.get_or_insert(place);
        } else if self.pending.start.is_some() && !self.options.lenient {
            // Parsers have taken the records in front of it for its own.
            let want = "global records in front of all headers of an entry";
            return Err(Error::Differs(Fault::new(header.type_offset(), "type", b"g", want)));
        }
        let size = header.unsigned(SIZE)?;
        let (limit, want) = match what {
            // A NUL ends them.
            Text::Name | Text::Link => (self.options.max_name.saturating_add(1), "a shorter name (max_name)"),
            Text::Pax | Text::Global => (self.options.max_pax, "fewer bytes of pax records (max_pax)"),
        };
        let left = usize::try_from(size).ok().filter(|&size| size <= limit);
        let left = left.ok_or_else(|| Error::Limit(Fault::number(header.place(SIZE), "size", size, want)))?;
        self.text(what, place, left, Vec::new())?;
        Ok(None)
    }

    /// Goes on with the content of a header at `offset` of which so much is left.
    fn text(&mut self, what: Text, offset: u64, left: usize, bytes: Vec<u8>) -> Result<(), Error> {
        if left != 0 {
            self.state = State::Text { what, offset, left, bytes };
            return Ok(());
        }
        let lenient = self.options.lenient;
        match what {
            Text::Name | Text::Link => self.pending.name(what, until_nul(&bytes), offset, &self.options),
            Text::Pax => {
                self.has_pax = true;
                let records = records::parse(&bytes, offset + BLOCK as u64, lenient)?;
                self.pending.records(records, offset, lenient)
            }
            Text::Global => {
                self.has_pax = true;
                let records = records::parse(&bytes, offset + BLOCK as u64, lenient)?;
                globals::add(&mut self.globals, records, &self.options)
            }
        }
    }

    fn entry(&mut self, header: &Header<'_>, block: &[u8; BLOCK]) -> Result<Option<Entry>, Error> {
        let pending = mem::take(&mut self.pending);
        let start = pending.start.unwrap_or(header.offset);
        let built = build(header, block, pending, &self.globals, &self.options, self.has_pax)?;
        // None is a volume label.
        let Some(Built { entry, map, front, has_more, contradictions }) = built else { return Ok(None) };
        self.contradictions = self.contradictions.saturating_add(contradictions);
        let entry = Entry { header_offset: start, ..entry };
        match (front, map) {
            (Some(front), _) => self.state = State::Front(Box::new(entry), front),
            (None, Some(map)) if has_more => self.state = State::OldMap(Box::new(entry), map),
            (None, map) => return self.complete(entry, map).map(Some),
        }
        Ok(None)
    }

    /// An entry all of whose headers came: its content is next.
    fn complete(&mut self, mut entry: Entry, map: Option<Map>) -> Result<Entry, Error> {
        entry.data_offset = self.offset;
        match map {
            None => entry.size = entry.stored,
            Some(map) => {
                entry.size = map.size();
                entry.segments = Some(map.finish(entry.stored, entry.header_offset, self.options.lenient)?);
            }
        }
        self.offset = self.add(entry.stored)?;
        let padding = (BLOCK as u64 - self.offset % BLOCK as u64) % BLOCK as u64;
        self.offset = self.add(padding)?;
        Ok(entry)
    }

    /// The offset and so many bytes more.
    fn add(&self, length: u64) -> Result<u64, Error> {
        let next = self.offset.checked_add(length).filter(|&next| i64::try_from(next).is_ok());
        next.ok_or_else(|| {
            let want = "an archive of less than 2^63 bytes";
            Error::Invalid(Fault::number(self.offset, "size", length, want))
        })
    }

    fn zeros(&mut self, block: &[u8; BLOCK], place: u64) -> Result<Option<Entry>, Error> {
        self.state = State::End;
        if block.iter().all(|&byte| byte == 0) {
            // Another archive begins anew.
            self.globals.clear();
            self.has_pax = false;
            return Ok(None);
        }
        if self.options.lenient {
            return self.behind(block, place);
        }
        let want = "a second block of zeros";
        Err(Error::Garbage(Fault::new(place, "end marker", block, want)))
    }

    /// What is behind the end marker, which all programs stop at if they are not told to go on.
    fn behind(&mut self, block: &[u8; BLOCK], place: u64) -> Result<Option<Entry>, Error> {
        let is_zeros = block.iter().all(|&byte| byte == 0);
        self.state = State::End;
        if self.options.concatenated && !is_zeros {
            self.state = State::Header;
            return self.header(block, place);
        }
        if !self.options.lenient {
            no_garbage(block, place)?;
        }
        Ok(None)
    }

    /// An error if a header says something of an entry that does not come.
    fn nothing_pending(&self, place: u64) -> Result<(), Error> {
        if self.pending.start.is_none() || self.options.lenient {
            return Ok(());
        }
        let want = "the entry that the header in front of it is for";
        Err(Error::Differs(Fault::number(place, "header", "the end of the archive", want)))
    }
}

fn no_garbage(bytes: &[u8], place: u64) -> Result<(), Error> {
    let Some(at) = bytes.iter().position(|&byte| byte != 0) else { return Ok(()) };
    let found = bytes.get(at..).unwrap_or_default();
    let want = "zeros behind the end marker";
    Err(Error::Garbage(Fault::new(place + at as u64, "end of the archive", found, want)))
}

/// The entries of an archive that is in memory.
///
/// # Errors
/// Those of [`Parser::push`] and [`Parser::finish`].
pub fn entries(archive: &[u8], options: &Options) -> Result<Vec<Entry>, Error> {
    let mut parser = Parser::new(options.clone());
    let mut entries = Vec::new();
    let length = archive.len() as u64;
    loop {
        let rest = usize::try_from(parser.offset()).ok().and_then(|at| archive.get(at..)).unwrap_or_default();
        let Some(block) = rest.first_chunk() else {
            parser.finish(length, rest)?;
            return Ok(entries);
        };
        entries.extend(parser.push(block)?);
    }
}
