//! Fixed-size output in one pass: parse, split into blocks, and cut the last block to the bit.

use super::bits::BitWriter;
use super::block::{Histogram, Plan};
use super::matcher::{Buckets, Chains, Matcher as _, Source, WINDOW};
use super::parse::{Effort, Prices, Sequence, Stretch, Until, parse};

/// No block is begun in less room than this: its codes alone would fill it.
const MIN_ROOM_BITS: u64 = 200;
/// A stored block holds this much at most.
const MAX_STORED: usize = 0xFFFF;
/// How often a cut is tried; the codes change with what is cut off.
const MAX_CUTS: usize = 6;

/// The tables of one effort.
pub(super) enum Tables {
    Buckets(Buckets),
    Chains(Chains),
}

/// The encoder.
pub(super) struct Single {
    tables: Tables,
    effort: Effort,
    window: u32,
    sequences: Vec<Sequence>,
    starts: Vec<usize>,
    out: BitWriter,
}

/// Where the encoding stands within one call.
struct Progress<'a> {
    src: &'a [u8],
    room_bits: u64,
    /// Where the block begins that is being collected: a place in the source, and in the sequences.
    start: usize,
    first: usize,
    /// Its symbols.
    block: Histogram,
    /// Where the header of the last block written is.
    last_header: Option<u64>,
}

impl Single {
    pub(super) fn new(tables: Tables, effort: Effort, window: u32, max_output: usize) -> Self {
        let window = window.min(WINDOW);
        let (sequences, starts) = (Vec::new(), Vec::new());
        Self { tables, effort, window, sequences, starts, out: BitWriter::new(max_output) }
    }

    /// Encodes a prefix of `src` into `dst`: bytes consumed and written, both 0 when nothing fits.
    pub(super) fn encode(&mut self, src: &[u8], dst: &mut [u8]) -> (usize, usize) {
        match &mut self.tables {
            Tables::Buckets(tables) => tables.start(src.len()),
            Tables::Chains(tables) => tables.start(src.len()),
        }
        let end = self.encode_bits(src, dst.len());
        let Some(written) = self.out.written().filter(|written| written.len() <= dst.len()) else {
            return (0, 0);
        };
        dst[..written.len()].copy_from_slice(written);
        (end, written.len())
    }

    /// Fills the bit buffer. Returns how many bytes it stands for.
    fn encode_bits(&mut self, src: &[u8], room: usize) -> usize {
        self.out.restart(room);
        self.sequences.clear();
        let mut progress = Progress {
            src,
            room_bits: room as u64 * 8,
            start: 0,
            first: 0,
            block: Histogram::EMPTY,
            last_header: None,
        };
        self.collect(&mut progress, unit_symbols(room));
        if let Some(header) = progress.last_header {
            self.out.set_final(header);
        }
        progress.start
    }

    /// Parses unit by unit, ends a block where the symbols change their distribution, and stops where the
    /// room ends.
    fn collect(&mut self, progress: &mut Progress<'_>, unit_symbols: u32) {
        let len = progress.src.len();
        let mut prices = Prices::FIRST;
        let mut parsed = 0;
        // What the block is thought to take so far, in sixteenths of a bit.
        let mut spent = 0;
        while parsed < len {
            let room = progress.room_bits - self.out.position();
            let first = self.sequences.len();
            let limit = (room * 16 + room / 8).saturating_sub(spent);
            let until = Until { symbols: unit_symbols, price: limit };
            let stretch = self.parse(progress.src, parsed, (prices, until));
            let mut unit = Histogram::EMPTY;
            unit.count(&self.sequences[first..], &progress.src[parsed..stretch.end]);
            if splits(&progress.block, &unit) {
                if !self.end_block(progress, first, parsed) {
                    return;
                }
                progress.block = unit;
            } else {
                progress.block.add(&unit);
            }
            parsed = stretch.end;
            let (literals, all) = progress.block.ideal();
            spent = (all + progress.block.table_bits()) * 16;
            prices = learn(&progress.block, literals, all, prices);
            let room = progress.room_bits.saturating_sub(self.out.position());
            let full = stretch.price >= limit || spent > room * 16;
            if full {
                let plan = Plan::new(&progress.block);
                if plan.bits > room {
                    self.cut(progress, plan, parsed);
                    return;
                }
                spent = plan.bits * 16;
            }
        }
        let _fits = self.end_block(progress, self.sequences.len(), parsed);
    }

