//! What can be wrong with compressed bytes.

use erofs_format::compression::Algorithm;
use erofs_format::words;

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is nothing but padding where the data should start.
    #[error(
        "compressed data: found {found} zero {} at its start, want data in the first {window}",
        words::noun(*found, "byte", "bytes")
    )]
    OnlyPadding {
        /// Zero bytes that were found.
        found: usize,
        /// Where the data has to start, in bytes.
        window: usize,
    },
    /// The data does not follow the rules of its algorithm, or ends too early.
    #[error("{} data of {}: {reason}", .algorithm.name(), words::bytes(*input))]
    Corrupt {
        /// The algorithm.
        algorithm: Algorithm,
        /// Length of the compressed data in bytes.
        input: usize,
        /// What the decoder says about it.
        reason: String,
    },
    /// The data decodes to another length than was wanted.
    #[error(
        "{} data of {}: found {} when decoded, want {want}",
        .algorithm.name(),
        words::bytes(*input),
        words::bytes(*found)
    )]
    Length {
        /// The algorithm.
        algorithm: Algorithm,
        /// Length of the compressed data in bytes.
        input: usize,
        /// How many bytes it decodes to; one more than wanted stands for any number above.
        found: usize,
        /// How many were wanted.
        want: usize,
    },
    /// There is not enough memory to decode. It says nothing about the data.
    #[error("{} data of {input} bytes: not enough memory to decode it", .algorithm.name())]
    Memory {
        /// The algorithm.
        algorithm: Algorithm,
        /// Length of the compressed data in bytes.
        input: usize,
    },
}

/// What a decoder of one algorithm found wrong; the table adds algorithm and length.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// Not the algorithm's data.
    Corrupt(String),
    /// So many bytes came out, or one more than wanted.
    Length(usize),
    /// No memory for a window.
    Memory,
}

impl Wrong {
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over errors and literals")]
    pub(crate) fn corrupt(reason: impl ToString) -> Self {
        Self::Corrupt(one_line(&reason.to_string()))
    }
}

/// The messages of the libraries as part of a line.
fn one_line(text: &str) -> String {
    let mut line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    line.truncate(line.trim_end_matches('.').len());
    match line.chars().next() {
        Some(first) if first.is_ascii_uppercase() => {
            let lower = first.to_ascii_lowercase();
            line.replace_range(..1, lower.encode_utf8(&mut [0; 4]));
            line
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_messages_become_part_of_a_line() {
        for (text, want) in
            [("Wrong magic.\n at 3", "wrong magic. at 3"), ("Ends.", "ends"), ("", ""), ("é.", "é")]
        {
            assert_eq!(one_line(text), want);
        }
    }
}
