//! `erofs-ishare doctor` on the files of several machines, and `measure` and `trace` on real mounts of this
//! one.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use erofs_testkit::require::need;
use erofs_testkit::{Backing, Mount, content, mount, peers, place};
use serde_json::Value;

/// The programs under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
/// A name that no report may contain.
const SECRET: &str = "topsecret";
const PAGE: u64 = 4096;

fn ishare(arguments: &[&str]) -> Output {
    Command::new(ISHARE).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

/// The files of a machine: path and text.
fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = place::scratch().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    root
}

const NO_EROFS: &str = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n";
const EROFS: &str = "nodev\ttmpfs\n\terofs\n";
const WITH_SHARING: &str = "CONFIG_EROFS_FS=m\nCONFIG_EROFS_FS_XATTR=y\nCONFIG_EROFS_FS_PAGE_CACHE_SHARE=y\n";
const WITHOUT_SHARING: &str = "CONFIG_EROFS_FS=m\n# CONFIG_EROFS_FS_PAGE_CACHE_SHARE is not set\n";
/// What is said of every kernel that shares; no more than notes.
const NOTES: [&str; 8] = [
    "sub-page-extents",
    "remount-oops",
    "remount-unchecked",
    "private-splice",
    "direct-io-refused",
    "meters-blind",
    "compressed-cache",
    "fragments-cost",
];

/// A machine, and what is said of it: verdict, exit status, and findings that are not among [`NOTES`].
struct Case {
    what: &'static str,
    files: &'static [(&'static str, &'static str)],
    verdict: &'static str,
    status: i32,
    notes: bool,
    findings: &'static [&'static str],
}

