//! One compressed block: what it would cost to the bit, and its bytes (RFC 8878, 3.1.1.3).
#![expect(
    clippy::cast_possible_truncation,
    reason = "a block has at most 128 KiB, so its counts, lengths and sizes are below 2^20"
)]

use super::bits::{BitWriter, put};
use super::fse::{BIT, NEVER, Norm, SYMBOLS, Table};
use super::huffman::Huffman;
use super::sequence::{
    LITERALS_BASE, LITERALS_BITS, MATCH_BASE, MATCH_BITS, MAX_LOG, MIN_MATCH, Sequence, predefined,
};

/// The most input of one block in bytes.
pub(super) const MAX_BLOCK: usize = 128 << 10;
/// From so many literals on they go into four streams: with fewer, the sizes fit ten bits and one stream is
/// smaller.
const FOUR_STREAMS: usize = 1024;
/// Fewer literals than this are stored.
const FEW_LITERALS: usize = 24;

/// How often everything occurs in a block.
pub(super) struct Counts {
    literals: [u32; 256],
    codes: [[u32; SYMBOLS]; 3],
    literals_total: u32,
    sequences: u32,
}

impl Default for Counts {
    fn default() -> Self {
        Self { literals: [0; 256], codes: [[0; SYMBOLS]; 3], literals_total: 0, sequences: 0 }
    }
}

impl Counts {
    /// One sequence more.
    #[inline(always)]
    pub(super) fn add(&mut self, sequence: &Sequence) {
        for (counts, code) in self.codes.iter_mut().zip(sequence.codes) {
            counts[usize::from(code) & (SYMBOLS - 1)] += 1;
        }
        self.sequences += 1;
    }

    /// One sequence less.
    pub(super) fn remove(&mut self, sequence: &Sequence) {
        for (counts, code) in self.codes.iter_mut().zip(sequence.codes) {
            counts[usize::from(code) & (SYMBOLS - 1)] -= 1;
        }
        self.sequences -= 1;
    }

    /// More literals.
    pub(super) fn add_literals(&mut self, bytes: &[u8]) {
        // Four tables, so that runs of one byte do not wait for their own counter.
        let mut tables = [[0_u32; 256]; 3];
        let mut groups = bytes.chunks_exact(4);
        for group in &mut groups {
            self.literals[usize::from(group[0])] += 1;
            tables[0][usize::from(group[1])] += 1;
            tables[1][usize::from(group[2])] += 1;
            tables[2][usize::from(group[3])] += 1;
        }
        for &byte in groups.remainder() {
            self.literals[usize::from(byte)] += 1;
        }
        for (byte, count) in self.literals.iter_mut().enumerate() {
            *count += tables[0][byte] + tables[1][byte] + tables[2][byte];
        }
        self.literals_total += bytes.len() as u32;
    }

    /// One literal more.
    pub(super) fn add_literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] += 1;
        self.literals_total += 1;
    }

    /// One literal less.
    pub(super) fn remove_literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] -= 1;
        self.literals_total -= 1;
    }
}

/// How literals are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literals {
    Raw,
    Run(u8),
    Coded,
    /// Coded with the code of the block before.
    Treeless,
}

/// Where a table comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Predefined,
    Run(u8),
    Fresh,
    Repeat,
}

impl Mode {
    fn number(self) -> u8 {
        match self {
            Self::Predefined => 0,
            Self::Run(_) => 1,
            Self::Fresh => 2,
            Self::Repeat => 3,
        }
    }
}

/// How a block is to be written. Costs are in 1/256 bit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    literals: Literals,
    modes: [Mode; 3],
    /// Cost of the literals section.
    pub(super) literals_cost: u64,
    /// Cost of the sequences section.
    pub(super) sequences_cost: u64,
}

impl Plan {
    /// Cost of the block without its header.
    pub(super) fn cost(&self) -> u64 {
        self.literals_cost + self.sequences_cost
    }
}

/// The price of what a plan has no code for: more than any block, and sums of it stay below 2^63.
const UNWRITABLE: u64 = 1 << 48;

/// What one more of each thing costs under a plan, in 1/256 bit, extra bits included; [`UNWRITABLE`] where it
/// has no code.
pub(super) struct Prices {
    /// A literal of each value.
    pub(super) literals: [u64; 256],
    codes: [[u64; SYMBOLS]; 3],
}

impl Prices {
    /// The price of a sequence without its literals.
    pub(super) fn of(&self, sequence: &Sequence) -> u64 {
        let price = |table: usize| self.codes[table][usize::from(sequence.codes[table]) & (SYMBOLS - 1)];
        price(0) + price(1) + price(2)
    }
}

