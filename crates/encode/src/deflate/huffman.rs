//! Prefix codes of limited length, and estimates of what they will cost.

/// The most symbols an alphabet here has.
const MAX_SYMBOLS: usize = 288;

/// Sets `lengths` to those of a prefix code for `counts` in which no code is longer than `limit` bits;
/// symbols that do not occur get 0. A single symbol gets one bit.
pub(super) fn code_lengths(counts: &[u32], limit: u8, lengths: &mut [u8]) {
    lengths.fill(0);
    let mut sorted = [0_u64; MAX_SYMBOLS];
    let mut used = 0;
    for (symbol, &count) in counts.iter().enumerate() {
        if count > 0 {
            sorted[used] = u64::from(count) << 16 | symbol as u64;
            used += 1;
        }
    }
    let sorted = &mut sorted[..used];
    sorted.sort_unstable();
    let symbol = |entry: u64| (entry & 0xFFFF) as usize;
    if used < 2 {
        for &entry in &*sorted {
            lengths[symbol(entry)] = 1;
        }
        return;
    }
    let mut depths = [0_u8; MAX_SYMBOLS];
    tree_depths(sorted, &mut depths[..used]);
    limit_depths(&mut depths[..used], limit);
    for (&entry, &depth) in sorted.iter().zip(&depths) {
        lengths[symbol(entry)] = depth;
    }
}

/// The depths of the leaves in Huffman's tree. The leaves come in order of weight (above the low 16 bits),
/// and so do the inner nodes as they are made, hence two queues suffice.
fn tree_depths(sorted: &[u64], depths: &mut [u8]) {
    let used = sorted.len();
    let mut weights = [0_u64; MAX_SYMBOLS];
    let mut leaf_parent = [0_u16; MAX_SYMBOLS];
    let mut inner_parent = [0_u16; MAX_SYMBOLS];
    let (mut leaf, mut inner) = (0, 0);
    for (made, name) in (0..used - 1).zip(0_u16..) {
        let mut weight = 0;
        for _child in 0..2 {
            let take_leaf = leaf < used && (inner >= made || sorted[leaf] >> 16 <= weights[inner]);
            if take_leaf {
                weight += sorted[leaf] >> 16;
                leaf_parent[leaf] = name;
                leaf += 1;
            } else {
                weight += weights[inner];
                inner_parent[inner] = name;
                inner += 1;
            }
        }
        weights[made] = weight;
    }
    let mut inner_depth = [0_u8; MAX_SYMBOLS];
    for node in (0..used - 2).rev() {
        inner_depth[node] = inner_depth[usize::from(inner_parent[node])] + 1;
    }
    for (depth, &parent) in depths.iter_mut().zip(&leaf_parent) {
        *depth = inner_depth[usize::from(parent)] + 1;
    }
}

/// Shortens what is longer than `limit` and pays for it where that costs least; `depths` stand in order of
/// weight, the rarest symbol first.
fn limit_depths(depths: &mut [u8], limit: u8) {
    if depths.iter().all(|&depth| depth <= limit) {
        return;
    }
    let full = 1_u64 << limit;
    let share = |depth: u8| 1_u64 << (limit - depth);
    let mut sum = 0;
    for depth in &mut *depths {
        *depth = (*depth).min(limit);
        sum += share(*depth);
    }
    while sum > full {
        // The deepest code above the limit loses least when it becomes one bit longer.
        let Some(deepest) = (0..depths.len())
            .filter(|&at| depths[at] < limit)
            .max_by_key(|&at| (depths[at], depths.len() - at))
        else {
            return;
        };
        sum -= share(depths[deepest]) / 2;
        depths[deepest] += 1;
    }
    for depth in depths.iter_mut().rev() {
        while *depth > 1 && sum + share(*depth) <= full {
            sum += share(*depth);
            *depth -= 1;
        }
    }
}

/// The canonical codes of `lengths` (section 3.2.2 of RFC 1951), their bits in the order in which they are
/// written.
pub(super) fn codes(lengths: &[u8], codes: &mut [u16]) {
    let mut first = [0_u16; 16];
    let mut start = 0_u16;
    let mut counts = [0_u16; 16];
    for &length in lengths {
        counts[usize::from(length)] += u16::from(length > 0);
    }
    for bits in 1..16 {
        start = start.wrapping_add(counts[bits - 1]) << 1;
        first[bits] = start;
    }
    for (code, &length) in codes.iter_mut().zip(lengths) {
        if length > 0 {
            let slot = &mut first[usize::from(length)];
            *code = slot.reverse_bits() >> (16 - u16::from(length));
            *slot = slot.wrapping_add(1);
        }
    }
}

