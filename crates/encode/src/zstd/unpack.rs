//! Takes a compressed block of libzstd apart, so that it can be cut: the sequences, and how many literals
//! there are. The literals themselves are known from the input (RFC 8878, 3.1.1.3).

use super::bits::BitReader;
use super::fse::{Decoding, Norm, SYMBOLS};
use super::sequence::{LITERALS_BASE, LITERALS_BITS, MATCH_BASE, MATCH_BITS, MAX_LOG, Sequence, predefined};

/// The tables that a block may repeat: literals length, match length, offset.
pub(super) struct Tables {
    predefined: [Decoding; 3],
    kept: [Decoding; 3],
}

/// A compressed block taken apart as far as its headers go.
struct Opened<'a> {
    literals: usize,
    sequences: usize,
    /// The stream of the sequences.
    stream: &'a [u8],
}

impl Tables {
    pub(super) fn new() -> Self {
        let predefined = predefined().each_ref().map(Decoding::new);
        Self { kept: predefined.clone(), predefined }
    }

    /// Takes the body of a compressed block apart: `sequences` becomes its sequences, and the number of its
    /// literals is the result. `None` when this is no such block.
    pub(super) fn unpack(&mut self, body: &[u8], sequences: &mut Vec<Sequence>) -> Option<usize> {
        sequences.clear();
        let opened = self.open(body)?;
        if opened.sequences == 0 {
            return Some(opened.literals);
        }
        let [literals, matches, offsets] = &self.kept;
        let mut reader = BitReader::new(opened.stream)?;
        let mut first = |table: &Decoding| reader.take(table.log);
        let mut states = [first(literals)?, first(offsets)?, first(matches)?];
        for left in (0..opened.sequences).rev() {
            let [literals, offset, length] =
                [(literals, states[0]), (offsets, states[1]), (matches, states[2])]
                    .map(|(table, state)| table.states.get(usize::try_from(state).unwrap_or(usize::MAX)));
            let (literals, offset, length) = (literals?, offset?, length?);
            sequences.push(read_values(&mut reader, [literals.symbol, length.symbol, offset.symbol])?);
            if left > 0 {
                let mut next = |state: &super::fse::State| {
                    Some(u64::from(state.base) + reader.take(u32::from(state.bits))?)
                };
                let (literals, length) = (next(literals)?, next(length)?);
                states = [literals, next(offset)?, length];
            }
        }
        reader.is_at_end().then_some(opened.literals)
    }

    fn open<'a>(&mut self, body: &'a [u8]) -> Option<Opened<'a>> {
        let (literals, section) = literals_section(body)?;
        let rest = body.get(section..)?;
        let (sequences, at) = match *rest.first()? {
            0 => return Some(Opened { literals, sequences: 0, stream: &[] }),
            count @ 1..128 => (usize::from(count), 1),
            high @ 128..255 => (usize::from(high - 128) << 8 | usize::from(*rest.get(1)?), 2),
            255 => (usize::from(*rest.get(1)?) + (usize::from(*rest.get(2)?) << 8) + 0x7f00, 3),
        };
        let modes = *rest.get(at)?;
        let mut rest = rest.get(at + 1..)?;
        // On disk the order is literals length, offset, match length.
        for (kind, shift) in [(0, 6), (2, 4), (1, 2)] {
            match modes >> shift & 3 {
                0 => self.kept[kind] = self.predefined[kind].clone(),
                1 => {
                    let (&symbol, behind) = rest.split_first()?;
                    self.kept[kind] = Decoding::run(symbol);
                    rest = behind;
                }
                2 => {
                    let (norm, length) = Norm::read(rest, MAX_LOG[kind])?;
                    self.kept[kind] = Decoding::new(&norm);
                    rest = rest.get(length..)?;
                }
                _ => {}
            }
        }
        Some(Opened { literals, sequences, stream: rest })
    }
}

/// The sequence of three codes, whose extra bits come next.
#[inline]
fn read_values(reader: &mut BitReader<'_>, codes: [u8; 3]) -> Option<Sequence> {
    let [literals, length, offset] = codes.map(|code| usize::from(code) & (SYMBOLS - 1));
    let mut take = |bits: u32| u32::try_from(reader.take(bits)?).ok();
    let extra = take(u32::from(codes[2] & 31))?;
    let offset = (1_u32 << (offset & 31)) + extra;
    let length = MATCH_BASE[length].checked_add(take(u32::from(MATCH_BITS[length]))?)?;
    let literals = LITERALS_BASE[literals].checked_add(take(u32::from(LITERALS_BITS[literals]))?)?;
    Some(Sequence { literals, length, offset, codes })
}