/// The tables of a frame: those of the block in work and those that the block before left.
pub(super) struct Entropy {
    predefined: [Table; 3],
    run: Table,
    norms: [Norm; 3],
    fresh: [Table; 3],
    kept: [Table; 3],
    has_kept: [bool; 3],
    code: Box<Huffman>,
    kept_code: Box<Huffman>,
    has_kept_code: bool,
}

impl Entropy {
    pub(super) fn new() -> Self {
        let norms = predefined();
        let predefined = norms.each_ref().map(Table::new);
        Self {
            fresh: predefined.clone(),
            kept: predefined.clone(),
            predefined,
            run: Table::run(),
            norms,
            has_kept: [false; 3],
            code: Box::default(),
            kept_code: Box::default(),
            has_kept_code: false,
        }
    }

    /// Forgets the tables of earlier blocks: a frame begins.
    pub(super) fn begin_frame(&mut self) {
        self.has_kept = [false; 3];
        self.has_kept_code = false;
    }

    /// The cheapest way to write a block of these counts.
    pub(super) fn plan(&mut self, counts: &Counts) -> Plan {
        let (literals, literals_cost) = self.plan_literals(counts);
        let mut plan = Plan { literals, modes: [Mode::Predefined; 3], literals_cost, sequences_cost: 0 };
        let count = counts.sequences;
        let mut bytes = if count < 128 {
            1
        } else if count < 0x7f00 {
            2
        } else {
            3
        };
        if count > 0 {
            // A byte of modes; the end mark and on average half a byte of filling.
            bytes += 2;
            for table in 0..3 {
                let (mode, cost) = self.plan_table(table, counts);
                plan.modes[table] = mode;
                plan.sequences_cost += cost + extra_cost(table, &counts.codes[table]);
            }
        }
        plan.sequences_cost += bytes * u64::from(8 * BIT);
        plan
    }

    fn plan_literals(&mut self, counts: &Counts) -> (Literals, u64) {
        let total = counts.literals_total as usize;
        let byte = u64::from(8 * BIT);
        let raw = (total + raw_header_len(total)) as u64 * byte;
        let most = counts.literals.iter().copied().max().unwrap_or(0) as usize;
        if total > 4 && most == total {
            let only = counts.literals.iter().position(|&count| count > 0).unwrap_or(0) as u8;
            return (Literals::Run(only), (raw_header_len(total) as u64 + 1) * byte);
        }
        let mut best = (Literals::Raw, raw);
        if total < FEW_LITERALS {
            return best;
        }
        // Streams end with a mark and are filled up to a whole byte: at most eight bits each. So the cost is
        // never too low, and what is planned as coded is never stored after all.
        let frame = coded_header_len(total) as u64 * byte
            + u64::from(BIT) * if total < FOUR_STREAMS { 8 } else { 6 * 8 + 4 * 8 };
        if self.has_kept_code
            && let Some(bits) = self.kept_code.bits_of(&counts.literals)
            && bits * u64::from(BIT) + frame < best.1
        {
            best = (Literals::Treeless, bits * u64::from(BIT) + frame);
        }
        let promising = most > total / 128 + 4 || total < FOUR_STREAMS;
        if promising
            && self.code.build(&counts.literals, counts.literals_total)
            && let Some(bits) = self.code.bits_of(&counts.literals)
        {
            let cost = bits * u64::from(BIT) + frame + self.code.description().len() as u64 * byte;
            if cost < best.1 {
                best = (Literals::Coded, cost);
            }
        }
        best
    }

    /// The cheapest table for one kind of code, and its cost without extra bits. A fresh table is built.
    fn plan_table(&mut self, kind: usize, counts: &Counts) -> (Mode, u64) {
        let total = counts.sequences;
        let counts = &counts.codes[kind];
        let table_cost = |table: &Table| {
            let cost =
                counts.iter().zip(&table.costs).map(|(&count, &cost)| u64::from(count) * u64::from(cost));
            cost.sum::<u64>() + u64::from(table.log() * BIT)
        };
        let mut best = (Mode::Predefined, table_cost(&self.predefined[kind]));
        if let Some(only) = counts.iter().position(|&count| count == total) {
            let run = u64::from(8 * BIT);
            return if best.1 <= run { best } else { (Mode::Run(only as u8), run) };
        }
        if self.has_kept[kind] {
            let cost = table_cost(&self.kept[kind]);
            if cost < best.1 {
                best = (Mode::Repeat, cost);
            }
        }
        let norm = Norm::new(counts, total, MAX_LOG[kind]);
        let described = norm.described_len() as u64 * u64::from(8 * BIT);
        let cost = norm.cost_of(counts) + described + u64::from(norm.log * BIT);
        if cost < best.1 {
            self.fresh[kind].build(&norm);
            self.norms[kind] = norm;
            best = (Mode::Fresh, cost);
        }
        best
    }

