//! What can be wrong with the parameters of an encoder.

/// An error of making an encoder. It prints as one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The algorithm is known and cannot be written by this build.
    #[error("{algorithm}: encoding is not supported")]
    Unsupported {
        /// Name of the algorithm.
        algorithm: &'static str,
    },
    /// The level is outside the algorithm's range.
    #[error("{algorithm}: level {found}, want {want}")]
    Level {
        /// Name of the algorithm.
        algorithm: &'static str,
        /// The level asked for.
        found: i32,
        /// The levels that there are.
        want: &'static str,
    },
    /// The dictionary size is outside the algorithm's range.
    #[error("{algorithm}: dictionary of {found} bytes, want {want}")]
    Dictionary {
        /// Name of the algorithm.
        algorithm: &'static str,
        /// The size asked for in bytes.
        found: u32,
        /// The sizes that there are.
        want: &'static str,
    },
    /// There is not enough memory.
    #[error("{algorithm}: not enough memory for an encoder")]
    Memory {
        /// Name of the algorithm.
        algorithm: &'static str,
    },
    /// The library behind the algorithm refused its parameters.
    #[error("{algorithm}: {reason}")]
    Library {
        /// Name of the algorithm.
        algorithm: &'static str,
        /// What the library said.
        reason: String,
    },
}
