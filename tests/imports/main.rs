//! No two files of a crate import each other in a circle: whoever reads a file can read what it rests on
//! first.
//!
//! A path that leads to a `lib.rs` or `mod.rs` which only passes the name on counts for the file that defines
//! the name.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

mod circle;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use circle::{arrows, circles};
use source::Crate;

/// The directories of the packages of the workspace, relative to its root: the top package is the empty path.
fn packages() -> Vec<PathBuf> {
    let crates = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates")).unwrap();
    let mut packages: Vec<PathBuf> =
        crates.map(|entry| Path::new("crates").join(entry.unwrap().file_name())).collect();
    packages.push(PathBuf::new());
    packages.sort();
    packages
}

/// The root files of a package's library and programs.
fn roots(package: &Path) -> Vec<PathBuf> {
    let source = package.join("src");
    let mut roots = vec![source.join("lib.rs"), source.join("main.rs")];
    if let Ok(programs) = fs::read_dir(source.join("bin")) {
        for program in programs {
            let program = program.unwrap().path();
            roots.push(if program.is_dir() { program.join("main.rs") } else { program });
        }
    }
    roots.retain(|root| root.is_file());
    roots
}

/// The circles of a package, with its directory before the names of files.
fn circles_of(package: &Path) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let roots = roots(&root.join(package));
    assert!(!roots.is_empty(), "{}: neither a library nor a program", package.display());
    let load = |file: &str| fs::read_to_string(root.join(file)).ok();
    let crates =
        roots.iter().map(|file| Crate::read(file.strip_prefix(root).unwrap().to_str().unwrap(), &load));
    crates.flat_map(|krate| circles(&arrows(&krate))).collect()
}

#[test]
fn files_of_a_crate_import_each_other_in_no_circle() {
    let text: String = packages().iter().flat_map(|package| circles_of(package)).collect();
    assert!(text.is_empty(), "\n{text}");
}

/// A made-up crate: file names and their text.
const SMALL: &[(&str, &str)] = &[
    (
        "src/lib.rs",
        "mod a; mod b; mod c; mod deep; pub use a::A; pub use deep::Low;
         pub fn run() { c::start() }",
    ),
    ("src/a.rs", "pub struct A; fn f() -> String { format!(\"{}\", crate::b::name()) }"),
    (
        "src/b.rs",
        "use crate::A as Renamed; pub fn name() -> &'static str { \"\" } #[cfg(test)] mod tests { use crate::c::start; }",
    ),
    (
        "src/c.rs",
        "use super::{b::{self as other}, deep::*}; pub(crate) fn start() -> &'static Low { other::name() }",
    ),
    ("src/deep/mod.rs", "mod low; mod high; pub use low::Low; pub struct Own;"),
    ("src/deep/low.rs", "pub struct Low; pub trait T {}"),
    ("src/deep/high.rs", "use super::{Low, Own}; impl super::low::T for Own {}"),
];

fn small(changed: &[(&str, &str)]) -> Crate {
    let load = |file: &str| {
        let text = changed.iter().chain(SMALL).find(|(name, _)| *name == file);
        text.map(|(_, text)| (*text).to_owned())
    };
    Crate::read("src/lib.rs", &load)
}

fn texts(krate: &Crate) -> Vec<String> {
    circles(&arrows(krate))
}

#[test]
fn a_circle_through_a_re_export_and_a_macro_is_found() {
    let found = texts(&small(&[]));
    let wanted = "2 files import each other in a circle:\n  \
                  src/a.rs -> src/b.rs: name\n  src/b.rs -> src/a.rs: A\n";
    assert_eq!(found, [wanted]);
}

#[test]
fn arrows_run_to_the_file_that_defines_the_name() {
    let arrows = arrows(&small(&[]));
    let found: Vec<String> = arrows
        .iter()
        .map(|((from, to), names)| {
            format!("{from} {to} {}", names.iter().cloned().collect::<Vec<_>>().join(","))
        })
        .collect();
    let wanted = [
        "src/a.rs src/b.rs name",
        "src/b.rs src/a.rs A",
        "src/c.rs src/b.rs name",
        "src/c.rs src/deep/low.rs Low",
        "src/deep/high.rs src/deep/low.rs Low,T",
        "src/deep/high.rs src/deep/mod.rs Own",
        "src/lib.rs src/c.rs start",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn a_module_that_uses_what_it_passes_on_is_part_of_a_circle() {
    let deep =
        "mod low; mod high; pub use low::Low; pub struct Own; pub use high::High; pub fn f(h: High) {}";
    let high = "use super::Own; pub struct High;";
    let found = texts(&small(&[
        ("src/deep/mod.rs", deep),
        ("src/deep/high.rs", high),
        ("src/a.rs", "pub struct A;"),
    ]));
    let wanted = "2 files import each other in a circle:\n  \
                  src/deep/high.rs -> src/deep/mod.rs: Own\n  src/deep/mod.rs -> src/deep/high.rs: High\n";
    assert_eq!(found, [wanted]);
}
