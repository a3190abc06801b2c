//! Huffman coding of literals as zstd has it: code lengths of at most 11 bits, their description, the streams
//! (RFC 8878, 4.2).
#![expect(
    clippy::cast_possible_truncation,
    reason = "symbols are below 256, lengths at most 11 and frequencies below 2^18"
)]

use super::bits::{BitWriter, put};
use super::fse::{Norm, SYMBOLS, Table};

/// The longest code in bits.
const MAX_BITS: u32 = 11;
/// The longest description of the code lengths in bytes.
const DESCRIPTION: usize = 128;

/// A code for bytes.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Length of each byte's code in bits, 0 where it has none.
    pub(super) lengths: [u8; 256],
    /// Code and length of each byte: `code << 8 | length`.
    codes: [u32; 256],
    description: [u8; DESCRIPTION],
    described: usize,
}

impl Default for Huffman {
    fn default() -> Self {
        Self { lengths: [0; 256], codes: [0; 256], description: [0; DESCRIPTION], described: 0 }
    }
}

impl Huffman {
    /// Makes this a code for bytes of these frequencies, `total` in sum; false when zstd cannot describe one.
    pub(super) fn build(&mut self, frequencies: &[u32; 256], total: u32) -> bool {
        let limit = (total.ilog2() + 2).clamp(7, MAX_BITS);
        let longest = self.set_lengths(frequencies, limit);
        if longest == 0 {
            return false;
        }
        self.set_codes(longest);
        self.describe(longest)
    }

    /// The description of the code lengths.
    pub(super) fn description(&self) -> &[u8] {
        &self.description[..self.described]
    }

    /// How many bits bytes of these frequencies take; `None` when one of them has no code.
    pub(super) fn bits_of(&self, frequencies: &[u32; 256]) -> Option<u64> {
        let mut bits = 0;
        let mut missing = 0;
        for (&frequency, &length) in frequencies.iter().zip(&self.lengths) {
            bits += frequency * u32::from(length);
            missing |= if length == 0 { frequency } else { 0 };
        }
        (missing == 0).then_some(u64::from(bits))
    }

    fn set_lengths(&mut self, frequencies: &[u32; 256], limit: u32) -> u32 {
        // Frequencies are below 2^18: frequency and byte sort as one number.
        let mut sorted = [0_u32; 256];
        let mut symbols = 0;
        for (byte, &frequency) in frequencies.iter().enumerate() {
            if frequency > 0 {
                sorted[symbols] = frequency << 8 | byte as u32;
                symbols += 1;
            }
        }
        self.lengths = [0; 256];
        if symbols < 2 {
            return 0;
        }
        let sorted = &mut sorted[..symbols];
        sorted.sort_unstable();
        let mut depths = tree_depths(sorted);
        let depths = &mut depths[..symbols];
        limit_depths(depths, limit);
        for (&entry, &depth) in sorted.iter().zip(depths.iter()) {
            self.lengths[entry as usize & 255] = depth;
        }
        u32::from(depths.iter().copied().max().unwrap_or(0))
    }

    fn set_codes(&mut self, longest: u32) {
        let mut count = [0_u32; 16];
        for &length in &self.lengths {
            count[usize::from(length) & 15] += 1;
        }
        let mut next = [0_u32; 16];
        let mut code = 0;
        for length in (1..=longest as usize).rev() {
            next[length & 15] = code;
            code = (code + count[length & 15]) >> 1;
        }
        for (code, &length) in self.codes.iter_mut().zip(&self.lengths) {
            *code = 0;
            if length > 0 {
                let next = &mut next[usize::from(length) & 15];
                *code = *next << 8 | u32::from(length);
                *next += 1;
            }
        }
    }

    /// Writes the description: the weights, without the last one, entropy-coded or as half bytes.
    fn describe(&mut self, longest: u32) -> bool {
        let mut weights = [0_u8; 256];
        let mut last = 0;
        for (symbol, &length) in self.lengths.iter().enumerate() {
            if length > 0 {
                weights[symbol] = longest as u8 + 1 - length;
                last = symbol;
            }
        }
        let weights = &weights[..last];
        let mut coded = [0; DESCRIPTION + 8];
        let length = code_weights(weights, &mut coded);
        if length > 1 && length < DESCRIPTION.min(weights.len().div_ceil(2)) {
            self.description[0] = length as u8;
            self.described = put(&mut self.description, 1, &coded[..length]);
            return true;
        }
        if weights.len() > 128 {
            return false;
        }
        self.description[0] = 127 + weights.len() as u8;
        for (place, pair) in self.description[1..].iter_mut().zip(weights.chunks(2)) {
            *place = pair[0] << 4 | pair.get(1).copied().unwrap_or(0);
        }
        self.described = 1 + weights.len().div_ceil(2);
        true
    }

