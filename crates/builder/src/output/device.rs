//! Old signatures on a block device.
//!
//! A device that held another file system or was a member of a RAID has that one's magic numbers in places
//! that the image may not reach. libblkid then finds both, calls the result ambivalent, and neither udev nor
//! mount(8) sees an image. So both ends of the device are filled with zeros before anything is written, as
//! mkfs.xfs and mke2fs do.

use std::io::{self, IoSlice};

use crate::store::target::Target;

/// So many bytes at the start: the last place that libblkid (util-linux 2.43) looks at from there is the
/// second header of LUKS2 at 4 MiB.
pub(crate) const FRONT: u64 = 8 << 20;
/// So many bytes at the end: the first place there is that of Promise RAID, 3087 sectors from the end.
pub(crate) const BACK: u64 = 2 << 20;
/// Zeros are written in pieces of so many bytes.
const PIECE: usize = 1 << 20;

/// Fills both ends of the device, which is `length` bytes long, with zeros; nothing else is touched.
pub(crate) fn wipe(device: &dyn Target, length: u64) -> io::Result<()> {
    let front = FRONT.min(length);
    fill(device, 0, front)?;
    fill(device, length.saturating_sub(BACK).max(front), length)
}

fn fill(device: &dyn Target, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).map_or(PIECE, |rest| rest.min(PIECE));
        device.write_at(at, &mut [IoSlice::new(&zeros[..length])])?;
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn both_ends_are_zeros_and_the_middle_stays() {
        for length in [0, 1, FRONT - 1, FRONT + 1, FRONT + BACK, FRONT + BACK + 5] {
            let file = tempfile::tempfile().unwrap();
            let bytes = vec![0xff; usize::try_from(length).unwrap()];
            file.write_all_at(&bytes, 0).unwrap();
            wipe(&file, length).unwrap();
            let mut found = vec![1; bytes.len()];
            file.read_exact_at(&mut found, 0).unwrap();
            assert_eq!(file.metadata().unwrap().len(), length);
            let front = usize::try_from(FRONT.min(length)).unwrap();
            let back = usize::try_from(length.saturating_sub(BACK)).unwrap().max(front);
            assert!(found[..front].iter().chain(&found[back..]).all(|&byte| byte == 0), "{length}");
            assert!(found[front..back].iter().all(|&byte| byte == 0xff), "{length}");
        }
    }
}