    fn table(&self, kind: usize, mode: Mode) -> &Table {
        match mode {
            Mode::Predefined => &self.predefined[kind],
            Mode::Run(_) => &self.run,
            Mode::Fresh => &self.fresh[kind],
            Mode::Repeat => &self.kept[kind],
        }
    }

    fn code(&self, literals: Literals) -> &Huffman {
        if literals == Literals::Treeless { &self.kept_code } else { &self.code }
    }

    /// What one more of each thing costs under `plan`.
    pub(super) fn prices(&self, plan: &Plan) -> Prices {
        let mut prices = Prices { literals: [8 * u64::from(BIT); 256], codes: [[0; SYMBOLS]; 3] };
        match plan.literals {
            Literals::Raw => {}
            Literals::Run(byte) => {
                prices.literals = [UNWRITABLE; 256];
                prices.literals[usize::from(byte)] = 0;
            }
            Literals::Coded | Literals::Treeless => {
                for (price, &length) in prices.literals.iter_mut().zip(&self.code(plan.literals).lengths) {
                    *price = if length == 0 { UNWRITABLE } else { u64::from(BIT * u32::from(length)) };
                }
            }
        }
        for (kind, prices) in prices.codes.iter_mut().enumerate() {
            let costs = &self.table(kind, plan.modes[kind]).costs;
            for (code, price) in prices.iter_mut().enumerate() {
                let writable = match plan.modes[kind] {
                    Mode::Run(only) => usize::from(only) == code,
                    Mode::Predefined | Mode::Fresh | Mode::Repeat => costs[code] < NEVER,
                };
                *price = UNWRITABLE;
                if writable {
                    *price = u64::from(costs[code] + BIT * extra_bits(kind, code));
                }
            }
        }
        prices
    }

    /// Writes the block's body at the beginning of `out` and gives its size, which may be larger than `out`.
    pub(super) fn write(
        &self,
        plan: &Plan,
        sequences: &[Sequence],
        literals: &[u8],
        out: &mut [u8],
    ) -> usize {
        let at = self.write_literals(plan.literals, literals, out);
        self.write_sequences(plan.modes, sequences, out, at)
    }

    fn write_literals(&self, kind: Literals, literals: &[u8], out: &mut [u8]) -> usize {
        let total = literals.len();
        if let Literals::Run(byte) = kind {
            let at = raw_header(1, total, out);
            return put(out, at, &[byte]);
        }
        if matches!(kind, Literals::Coded | Literals::Treeless) && total >= FEW_LITERALS {
            let size = self.write_coded(kind, literals, out);
            if size < total + raw_header_len(total) {
                return size;
            }
        }
        let at = raw_header(0, total, out);
        put(out, at, literals)
    }

    fn write_coded(&self, kind: Literals, literals: &[u8], out: &mut [u8]) -> usize {
        let total = literals.len();
        let code = self.code(kind);
        let header = coded_header_len(total);
        let mut at = header;
        if kind == Literals::Coded {
            at = put(out, at, code.description());
        }
        let (format, bits) = match total {
            0..FOUR_STREAMS => (0, 10),
            FOUR_STREAMS..0x4000 => (2, 14),
            _ => (3, 18),
        };
        if total < FOUR_STREAMS {
            at = code.write(literals, out, at);
        } else {
            let jumps = at;
            at += 6;
            for (stream, part) in literals.chunks(total.div_ceil(4)).enumerate() {
                let start = at;
                at = code.write(part, out, at);
                if stream < 3 {
                    put(out, jumps + 2 * stream, &((at - start) as u16).to_le_bytes());
                }
            }
        }
        let number = if kind == Literals::Treeless { 3 } else { 2 };
        let value = number | format << 2 | (total as u64) << 4 | ((at - header) as u64) << (4 + bits);
        put(out, 0, &value.to_le_bytes()[..header]);
        at
    }

