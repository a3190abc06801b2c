//! liblzma's `MicroLZMA` encoder, behind bounds that are checked.

#![expect(unsafe_code, reason = "liblzma's MicroLZMA encoder has no safe binding; nothing else here calls C")]

use liblzma_sys::{
    LZMA_BUF_ERROR, LZMA_FINISH, LZMA_OK, LZMA_PRESET_EXTREME, LZMA_PROG_ERROR, LZMA_STREAM_END, lzma_code,
    lzma_end, lzma_lzma_preset, lzma_microlzma_encoder, lzma_options_lzma, lzma_ret, lzma_stream,
};

/// What liblzma encodes with. It has no dictionary of the caller's, so every pointer in it is null.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options(lzma_options_lzma);

// SAFETY: the pointers in it are null, so nothing is shared through them.
unsafe impl Send for Options {}

impl Options {
    /// The options of `preset` (0 to 9) of `xz`, with more effort where it is `extreme`, for a window of
    /// `dict_size` bytes. `None` when liblzma has no such preset.
    pub(super) fn new(preset: u32, extreme: bool, dict_size: u32) -> Option<Self> {
        let flags = if extreme { LZMA_PRESET_EXTREME } else { 0 };
        // SAFETY: all zeros is a value of this structure of integers and pointers, and liblzma fills it.
        let mut options: lzma_options_lzma = unsafe { std::mem::zeroed() };
        // SAFETY: `options` is writable, and liblzma keeps no pointer to it. The answer is true for an
        // unknown preset.
        if unsafe { lzma_lzma_preset(&raw mut options, preset | flags) } != 0 {
            return None;
        }
        options.dict_size = dict_size;
        Some(Self(options))
    }

    /// The length of a match that ends the search, in bytes.
    pub(super) fn nice_len(&self) -> u32 {
        self.0.nice_len
    }

    /// How many candidates are looked at; 0 for a number that follows from the match length.
    pub(super) fn depth(&self) -> u32 {
        self.0.depth
    }

    /// Sets that length.
    pub(super) fn set_nice_len(&mut self, nice_len: u32) {
        self.0.nice_len = nice_len;
    }

    /// Sets the literal context bits, the literal position bits and the position bits that are given.
    ///
    /// # Errors
    /// What they would be, where liblzma and Linux do not take them.
    pub(super) fn set_bits(
        &mut self,
        lc: Option<u8>,
        lp: Option<u8>,
        pb: Option<u8>,
    ) -> Result<(), [u32; 3]> {
        let options = &mut self.0;
        options.lc = lc.map_or(options.lc, u32::from);
        options.lp = lp.map_or(options.lp, u32::from);
        options.pb = pb.map_or(options.pb, u32::from);
        let is_right = options.lc + options.lp <= 4 && options.pb <= 4;
        if is_right { Ok(()) } else { Err([options.lc, options.lp, options.pb]) }
    }

    /// The same for bytes whose place does not matter.
    pub(super) fn for_text(mut self) -> Self {
        self.0.pb = 0;
        self
    }
}

/// An encoder whose memory is used again and again.
pub(super) struct MicroStream(lzma_stream);

// SAFETY: liblzma's memory behind it can be reached by its owner only; liblzma keeps nothing per thread.
// Between two calls the pointers to input and output are not used.
unsafe impl Send for MicroStream {}

impl MicroStream {
    /// An encoder without memory yet.
    pub(super) fn new() -> Self {
        // SAFETY: all zeros is what liblzma's `LZMA_STREAM_INIT` means.
        Self(unsafe { std::mem::zeroed() })
    }

    /// Encodes a prefix of `src` that fills `dst`: bytes consumed and written, both 0 when nothing fits.
    ///
    /// # Errors
    ///
    /// What liblzma says when it has no memory or refuses the options.
    pub(super) fn compress(
        &mut self,
        src: &[u8],
        dst: &mut [u8],
        options: &Options,
    ) -> Result<(usize, usize), lzma_ret> {
        let stream = &mut self.0;
        // SAFETY: the stream is zeroed or was given to liblzma before, and the options are alive while
        // liblzma reads them; it copies what it needs.
        let answer = unsafe { lzma_microlzma_encoder(stream, &raw const options.0) };
        if answer != LZMA_OK {
            return Err(answer);
        }
        (stream.next_in, stream.avail_in) = (src.as_ptr(), src.len());
        (stream.next_out, stream.avail_out) = (dst.as_mut_ptr(), dst.len());
        // SAFETY: `next_in` is readable for `avail_in` bytes and `next_out` writable for `avail_out` bytes,
        // as both are taken from slices that outlive the call.
        let answer = unsafe { lzma_code(stream, LZMA_FINISH) };
        let (consumed, written) = (src.len() - stream.avail_in, dst.len() - stream.avail_out);
        match answer {
            LZMA_STREAM_END => Ok((consumed, written)),
            // The output is too short for any input.
            LZMA_OK | LZMA_BUF_ERROR | LZMA_PROG_ERROR => Ok((0, 0)),
            answer => Err(answer),
        }
    }
}

impl Drop for MicroStream {
    fn drop(&mut self) {
        // SAFETY: the stream is zeroed or liblzma's; it is not used again.
        unsafe { lzma_end(&raw mut self.0) };
    }
}
