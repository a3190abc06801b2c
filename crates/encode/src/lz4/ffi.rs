//! The functions of liblz4 that fill an output, behind bounds that are checked.
//!
//! `lz4-sys` compiles them in and does not declare them, so they are declared here, as `lz4.h` and `lz4hc.h`
//! of liblz4
//! 1.10.0 have them.

#![expect(unsafe_code, reason = "liblz4's functions of fixed output size have no safe binding")]

use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;

// The import links the library; its own declarations are not enough.
use lz4_sys as _;

unsafe extern "C" {
    #[cfg(test)]
    fn LZ4_compress_destSize(
        src: *const c_char,
        dst: *mut c_char,
        src_size: *mut c_int,
        dst_size: c_int,
    ) -> c_int;
    fn LZ4_createStreamHC() -> *mut c_void;
    fn LZ4_freeStreamHC(stream: *mut c_void) -> c_int;
    fn LZ4_resetStreamHC_fast(stream: *mut c_void, level: c_int);
    fn LZ4_compress_HC_continue_destSize(
        stream: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_size: *mut c_int,
        dst_size: c_int,
    ) -> c_int;
}

/// `LZ4_MAX_INPUT_SIZE`: the most that liblz4 takes in one call.
const MAX_INPUT: usize = 0x7E00_0000;

/// Lengths as liblz4 takes them: what is longer than it can hold is cut, which only makes the prefix shorter.
fn lengths(src: &[u8], dst: &[u8]) -> (c_int, c_int) {
    let clip = |len: usize| c_int::try_from(len.min(MAX_INPUT)).unwrap_or(0);
    (clip(src.len()), clip(dst.len()))
}

/// What liblz4 reported, compared with what it was given.
fn checked(src: &[u8], dst: &[u8], consumed: c_int, written: c_int) -> (usize, usize) {
    let consumed = usize::try_from(consumed).unwrap_or(0);
    let written = usize::try_from(written).unwrap_or(0);
    if written == 0 || consumed > src.len() || written > dst.len() { (0, 0) } else { (consumed, written) }
}

/// Encodes a prefix of `src` into `dst` with the fast encoder: bytes consumed and written, both 0 when
/// nothing fits. What our own encoder is compared with.
#[cfg(test)]
pub(super) fn compress_fast(src: &[u8], dst: &mut [u8]) -> (usize, usize) {
    let (mut consumed, room) = lengths(src, dst);
    if consumed == 0 || room == 0 {
        return (0, 0);
    }
    // SAFETY: `src` is readable for `consumed` bytes and `dst` writable for `room` bytes, as `lengths` took
    // both from the slices; liblz4 keeps no pointer after it returns and its tables lie on its own stack (16
    // KiB).
    let written = unsafe {
        LZ4_compress_destSize(src.as_ptr().cast(), dst.as_mut_ptr().cast(), &raw mut consumed, room)
    };
    checked(src, dst, consumed, written)
}

/// The tables of the thorough encoder: 256 KiB, cleared once and not for every call.
#[derive(Debug)]
pub(super) struct HighStream(NonNull<c_void>);

// SAFETY: the stream is memory that only its owner can reach; liblz4 keeps nothing per thread.
unsafe impl Send for HighStream {}

impl HighStream {
    /// A new stream; `None` when there is no memory.
    pub(super) fn new() -> Option<Self> {
        // SAFETY: takes nothing, and gives a stream to be freed by `LZ4_freeStreamHC`, or null.
        NonNull::new(unsafe { LZ4_createStreamHC() }).map(Self)
    }

    /// Encodes a prefix of `src` into `dst` at `level`: bytes consumed and written, both 0 when nothing fits.
    ///
    /// What the tables hold from earlier calls lies more than 64 KiB before `src` in liblz4's counting, out
    /// of the reach of a match, so the bytes are those of a cleared stream.
    pub(super) fn compress(&mut self, src: &[u8], dst: &mut [u8], level: c_int) -> (usize, usize) {
        let (mut consumed, room) = lengths(src, dst);
        if consumed == 0 || room == 0 {
            return (0, 0);
        }
        // SAFETY: the stream is alive and unshared; the reset drops its pointers to the source of the call
        // before, which may be gone. `src` is readable for `consumed` bytes and `dst` writable for `room`
        // bytes, as `lengths` took both from the slices.
        let written = unsafe {
            LZ4_resetStreamHC_fast(self.0.as_ptr(), level);
            LZ4_compress_HC_continue_destSize(
                self.0.as_ptr(),
                src.as_ptr().cast(),
                dst.as_mut_ptr().cast(),
                &raw mut consumed,
                room,
            )
        };
        checked(src, dst, consumed, written)
    }
}

impl Drop for HighStream {
    fn drop(&mut self) {
        // SAFETY: made by `LZ4_createStreamHC`, freed once. The result is always 0.
        let _always_zero = unsafe { LZ4_freeStreamHC(self.0.as_ptr()) };
    }
}
