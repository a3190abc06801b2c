//! `erofs-ishare simulate` on images of `mkfs-erofs`: the figures, the forms of the report, and the exit
//! codes.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use erofs_testkit::require::{Absent, need};
use erofs_testkit::{content, peers, place};
use serde_json::Value;

const PAGE: u64 = 4096;

/// Makes an image of files of these lengths; the content of a file follows from its name and length.
fn image(dir: &Path, name: &str, options: &[&str], files: &[(&str, usize)]) {
    let source = dir.join(format!("{name}.d"));
    for (file, length) in files {
        let seed = file.bytes().map(u64::from).sum::<u64>() * 1000 + *length as u64;
        let path = source.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content::noise(seed, *length)).unwrap();
    }
    build(dir, name, options);
}

/// Makes an image of the directory that belongs to it.
fn build(dir: &Path, name: &str, options: &[&str]) {
    let mut mkfs = Command::new(env!("CARGO_BIN_EXE_mkfs-erofs"));
    let source = dir.join(format!("{name}.d"));
    let status = mkfs.arg("--quiet").args(options).arg(dir.join(name)).arg(source).status().unwrap();
    assert!(status.success(), "{name}");
}

fn simulate(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_erofs-ishare"));
    command.current_dir(dir).arg("simulate").args(arguments).output().unwrap()
}

/// The report as JSON.
#[track_caller]
fn report(dir: &Path, arguments: &[&str]) -> Value {
    let output = simulate(dir, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pages(value: &Value) -> u64 {
    let bytes = value.as_u64().unwrap();
    assert_eq!(bytes % PAGE, 0);
    bytes / PAGE
}

/// Pages without sharing and with it.
fn total(report: &Value) -> (u64, u64) {
    let total = &report["total"];
    let (private, shared) = (pages(&total["private_bytes"]), pages(&total["shared_bytes"]));
    assert_eq!(pages(&total["saved_bytes"]), private.saturating_sub(shared));
    (private, shared)
}

/// What each image adds, in pages.
fn added(report: &Value) -> Vec<u64> {
    report["images"].as_array().unwrap().iter().map(|image| pages(&image["marginal_bytes"])).collect()
}

/// The row of a list that has this code.
fn coded<'a>(report: &'a Value, list: &str, code: &str) -> &'a Value {
    let rows = report[list].as_array().unwrap();
    rows.iter().find(|row| row["code"] == code).unwrap_or_else(|| panic!("no {code} in {list}: {report:#}"))
}

/// Three images: 5 + 3 + 1 pages; the same with one file changed; the same without fingerprints.
fn images() -> tempfile::TempDir {
    let dir = place::scratch().unwrap();
    let key = &["--ishare-key"][..];
    image(dir.path(), "a", key, &[("one", 20_000), ("two", 12_000), ("three", 1), ("empty", 0)]);
    image(dir.path(), "b", key, &[("one", 20_000), ("two", 12_001), ("three", 1)]);
    image(dir.path(), "c", &[], &[("one", 20_000), ("two", 12_000), ("three", 1)]);
    dir
}

#[test]
fn the_figures_are_those_of_the_page_cache() {
    let dir = images();
    let c = "--allow-unshared";
    for (arguments, private, shared, adds) in [
        (&["a"][..], 9, 9, &[9][..]),
        (&["a", "b"], 18, 12, &[9, 3]),
        (&["b", "a"], 18, 12, &[9, 3]),
        (&["a", "b", "c", c], 27, 21, &[9, 3, 9]),
        (&["--domain=x=a", "--domain=y=b"], 18, 18, &[9, 9]),
        (&["--domain=x=a,c", "--domain=y", "b", c], 27, 27, &[9, 9, 9]),
        (&["--access=all", "a", "b"], 18, 12, &[9, 3]),
        (&["--access=read", "a", "b"], 18, 12, &[9, 3]),
        (&["--access=mmap", "a", "b"], 18, 12, &[9, 3]),
        (&["--access=sendfile", "a", "b"], 18, 18, &[9, 9]),
        (&["--access=sendfile", "--kernel=splice", "a", "b"], 18, 12, &[9, 3]),
        (&["--backend=loop", "a", "b"], 18, 12, &[9, 3]),
        (&["--backend=loop-buffered", "a", "b"], 18, 12, &[9, 3]),
        (&["--backend=dm-verity", "a", "b"], 18, 12, &[9, 3]),
        (&["--backend=file", "a", "b"], 18, 12, &[9, 3]),
        (&["--backend=file-directio", "a", "b"], 18, 12, &[9, 3]),
    ] {
        let report = report(dir.path(), arguments);
        assert_eq!(total(&report), (private, shared), "{arguments:?}");
        assert_eq!(added(&report), adds, "{arguments:?}");
    }
}

