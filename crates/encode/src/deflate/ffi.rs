//! libdeflate's encoder of raw streams, behind bounds that are checked. It takes all of its memory when it is
//! made.

#![expect(unsafe_code, reason = "the safe binding of libdeflate panics where there is no memory")]

use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_compressor, libdeflate_compressor, libdeflate_deflate_compress,
    libdeflate_free_compressor,
};

/// An encoder of one level, whose memory is used again and again: one call does not depend on another.
#[derive(Debug)]
pub(super) struct Compressor(NonNull<libdeflate_compressor>);

// SAFETY: the encoder is memory that only its owner can reach; libdeflate keeps nothing per thread.
unsafe impl Send for Compressor {}

impl Compressor {
    /// An encoder of a level from 0 to 12; `None` when there is no memory, or no such level.
    pub(super) fn new(level: i32) -> Option<Self> {
        // SAFETY: takes a number, and gives an encoder to be freed by `libdeflate_free_compressor`, or null.
        NonNull::new(unsafe { libdeflate_alloc_compressor(level) }).map(Self)
    }

    /// Encodes all of `src` into `dst` as a raw stream: the number of bytes written, or `None` when it does
    /// not fit.
    pub(super) fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        // SAFETY: the encoder is alive and unshared; `src` is readable and `dst` writable for their lengths,
        // and libdeflate keeps no pointer after it returns.
        let written = unsafe {
            libdeflate_deflate_compress(
                self.0.as_ptr(),
                src.as_ptr().cast(),
                src.len(),
                dst.as_mut_ptr().cast(),
                dst.len(),
            )
        };
        (written != 0).then_some(written)
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        // SAFETY: made by `libdeflate_alloc_compressor`, freed once.
        unsafe { libdeflate_free_compressor(self.0.as_ptr()) };
    }
}
