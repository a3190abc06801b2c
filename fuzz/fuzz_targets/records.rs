//! Arbitrary bytes through every record decoder of the format. What decodes must encode to the same value
//! again.

#![no_main]

use erofs_format::device::DeviceSlot;
use erofs_format::inode::Inode;
use erofs_format::superblock::{Superblock, announced_size, checksum_span};
use erofs_format::xattr::{BodyHeader, Entry, EntryHead, decode_shared_id, split_name};
use erofs_format::xattr_prefix::LongPrefix;
use libfuzzer_sys::fuzz_target;

fn superblock(bytes: &[u8]) {
    let _ = announced_size(bytes);
    let Ok(value) = Superblock::decode(bytes) else { return };
    assert!(checksum_span(value.block_bits) >= 512);
    let _ = (value.label(), value.build_seconds());
    if let Ok(again) = value.encode() {
        let again = Superblock::decode(&again);
        // A root nid of 0 in a wide image reads back as one of 16 bits; nothing else may change.
        assert!(again.as_ref() == Ok(&value) || value.root_nid.0 == 0, "{value:?} became {again:?}");
    }
}

fn inode(bytes: &[u8]) {
    let Ok(value) = Inode::decode(bytes, 0) else { return };
    let _ = (value.start_block(), value.is_flat_hole(), value.header_size());
    let again = value.encode().and_then(|bytes| Inode::decode(&bytes, 0));
    assert_eq!(again.as_ref(), Ok(&value));
}

fn xattrs(bytes: &[u8]) {
    let _ = decode_shared_id(bytes, 0);
    if let Ok(header) = BodyHeader::decode(bytes, 0) {
        let mut again = Vec::new();
        header.encode(&mut again);
        assert_eq!(BodyHeader::decode(&again, 0), Ok(header));
    }
    if let Ok((entry, size)) = Entry::decode(bytes, 0) {
        let head = EntryHead::decode(bytes, 0).expect("the entry has a head");
        assert_eq!((head.name_len, head.value_len), (entry.name.len(), entry.value.len()));
        let mut again = Vec::new();
        entry.encode(&mut again).expect("what was read has room");
        assert_eq!(again.len(), size);
        let _ = split_name(entry.name);
    }
    if let Ok((prefix, size)) = LongPrefix::decode(bytes, 0) {
        let mut again = Vec::new();
        prefix.encode(&mut again).expect("what was read has room");
        assert_eq!(again.len(), size);
        let _ = prefix.full(0);
    }
}

fuzz_target!(|bytes: &[u8]| {
    superblock(bytes);
    inode(bytes);
    xattrs(bytes);
    for wide in [false, true] {
        if let Ok(slot) = DeviceSlot::decode(bytes, 0, wide) {
            let again = slot.encode().expect("what was read has room");
            assert_eq!(DeviceSlot::decode(&again, 0, true), Ok(slot));
        }
    }
});