#[test]
fn the_table_has_the_shape_of_the_kernels() {
    let dir = images();
    let text = String::from_utf8(simulate(dir.path(), &["a", "b"]).stdout).unwrap();
    let rows: Vec<Vec<&str>> =
        text.lines().skip(2).take(3).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0].join(" "), "image set page cache share memory reduction");
    assert_eq!(rows[1].join(" "), "one: a, b no 72.0 KiB -");
    assert_eq!(rows[2].join(" "), "yes 48.0 KiB 33.3 %");
    for word in ["Linux 7.2, every file read completely, backend block", "it adds", "metadata takes"] {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    let csv = String::from_utf8(simulate(dir.path(), &["a", "b", "--csv"]).stdout).unwrap();
    assert_eq!(
        csv,
        "image,domain,files,pages,marginal_bytes\n\"a\",\"one\",3,9,36864\n\"b\",\"one\",3,9,12288\n"
    );
    let report = report(dir.path(), &["a", "b"]);
    assert_eq!((report["kernel"].as_str(), report["access"].as_str()), (Some("7.2"), Some("all")));
    assert_eq!((&report["domains"][0]["name"], &report["domains"][0]["images"]), (&"one".into(), &2.into()));
    assert_eq!(report["domains"][0]["saved_bytes"], report["total"]["saved_bytes"]);
}

#[test]
fn reasons_and_examples_are_named() {
    let dir = images();
    let found = report(dir.path(), &["a", "c", "--allow-unshared"]);
    let reason = coded(&found, "not_shared", "no_feature");
    assert_eq!(reason["reason"], "the image does not announce fingerprints");
    assert_eq!((reason["files"].as_u64(), reason["bytes"].as_u64()), (Some(3), Some(9 * PAGE)));
    assert_eq!(
        (&reason["largest"][0]["path"], &reason["largest"][0]["image"]),
        (&"/one".into(), &"c".into())
    );
    coded(&found, "advice", "no_feature");
    let text = String::from_utf8(simulate(dir.path(), &["a", "c", "--allow-unshared"]).stdout).unwrap();
    for word in ["not shared", "reduction", "c:/one", "36.0 KiB", "advice: 1 image announces no fingerprints"]
    {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    let found = report(dir.path(), &["--domain=x=a", "--domain=y=b"]);
    let reason = coded(&found, "not_shared", "other_domain");
    assert_eq!((reason["files"].as_u64(), pages(&reason["bytes"])), (Some(2), 6));
    assert_eq!(pages(&coded(&found, "advice", "other_domain")["bytes"]), 6);
    let found = report(dir.path(), &["--access=sendfile", "a", "b"]);
    assert_eq!(pages(&coded(&found, "not_shared", "splice")["bytes"]), 18);
    coded(&found, "advice", "splice");
}

/// Images whose fingerprints the source claims: three sizes under one value.
#[test]
fn losers_are_told_from_each_other() {
    let dir = place::scratch().unwrap();
    for (name, length) in [("s", 5000), ("t", 9000), ("u", 9000)] {
        let source = dir.path().join(format!("{name}.d"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("f"), content::noise(1, length)).unwrap();
        let set = xattr::set(source.join("f"), "user.fp", b"claimed")
            .map_err(|error| Absent::because(error.to_string()));
        let Some(()) = need("fingerprints of the source in simulate", set) else { return };
        build(dir.path(), name, &["--ishare-key=user.fp", "--ishare-digest=source"]);
    }
    let found = report(dir.path(), &["s", "t", "u"]);
    assert_eq!(added(&found), [2, 3, 3]);
    assert_eq!(coded(&found, "not_shared", "other_size")["files"], 1);
    assert_eq!(coded(&found, "not_shared", "first_comer")["files"], 1);
    coded(&found, "advice", "several_sizes");
    // Contents tell that one value stands for two of them.
    let found = report(dir.path(), &["s", "t", "--verify"]);
    assert_eq!(coded(&found, "advice", "wrong_fingerprint")["files"], 1);
}

#[test]
fn metadata_is_what_mounts_take() {
    let dir = place::scratch().unwrap();
    let names: Vec<String> = (0..200).map(|n| format!("dir/file-{n:04}")).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 10_000)).collect();
    image(dir.path(), "i", &["--ishare-key", "-Enoinline_data"], &files);
    let found = report(dir.path(), &["i"]);
    let metadata = &found["metadata"];
    // The root, and a directory whose 200 entries need more than one page.
    let dirs = pages(&metadata["directories_bytes"]);
    assert!((3..=4).contains(&dirs), "{dirs}");
    // A compact inode has 32 bytes, its attribute 68: with the slots that are left free 128, so 200 have 6.25
    // pages.
    let device = pages(&metadata["device_bytes"]);
    assert!((7..=9).contains(&device), "{device}");
    assert_eq!(pages(&found["metadata_bytes"]), dirs + device);
    assert_eq!(found["images"][0]["metadata_bytes"], found["metadata_bytes"]);
}

