//! What an encoder has to offer, what an algorithm says of itself, and what an encoder is made from.

use crate::error::EncodeError;

/// The most input that one pcluster or extent may hold, in bytes: below Linux's `Z_EROFS_PCLUSTER_MAX_DSIZE`
/// (12 MiB).
pub const MAX_INPUT: usize = 8 << 20;

/// What one call achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix {
    /// How many bytes of the source were encoded, from its beginning; 0 when nothing useful fits.
    pub consumed: usize,
    /// How many bytes of the destination were written, from its beginning.
    pub written: usize,
}

/// An encoder that fills an output of a fixed size with as much of the input's beginning as fits.
///
/// The encoded bytes are one complete stream for Linux's decoder: an LZ4 block, a `MicroLZMA` stream, a raw
/// DEFLATE stream or a zstd frame. They depend on the parameters, on `src` and on `dst.len()`, and on nothing
/// else but the calls since the last [`PrefixEncoder::begin_segment`].
pub trait PrefixEncoder: Send {
    /// Forgets what earlier calls taught (a guess at the ratio, say). Call it where a unit of work begins, so
    /// that the bytes do not depend on which unit this encoder had before.
    fn begin_segment(&mut self) {}

    /// Encodes the longest prefix of `src` that it can find whose encoding has at most `dst.len()` bytes.
    ///
    /// At most [`Params::max_input`] bytes are consumed. `consumed` is 0 when nothing useful fits: the caller
    /// stores plain bytes. The bytes of `dst` behind `written` are of no meaning.
    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix;

    /// Encodes some prefix of `src` into at most `dst.len()` bytes, as fast as this encoder can: for outputs
    /// that need not be filled. What is left of `dst` may be much, where filling it would take longer. The
    /// rest is as for [`PrefixEncoder::encode_prefix`].
    fn encode_loose(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        self.encode_prefix(src, dst)
    }

    /// Encodes exactly `src`, in the best way that the level knows; the number of bytes written, or `None`
    /// when `dst` is too short for it.
    fn encode_whole(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let prefix = self.encode_prefix(src, dst);
        (prefix.consumed == src.len() && prefix.consumed > 0).then_some(prefix.written)
    }

    /// What a library failed with since this was asked last, such as want of memory. The answers of the calls
    /// since then must not be used: what did not fit might have fit, and the bytes would depend on the
    /// machine.
    fn failure(&mut self) -> Option<EncodeError> {
        None
    }
}

/// What makes an encoder.
pub(crate) type Open = fn(&Params) -> Result<Box<dyn PrefixEncoder>, EncodeError>;
/// What makes a stronger one, if there is one.
pub(crate) type OpenStronger = fn(&Params) -> Result<Option<Box<dyn PrefixEncoder>>, EncodeError>;

/// The dictionary (window) of an algorithm.
#[derive(Clone, Copy)]
pub struct Dictionary {
    /// Smallest size in bytes.
    pub min: u32,
    /// Largest size in bytes: `Z_EROFS_*_MAX_DICT_SIZE` of Linux.
    pub max: u32,
    /// Whether the size must be a power of two.
    pub power_of_two: bool,
    /// The size for pclusters of at most so many bytes, when the user names none.
    pub default: fn(max_output: usize) -> u32,
    /// The sizes in words, for help and errors.
    pub help: &'static str,
}

/// One algorithm as the command line names it.
#[derive(Clone, Copy)]
pub struct Algorithm {
    /// The name in `-z NAME`.
    pub name: &'static str,
    /// The number on disk: `Z_EROFS_COMPRESSION_*`.
    pub number: u8,
    /// Whether a level is one that the algorithm has.
    pub has_level: fn(i32) -> bool,
    /// The levels in words, for help and errors.
    pub levels: &'static str,
    /// The level when the user names none.
    pub default_level: i32,
    /// The dictionary, where there is a choice.
    pub dictionary: Option<Dictionary>,
    /// The first Linux that reads it: version and patch level.
    pub first_kernel: (u8, u8),
    /// One line for `-z help`.
    pub help: &'static str,
    pub(crate) open: Open,
    pub(crate) open_stronger: OpenStronger,
    /// About how many bytes of memory an encoder takes, at most.
    pub(crate) memory: fn(&Params) -> usize,
}

impl std::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Algorithm({})", self.name)
    }
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dictionary({})", self.help)
    }
}

/// The bits of LZMA's properties byte; `None` for what the level and the content suggest. Linux and liblzma
/// take `lc + lp` up to 4 and `pb` up to 4 (`lzma_props` in `xz_dec_lzma2.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LzmaBits {
    /// Literal context bits.
    pub lc: Option<u8>,
    /// Literal position bits.
    pub lp: Option<u8>,
    /// Position bits.
    pub pb: Option<u8>,
}

/// What an encoder is made from.
#[derive(Debug, Clone, Copy)]
pub struct Params {
    /// The row of the table.
    pub algorithm: &'static Algorithm,
    /// Effort, within [`Algorithm::levels`].
    pub level: i32,
    /// How far back a match may lie, in bytes, as the image's configuration declares it; for LZ4 the maximum
    /// distance.
    pub dict_size: u32,
    /// The largest `dst` of a call in bytes: the size of a pcluster, 4 KiB to 1 MiB.
    pub max_output: usize,
    /// The most input that one call may consume, in bytes, up to [`MAX_INPUT`].
    pub max_input: usize,
    /// What only LZMA has.
    pub lzma: LzmaBits,
}

impl Params {
    /// The parameters of `algorithm` for pclusters of at most `max_output` bytes: its default level and
    /// dictionary.
    pub fn new(algorithm: &'static Algorithm, max_output: usize) -> Self {
        let dict_size = algorithm.dictionary.map_or(0, |dictionary| (dictionary.default)(max_output));
        Self {
            algorithm,
            level: algorithm.default_level,
            dict_size,
            max_output,
            max_input: MAX_INPUT,
            lzma: LzmaBits::default(),
        }
    }
}
