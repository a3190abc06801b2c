//! A zstd frame of at most a given size from one pass over the input.
//!
//! The input is parsed once, block by block, while the expected cost is summed up. The exact cost of a block
//! is counted when its parse is done; the block in which the output is full is cut where the bytes left are
//! used up.
#![expect(clippy::cast_possible_truncation, reason = "sizes are at most 8 MiB")]

use super::block::{Entropy, MAX_BLOCK, Plan};
use super::cut::Cut;
use super::fse::BIT;
use super::output::{COMPRESSED, Output, SMALLEST, STORED};
use super::parse::{Model, Parse, Parser, REPEATED_SAVES};
use super::pending::Block;
use super::sequence::Recent;
use crate::codec::{Prefix, PrefixEncoder};

/// A byte in units of cost.
const BYTE: u64 = 8 * BIT as u64;

/// The encoder.
pub(super) struct FrameEncoder {
    parser: Box<dyn Parser>,
    window: usize,
    max_input: usize,
    model: Model,
    run: Parse,
    block: Block,
    entropy: Entropy,
    body: Vec<u8>,
    cut: Cut,
}

/// How a block ended.
enum Ended {
    /// It was written up to here, and there may be room for more.
    Whole(usize),
    /// The output is full; the input up to here is in it.
    Full(usize),
    /// Nothing of it fits.
    Nothing,
}

impl FrameEncoder {
    /// An encoder whose matches reach `window` bytes back (a power of two, at least 1 KiB).
    pub(super) fn new(parser: Box<dyn Parser>, window: u32, max_input: usize) -> Self {
        Self {
            parser,
            window: window as usize,
            max_input,
            model: Model::default(),
            run: Parse::default(),
            block: Block::default(),
            entropy: Entropy::new(),
            body: Vec::new(),
            cut: Cut::default(),
        }
    }

    fn encode(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        let src = &src[..src.len().min(self.max_input)];
        if dst.len() < SMALLEST || src.is_empty() {
            return Prefix::default();
        }
        self.body.resize(dst.len() + 64, 0);
        let mut out = Output::new(dst, src.len(), self.window);
        self.parser.begin(src.len());
        self.entropy.begin_frame();
        self.run.at = 0;
        self.run.recent = [0; 2];
        let mut recent = Recent::default();
        let mut done = 0;
        while done < src.len() && out.has_room() {
            let end = src.len().min(done + MAX_BLOCK.min(self.window));
            match self.block(src, done..end, &mut recent, &mut out) {
                Ended::Whole(end) => done = end,
                Ended::Full(end) => {
                    done = end;
                    break;
                }
                Ended::Nothing => break,
            }
        }
        self.parser.end(self.run.at.max(done));
        out.finish(done, self.window)
    }

    fn block(
        &mut self,
        src: &[u8],
        range: std::ops::Range<usize>,
        recent: &mut Recent,
        out: &mut Output<'_>,
    ) -> Ended {
        let room = out.room();
        self.run.matches.clear();
        (self.run.at, self.run.anchor, self.run.cost) = (range.start, range.start, 0);
        self.block.begin(range.start, *recent);
        let mut limit = room as u64 * BYTE + room as u64 * BYTE / 50 + 50 * BYTE;
        loop {
            self.parser.parse(&src[..range.end], &mut self.run, self.model, limit);
            let at_end = self.run.cost <= limit;
            let end = if at_end { range.end } else { self.run.at.min(range.end) };
            self.block.extend(src, &self.run, end);
            let plan = self.entropy.plan(&self.block.counts);
            self.learn(&plan);
            let input = &src[range.start..end];
            if plan.cost() > room as u64 * BYTE {
                return self.cut_block(&plan, input, range.start, out);
            }
            if at_end {
                return self.whole_block(&plan, input, range.start, recent, out);
            }
            // The expectation was too high: there is room for more.
            self.run.cost = plan.cost();
            let left = room as u64 * BYTE - plan.cost();
            limit = limit.max(plan.cost() + left + left / 20 + 100 * BYTE);
        }
    }

    fn whole_block(
        &mut self,
        plan: &Plan,
        input: &[u8],
        start: usize,
        recent: &mut Recent,
        out: &mut Output<'_>,
    ) -> Ended {
        let room = out.room();
        let size = self.entropy.write(plan, &self.block.sequences, &self.block.literals, &mut self.body);
        if size >= input.len() && input.len() <= room {
            out.push(STORED, input);
            return Ended::Whole(start + input.len());
        }
        if size >= input.len() || size > room {
            return self.cut_block(plan, input, start, out);
        }
        out.push(COMPRESSED, &self.body[..size]);
        self.entropy.keep(plan, self.block.sequences.len());
        *recent = self.block.recent;
        Ended::Whole(start + input.len())
    }

    /// Writes as much of the block as fits.
    fn cut_block(&mut self, plan: &Plan, input: &[u8], start: usize, out: &mut Output<'_>) -> Ended {
        match out.push_cut(&mut self.block, &mut self.entropy, &mut self.cut, plan, input) {
            0 => Ended::Nothing,
            span => Ended::Full(start + span),
        }
    }

    /// Takes the exact cost of a block as what the next one is expected to cost.
    fn learn(&mut self, plan: &Plan) {
        let literals = self.block.literals.len() as u64;
        if literals > 256 {
            self.model.literal = (plan.literals_cost / literals) as u32;
        }
        let count = self.block.sequences.len() as u64;
        if count > 32 {
            let offsets = self.block.sequences.iter().map(|sequence| {
                if sequence.offset <= 3 { -i64::from(REPEATED_SAVES) } else { i64::from(sequence.codes[2]) }
            });
            let offsets = offsets.sum::<i64>() * i64::from(BIT) / count.cast_signed();
            let average = (plan.sequences_cost / count).cast_signed() - offsets;
            self.model.sequence =
                average.clamp(2 * i64::from(BIT), 30 * i64::from(BIT)).cast_unsigned() as u32;
        }
    }
}

impl PrefixEncoder for FrameEncoder {
    fn begin_segment(&mut self) {
        self.model = Model::default();
    }

    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        self.encode(src, dst)
    }
}
