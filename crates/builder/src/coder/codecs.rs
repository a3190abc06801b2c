//! Which algorithm a file gets, with which sizes, and the encoders for it.

use erofs_encode::{EncodeError, Params};
use erofs_format::compression::{Algorithm, PCLUSTER_MAX_SIZE};

use super::pcluster::{Coder, Sizes};
use crate::error::BuildError;
use crate::option_error::{Field, OptionError};
use crate::options::{
    AlgorithmOptions, BuildOptions, CompressClass, CompressHint, CompressionOptions, FragmentOptions,
    IndexForm,
};

/// Every algorithm of an image: those of contents, then that of the metabox if it has one.
#[derive(Debug)]
pub(crate) struct Codecs {
    pub(crate) algorithms: Vec<AlgorithmOptions>,
    /// The largest pcluster that anything may have, in bytes; 0 where nothing is compressed.
    pub(crate) largest_pcluster: u32,
    /// What is asked of contents.
    pub(crate) rules: Rules,
    /// The metabox, if inodes are in one.
    pub(crate) metabox: Option<Choice>,
}

/// What is asked of compressed contents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How files are encoded that no hint concerns; without an algorithm they are stored as they are.
    pub(crate) usual: Choice,
    pub(crate) class: CompressClass,
    pub(crate) index: IndexForm,
    pub(crate) tail_packing: bool,
    pub(crate) fragments: Option<FragmentOptions>,
    pub(crate) dedupe: bool,
    pub(crate) squeeze: bool,
    /// The most bytes of content of one pcluster; 0 for as many as the format allows.
    pub(crate) max_extent: u32,
    /// The second algorithm is taken where it costs at most so many percent more.
    pub(crate) head2: Option<u8>,
}

/// How a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Choice {
    /// Index of the algorithm; `None` for a file that is stored as it is.
    pub(crate) algorithm: Option<usize>,
    /// The largest pcluster in bytes.
    pub(crate) pcluster: u32,
    /// Whether pclusters may be of the second algorithm.
    pub(crate) has_alternative: bool,
}

impl Choice {
    /// For files that are stored as they are.
    pub(crate) const PLAIN: Self = Self { algorithm: None, pcluster: 0, has_alternative: false };

    /// That of the file at a path: of the first hint that applies to it, or the usual one.
    pub(crate) fn of(hints: &[CompressHint], path: &[u8], usual: Self) -> Self {
        let hint = hints.iter().find(|hint| hint.pattern.is_match(path));
        hint.map_or(usual, |hint| Self::hinted(hint, usual))
    }

    /// That of a file to which a hint applies.
    pub(crate) fn hinted(hint: &CompressHint, usual: Self) -> Self {
        let algorithm = (hint.pcluster_size != 0).then_some(hint.algorithm);
        let asked = Self { algorithm, pcluster: hint.pcluster_size, has_alternative: false };
        // A hint that asks for what is usual changes nothing.
        if (Self { has_alternative: usual.has_alternative, ..asked }) == usual { usual } else { asked }
    }
}

impl Rules {
    /// Nothing is compressed.
    pub(crate) const PLAIN: Self = Self {
        usual: Choice::PLAIN,
        class: CompressClass::Never,
        index: IndexForm::Compact,
        tail_packing: false,
        fragments: None,
        dedupe: false,
        squeeze: false,
        max_extent: 0,
        head2: None,
    };

    fn of(compression: &CompressionOptions) -> Self {
        Self {
            usual: Choice {
                algorithm: Some(0),
                pcluster: compression.pcluster_size,
                has_alternative: compression.head2.is_some(),
            },
            class: compression.class,
            index: compression.index,
            tail_packing: compression.tail_packing,
            fragments: compression.fragments,
            dedupe: compression.dedupe,
            squeeze: compression.squeeze,
            max_extent: compression.max_extent_size,
            head2: compression.head2,
        }
    }

    /// Whether pclusters start at any byte.
    pub(crate) fn is_unaligned(&self) -> bool {
        self.index == IndexForm::Extents
    }

    /// Whether plain blocks are interlaced (`Z_EROFS_COMPRESSION_INTERLACED`). Linux reads that from 6.1 on;
    /// an older one would not see the bit that announces it and return wrong bytes. So it is done with
    /// fragments alone, which no older one mounts. References need blocks that do not depend on where in a
    /// file they are, and without blocks there is nothing to interlace.
    pub(crate) fn is_interlaced(&self) -> bool {
        self.fragments.is_some() && !self.dedupe && !self.is_unaligned()
    }

    /// Whether a file of this choice may be compressed.
    pub(crate) fn encodes(&self, choice: Choice) -> bool {
        choice.algorithm.is_some() && self.class != CompressClass::Never
    }

