//! What can be wrong with a list of accesses.

use std::io;

use erofs_format::words::noun;

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Reading failed.
    #[error("line {line}: {cause}")]
    Io {
        /// The line, from 1 on.
        line: u64,
        /// What the system said.
        cause: io::Error,
    },
    /// A line is longer than any that is written.
    #[error("line {line}: found more than {limit} bytes, want a shorter line")]
    Long {
        /// The line, from 1 on.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A line has another number of fields.
    #[error(
        "line {line}: found {found} {}, want 5 or 6: image, path, offset, length, method, bytes per call",
        noun(*found, "field", "fields")
    )]
    Fields {
        /// The line, from 1 on.
        line: u64,
        /// How many there are.
        found: usize,
    },
    /// A field is not what it should be.
    #[error("line {line}: {field}: found {found:?}, want {want}")]
    Field {
        /// The line, from 1 on.
        line: u64,
        /// Which field.
        field: &'static str,
        /// What stands there, as text.
        found: String,
        /// What should.
        want: &'static str,
    },
}
