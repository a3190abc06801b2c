//! The threads of one piece of work.

use crate::error::VerityError;

/// Bytes that a thread reads at once.
pub(crate) const PIECE: usize = 512 << 10;
/// Level-0 blocks that are worked on before their results are put in order. With blocks of 4096 bytes that is 32 MiB of
/// data, and the results take 260 KiB.
pub(crate) const BATCH: usize = 64;

/// A pool of this many threads; 0 is one per processor.
pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, VerityError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|_| "verity".into());
    pool.build().map_err(|error| VerityError::Threads(error.to_string()))
}
