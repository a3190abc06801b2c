//! A single-pass encoder for what must be cut, and a library's for what need not be: that is faster, but ends
//! where its input ends.

use crate::codec::{Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::search::scale;

/// A source of at most so many times the room, in halves, is tried as a whole where nothing is known of the
/// ratio.
const FIRST_REACH: usize = 5;
/// How many inputs a loose output is tried with before the single-pass encoder gets it.
const TRIALS: u32 = 2;
/// A loose output is expected to be full up to one part in so many: what exceeds it was encoded for nothing.
const SLACK: usize = 8;
/// The most input of a loose output, as a multiple of the room: what follows a very sparse piece is seldom as
/// sparse.
const SPARSEST: usize = 8;

/// An encoder of whole inputs.
pub(crate) trait Whole: Send {
    /// Encodes all of `src` into `dst`: the number of bytes written, or `None` when it does not fit or there
    /// is no use in trying. One call does not depend on another.
    fn encode(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize>;

    /// As [`PrefixEncoder::failure`].
    fn failure(&mut self) -> Option<EncodeError> {
        None
    }
}

/// The encoders, and the ratios of the two calls before.
pub(crate) struct Mixed<S, W> {
    single: S,
    /// For whole inputs where sizes count.
    whole: W,
    /// For outputs that need not be full, where time counts.
    loose: W,
    max_input: usize,
    last: Option<Prefix>,
    before: Option<Prefix>,
    scratch: Vec<u8>,
}

impl<S: PrefixEncoder, W: Whole> Mixed<S, W> {
    /// `single` cuts; `whole` is for whole inputs where sizes count, `loose` for those where time does. At
    /// most `max_input` bytes are consumed.
    pub(crate) fn new(single: S, whole: W, loose: W, max_input: usize) -> Self {
        Self { single, whole, loose, max_input, last: None, before: None, scratch: Vec::new() }
    }

    fn learn(&mut self, prefix: Prefix) -> Prefix {
        if prefix.consumed > 0 {
            self.before = self.last.replace(prefix);
        }
        prefix
    }

    /// How much input probably fills `target` bytes, as the call with the lower ratio says.
    fn expected(&self, target: usize) -> Option<usize> {
        let lengths = [self.last, self.before].into_iter().flatten();
        lengths.map(|known| scale(known.consumed, target, known.written)).min()
    }
}

impl<S: PrefixEncoder, W: Whole> PrefixEncoder for Mixed<S, W> {
    fn begin_segment(&mut self) {
        (self.last, self.before) = (None, None);
        self.single.begin_segment();
    }

    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        let src = &src[..src.len().min(self.max_input)];
        let reach = self.expected(dst.len()).unwrap_or(dst.len() * FIRST_REACH / 2);
        if src.len() <= reach
            && let Some(written) = self.encode_whole(src, dst)
        {
            let prefix = Prefix { consumed: src.len(), written };
            return if written < src.len() { self.learn(prefix) } else { Prefix::default() };
        }
        let prefix = self.single.encode_prefix(src, dst);
        self.learn(prefix)
    }

    fn encode_loose(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        let src = &src[..src.len().min(self.max_input)];
        if src.is_empty() {
            return Prefix::default();
        }
        let room = dst.len();
        let target = room - room / SLACK;
        let mut length = self.expected(target).unwrap_or(room * 2).clamp(1, room * SPARSEST);
        self.scratch.resize(room + room / 4, 0);
        for _ in 0..TRIALS {
            // What nearly reaches the end had better reach it.
            if length + length / 32 >= src.len() {
                length = src.len();
            }
            match self.loose.encode(&src[..length], &mut self.scratch) {
                Some(written) if written >= length => return Prefix::default(),
                Some(written) if written <= room => {
                    dst[..written].copy_from_slice(&self.scratch[..written]);
                    return self.learn(Prefix { consumed: length, written });
                }
                Some(written) => length = scale(length, target, written),
                None => length = length.min(room * 4) / 2,
            }
        }
        let prefix = self.single.encode_prefix(src, dst);
        self.learn(prefix)
    }

    fn encode_whole(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if src.is_empty() { None } else { self.whole.encode(src, dst) }
    }

    fn failure(&mut self) -> Option<EncodeError> {
        let Self { single, whole, loose, .. } = self;
        // Each forgets its own, so all are asked.
        [single.failure(), whole.failure(), loose.failure()].into_iter().flatten().next()
    }
}