    fn parse(&mut self, src: &[u8], start: usize, budget: (Prices, Until)) -> Stretch {
        let source = Source { bytes: src, window: self.window };
        let sequences = &mut self.sequences;
        match &mut self.tables {
            Tables::Buckets(tables) => {
                parse::<_, false>(tables, &source, start, &self.effort, budget, sequences)
            }
            Tables::Chains(tables) if self.effort.lazy == 0 => {
                parse::<_, false>(tables, &source, start, &self.effort, budget, sequences)
            }
            Tables::Chains(tables) => {
                parse::<_, true>(tables, &source, start, &self.effort, budget, sequences)
            }
        }
    }

    /// Writes the collected block, which goes up to the sequence `last` and the byte `end`. When it does not
    /// fit it is cut, and the answer is `false`.
    fn end_block(&mut self, progress: &mut Progress<'_>, last: usize, end: usize) -> bool {
        let plan = Plan::new(&progress.block);
        let room = progress.room_bits.saturating_sub(self.out.position());
        let stored = self.stored_bits(end - progress.start);
        if plan.bits.min(stored) > room {
            self.sequences.truncate(last);
            self.cut(progress, plan, end);
            return false;
        }
        if stored < plan.bits {
            self.store(progress, end);
        } else {
            progress.last_header = Some(self.out.position());
            let bytes = &progress.src[progress.start..end];
            plan.write(&mut self.out, &self.sequences[progress.first..last], bytes, 0);
        }
        progress.start = end;
        progress.first = last;
        progress.room_bits >= self.out.position() + MIN_ROOM_BITS
    }

    /// What stored blocks of `len` bytes would take here.
    fn stored_bits(&self, len: usize) -> u64 {
        let blocks = len.div_ceil(MAX_STORED) as u64;
        // Every block but the first begins aligned, and its header takes a byte.
        let padding = (8 - (self.out.position() + 3) % 8) % 8;
        3 + padding + 32 + len as u64 * 8 + blocks.saturating_sub(1) * 40
    }

    /// Writes `progress.start..end` as it is.
    fn store(&mut self, progress: &mut Progress<'_>, end: usize) {
        for piece in progress.src[progress.start..end].chunks(MAX_STORED) {
            let header = self.out.position();
            progress.last_header = Some(header);
            self.out.put(0, 3);
            self.out.align();
            if header == 0 {
                // Decoders pass over the bits up to the byte's end, and EROFS takes a leading zero for
                // padding.
                self.out.set_bit(3);
            }
            let len = piece.len() as u64;
            self.out.put(len | (len ^ 0xFFFF) << 16, 32);
            self.out.align();
            self.out.put_bytes(piece);
        }
        progress.start = end;
    }

    /// Writes as much of the collected block as fits. `plan` is for all of it, up to `end`.
    fn cut(&mut self, progress: &mut Progress<'_>, plan: Plan, end: usize) {
        let room = progress.room_bits.saturating_sub(self.out.position());
        if room < MIN_ROOM_BITS {
            return;
        }
        let mut cut = Cut::new(&self.sequences[progress.first..], progress.start, end, &mut self.starts);
        let fitting = cut.search(progress.src, plan, room);
        // Stored blocks: 5 bytes each, and up to 7 bits before the first.
        let bytes = usize::try_from(room.saturating_sub(16) / 8).unwrap_or(0);
        let storable = bytes.saturating_sub(5 * bytes.div_ceil(MAX_STORED)).min(end - progress.start);
        let encoded = fitting.as_ref().map_or(0, |fitting| fitting.end - progress.start);
        match fitting {
            Some(fitting) if encoded >= storable => {
                progress.last_header = Some(self.out.position());
                let sequences = &self.sequences[progress.first..progress.first + fitting.sequences];
                let bytes = &progress.src[progress.start..fitting.end];
                fitting.plan.write(&mut self.out, sequences, bytes, fitting.literals);
                progress.start = fitting.end;
            }
            _ if storable > 0 => self.store(progress, progress.start + storable),
            _ => {}
        }
    }
}

/// The beginning of a block that fits.
struct Fitting {
    /// Whole sequences.
    sequences: usize,
    /// Literals of the sequence behind them.
    literals: usize,
    /// The position behind it in the source.
    end: usize,
    plan: Plan,
}

/// A place in a block, moved until what lies before it fits.
struct Cut<'a> {
    sequences: &'a [Sequence],
    start: usize,
    /// Where each sequence begins in the source, and where the last ends.
    starts: &'a [usize],
    at: usize,
    literals: usize,
}

