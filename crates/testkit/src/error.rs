//! What can go wrong while a test prepares or looks at something.

use std::io;
use std::path::{Path, PathBuf};

/// The result of the helpers in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the machinery of a test, as opposed to a difference that the test is looking for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was being done, a verb such as `read`.
        what: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program}: {outcome}: {output}")]
    Command {
        /// The program and its arguments.
        program: String,
        /// The exit status, or why it could not start.
        outcome: String,
        /// The last lines that it wrote, in one line.
        output: String,
    },
}

/// Adds what was being done and where to the error of a system call.
pub(crate) trait At<T> {
    /// Turns the error into [`Error::Io`] with this verb and path.
    fn at(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::Io { what, path: path.to_path_buf(), source: error.into() })
    }
}
