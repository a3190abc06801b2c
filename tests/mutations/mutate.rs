//! What is done to an image: a few changes, each to a field, a byte, or a block.

use erofs_format::superblock;
use erofs_testkit::content::Stream;

use crate::forms::Form;
use crate::spots::Spot;

/// Numbers that mean something to a reader.
const TELLING: [u64; 18] =
    [0, 1, 2, 3, 4, 6, 7, 8, 12, 16, 31, 32, 64, 255, 4095, 4096, 0x8000_0000, u64::MAX];

struct Mutation<'a> {
    form: &'a Form,
    stream: Stream,
    image: Vec<u8>,
    what: Vec<String>,
}

/// The image of this number, and what was done to it in words.
pub(crate) fn mutated(form: &Form, seed: u64, number: u64) -> (Vec<u8>, String) {
    let stream = Stream::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let mut mutation = Mutation { form, stream, image: form.image.clone(), what: Vec::new() };
    // Most faults show alone; the rest need company, such as a size and the address that goes with it.
    let changes = [1, 1, 1, 1, 2, 2, 3, 5][mutation.below(8)];
    for _ in 0..changes {
        mutation.change();
    }
    mutation.checksum();
    (mutation.image, mutation.what.join("; "))
}

impl Mutation<'_> {
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.stream.below(limit as u64)).unwrap()
    }

    fn spot(&mut self) -> Spot {
        let kind = self.form.kinds[self.below(self.form.kinds.len())];
        let spots: Vec<Spot> = self.form.spots.iter().filter(|spot| spot.kind == kind).copied().collect();
        spots[self.below(spots.len())]
    }

    fn change(&mut self) {
        match self.below(20) {
            0 => self.bit_anywhere(),
            1 => self.block(),
            2 => self.length(),
            _ => self.field(),
        }
    }

    fn bit_anywhere(&mut self) {
        if self.image.is_empty() {
            return;
        }
        let (at, bit) = (self.below(self.image.len()), self.below(8));
        self.image[at] ^= 1 << bit;
        self.what.push(format!("bit {bit} of byte {at}"));
    }

    /// A part of the image is zeros, or what another part is.
    fn block(&mut self) {
        let unit = [32, 64, 512, 4096][self.below(4)];
        let units = self.image.len() / unit;
        if units < 2 {
            return;
        }
        let (from, to) = (self.below(units) * unit, self.below(units) * unit);
        if self.below(4) == 0 {
            self.image[to..to + unit].fill(0);
            self.what.push(format!("{unit} bytes at {to} are zeros"));
        } else {
            self.image.copy_within(from..from + unit, to);
            self.what.push(format!("{unit} bytes at {to} are those at {from}"));
        }
    }

    fn length(&mut self) {
        let cut = 1 + self.below(3 * 4096);
        let length = self.image.len().saturating_sub(cut);
        self.image.truncate(length);
        self.what.push(format!("cut to {length} bytes"));
    }

    fn field(&mut self) {
        let spot = self.spot();
        if spot.at + spot.length > self.image.len() {
            return;
        }
        if spot.number {
            return self.number(spot);
        }
        // The first and the last bytes of a run are those that a decoder looks at with care.
        let within = match self.below(4) {
            0 => self.below(spot.length.min(16)),
            1 => spot.length - 1 - self.below(spot.length.min(8)),
            _ => self.below(spot.length),
        };
        let at = spot.at + within;
        let before = self.image[at];
        self.image[at] = match self.below(4) {
            0 => 0,
            1 => u8::try_from(self.below(256)).unwrap(),
            2 => before.wrapping_add(1),
            _ => before ^ (1 << self.below(8)),
        };
        self.what.push(format!("{} byte {at}: {before:#04x} to {:#04x}", spot.kind, self.image[at]));
    }

    fn number(&mut self, spot: Spot) {
        let before = self.read(spot);
        let bits = u64::try_from(spot.length * 8).unwrap();
        let other =
            self.form.spots.iter().filter(|other| other.kind == spot.kind && other.length == spot.length);
        let others: Vec<Spot> = other.copied().collect();
        let after = match self.below(9) {
            0 => before ^ (1 << self.stream.below(bits)),
            1 => before.wrapping_add(1),
            2 => before.wrapping_sub(1),
            3 => before.wrapping_add(self.stream.below(16)).wrapping_sub(8),
            4 => TELLING[self.below(TELLING.len())],
            5 => self.stream.number(),
            6 => before.wrapping_mul(2),
            7 => {
                let other = self.below(others.len());
                self.read(others[other])
            }
            _ => self.stream.below(1 << bits.min(10)),
        };
        self.image[spot.at..spot.at + spot.length].copy_from_slice(&after.to_le_bytes()[..spot.length]);
        let after = self.read(spot);
        self.what.push(format!("{} byte {}: {before:#x} to {after:#x}", spot.kind, spot.at));
    }

    fn read(&self, spot: Spot) -> u64 {
        let mut bytes = [0; 8];
        let end = (spot.at + spot.length).min(self.image.len());
        if let Some(stored) = self.image.get(spot.at..end) {
            bytes[..stored.len()].copy_from_slice(stored);
        }
        u64::from_le_bytes(bytes)
    }

    /// Makes the checksum right again, mostly: else nothing behind it would be looked at.
    fn checksum(&mut self) {
        if !self.form.checksum || self.below(32) == 0 {
            return;
        }
        let start = usize::try_from(superblock::OFFSET).unwrap();
        let span = superblock::checksum_span(self.form.block_bits);
        if let Some(covered) = self.image.get_mut(start..start + span) {
            superblock::store_checksum(covered);
        }
    }
}
