//! Large real trees, fetched once to `target/corpora` by the scripts of `tools/`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::peers::run;
use crate::place;
use crate::require::{Absent, root};

/// A Debian root file system of about 13,000 paths and 340 MB, unpacked from packages with their owners and
/// modes. Taken from the directory in `EROFS_DEBIAN_ROOT` if that is set.
///
/// # Errors
/// When it is not there and cannot be fetched, or when the tests do not run as root.
pub fn debian_root() -> Result<PathBuf, Absent> {
    static ROOT: OnceLock<Result<PathBuf, Absent>> = OnceLock::new();
    ROOT.get_or_init(|| {
        if let Some(dir) = std::env::var_os("EROFS_DEBIAN_ROOT") {
            return Ok(PathBuf::from(dir));
        }
        root()?;
        let dir = place::target_dir().join("corpora/debian-root");
        run(Command::new(place::workspace().join("tools/debian-root.sh")).arg(&dir))
            .map_err(|error| Absent::because(error.to_string()))?;
        Ok(dir)
    })
    .clone()
}
