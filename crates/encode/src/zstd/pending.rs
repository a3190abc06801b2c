//! The block in work: the sequences and literals that its matches became.

use super::block::Counts;
use super::parse::Parse;
use super::sequence::{Recent, Sequence};

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
    pub(super) coded: usize,
    /// Where the input behind them begins.
    pub(super) coded_end: usize,
    pub(super) recent: Recent,
}

impl Block {
    pub(super) fn begin(&mut self, start: usize, recent: Recent) {
        self.sequences.clear();
        self.literals.clear();
        self.counts = Counts::default();
        (self.trailing, self.coded, self.coded_end, self.recent) = (0, 0, start, recent);
    }

    /// Codes what the parse found since the last time; the block is to end at `end`.
    pub(super) fn extend(&mut self, src: &[u8], run: &Parse, end: usize) {
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