const CASES: [Case; 9] = [
    Case {
        what: "too old",
        files: &[
            ("proc/sys/kernel/osrelease", "6.18.44-fc-v445\n"),
            ("proc/self/mountinfo", NO_EROFS),
            ("proc/filesystems", EROFS),
            ("boot/config-6.18.44-fc-v445", "CONFIG_EROFS_FS=y\n"),
        ],
        verdict: "no",
        status: 3,
        notes: false,
        findings: &["problem kernel-too-old"],
    },
    Case {
        what: "all is well",
        files: &[
            ("proc/sys/kernel/osrelease", "7.2.13+deb14-amd64\n"),
            (
                "proc/self/mountinfo",
                "40 27 7:0 / /a ro - erofs /dev/loop0 ro,user_xattr,inode_share\n\
                 41 27 7:1 / /b ro - erofs /dev/loop1 ro,user_xattr,inode_share\n",
            ),
            ("proc/filesystems", EROFS),
            ("boot/config-7.2.13+deb14-amd64", WITH_SHARING),
            ("sys/dev/block/7:0/loop/backing_file", "/i/a.img\n"),
            ("sys/dev/block/7:0/loop/dio", "1\n"),
            ("sys/dev/block/7:1/loop/backing_file", "/i/b.img\n"),
            ("sys/dev/block/7:1/loop/dio", "1\n"),
            ("proc/77/cmdline", "grep\0domain_id=\0"),
        ],
        verdict: "yes",
        status: 0,
        notes: true,
        findings: &[],
    },
    Case {
        what: "everything is wrong",
        files: &[
            ("proc/sys/kernel/osrelease", "7.2.3-1-generic\n"),
            (
                "proc/self/mountinfo",
                "40 27 7:0 / /a\\040b ro - erofs /dev/loop0 ro\n\
                 41 27 7:0 / /again ro - erofs /dev/loop0 ro\n\
                 42 27 253:3 / /v ro - erofs /dev/mapper/v ro,inode_share,cache_strategy=readaround\n\
                 43 27 0:40 / /f ro - erofs /i/f.img ro,inode_share\n",
            ),
            ("proc/filesystems", EROFS),
            ("lib/modules/7.2.3-1-generic/config", WITH_SHARING),
            ("sys/dev/block/7:0/loop/backing_file", "/i/a.img\n"),
            ("sys/dev/block/7:0/loop/dio", "0\n"),
            ("proc/412/cmdline", "snapshotd\0-o\0inode_share,domain_id=topsecret\0"),
            ("proc/412/comm", "snapshotd\n"),
            ("etc/fstab", "/i/a.img /a erofs ro,loop,inode_share,domain_id=topsecret 0 0\n"),
            ("etc/systemd/system/a.mount", "[Mount]\nOptions=ro,domain_id=topsecret\n"),
            ("etc/systemd/system/b.service.d/x.conf", "[Service]\nExecStart=mount -o domain_id=topsecret\n"),
        ],
        verdict: "yes",
        status: 3,
        notes: true,
        findings: &[
            "warning undelimited-key",
            "warning mount-does-not-share /a b",
            "warning loop-buffered /a b",
            "warning mount-does-not-share /again",
            "warning loop-buffered /again",
            "warning file-buffered /f",
            "warning mixed-backends",
            "warning domain-in-process-list process 412 (snapshotd)",
            "warning domain-in-file /etc/fstab",
            "warning domain-in-file /etc/systemd/system/a.mount",
            "warning domain-in-file /etc/systemd/system/b.service.d/x.conf",
            "note mount-compressed-cache /v",
            "note device-mounted-twice /a b",
        ],
    },
    Case {
        what: "no configuration is found",
        files: &[
            ("proc/sys/kernel/osrelease", "7.3.0-rc3\n"),
            ("proc/self/mountinfo", NO_EROFS),
            ("proc/filesystems", EROFS),
        ],
        verdict: "unknown",
        status: 3,
        notes: true,
        findings: &["warning config-unknown"],
    },
    Case {
        what: "use after free under directio",
        files: &[
            ("proc/sys/kernel/osrelease", "6.12.50-amd64\n"),
            ("proc/self/mountinfo", "43 27 0:40 / /f ro - erofs /i/f.img ro,directio\n"),
            ("proc/filesystems", EROFS),
        ],
        verdict: "no",
        status: 3,
        notes: false,
        findings: &["problem kernel-too-old", "warning directio-use-after-free"],
    },
    Case {
        what: "back-ported",
        files: &[
            ("proc/sys/kernel/osrelease", "6.12.0-211.el10.x86_64\n"),
            ("proc/self/mountinfo", NO_EROFS),
            ("lib/modules/6.12.0-211.el10.x86_64/config", WITH_SHARING),
            (
                "lib/modules/6.12.0-211.el10.x86_64/modules.dep",
                "kernel/fs/erofs/erofs.ko.xz: kernel/x.ko.xz\n",
            ),
        ],
        verdict: "yes",
        status: 3,
        notes: true,
        findings: &["warning undelimited-key", "note module-not-loaded", "note kernel-back-port"],
    },
    Case {
        what: "built without sharing, module not installed",
        files: &[
            ("proc/sys/kernel/osrelease", "7.2.13\n"),
            ("proc/self/mountinfo", NO_EROFS),
            ("boot/config-7.2.13", WITHOUT_SHARING),
            ("lib/modules/7.2.13/modules.dep", "kernel/fs/ext4/ext4.ko:\n"),
        ],
        verdict: "no",
        status: 3,
        notes: false,
        findings: &["problem module-missing", "problem share-off"],
    },
    Case {
        what: "built without EROFS",
        files: &[
            ("proc/sys/kernel/osrelease", "7.2.13\n"),
            ("proc/self/mountinfo", NO_EROFS),
            ("boot/config-7.2.13", "# CONFIG_EROFS_FS is not set\n"),
        ],
        verdict: "no",
        status: 3,
        notes: false,
        findings: &["problem erofs-off"],
    },
    Case {
        what: "no release",
        files: &[("proc/self/mountinfo", ""), ("proc/filesystems", EROFS)],
        verdict: "unknown",
        status: 3,
        notes: true,
        findings: &["warning kernel-version-unknown", "warning config-unknown"],
    },
];

