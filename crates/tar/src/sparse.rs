//! Maps of sparse files: those of GNU tar's old headers, and three versions in PAX records.

use std::mem;

use crate::entry::{Record, Segment};
use crate::error::{Error, Fault};
use crate::header::{BLOCK, Header};
use crate::number::number;
use crate::text::decimal;

/// Slots of a map in a header, and in a block that continues it.
const OLD: [(usize, usize); 2] = [(386, 4), (0, 21)];
/// The length of a slot in bytes: two numbers of half of it.
const SLOT: usize = 24;
/// Where a header and a continuing block say that another one follows.
const OLD_MORE: [usize; 2] = [482, 504];
/// Where an old header has the length of the file.
const OLD_SIZE: (usize, usize) = (483, 12);
/// The most digits of a number in a map of version 1.0.
const DIGITS: usize = 20;

const MAP: &str = "map of a sparse file";

/// A map in the making.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    segments: Vec<Segment>,
    /// Where the last segment ends, one of length 0 included.
    end: u64,
    limit: usize,
    /// The length of the file.
    size: u64,
    is_full: bool,
    /// Whether a segment other than the last is no multiple of blocks.
    is_ragged: bool,
}

impl Map {
    pub(crate) fn new(size: u64, limit: usize) -> Self {
        Self { segments: Vec::new(), end: 0, limit, size, is_full: false, is_ragged: false }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a segment that the archive has at `place`.
    fn add(&mut self, offset: u64, length: u64, place: u64) -> Result<(), Error> {
        let end = offset.checked_add(length).filter(|&end| end <= self.size);
        let Some(end) = end.filter(|_| offset >= self.end) else {
            let found = format!("{length} bytes at {offset}");
            let want = "segments in order, without overlap, within the file";
            return Err(Error::Invalid(Fault::number(place, MAP, found, want)));
        };
        self.end = end;
        if length != 0 {
            self.is_ragged |=
                self.segments.last().is_some_and(|last| !last.length.is_multiple_of(BLOCK as u64));
            if self.segments.len() >= self.limit {
                return Err(too_many(place, self.segments.len() + 1));
            }
            self.segments.push(Segment { offset, length });
        }
        Ok(())
    }

    /// The segments, if they take as many bytes as the archive stores.
    pub(crate) fn finish(self, stored: u64, place: u64, lenient: bool) -> Result<Vec<Segment>, Error> {
        let sum: u64 = self.segments.iter().map(|segment| segment.length).sum();
        if sum != stored {
            let found = format!("segments of {sum} bytes with {stored} in the archive");
            return Err(Error::Invalid(Fault::number(place, MAP, found, "as many bytes as are stored")));
        }
        if self.end != self.size && !lenient {
            // GNU tar, which ends each map there, makes the file as long as the map says.
            let want = "a segment at the end of the file, if of 0 bytes";
            let found = format!("an end at {} of {} bytes", self.end, self.size);
            return Err(Error::Differs(Fault::number(place, MAP, found, want)));
        }
        if self.is_ragged && !lenient {
            // GNU tar reads each segment from the beginning of a block.
            let want = "multiples of 512 bytes but for the last segment";
            return Err(Error::Differs(Fault::number(place, MAP, "another length", want)));
        }
        Ok(self.segments)
    }

    /// Takes the slots of an old header (`form` 0) or of a block that continues it (1), and returns whether
    /// another block follows.
    fn take_old(&mut self, block: &[u8; BLOCK], form: usize, offset: u64) -> Result<bool, Error> {
        let (start, count) = OLD[form];
        let has_more = block[OLD_MORE[form]] != 0;
        for slot in (start..).step_by(SLOT).take(count) {
            let place = offset + slot as u64;
            let bytes = block.get(slot..slot + SLOT).unwrap_or_default();
            let (first, second) = bytes.split_at(bytes.len() / 2);
            let is_unused = (first.first() == Some(&0), second.first() == Some(&0));
            if is_unused == (true, true) {
                // GNU tar stops here, bsdtar goes on.
                self.is_full = true;
                continue;
            }
            let values = (old_number(first), old_number(second));
            let (Some(at), Some(length), false, (false, false)) =
                (values.0, values.1, self.is_full, is_unused)
            else {
                let want = "two numbers in each slot up to the first unused one";
                return Err(Error::Invalid(Fault::new(place, MAP, bytes, want)));
            };
            self.add(at, length, place)?;
        }
        if has_more && self.is_full {
            let want = "no further block of a map that has ended";
            return Err(Error::Invalid(Fault::number(offset, MAP, "a continued map", want)));
        }
        Ok(has_more)
    }

    /// Takes a block that continues an old header.
    pub(crate) fn continue_old(&mut self, block: &[u8; BLOCK], offset: u64) -> Result<bool, Error> {
        self.take_old(block, 1, offset)
    }
}

fn old_number(field: &[u8]) -> Option<u64> {
    let number = number(field).filter(|number| number.is_clear)?;
    u64::try_from(number.value).ok()
}

fn too_many(place: u64, found: usize) -> Error {
    let want = "no more segments than the limit (max_segments)";
    Error::Limit(Fault::number(place, "segments of a sparse file", found, want))
}

/// The map of an old header, and whether a block continues it.
pub(crate) fn old(header: &Header<'_>, block: &[u8; BLOCK], limit: usize) -> Result<(Map, bool), Error> {
    let field = header.bytes(OLD_SIZE.0, OLD_SIZE.1);
    let size = old_number(field).ok_or_else(|| {
        let place = header.offset + OLD_SIZE.0 as u64;
        Error::Invalid(Fault::new(place, "length of a sparse file", field, "a number from 0 on"))
    })?;
    let mut map = Map::new(size, limit);
    let has_more = map.take_old(block, 0, header.offset)?;
    Ok((map, has_more))
}

/// What the PAX records of a file say of its holes.
pub(crate) enum Pax {
    /// The whole map.
    Known(Map),
    /// It is in front of the content.
    InFront(Front),
}

/// What the records `GNU.sparse.*` hold.
#[derive(Default)]
struct Keys<'r> {
    version: (Option<&'r [u8]>, Option<&'r [u8]>),
    size: Option<u64>,
    blocks: Option<u64>,
    map: Option<&'r Record>,
    /// Offsets and lengths of version 0.0, in turn.
    pairs: Vec<u64>,
    first: u64,
}