#[test]
fn duplicates_on_disk_are_counted_within_and_across() {
    let dir = place::scratch().unwrap();
    for (name, options) in [("once", &["--ishare-key"][..]), ("twice", &["--ishare-key", "--no-file-dedupe"])]
    {
        let source = dir.path().join(format!("{name}.d"));
        fs::create_dir(&source).unwrap();
        for file in ["x", "y"] {
            fs::write(source.join(file), content::noise(7, 8192)).unwrap();
        }
        build(dir.path(), name, &[options, &["-Enoinline_data"]].concat());
    }
    for (arguments, by) in
        [(&["once", "twice"][..], "fingerprints"), (&["once", "twice", "--verify"], "contents")]
    {
        let found = report(dir.path(), arguments);
        let duplicates = &found["duplicates"];
        assert_eq!(duplicates["by"], by);
        assert_eq!(
            (&duplicates["within_images_files"], &duplicates["within_images_bytes"]),
            (&1.into(), &8192.into())
        );
        assert_eq!(
            (&duplicates["across_images_files"], &duplicates["across_images_bytes"]),
            (&1.into(), &8192.into())
        );
        assert_eq!(total(&found), (8, 2), "twins share");
    }
    // The disk is the same whatever is read, and an image that is mounted twice is one image.
    let mount = |name: &str, image: &str| {
        format!("{{ do = 'mount', mount = '{name}', image = '{image}', domain = 'd' }},")
    };
    let mounts = [mount("m1", "once"), mount("m2", "twice"), mount("m3", "twice")].concat();
    let images = "[images]\nonce = 'once'\ntwice = 'twice'\n";
    fs::write(dir.path().join("s.toml"), format!("title = 't'\nevent = [{mounts}]\n{images}")).unwrap();
    fs::write(dir.path().join("t"), "once /x 0 1 read\n").unwrap();
    for arguments in [&["--scenario=s.toml"][..], &["once", "twice", "--access=trace:t"]] {
        let duplicates = &report(dir.path(), arguments)["duplicates"];
        let counts =
            ["within_images_files", "within_images_bytes", "across_images_files", "across_images_bytes"];
        let found = counts.map(|key| duplicates[key].as_u64().unwrap());
        assert_eq!(found, [1, 8192, 1, 8192], "{arguments:?}");
        let text = String::from_utf8(simulate(dir.path(), arguments).stdout).unwrap();
        assert!(text.contains("8.0 KiB in 1 file across images"), "{text}");
    }
}

/// Companions hold no data: what is about contents needs their originals.
#[test]
fn companions_are_read_with_their_originals() {
    let dir = images();
    let ishare = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_erofs-ishare"));
        command.current_dir(dir.path()).args(arguments).output().unwrap()
    };
    image(dir.path(), "d", &["-T1"], &[("one", 20_000), ("two", 12_000), ("three", 1)]);
    for original in ["c", "d"] {
        let output = ishare(&["index", original, "-o", &format!("{original}.meta")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let devices = ["--device=c.meta=c", "--device=d.meta=d"];
    for arguments in [&["c.meta", "d.meta"][..], &["--domain=x=c.meta,d.meta"]] {
        let found = report(dir.path(), &[arguments, &devices, &["--verify"]].concat());
        assert_eq!(total(&found), (18, 9), "{arguments:?}");
        assert_eq!(found["duplicates"]["across_images_files"], 3);
    }
    assert_eq!(total(&report(dir.path(), &["c.meta", "--device=c", "--verify"])), (9, 9));
    let verified = ishare(&[&["verify", "--domain", "c.meta", "d.meta"][..], &devices].concat());
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && text.contains("domain: right (2 images"), "{text}");
    for (arguments, code) in [
        (&["simulate", "c.meta", "d.meta", "--device=c"][..], 2),
        (&["verify", "--domain", "c.meta", "d.meta", "--device=c"], 16),
        (&["simulate", "c.meta", "--verify"], 1),
    ] {
        let output = ishare(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(code), 1), "{arguments:?}: {said}");
    }
}

#[test]
fn a_build_stamp_is_found_in_contents() {
    let dir = place::scratch().unwrap();
    let mut program = content::noise(3, 100_000);
    for name in ["old", "new"] {
        let source = dir.path().join(format!("{name}.d"));
        fs::create_dir_all(source.join("usr/bin")).unwrap();
        fs::write(source.join("usr/bin/program"), &program).unwrap();
        build(dir.path(), name, &["--ishare-key"]);
        for byte in &mut program[5000..5004] {
            *byte ^= 0xff;
        }
    }
    let found = report(dir.path(), &["old", "new"]);
    let same = coded(&found, "advice", "same_size");
    assert_eq!((&same["files"], pages(&same["bytes"])), (&1.into(), 25));
    assert!(same["text"].as_str().unwrap().contains("--verify"), "{same}");
    assert_eq!(found["directories"][0]["path"], "/usr/bin");
    assert_eq!(pages(&found["directories"][0]["shared_bytes"]), 50);
    let found = report(dir.path(), &["old", "new", "--verify"]);
    let stamp = coded(&found, "advice", "build_stamp");
    assert!(stamp["text"].as_str().unwrap().contains("only 4 bytes"), "{stamp}");
    assert_eq!(stamp["largest"][0]["path"], "/usr/bin/program");
}