/// How many literals a block has, and the length of their section.
fn literals_section(body: &[u8]) -> Option<(usize, usize)> {
    let mut header = [0; 8];
    let there = body.len().min(5);
    header[..there].copy_from_slice(&body[..there]);
    let value = usize::try_from(u64::from_le_bytes(header)).ok()?;
    let (kind, format) = (value & 3, value >> 2 & 3);
    if kind < 2 {
        let (length, literals) = match format {
            1 => (2, value >> 4 & 0xfff),
            3 => (3, value >> 4 & 0xf_ffff),
            _ => (1, value >> 3 & 0x1f),
        };
        return Some((literals, length + if kind == 0 { literals } else { 1 }));
    }
    let (length, bits) = match format {
        0 | 1 => (3, 10),
        2 => (4, 14),
        _ => (5, 18),
    };
    let mask = (1 << bits) - 1;
    Some((value >> 4 & mask, length + (value >> (4 + bits) & mask)))
}

#[cfg(test)]
mod tests {
    use super::super::block::{Counts, Entropy};
    use super::super::sequence::{Match, Recent};
    use super::*;

    /// Some matches of every magnitude, in an order without a pattern.
    fn matches(count: u32, seed: u32) -> Vec<Match> {
        let mut state = seed;
        let mut next = |bits: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let magnitude = (state >> 20) % bits;
            (state >> 8) & ((1 << magnitude) - 1)
        };
        (0..count).map(|_| Match { literals: next(6), length: 3 + next(8), distance: 1 + next(19) }).collect()
    }

    fn blocks() -> Vec<(Vec<Sequence>, Vec<u8>, Vec<u8>)> {
        let mut entropy = Entropy::new();
        let mut recent = Recent::default();
        entropy.begin_frame();
        let mut blocks = Vec::new();
        for (count, seed) in [(1, 1), (900, 2), (900, 3), (0, 4), (900, 5), (130, 6), (5, 7), (9000, 8)] {
            let mut counts = Counts::default();
            let sequences: Vec<Sequence> =
                matches(count, seed).iter().map(|found| recent.code(found)).collect();
            for sequence in &sequences {
                counts.add(sequence);
            }
            let literals: usize = sequences.iter().map(|sequence| sequence.literals as usize).sum();
            let literals: Vec<u8> = (0..literals + 40).map(|at| b"abcdefghabaa"[at * at % 12]).collect();
            counts.add_literals(&literals);
            let plan = entropy.plan(&counts);
            let mut body = vec![0; 1 << 20];
            let size = entropy.write(&plan, &sequences, &literals, &mut body);
            body.truncate(size);
            entropy.keep(&plan, sequences.len());
            blocks.push((sequences, literals, body));
        }
        blocks
    }

    #[test]
    fn what_was_written_is_read_in_the_order_of_the_blocks() {
        let mut tables = Tables::new();
        let mut sequences = Vec::new();
        for (want, literals, body) in blocks() {
            assert_eq!(
                tables.unpack(&body, &mut sequences),
                Some(literals.len()),
                "{} sequences",
                want.len()
            );
            assert_eq!(sequences, want);
        }
    }

    #[test]
    fn what_is_cut_short_or_changed_is_no_block_or_another_one() {
        let (want, _, body) = blocks().swap_remove(1);
        let mut sequences = Vec::new();
        for length in 0..body.len() {
            assert_eq!(Tables::new().unpack(&body[..length], &mut sequences), None, "{length} bytes");
        }
        let mut changed = body.clone();
        for at in 0..body.len().min(600) {
            for bit in 0..8 {
                changed[at] ^= 1 << bit;
                let literals = Tables::new().unpack(&changed, &mut sequences);
                assert!(literals.is_none_or(|literals| literals < 1 << 20), "byte {at}, bit {bit}");
                changed[at] ^= 1 << bit;
            }
        }
        Tables::new().unpack(&body, &mut sequences).unwrap();
        assert_eq!(sequences, want);
    }
}