impl<'r> Keys<'r> {
    /// Takes one record; returns whether it is of this kind.
    fn take(&mut self, record: &'r Record, limit: usize) -> Result<(), Error> {
        let want = "a record of GNU tar's sparse files, each of them once, with decimal numbers";
        let wrong = || Error::Invalid(Fault::new(record.offset, "pax record", &record.key, want));
        let value = || decimal(&record.value).ok_or_else(wrong);
        match record.key.strip_prefix(b"GNU.sparse.").unwrap_or_default() {
            b"major" => self.version.0 = Some(&record.value),
            b"minor" => self.version.1 = Some(&record.value),
            b"name" => {}
            b"size" | b"realsize" => {
                let size = value()?;
                if self.size.is_some_and(|known| known != size) {
                    return Err(wrong());
                }
                self.size = Some(size);
            }
            b"numblocks" => self.blocks = Some(value()?),
            b"map" if self.map.is_none() => self.map = Some(record),
            key @ (b"offset" | b"numbytes") => {
                if (key == b"offset") != self.pairs.len().is_multiple_of(2) {
                    return Err(wrong());
                }
                if self.pairs.len() / 2 > limit {
                    return Err(too_many(record.offset, self.pairs.len() / 2));
                }
                self.pairs.push(value()?);
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }
}

/// Reads the records of a sparse file; none if the file is not sparse.
pub(crate) fn pax(records: &[Record], limit: usize) -> Result<Option<Pax>, Error> {
    let mut keys = Keys::default();
    let mut own = records.iter().filter(|record| record.key.starts_with(b"GNU.sparse.")).peekable();
    let Some(first) = own.peek() else { return Ok(None) };
    keys.first = first.offset;
    for record in own {
        keys.take(record, limit)?;
    }
    let missing = |what: &str| {
        Error::Invalid(Fault::number(keys.first, MAP, what, "the records of version 0.0, 0.1 or 1.0"))
    };
    let size = keys.size.ok_or_else(|| missing("no length"))?;
    let mut map = Map::new(size, limit);
    match keys.version {
        (Some(b"1"), Some(b"0")) if keys.map.is_none() && keys.pairs.is_empty() && keys.blocks.is_none() => {
            return Ok(Some(Pax::InFront(Front {
                map,
                line: Vec::new(),
                lines: 0,
                wanted: None,
                first: None,
            })));
        }
        (None, None) | (Some(b"0"), Some(b"0" | b"1")) => {}
        _ => return Err(missing("another version")),
    }
    let mut pairs = keys.pairs;
    if let Some(record) = keys.map {
        if !pairs.is_empty() {
            return Err(missing("two maps"));
        }
        for text in record.value.split(|&byte| byte == b',').filter(|_| !record.value.is_empty()) {
            if pairs.len() / 2 > limit {
                return Err(too_many(record.offset, pairs.len() / 2));
            }
            let want = "decimal numbers with commas";
            let wrong = || Error::Invalid(Fault::new(record.offset, MAP, text, want));
            pairs.push(decimal(text).ok_or_else(wrong)?);
        }
    }
    if !pairs.len().is_multiple_of(2) || keys.blocks != Some((pairs.len() / 2) as u64) {
        return Err(missing("another number of segments than GNU.sparse.numblocks"));
    }
    for pair in pairs.chunks_exact(2) {
        map.add(pair[0], pair[1], keys.first)?;
    }
    Ok(Some(Pax::Known(map)))
}

/// A map of version 1.0, which is in front of the content: lines of decimal numbers, the first of which says
/// how many segments there are, padded to a whole block.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    map: Map,
    /// The line that has begun.
    line: Vec<u8>,
    lines: u64,
    /// How many lines there are.
    wanted: Option<u64>,
    /// The offset of a segment whose length comes next.
    first: Option<u64>,
}

impl Front {
    /// Takes a block at `offset` of the archive; the map, if it is complete.
    pub(crate) fn take(&mut self, block: &[u8; BLOCK], offset: u64) -> Result<Option<Map>, Error> {
        for (place, &byte) in (offset..).zip(block) {
            if byte != b'\n' {
                if self.line.len() >= DIGITS {
                    return Err(self.wrong(place));
                }
                self.line.push(byte);
                continue;
            }
            let value = decimal(&self.line).ok_or_else(|| self.wrong(place))?;
            self.line.clear();
            self.number(value, place)?;
            if self.wanted == Some(self.lines) {
                return Ok(Some(mem::replace(&mut self.map, Map::new(0, 0))));
            }
        }
        Ok(None)
    }

    pub(crate) fn size(&self) -> u64 {
        self.map.size
    }

    fn number(&mut self, value: u64, place: u64) -> Result<(), Error> {
        if self.wanted.is_none() {
            let count =
                usize::try_from(value).ok().filter(|&count| count <= self.map.limit.saturating_add(1));
            count.ok_or_else(|| too_many(place, usize::try_from(value).unwrap_or(usize::MAX)))?;
            self.wanted = value.checked_mul(2);
            return Ok(());
        }
        self.lines += 1;
        match self.first.take() {
            None => self.first = Some(value),
            Some(first) => self.map.add(first, value, place)?,
        }
        Ok(())
    }

    fn wrong(&self, place: u64) -> Error {
        Error::Invalid(Fault::new(place, MAP, &self.line, "lines of decimal numbers"))
    }
}
