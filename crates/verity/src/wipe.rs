//! What work with a secret leaves in memory that nobody wipes: frames of functions that have returned, and
//! numbers that the crates behind RSA free as they are.

use zeroize::Zeroize as _;

/// Bytes of the stack that are wiped: more than reading a key and signing with it take.
const DEPTH: usize = 256 << 10;
/// Freed memory is taken and cleared in pieces of these lengths, as many of each, longest first: an allocator
/// cuts what is longer. Shorter ones than [`EXACT`] are kept apart by their length in units of [`UNIT`] bytes
/// (the caches of glibc's threads).
const PIECES: [(usize, usize); 3] = [(64 << 10, 64), (8 << 10, 128), (2 << 10, 256)];
const EXACT: usize = 1056;
const UNIT: usize = 16;
const OF_EACH_UNIT: usize = 64;

/// Does work with a secret, and wipes what it leaves behind. What the work returns may be the secret, in
/// memory of its own.
pub(crate) fn behind<R>(work: impl FnOnce() -> R) -> R {
    let result = apart(work);
    wipe_stack();
    wipe_freed();
    result
}

/// The frames of the work begin where that of [`wipe_stack`] will, because neither is part of another
/// function.
#[inline(never)]
fn apart<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "it is the stack that is to be overwritten")]
fn wipe_stack() {
    let mut stack = [0_u8; DEPTH];
    stack.zeroize();
    std::hint::black_box(&stack);
}

/// Takes all freed memory, about 10 MiB, and clears it. Nothing forces an allocator to give it, but glibc and
/// musl do, before they ask the system for more.
fn wipe_freed() {
    let exact = (1..=EXACT / UNIT).rev().map(|units| (units * UNIT, OF_EACH_UNIT));
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for (length, count) in PIECES.into_iter().chain(exact) {
        for _ in 0..count {
            let mut piece: Vec<u8> = Vec::new();
            // Without memory for a piece, there is none that is free.
            if piece.try_reserve_exact(length).is_ok() {
                piece.extend(std::iter::repeat_n(0, length));
                taken.push(piece);
            }
        }
    }
    std::hint::black_box(&taken);
}
