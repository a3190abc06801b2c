//! What each file's inode needs, put together in the order of the plan once all places are known.

use erofs_algo::fingerprint::FingerprintKind;
use erofs_format::Nid;
use erofs_format::datalayout::DataLayout;
use erofs_image::{FileData, Image};
use erofs_tree::{InodeId, Progress};
use xxhash_rust::xxh3::Xxh3;

use super::fingerprint::{self, File};
use super::refer::{Place, Referral, Referrals};
use crate::compress::{Body, Outcome, Spool};
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::layout::compose::{HOLE, block_32};
use crate::layout::plan::Plan;
use crate::options::{FingerprintOptions, FingerprintValue};
use crate::summary::Sums;

/// Everything that is known when places are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) original: &'a Image,
    pub(super) nids: &'a [Nid],
    pub(super) referrals: &'a Referrals,
    /// The block of the unified address space at which the original starts.
    pub(super) start: u32,
}

impl Work<'_> {
    /// Computes fingerprints, writes the blocks that the companion has of its own, and gathers what inodes need.
    pub(super) fn run(
        &self,
        image: &ImageFile,
        fingerprint: Option<&FingerprintOptions>,
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<Outcome, BuildError> {
        let list = &self.referrals.list;
        let order: Vec<InodeId> =
            self.plan.order.iter().copied().filter(|id| list[id.index()].is_some()).collect();
        let values = match fingerprint.map(|wanted| wanted.value) {
            Some(FingerprintValue::Computed { kind, namespace }) => {
                self.fingerprints(&order, kind, namespace, threads, progress)?
            }
            Some(FingerprintValue::Source) | None => vec![Vec::new(); order.len()],
        };
        let mut outcome = Outcome {
            bodies: vec![None; list.len()],
            spool: Spool::new(image.folder()),
            packed: None,
            unpacked: None,
            end: self.referrals.end,
            gaps: Vec::new(),
            key: 0,
            sums: Sums::default(),
        };
        let mut hash = Xxh3::new();
        hash.update(&self.original.superblock().uuid);
        hash.update(&self.start.to_le_bytes());
        for (&id, value) in order.iter().zip(&values) {
            let Some(referral) = &list[id.index()] else { continue };
            let data = self.original.data(&self.original.inode(self.nids[id.index()])?)?;
            let (bytes, body) = self.body(referral, value, &data, &mut outcome.sums, image)?;
            hash.update(&body.i_u.to_le_bytes());
            hash.update(&bytes);
            let at = outcome.spool.push(&bytes).map_err(BuildError::spool)?;
            outcome.bodies[id.index()] = Some(Body { at, ..body });
            outcome.sums.fingerprints += u64::from(!value.is_empty());
        }
        outcome.key = hash.digest128();
        Ok(outcome)
    }

    fn fingerprints(
        &self,
        order: &[InodeId],
        kind: FingerprintKind,
        namespace: uuid::Uuid,
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<u8>>, BuildError> {
        let files = order.iter().map(|id| {
            let size = self.plan.size_of(&self.plan.tree.inodes[id.index()]);
            File { nid: self.nids[id.index()], size }
        });
        fingerprint::all(self.original, &files.collect::<Vec<_>>(), kind, namespace, threads, progress)
    }

    /// The bytes of a body: fingerprint, table, tail. Its place in the spool is still to be told.
    fn body(
        &self,
        referral: &Referral,
        value: &[u8],
        data: &FileData,
        sums: &mut Sums,
        image: &ImageFile,
    ) -> Result<(Vec<u8>, Body), BuildError> {
        let bits = self.plan.block_bits;
        let shape = referral.shape(bits);
        let mut bytes = value.to_vec();
        let mut i_u = 0;
        // The spool has blocks of the unified address space; devices come in when the inode is written.
        if referral.layout == DataLayout::ChunkBased {
            i_u = referral.chunk_format(bits).encode();
            self.table(referral, &mut bytes)?;
        }
        let table = bytes.len() - value.len();
        for piece in &referral.pieces {
            match piece.place {
                Place::Hole => sums.hole_bytes += piece.length,
                Place::Original(block) if referral.layout != DataLayout::ChunkBased => {
                    i_u = block_32(block + u64::from(self.start))?;
                }
                Place::Original(_) => {}
                Place::Own(block) => {
                    let mut tail = vec![0; bits.bytes()];
                    data.read_range(piece.start, &mut tail)?;
                    image.write_at(block * bits.size(), &tail)?;
                    sums.stored_bytes += bits.size();
                }
                Place::Inline => {
                    let tail_at = bytes.len();
                    bytes.resize(tail_at + shape.tail as usize, 0);
                    data.read_range(piece.start, &mut bytes[tail_at..])?;
                    sums.stored_bytes += piece.length;
                }
            }
        }
        let narrow = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let body = Body {
            layout: shape.layout,
            i_u,
            at: 0,
            fingerprint: narrow(value.len()),
            table: narrow(table),
            tail: shape.tail,
        };
        Ok((bytes, body))
    }

    /// Appends the first block of each chunk.
    fn table(&self, referral: &Referral, out: &mut Vec<u8>) -> Result<(), BuildError> {
        let bits = self.plan.block_bits;
        let mut pieces = referral.pieces.iter().peekable();
        for chunk in 0..referral.chunks() {
            let at = chunk << referral.chunk_bits;
            while pieces.peek().is_some_and(|piece| piece.start + piece.length <= at) {
                pieces.next();
            }
            let Some(piece) = pieces.peek() else {
                return Err(BuildError::Internal("a chunk behind the end of its file".into()));
            };
            let skip = bits.blocks_floor(at - piece.start);
            let block = match piece.place {
                Place::Hole => HOLE,
                Place::Original(block) => block_32(block + skip + u64::from(self.start))?,
                Place::Own(block) => block_32(block)?,
                Place::Inline => return Err(BuildError::Internal("a chunk behind its inode".into())),
            };
            out.extend_from_slice(&block.to_le_bytes());
        }
        Ok(())
    }
}
