//! One block: counting its symbols, planning its codes, knowing its size to the bit, writing it.

use super::bits::BitWriter;
use super::huffman::{code_lengths, codes, entropy};
use super::parse::Sequence;
use super::symbol::{DISTANCES, END, LENGTH_EXTRA, LENGTHS, LITLENS, distance_extra, distance_symbol};

/// How often each symbol occurs.
#[derive(Clone)]
pub(super) struct Histogram {
    pub(super) litlens: [u32; 288],
    pub(super) distances: [u32; 32],
}

impl Histogram {
    pub(super) const EMPTY: Self = Self { litlens: [0; 288], distances: [0; 32] };

    /// Counts `sequences`, which stand for the beginning of `bytes`.
    pub(super) fn count(&mut self, sequences: &[Sequence], bytes: &[u8]) {
        // Two tables, so that a run of one byte does not wait for its own counter.
        let mut odd = [0_u32; 256];
        let mut rest = bytes;
        for sequence in sequences {
            let (literals, behind) = rest.split_at(sequence.literals as usize);
            let mut pairs = literals.chunks_exact(2);
            for pair in &mut pairs {
                bump(&mut self.litlens, usize::from(pair[0]));
                bump(&mut odd, usize::from(pair[1]));
            }
            for &byte in pairs.remainder() {
                bump(&mut self.litlens, usize::from(byte));
            }
            if sequence.length > 0 {
                bump(&mut self.litlens, usize::from(LENGTHS[usize::from(sequence.length)].symbol));
                bump(&mut self.distances, distance_symbol(u32::from(sequence.distance)) as usize);
            }
            rest = &behind[usize::from(sequence.length)..];
        }
        for (count, odd) in self.litlens.iter_mut().zip(&odd) {
            *count += odd;
        }
    }

    /// Adds the counts of another histogram.
    pub(super) fn add(&mut self, other: &Self) {
        for (count, other) in self.litlens.iter_mut().zip(&other.litlens) {
            *count += other;
        }
        for (count, other) in self.distances.iter_mut().zip(&other.distances) {
            *count += other;
        }
    }

    /// The bits that follow length and distance symbols.
    fn extra_bits(&self) -> u64 {
        let lengths = self.litlens[END + 1..].iter().zip(LENGTH_EXTRA);
        let lengths: u64 = lengths.map(|(&count, bits)| u64::from(count) * u64::from(bits)).sum();
        let distances = (0..).zip(&self.distances);
        let distances: u64 =
            distances.map(|(symbol, &count)| u64::from(count) * u64::from(distance_extra(symbol))).sum();
        lengths + distances
    }

    /// The bits of an ideal code, without the code itself: of the literals, and of everything.
    pub(super) fn ideal(&self) -> (u64, u64) {
        let (literals, litlens) = entropy(&self.litlens, END);
        let (_, distances) = entropy(&self.distances, 0);
        (literals, litlens + distances + self.extra_bits())
    }

    /// About how many bits the codes of a block with these symbols take.
    pub(super) fn table_bits(&self) -> u64 {
        let used = self.litlens.iter().chain(&self.distances).filter(|&&count| count > 0).count();
        80 + 3 * used as u64
    }

    pub(super) fn literals(&self) -> u64 {
        self.litlens[..END].iter().map(|&count| u64::from(count)).sum()
    }

    pub(super) fn matches(&self) -> u64 {
        self.distances.iter().map(|&count| u64::from(count)).sum()
    }
}

#[inline]
fn bump(counts: &mut [u32], symbol: usize) {
    if let Some(count) = counts.get_mut(symbol) {
        *count = count.wrapping_add(1);
    }
}

/// Section 3.2.7 of RFC 1951: the order in which the lengths of the code length code are sent.
const CODE_LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// The longest code of literals, lengths and distances.
const MAX_CODE: u8 = 15;
/// The longest code of code lengths.
const MAX_CODE_LENGTH_CODE: u8 = 7;
/// Header of a block: whether it is the last, and its kind.
const HEADER_BITS: u64 = 3;

/// The codes of one block, and its size.
#[derive(Clone)]
pub(super) struct Plan {
    litlens: [u8; 288],
    distances: [u8; 32],
    /// What the block will take, header and end included.
    pub(super) bits: u64,
    table: Option<Table>,
}

