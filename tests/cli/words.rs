//! Help, version, refusals, summaries.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::{MKFS, Ran, Room};

fn mkfs(flags: &[&str]) -> Ran {
    Ran::of(Command::new(MKFS).args(flags))
}

#[test]
fn help_and_version() {
    for flag in ["--version", "-V"] {
        let ran = mkfs(&[flag]);
        assert_eq!(ran.assert_done().stdout, format!("mkfs-erofs {}\nlayout 1\n", env!("CARGO_PKG_VERSION")));
    }
    for flag in ["--help", "-h"] {
        let ran = mkfs(&[flag]);
        let text = &ran.assert_done().stdout;
        assert!(text.contains("Usage: mkfs-erofs [OPTIONS] <IMAGE> <SOURCE>"), "{text}");
        for flag in
            ["--ishare-key[=<NAME>]", "--ishare_key", "--xattr-inode-digest", "-b <BYTES>", "-E <WORD"]
        {
            assert!(text.contains(flag), "{flag}: {text}");
        }
    }
}

/// Tools look for a flag in the help before they use it, such as containerd for `--tar=`.
#[test]
fn help_answers_probes_for_what_there_is() {
    let text = mkfs(&["--help"]).stdout;
    for probe in [
        "--chunksize=",
        "--xattr-inode-digest=",
        "--ishare-key=",
        "--offset=",
        "--workers=",
        "--xattr-prefix=",
    ] {
        assert!(text.contains(probe), "{probe}: {text}");
    }
    for absent in ["--tar", "--blobdev", "--file-contexts", "--oci", "--s3", "--sort"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

#[test]
fn what_is_not_in_this_version_is_refused_by_name() {
    let room = Room::new();
    for (flag, line) in [
        ("-zlz4hc,level=13", "-z lz4hc: level 13, want "),
        ("--tar=f", "--tar: tarballs as sources are not in this version\n"),
        ("--tar", "--tar: tarballs as sources are not in this version\n"),
        ("--blobdev=x", "--blobdev: extra devices are not in this version\n"),
        ("--clean=data", "--clean: images as sources and incremental builds are not in this version\n"),
        ("--aufs", "--aufs: whiteouts of AUFS are not in this version\n"),
        ("--sort=none", "--sort: tarballs as sources are not in this version\n"),
        ("--file-contexts=x", "--file-contexts: SELinux file contexts are not in this version"),
        ("--compress-class=always", "--compress-class=always: needs -z, which names the algorithm"),
        ("-Esuper", "-E super: found an unknown word, want force-inode-compact, "),
    ] {
        room.build(&[flag], &room.path("img")).assert_refused(2, line);
        assert!(!room.path("img").exists(), "{flag}");
    }
}

#[test]
fn wrong_command_lines_end_with_2() {
    for flags in [
        &[][..],
        &["img"],
        &["img", "dir", "another"],
        &["--unknown", "img", "dir"],
        &["-b1000", "img", "dir"],
        &["--ishare-key", "trusted.key", "img", "dir"],
    ] {
        let ran = mkfs(flags);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{flags:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("--help"), "{flags:?}: {ran:?}");
    }
    let tip = mkfs(&["--ishare-key", "trusted.key", "img", "dir"]).stderr;
    assert!(tip.contains("tip: NAME is given after an equals sign: --ishare-key=trusted.key"), "{tip}");
    let room = Room::new();
    room.build(&["-L", "sixteen bytes is"], &room.path("img"))
        .assert_refused(2, "volume label: found 16 bytes");
    let mut command = Command::new(MKFS);
    let output =
        command.env("SOURCE_DATE_EPOCH", "1.5").arg(room.path("img")).arg(room.source()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        "mkfs-erofs: SOURCE_DATE_EPOCH: found \"1.5\", want seconds since 1970 in decimal digits\n"
    );
    assert!(!room.path("img").exists());
}

#[test]
fn the_program_answers_to_mkfs_erofs() {
    let room = Room::new();
    let drop_in = room.path("mkfs.erofs");
    symlink(MKFS, &drop_in).unwrap();
    let run = |flags: &[&str]| Ran::of(Command::new(&drop_in).args(flags));
    assert!(run(&["--help"]).assert_done().stdout.contains("Usage: mkfs.erofs [OPTIONS] <IMAGE> <SOURCE>"));
    let [image, source] =
        [room.path("img"), room.source()].map(|path| path.into_os_string().into_string().unwrap());
    // As containerd calls it for a directory.
    let uuid = "c1b9d5a2-f162-11cf-9ece-0020afc76f16";
    let ran = run(&["--quiet", "-Enoinline_data", "-U", uuid, "-T0", "--mkfs-time", &image, &source]);
    assert_eq!(ran.assert_done().stdout, "");
    assert!(room.path("img").exists());
    // With a tarball on stdin it would have no SOURCE.
    run(&["--tar=f", "--aufs", "--quiet", "-Enoinline_data", "-U", uuid, &image])
        .assert_refused(2, "--tar: ");
}

#[test]
fn the_summary_for_people() {
    let room = Room::new();
    let image = room.path("img");
    let ran = room.build(&["--ishare-key=trusted.erofs.fingerprint"], &image);
    let text = &ran.assert_done().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with(&format!("{}: ", image.display())) && lines[0].contains("UUID "), "{text}");
    assert_eq!(lines[1], "  inodes        6: 3 files, 2 directories, 1 symlink, 1 hard link");
    assert!(
        lines[2].starts_with("  contents      9.7 KiB in files, ") && lines[2].contains("saved by"),
        "{text}"
    );
    assert_eq!(lines[3], "  fingerprints  2 files, sha256 in trusted.erofs.fingerprint");
    assert_eq!(
        lines[4],
        "  kernel        mounts with Linux 6.4 (xattr_prefixes 6.4), shares page cache with Linux 7.0"
    );
}

#[test]
fn quiet_says_nothing_and_warnings_go_to_stderr() {
    let room = Room::new();
    for flag in ["--quiet", "-d0"] {
        let ran = room.build(&[flag, "--mount-point=/"], &room.path("img"));
        assert_eq!(ran.assert_done().stdout, "", "{flag}");
    }
    let ran = room.build(&["--mount-point=/"], &room.path("img"));
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.starts_with("mkfs-erofs: warning: --mount-point changes nothing"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(!ran.stdout.contains("warning"), "{ran:?}");
}

#[test]
fn the_summary_for_machines() {
    let room = Room::new();
    let image = room.path("img");
    let flags = ["--quiet", "--json", "--ishare-key=trusted.erofs.fingerprint", "--mount-point=/", "-Uclear"];
    let ran = room.build(&flags, &image);
    let value = ran.assert_done().json();
    for (key, want) in [
        ("image", serde_json::json!(image.to_str().unwrap())),
        ("image_bytes", serde_json::json!(std::fs::metadata(&image).unwrap().len())),
        ("block_size", serde_json::json!(4096)),
        ("uuid", serde_json::json!("00000000-0000-0000-0000-000000000000")),
        ("inodes", serde_json::json!(6)),
        ("files", serde_json::json!(3)),
        ("directories", serde_json::json!(2)),
        ("symlinks", serde_json::json!(1)),
        ("special_files", serde_json::json!(0)),
        ("hard_links", serde_json::json!(1)),
        ("logical_bytes", serde_json::json!(10_000)),
        ("hole_bytes", serde_json::json!(0)),
        ("kernel_needs", serde_json::json!([{ "name": "xattr_prefixes", "since": "6.4" }])),
        ("kernel_to_mount", serde_json::json!("6.4")),
        ("kernel_to_share", serde_json::json!("7.0")),
        ("incompat", serde_json::json!(["xattr_prefixes"])),
        (
            "fingerprints",
            serde_json::json!({
                "key": "trusted.erofs.fingerprint", "digest": "sha256", "files": 2, "dropped_from_source": 0
            }),
        ),
    ] {
        assert_eq!(value[key], want, "{key}");
    }
    let compat: Vec<&str> =
        value["compat"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["sb_chksum", "mtime", "plain_xattr_pfx", "ishare_xattrs"] {
        assert!(compat.contains(&name), "{name}: {compat:?}");
    }
    assert!(value["deduplicated_bytes"].as_u64().unwrap() >= 4096, "{value}");
    assert!(value["stored_bytes"].as_u64().unwrap() < 10_000, "{value}");
    assert!(value["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{value}");
    let warnings = value["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{value}");
    assert!(warnings[0].as_str().unwrap().starts_with("--mount-point changes nothing"), "{value}");
    let plain = room.build(&["--json"], &image).json();
    assert!(plain["fingerprints"].is_null() && plain["kernel_to_share"].is_null(), "{plain}");
    assert_eq!(plain["warnings"], serde_json::json!([]));
}

#[test]
fn a_closed_stdout_is_no_failure() {
    use std::process::Stdio;
    let room = Room::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(MKFS);
    let command = command.arg(room.path("img")).arg(room.source()).stdout(Stdio::from(writer));
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn scripts_answer_when_asked_for_help() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scripts = 0;
    for folder in ["tools", "benches", "fuzz"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { continue };
            // What is sourced has no first line of a program.
            if !text.starts_with("#!") || path.extension().is_none_or(|extension| extension != "sh") {
                continue;
            }
            let output = Command::new(&path).arg("--help").output().unwrap();
            let help = String::from_utf8(output.stdout.clone()).unwrap();
            let head = text.lines().nth(1).and_then(|line| line.strip_prefix("# ")).unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", path.display());
            assert!(help.starts_with(head) && help.lines().count() >= 1, "{}: {help}", path.display());
            scripts += 1;
        }
    }
    assert!(scripts > 10, "{scripts}");
}
