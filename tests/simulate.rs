//! `erofs-ishare simulate` on images of `mkfs-erofs`: the figures, the forms of the report, and the exit codes.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use erofs_testkit::{content, place};

/// Makes an image of files of these lengths; the content of a file follows from its name and length.
fn image(dir: &Path, name: &str, options: &[&str], files: &[(&str, usize)]) {
    let source = dir.join(format!("{name}.d"));
    fs::create_dir(&source).unwrap();
    for (file, length) in files {
        let seed = file.bytes().map(u64::from).sum::<u64>() * 1000 + *length as u64;
        fs::write(source.join(file), content::noise(seed, *length)).unwrap();
    }
    let mut mkfs = Command::new(env!("CARGO_BIN_EXE_mkfs-erofs"));
    let status = mkfs.arg("--quiet").args(options).arg(dir.join(name)).arg(&source).status().unwrap();
    assert!(status.success(), "{name}");
}

fn simulate(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_erofs-ishare"));
    command.current_dir(dir).arg("simulate").args(arguments).output().unwrap()
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
    for (arguments, private, shared, adds) in [
        (&["a"][..], 9, 9, &[9][..]),
        (&["a", "b"], 18, 12, &[9, 3]),
        (&["b", "a"], 18, 12, &[9, 3]),
        (&["a", "b", "c"], 27, 21, &[9, 3, 9]),
        (&["--domain=x=a", "--domain=y=b"], 18, 18, &[9, 9]),
        (&["--domain=x=a,c", "--domain=y", "b"], 27, 27, &[9, 9, 9]),
        (&["--access=sendfile", "a", "b"], 18, 18, &[9, 9]),
        (&["--access=sendfile", "--kernel=splice", "a", "b"], 18, 12, &[9, 3]),
        (&["--backend=file", "a", "b"], 18, 12, &[9, 3]),
    ] {
        let output = simulate(dir.path(), &[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let pages = |value: &serde_json::Value| value.as_u64().unwrap() / 4096;
        let total = &report["total"];
        assert_eq!(
            (pages(&total["private_bytes"]), pages(&total["shared_bytes"])),
            (private, shared),
            "{arguments:?}"
        );
        assert_eq!(pages(&total["saved_bytes"]), private - shared);
        let added: Vec<u64> = report["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| pages(&image["marginal_bytes"]))
            .collect();
        assert_eq!(added, adds, "{arguments:?}");
    }
}

#[test]
fn reasons_and_examples_are_named() {
    let dir = images();
    let output = simulate(dir.path(), &["a", "c", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = &report["not_shared"][0];
    assert_eq!(reason["reason"], "the image does not announce fingerprints");
    assert_eq!((reason["files"].as_u64(), reason["bytes"].as_u64()), (Some(3), Some(9 * 4096)));
    assert_eq!(reason["largest"][0]["path"], "/one");
    assert_eq!(report["kernel"], "7.2");
    assert_eq!(report["domains"][0]["name"], "one");
    let text = String::from_utf8(simulate(dir.path(), &["a", "c"]).stdout).unwrap();
    for word in ["not shared", "reduction", "c:/one", "36.0 KiB"] {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    let csv = String::from_utf8(simulate(dir.path(), &["a", "b", "--csv"]).stdout).unwrap();
    assert_eq!(
        csv,
        "image,domain,files,pages,marginal_bytes\n\"a\",\"one\",3,9,36864\n\"b\",\"one\",3,9,12288\n"
    );
}

#[test]
fn exit_codes() {
    let dir = images();
    fs::write(dir.path().join("broken"), b"not an image").unwrap();
    for (arguments, code, line) in [
        (&["a", "b"][..], 0, ""),
        (&["a", "b", "--fail-under=33"], 0, ""),
        (&["a", "b", "--fail-under=34"], 3, "erofs-ishare: saved 33.3 %, want at least 34 %\n"),
        (&["a", "b", "--max-marginal=12288"], 0, ""),
        (&["a", "b", "--max-marginal=12287"], 3, "erofs-ishare: b: adds 12288 bytes, want at most 12287\n"),
        (&["nowhere"], 1, "erofs-ishare: nowhere: No such file or directory (os error 2)\n"),
        (&["a", "a"], 2, "erofs-ishare: a: found it twice, want every image once\n"),
        (&["--domain==a"], 2, "erofs-ishare: a: found a domain without a name, which Linux refuses\n"),
        (&["--domain=x=a", "b"], 2, "erofs-ishare: b: found no domain for it, want --domain NAME\n"),
        (&[], 2, "erofs-ishare: found no image, want at least one\n"),
    ] {
        let output = simulate(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), line, "{arguments:?}");
    }
    let output = simulate(dir.path(), &["broken"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("erofs-ishare: broken: "));
    assert_eq!(simulate(dir.path(), &["a", "--kernel=5.4"]).status.code(), Some(2));
}