    /// Writes `bytes` as one stream at `at` of `out` and gives the position behind it.
    pub(super) fn write(&self, bytes: &[u8], out: &mut [u8], at: usize) -> usize {
        let mut writer = BitWriter::new(out, at);
        let add = |writer: &mut BitWriter<'_>, byte: u8| {
            let code = self.codes[usize::from(byte)];
            writer.add(u64::from(code >> 8), code & 0xff);
        };
        let mut groups = bytes.rchunks_exact(5);
        // The last byte goes first; five codes and a part of a byte are below 64 bits.
        for group in &mut groups {
            for &byte in group.iter().rev() {
                add(&mut writer, byte);
            }
            writer.flush();
        }
        for &byte in groups.remainder().iter().rev() {
            add(&mut writer, byte);
        }
        writer.flush();
        writer.close()
    }
}

/// The depths of the leaves of the Huffman tree over ascending `frequency << 8 | byte`.
fn tree_depths(sorted: &[u32]) -> [u8; 512] {
    let leaves = sorted.len();
    let mut weights = [u32::MAX; 512];
    for (weight, entry) in weights.iter_mut().zip(sorted) {
        *weight = entry >> 8;
    }
    let mut parents = [0_u16; 512];
    let (mut leaf, mut inner) = (0, leaves);
    for node in leaves..2 * leaves - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            // Inner nodes that do not exist yet weigh u32::MAX.
            let least = if leaf < leaves && weights[leaf & 511] <= weights[inner & 511] {
                &mut leaf
            } else {
                &mut inner
            };
            sum += weights[*least & 511];
            parents[*least & 511] = node as u16;
            *least += 1;
        }
        weights[node & 511] = sum;
    }
    let mut depths = [0_u8; 512];
    for node in (0..2 * leaves - 2).rev() {
        depths[node & 511] = depths[usize::from(parents[node & 511]) & 511].saturating_add(1);
    }
    depths
}

/// Makes no depth larger than `limit` and keeps the code complete. Depths belong to ascending frequencies.
fn limit_depths(depths: &mut [u8], limit: u32) {
    let longest = depths.first().copied().unwrap_or(0);
    if u32::from(longest) <= limit {
        return;
    }
    let size = |depth: u8| 1_u32 << (limit - u32::from(depth));
    let mut used = 0;
    for depth in depths.iter_mut() {
        *depth = (*depth).min(limit as u8);
        used += size(*depth);
    }
    let full = 1 << limit;
    let mut at = 0;
    while used > full {
        // The rarest symbol among those of the longest codes that may still grow.
        while at + 1 < depths.len() && u32::from(depths[at]) == limit {
            at += 1;
        }
        depths[at] += 1;
        used -= size(depths[at]);
    }
    for depth in depths.iter_mut().rev() {
        while *depth > 1 && used + size(*depth) <= full {
            used += size(*depth);
            *depth -= 1;
        }
    }
}

/// Writes the weights as two interleaved states and gives the length; 0 when they cannot be written so.
fn code_weights(weights: &[u8], out: &mut [u8; DESCRIPTION + 8]) -> usize {
    let mut counts = [0_u32; SYMBOLS];
    for &weight in weights {
        counts[usize::from(weight) & (SYMBOLS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    if most <= 1 || most as usize == weights.len() {
        return 0;
    }
    let norm = Norm::new(&counts, weights.len() as u32, 6);
    let at = norm.write(out, 0);
    let table = Table::new(&norm);
    let mut writer = BitWriter::new(out, at);
    let mut states = [0; 2];
    // The decoder takes weights from the two states by turns, from the first weight on.
    for (place, &weight) in weights.iter().enumerate().rev() {
        if place + 2 >= weights.len() {
            states[place & 1] = table.first_state(weight);
        } else {
            table.put(&mut writer, &mut states[place & 1], weight);
            writer.flush();
        }
    }
    table.finish(&mut writer, states[1]);
    table.finish(&mut writer, states[0]);
    writer.flush();
    writer.close()
}
