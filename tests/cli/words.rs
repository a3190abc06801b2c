//! Help, version, refusals, summaries.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use erofs_testkit::require::need;
use erofs_testkit::{Backing, LoopDevice, Mount, mount, place};

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
        assert!(text.contains("Usage: mkfs-erofs [OPTIONS] <IMAGE> [SOURCE]"), "{text}");
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
        "--tar=",
        "--workers=",
        "--xattr-prefix=",
    ] {
        assert!(text.contains(probe), "{probe}: {text}");
    }
    for absent in ["--vmdk-desc", "--blobdev", "--file-contexts", "--oci", "--s3", "--incremental"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

#[test]
fn what_is_not_in_this_version_is_refused_by_name() {
    let room = Room::new();
    for (flag, line) in [
        ("-zlz4hc,level=13", "-z lz4hc: level 13, want "),
        ("--tar=i", "--tar=i: found another KIND than f; only full images are in this version\n"),
        ("--blobdev=x", "--blobdev: extra devices are not in this version\n"),
        ("--clean=data", "--clean: images as sources and incremental builds are not in this version\n"),
        ("--aufs", "--aufs: needs --tar\n"),
        ("--sort=none", "--sort: needs --tar\n"),
        ("--unxz", "--unxz: compressed archives are recognised without it, and copies of what is unpacked "),
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
    room.build(&["-L", "sixteen bytes is"], &room.path("img")).assert_refused(2, "-L: found 16 bytes");
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
    assert!(run(&["--help"]).assert_done().stdout.contains("Usage: mkfs.erofs [OPTIONS] <IMAGE> [SOURCE]"));
    let [image, source] =
        [room.path("img"), room.source()].map(|path| path.into_os_string().into_string().unwrap());
    // As containerd calls it for a directory.
    let uuid = "c1b9d5a2-f162-11cf-9ece-0020afc76f16";
    let ran = run(&["--quiet", "-Enoinline_data", "-U", uuid, "-T0", "--mkfs-time", &image, &source]);
    assert_eq!(ran.assert_done().stdout, "");
    assert!(room.path("img").exists());
    // Without SOURCE, an archive is standard input, which is empty here.
    run(&["--tar=f", "--aufs", "--quiet", "-Enoinline_data", "-U", uuid, &image])
        .assert_refused(1, "standard input: tar archive, byte 0: end marker: ");
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

/// Words of messages that follow a number 1 and are no plural.
const NO_PLURALS: [&str; 4] = ["is", "has", "was", "does"];

/// The first count of one with a noun in the plural, such as `1 files`.
fn one_with_plural(text: &str) -> Option<String> {
    text.lines().find_map(one_with_plural_in)
}

fn one_with_plural_in(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().chain(["", ""]).collect();
    words.windows(3).find_map(|words| {
        let [number, first, second] = words else { return None };
        if number.trim_start_matches('(') != "1" {
            return None;
        }
        let plural = |word: &str| {
            let word = word.trim_end_matches([',', ')', ':', ';', '.']);
            word.len() > 2 && word.ends_with('s') && !word.ends_with("ss") && !NO_PLURALS.contains(&word)
        };
        // `1 inode has`, but `1 regular files`.
        let adjectives = ["extended", "extra", "hidden", "regular", "special", "hard", "symbolic", "EROFS"];
        let wrong = plural(first) || (adjectives.contains(first) && plural(second));
        wrong.then(|| words.join(" "))
    })
}

#[test]
fn one_file_is_not_called_files() {
    for (text, wrong) in [
        ("x: 1 files left", true),
        ("x (1 bytes), 2", true),
        ("so 1 extended attributes skipped", true),
        ("x: 1 file, 11 files, 0 bytes", false),
        ("here 1 is had", false),
    ] {
        assert_eq!(one_with_plural(text).is_some(), wrong, "{text}");
    }
    let room = Room::new();
    let source = room.path("one");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "x").unwrap();
    std::fs::hard_link(source.join("file"), source.join("name")).unwrap();
    symlink("file", source.join("symlink")).unwrap();
    let fifo = Command::new("mkfifo").arg(source.join("fifo")).status().unwrap();
    assert!(fifo.success());
    std::fs::write(room.path("trace"), "one.img /file 0 1 read\n").unwrap();
    std::fs::write(room.path("scenario.toml"), ONE_READ).unwrap();
    let mut lines = 0;
    let mut check = |program: &str, line: &str| {
        let output = Command::new(program).current_dir(room.path("")).args(line.split(' ')).output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert_eq!(one_with_plural(&text), None, "{line}: {text}");
        assert!(!text.is_empty(), "{line}");
        lines += text.lines().count();
    };
    check(MKFS, "-T0 --ishare-key one.img one");
    check(MKFS, "-T0 --ishare-key -zlz4 -m4096:lz4 --verity compressed.img one");
    for line in [
        "inspect one.img",
        "inspect compressed.img",
        "ls -lR --xattrs one.img",
        "extract -o out one.img",
        "extract -o out --overwrite one.img /file",
        "index -o meta.img one.img",
        "inspect meta.img",
        "verify one.img",
        "verify --verity compressed.img",
        "verify --domain one.img",
        "verify --profile=hardened meta.img",
        "simulate one.img",
        "simulate --verify one.img compressed.img",
        "simulate --max-marginal 0 one.img",
        "simulate --access trace:trace one.img",
        "simulate --scenario scenario.toml",
        "measure one",
        "doctor",
        "domain check 1",
    ] {
        check(crate::ISHARE, line);
    }
    assert!(lines > 100, "{lines}");
}

/// A scenario with a single read of one byte.
const ONE_READ: &str = r#"title = "one"
event = [
  { do = "mount", mount = "m", image = "a", domain = "d" },
  { do = "read", mount = "m", path = "/file", length = 1 },
]

[images]
a = "one.img"
"#;

/// `tools/test.sh` compares these lists before and after all tests.
#[test]
fn mounts_and_loop_devices_of_tests_are_listed() {
    let check = "the list of mounts and loop devices of tests";
    let Some(()) = need(check, mount::supported(Backing::Loop)) else { return };
    let target = place::target_dir();
    let list = || {
        let mut bash = Command::new("bash");
        bash.current_dir(place::workspace()).args(["-c", ". tools/left.sh && kernel_objects \"$1\"", "bash"]);
        Ran::of(bash.arg(&target)).assert_done().stdout.clone()
    };
    let dir = place::disk_scratch().unwrap();
    let file = dir.path().join("disk");
    std::fs::write(&file, vec![0; 1 << 20]).unwrap();
    let device = LoopDevice::new(&file).unwrap();
    let mounted = Mount::with_options("tmpfs", Path::new("none"), "size=1m").unwrap();
    let name = device.path().file_name().unwrap().to_str().unwrap();
    let loop_line = format!("loop device {name} of {}\n", file.display());
    let mount_line = format!("mount of tmpfs on {}\n", mounted.path().display());
    let text = list();
    assert!(text.contains(&loop_line) && text.contains(&mount_line), "{text}");
    drop(mounted);
    assert!(!list().contains(&mount_line));
}
