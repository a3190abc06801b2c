//! Xattrs in, image out, xattrs back: shared and not, under long prefixes, and those that claim to be
//! fingerprints.

use std::path::Path;

use erofs_builder::options::{BuildOptions, FingerprintOptions, FingerprintValue};
use erofs_builder::{BuildError, ImageFile, Summary};
use erofs_image::{Follow, Image};
use erofs_tree::{Silent, Xattr};

use crate::contents::{KEY, fingerprints};
use crate::memory::{Memory, noise};

/// The xattrs of one file.
type Own = Vec<(Vec<u8>, Vec<u8>)>;

fn own(name: &str, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.to_vec())
}

fn source(files: &[Own]) -> Memory {
    let names: Vec<String> = (0..files.len()).map(|n| format!("{n:04}")).collect();
    let contents: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), noise(1, 100))).collect();
    let mut memory = Memory::new(&contents);
    for (file, xattrs) in memory.files.iter_mut().zip(files) {
        file.2 = xattrs
            .iter()
            .map(|(name, value)| Xattr { name: name.as_slice().into(), value: value.as_slice().into() })
            .collect();
        file.2.sort();
    }
    memory
}

fn options() -> BuildOptions {
    let mut options = BuildOptions { threads: 2, ..BuildOptions::default() };
    options.content.fingerprint = Some(fingerprints());
    options
}

/// Builds, and returns the summary and the xattrs of every file as they are read back, fingerprints left out.
fn round(files: &[Own], options: &BuildOptions) -> Result<(Summary, Vec<Own>, Image), BuildError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let summary = erofs_builder::build(&mut source(files), ImageFile::create(&path, 0)?, options, &Silent)?;
    let image = Image::open_path(&path, &[] as &[&Path], 0).unwrap();
    let read = |index: usize| {
        let inode = image.resolve(format!("{index:04}").as_bytes(), Follow::Never).unwrap();
        let listed = image.xattrs(&inode).unwrap().map(|xattr| {
            let xattr = xattr.unwrap();
            (xattr.name.clone(), xattr.value.clone())
        });
        let mut listed: Own = listed.filter(|(name, _)| name != KEY).collect();
        listed.sort();
        listed
    };
    let read = (0..files.len()).map(read).collect();
    Ok((summary, read, image))
}