#[test]
fn machines_are_told_what_to_change() {
    for case in &CASES {
        let root = machine(case.files);
        let output = ishare(&["doctor", "--json", "--root", root.path().to_str().unwrap()]);
        let report = json(&output);
        let what = case.what;
        assert_eq!(report["can_share"], case.verdict, "{what}");
        assert_eq!(output.status.code(), Some(case.status), "{what}");
        let findings = report["findings"].as_array().unwrap();
        let line = |finding: &Value| {
            assert!(
                !finding["text"].as_str().unwrap().is_empty()
                    && !finding["advice"].as_str().unwrap().is_empty()
            );
            let fields =
                ["severity", "id", "subject"].map(|field| finding[field].as_str().unwrap_or_default());
            fields.join(" ").trim_end().to_owned()
        };
        let (known, found): (Vec<String>, Vec<String>) = findings
            .iter()
            .map(line)
            .partition(|line| line.split_once(' ').is_some_and(|(_, id)| NOTES.contains(&id)));
        assert_eq!(found, case.findings, "{what}");
        let notes: Vec<String> = NOTES.iter().map(|id| format!("note {id}")).collect();
        assert_eq!(known, if case.notes { notes } else { Vec::new() }, "{what}");
        let text = ishare(&["doctor", "--root", root.path().to_str().unwrap()]);
        assert_eq!(text.status.code(), Some(case.status), "{what}");
        for bytes in [&output.stdout, &text.stdout] {
            assert!(!String::from_utf8_lossy(bytes).contains(SECRET), "{what} names the domain");
        }
    }
}

#[test]
fn newer_kernels_are_not_said_to_have_what_was_not_looked_at() {
    let root = machine(CASES[3].files);
    let text = ishare(&["doctor", "--root", root.path().to_str().unwrap()]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("[private-splice] as of Linux 7.2.13, which is older than this kernel: sendfile"),
        "{text}"
    );
}

#[test]
fn only_root_keeps_a_domain_from_others() {
    let root = machine(&[("proc/self/mountinfo", ""), ("etc/fstab", "/i /a erofs domain_id=topsecret")]);
    fs::set_permissions(root.path().join("etc/fstab"), fs::Permissions::from_mode(0o600)).unwrap();
    let report = json(&ishare(&["doctor", "--json", "--root", root.path().to_str().unwrap()]));
    let findings = report["findings"].as_array().unwrap();
    let file = findings.iter().find(|finding| finding["id"] == "domain-in-file").unwrap();
    assert_eq!(file["severity"], "note");
}