    /// The sizes that a file of this choice is encoded with, in blocks of `block` bytes.
    pub(crate) fn sizes(&self, choice: Choice, block: usize) -> Sizes {
        let input = match self.max_extent as usize {
            0 => erofs_encode::MAX_INPUT,
            given => given.clamp(block, erofs_encode::MAX_INPUT),
        };
        let pcluster = limit(choice.pcluster, self.is_unaligned(), block) as usize;
        // Linux 6.18 gave I/O errors where plain pieces of more than 32 KiB at any byte were referred to from
        // several places within pages.
        let long = self.is_unaligned() && !self.dedupe;
        Sizes {
            block,
            pcluster,
            input,
            unaligned: self.is_unaligned(),
            plain: if long { pcluster } else { block },
            squeeze: self.squeeze && !self.is_unaligned(),
            interlaced: self.is_interlaced(),
        }
    }
}

impl Codecs {
    /// Those that the options ask for.
    pub(crate) fn new(options: &BuildOptions) -> Self {
        let compression = options.content.compression.as_ref();
        let mut algorithms = compression.map_or_else(Vec::new, |compression| compression.algorithms.clone());
        let mut largest_pcluster = compression.map_or(0, CompressionOptions::largest_pcluster);
        let metabox = options.layout.metabox.map(|metabox| {
            let algorithm = metabox.algorithm.map(|algorithm| {
                algorithms.push(algorithm);
                largest_pcluster = largest_pcluster.max(metabox.pcluster_size);
                algorithms.len() - 1
            });
            Choice { algorithm, pcluster: metabox.pcluster_size, has_alternative: false }
        });
        Self { algorithms, largest_pcluster, rules: compression.map_or(Rules::PLAIN, Rules::of), metabox }
    }

    /// The algorithm of a choice on disk.
    pub(crate) fn algorithm(&self, choice: Choice) -> Algorithm {
        let chosen = choice.algorithm.and_then(|index| self.algorithms.get(index));
        chosen.and_then(|chosen| Algorithm::from_number(chosen.algorithm.number)).unwrap_or(Algorithm::Lz4)
    }

    /// The parameters of the algorithm with this index for pclusters of these sizes.
    pub(crate) fn params(&self, algorithm: usize, sizes: Sizes) -> Option<Params> {
        let chosen = self.algorithms.get(algorithm)?;
        // One configuration in the superblock holds for all files of an algorithm, so the dictionary must not
        // follow the pcluster size of a hint.
        let fresh = Params::new(chosen.algorithm, self.largest_pcluster as usize);
        Some(Params {
            level: chosen.level,
            dict_size: chosen.dict_size.unwrap_or(fresh.dict_size),
            max_input: sizes.input,
            lzma: chosen.lzma,
            ..fresh
        })
    }

    /// The encoders of a choice.
    pub(crate) fn coder(&self, rules: &Rules, choice: Choice, block: usize) -> Result<Coder, BuildError> {
        let sizes = rules.sizes(choice, block);
        let params = |algorithm: usize| {
            self.params(algorithm, sizes)
                .ok_or_else(|| BuildError::Internal("an algorithm has no row".into()))
        };
        let coder =
            Coder::new(&params(choice.algorithm.unwrap_or(0))?, sizes).map_err(|cause| refused(&cause))?;
        match rules.head2.filter(|_| choice.has_alternative) {
            Some(percent) => coder.with_alternative(&params(1)?, percent).map_err(|cause| refused(&cause)),
            None => Ok(coder),
        }
    }

    /// How many bytes the encoders of one worker take at most, for these choices.
    pub(crate) fn memory(&self, rules: &Rules, choices: impl Iterator<Item = Choice>, block: usize) -> u64 {
        let of = |choice: Choice| {
            let sizes = rules.sizes(choice, block);
            let second = choice.has_alternative.then_some(1);
            let one = |algorithm| {
                self.params(algorithm, sizes).map_or(0, |params| {
                    let stronger = if sizes.squeeze { 2 } else { 1 };
                    erofs_encode::memory(&params) as u64 * stronger
                })
            };
            choice.algorithm.into_iter().chain(second).map(one).sum::<u64>()
        };
        choices.map(of).sum()
    }
}

/// The error for an encoder that cannot be made.
pub(crate) fn refused(cause: &EncodeError) -> BuildError {
    let what = cause.to_string();
    if matches!(cause, EncodeError::Memory { .. }) {
        BuildError::Memory { what }
    } else {
        BuildError::Options(OptionError { field: Field::Encoder, rule: what })
    }
}

/// The largest pcluster in bytes where `wanted` was asked for. One that starts anywhere touches a block more
/// than its length says, and Linux has room for 1 MiB of blocks.
pub(crate) fn limit(wanted: u32, unaligned: bool, block: usize) -> u32 {
    let block = u32::try_from(block).unwrap_or(u32::MAX);
    if unaligned { wanted.min(PCLUSTER_MAX_SIZE - block) } else { wanted }
}
