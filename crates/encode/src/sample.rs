//! The noise test: will this shrink at all?

/// How many bytes are looked at for the distribution.
const SAMPLES: usize = 4096;
/// How many places one window is searched for repeats at.
const WINDOW: usize = 5460;
/// Slots of the table of earlier four-byte strings, as a power of two.
const SLOTS_LOG: u32 = 12;

/// Whether the head of `src` (at most `head` bytes) looks like data that no algorithm here makes smaller:
/// every byte value about as often as every other, and hardly a string of four bytes that comes again.
///
/// Short inputs are never called noise: less than 4 KiB give no picture, and cost nothing to try.
pub fn is_noise(src: &[u8], head: usize) -> bool {
    let src = &src[..src.len().min(head)];
    src.len() >= SAMPLES && is_flat(src) && !repeats(src)
}

/// Whether pairs of sampled bytes are equal as seldom as in noise: in one of 256 cases, within four per cent.
/// With 4096 samples noise itself varies by about half a per cent.
fn is_flat(src: &[u8]) -> bool {
    let mut counts = [0_u32; 256];
    let step = src.len() / SAMPLES;
    for &byte in src.iter().step_by(step).take(SAMPLES) {
        counts[usize::from(byte)] += 1;
    }
    let equal: u64 = counts.iter().map(|&count| u64::from(count) * u64::from(count.saturating_sub(1))).sum();
    let pairs = (SAMPLES * (SAMPLES - 1)) as u64;
    equal * 256 * 100 <= pairs * 104
}

/// Whether four-byte strings come again, in up to three windows of the source.
fn repeats(src: &[u8]) -> bool {
    let mut seen = [0_u32; 1 << SLOTS_LOG];
    let (mut hits, mut tested) = (0, 0);
    let windows = if src.len() < 3 * WINDOW { 1 } else { 3 };
    for window in 0..windows {
        let start = src.len().saturating_sub(WINDOW) * window / 2;
        let end = src.len().min(start + WINDOW);
        for bytes in src[start..end].windows(4) {
            let value = bytes.iter().rev().fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
            let slot = &mut seen[(value.wrapping_mul(0x9e37_79b1) >> (32 - SLOTS_LOG)) as usize];
            hits += usize::from(*slot == value);
            *slot = value;
            tested += 1;
        }
    }
    hits > tested / 2048
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a linear congruential generator's upper half.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_le_bytes()[7]
        };
        (0..length).map(next).collect()
    }

    #[test]
    fn noise_is_told_from_what_shrinks() {
        let text = b"a line of text that says nothing, ".repeat(1000);
        let mut skewed = noise(100_000);
        skewed.iter_mut().step_by(8).for_each(|byte| *byte &= 0x7f);
        skewed.iter_mut().step_by(5).for_each(|byte| *byte = 0);
        for (name, bytes, want) in [
            ("noise", noise(100_000), true),
            ("a block of noise", noise(4096), true),
            ("less than a block of noise", noise(4095), false),
            ("nothing", Vec::new(), false),
            ("text", text, false),
            ("zeros", vec![0; 100_000], false),
            ("noise that comes again", noise(2000).repeat(10), false),
            ("noise of seven bits", noise(100_000).iter().map(|byte| byte & 0x7f).collect(), false),
            ("noise with zeros in it", skewed, false),
        ] {
            assert_eq!(is_noise(&bytes, 65536), want, "{name}");
        }
    }
}
