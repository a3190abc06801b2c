//! The cut: how much of a block fits into the bytes that are left.

use super::block::{Entropy, Plan, Prices, match_span};
use super::fse::BIT;
use super::pending::Block;

/// A byte in units of cost.
const BYTE: i64 = 8 * BIT as i64;
/// How often a cut is written at most.
const TRIES: u32 = 6;

/// The bytes that are left for a block's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: usize,
}

impl Room {
    /// What is kept free at the first try: counted costs are a little off, because states have whole bits.
    fn margin(self) -> i64 {
        BYTE * (3 + i64::try_from(self.bytes / 4096).unwrap_or(0))
    }

    /// How many bytes may stay unused.
    fn tolerance(self) -> usize {
        6 + self.bytes / 2048
    }

    fn cost(self) -> i64 {
        i64::try_from(self.bytes).unwrap_or(0) * BYTE
    }
}

/// Where a block is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    /// Number of sequences that stay.
    sequences: usize,
    /// Number of literals that stay, those of the sequences included.
    literals: usize,
    /// Number of literals behind the last match that stays.
    trailing: usize,
    /// How many bytes of the input stay.
    span: usize,
}

/// Finds cuts.
#[derive(Default)]
pub(super) struct Cut {
    scratch: Vec<u8>,
    best: Vec<u8>,
    best_len: usize,
}

impl Cut {
    /// The body of the block that [`Cut::fit`] made.
    pub(super) fn body(&self) -> &[u8] {
        &self.best[..self.best_len]
    }

    /// Cuts `block`, which `plan` describes, so that it fits into `room`, and gives how many bytes of the
    /// input are in it; 0 when no compressed block fits.
    pub(super) fn fit(&mut self, block: &mut Block, entropy: &mut Entropy, plan: Plan, room: Room) -> usize {
        self.scratch.resize(room.bytes + 64, 0);
        self.best.resize(room.bytes + 64, 0);
        let mut plan = plan;
        let mut place = Place {
            sequences: block.sequences.len(),
            literals: block.literals.len(),
            trailing: block.trailing,
            span: block.sequences.iter().map(super::sequence::Sequence::span).sum::<usize>() + block.trailing,
        };
        let whole = place;
        let mut prices = entropy.prices(&plan);
        let cost = i64::try_from(plan.cost()).unwrap_or(i64::MAX);
        let mut over = cost + room.margin() - room.cost();
        if over > cost / 16 {
            // Much is cut off: what stays deserves tables of its own.
            back(block, &mut place, &prices, over);
            plan = entropy.plan(&block.counts);
            prices = entropy.prices(&plan);
            over = i64::try_from(plan.cost()).unwrap_or(i64::MAX) + room.margin() - room.cost();
        }
        let mut best = 0;
        for tries in 0..TRIES {
            if over > 0 {
                back(block, &mut place, &prices, over);
            } else {
                forth(block, &mut place, &prices, -over);
            }
            if place.span <= best {
                break;
            }
            let size = entropy.write(
                &plan,
                &block.sequences[..place.sequences],
                &block.literals[..place.literals],
                &mut self.scratch,
            );
            if size > room.bytes {
                if best > 0 {
                    break;
                }
                let excess = i64::try_from(size - room.bytes).unwrap_or(i64::MAX / BYTE);
                over = (excess + 1 + i64::from(tries)) * BYTE;
                continue;
            }
            std::mem::swap(&mut self.scratch, &mut self.best);
            (best, self.best_len) = (place.span, size);
            let left = room.bytes - size;
            if left <= room.tolerance() || place == whole {
                break;
            }
            over = BYTE - i64::try_from(left).unwrap_or(0) * BYTE;
        }
        if self.best_len >= best { 0 } else { best }
    }
}

/// Takes away from the end of the block what costs at least `over`.
fn back(block: &mut Block, place: &mut Place, prices: &Prices, over: i64) {
    let mut over = over;
    while over > 0 {
        while place.trailing > 0 && over > 0 {
            place.trailing -= 1;
            place.literals -= 1;
            place.span -= 1;
            let byte = block.literals[place.literals];
            over -= prices.literals[usize::from(byte)].cast_signed();
            block.counts.remove_literal(byte);
        }
        if over <= 0 || place.sequences == 0 {
            return;
        }
        place.sequences -= 1;
        let sequence = block.sequences[place.sequences];
        over -= prices.of(&sequence).cast_signed();
        place.trailing = sequence.literals as usize;
        place.span -= match_span(&sequence);
        block.counts.remove(&sequence);
    }
}

/// Adds to the end of the block what costs at most `left`.
fn forth(block: &mut Block, place: &mut Place, prices: &Prices, left: i64) {
    let mut left = left;
    loop {
        let next = block.sequences.get(place.sequences).copied();
        let literals = next.map_or(block.trailing, |sequence| sequence.literals as usize);
        while place.trailing < literals {
            let byte = block.literals[place.literals];
            left -= prices.literals[usize::from(byte)].cast_signed();
            if left < 0 {
                return;
            }
            place.trailing += 1;
            place.literals += 1;
            place.span += 1;
            block.counts.add_literal(byte);
        }
        let Some(sequence) = next else {
            return;
        };
        left -= prices.of(&sequence).cast_signed();
        if left < 0 {
            return;
        }
        place.sequences += 1;
        place.trailing = 0;
        place.span += match_span(&sequence);
        block.counts.add(&sequence);
    }
}
