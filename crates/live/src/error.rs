//! What can go wrong when a running machine is looked at.

use std::io;

use erofs_format::printable;
use erofs_sim::world::WorldError;

/// A failure, with the place that it happened at.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// A system call failed.
    #[error("{place}: cannot {what}: {cause}")]
    Io {
        /// What was being done, a verb such as `read`.
        what: &'static str,
        /// The path it was done to, fit for a terminal.
        place: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A line of a file that the kernel writes is not as the kernel writes it.
    #[error("{place}: line {line}: found {found}, want {want}")]
    Line {
        /// The file.
        place: &'static str,
        /// The number of the line, from 1 on.
        line: usize,
        /// What stands there, cut to a sensible length.
        found: String,
        /// What it should be.
        want: &'static str,
    },
    /// A directory is not where an EROFS image is mounted.
    #[error("{place}: found {found}, want a directory on which an EROFS image is mounted")]
    NotMounted {
        /// The directory.
        place: String,
        /// What is there.
        found: String,
    },
    /// A file is too long to be looked at page by page.
    #[error("{place}: found {found} bytes, want at most {limit} in a file whose pages are looked at")]
    TooLong {
        /// The file.
        place: String,
        /// Its length in bytes.
        found: u64,
        /// The longest that is looked at, in bytes.
        limit: u64,
    },
    /// The model does not take what it was asked about.
    #[error("the model: {0}")]
    Model(#[from] WorldError),
    /// Page frame numbers are hidden from this process.
    #[error("/proc/self/pagemap: found no frame numbers, want CAP_SYS_ADMIN to see them")]
    FramesHidden,
}

/// The result of looking at a machine.
pub type Result<T> = std::result::Result<T, LiveError>;

impl LiveError {
    /// Makes a failed system call on `place` an error.
    pub(crate) fn io(what: &'static str, place: &[u8]) -> impl FnOnce(io::Error) -> Self {
        let place = printable(place);
        move |cause| Self::Io { what, place, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_line_and_name_the_place() {
        let gone = || io::Error::from_raw_os_error(2);
        for (error, want) in [
            (
                LiveError::io("open", b"/a\nb")(gone()),
                "/a\\x0ab: cannot open: No such file or directory (os error 2)",
            ),
            (
                LiveError::io("map", b"/\xff\xc3\xbc")(gone()),
                "/\\xff\u{fc}: cannot map: No such file or directory (os error 2)",
            ),
        ] {
            assert_eq!(error.to_string(), want);
        }
    }
}
