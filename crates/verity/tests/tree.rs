//! Trees against a reference implementation, and what a check says about each flipped bit.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::sync::Mutex;

use erofs_testkit::content::noise;
use erofs_verity::levels::Levels;
use erofs_verity::superblock::find_appended;
use erofs_verity::{BlockSize, Checked, Formatted, Params, Request, RootHash, Salt, Wrong, check, format};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

fn params(data_block: u32, hash_block: u32, salt: &str) -> Params {
    Params {
        data_block: BlockSize::new(data_block).unwrap(),
        hash_block: BlockSize::new(hash_block).unwrap(),
        salt: Salt::parse(salt).unwrap(),
        uuid: Uuid::from_u128(7),
    }
}

/// The levels of a tree, lowest first, as the documentation of dm-verity describes them, all in memory.
fn slow_levels(data: &[u8], params: &Params) -> (Vec<Vec<u8>>, RootHash) {
    let hash = |block: &[u8]| -> [u8; 32] { Sha256::digest([params.salt.as_bytes(), block].concat()).into() };
    let length = |size: BlockSize| usize::try_from(size.bytes()).unwrap();
    let (data_block, hash_block) = (length(params.data_block), length(params.hash_block));
    let mut digests: Vec<[u8; 32]> = data.chunks(data_block).map(hash).collect();
    let mut levels = Vec::new();
    while digests.len() > 1 {
        let mut level = Vec::new();
        for group in digests.chunks(hash_block / 32) {
            level.extend(group.concat());
            level.resize(level.len().next_multiple_of(hash_block), 0);
        }
        digests = level.chunks(hash_block).map(hash).collect();
        levels.push(level);
    }
    (levels, RootHash(digests[0]))
}

fn made(data: &[u8], params: &Params, threads: usize) -> (Vec<u8>, Formatted) {
    let data = data.to_vec();
    let out = Mutex::default();
    let blocks = data.len() as u64 / params.data_block.bytes();
    let formatted = format(&data, blocks, params, &out, 0, threads).unwrap();
    (out.into_inner().unwrap(), formatted)
}

#[test]
fn trees_are_those_of_the_slow_twin() {
    // Around every edge: of a hash block, of the batch that is worked on at once, of the levels.
    let rows = [
        (4096, 4096, "-", &[1_usize, 2, 127, 128, 129, 300][..]),
        (512, 512, "00ff", &[1, 15, 16, 17, 256, 257, 1023, 1024, 1025, 4097, 9000]),
        (512, 4096, "-", &[1, 128, 129, 8191, 8193]),
        (4096, 1024, "0102030405", &[33, 2049]),
        (1024, 512, &"ab".repeat(256), &[1, 17, 2000]),
    ];
    for (data_block, hash_block, salt, counts) in rows {
        let params = params(data_block, hash_block, salt);
        for &count in counts {
            let data = noise(count as u64, count * data_block as usize);
            let (levels, root) = slow_levels(&data, &params);
            let (area, formatted) = made(&data, &params, 1);
            let case = format!("{count} blocks of {data_block} and {hash_block}");
            assert_eq!(formatted.root, root, "{case}");
            let upside_down: Vec<u8> = levels.into_iter().rev().flatten().collect();
            let start = 512.max(hash_block as usize);
            // A tree without levels leaves the rest of the superblock's block to the end of the file.
            assert_eq!(area.get(start..).unwrap_or_default(), upside_down, "{case}");
            assert_eq!(formatted.end, area.len() as u64, "{case}");
            assert_eq!(made(&data, &params, 3), (area, formatted), "{case}: with three threads");
        }
    }
}

#[test]
fn appended_trees_are_found_by_length() {
    for (count, block) in [(1_usize, 4096_u32), (2, 4096), (128, 4096), (129, 4096), (17, 512), (300, 512)] {
        let params = params(block, block, "11");
        let data = noise(3, count * block as usize);
        let both = Mutex::new(data.clone());
        let formatted = format(&data, count as u64, &params, &both, data.len() as u64, 0).unwrap();
        let both = both.into_inner().unwrap();
        assert_eq!(find_appended(&both, params.data_block), Some(data.len() as u64), "{count}");
        let request =
            Request { data: &both, hashes: &both, hash_offset: data.len() as u64, root: None, threads: 0 };
        assert_eq!(checked(&request).root, formatted.root);
        assert_eq!(find_appended(&data, params.data_block), None);
        assert_eq!(find_appended(&both[..both.len() - 1].to_vec(), params.data_block), None);
    }
    assert_eq!(find_appended(&Vec::new(), BlockSize::DEFAULT), None);
}

