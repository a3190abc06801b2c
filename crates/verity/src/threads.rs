//! How the data is divided among threads.

/// Bytes that a thread reads at once.
pub(crate) const PIECE: usize = 512 << 10;
/// Level-0 blocks that are worked on before their results are put in order. With blocks of 4096 bytes that is
/// 32 MiB of data, and the results take 260 KiB.
pub(crate) const BATCH: usize = 64;
