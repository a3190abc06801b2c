//! The documents are compared with what they describe: crates and their dependencies, files and links that
//! they name, and the width of their lines.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The widest line of prose, in columns.
const WIDTH: usize = 110;

/// The crates of this workspace that each crate of it depends on.
type Dependencies = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every Markdown file of the project, from its root on.
fn documents() -> Vec<PathBuf> {
    let entries =
        |folder: &str| fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let crates: Vec<PathBuf> = entries("crates").map(|folder| folder.join("README.md")).collect();
    let others =
        ["", "docs", "testdata", "testdata/golden", "testdata/hostile", "fuzz"].into_iter().flat_map(entries);
    let mut found: Vec<PathBuf> = others
        .chain(crates.into_iter().filter(|path| path.exists()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    found.sort();
    found
}

/// What `cargo metadata` says, without dependencies of tests.
fn from_cargo() -> Dependencies {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let depends = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|dependency| dependency["kind"].is_null())
            .map(name)
            .filter(|name| ours.contains(name))
            .collect()
    };
    packages.iter().map(|package| (name(package), depends(package))).collect()
}

/// The words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn crates_are_as_the_table_says() {
    let text = read("docs/architecture.md");
    let section = text.split("## Crates").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let documented: Dependencies = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let name = quoted(cells[0]).next().unwrap().to_owned();
            (name, quoted(cells[1]).map(str::to_owned).collect())
        })
        .collect();
    assert_eq!(documented, from_cargo(), "left: docs/architecture.md, right: cargo metadata");
}

#[test]
fn crates_depend_on_lower_lines_of_the_drawing() {
    let text = read("docs/architecture.md");
    let drawing = text.split("<!-- layers -->\n```text\n").nth(1).unwrap().split("```").next().unwrap();
    let mut lines = BTreeMap::new();
    for line in drawing.lines() {
        let mut words = line.split_whitespace();
        let number: usize = words.next().unwrap().parse().unwrap();
        lines.extend(words.map(|name| (name.to_owned(), number)));
    }
    let wanted = from_cargo();
    let names = |all: Vec<&String>| all.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(lines.keys().collect()), names(wanted.keys().collect()));
    for (name, dependencies) in wanted {
        let lowest = dependencies.iter().map(|other| lines[other] + 1).max().unwrap_or(0);
        assert_eq!(lines[&name], lowest, "{name} depends on {dependencies:?}");
    }
}

#[test]
fn the_front_page_is_short() {
    let text = read("README.md");
    let lines = text.lines().count();
    assert!(lines <= 150, "README.md: found {lines} lines, want at most 150");
    assert!(text.contains("tools/test.sh") && text.contains("tools/demo.sh"), "README.md: the two commands");
}

#[test]
fn prose_is_narrow() {
    let mut wide = Vec::new();
    for path in documents() {
        // Tables, code and lines of one word, such as a long link, cannot be wrapped.
        let mut is_code = false;
        for (number, line) in (1..).zip(fs::read_to_string(&path).unwrap().lines()) {
            is_code ^= line.trim_start().starts_with("```");
            let columns = line.chars().count();
            if columns > WIDTH && !is_code && !line.starts_with('|') && !line.starts_with("    ") {
                wide.push(format!("{}:{number}: {columns} columns", path.display()));
            }
        }
    }
    assert!(wide.is_empty(), "wider than {WIDTH} columns:\n{}", wide.join("\n"));
}

/// A command of an example, without its prompt, and what it prints, without the four blanks in front.
type Step = (String, String);

/// The commands that the front page shows with their output, in order.
fn examples(page: &str) -> Vec<Step> {
    let section = page.split("\n## From two images").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut is_output = false;
    for line in section.lines() {
        if let Some(command) = line.strip_prefix("    $ ") {
            steps.push((command.to_owned(), String::new()));
            is_output = true;
        } else if line.is_empty() || line.starts_with("    ") && !line.starts_with("    #") {
            if let Some((_, output)) = steps.last_mut().filter(|_| is_output) {
                output.push_str(line.strip_prefix("    ").unwrap_or(line));
                output.push('\n');
            }
        } else {
            is_output = false;
        }
    }
    steps.into_iter().map(|(command, output)| (command, output.trim_end().to_owned())).collect()
}

/// Output without what differs between machines: how long a build took, and the UUID, which depends on
/// permissions that the umask of whoever checked the tree out left.
fn comparable(output: &str) -> String {
    let varies = regex::Regex::new(r"in [0-9.]+ s,|UUID [0-9a-f-]{36}").unwrap();
    varies.replace_all(output.trim_end(), "_").into_owned()
}

#[test]
fn the_front_page_shows_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("testdata"), folder.path().join("testdata")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_mkfs-erofs")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let steps = examples(&read("README.md"));
    assert!(steps.len() >= 5, "{steps:?}");
    for (command, wanted) in steps {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", &command]).current_dir(folder.path()).env("PATH", &path);
        let output = shell.env_remove("SOURCE_DATE_EPOCH").output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let found = String::from_utf8(output.stdout).unwrap();
        assert_eq!(comparable(&found), comparable(&wanted), "README.md: left is what `{command}` prints");
    }
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    let text: String = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(kept).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let has_section = || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == section)
            };
            if !target.exists() || !section.is_empty() && !has_section() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn files_that_documents_name_are_there() {
    const FOLDERS: [&str; 9] =
        ["crates/", "src/", "tests/", "tools/", "docs/", "benches/", "testdata/", "fuzz/", "man/"];
    let mut missing = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let folder = path.parent().unwrap();
        for line in text.lines() {
            let paths = quoted(line).filter_map(|words| words.split_whitespace().next());
            for name in paths.filter(|name| FOLDERS.iter().any(|folder| name.starts_with(folder))) {
                let is_pattern = name.contains(['*', '<', '$', '…']) || name.contains("NAME");
                if !is_pattern && !root().join(name).exists() && !folder.join(name).exists() {
                    missing.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "files that are not there:\n{}", missing.join("\n"));
}

#[test]
fn every_library_has_a_page() {
    for name in from_cargo().keys() {
        let Some(folder) = name.strip_prefix("erofs-").filter(|name| !matches!(*name, "lab" | "testkit"))
        else {
            continue;
        };
        let lines = read(&format!("crates/{folder}/README.md")).lines().count();
        assert!((10..=25).contains(&lines), "crates/{folder}/README.md: found {lines} lines, want 10 to 25");
        let page = read(&format!("crates/{folder}/src/lib.rs"));
        let has_example = page.lines().any(|line| line == "//! ```");
        assert!(has_example, "crates/{folder}/src/lib.rs: no example");
    }
}