fn checked(request: &Request<'_>) -> Checked {
    check(request).unwrap()
}

#[test]
fn every_flipped_bit_is_found_where_it_is() {
    // Three levels: 300 data blocks, 19 blocks, 2 blocks, 1 block.
    let params = params(512, 512, "aa");
    let data = noise(1, 300 * 512);
    let (area, formatted) = made(&data, &params, 0);
    let levels = Levels::new(300, params.data_block, params.hash_block, 0).unwrap();
    let ask = |data: &Vec<u8>, area: &Vec<u8>| {
        let root = Some(formatted.root);
        check(&Request { data, hashes: area, hash_offset: 0, root, threads: 2 })
    };
    assert_eq!(ask(&data, &area).unwrap().wrong, None);
    for block in [0, 1, 15, 16, 299] {
        let mut data = data.clone();
        data[block * 512 + 511] ^= 0x80;
        let want = Wrong::Data { block: block as u64, at: block as u64 * 512 };
        assert_eq!(ask(&data, &area).unwrap().wrong, Some(want));
    }
    for (level, place) in levels.as_slice().iter().enumerate() {
        for block in 0..place.blocks {
            let at = place.at + block * 512;
            let mut area = area.clone();
            area[usize::try_from(at).unwrap() + 3] ^= 1;
            let wrong = ask(&data, &area).unwrap().wrong.unwrap();
            match (level + 1 == levels.as_slice().len(), wrong) {
                (true, Wrong::Root { want, .. }) => assert_eq!(want, formatted.root),
                (false, wrong) => assert_eq!(wrong, Wrong::Hash { level, block, at }),
                (true, wrong) => panic!("{wrong}"),
            }
        }
    }
    // The superblock: every byte but those of the UUID, which plays no part in the tree.
    for byte in (0..512_usize).filter(|byte| !(16..32).contains(byte)) {
        let mut area = area.clone();
        area[byte] ^= 1;
        assert!(ask(&data, &area).is_err() || ask(&data, &area).unwrap().wrong.is_some(), "byte {byte}");
    }
}

#[test]
fn what_is_wrong_first_in_the_data_is_told() {
    let params = params(512, 512, "-");
    let data = noise(1, 300 * 512);
    let (area, formatted) = made(&data, &params, 0);
    let levels = Levels::new(300, params.data_block, params.hash_block, 0).unwrap();
    let (mut wrong_data, mut wrong_area) = (data.clone(), area.clone());
    wrong_data[5 * 512] ^= 1;
    let upper = usize::try_from(levels.as_slice()[1].at + 512).unwrap();
    wrong_area[upper] ^= 1;
    let root = Some(formatted.root);
    let request = Request { data: &wrong_data, hashes: &wrong_area, hash_offset: 0, root, threads: 0 };
    assert_eq!(checked(&request).wrong, Some(Wrong::Data { block: 5, at: 5 * 512 }));
    let later = Request { data: &data, ..request };
    assert!(matches!(checked(&later).wrong, Some(Wrong::Hash { level: 1, block: 1, .. })));
}

#[test]
fn bytes_behind_the_superblock_are_zeros() {
    let params = params(4096, 4096, "-");
    let data = noise(1, 2 * 4096);
    let (mut area, _) = made(&data, &params, 0);
    area[4095] = 1;
    let request = Request { data: &data, hashes: &area, hash_offset: 0, root: None, threads: 0 };
    assert_eq!(checked(&request).wrong, Some(Wrong::Padding { at: 4095 }));
}

#[test]
fn what_cannot_be_is_an_error() {
    let params = params(4096, 4096, "-");
    let data = noise(1, 3 * 4096);
    let out = Mutex::default();
    for (blocks, offset, words) in [
        (0, 0, "data blocks: found 0"),
        (4, 0, "data: found 12288 of at least 16384 bytes"),
        (u64::MAX, 0, "data blocks: found"),
        (3, 100, "hash offset: found 100, want a multiple of 512"),
    ] {
        let error = format(&data, blocks, &params, &out, offset, 0).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(out.lock().unwrap().is_empty());
    let (area, _) = made(&data, &params, 0);
    let short = &area[..area.len() - 1];
    for (data, hashes, words) in [
        (&data[..8192], area.as_slice(), "data: found 8192 of at least 12288 bytes"),
        (&data, short, "hash area: found 8191 of at least 8192 bytes"),
        (&data, &area[..100], "verity superblock at byte 0"),
    ] {
        let (data, hashes) = (data.to_vec(), hashes.to_vec());
        let request = Request { data: &data, hashes: &hashes, hash_offset: 0, root: None, threads: 0 };
        let error = check(&request).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
