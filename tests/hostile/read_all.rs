//! Reading everything that an image has: names, attributes, links, contents, fingerprints, counts.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use erofs_image::{Follow, Image, ImageError, OpenOptions, Piece, ReadAt};

/// Everything that was read, as text (contents as hashes), and everything that could not be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) seen: Vec<String>,
    pub(crate) errors: Vec<String>,
}

/// Opens the image and reads all of it.
pub(crate) fn read_all(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Outcome {
    let mut outcome = Outcome::default();
    match Image::open(source, Vec::new(), options) {
        Ok(image) => outcome.image(&image),
        Err(error) => outcome.errors.push(error.to_string()),
    }
    outcome
}

impl Outcome {
    fn image(&mut self, image: &Image) {
        let walk = match image.walk_all() {
            Ok(walk) => walk,
            Err(error) => return self.errors.push(error.to_string()),
        };
        for step in walk {
            match step {
                Err(error) => self.errors.push(error.to_string()),
                Ok(step) => {
                    let path = String::from_utf8_lossy(&step.path).into_owned();
                    self.seen.push(format!("{path} {:?} {}", step.inode.record, step.first));
                    self.note(&path, content(image, &step.inode));
                    self.note(&path, attributes(image, &step.inode));
                    // The way by look-up may differ from that by listing only if something is wrong.
                    match image.resolve(&step.path, Follow::Never) {
                        Ok(found) if found.nid == step.inode.nid => {}
                        Ok(found) => {
                            self.errors.push(format!("{path}: found by name as nid {}", found.nid.0));
                        }
                        Err(error) => self.errors.push(error.to_string()),
                    }
                }
            }
        }
        self.note("counts", image.census().map(|census| format!("{census:?}")));
    }

    fn note(&mut self, path: &str, part: Result<String, ImageError>) {
        match part {
            Ok(text) => self.seen.push(format!("{path}: {text}")),
            Err(error) => self.errors.push(format!("{path}: {error}")),
        }
    }
}

fn content(image: &Image, inode: &erofs_image::Inode) -> Result<String, ImageError> {
    if inode.is_symlink() {
        return image.link_target(inode).map(|target| format!("{target:?}"));
    }
    if inode.is_dir() {
        return Ok(String::new());
    }
    let mut hasher = DefaultHasher::new();
    image.data(inode)?.copy(|piece| {
        match piece {
            Piece::Bytes(bytes) => hasher.write(bytes),
            Piece::Hole(length) => hasher.write_u64(length),
        }
        Ok::<(), ImageError>(())
    })?;
    Ok(format!("{:016x}", hasher.finish()))
}

fn attributes(image: &Image, inode: &erofs_image::Inode) -> Result<String, ImageError> {
    let all: Vec<_> = image.xattrs(inode)?.collect::<Result<_, _>>()?;
    for xattr in all.iter().filter(|xattr| !xattr.hidden) {
        image.xattr(inode, &xattr.name)?;
    }
    Ok(format!("{all:?} {:?}", image.fingerprint(inode)?))
}