impl<'a> Cut<'a> {
    fn new(sequences: &'a [Sequence], start: usize, end: usize, starts: &'a mut Vec<usize>) -> Self {
        starts.clear();
        let mut place = start;
        for sequence in sequences {
            starts.push(place);
            place += sequence.literals as usize + usize::from(sequence.length);
        }
        debug_assert_eq!(place, end, "sequences stand for the whole block");
        starts.push(end);
        Self { sequences, start, starts, at: sequences.len(), literals: 0 }
    }

    fn end(&self) -> usize {
        self.starts[self.at] + self.literals
    }

    /// The longest beginning found that fits into `room` bits. `plan` is for the whole block and does not
    /// fit.
    fn search(&mut self, src: &[u8], mut plan: Plan, room: u64) -> Option<Fitting> {
        let mut best: Option<Fitting> = None;
        for _try in 0..MAX_CUTS {
            if plan.bits > room {
                self.back(src, &plan, plan.bits - room);
            } else {
                self.forth(src, &plan, room - plan.bits);
            }
            let end = self.end();
            if end == self.start || best.as_ref().is_some_and(|best| end <= best.end) {
                break;
            }
            let mut histogram = Histogram::EMPTY;
            histogram.count(&self.sequences[..self.at], &src[self.start..end]);
            histogram.count(
                &[Sequence { literals: u32::try_from(self.literals).unwrap_or(0), length: 0, distance: 0 }],
                &src[self.starts[self.at]..end],
            );
            plan = Plan::new(&histogram);
            if plan.bits <= room {
                let left = room - plan.bits;
                best = Some(Fitting { sequences: self.at, literals: self.literals, end, plan: plan.clone() });
                if left < 8 {
                    break;
                }
            } else if best.is_some() {
                break;
            }
        }
        best
    }

    /// Gives up symbols worth at least `bits`.
    fn back(&mut self, src: &[u8], plan: &Plan, bits: u64) {
        let mut gained = 0;
        while gained < bits {
            if self.literals > 0 {
                self.literals -= 1;
                gained += plan.literal_bits(src[self.starts[self.at] + self.literals]);
            } else if self.at > 0 {
                self.at -= 1;
                self.literals = self.sequences[self.at].literals as usize;
                gained += plan.match_bits(self.sequences[self.at]);
            } else {
                return;
            }
        }
    }

    /// Takes on symbols worth at most `bits`.
    fn forth(&mut self, src: &[u8], plan: &Plan, mut bits: u64) {
        while let Some(&sequence) = self.sequences.get(self.at) {
            let literal = self.literals < sequence.literals as usize;
            let price = if literal {
                plan.literal_bits(src[self.starts[self.at] + self.literals])
            } else {
                plan.match_bits(sequence)
            };
            if price > bits {
                return;
            }
            bits -= price;
            if literal {
                self.literals += 1;
            } else {
                self.at += 1;
                self.literals = 0;
            }
        }
    }
}

/// How many symbols are parsed before the codes are looked at again: few where the output is small.
fn unit_symbols(room: usize) -> u32 {
    u32::try_from(room / 8).unwrap_or(u32::MAX).clamp(256, 2048)
}

/// Whether `unit` is better sent with codes of its own than with those of the block before it.
fn splits(block: &Histogram, unit: &Histogram) -> bool {
    let (_, before) = block.ideal();
    if before == 0 {
        return false;
    }
    let (_, apart) = unit.ideal();
    let mut both = block.clone();
    both.add(unit);
    let (_, together) = both.ideal();
    before + apart + unit.table_bits() < together
}

/// The mean prices of the symbols of a block.
fn learn(block: &Histogram, literal_bits: u64, all_bits: u64, prices: Prices) -> Prices {
    let (literals, matches) = (block.literals(), block.matches());
    // Distances are charged for their own bits on top: a flat part is left for symbol and length.
    let distance_bits: u64 =
        (0..).zip(&block.distances).map(|(symbol, &count)| u64::from(count) * (symbol / 2 + 1)).sum();
    let literal = if literals > 64 { literal_bits * 16 / literals } else { prices.literal };
    let with_match = if matches > 32 {
        (all_bits - literal_bits).saturating_sub(distance_bits) * 16 / matches
    } else {
        prices.matched
    };
    Prices { literal: literal.max(1), matched: with_match.max(16) }
}
