//! Arbitrary bytes as a directory block. Entries that are in order must encode to a block that reads the
//! same.

#![no_main]

use erofs_format::dirent::{DirBlock, NAME_MAX, encode_block};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(block) = DirBlock::new(bytes, 0) else { return };
    assert!(block.count() * 12 <= bytes.len() && block.count() > 0);
    let Ok(entries) = block.entries().collect::<Result<Vec<_>, _>>() else { return };
    for entry in &entries {
        assert!((1..=NAME_MAX).contains(&entry.name.len()));
        assert!(!entry.name.iter().any(|byte| matches!(byte, b'/' | 0)));
    }
    let mut again = Vec::new();
    if encode_block(&entries, &mut again).is_ok() {
        let read: Result<Vec<_>, _> = DirBlock::new(&again, 0).expect("just encoded").entries().collect();
        assert_eq!(read.as_ref(), Ok(&entries));
    }
});
