//! Finite state entropy (tANS) as zstd has it: normalised counts, their description, the encoding table (RFC
//! 8878, 4.1).
#![expect(clippy::needless_range_loop, reason = "symbols index several tables at once")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "counts are below 2^20, symbols below 64 and states below 2^10"
)]

use super::bits::{BitWriter, load64_short, put};

/// Room for the symbols of every table.
pub(super) const SYMBOLS: usize = 64;
/// The most states of a table: `1 << 9`.
pub(super) const STATES: usize = 512;
/// A cost that stands for "this symbol cannot be written".
pub(super) const NEVER: u32 = 1 << 24;
/// Costs are in this fraction of a bit.
pub(super) const BIT: u32 = 256;

/// Log2 of 0..=512 in 1/256 bit, rounded down; entry 0 is 0.
static LOG2: [u16; STATES + 1] = logarithms();

const fn logarithms() -> [u16; STATES + 1] {
    let mut table = [0; STATES + 1];
    let mut number = 1;
    while number <= STATES {
        let whole = (number as u64).ilog2();
        // The fraction by repeated squaring of a number in [1, 2) with 31 binary places.
        let mut square = (number as u64) << (31 - whole);
        let mut fraction = 0;
        let mut place = 0;
        while place < 8 {
            square = (square * square) >> 31;
            fraction <<= 1;
            if square >> 32 != 0 {
                fraction |= 1;
                square >>= 1;
            }
            place += 1;
        }
        table[number] = (whole as u16) * 256 + fraction;
        number += 1;
    }
    table
}

/// How many states each symbol has: -1 stands for one state of a symbol that is rarer than that.
#[derive(Clone)]
pub(super) struct Norm {
    counts: [i16; SYMBOLS],
    symbols: usize,
    pub(super) log: u32,
}

impl Norm {
    /// The counts of a predefined table.
    pub(super) fn fixed(counts: &[i16], log: u32) -> Self {
        let mut norm = Self { counts: [0; SYMBOLS], symbols: counts.len(), log };
        norm.counts[..counts.len()].copy_from_slice(counts);
        norm
    }

    /// Counts for `total` symbols as counted in `counts`, of which at least two differ. The table has `1 <<
    /// max_log` states or as few as are enough.
    pub(super) fn new(counts: &[u32; SYMBOLS], total: u32, max_log: u32) -> Self {
        let symbols = SYMBOLS - counts.iter().rev().take_while(|&&count| count == 0).count();
        let enough = (total.ilog2() + 1).min((symbols as u32 - 1).max(1).ilog2() + 2);
        let log = (total - 1).ilog2().saturating_sub(2).max(enough).clamp(5, max_log);
        let mut norm = Self { counts: [0; SYMBOLS], symbols, log };
        norm.share_out(counts, total);
        norm
    }

    fn share_out(&mut self, counts: &[u32; SYMBOLS], total: u32) {
        let rare = total >> self.log;
        let mut left = 1_i32 << self.log;
        let mut rest = 0;
        for symbol in 0..self.symbols {
            let count = counts[symbol];
            if count > 0 && count <= rare {
                self.counts[symbol] = -1;
                left -= 1;
            } else {
                rest += count;
            }
        }
        let scale = (u64::from(left.unsigned_abs()) << 32) / u64::from(rest.max(1));
        for symbol in 0..self.symbols {
            if counts[symbol] > rare {
                let share = ((u64::from(counts[symbol]) * scale) >> 32).max(1) as i16;
                self.counts[symbol] = share;
                left -= i32::from(share);
            }
        }
        while left > 0 {
            self.give(counts);
            left -= 1;
        }
        while left < 0 {
            // There are always more states than symbols, so the largest share is more than one.
            let largest = (0..self.symbols).max_by_key(|&symbol| self.counts[symbol]).unwrap_or(0);
            self.counts[largest] -= 1;
            left += 1;
        }
    }

    /// Gives one more state to the symbol that gains most bits by it: about `count / share`.
    fn give(&mut self, counts: &[u32; SYMBOLS]) {
        let mut best = 0;
        let mut best_gain = 0;
        for symbol in 0..self.symbols {
            let share = self.counts[symbol];
            if share > 0 {
                let gain = (counts[symbol] << 10) / (2 * share as u32 + 1);
                if gain > best_gain {
                    (best, best_gain) = (symbol, gain);
                }
            }
        }
        self.counts[best] += 1;
    }

