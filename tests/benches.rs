//! The scripts of benches/, from which the numbers of the README and docs/pairs.md come, on small inputs:
//! each runs to its end, and its table has the rows and columns that its readers expect.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_lab::protocol::{EventReport, MountReport};
use erofs_lab::report::{MeasuredEvent, Report, ScenarioReport};
use erofs_lab::workload::{Measured, Run};
use erofs_sim::scenario::Event;
use erofs_testkit::require::{Absent, need, program, root};
use erofs_testkit::{content, peers, place};

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

/// A script of benches/.
fn bench(name: &str) -> Command {
    let mut command = Command::new(place::workspace().join("benches").join(name));
    command.env("EROFS_MKFS", MKFS).env("EROFS_ISHARE", ISHARE);
    command
}

/// The rows of the first table of a text, each as its cells, without the head.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines =
        text.lines().skip_while(|line| !line.starts_with("| ")).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    lines.skip(2).map(cells).collect()
}

/// What a script prints.
#[track_caller]
fn printed(command: &mut Command) -> String {
    String::from_utf8(peers::run(command).unwrap().stdout).unwrap()
}

/// The number that a cell begins with.
#[track_caller]
fn number(cell: &str) -> f64 {
    let word = cell.split([' ', '%']).next().unwrap();
    word.parse().unwrap_or_else(|_| panic!("{cell:?} is no number"))
}

/// Where the peers are, and small trees in place of the large ones; also looks for GNU time, which measures
/// memory.
fn trees() -> Result<(PathBuf, tempfile::TempDir), Absent> {
    root()?;
    program("time")?;
    peers::find()?;
    let peers =
        std::env::var_os("EROFS_PEERS").map_or_else(|| place::target_dir().join("peers"), PathBuf::from);
    let dir = place::scratch().unwrap();
    for name in ["tf", "linux", "debian"] {
        let tree = dir.path().join(name);
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("text"), "Many words are the same words. ".repeat(10_000)).unwrap();
        fs::write(tree.join("noise"), content::noise(1, 100_000)).unwrap();
    }
    fs::write(dir.path().join("debian.complete"), "").unwrap();
    Ok((peers, dir))
}

/// A script that compares builders, with small trees.
fn comparison(name: &str, peers: &Path, trees: &Path) -> Command {
    let mut command = bench(name);
    command.env("EROFS_CORPORA", trees).env("EROFS_PEERS", peers).env("EROFS_TREES", "tf debian");
    command.env("EROFS_CACHES", "warm");
    command
}

#[test]
fn builders_are_compared() {
    let Some((peers, trees)) = need("the comparisons of builders", trees()) else { return };
    let text = printed(comparison("compare.sh", &peers, trees.path()).arg("5"));
    let table = rows(&text);
    let tools = ["mkfs-erofs", "mkfs.erofs", "tar", "cp -a"];
    let want: Vec<[&str; 2]> =
        ["tf", "debian"].iter().flat_map(|tree| tools.map(|tool| [*tree, tool])).collect();
    assert_eq!(
        table.iter().map(|row| [row[0].as_str(), row[1].as_str()]).collect::<Vec<_>>(),
        want,
        "{text}"
    );
    for row in &table {
        let figures: Vec<f64> = row[2..].iter().map(|cell| number(cell)).collect();
        assert_eq!(figures.len(), 5, "{text}");
        assert!(figures[4] > 100_000.0 && figures[3] > 0.0, "{text}");
    }
    assert_eq!(table[1][3], "1.00", "the ratio of mkfs.erofs to itself: {text}");

    let text =
        printed(comparison("compress.sh", &peers, trees.path()).args(["1", "lz4", "zstd,3+fragments"]));
    let table = rows(&text);
    let want = [["lz4", "tf"], ["lz4", "debian"], ["zstd,3+fragments", "tf"], ["zstd,3+fragments", "debian"]];
    assert_eq!(
        table.iter().map(|row| [row[0].as_str(), row[1].as_str()]).collect::<Vec<_>>(),
        want,
        "{text}"
    );
    for row in &table {
        let (ours, theirs) = row[5].split_once(" / ").unwrap();
        let ratio = number(ours) / number(theirs);
        assert!((ratio - number(&row[6])).abs() < 0.001 && number(ours) < 250_000.0, "{text}");
    }

    let lines = ["ours:lz4", "theirs:lz4", "ours:zstd,3+48bit"];
    let text = printed(comparison("levels.sh", &peers, trees.path()).arg("1").args(lines));
    let table = rows(&text);
    let found: Vec<String> = table.iter().map(|row| format!("{}:{}", row[0], row[1])).collect();
    assert_eq!(found, lines, "{text}");
    for row in &table {
        assert!(number(&row[3]) > 0.0 && number(&row[4]) > 0.0, "{text}");
        // A dash where this kernel does not mount the image.
        assert!(row[5] == "-" || number(&row[5]) >= 0.0, "{text}");
    }
}

#[test]
fn trees_that_are_there_are_not_made_again() {
    let Some((_, trees)) = need("the trees of the comparisons", trees()) else { return };
    assert_eq!(printed(bench("corpora.sh").arg(trees.path())), "");
    assert_eq!(fs::read_dir(trees.path().join("tf")).unwrap().count(), 2);
}

