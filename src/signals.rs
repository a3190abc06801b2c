//! What signals do to both programs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Makes a write past the limit on file sizes an error of that write, which names the file, instead of the
/// end of the program; and makes SIGINT, SIGTERM and SIGHUP remove temporary files before they end it.
///
/// # Errors
/// When SIGXFSZ cannot be caught.
pub fn prepare() -> std::io::Result<()> {
    erofs_build::output::take_back_on_signals();
    let seen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, seen).map(drop)
}