/// How the codes of a block are sent.
#[derive(Clone)]
struct Table {
    /// Symbols of the code length alphabet, each with the value of its extra bits.
    items: [(u8, u8); LITLENS + DISTANCES],
    used: usize,
    lengths: [u8; 19],
    sent: usize,
    litlens: usize,
    distances: usize,
    bits: u64,
}

impl Plan {
    /// The cheaper of a block with codes of its own and one with the fixed codes, for `histogram`.
    pub(super) fn new(histogram: &Histogram) -> Self {
        let mut counts = histogram.litlens;
        counts[END] = 1;
        let mut litlens = [0; 288];
        let mut distances = [0; 32];
        code_lengths(&counts[..LITLENS], MAX_CODE, &mut litlens[..LITLENS]);
        code_lengths(&histogram.distances[..DISTANCES], MAX_CODE, &mut distances[..DISTANCES]);
        // One code must be there, though none is used.
        if distances.iter().all(|&length| length == 0) {
            distances[0] = 1;
        }
        let table = Table::new(&litlens, &distances);
        let extra = histogram.extra_bits() + HEADER_BITS;
        let cost = |litlens: &[u8; 288], distances: &[u8; 32]| {
            extra + weigh(&counts, litlens) + weigh(&histogram.distances, distances)
        };
        let own = cost(&litlens, &distances) + table.bits;
        let fixed = cost(&FIXED_LITLENS, &FIXED_DISTANCES);
        if fixed <= own {
            return Self { litlens: FIXED_LITLENS, distances: FIXED_DISTANCES, bits: fixed, table: None };
        }
        Self { litlens, distances, bits: own, table: Some(table) }
    }

    /// The bits of one literal; what the code does not have is thought of as rare.
    #[inline]
    pub(super) fn literal_bits(&self, byte: u8) -> u64 {
        or_rare(self.litlens[usize::from(byte)])
    }

    /// The bits of the match of one sequence.
    pub(super) fn match_bits(&self, sequence: Sequence) -> u64 {
        if sequence.length == 0 {
            return 0;
        }
        let length = LENGTHS[usize::from(sequence.length)];
        let distance = distance_symbol(u32::from(sequence.distance));
        or_rare(self.litlens[usize::from(length.symbol)])
            + u64::from(length.extra_bits)
            + or_rare(self.distances[distance as usize])
            + u64::from(distance_extra(distance))
    }

    /// Writes the block of `sequences`, which stand for the beginning of `bytes`, and of `literals` more
    /// behind them.
    pub(super) fn write(&self, out: &mut BitWriter, sequences: &[Sequence], bytes: &[u8], literals: usize) {
        let mut litlen_codes = [0; 288];
        let mut distance_codes = [0; 32];
        codes(&self.litlens, &mut litlen_codes);
        codes(&self.distances, &mut distance_codes);
        match &self.table {
            None => out.put(0b010, 3),
            Some(table) => table.write(out),
        }
        out.flush();
        let mut entries = [0_u32; 288];
        for ((entry, &code), &length) in entries.iter_mut().zip(&litlen_codes).zip(&self.litlens) {
            *entry = u32::from(code) | u32::from(length) << 16;
        }
        let literal_entries = entries.first_chunk::<256>().unwrap_or(&[0; 256]);
        let mut rest = bytes;
        for sequence in sequences {
            let (run, behind) = rest.split_at(sequence.literals as usize);
            write_literals(out, run, literal_entries);
            if sequence.length > 0 {
                let length = LENGTHS[usize::from(sequence.length)];
                let entry = entries[usize::from(length.symbol)];
                out.put(u64::from(entry & 0xFFFF), entry >> 16);
                out.put(u64::from(length.extra), u32::from(length.extra_bits));
                let distance = u32::from(sequence.distance);
                let symbol = distance_symbol(distance);
                out.put(
                    u64::from(distance_codes[symbol as usize & 31]),
                    u32::from(self.distances[symbol as usize & 31]),
                );
                let extra = distance_extra(symbol);
                out.put(u64::from(distance.wrapping_sub(1) & ((1 << extra) - 1)), extra);
                out.flush();
            }
            rest = &behind[usize::from(sequence.length)..];
        }
        write_literals(out, &rest[..literals], literal_entries);
        out.put(u64::from(entries[END] & 0xFFFF), entries[END] >> 16);
        out.flush();
    }
}

fn weigh(counts: &[u32], lengths: &[u8]) -> u64 {
    counts.iter().zip(lengths).map(|(&count, &length)| u64::from(count) * u64::from(length)).sum()
}

fn or_rare(length: u8) -> u64 {
    u64::from(if length == 0 { 12 } else { length })
}