#[test]
fn simulate_is_measured_on_many_images() {
    let Some(_) = need("the scale of simulate", program("time").and(program("taskset"))) else { return };
    // The example of another package. `cargo test --workspace` has built it; to ask Cargo again would build
    // much more, because crates have other features in another selection of packages.
    let synthetic = place::target_dir().join("debug/examples/synthetic");
    if !synthetic.is_file() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "erofs-sim", "--example", "synthetic"]);
        peers::run(cargo.current_dir(place::workspace())).unwrap();
    }
    let mut scale = bench("scale.sh");
    let text = printed(scale.env("EROFS_SYNTHETIC", synthetic).env("ROUNDS", "1").args(["2x300", "3x300"]));
    let table = rows(&text);
    let found: Vec<&[String]> = table.iter().map(|row| &row[..2]).collect();
    assert_eq!(found, [["2", "300"], ["3", "300"]], "{text}");
    for row in &table {
        assert!(number(&row[6]) > 0.0 && (0.0..100.0).contains(&number(&row[7])), "{text}");
    }
}

/// A run of the lab over both images, as `erofs-lab run --json` prints it.
fn measured(title: &str, [old, new]: [i64; 2]) -> ScenarioReport {
    let event = |name: &str, data_pages| MeasuredEvent {
        event: Event::ReadAll { mount: name.to_owned(), method: erofs_sim::scenario::Method::Read },
        data_pages,
        measured: EventReport {
            file_pages: data_pages,
            buffer_pages: 0,
            backing_pages: 0,
            read_kib: 0,
            errno: None,
            error: None,
        },
    };
    let mount = |name: &str| MountReport { mount: name.to_owned(), directory_pages: 1 };
    ScenarioReport {
        title: title.to_owned(),
        drift_pages: 0,
        events: vec![event("old", old), event("new", new)],
        programs: Vec::new(),
        files: Vec::new(),
        mounts: vec![mount("old"), mount("new")],
        frames: 0,
    }
}

/// The folder of a pair whose images are there, and a program in place of the lab, whose figures are made up.
fn pair() -> tempfile::TempDir {
    let dir = place::scratch().unwrap();
    let programs = dir.path().join("programs");
    let pair = dir.path().join("pairs/redis");
    fs::create_dir_all(&pair).unwrap();
    fs::create_dir(&programs).unwrap();
    symlink(MKFS, programs.join("mkfs-erofs")).unwrap();
    symlink(ISHARE, programs.join("erofs-ishare")).unwrap();
    for version in ["old", "new"] {
        let tree = dir.path().join(version);
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("same"), content::noise(1, 400_000)).unwrap();
        fs::write(tree.join("other"), content::noise(if version == "old" { 3 } else { 4 }, 40_000)).unwrap();
        fs::write(tree.join(version), content::noise(2, 40_000)).unwrap();
        peers::build(MKFS, &["--quiet", "--ishare-key"], &pair.join(format!("{version}.img")), &tree)
            .unwrap();
        fs::write(pair.join(format!("{version}.packages")), format!("redis 1-{version}\nlibc6 2\n")).unwrap();
    }
    let report = Report {
        kernel: "7.2.13".to_owned(),
        boot_milliseconds: 0,
        total_milliseconds: 0,
        scenarios: vec![measured("private", [120, 120]), measured("shared", [120, 20])],
    };
    fs::write(dir.path().join("run.json"), serde_json::to_string(&report).unwrap()).unwrap();
    let run = |title: &str, pages| Run {
        title: title.to_owned(),
        pages,
        beside_pages: 0,
        directory_pages: 0,
        programs: Vec::new(),
    };
    let runs = vec![run("private", 120), run("private again", 121), run("shared", 60)];
    let workload = Measured { kernel: "7.2.13".to_owned(), runs, unrepeated_pages: 1 };
    fs::write(dir.path().join("workload.json"), serde_json::to_string(&workload).unwrap()).unwrap();
    let lab = programs.join("erofs-lab");
    let script = r#"#!/bin/sh
set -e
verb=$1
while [ $# -gt 1 ]; do
    if [ "$1" = --trace ]; then echo 'old.img /same 0 8192 read' >"$2"; fi
    shift
done
cat "$(dirname "$0")/../$verb.json"
"#;
    fs::write(&lab, script).unwrap();
    fs::set_permissions(&lab, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[test]
fn pairs_and_workloads_become_a_document() {
    let needs = root().and_then(|()| program("python3"));
    let Some(_) = need("the tables of pairs of images", needs) else { return };
    let dir = pair();
    let table = dir.path().join("pairs.md");
    let run = |name: &str| {
        let mut command = bench(name);
        command.arg(dir.path().join("pairs")).arg("redis");
        printed(command.env("EROFS_PROGRAMS", dir.path().join("programs")).env("EROFS_TABLE", &table));
        fs::read_to_string(&table).unwrap()
    };
    let text = run("pairs.sh");
    // 118 + 118 pages of files without sharing; all but 10 of the second image are those of the first.
    let row = &rows(&text)[0];
    assert_eq!(row[0], "redis", "{text}");
    assert_eq!([&row[3], &row[6], &row[7], &row[8]], ["-2", "-10", "42.0 %", "33 %"], "{text}");
    assert!(text.contains("on Linux 7.2.13. Do not edit."), "{text}");
    assert!(text.contains("| redis | 2/2 | redis 1-old → 1-new |"), "{text}");
    assert!(!text.contains("## Working"), "{text}");
    let text = run("workload.sh");
    let (_, second) = text.split_once("## Working, not read").unwrap();
    let row = &rows(second)[0];
    assert_eq!(row[..4], ["redis", "120", "121", "1"], "{text}");
    assert_eq!(row[5], "60", "{text}");
    // The trace reads two pages, and the kernel four at once.
    assert_eq!(row[4], "4", "{text}");
}

/// A script without a test here could go wrong unseen.
#[test]
fn every_script_has_a_test() {
    let tested = include_str!("benches.rs");
    for entry in fs::read_dir(place::workspace().join("benches")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // These two are parts of the others.
        let is_part = ["measure.sh", "pairs-table.py"].contains(&name.as_str());
        assert!(is_part || tested.contains(&format!("(\"{name}\"")), "{name} has no test");
    }
}
