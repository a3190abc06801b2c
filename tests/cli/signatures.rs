//! What libblkid, and with it udev and mount(8), sees in an image: EROFS and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_testkit::peers;
use erofs_testkit::require::{Absent, need};

use crate::output::loop_device;
use crate::{Room, program};

fn blkid() -> Result<PathBuf, Absent> {
    program("blkid", "util-linux")
}

/// The type that libblkid finds in a file or device; empty if it finds several.
fn type_of(blkid: &Path, path: &Path) -> String {
    let output = Command::new(blkid).args(["-p", "-o", "value", "-s", "TYPE"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What older users of the device left: bytes from its start, or, below zero, from its end.
fn leftovers() -> Vec<(&'static str, i64, Vec<u8>)> {
    let sector = |bytes: &[u8], length: usize| [bytes, &vec![0; length - bytes.len()]].concat();
    // The version 1.0 superblock of md: magic, major version, and its own place in sectors.
    let mut md = vec![0; 256];
    md[..8].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0]);
    md[128..136].copy_from_slice(&((32_u64 << 20) - 8192).div_euclid(512).to_le_bytes());
    vec![
        ("ISO 9660", 32_768, b"\x01CD001\x01\0".to_vec()),
        ("btrfs", 65_536 + 64, b"_BHRfS_M".to_vec()),
        ("VMFS", 1 << 20, b"\x0d\xd0\x01\xc0".to_vec()),
        ("UFS", 8192 + 1372, 0x0001_1954_u32.to_le_bytes().to_vec()),
        ("LUKS2, second header", 4 << 20, sector(b"SKUL\xba\xbe\0\x02", 4096)),
        ("md 1.0", -8192, md),
        ("GPT, second table", -512, sector(b"EFI PART\0\0\x01\0\x5c\0\0\0", 512)),
        ("HighPoint RAID", -11 * 512 + 32, b"\xf3\x16\x78\x5a".to_vec()),
        ("Promise RAID", -3087 * 512, sector(b"Promise Technology, Inc.", 512)),
    ]
}

#[test]
fn older_signatures_on_a_block_device_are_wiped() {
    const SIZE: u64 = 32 << 20;
    let room = Room::new();
    let backing = room.path("disk");
    let file = File::options().create(true).truncate(true).read(true).write(true).open(&backing).unwrap();
    file.write_all_at(&vec![0xff; usize::try_from(SIZE).unwrap()], 0).unwrap();
    let leftovers = leftovers();
    for (name, at, bytes) in &leftovers {
        let at = if *at < 0 { SIZE.checked_add_signed(*at).unwrap() } else { at.unsigned_abs() };
        file.write_all_at(bytes, at).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let Some(disk) = need("an image on a used block device", loop_device(&backing)) else { return };
    let Some(blkid) = need("signatures against blkid", blkid()) else { return };
    assert_ne!(type_of(&blkid, disk.path()), "erofs");
    let image = room.image(&["-T0"]);
    room.build(&["-T0", "--quiet"], disk.path()).assert_done();
    assert_eq!(type_of(&blkid, disk.path()), "erofs");
    let mut found = vec![0; usize::try_from(SIZE).unwrap()];
    File::open(disk.path()).unwrap().read_exact_at(&mut found, 0).unwrap();
    assert!(found[..image.len()] == image[..]);
    let (front, back) = (8 << 20, found.len() - (2 << 20));
    assert!(
        found[image.len()..front].iter().chain(&found[back..]).all(|&byte| byte == 0),
        "both ends are zeros"
    );
    assert!(found[front..back].iter().all(|&byte| byte == 0xff), "and nothing else");
    // With an offset the rest of the device belongs to somebody else.
    file.write_all_at(b"\x01CD001\x01\0", 32_768).unwrap();
    drop(disk);
    let Some(disk) = need("an image inside a block device", loop_device(&backing)) else { return };
    room.build(&["-T0", "--quiet", "--offset=1M"], disk.path()).assert_done();
    let mut kept = [0; 8];
    File::open(disk.path()).unwrap().read_exact_at(&mut kept, 32_768).unwrap();
    assert_eq!(kept, *b"\x01CD001\x01\0");
}

/// The low half of the number of inodes, at byte 1040.
fn low_half(image: &Path) -> u16 {
    let mut bytes = [0; 2];
    File::open(image).unwrap().read_exact_at(&mut bytes, 1040).unwrap();
    u16::from_le_bytes(bytes)
}

#[test]
fn no_number_of_inodes_looks_like_minix() {
    let blkid = need("numbers of inodes against blkid", blkid());
    let room = Room::new();
    let image = room.path("img");
    // Some are seen only in images that have more blocks than zones of minix.
    fs::write(room.source().join("large"), vec![b'x'; 2_000_000]).unwrap();
    let inodes = || room.build(&["--json", "-T0"], &image).json()["inodes"].as_u64().unwrap();
    let mut known = inodes();
    for magic in [0x137f_u16, 0x138f, 0x2468, 0x2478, 0x6824, 0x7824, 0x7f13, 0x8f13] {
        for count in known..u64::from(magic) {
            File::create(room.source().join(format!("n{count}"))).unwrap();
        }
        known = u64::from(magic);
        for flags in [&["--quiet", "-T0"][..], &["--quiet", "-T0", "-zlz4", "-m4096:lz4"]] {
            room.build(flags, &image).assert_done();
            // One more because of the rule, or because the metabox counts.
            assert_eq!(low_half(&image), magic + 1, "{magic:#x}");
            if let Some(blkid) = &blkid {
                assert_eq!(type_of(blkid, &image), "erofs", "{magic:#x}");
            }
        }
    }
    let verify = Command::new(crate::ISHARE).arg("verify").arg(&image).output().unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    room.build(&["--quiet", "-T0"], &image).assert_done();
    peers::run(Command::new(crate::ISHARE).arg("verify").arg(&image)).unwrap();
}

/// A file system in each of the places where libblkid looks for it by a few bytes alone, made with these
/// flags from each of these trees: which inodes stand in these places depends on the number of files.
fn assert_all_erofs(blkid: &Path, rooms: &[Room], flags: &[&str]) {
    for room in rooms {
        let image = room.path("img");
        for shift in [&[][..], &["--root-xattr-isize=32"], &["-b512"], &["-zlz4"]] {
            let flags = [flags, shift, &["--quiet"]].concat();
            room.build(&flags, &image).assert_done();
            assert_eq!(type_of(blkid, &image), "erofs", "{flags:?}");
        }
    }
}

/// A tree of so many nested directories with so many files each.
fn nested(directories: usize, files: usize) -> (Room, Vec<PathBuf>) {
    let room = Room::new();
    let (mut folder, mut paths) = (room.source(), Vec::new());
    for _ in 0..directories {
        for number in 0..files {
            paths.push(folder.join(format!("n{number}")));
            File::create(paths.last().unwrap()).unwrap();
        }
        folder.push("d");
        fs::create_dir(&folder).unwrap();
    }
    (room, paths)
}

#[test]
fn no_owner_and_no_time_looks_like_another_file_system() {
    let Some(blkid) = need("owners and times against blkid", blkid()) else { return };
    let trees = [(60, 3), (60, 4), (60, 5), (60, 6), (30, 11), (1, 5000)];
    let (rooms, paths): (Vec<Room>, Vec<Vec<PathBuf>>) =
        trees.map(|(directories, files)| nested(directories, files)).into_iter().unzip();
    let ufs = [0x0001_1954_u32, 0x1954_0119, 0x0019_5612, 0x0009_5014, 0x0061_2195, 0x0523_1994];
    for group in ufs.into_iter().flat_map(|magic| [magic, magic.swap_bytes()]) {
        assert_all_erofs(&blkid, &rooms, &["-T0", &format!("--force-gid={group}")]);
    }
    // System V.
    for (user, group) in [(0xfd18_7e20_u32, 0), (0x207e_18fd, 0), (0x7e20, 0xfd18), (0x18fd, 0x207e)] {
        let flags = [format!("--force-uid={user}"), format!("--force-gid={group}")];
        assert_all_erofs(&blkid, &rooms, &["-T0", &flags[0], &flags[1]]);
    }
    // HighPoint RAID and Xenix.
    for seconds in [0x5a78_16f0_u64, 0x5a78_16fd, 0x0144_552b, 0x022b_5544] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        for path in paths.iter().flatten() {
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
        assert_all_erofs(&blkid, &rooms, &[]);
    }
}
