//! Frames of a fixed size whose blocks are libzstd's, but for the last one: libzstd parses, and the block
//! that is too long is taken apart and cut.
//!
//! libzstd gets the input piece by piece, each a little longer than what probably still fits, so that hardly
//! anything is parsed that is cut off afterwards, and nothing is parsed twice within one output.

use std::ops::Range;

use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, ErrorCode, InBuffer, OutBuffer, ResetDirective};

use super::block::{Counts, Entropy, MAX_BLOCK, match_span};
use super::cut::Cut;
use super::library::failure;
use super::output::{BLOCK_HEADER, COMPRESSED, Output, RUN, SMALLEST};
use super::pending::Block;
use super::unpack::Tables;
use crate::codec::{Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::search::scale;

/// The first guess where nothing is known: so many times the output.
const FIRST_GUESS: usize = 3;
/// A piece is longer than what probably fits by one part in so many.
const SURPLUS: usize = 24;
/// Room below one part in so many of the output is left empty rather than filled by a block of its own.
const LEFT_EMPTY: usize = 512;
/// The shortest piece.
const SHORTEST: usize = 256;
/// Length of the header that libzstd gives to a frame of unknown length.
const STREAM_HEADER: usize = 6;

/// The encoder.
pub(super) struct Stream {
    context: CCtx<'static>,
    window: usize,
    max_input: usize,
    last: Option<Prefix>,
    /// What libzstd made of a piece.
    blocks: Vec<u8>,
    tables: Tables,
    block: Block,
    entropy: Entropy,
    cut: Cut,
    failure: Option<EncodeError>,
}

/// One block of libzstd's output.
struct Written<'a> {
    /// Header and body.
    bytes: &'a [u8],
    /// Stored, a run, or compressed.
    kind: u32,
    /// How many bytes of the input it stands for, where the header says it: not for compressed ones.
    size: usize,
}

impl<'a> Written<'a> {
    /// Takes the first block off `blocks`.
    fn split(blocks: &mut &'a [u8]) -> Option<Self> {
        let &[a, b, c] = blocks.first_chunk::<BLOCK_HEADER>()?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        let (kind, size) = (header >> 1 & 3, (header >> 3) as usize);
        let length = BLOCK_HEADER + if kind == RUN { 1 } else { size };
        let (bytes, rest) = blocks.split_at_checked(length)?;
        *blocks = rest;
        Some(Self { bytes, kind, size })
    }

    fn body(&self) -> &'a [u8] {
        &self.bytes[BLOCK_HEADER..]
    }
}

impl Stream {
    /// An encoder with the parameters of `context`, whose window has `window` bytes.
    ///
    /// # Errors
    ///
    /// When libzstd has no memory for it. It takes here what frames need, so that content is not left
    /// uncompressed later for want of memory.
    pub(super) fn new(context: CCtx<'static>, window: u32, max_input: usize) -> Result<Self, EncodeError> {
        let mut encoder = Self {
            context,
            window: window as usize,
            max_input,
            last: None,
            blocks: Vec::with_capacity(2 * MAX_BLOCK),
            tables: Tables::new(),
            block: Block::default(),
            entropy: Entropy::new(),
            cut: Cut::default(),
            failure: None,
        };
        encoder.write_blocks(&[0], true);
        encoder.failure.take().map_or(Ok(encoder), Err)
    }

    /// What libzstd says, or nothing where it failed, which is noted.
    fn noted<T>(&mut self, answer: Result<T, ErrorCode>) -> Option<T> {
        answer.map_err(|code| self.failure = self.failure.take().or_else(|| failure(code))).ok()
    }

    /// Has libzstd write the blocks of `piece`, which follows those before it in the frame.
    fn write_blocks(&mut self, piece: &[u8], is_first: bool) -> Option<()> {
        if is_first {
            let answer = self.context.reset(ResetDirective::SessionOnly);
            self.noted(answer)?;
        }
        self.blocks.clear();
        let mut input = InBuffer::around(piece);
        loop {
            self.blocks.reserve(MAX_BLOCK);
            let at = self.blocks.len();
            let mut output = OutBuffer::around_pos(&mut self.blocks, at);
            let flush = ZSTD_EndDirective::ZSTD_e_flush;
            let answer = self.context.compress_stream2(&mut output, &mut input, flush);
            let left = self.noted(answer)?;
            if left == 0 && input.pos() == piece.len() {
                break;
            }
        }
        if is_first {
            self.blocks.drain(..STREAM_HEADER.min(self.blocks.len()));
        }
        Some(())
    }

