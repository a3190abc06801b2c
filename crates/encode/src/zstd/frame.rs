//! A zstd frame of at most a given size from one pass over the input.
//!
//! The input is parsed once, block by block, while the expected cost is summed up. The exact cost of a block is counted when its
//! parse is done; the block in which the output is full is cut where the bytes left are used up.
#![expect(clippy::cast_possible_truncation, reason = "sizes are at most 8 MiB")]

use super::bits::put;
use super::block::{Counts, Entropy, MAX_BLOCK, Plan};
use super::cut::{Cut, Room};
use super::fse::BIT;
use super::parse::{Model, Parse, Parser, REPEATED_SAVES};
use super::sequence::{Recent, Sequence};
use crate::codec::{Prefix, PrefixEncoder};

/// The magic number of a frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Length of a block's header.
const BLOCK_HEADER: usize = 3;
/// An output shorter than this is not worth a frame.
const SMALLEST: usize = 32;
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

/// The block in work: what its matches became.
#[derive(Default)]
pub(super) struct Block {
    /// The sequences.
    pub(super) sequences: Vec<Sequence>,
    /// The literals of the sequences, then those behind the last match.
    pub(super) literals: Vec<u8>,
    /// How many literals lie behind the last match.
    pub(super) trailing: usize,
    /// How often everything occurs.
    pub(super) counts: Counts,
    /// How many matches of the parse are coded.
    coded: usize,
    /// Where the input behind them begins.
    coded_end: usize,
    recent: Recent,
}

impl Block {
    fn begin(&mut self, start: usize, recent: Recent) {
        self.sequences.clear();
        self.literals.clear();
        self.counts = Counts::default();
        (self.trailing, self.coded, self.coded_end, self.recent) = (0, 0, start, recent);
    }

    /// Codes what the parse found since the last time; the block is to end at `end`.
    fn extend(&mut self, src: &[u8], run: &Parse, end: usize) {
        for _ in 0..self.trailing {
            self.literals.pop().into_iter().for_each(|byte| self.counts.remove_literal(byte));
        }
        let counted = self.literals.len();
        let found = run.matches.get(self.coded..).unwrap_or_default();
        self.sequences.reserve(found.len());
        for found in found {
            let sequence = self.recent.code(found);
            self.counts.add(&sequence);
            let literals = found.literals as usize;
            copy_literals(&mut self.literals, src, self.coded_end, literals);
            self.coded_end += literals + found.length as usize;
            self.sequences.push(sequence);
        }
        self.coded = run.matches.len();
        let trailing = src.get(self.coded_end..end).unwrap_or_default();
        self.literals.extend_from_slice(trailing);
        self.trailing = trailing.len();
        self.counts.add_literals(&self.literals[counted..]);
    }
}

/// Appends `count` bytes of `src` from `from` on. Most runs are short: those take one copy of fixed size.
#[inline(always)]
fn copy_literals(out: &mut Vec<u8>, src: &[u8], from: usize, count: usize) {
    if count <= 16
        && let Some(chunk) = src.get(from..).and_then(<[u8]>::first_chunk::<16>)
    {
        let length = out.len();
        out.extend_from_slice(chunk);
        out.truncate(length + count);
    } else {
        out.extend_from_slice(src.get(from..from + count).unwrap_or_default());
    }
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

/// The output while the frame grows.
struct Output<'a> {
    bytes: &'a mut [u8],
    at: usize,
    last_header: Option<usize>,
}

impl Output<'_> {
    /// The most bytes that the body of one more block may have.
    fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.at + BLOCK_HEADER)
    }

    /// Adds a block; `kind` is 0 for stored bytes and 2 for a compressed body.
    fn push(&mut self, kind: u32, body: &[u8]) {
        let header = kind << 1 | (body.len() as u32) << 3;
        self.last_header = Some(self.at);
        self.at = put(self.bytes, self.at, &header.to_le_bytes()[..BLOCK_HEADER]);
        self.at = put(self.bytes, self.at, body);
    }
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
        let longest_header = frame_header(src.len(), self.window).1;
        let mut out = Output { bytes: dst, at: longest_header, last_header: None };
        self.body.resize(out.bytes.len() + 64, 0);
        self.parser.begin(src.len());
        self.entropy.begin_frame();
        self.run.at = 0;
        self.run.recent = [0; 2];
        let mut recent = Recent::default();
        let mut done = 0;
        while done < src.len() && out.room() >= 16 {
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
        finish(&mut out, done, longest_header, self.window)
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
            out.push(0, input);
            return Ended::Whole(start + input.len());
        }
        if size >= input.len() || size > room {
            return self.cut_block(plan, input, start, out);
        }
        out.push(2, &self.body[..size]);
        self.entropy.keep(plan, self.block.sequences.len());
        *recent = self.block.recent;
        Ended::Whole(start + input.len())
    }

    /// Writes as much of the block as fits.
    fn cut_block(&mut self, plan: &Plan, input: &[u8], start: usize, out: &mut Output<'_>) -> Ended {
        let room = Room { bytes: out.room() };
        let span = self.cut.fit(&mut self.block, &mut self.entropy, *plan, room);
        let stored = out.room().min(input.len());
        if span <= stored {
            if stored == 0 {
                return Ended::Nothing;
            }
            out.push(0, &input[..stored]);
            return Ended::Full(start + stored);
        }
        out.push(2, self.cut.body());
        Ended::Full(start + span)
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

/// The frame's header for `content` bytes and its length: with the content's size, and with the window's size only where
/// that is smaller (RFC 8878, 3.1.1.1). mkfs and fsck of erofs-utils want the content's size; Linux wants a window that
/// is no larger than the image declares, which a content that is no larger than the window fulfils as well.
fn frame_header(content: usize, window: usize) -> ([u8; 10], usize) {
    let (flag, value, length) = match content {
        0..256 => (0, content, 1),
        256..65792 => (1, content - 256, 2),
        _ => (2, content, 4),
    };
    let mut header = [0; 10];
    let mut at = put(&mut header, 0, &MAGIC);
    at = if content <= window {
        put(&mut header, at, &[flag << 6 | 1 << 5])
    } else {
        put(&mut header, at, &[flag << 6, ((window.ilog2() - 10) << 3) as u8])
    };
    at = put(&mut header, at, &(value as u32).to_le_bytes()[..length]);
    (header, at)
}

/// Marks the last block and puts the header before the first one.
fn finish(out: &mut Output<'_>, done: usize, reserved: usize, window: usize) -> Prefix {
    let Some(last_header) = out.last_header else {
        return Prefix::default();
    };
    let (header, length) = frame_header(done, window);
    let written = out.at - reserved + length;
    if done == 0 || written >= done {
        return Prefix::default();
    }
    out.bytes[last_header] |= 1;
    out.bytes.copy_within(reserved..out.at, length);
    put(out.bytes, 0, &header[..length]);
    Prefix { consumed: done, written }
}
