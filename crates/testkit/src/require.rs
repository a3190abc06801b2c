//! What a check needs and a machine may lack: root, a kernel with EROFS, the peer tools, a large tree.
//!
//! A check whose needs are absent cannot be made. It is never passed over in silence: [`need`] names it on
//! stderr, past the test harness's capture, and appends it to the file named by `EROFS_ABSENT_LIST`, which
//! `tools/test.sh` prints at the end. With `EROFS_INTEROP=require` an absence is a failure of the test
//! instead.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

/// The environment variable that turns an absence into a failure when its value is `require`.
pub const INTEROP: &str = "EROFS_INTEROP";

/// The environment variable with the path of the file that collects the checks that could not be made.
pub const ABSENT_LIST: &str = "EROFS_ABSENT_LIST";

/// Why something that a check needs is not there, in one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{0}")]
pub struct Absent(pub String);

impl Absent {
    /// An absence with this reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Whether the absence of something that a check needs is a failure.
pub fn is_required() -> bool {
    std::env::var_os(INTEROP).is_some_and(|value| value == "require")
}

/// What `check` needs, or `None` when the machine lacks it; the test then returns.
///
/// # Panics
/// When it is absent and [`INTEROP`] says `require`.
pub fn need<T>(check: &str, found: Result<T, Absent>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(absent) => {
            report(check, &absent);
            assert!(!is_required(), "{check}: {absent}, and {INTEROP}=require wants it");
            None
        }
    }
}

/// Names a check that could not be made, on stderr and in the list.
fn report(check: &str, absent: &Absent) {
    let line = format!("SKIPPED {check} (absent: {absent})\n");
    // Writing to the stream itself passes the capture of the test harness, which takes only the printing
    // macros.
    drop(std::io::stderr().write_all(line.as_bytes()));
    if let Some(list) = std::env::var_os(ABSENT_LIST)
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(list)
    {
        drop(file.write_all(line.as_bytes()));
    }
}

/// Root, which mounting, device nodes, owners and most extended attributes need.
///
/// # Errors
/// When the tests run as another user.
pub fn root() -> Result<(), Absent> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(Absent::because("the tests do not run as root"))
    }
}

/// A program that the search path has.
///
/// # Errors
/// When it has not.
pub fn program(name: &str) -> Result<PathBuf, Absent> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| Absent::because(format!("the program {name} is not installed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_handed_on() {
        assert_eq!(need("a check", Ok(7)), Some(7));
    }

    #[test]
    fn reasons_print_as_they_are() {
        assert_eq!(Absent::because("no loop devices").to_string(), "no loop devices");
        let missing = program("no such program").unwrap_err().to_string();
        assert_eq!(missing, "the program no such program is not installed");
    }
}