/// Kernels read such files wrong where they share, or crash. Made by `mkfs.erofs`, because the builder does
/// not.
#[test]
fn files_with_several_places_in_a_page_are_named() {
    let Some(peers) = need("files of mkfs.erofs with small chunks", peers::find()) else { return };
    let dir = place::scratch().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    content::sparse(
        &source.join("holes"),
        8192,
        &[(0, content::noise(1, 1024)), (4096, content::noise(2, 100))],
    )
    .unwrap();
    fs::write(source.join("flat"), content::noise(3, 8192)).unwrap();
    for (name, options, files) in
        [("small", &["-b1024", "--chunksize=1024"][..], 1), ("whole", &["-b4096", "--chunksize=4096"], 0)]
    {
        let options = [options, &["--xattr-inode-digest=trusted.erofs.fingerprint"]].concat();
        peers::build(peers.mkfs.to_str().unwrap(), &options, &dir.path().join(name), &source).unwrap();
        let found = report(dir.path(), &[name]);
        let advice: Vec<_> = found["advice"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["code"] == "sub_page_extents")
            .collect();
        assert_eq!(advice.len(), files, "{name}: {found:#}");
        if let Some(advice) = advice.first() {
            assert_eq!((&advice["files"], &advice["largest"][0]["path"]), (&1.into(), &"/holes".into()));
            assert_eq!(found["advice"][0]["code"], "sub_page_extents", "what is dangerous comes first");
        }
    }
}

#[test]
fn other_advice_follows_from_facts() {
    let dir = images();
    image(dir.path(), "k", &["--ishare-key", "--ishare-digest=blake3"], &[("one", 20_000)]);
    let found = report(dir.path(), &["a", "k"]);
    let text = coded(&found, "advice", "mixed_kinds")["text"].as_str().unwrap().to_owned();
    assert!(text.contains("sha256") && text.contains("blake3"), "{text}");
    let found = report(dir.path(), &["a", "k", "--verify"]);
    assert_eq!(coded(&found, "advice", "unmatched")["files"], 1);
    for (backend, wanted) in
        [("file", true), ("loop-buffered", true), ("file-directio", false), ("loop", false)]
    {
        let found = report(dir.path(), &["a", &format!("--backend={backend}")]);
        let said = found["advice"].as_array().unwrap().iter().any(|row| row["code"] == "image_files_cached");
        assert_eq!(said, wanted, "{backend}");
    }
    assert_eq!(report(dir.path(), &["a", "b"])["advice"].as_array().unwrap().len(), 0, "nothing to say");
}