    /// Writes the description at `at` of `out` and gives the position behind it (RFC 8878, 4.1.1).
    pub(super) fn write(&self, out: &mut [u8], at: usize) -> usize {
        let mut bytes = [0; 160];
        let mut writer = BitWriter::new(&mut bytes, 0);
        writer.add(u64::from(self.log - 5), 4);
        let mut remaining = (1 << self.log) + 1;
        let mut threshold = 1 << self.log;
        let mut bits = self.log + 1;
        let mut symbol = 0;
        while symbol < self.symbols && remaining > 1 {
            let count = i32::from(self.counts[symbol]);
            symbol += 1;
            let spare = 2 * threshold - 1 - remaining;
            remaining -= count.abs();
            let mut value = count + 1;
            if value >= threshold {
                value += spare;
            }
            let width = bits - u32::from(value < spare);
            writer.add(value as u64, width);
            writer.flush();
            while remaining < threshold && threshold > 1 {
                bits -= 1;
                threshold >>= 1;
            }
            if count == 0 {
                let zeros = self.counts[symbol..self.symbols].iter().take_while(|&&count| count == 0).count();
                symbol += zeros;
                for _ in 0..zeros / 3 {
                    writer.add(3, 2);
                    writer.flush();
                }
                writer.add((zeros % 3) as u64, 2);
                writer.flush();
            }
        }
        let length = writer.close_unmarked();
        put(out, at, &bytes[..length])
    }

    /// Reads a description from the beginning of `bytes`, of a table of at most `1 << max_log` states, and
    /// gives its length.
    pub(super) fn read(bytes: &[u8], max_log: u32) -> Option<(Self, usize)> {
        let peek = |at: usize| load64_short(bytes, at / 8) >> (at % 8);
        let log = (peek(0) & 15) as u32 + 5;
        if log > max_log {
            return None;
        }
        let mut norm = Self { counts: [0; SYMBOLS], symbols: 0, log };
        let mut at = 4;
        let mut remaining = (1 << log) + 1;
        let mut threshold = 1 << log;
        let mut bits = log + 1;
        while remaining > 1 {
            let spare = 2 * threshold - 1 - remaining;
            let mut value = peek(at) as i32 & (threshold - 1);
            if value < spare {
                at += bits as usize - 1;
            } else {
                value = peek(at) as i32 & (2 * threshold - 1);
                value -= if value >= threshold { spare } else { 0 };
                at += bits as usize;
            }
            let count = value - 1;
            remaining -= count.abs();
            *norm.counts.get_mut(norm.symbols)? = count as i16;
            norm.symbols += 1;
            while remaining < threshold && threshold > 1 {
                bits -= 1;
                threshold >>= 1;
            }
            // Behind a symbol without states stands how many more there are, in portions of up to three.
            let mut zeros = if count == 0 { 3 } else { 0 };
            while zeros == 3 {
                zeros = peek(at) as usize & 3;
                at += 2;
                norm.symbols += zeros;
            }
        }
        let length = at.div_ceil(8);
        (remaining == 1 && norm.symbols <= SYMBOLS && length <= bytes.len()).then_some((norm, length))
    }

    /// The symbol of each state.
    fn spread(&self) -> [u8; STATES] {
        let size = 1_usize << self.log;
        let mut placed = [0_u8; STATES];
        let mut high = size;
        for symbol in 0..self.symbols {
            if self.counts[symbol] == -1 {
                high -= 1;
                placed[high & (STATES - 1)] = symbol as u8;
            }
        }
        let stride = (size >> 1) + (size >> 3) + 3;
        let mut place = 0;
        for symbol in 0..self.symbols {
            for _ in 0..self.counts[symbol].max(0) {
                placed[place & (STATES - 1)] = symbol as u8;
                place = (place + stride) & (size - 1);
                while place >= high && high > 0 {
                    place = (place + stride) & (size - 1);
                }
            }
        }
        placed
    }

    /// How many bytes the description has.
    pub(super) fn described_len(&self) -> usize {
        self.write(&mut [], 0)
    }

    /// The cost of one symbol in 1/256 bit.
    fn cost(&self, symbol: usize) -> u32 {
        match self.counts[symbol] {
            0 => NEVER,
            share => self.log * BIT - u32::from(LOG2[share.unsigned_abs() as usize]),
        }
    }

    /// What `counts` cost under this table, in 1/256 bit; [`NEVER`] or more per symbol that it cannot write.
    pub(super) fn cost_of(&self, counts: &[u32; SYMBOLS]) -> u64 {
        (0..SYMBOLS).map(|symbol| u64::from(counts[symbol]) * u64::from(self.cost(symbol))).sum()
    }
}

/// How one symbol moves the state.
#[derive(Clone, Copy, Default)]
struct Step {
    /// Added to the state it gives the number of bits to write in its upper half.
    bits: u32,
    /// Added to the shifted state it gives the place in the table.
    state: i32,
}