#[test]
fn what_is_no_machine_is_an_error() {
    let root = machine(&[("proc/self/mountinfo", "x\n")]);
    let wrong = ishare(&["doctor", "--root", root.path().to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(
        stderr(&wrong),
        "erofs-ishare: /proc/self/mountinfo: line 1: found x, want the fields of a mount\n"
    );
    let absent = ishare(&["doctor", "--root", "/does/not/exist"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(
        stderr(&absent).contains("/does/not/exist/proc/self/mountinfo: cannot read"),
        "{}",
        stderr(&absent)
    );
}

/// The running machine, whatever it is.
#[test]
fn this_machine_is_looked_at() {
    let output = ishare(&["doctor", "--json"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", stderr(&output));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(json(&output)["kernel"]["release"], release.trim());
}

/// An image of four files: 74 pages, 1 page, 3 pages under an odd name, none.
fn image(dir: &Path) -> PathBuf {
    let source = dir.join("source");
    fs::create_dir_all(source.join("d")).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(source.join("a"), content::noise(1, 300_000)).unwrap();
    fs::write(source.join("b"), b"b").unwrap();
    fs::write(source.join("d/odd \n name"), content::noise(2, 12_000)).unwrap();
    fs::write(source.join("empty"), b"").unwrap();
    fs::hard_link(source.join("a"), source.join("d/z")).unwrap();
    let image = dir.join("image");
    peers::build(MKFS, &["--ishare-key"], &image, &source).unwrap();
    image
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn measured_is_what_was_read() {
    let Some(backings) = need("pages in memory of real mounts", mount::both()) else { return };
    let dir = place::disk_scratch().unwrap();
    let image = image(dir.path());
    for backing in backings {
        // A new mount has no pages in memory.
        let mounted = Mount::new(&image, backing).unwrap();
        let point = mounted.path().to_str().unwrap();
        for (read, pages, files) in [
            (None, 0, 0),
            (Some("b"), 1, 1),
            (Some("a"), 75, 2),
            (Some("d/odd \n name"), 78, 3),
            (None, 78, 3),
        ] {
            if let Some(name) = read {
                fs::read(mounted.path().join(name)).unwrap();
            }
            let output = ishare(&["measure", "--json", "--frames", point]);
            assert!(output.status.success(), "{backing:?}: {}", stderr(&output));
            let report = json(&output);
            let one = &report["mounts"][0];
            assert_eq!(Path::new(one["image"].as_str().unwrap()), image);
            assert_eq!((bytes(&one["files"]), bytes(&one["resident_files"])), (3, files), "{backing:?}");
            let memory = &report["measured"];
            for value in
                [&one["resident_bytes"], &one["own_bytes"], &memory["seen_bytes"], &memory["memory_bytes"]]
            {
                assert_eq!(bytes(value), pages * PAGE, "{backing:?} {read:?}: {report}");
            }
            assert_eq!(memory["memory_by"], "frames");
            let predicted = &report["predicted"];
            assert_eq!(bytes(&predicted["all_files"]["private_bytes"]), 78 * PAGE);
            assert_eq!(bytes(&predicted["resident_files"]["shared_bytes"]), pages * PAGE);
            let difference = &report["difference"];
            assert_eq!(
                difference["all_files_bytes"].as_i64().unwrap(),
                signed(pages * PAGE) - signed(78 * PAGE)
            );
            assert_eq!(difference["resident_files_bytes"], 0);
            assert_eq!(difference["resident_pages_bytes"], 0);
        }
        let text = String::from_utf8(ishare(&["measure", point]).stdout).unwrap();
        assert!(text.contains("/d/odd \\x0a name"), "{text}");
        assert!(text.contains("difference 0"), "{text}");
    }
}

#[test]
fn two_mounts_of_one_device_are_counted_once() {
    let Some(()) = need("one device at two places", mount::supported(Backing::Loop)) else { return };
    let dir = place::disk_scratch().unwrap();
    let image = image(dir.path());
    let mounted = Mount::new(&image, Backing::Loop).unwrap();
    let again = Mount::bind(mounted.path()).unwrap();
    fs::read(mounted.path().join("a")).unwrap();
    let points = [mounted.path().to_str().unwrap(), again.path().to_str().unwrap()];
    let plain = ishare(&["measure", "--json", points[0], points[1]]);
    let frames = ishare(&["measure", "--json", "--frames", points[0], points[1]]);
    for output in [plain, frames] {
        let report = json(&output);
        assert_eq!(report["mounts"][1]["same_as"], points[0]);
        assert_eq!(bytes(&report["mounts"][1]["resident_bytes"]), 74 * PAGE);
        assert_eq!(bytes(&report["measured"]["memory_bytes"]), 74 * PAGE, "{report}");
        assert_eq!(report["difference"]["resident_pages_bytes"], 0);
    }
}

#[test]
fn wrong_mounts_and_images_are_errors() {
    let Some(()) = need("mounts with wrong images", mount::supported(Backing::Loop)) else { return };
    let dir = place::disk_scratch().unwrap();
    let first = image(dir.path());
    fs::write(dir.path().join("source/b"), b"longer").unwrap();
    let second = dir.path().join("second");
    peers::build(MKFS, &["--ishare-key"], &second, &dir.path().join("source")).unwrap();
    let mounted = Mount::new(&first, Backing::Loop).unwrap();
    let point = mounted.path().to_str().unwrap();
    let other = format!("{point}={}", second.display());
    let gone = format!("{point}=/does/not/exist");
    for (arguments, status, want) in [
        (
            &["measure", "/proc"][..],
            1,
            "/proc: found a mount of proc, want a directory on which an EROFS image is mounted",
        ),
        (&["measure", "/does/not/exist"], 1, "/does/not/exist: No such file"),
        (&["measure", point, point], 2, "found it twice, want every mount once"),
        (&["measure", point, "--image", &other], 1, "second: 1 file differs from those of the mount"),
        (&["measure", point, "--image", &gone], 1, "nothing is predicted: /does/not/exist: No such file"),
        (
            &["measure", point, "--image", "/elsewhere=x"],
            2,
            "--image /elsewhere=x: want one of the mount points",
        ),
        (&["measure", point, "--domain", &format!("{point}=")], 2, "found nothing behind the equals sign"),
        (&["trace", point], 2, "--output"),
        (&["trace", point, "-o", "/does/not/exist"], 1, "/does/not/exist: No such file"),
        (&["trace", point, "-o", "-", "--interval=0", "--duration=1"], 2, "want seconds, more than 0"),
    ] {
        let output = ishare(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(want), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn others_than_root_are_told_that_mincore_lies() {
    let Some(()) = need("mincore of another user", mount::supported(Backing::Loop)) else { return };
    let dir = place::disk_scratch().unwrap();
    let image = image(dir.path());
    let mounted = Mount::new(&image, Backing::Loop).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Copied to where everybody may start it, wherever the target directory is.
    let shelf = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(shelf.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = shelf.path().join("erofs-ishare");
    fs::copy(ISHARE, &program).unwrap();
    let mut command = Command::new(&program);
    let output =
        command.args(["measure", "--json"]).arg(mounted.path()).uid(65534).gid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("of 3 files, 3 are not counted"), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(bytes(&report["mounts"][0]["not_counted_files"]), 3);
    assert_eq!(bytes(&report["measured"]["memory_bytes"]), 0);
}

#[test]
fn traces_are_the_pages_in_memory() {
    let Some(()) = need("a trace of a real mount", mount::supported(Backing::Loop)) else { return };
    let dir = place::disk_scratch().unwrap();
    let image = image(dir.path());
    let mounted = Mount::new(&image, Backing::Loop).unwrap();
    let point = mounted.path().to_str().unwrap();
    fs::read(mounted.path().join("d/z")).unwrap();
    fs::read(mounted.path().join("d/odd \n name")).unwrap();
    let list = dir.path().join("trace");
    let list_name = list.to_str().unwrap();
    let named = format!("{point}=i #1.img");
    let lines = || -> Vec<String> {
        let text = fs::read_to_string(&list).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let output = ishare(&["trace", point, "-o", list_name]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = image.to_str().unwrap();
    let want =
        [format!("{shown} /a 0 300000 pages"), format!("{shown} /d/odd\\040\\012\\040name 0 12000 pages")];
    assert_eq!(lines(), want);
    let arguments = [
        "trace",
        point,
        "-o",
        list_name,
        "--method=mmap",
        "--image",
        &named,
        "--interval=0.1",
        "--duration=0.25",
    ];
    let output = ishare(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let want = ["i\\040#1.img /a 0 300000 mmap", "i\\040#1.img /d/odd\\040\\012\\040name 0 12000 mmap"];
    assert_eq!(lines(), want);
    assert!(stderr(&output).contains("2 lines, 77 pages"), "{}", stderr(&output));
    // A directory of the image that is mounted alone: paths are still those of the image, and simulate takes
    // the list as it is, from another directory too.
    let part = Mount::bind(&mounted.path().join("d")).unwrap();
    let output = ishare(&["trace", part.path().to_str().unwrap(), "-o", list_name]);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = ishare(&["measure", part.path().to_str().unwrap()]);
    assert!(stderr(&output).contains("only /d of "), "{}", stderr(&output));
    drop(part);
    assert_eq!(
        lines(),
        [format!("{shown} /d/odd\\040\\012\\040name 0 12000 pages"), format!("{shown} /d/z 0 300000 pages")]
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_erofs-ishare"));
    let command =
        command.current_dir(dir.path()).args(["simulate", "image", "--access=trace:trace", "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(bytes(&json(&output)["total"]["private_bytes"]), 77 * PAGE);
}
