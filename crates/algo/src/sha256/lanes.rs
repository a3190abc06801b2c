//! Which content is in which lane, and for how long.

use sha2::block_api::compress256;

/// Contents side by side.
pub(super) const LANES: usize = 16;
/// A block of input.
pub(super) type Block = [u8; 64];
/// The eight words of the states of all lanes: word by word, lane by lane.
pub(super) type States = [[u32; LANES]; 8];

/// Puts blocks of all lanes, equally many, into their states.
pub(super) type Compress = fn(&mut States, &[&[Block]; LANES]);

/// The state before the first block (FIPS 180-4, 5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// One content on its way.
struct Lane<'c> {
    /// Which one.
    number: usize,
    /// What is left of its whole blocks.
    body: &'c [Block],
    /// Its last bytes with padding and length.
    tail: Tail,
}

impl<'c> Lane<'c> {
    fn new(number: usize, content: &'c [u8]) -> Self {
        let (body, rest) = content.as_chunks();
        let mut blocks = [[0; 64]; 2];
        let to = if rest.len() < 56 { 1 } else { 2 };
        let bytes = blocks.as_flattened_mut();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        let bits = (content.len() as u64).wrapping_mul(8);
        bytes[64 * to - 8..64 * to].copy_from_slice(&bits.swap_bytes().to_le_bytes());
        Self { number, body, tail: Tail { blocks, from: 0, to } }
    }

    /// What is to be compressed next; empty at the end.
    fn blocks(&self) -> &[Block] {
        if self.body.is_empty() { self.tail.blocks() } else { self.body }
    }

    /// So many of these blocks are done.
    fn advance(&mut self, count: usize) {
        match self.body.get(count..) {
            Some(rest) if !self.body.is_empty() => self.body = rest,
            Some(_) | None => self.tail.from += count,
        }
    }
}

/// What is left of a content's last one or two blocks.
struct Tail {
    blocks: [Block; 2],
    from: usize,
    to: usize,
}

impl Tail {
    fn blocks(&self) -> &[Block] {
        &self.blocks[self.from..self.to]
    }
}

/// The digests of all contents, by sixteen lanes and, where less than `fewest` of them are at work, one by
/// one.
pub(super) fn side_by_side(contents: &[&[u8]], fewest: usize, compress: Compress) -> Vec<[u8; 32]> {
    let mut order: Vec<usize> = (0..contents.len()).collect();
    order.sort_by_key(|&number| std::cmp::Reverse(contents[number].len()));
    let mut waiting = order.into_iter().map(|number| Lane::new(number, contents[number]));
    let mut digests = vec![[0; 32]; contents.len()];
    let mut states: States = START.map(|word| [word; LANES]);
    let mut lanes: [Option<Lane<'_>>; LANES] = std::array::from_fn(|_| waiting.next());
    loop {
        for (column, place) in lanes.iter_mut().enumerate() {
            if let Some(lane) = place.as_ref().filter(|lane| lane.blocks().is_empty()) {
                digests[lane.number] = digest(&state_of(&states, column));
                *place = waiting.next();
                for (words, first) in states.iter_mut().zip(START) {
                    words[column] = first;
                }
            }
        }
        let busy = lanes.iter().flatten().map(Lane::blocks);
        let shortest = busy.clone().min_by_key(|blocks| blocks.len());
        let Some(shortest) = shortest.filter(|_| busy.count() >= fewest) else { break };
        let count = shortest.len();
        // A lane without a content of its own goes through those of another; nobody looks at what comes of
        // it.
        let blocks =
            std::array::from_fn(|column| &lanes[column].as_ref().map_or(shortest, Lane::blocks)[..count]);
        compress(&mut states, &blocks);
        lanes.iter_mut().flatten().for_each(|lane| lane.advance(count));
    }
    let begun = lanes.into_iter().enumerate();
    let begun = begun.filter_map(|(column, lane)| Some((lane?, state_of(&states, column))));
    for (lane, mut state) in begun.chain(waiting.map(|lane| (lane, START))) {
        compress256(&mut state, lane.body);
        compress256(&mut state, lane.tail.blocks());
        digests[lane.number] = digest(&state);
    }
    digests
}

fn state_of(states: &States, column: usize) -> [u32; 8] {
    states.map(|words| words[column])
}

/// The words as bytes, the most significant first.
fn digest(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.swap_bytes().to_le_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::super::each;
    use super::*;

    fn content(seed: usize, length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 + at / 77 + seed * 7).to_le_bytes()[0]).collect()
    }

    fn one_by_one(contents: &[&[u8]]) -> Vec<[u8; 32]> {
        contents.iter().map(|content| Sha256::digest(content).into()).collect()
    }

    /// What lanes do, without a vector.
    fn plainly(states: &mut States, blocks: &[&[Block]; LANES]) {
        for (column, blocks) in blocks.iter().enumerate() {
            let mut state = state_of(states, column);
            compress256(&mut state, blocks);
            for (words, word) in states.iter_mut().zip(state) {
                words[column] = word;
            }
        }
    }

    #[test]
    fn every_length_and_number_of_contents() {
        let lengths = |count: usize, step: usize| -> Vec<Vec<u8>> {
            (0..count).map(|number| content(number, number * step % 1000)).collect()
        };
        for (count, step) in
            [(0, 1), (1, 64), (2, 0), (7, 55), (8, 56), (15, 63), (16, 64), (17, 65), (999, 1)]
        {
            let owned = lengths(count, step);
            let contents: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
            let want = one_by_one(&contents);
            assert_eq!(each(&contents), want, "{count} contents");
            for fewest in [1, 3, 8, 16, 17] {
                assert_eq!(
                    side_by_side(&contents, fewest, plainly),
                    want,
                    "{count} contents, {fewest} lanes"
                );
            }
        }
    }

    #[test]
    fn a_long_one_among_short_ones() {
        let mut owned: Vec<Vec<u8>> = (0..100).map(|number| content(number, 3000 - 20 * number)).collect();
        owned.insert(50, content(1, 1 << 20));
        let contents: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
        assert_eq!(each(&contents), one_by_one(&contents));
        assert_eq!(side_by_side(&contents, 8, plainly), one_by_one(&contents));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn vectors_do_what_lanes_do() {
        let Some(compress) = super::super::avx512::detect() else {
            eprintln!("this processor has no AVX-512: nothing but the order of lanes is tested here");
            return;
        };
        let owned: Vec<Vec<u8>> = (0..LANES).map(|number| content(number, 64 * 40)).collect();
        let blocks: [&[Block]; LANES] = std::array::from_fn(|column| owned[column].as_chunks().0);
        let mut states: States = START.map(|word| {
            (0..).map(|lane| word.rotate_left(lane)).take(LANES).collect::<Vec<_>>().try_into().unwrap()
        });
        let mut want = states;
        for count in [0, 1, 2, 37] {
            let some = blocks.map(|blocks| &blocks[..count]);
            compress(&mut states, &some);
            plainly(&mut want, &some);
            assert_eq!(states, want, "{count} blocks");
        }
    }
}
