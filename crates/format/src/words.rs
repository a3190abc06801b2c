//! Counts in messages.

/// The form of a noun that goes with a count: `1 byte`, else `0 bytes` and `2 bytes`.
pub fn noun<N: PartialEq + From<u8> + Copy>(count: N, one: &'static str, more: &'static str) -> &'static str {
    if count == N::from(1) { one } else { more }
}

/// A number of bytes in decimal digits, with its noun.
pub fn bytes<N: PartialEq + From<u8> + Copy + std::fmt::Display>(count: N) -> String {
    format!("{count} {}", noun(count, "byte", "bytes"))
}

/// A number of blocks in decimal digits, with its noun.
pub fn blocks<N: PartialEq + From<u8> + Copy + std::fmt::Display>(count: N) -> String {
    format!("{count} {}", noun(count, "block", "blocks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(noun(1_usize, "file", "files"), "file");
        for (count, text) in [(0_u64, "0 bytes"), (1, "1 byte"), (2, "2 bytes"), (1000, "1000 bytes")] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!((blocks(1_u32).as_str(), blocks(0_u32).as_str()), ("1 block", "0 blocks"));
    }
}
