//! Arbitrary bytes as an image: open, walk, list attributes, read, look up. The checksum is not compared,
//! because nothing behind it would be reached.

#![no_main]

use std::sync::Arc;

use erofs_image::{Follow, Image, ImageError, Inode, OpenOptions, Piece};
use libfuzzer_sys::fuzz_target;

/// How many bytes of content are read from one image.
const CONTENT: u64 = 1 << 22;
/// How many entries are looked at closely.
const ENTRIES: usize = 2000;
/// How many bytes of attribute values are read from one image.
const VALUES: usize = 1 << 22;

enum Stop {
    Image,
    Enough,
}

impl From<ImageError> for Stop {
    fn from(_: ImageError) -> Self {
        Self::Image
    }
}

fn look(image: &Image, path: &[u8], inode: &Inode, content: &mut u64, values: &mut usize) {
    let read = image.data(inode).map(|data| {
        data.copy(|piece| {
            // A hole costs nothing, however long it says to be.
            let length = if let Piece::Bytes(bytes) = piece { bytes.len() as u64 } else { 1 };
            *content = content.checked_sub(length).ok_or(Stop::Enough)?;
            Ok::<(), Stop>(())
        })
    });
    drop(read);
    if let Ok(xattrs) = image.xattrs(inode) {
        for xattr in xattrs.flatten() {
            if *values < xattr.value.len() {
                break;
            }
            *values -= xattr.value.len();
            if *values % 7 == 0 {
                let _ = image.xattr(inode, &xattr.name);
            }
        }
    }
    let _ = (image.fingerprint(inode), image.link_target(inode), inode.device());
    let _ = image.resolve(path, Follow::All).map_err(|error| error.to_string());
}

fuzz_target!(|bytes: &[u8]| {
    let options = OpenOptions::new().verify_checksum(false);
    let Ok(image) = Image::open(Arc::new(bytes.to_vec()), Vec::new(), &options) else { return };
    let _ = image.ishare_prefix().map(|prefix| prefix.map(|prefix| prefix.full(0)));
    let Ok(walk) = image.walk_all() else { return };
    let (mut content, mut values) = (CONTENT, VALUES);
    for (number, step) in walk.enumerate() {
        match step {
            Ok(step) if number < ENTRIES => look(&image, &step.path, &step.inode, &mut content, &mut values),
            Ok(_) => {}
            Err(error) => drop(error.to_string()),
        }
    }
});
