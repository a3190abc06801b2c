//! Option by option: what is taken, and what is refused by name.

use std::fs;
use std::process::Command;

use crate::{MKFS, Room, run};

/// Words before IMAGE and SOURCE that are taken.
const TAKEN: &[&str] = &[
    "-b4096",
    "-b4k",
    "-C65536",
    "-C64k -zlz4",
    "-C1M -zlz4",
    "-d0",
    "-d9",
    "-E ''",
    "-Enosbcrc,noinline_data,",
    "-Ededupe",
    "-Efragments=64k -C64k -zlz4",
    "-Eztailpacking",
    "-Elegacy-compress",
    "-Eall-fragments,^fragdedupe",
    "-Eplain-xattr-prefixes,^xattr-name-filter,force-chunk-indexes",
    "-L label",
    "-L ''",
    "-m4k -zlz4",
    "-m4096:zstd,level=9 -zlz4",
    "-m4096:1 -zlz4:zstd",
    "-T0 --all-time",
    "-T0x10 --mkfs-time",
    "-U clear",
    "-U random",
    "-x -1",
    "-x100",
    "-zlz4 -zzstd",
    "-zlz4hc,0",
    "-zzstd,level=0",
    "-zdeflate,9",
    "-zlibdeflate,level=12",
    "-zlzma,level=6,lc=3,lp=0,pb=2",
    "-zlzma,109",
    "--zD",
    "--zD=1",
    "--zD=0 -zlz4",
    "--MZ",
    "--MZ=id",
    "--all-root",
    "--force-uid=5 --force-gid=6",
    "--uid-offset=5 --gid-offset=6",
    "--async-queue-limit=5",
    "--chunksize=4096",
    "--chunksize=4096 -zlz4",
    "--clean",
    "--clean=data",
    "--clean=rvsp",
    "--clean=0",
    "--dsunit=16",
    "--exclude-path=etc",
    "--exclude-regex=^etc$",
    "--exclude-regex ^[[:alpha:]]{4}$",
    "--fsalignblks=8",
    "--hard-dereference",
    "--ignore-mtime",
    "--preserve-mtime",
    "--max-extent-bytes=64k",
    "--mount-point=/system",
    "--offset=4096",
    "--root-xattr-isize=100",
    "--aufs",
    "--sort=path",
    "--sort=none",
    "--sort none",
    "--sort=size",
    "--gzip",
    "--unxz",
    "--ovlfs-strip=0",
    "--workers=2",
    "--xattr-inode-digest",
    "--xattr-inode-digest=trusted.digest",
    "--xattr-prefix=user.long",
    "--zfeature-bits=6 -zlz4",
    "--zfeature-bits=128",
    "--quiet",
    "--quie",
    "--work=1",
    "--hard",
];

/// Words that are refused, with the beginning of the line that says so.
const REFUSED: &[(&str, &str)] = &[
    ("--tar=i", "--tar=i: "),
    ("--ta=headerball", "--tar=headerball: "),
    ("--tar", "SOURCE "),
    ("--blobdev=x", "--blobdev: "),
    ("--vmdk-desc=x", "--vmdk-desc: "),
    ("--s3=x", "--s3: "),
    ("--oci", "--oci: "),
    ("--ungzip=x", "--ungzip: "),
    ("--gzinfo", "--gzinfo: "),
    ("--incremental=data", "--incremental: "),
    ("--ovlfs-strip", "--ovlfs-strip: "),
    ("--clean=x", "--clean: "),
    ("--file-contexts=x", "--file-contexts: "),
    ("--fs-config-file=x", "--fs-config-file: "),
    ("--product-out=x", "--product-out: "),
    ("--block-list-file=x", "--block-list-file: "),
    ("-Eunknown", "-E unknown: "),
    ("-zgzip", "-z: "),
    ("-zlzma,lc=9", "-z lzma: "),
    ("--exclude-regex=(", "--exclude-regex: "),
    ("--zfeature-bits=256", "--zfeature-bits: "),
    ("DIR", "found another SOURCE "),
];

#[test]
fn every_option_is_taken_or_refused_by_name() {
    let room = Room::new();
    let (source, image, hints) = (room.source(), room.path("img"), room.path("hints"));
    for words in TAKEN {
        let output = run(&room.program(), &format!("{words} IMG DIR"), &image, &source, &hints);
        assert_eq!(output.status.code(), Some(0), "{words}: {output:?}");
        fs::remove_file(&image).unwrap();
    }
    for (words, line) in REFUSED {
        let output = run(&room.program(), &format!("IMG DIR {words}"), &image, &source, &hints);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {text}");
        assert!(text.starts_with(&format!("mkfs-erofs: {line}")), "{words}: {text}");
        assert!(!image.exists(), "{words}");
    }
    for words in ["--unknown IMG DIR", "IMG", "", "-b1000 IMG DIR", "--mkfs IMG"] {
        let output = run(&room.program(), words, &image, &source, &hints);
        assert_eq!(output.status.code(), Some(1), "{words}: {output:?}");
    }
}

/// What has no effect without -z is one warning; `-E dedupe` stores equal chunks once.
#[test]
fn words_of_compression_without_an_algorithm() {
    let room = Room::new();
    let (source, image) = (room.source(), room.path("img"));
    let words = "-Efragments,ztailpacking --zD -C64k --compress-hints /absent IMG DIR";
    let output = run(&room.program(), words, &image, &source, &image);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(0), 1), "{text}");
    assert!(text.ends_with("no effect without -z\n"), "{text}");
}

#[test]
fn probes_find_what_they_look_for() {
    let room = Room::new();
    let say = |flag: &str| {
        let output = Command::new(room.program()).arg(flag).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let version = say("--version");
    let mut lines = version.lines();
    let first = lines.next().unwrap();
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(first, format!("mkfs.erofs (mkfs-erofs {own}, compatible with erofs-utils) 1.9.4"));
    assert!(lines.next().unwrap().starts_with("available compressors: lz4, lz4hc, "), "{version}");
    for help in [say("--help"), say("-h")] {
        for word in ["lz4hc", "zstd", "lzma", "libdeflate", "--chunksize=", "--tar=f", "Usage: mkfs.erofs "] {
            assert!(help.contains(word), "{word}: {help}");
        }
    }
    // kata-deploy reads the program: each option as a whole string that ends with a NUL.
    let program = fs::read(MKFS).unwrap();
    for option in ["mkfs-time", "sort"] {
        let string = [b"\0", option.as_bytes(), b"\0"].concat();
        assert!(program.windows(string.len()).any(|bytes| bytes == string), "{option}");
    }
}

/// The flag gives the same under the own name; without it the rules stay strict.
#[test]
fn the_flag_and_the_own_name() {
    let room = Room::new();
    let (source, image) = (room.source(), room.path("img"));
    let own = MKFS.as_ref();
    for (words, code) in [
        ("--as-mkfs-erofs --sort=none --quie IMG DIR", 0),
        ("--as-mkfs-erofs --tar=f IMG DIR", 1),
        ("--sort=none IMG DIR", 2),
        ("--quie IMG DIR", 2),
        ("-zlz4 --chunksize=4096 IMG DIR", 2),
    ] {
        let output = run(own, words, &image, &source, &image);
        assert_eq!(output.status.code(), Some(code), "{words}: {output:?}");
    }
}
