//! What signals do to both programs. Limits of the system that would end a program by a signal become an
//! error with one line and an exit code; a signal that ends the program removes temporary files first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGABRT, SIGXFSZ};
use signal_hook::flag;

/// Prepares a program: called once, before anything else. `failed` is its exit code when its work fails.
///
/// - A write past the limit on file sizes (`RLIMIT_FSIZE`) fails with `EFBIG`, so that the error names the
///   file. Without a handler, `SIGXFSZ` ends the program.
/// - Where a small piece of memory cannot be had (`RLIMIT_AS`), the standard library says how many bytes were
///   wanted, and aborts. The program ends with `failed` then, and without a core dump. After a panic an abort
///   stays what it is, because it is a defect of the program.
///
/// - SIGINT, SIGTERM and SIGHUP remove temporary files before they end the program.
///
/// # Errors
/// When the system takes no handler.
pub fn prepare(failed: u8) -> io::Result<()> {
    erofs_builder::output::take_back_on_signals();
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let orderly = Arc::new(AtomicBool::new(true));
    flag::register_conditional_shutdown(SIGABRT, failed.into(), Arc::clone(&orderly))?;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        orderly.store(false, Ordering::Relaxed);
        hook(panic);
    }));
    Ok(())
}