/// Fraction bits of the logarithms below.
const FRACTION: u32 = 14;
/// The binary logarithm of 1 + N/1024. Whole numbers throughout: an image must not depend on a machine's
/// arithmetic.
static LOGARITHMS: [u16; 1024] = logarithms();

#[expect(clippy::cast_possible_truncation, reason = "a logarithm below 1 with 14 bits of fraction")]
const fn logarithms() -> [u16; 1024] {
    let mut table = [0; 1024];
    let mut row = 0;
    while row < 1024 {
        let mut square = (1024 + row as u64) << 20;
        let mut bits = 0_u32;
        let mut bit = 0;
        while bit < FRACTION {
            square = (square * square) >> 30;
            bits <<= 1;
            if square >= 2 << 30 {
                bits |= 1;
                square >>= 1;
            }
            bit += 1;
        }
        table[row] = bits as u16;
        row += 1;
    }
    table
}

/// The binary logarithm of `value`, at least 1, times 2^14.
#[inline]
fn logarithm(value: u32) -> u64 {
    let zeros = value.leading_zeros();
    let mantissa = (value << zeros) >> 21 & 1023;
    u64::from((31 - zeros) << FRACTION) + u64::from(LOGARITHMS[mantissa as usize])
}

/// The bits that an ideal code for `counts` needs, without the code itself: of the first `first` symbols, and
/// of all.
pub(super) fn entropy(counts: &[u32], first: usize) -> (u64, u64) {
    let total: u32 = counts.iter().sum();
    if total == 0 {
        return (0, 0);
    }
    let whole = logarithm(total);
    let of = |counts: &[u32]| -> u64 {
        counts
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| u64::from(count) * (whole - logarithm(count)))
            .sum()
    };
    let (head, tail) = counts.split_at(first.min(counts.len()));
    let head = of(head);
    (head >> FRACTION, (head + of(tail)) >> FRACTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        let mut got = [0; 8];
        codes(&[3, 3, 3, 3, 3, 2, 4, 4], &mut got);
        let want: [u16; 8] = [0b010, 0b110, 0b001, 0b101, 0b011, 0b00, 0b0111, 0b1111];
        assert_eq!(got, want);
    }

    #[test]
    fn entropy_is_close_to_the_formula() {
        let counts = [1, 2, 3, 500, 70_000, 0, 9];
        let total: f64 = counts.iter().map(|&count: &u32| f64::from(count)).sum();
        let want: f64 = counts
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| f64::from(count) * (total / f64::from(count)).log2())
            .sum();
        let (_, got) = entropy(&counts, 0);
        assert!((f64::from(u32::try_from(got).unwrap()) - want).abs() < want * 0.02 + 100.0, "{got} {want}");
    }

    proptest! {
        #[test]
        fn lengths_make_a_complete_code_within_the_limit(counts in prop::collection::vec(prop_oneof![Just(0), 1_u32..9, 1_u32..100_000], 2..286), limit in 9_u8..16) {
            let mut lengths = vec![0; counts.len()];
            code_lengths(&counts, limit, &mut lengths);
            let used = counts.iter().filter(|&&count| count > 0).count();
            let sum: u64 = lengths.iter().filter(|&&length| length > 0).map(|&length| 1 << (limit - length)).sum();
            for (&count, &length) in counts.iter().zip(&lengths) {
                prop_assert_eq!(count > 0, length > 0);
                prop_assert!(length <= limit);
            }
            if used > 1 {
                prop_assert_eq!(sum, 1 << limit);
            }
            let (_, ideal) = entropy(&counts, 0);
            let cost: u64 = counts.iter().zip(&lengths).map(|(&count, &length)| u64::from(count) * u64::from(length)).sum();
            prop_assert!(cost * 100 >= ideal * 98);
        }

        #[test]
        fn skewed_counts_are_limited(used in 2_usize..40) {
            let mut counts = vec![1_u32, 1];
            while counts.len() < used {
                counts.push(counts[counts.len() - 1].saturating_add(counts[counts.len() - 2]));
            }
            let mut lengths = vec![0; used];
            code_lengths(&counts, 7, &mut lengths);
            let sum: f64 = lengths.iter().map(|&length| 0.5_f64.powi(i32::from(length))).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
        }
    }
}