#[test]
fn exit_codes() {
    let dir = images();
    fs::write(dir.path().join("broken"), b"not an image").unwrap();
    for (arguments, code, line) in [
        (&["a", "b"][..], 0, ""),
        (&["a", "b", "--fail-under=33%"], 0, ""),
        (&["a", "b", "--fail-under=34"], 3, "erofs-ishare: saved 33.3 %, want at least 34 %\n"),
        (&["a", "b", "--max-marginal=12288"], 0, ""),
        (&["a", "b", "--max-marginal=12287"], 3, "erofs-ishare: b: adds 12288 bytes, want at most 12287\n"),
        (&["nowhere"], 1, "erofs-ishare: nowhere: No such file or directory (os error 2)\n"),
        (&["a", "a"], 2, "erofs-ishare: a: found it twice, want every image once\n"),
        (&["a", "./a"], 2, "erofs-ishare: ./a: found it twice as a, want every image once\n"),
        (&["--domain==a"], 2, "erofs-ishare: a: found a domain without a name, which Linux refuses\n"),
        (&["--domain=x=a", "b"], 2, "erofs-ishare: b: found no domain for it, want --domain NAME\n"),
        (&[], 2, "erofs-ishare: found no image, want at least one\n"),
        (
            &["a", "c"],
            1,
            "erofs-ishare: c: found no fingerprints, so that it shares nothing; want an image made by mkfs-erofs --ishare-key, or --allow-unshared\n",
        ),
        (
            &["a", "--trace-out=t"],
            2,
            "erofs-ishare: --trace-out: found no trace, want --access trace:FILE or strace:FILE\n",
        ),
        (
            &["a", "--mountpoint=/m=a"],
            2,
            "erofs-ishare: --mountpoint: found no log, want --access strace:FILE\n",
        ),
        (
            &["a", "--access=strace:x"],
            2,
            "erofs-ishare: --access strace: found no mountpoint, want --mountpoint DIR=IMAGE\n",
        ),
        (
            &["a", "--access=trace:nowhere"],
            1,
            "erofs-ishare: nowhere: No such file or directory (os error 2)\n",
        ),
        (&["--scenario=nowhere"], 1, "erofs-ishare: nowhere: No such file or directory (os error 2)\n"),
        (
            &["a", "--html=no/where"],
            1,
            "erofs-ishare: no/where: cannot be looked at: No such file or directory (os error 2)\n",
        ),
    ] {
        let output = simulate(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let found = String::from_utf8_lossy(&output.stderr);
        assert!(found == line || line.ends_with(' ') && found.starts_with(line), "{arguments:?}: {found}");
    }
    let output = simulate(dir.path(), &["broken"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("erofs-ishare: broken: "));
    for wrong in [
        &["a", "--kernel=5.4"][..],
        &["a", "--access=write"],
        &["a", "--access=trace:"],
        &["a", "--scenario=s"],
        &["a", "--backend=floppy"],
        &["a", "--json", "--csv"],
    ] {
        assert_eq!(simulate(dir.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
}

const SCENARIO: &str = "\
title = 'two readers'
event = [
  { do = 'mount', mount = 'm1', image = 'first', domain = 'prod' },
  { do = 'mount', mount = 'm2', image = 'second', domain = 'prod' },
  { do = 'mount', mount = 'm3', image = 'first', inode_share = true },
  { do = 'read-all', mount = 'm1' },
  { do = 'read', mount = 'm2', path = '/one' },
  { do = 'read', mount = 'm2', path = '/two', method = 'sendfile' },
  { do = 'umount', mount = 'm1' },
]
[images]
first = 'a'
second = 'b'
";

#[test]
fn a_scenario_is_run_event_by_event() {
    let dir = images();
    fs::write(dir.path().join("s.toml"), SCENARIO).unwrap();
    let found = report(dir.path(), &["--scenario=s.toml"]);
    assert_eq!((&found["title"], &found["access"]), (&"two readers".into(), &"scenario".into()));
    let events = found["events"].as_array().unwrap();
    let of = |key: &str| events.iter().map(|event| event[key].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("added_pages"), [0, 0, 0, 9, 0, 3, 0]);
    assert_eq!(of("unshared_added_pages"), [0, 0, 0, 9, 5, 3, 0]);
    // The file that both have looked up stays for the other one.
    assert_eq!(of("dropped_pages"), [0, 0, 0, 0, 0, 0, 4]);
    assert_eq!(of("unshared_dropped_pages"), [0, 0, 0, 0, 0, 0, 9]);
    assert_eq!(of("line"), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(total(&found), (17, 12), "the most at any time");
    let error = events[2]["error"].as_str().unwrap();
    assert!(error.contains("inode_share without domain_id (EINVAL)"), "{error}");
    assert_eq!(pages(&coded(&found, "not_shared", "splice")["bytes"]), 3);
    let text = String::from_utf8(simulate(dir.path(), &["--scenario=s.toml"]).stdout).unwrap();
    for word in ["scenario \"two readers\"", "read m2:/one", "m2 (b)", "-4", "EINVAL"] {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    // Another folder, and backends that do not fit together.
    fs::create_dir(dir.path().join("sub")).unwrap();
    let mixed = SCENARIO
        .replace("second = 'b'", "second = '../b'")
        .replace("first = 'a'", "first = '../a'")
        .replace("image = 'second'", "image = 'second', backend = 'file'");
    fs::write(dir.path().join("sub/mixed.toml"), mixed).unwrap();
    let found = report(dir.path(), &["--scenario=sub/mixed.toml"]);
    assert_eq!(pages(&coded(&found, "not_shared", "other_class")["bytes"]), 5);
    coded(&found, "advice", "mixed_backends");
    coded(&found, "advice", "image_files_cached");
}

#[test]
fn a_scenario_knows_every_name_of_a_file() {
    let dir = place::scratch().unwrap();
    let source = dir.path().join("l.d/sub");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("one"), content::noise(9, 20_000)).unwrap();
    fs::hard_link(source.join("one"), dir.path().join("l.d/zwei")).unwrap();
    build(dir.path(), "l", &["--ishare-key"]);
    let scenario = "\
title = 'two names'
event = [
  { do = 'mount', mount = 'm', image = 'l', domain = 'd' },
  { do = 'open', mount = 'm', path = '/zwei', stream = 's' },
  { do = 'read', mount = 'm', path = '/zwei', stream = 's', length = 1 },
  { do = 'read', mount = 'm', path = '/sub/one' },
  { do = 'dontneed', mount = 'm', path = '/zwei', length = 30000 },
  { do = 'dontneed', mount = 'm', path = '/zwei' },
]
[images]
l = 'l'
";
    fs::write(dir.path().join("s.toml"), scenario).unwrap();
    let found = report(dir.path(), &["--scenario=s.toml"]);
    let events = found["events"].as_array().unwrap();
    let of = |key: &str| events.iter().map(|event| event[key].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!((of("added_pages"), of("dropped_pages")), (vec![0, 0, 4, 1, 0, 0], vec![0, 0, 0, 0, 5, 0]));
    // Each open file has a name of its own.
    fs::write(dir.path().join("s.toml"), scenario.replace("stream = 's', length", "stream = 't', length"))
        .unwrap();
    let output = simulate(dir.path(), &["--scenario=s.toml"]);
    let want = "erofs-ishare: s.toml: line 5, column 3: event 3: found no open file \"t\", want the stream of an earlier \
                open of /zwei\n";
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(2), want));
}

#[test]
fn what_is_wrong_with_a_scenario_has_a_place() {
    let dir = images();
    let with = |old: &str, new: &str| {
        assert!(SCENARIO.contains(old));
        SCENARIO.replace(old, new)
    };
    for (text, code, want) in [
        (with("title = 'two", "title = two"), 2, "line 1, column 9: "),
        (with("mount = 'm1', image", "mount = 1, image"), 2, "line 3, column 3: "),
        (with("do = 'umount'", "do = 'fly'"), 2, "line 9, column 3: "),
        (with("path = '/one' }", "path = '/one', speed = 1 }"), 2, "line 7, column 3: "),
        (with("[images]", "[pictures]"), 2, "line "),
        (
            with("image = 'second'", "image = 'third'"),
            2,
            "line 4, column 3: event 2: found no image \"third\", want one of [images]",
        ),
        (
            with("'umount', mount = 'm1'", "'umount', mount = 'm9'"),
            2,
            "line 9, column 3: event 7: found no mount \"m9\", want one of an earlier event",
        ),
        (
            with("path = '/one' }", "path = '/none' }"),
            2,
            "line 7, column 3: event 5: found no regular file \"/none\" in image second",
        ),
        (
            with("path = '/one' }", "path = '/one', offset = 1, length = 20000 }"),
            2,
            "line 7, column 3: event 5: found bytes 1 to 20001, want an end within the 20000 bytes of /one",
        ),
        (
            with("path = '/one' }", "path = '/one', offset = 20001 }"),
            2,
            "line 7, column 3: event 5: found bytes 20001 to 20001, want an end",
        ),
        (
            with("mount = 'm3', image", "mount = 'm2', image"),
            2,
            "line 5, column 3: event 3: mount m2: is there already",
        ),
    ] {
        fs::write(dir.path().join("s.toml"), text).unwrap();
        let output = simulate(dir.path(), &["--scenario=s.toml"]);
        let found = String::from_utf8_lossy(&output.stderr);
        assert!(found.starts_with(&format!("erofs-ishare: s.toml: {want}")), "{found}\nwant {want}");
        assert_eq!((output.status.code(), found.lines().count()), (Some(code), 1), "{found}");
    }
    for (old, new, code, want) in [
        (
            "second = 'b'",
            "second = 'nowhere'",
            1,
            "erofs-ishare: nowhere: No such file or directory (os error 2)\n",
        ),
        (
            "second = 'b'",
            "second = './a'",
            2,
            "erofs-ishare: ./a: found it twice as a, want every image once\n",
        ),
        ("second = 'b'", "second = 'c'", 1, "erofs-ishare: c: found no fingerprints"),
    ] {
        fs::write(dir.path().join("s.toml"), with(old, new)).unwrap();
        let output = simulate(dir.path(), &["--scenario=s.toml"]);
        let found = String::from_utf8_lossy(&output.stderr);
        assert!(found.starts_with(want), "{found}");
        assert_eq!(output.status.code(), Some(code), "{found}");
    }
}

#[test]
fn a_trace_is_run_access_by_access() {
    let dir = images();
    fs::create_dir(dir.path().join("other")).unwrap();
    let trace = "\
# what a program did
a /one 0 - read
b /one 0 20000 mmap
./b.img /two 0 1 read 1
b /three 0 1 sendfile
a /two 4096 4096 pages
";
    fs::write(dir.path().join("t"), trace.replace("./b.img", "b")).unwrap();
    let found = report(dir.path(), &["a", "b", "--access=trace:t"]);
    // One byte at the start of a file brings in three pages of it, the whole of it.
    assert_eq!(total(&found), (5 + 5 + 3 + 1 + 1, 5 + 3 + 1 + 1));
    assert_eq!(added(&found), [6, 4]);
    assert_eq!((&found["images"][0]["files"], &found["images"][1]["files"]), (&2.into(), &3.into()));
    assert_eq!(found["access"], "trace:t");
    assert_eq!(pages(&coded(&found, "not_shared", "splice")["bytes"]), 1);
    assert_eq!(pages(&found["directories"][0]["private_bytes"]), 15);
    // A last name is enough, that of another place too, and so is the path that the kernel shows of a mount.
    let inside = dir.path().join("other");
    std::os::unix::fs::symlink("../b", inside.join("link")).unwrap();
    let shown = dir.path().join("b").canonicalize().unwrap();
    for (name, images) in [
        ("a", ["../a", "../b"]),
        ("/another/machine/a", ["../a", "../b"]),
        (shown.to_str().unwrap(), ["../a", "link"]),
        ("link", ["../a", "link"]),
    ] {
        fs::write(inside.join("t"), format!("{name} /one 0 - read\n")).unwrap();
        assert_eq!(total(&report(&inside, &[images[0], images[1], "--access=trace:t"])), (5, 5), "{name}");
    }
    for (line, want) in [
        ("x /one 0 1 read", "t: line 2: image: found x, want one of the command line"),
        ("a /none 0 1 read", "t: line 2: path: found /none, want a regular file of the image"),
        ("a / 0 1 read", "t: line 2: path: found /, want a regular file of the image"),
        (
            "a /one 20000 1 read",
            "t: line 2: range: found bytes 20000 to 20001, want an end within the 20000 bytes of /one",
        ),
        ("a /one 20001 - read", "t: line 2: range: found bytes 20001 to 20000, want an end"),
        ("a /one 0 1", "t: line 2: found 4 fields, want 5 or 6"),
        ("a /one 0 1 write", "t: line 2: method: found \"write\", want read, "),
    ] {
        fs::write(dir.path().join("t"), format!("a /one 0 - read\n{line}\na /one 0 - read\n")).unwrap();
        let output = simulate(dir.path(), &["a", "b", "--access=trace:t"]);
        let found = String::from_utf8_lossy(&output.stderr);
        assert!(found.starts_with(&format!("erofs-ishare: {want}")), "{found}\nwant {want}");
        assert_eq!(output.status.code(), Some(2), "{found}");
    }
}

#[test]
fn a_log_of_strace_is_a_trace() {
    let dir = images();
    let source = dir.path().join("l.d/usr/lib");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("one"), content::noise(9, 20_000)).unwrap();
    std::os::unix::fs::symlink("usr/lib", dir.path().join("l.d/lib")).unwrap();
    fs::hard_link(source.join("one"), source.join("zwei")).unwrap();
    build(dir.path(), "l", &["--ishare-key"]);
    let log = "\
7 execve(\"/usr/bin/cat\", [\"cat\"], 0x7ffd /* 9 vars */) = 0
7 openat(AT_FDCWD, \"/mnt/l/lib/one\", O_RDONLY) = 3
7 mmap(NULL, 40960, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7f00
7 close(3) = 0
7 openat(AT_FDCWD, \"/mnt/l/usr/lib/zwei\", O_RDONLY) = 3
7 sendfile(1, 3, NULL, 4096) = 4096
7 openat(AT_FDCWD, \"/mnt/l/none\", O_RDONLY) = -1 ENOENT (No such file or directory)
7 openat(AT_FDCWD, \"/mnt/a/two\", O_RDONLY) = 3
7 read(3, \"x\"..., 131072) = 12000
what is this
7 +++ exited with 0 +++
";
    fs::write(dir.path().join("log"), log).unwrap();
    let arguments =
        ["a", "l", "--access=strace:log", "--mountpoint=/mnt/l=l", "--mountpoint=/mnt/a=a", "--trace-out=t"];
    let output = simulate(dir.path(), &[&arguments[..], &["--json"]].concat());
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "erofs-ishare: log: 1 line is not of strace, and left out\n"
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The mapping counts with its whole length, up to the end of the file; a hard link is the same file.
    assert_eq!(added(&found), [3, 5 + 4]);
    assert_eq!(found["images"][1]["files"], 1);
    let trace = fs::read_to_string(dir.path().join("t")).unwrap();
    assert_eq!(
        trace,
        "l /lib/one 0 40960 mmap\nl /usr/lib/zwei 0 4096 sendfile 4096\na /two 0 12000 read 12000\n"
    );
    for (mountpoint, want) in [
        ("/m", "--mountpoint /m: want DIR=IMAGE"),
        ("m=a", "--mountpoint m=a: want a directory from / on"),
        ("/m=x", "--mountpoint /m=x: found an image that is not among those of the command line"),
    ] {
        let output = simulate(dir.path(), &["a", "--access=strace:log", "--mountpoint", mountpoint]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("erofs-ishare: {want}\n"));
        assert_eq!(output.status.code(), Some(2));
    }
    // 0 bytes would look like a result. The log also has a line of no system call, which is named first.
    let output = simulate(dir.path(), &["a", "--access=strace:log", "--mountpoint=/elsewhere=a"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.ends_with("opens\n")
            && message.contains("log: found no access to a file below /elsewhere, want ")
    );
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}

/// The source of an image stands for its mountpoint, so neither root nor a kernel is needed.
#[test]
fn a_real_log_of_strace_is_understood() {
    let dir = images();
    let root = dir.path().join("a.d");
    let run = Command::new("strace")
        .args(["-f", "-o"])
        .arg(dir.path().join("log"))
        .args(["sh", "-c", "cd $0; (cat one; cat < two) | cat > /dev/null; head -c 1 three"])
        .arg(&root)
        .output();
    let run = run.map_err(|_| Absent::because("strace is not there")).and_then(|run| {
        // In some containers it is there, and may not trace.
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        if run.status.success() {
            Ok(())
        } else {
            Err(Absent::because(said.lines().next().unwrap_or("strace fails")))
        }
    });
    let Some(()) = need("simulate of a real log of strace", run) else { return };
    let mountpoint = format!("--mountpoint={}=a", root.display());
    let found = report(dir.path(), &["a", "b", "--access=strace:log", &mountpoint]);
    assert_eq!(added(&found), [9, 0]);
    assert_eq!(found["images"][0]["files"], 3);
}

/// Two sets whose names a page must not take for its own text.
fn hostile() -> (tempfile::TempDir, String) {
    let dir = images();
    let name = "<script src=x>\"'&.img";
    image(
        dir.path(),
        name,
        &["--ishare-key", "--ishare-digest=blake3"],
        &[("</svg><img src=x onerror=alert(1)>/\u{202e}\u{1b}[2J<b>", 300_000), ("one", 20_000)],
    );
    (dir, name.to_owned())
}

fn page(dir: &Path, arguments: &[&str]) -> String {
    let output = simulate(dir, &[arguments, &["--html=page.html"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(dir.join("page.html")).unwrap()
}

#[test]
fn a_page_needs_nothing_and_trusts_no_name() {
    let (dir, name) = hostile();
    fs::write(dir.path().join("s.toml"), SCENARIO).unwrap();
    let access = "--access=sendfile";
    let domain = format!("--domain=<i>={name}");
    for arguments in [
        &["a", "b"][..],
        &["--domain=x", "a", &domain, access],
        &["a", "b", &name, "--verify"],
        &["--scenario=s.toml"],
    ] {
        let page = page(dir.path(), arguments);
        assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{page}");
        assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme:dark"));
        assert!(page.contains("role=\"img\" aria-labelledby=\"growth-title\"><title id=\"growth-title\">"));
        for wrong in [
            "<script", "<img", "<i>", "http:", "https:", "url(", "@import", "<link", "src=x>", "\u{1b}",
            "\u{202e}", "NaN",
        ] {
            assert!(!page.contains(wrong), "{wrong:?} in {arguments:?}");
        }
        for element in ["table", "svg", "details", "g", "h2", "ul", "div"] {
            let opened =
                page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
            assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element} in {arguments:?}");
        }
    }
    let page = page(dir.path(), &["--domain=x", "a", &domain, access]);
    assert!(
        page.contains("&lt;script src=x&gt;&quot;&#39;&amp;.img") && page.contains("&lt;/svg&gt;"),
        "{page}"
    );
}

/// Runs a browser without a window; what it prints.
fn browser(dir: &Path, arguments: &[&str]) -> Result<Output, Absent> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let page = format!("file://{}", dir.join("page.html").display());
    for name in names {
        let mut command = Command::new(name);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1000,2400",
        ]);
        if let Ok(output) = command.arg(&profile).args(arguments).arg(&page).current_dir(dir).output() {
            return Ok(output);
        }
    }
    Err(Absent::because("no chromium is there"))
}

#[test]
fn a_browser_shows_the_page_in_light_and_dark() {
    let (dir, name) = hostile();
    page(dir.path(), &["a", "b", &name]);
    let Some(dom) = need("the page of simulate in a browser", browser(dir.path(), &["--dump-dom"])) else {
        return;
    };
    let dom = String::from_utf8(dom.stdout).unwrap();
    // What the browser understood: charts are elements, names are text.
    for want in ["<svg", "<polyline", "<rect", "without sharing", "&lt;script src=x&gt;", "<details>"] {
        assert!(dom.contains(want), "{want} in {dom}");
    }
    assert!(!dom.contains("<script") && !dom.contains("<img"), "{dom}");
    let shot = |scheme: &str, file: &str| -> Vec<u8> {
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        browser(dir.path(), &[&scheme, &format!("--screenshot={file}")]).unwrap();
        fs::read(dir.path().join(file)).unwrap()
    };
    let (dark, light) = (shot("0", "dark.png"), shot("1", "light.png"));
    for picture in [&dark, &light] {
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{} bytes", picture.len());
    }
    assert_ne!(dark, light);
    if let Some(keep) = std::env::var_os("EROFS_KEEP_PAGES").map(PathBuf::from) {
        for file in ["page.html", "dark.png", "light.png"] {
            fs::copy(dir.path().join(file), keep.join(file)).unwrap();
        }
    }
}
