//! Where things are: the workspace, its target directory, and scratch space of two kinds.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{At as _, Result};

/// The root of the workspace, the folder that holds `tools/` and `testdata/`.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The target directory of the workspace: `CARGO_TARGET_DIR`, or `target` in the root.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// Scratch space for source trees: in memory where the machine has `/dev/shm`, because that file system takes
/// extended attributes of every namespace up to the kernel's limits, which disk file systems often do not.
///
/// # Errors
/// When no directory can be made there.
pub fn scratch() -> Result<TempDir> {
    let shm = Path::new("/dev/shm");
    if shm.is_dir()
        && let Ok(dir) = tempfile::Builder::new().prefix("erofs-test-").tempdir_in(shm)
    {
        return Ok(dir);
    }
    let base = std::env::temp_dir();
    tempfile::Builder::new().prefix("erofs-test-").tempdir_in(&base).at("make a directory in", &base)
}

/// Scratch space for images: in the target directory, because the kernel mounts a regular file directly only
/// from a file system that reads through the page cache, which tmpfs does not.
///
/// # Errors
/// When no directory can be made there.
pub fn disk_scratch() -> Result<TempDir> {
    let base = target_dir().join("tmp");
    std::fs::create_dir_all(&base).at("make", &base)?;
    tempfile::Builder::new().prefix("erofs-test-").tempdir_in(&base).at("make a directory in", &base)
}
