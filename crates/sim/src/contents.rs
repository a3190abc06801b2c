//! A look at the contents: what is really stored twice, whether fingerprints tell the truth, and in how many
//! bytes files differ that have one path and one size.

use std::collections::HashMap;

use erofs_algo::fingerprint;
use erofs_image::{Budget, Follow, Image, ImageError, Inode, Piece};
use uuid::Uuid;

use crate::error::SimError;
use crate::member::Member;
use crate::overheads::{Duplicates, EqualBy};
use crate::survey::{Findings, Hint, Named};
use crate::totals::Surveyor;

/// The kind of digest that contents are compared by: the fastest.
const DIGEST: &str = "blake3";
/// How many files are named.
const TOP_FILES: usize = 5;
/// How many bytes of two files are compared with each other at once.
const PIECE: usize = 1 << 18;

type Digest = Vec<u8>;

/// What the contents say, beyond what fingerprints say.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// What is stored more than once.
    pub duplicates: Duplicates,
    /// Files whose fingerprint another file with other content has.
    pub wrong: Vec<Named>,
    /// How many of these there are; only the largest are named.
    pub wrong_files: u64,
    /// Files with the content of an earlier file, and another fingerprint or none.
    pub unmatched: Vec<Named>,
    /// How many of these there are.
    pub unmatched_files: u64,
    /// Their bytes.
    pub unmatched_bytes: u64,
    /// Files whose data this version cannot read.
    pub unread_files: u64,
    /// Pairs of files at one path, with the number of bytes in which they differ.
    pub pairs: Vec<(Named, u64)>,
}

/// What is remembered of a digest: the image that had it last, and its fingerprint.
#[derive(Debug)]
struct Seen {
    image: usize,
    value: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Reader {
    content: Contents,
    digests: HashMap<Digest, Seen>,
    /// The digest of each fingerprint, by domain.
    values: HashMap<(String, Vec<u8>), Digest>,
}

/// Reads all files of all images.
pub(crate) fn read(members: &[Member], findings: &Findings) -> Result<Contents, SimError> {
    let mut reader = Reader::default();
    reader.content.duplicates.by = EqualBy::Contents;
    for (number, member) in members.iter().enumerate() {
        let read = member.open().and_then(|image| reader.image(number, member, &image));
        read.map_err(|error| SimError::image(&member.path, error))?;
    }
    let pairs = findings.hints.get(&Hint::SameSizeOtherContent);
    for named in pairs.into_iter().flat_map(|group| &group.largest) {
        let others = (members.get(named.image), named.other.and_then(|other| members.get(other)));
        if let (Some(one), Some(other)) = others
            && let Some(bytes) = difference(one, other, &named.path)?
        {
            reader.content.pairs.push((named.clone(), bytes));
        }
    }
    Ok(reader.content)
}

impl Reader {
    fn image(&mut self, number: usize, member: &Member, image: &Image) -> Result<(), ImageError> {
        let mut surveyor = Surveyor::new(image)?;
        let contents = Budget::contents(&image.limits());
        for step in image.walk_all()? {
            let step = step?;
            if !step.first || !step.inode.is_file() || step.inode.size() == 0 {
                continue;
            }
            contents.take(step.inode.size()).map_err(|error| error.at_path(&step.path))?;
            let digest = match digest(image, &step.inode) {
                Ok(digest) => digest,
                Err(error) if error.is_unsupported() => {
                    self.content.unread_files += 1;
                    continue;
                }
                Err(error) => return Err(error.at_path(&step.path)),
            };
            surveyor.visit(image, &step.inode, Some(&digest));
            let value = image.fingerprint(&step.inode)?.value().map(<[u8]>::to_vec);
            let named = Named { image: number, other: None, path: step.path, size: step.inode.size() };
            self.file(&member.domain, digest, value, named);
        }
        let totals = surveyor.finish();
        self.content.duplicates.within_images_files += totals.stored_twice_files;
        let within = &mut self.content.duplicates.within_images_bytes;
        *within = within.saturating_add(totals.stored_twice_bytes);
        Ok(())
    }

    fn file(&mut self, domain: &str, digest: Digest, value: Option<Vec<u8>>, named: Named) {
        let number = named.image;
        let content = &mut self.content;
        if let Some(value) = value.clone() {
            let known = self.values.entry((domain.to_owned(), value)).or_insert_with(|| digest.clone());
            if *known != digest {
                content.wrong_files += 1;
                keep(&mut content.wrong, named.clone());
            }
        }
        let Some(seen) = self.digests.get_mut(&digest) else {
            self.digests.insert(digest, Seen { image: number, value });
            return;
        };
        if seen.image != number {
            seen.image = number;
            content.duplicates.across_images_files += 1;
            let across = &mut content.duplicates.across_images_bytes;
            *across = across.saturating_add(named.size);
        }
        if seen.value != value {
            content.unmatched_files += 1;
            content.unmatched_bytes = content.unmatched_bytes.saturating_add(named.size);
            keep(&mut content.unmatched, named);
        }
    }
}

/// Keeps the largest.
fn keep(list: &mut Vec<Named>, named: Named) {
    let at = list.partition_point(|known| known.size >= named.size);
    list.insert(at, named);
    list.truncate(TOP_FILES);
}

fn digest(image: &Image, inode: &Inode) -> Result<Digest, ImageError> {
    let kind = fingerprint::by_name(DIGEST).unwrap_or(fingerprint::TABLE[0]);
    let mut hasher = (kind.hasher)(Uuid::nil());
    let zeros = vec![0; PIECE];
    image.data(inode)?.copy(|piece| {
        match piece {
            Piece::Bytes(bytes) => hasher.update(bytes),
            Piece::Hole(mut length) => {
                while length > 0 {
                    let now = usize::try_from(length).unwrap_or(PIECE).min(PIECE);
                    hasher.update(zeros.get(..now).unwrap_or_default());
                    length -= u64::try_from(now).unwrap_or(length);
                }
            }
        }
        Ok::<(), ImageError>(())
    })?;
    Ok(hasher.finish().digest)
}

/// In how many bytes the files at one path of two images differ; nothing where one of them cannot be read.
fn difference(one: &Member, other: &Member, path: &[u8]) -> Result<Option<u64>, SimError> {
    let count = || -> Result<u64, ImageError> {
        let (one, other) = (one.open()?, other.open()?);
        let data = [&one, &other].map(|image| image.data(&image.resolve(path, Follow::Parents)?));
        let [first, second] = data;
        let (first, second) = (first?, second?);
        let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
        let (mut offset, mut differing) = (0, 0_u64);
        while offset < first.len() {
            let length = first.read_range(offset, &mut left)?;
            second.read_range(offset, &mut right)?;
            let pairs = left.iter().zip(&right).take(length);
            differing += u64::try_from(pairs.filter(|(a, b)| a != b).count()).unwrap_or(0);
            offset += u64::try_from(length).unwrap_or(u64::MAX);
        }
        Ok(differing)
    };
    match count() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_unsupported() => Ok(None),
        Err(error) => Err(SimError::image(&one.path, error)),
    }
}