/// Three literals take at most 45 bits, and 7 may be pending.
#[inline]
fn write_literals(out: &mut BitWriter, literals: &[u8], entries: &[u32; 256]) {
    let put = |out: &mut BitWriter, byte: u8| {
        let entry = entries[usize::from(byte)];
        out.put(u64::from(entry & 0xFFFF), entry >> 16);
    };
    let mut threes = literals.chunks_exact(3);
    for three in &mut threes {
        for &byte in three {
            put(out, byte);
        }
        out.flush();
    }
    for &byte in threes.remainder() {
        put(out, byte);
    }
    out.flush();
}

impl Table {
    fn new(litlen_lengths: &[u8; 288], distance_lengths: &[u8; 32]) -> Self {
        let litlens = litlen_lengths[..LITLENS]
            .iter()
            .rposition(|&length| length > 0)
            .map_or(257, |last| last + 1)
            .max(257);
        let distances =
            distance_lengths[..DISTANCES].iter().rposition(|&length| length > 0).map_or(1, |last| last + 1);
        let mut all = [0_u8; LITLENS + DISTANCES];
        all[..litlens].copy_from_slice(&litlen_lengths[..litlens]);
        all[litlens..litlens + distances].copy_from_slice(&distance_lengths[..distances]);
        let mut table = Self {
            items: [(0, 0); LITLENS + DISTANCES],
            used: 0,
            lengths: [0; 19],
            sent: 0,
            litlens,
            distances,
            bits: 0,
        };
        for run in all[..litlens + distances].chunk_by(|left, right| left == right) {
            table.push_run(run[0], run.len());
        }
        let mut counts = [0_u32; 19];
        for &(symbol, _) in &table.items[..table.used] {
            counts[usize::from(symbol)] += 1;
        }
        code_lengths(&counts, MAX_CODE_LENGTH_CODE, &mut table.lengths);
        table.sent = CODE_LENGTH_ORDER
            .iter()
            .rposition(|&symbol| table.lengths[symbol] > 0)
            .map_or(4, |last| last + 1)
            .max(4);
        let extra: u64 =
            counts[16..].iter().zip([2, 3, 7]).map(|(&count, bits)| u64::from(count) * bits).sum();
        table.bits = 14 + 3 * table.sent as u64 + weigh(&counts, &table.lengths) + extra;
        table
    }

    /// Sends `count` times the length `value`, with the symbols for repeats where they are shorter.
    fn push_run(&mut self, value: u8, mut count: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 138 less 3")]
        let mut push = |symbol: u8, extra: usize| {
            self.items[self.used] = (symbol, extra as u8);
            self.used += 1;
        };
        if value == 0 {
            while count >= 11 {
                let now = count.min(138);
                push(18, now - 11);
                count -= now;
            }
            if count >= 3 {
                push(17, count - 3);
                count = 0;
            }
        } else if count >= 4 {
            push(value, 0);
            count -= 1;
            while count >= 3 {
                let now = count.min(6);
                push(16, now - 3);
                count -= now;
            }
        }
        for _single in 0..count {
            push(value, 0);
        }
    }

    fn write(&self, out: &mut BitWriter) {
        out.put(0b100, 3);
        out.put(self.litlens as u64 - 257, 5);
        out.put(self.distances as u64 - 1, 5);
        out.put(self.sent as u64 - 4, 4);
        out.flush();
        for &symbol in &CODE_LENGTH_ORDER[..self.sent] {
            out.put(u64::from(self.lengths[symbol]), 3);
            out.flush();
        }
        let mut length_codes = [0; 19];
        codes(&self.lengths, &mut length_codes);
        for &(symbol, extra) in &self.items[..self.used] {
            out.put(
                u64::from(length_codes[usize::from(symbol)]),
                u32::from(self.lengths[usize::from(symbol)]),
            );
            out.put(
                u64::from(extra),
                match symbol {
                    16 => 2,
                    17 => 3,
                    18 => 7,
                    _ => 0,
                },
            );
            out.flush();
        }
    }
}

/// Section 3.2.6 of RFC 1951.
const FIXED_LITLENS: [u8; 288] = {
    let mut lengths = [8; 288];
    let mut symbol = 144;
    while symbol < 280 {
        lengths[symbol] = if symbol < 256 { 9 } else { 7 };
        symbol += 1;
    }
    lengths
};
const FIXED_DISTANCES: [u8; 32] = [5; 32];