#[test]
fn xattrs_come_back_as_they_went_in() {
    let label = || own("security.selinux", b"system_u:object_r:usr_t:s0\0");
    let acl = own("system.posix_acl_access", &[2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255]);
    let many =
        |count: usize| (0..count).map(|n| own(&format!("user.n{n:03}"), &noise(n as u64, n % 40))).collect();
    let large = own("user.large", &noise(5, 65_535));
    for (name, files) in [
        ("none", vec![vec![], vec![]]),
        ("one", vec![vec![label()], vec![]]),
        ("shared by four", vec![vec![label()]; 4]),
        ("an ACL and an empty value", vec![vec![acl, own("user.empty", b"")], vec![]]),
        ("more shared ones than an inode can refer to", vec![many(300); 3]),
        ("the longest value, alone and shared", vec![vec![large.clone()], vec![large.clone()], vec![large]]),
        ("the longest name", vec![vec![own(&format!("user.{}", "n".repeat(250)), b"v")]]),
        ("names that begin alike", vec![vec![own("user.overlay.a", b"1"), own("user.overlay.", b"2")]]),
    ] {
        for tolerance in [None, Some(0), Some(2)] {
            let mut options = options();
            options.layout.xattr_tolerance = tolerance;
            options.layout.xattr_prefixes = vec![b"user.over".to_vec(), b"user.overlay.".to_vec()];
            let (summary, read, _) =
                round(&files, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
            let sorted: Vec<Own> = files
                .iter()
                .map(|own| {
                    let mut own = own.clone();
                    own.sort();
                    own
                })
                .collect();
            assert_eq!(read, sorted, "{name}, tolerance {tolerance:?}");
            assert_eq!(summary.fingerprints.unwrap().files, files.len() as u64, "{name}");
        }
    }
}

#[test]
fn sharing_makes_the_image_smaller() {
    let files: Vec<Own> = vec![vec![own("security.selinux", &noise(1, 200))]; 100];
    let size = |tolerance| {
        let mut options = options();
        options.layout.xattr_tolerance = tolerance;
        round(&files, &options).unwrap().0.image_bytes
    };
    assert!(size(Some(2)) + 16_384 <= size(None), "{} {}", size(Some(2)), size(None));
    assert_eq!(size(Some(100)), size(None), "100 inodes are not more than 100");
}

#[test]
fn the_source_cannot_choose_its_fingerprint() {
    let key = String::from_utf8(KEY.to_vec()).unwrap();
    let files = vec![vec![own(&key, b"sha256:forged")], vec![own("user.a", b"b")], vec![own(&key, b"")]];
    let (summary, read, image) = round(&files, &options()).unwrap();
    assert_eq!(summary.fingerprints.unwrap().dropped_from_source, 2);
    assert_eq!(read, [vec![], vec![own("user.a", b"b")], vec![]]);
    for index in 0..3 {
        let inode = image.resolve(format!("{index:04}").as_bytes(), Follow::Never).unwrap();
        let named = image.xattrs(&inode).unwrap().filter(|xattr| xattr.as_ref().unwrap().name == KEY).count();
        assert_eq!(named, 1, "exactly one");
        assert!(image.fingerprint(&inode).unwrap().value().unwrap().starts_with(b"sha256:"));
    }
    let mut strict = options();
    strict.content.fingerprint = Some(FingerprintOptions { strict: true, ..fingerprints() });
    let error = round(&files, &strict).unwrap_err().to_string();
    assert_eq!(error, format!("/0000: the source has an xattr {key}, which is the key of the fingerprints"));
}

#[test]
fn fingerprints_of_the_source_are_taken_on_its_word() {
    let key = String::from_utf8(KEY.to_vec()).unwrap();
    let mut options = options();
    options.content.fingerprint =
        Some(FingerprintOptions { value: FingerprintValue::Source, ..fingerprints() });
    let files = vec![vec![own(&key, b"mine")], vec![own(&key, &noise(3, 4096)), own("user.b", b"c")]];
    let (summary, _, image) = round(&files, &options).unwrap();
    let summary = summary.fingerprints.unwrap();
    assert_eq!((summary.files, summary.digest, summary.dropped_from_source), (2, "source", 0));
    let inode = image.resolve(b"0000", Follow::Never).unwrap();
    assert_eq!(image.fingerprint(&inode).unwrap().value(), Some(&b"mine"[..]));
    for (wrong, found) in [(vec![], 0), (vec![own(&key, b"")], 0), (vec![own(&key, &noise(3, 4097))], 4097)] {
        let error = round(&[vec![own(&key, b"mine")], wrong], &options).unwrap_err().to_string();
        let want =
            format!("/0001: the fingerprint xattr {key} of the source has {found} bytes, want 1 to 4096");
        assert_eq!(error, want);
    }
}

#[test]
fn what_the_format_cannot_hold_is_named() {
    let error =
        round(&[vec![], vec![own("user.huge", &noise(1, 65_536))]], &options()).unwrap_err().to_string();
    assert!(error.starts_with("/0001: xattr: found user.huge with 65536 bytes"), "{error}");
    let strange = vec![vec![own("btrfs.compression", b"zstd")], vec![own("btrfs.compression", b"lzo")]];
    let (summary, read, _) = round(&strange, &options()).unwrap();
    assert_eq!(read, [vec![], vec![]]);
    let want = "xattr btrfs.compression of 2 inodes left out: the format has no such namespace";
    assert_eq!(summary.warnings, [want]);
}
