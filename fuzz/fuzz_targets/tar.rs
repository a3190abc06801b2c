//! Arbitrary bytes as a tar archive. What is accepted strictly must read the same leniently, and every
//! content must be in the archive.

#![no_main]

use erofs_tar::{Options, entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&flags, archive)) = bytes.split_first() else { return };
    let options = Options {
        lenient: flags & 1 != 0,
        concatenated: flags & 2 != 0,
        max_name: if flags & 4 != 0 { 10 } else { 4096 },
        max_pax: if flags & 8 != 0 { 100 } else { 1 << 20 },
        max_segments: if flags & 16 != 0 { 2 } else { 1 << 20 },
    };
    let read = match entries(archive, &options) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().contains('\n') && error.offset() <= bytes.len() as u64);
            return;
        }
    };
    let mut last = 0;
    for entry in &read {
        let end = entry.data_offset + entry.stored;
        assert!(last <= entry.header_offset && entry.header_offset < entry.data_offset);
        assert!(end <= archive.len() as u64 && entry.stored <= entry.size);
        let sum: Option<u64> = entry.segments.as_ref().map(|all| all.iter().map(|one| one.length).sum());
        assert!(sum.is_none_or(|sum| sum == entry.stored) && !entry.path.is_empty());
        last = end;
    }
    if !options.lenient {
        let again = entries(archive, &Options { lenient: true, ..options }).expect("it is read strictly");
        assert_eq!(again, read);
    }
});