/// An encoding table.
#[derive(Clone)]
pub(super) struct Table {
    log: u32,
    states: [u16; STATES],
    steps: [Step; SYMBOLS],
    /// The cost of each symbol in 1/256 bit.
    pub(super) costs: [u32; SYMBOLS],
}

impl Table {
    /// The table of a run of one symbol: no states, no bits.
    pub(super) fn run() -> Self {
        Self { log: 0, states: [0; STATES], steps: [Step::default(); SYMBOLS], costs: [0; SYMBOLS] }
    }

    /// The table for `norm`.
    pub(super) fn new(norm: &Norm) -> Self {
        let mut table = Self::run();
        table.build(norm);
        table
    }

    /// Makes this the table for `norm`.
    pub(super) fn build(&mut self, norm: &Norm) {
        let size = 1_usize << norm.log;
        let mut first = [0_u16; SYMBOLS];
        let mut next = 0;
        for symbol in 0..norm.symbols {
            first[symbol] = next;
            next += norm.counts[symbol].unsigned_abs();
        }
        let placed = norm.spread();
        self.log = norm.log;
        self.set_steps(norm, &first);
        for (state, &symbol) in placed[..size].iter().enumerate() {
            let slot = &mut first[usize::from(symbol) & (SYMBOLS - 1)];
            self.states[usize::from(*slot) & (STATES - 1)] = (size + state) as u16;
            *slot += 1;
        }
    }

    fn set_steps(&mut self, norm: &Norm, first: &[u16; SYMBOLS]) {
        let log = norm.log;
        for symbol in 0..SYMBOLS {
            let share = u32::from(norm.counts[symbol].unsigned_abs());
            self.costs[symbol] = norm.cost(symbol);
            let most_bits = if share <= 1 { log } else { log - (share - 1).ilog2() };
            let bits = (most_bits << 16).wrapping_sub(share.max(1) << most_bits);
            self.steps[symbol] = Step { bits, state: i32::from(first[symbol]) - share.max(1) as i32 };
        }
    }

    /// The state that stands for `symbol` and costs nothing.
    pub(super) fn first_state(&self, symbol: u8) -> u32 {
        let step = self.steps[usize::from(symbol) & (SYMBOLS - 1)];
        let bits = step.bits.wrapping_add(1 << 15) >> 16;
        let value = (bits << 16).wrapping_sub(step.bits);
        let place = (value >> bits) as i32 + step.state;
        u32::from(self.states[place as usize & (STATES - 1)])
    }

    /// Writes `symbol` and moves `state`.
    #[inline(always)]
    pub(super) fn put(&self, writer: &mut BitWriter<'_>, state: &mut u32, symbol: u8) {
        let step = self.steps[usize::from(symbol) & (SYMBOLS - 1)];
        let bits = state.wrapping_add(step.bits) >> 16;
        writer.add_low(*state, bits);
        let place = (*state >> bits) as i32 + step.state;
        *state = u32::from(self.states[place as usize & (STATES - 1)]);
    }

    /// Writes the last state.
    pub(super) fn finish(&self, writer: &mut BitWriter<'_>, state: u32) {
        writer.add_low(state, self.log);
    }

    /// The bits of a state.
    pub(super) fn log(&self) -> u32 {
        self.log
    }
}

/// What a state of a decoding table says.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    /// The symbol.
    pub(super) symbol: u8,
    /// How many bits follow.
    pub(super) bits: u8,
    /// What they are added to, to give the next state.
    pub(super) base: u16,
}

/// A decoding table.
#[derive(Clone)]
pub(super) struct Decoding {
    /// The states; those from `1 << log` on mean nothing.
    pub(super) states: [State; STATES],
    /// The number of states, as a power of two.
    pub(super) log: u32,
}

impl Decoding {
    /// The table of a run of `symbol`.
    pub(super) fn run(symbol: u8) -> Self {
        Self { states: [State { symbol, bits: 0, base: 0 }; STATES], log: 0 }
    }

    /// The table for `norm`.
    pub(super) fn new(norm: &Norm) -> Self {
        let size = 1_u32 << norm.log;
        let mut next = norm.counts.map(|count| u32::from(count.unsigned_abs()));
        let mut table = Self { states: [State::default(); STATES], log: norm.log };
        for (state, symbol) in table.states[..size as usize].iter_mut().zip(norm.spread()) {
            let share = &mut next[usize::from(symbol) & (SYMBOLS - 1)];
            let bits = norm.log - (*share).max(1).ilog2();
            *state = State { symbol, bits: bits as u8, base: ((*share << bits) - size) as u16 };
            *share += 1;
        }
        table
    }
}
