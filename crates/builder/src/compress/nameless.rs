//! The content of the metabox, or of a packed inode with directories, stored like that of a file.

use erofs_tree::{ContentRef, Silent};

use super::area::ByteArea;
use super::body::Body;
use super::commit::Commit;
use super::spool::Spool;
use super::work::{Choice, Phase};
use super::{Fragments, SEGMENT_SIZE, force, pool};
use crate::content::{File, Units};
use crate::error::BuildError;
use crate::options::{CompressClass, CompressionOptions};
use crate::pour::Pouring;

/// What is known of such an inode once its content is stored.
#[derive(Debug)]
pub(crate) struct StoredSpecial {
    /// Length of its content in bytes.
    pub(crate) size: u64,
    /// What its inode needs.
    pub(crate) body: Body,
    /// Where the body's bytes are.
    pub(crate) spool: Spool,
    /// First byte behind its content.
    pub(crate) end: u64,
    /// Bytes that are to be zeros and were not written: first one and length.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Stands for its content.
    pub(crate) key: u128,
    /// Whether any of its pclusters is larger than a block.
    pub(crate) big_pclusters: bool,
    /// Whether its index has heads of two algorithms.
    pub(crate) two_heads: bool,
}

/// Which inode it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// The metabox.
    Metabox,
    /// The packed inode.
    Packed,
}

/// Encodes the content of an inode without a name and stores it from byte `at` of the image on.
pub(crate) fn store(
    pouring: &Pouring<'_>,
    special: Special,
    content: Spool,
    at: u64,
) -> Result<StoredSpecial, BuildError> {
    let Pouring { plan, image, compressions, .. } = *pouring;
    let choice = match (special, pouring.options.layout.metabox) {
        // Its own algorithm is the last one.
        (Special::Metabox, Some(options)) => Choice {
            algorithm: options.algorithm.and(compressions.algorithms.len().checked_sub(1)),
            pcluster: options.pcluster_size,
            has_alternative: false,
        },
        (Special::Metabox, None) => return Err(BuildError::Internal("a metabox without options".into())),
        (Special::Packed, _) => {
            let own = compressions.fragments.map(|fragments| fragments.pcluster_size);
            Choice::usual(compressions, own.unwrap_or(compressions.pcluster_size))
        }
    };
    let size = content.len();
    let files = [File { inode: plan.tree.root, size, content: ContentRef(0), has_twin: false }];
    let input = Fragments(content);
    // Which files are compressed says nothing about metadata.
    let compressions = &CompressionOptions { class: CompressClass::Auto, ..compressions.clone() };
    let phase = Phase {
        input: &input,
        files: &files,
        choices: &[choice],
        compression: compressions,
        fingerprint: None,
        file_dedupe: false,
        block: plan.block_bits.bytes(),
        hole_bits: None,
        is_packed: true,
        recipes: None,
    };
    let area = ByteArea::new(at, plan.block_bits, 1, phase.is_tight());
    let spool = Spool::new(image.scratch());
    let commit = Commit::new(phase, plan, area, spool, None, crate::summary::Sums::default());
    let units = Units::with_segments(&files, SEGMENT_SIZE);
    let force = force(crate::threads(pouring.options), phase);
    let mut commit = pool::run(phase, units, commit, image, force, &Silent)?;
    let body = commit.bodies.pop().flatten();
    Ok(StoredSpecial {
        size,
        body: body.ok_or_else(|| BuildError::Internal("no inode without a name".into()))?,
        key: commit.key(),
        spool: commit.spool,
        end: commit.area.next(),
        gaps: commit.area.into_gaps(),
        big_pclusters: commit.sums.compression.big_pclusters,
        two_heads: commit.sums.compression.two_heads,
    })
}