    /// Puts the blocks of a piece of `src` into `out` as far as they fit: how much of the input they stand
    /// for, and whether `out` is full. `None` when they are not what a frame is made of.
    fn take_blocks(
        &mut self,
        src: &[u8],
        piece: Range<usize>,
        out: &mut Output<'_>,
    ) -> Option<(usize, bool)> {
        let mut rest = self.blocks.as_slice();
        let mut at = piece.start;
        while !rest.is_empty() {
            let written = Written::split(&mut rest)?;
            let span = if written.kind == COMPRESSED {
                let literals = self.tables.unpack(written.body(), &mut self.block.sequences)?;
                let matches = self.block.sequences.iter().map(match_span);
                literals + matches.sum::<usize>()
            } else {
                written.size
            };
            let input = src.get(at..at + span).filter(|_| at + span <= piece.end)?;
            if out.fits(written.bytes) {
                out.push_written(written.bytes);
                at += span;
                continue;
            }
            if written.kind != COMPRESSED {
                self.block.sequences.clear();
            }
            fill(&mut self.block, input);
            self.entropy.begin_frame();
            let plan = self.entropy.plan(&self.block.counts);
            let span = out.push_cut(&mut self.block, &mut self.entropy, &mut self.cut, &plan, input);
            return Some((at + span - piece.start, true));
        }
        (at == piece.end).then_some((at - piece.start, false))
    }

    fn encode(&mut self, src: &[u8], dst: &mut [u8]) -> Option<Prefix> {
        let src = &src[..src.len().min(self.max_input)];
        if dst.len() < SMALLEST || src.is_empty() {
            return None;
        }
        let size = dst.len();
        let mut out = Output::new(dst, src.len(), self.window);
        let most = MAX_BLOCK.min(self.window);
        let mut done = 0;
        while done < src.len() && out.has_room() && (done == 0 || out.room() > size / LEFT_EMPTY) {
            let room = out.room();
            let expected = match self.last {
                _ if done > 0 => scale(done, room, size - room),
                Some(last) => scale(last.consumed, room, last.written),
                None => room * FIRST_GUESS,
            };
            let mut length = (expected + expected / SURPLUS).clamp(SHORTEST, most);
            // What nearly reaches the end had better reach it.
            if done + length + length / 16 >= src.len() && src.len() - done <= most {
                length = src.len() - done;
            }
            let piece = done..src.len().min(done + length);
            self.write_blocks(&src[piece.clone()], done == 0)?;
            let (taken, full) = self.take_blocks(src, piece, &mut out)?;
            done += taken;
            if full {
                break;
            }
        }
        Some(out.finish(done, self.window))
    }
}

/// Makes `block` that of `input` with the sequences that it has.
fn fill(block: &mut Block, input: &[u8]) {
    block.literals.clear();
    block.counts = Counts::default();
    let mut at = 0;
    for sequence in &block.sequences {
        let literals = sequence.literals as usize;
        block.literals.extend_from_slice(input.get(at..at + literals).unwrap_or_default());
        block.counts.add(sequence);
        at += sequence.span();
    }
    let trailing = input.get(at..).unwrap_or_default();
    block.literals.extend_from_slice(trailing);
    block.trailing = trailing.len();
    block.counts.add_literals(&block.literals);
}

impl PrefixEncoder for Stream {
    fn begin_segment(&mut self) {
        self.last = None;
    }

    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        let prefix = self.encode(src, dst).unwrap_or_default();
        if prefix.consumed > 0 {
            self.last = Some(prefix);
        }
        prefix
    }

    fn encode_whole(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if src.is_empty() {
            return None;
        }
        let answer = self.context.compress2(dst, src);
        self.noted(answer)
    }

    fn failure(&mut self) -> Option<EncodeError> {
        self.failure.take()
    }
}