    fn write_sequences(&self, modes: [Mode; 3], sequences: &[Sequence], out: &mut [u8], at: usize) -> usize {
        let count = sequences.len();
        let mut at = match count {
            0..128 => put(out, at, &[count as u8]),
            128..0x7f00 => put(out, at, &[(count >> 8) as u8 + 128, count as u8]),
            _ => put(out, at, &[255, (count - 0x7f00) as u8, ((count - 0x7f00) >> 8) as u8]),
        };
        let Some((last, rest)) = sequences.split_last() else {
            return at;
        };
        // On disk the order is literals length, offset, match length.
        let [of_literals, of_match, of_offset] = modes;
        at = put(out, at, &[of_literals.number() << 6 | of_offset.number() << 4 | of_match.number() << 2]);
        for kind in [0, 2, 1] {
            at = match modes[kind] {
                Mode::Run(code) => put(out, at, &[code]),
                Mode::Fresh => self.norms[kind].write(out, at),
                Mode::Predefined | Mode::Repeat => at,
            };
        }
        let [literals, matches, offsets] = [0, 1, 2].map(|kind| self.table(kind, modes[kind]));
        let mut writer = BitWriter::new(out, at);
        let mut literals_state = literals.first_state(last.codes[0]);
        let mut match_state = matches.first_state(last.codes[1]);
        let mut offset_state = offsets.first_state(last.codes[2]);
        add_extra(&mut writer, last);
        for sequence in rest.iter().rev() {
            offsets.put(&mut writer, &mut offset_state, sequence.codes[2]);
            matches.put(&mut writer, &mut match_state, sequence.codes[1]);
            literals.put(&mut writer, &mut literals_state, sequence.codes[0]);
            add_extra(&mut writer, sequence);
        }
        matches.finish(&mut writer, match_state);
        offsets.finish(&mut writer, offset_state);
        literals.finish(&mut writer, literals_state);
        writer.close()
    }

    /// A block of this plan was written: its tables are those that the next block may repeat.
    pub(super) fn keep(&mut self, plan: &Plan, sequences: usize) {
        if plan.literals == Literals::Coded {
            std::mem::swap(&mut self.code, &mut self.kept_code);
            self.has_kept_code = true;
        }
        if sequences == 0 {
            return;
        }
        for (kind, mode) in plan.modes.into_iter().enumerate() {
            match mode {
                Mode::Fresh => {
                    std::mem::swap(&mut self.fresh[kind], &mut self.kept[kind]);
                    self.has_kept[kind] = true;
                }
                Mode::Repeat => {}
                // To repeat would now mean this table, which the plan names by itself.
                Mode::Predefined | Mode::Run(_) => self.has_kept[kind] = false,
            }
        }
    }
}

#[inline(always)]
fn add_extra(writer: &mut BitWriter<'_>, sequence: &Sequence) {
    let [literals, length, offset] = sequence.codes.map(|code| usize::from(code) & (SYMBOLS - 1));
    let literals_bits = u32::from(LITERALS_BITS[literals]);
    let match_bits = u32::from(MATCH_BITS[length]);
    // The states took at most 26 bits and 7 may have been left: 30 more always fit.
    let many = literals_bits + match_bits + offset as u32 > 30;
    writer.add(u64::from(sequence.literals - LITERALS_BASE[literals]), literals_bits);
    if many {
        writer.flush();
    }
    writer.add(u64::from(sequence.length - MATCH_BASE[length]), match_bits);
    if many {
        writer.flush();
    }
    writer.add_low(sequence.offset, offset as u32);
    writer.flush();
}

fn extra_bits(kind: usize, code: usize) -> u32 {
    match kind {
        0 => u32::from(LITERALS_BITS[code & (SYMBOLS - 1)]),
        1 => u32::from(MATCH_BITS[code & (SYMBOLS - 1)]),
        _ => code as u32,
    }
}

fn extra_cost(kind: usize, counts: &[u32; SYMBOLS]) -> u64 {
    let bits = |(code, &count): (usize, &u32)| u64::from(count) * u64::from(extra_bits(kind, code));
    counts.iter().enumerate().map(bits).sum::<u64>() * u64::from(BIT)
}

/// Length of the header of literals that are raw or a run.
fn raw_header_len(total: usize) -> usize {
    match total {
        0..32 => 1,
        32..4096 => 2,
        _ => 3,
    }
}

fn raw_header(kind: u32, total: usize, out: &mut [u8]) -> usize {
    let length = raw_header_len(total);
    let value = match length {
        1 => kind | (total as u32) << 3,
        2 => kind | 1 << 2 | (total as u32) << 4,
        _ => kind | 3 << 2 | (total as u32) << 4,
    };
    put(out, 0, &value.to_le_bytes()[..length])
}

/// Length of the header of coded literals.
fn coded_header_len(total: usize) -> usize {
    match total {
        0..FOUR_STREAMS => 3,
        FOUR_STREAMS..0x4000 => 4,
        _ => 5,
    }
}

/// The span of a match in bytes.
pub(super) fn match_span(sequence: &Sequence) -> usize {
    (sequence.length + MIN_MATCH) as usize
}
