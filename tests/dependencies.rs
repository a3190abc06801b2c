//! What the programs are linked with: licences, crates in two versions, and where crates come from.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Licences that ask for notices and nothing else, so that programs under `MIT OR Apache-2.0` can contain
/// them.
const LICENCES: [&str; 8] =
    ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "Unicode-3.0", "Unlicense", "Zlib"];

/// Crates in more than one version: name, versions without what may change in an update, and why.
const TWO_VERSIONS: [(&str, &[&str], &str); 1] = [(
    "syn",
    &["2", "3"],
    "derive macros of zerocopy, zeroize, der and tls_codec are still on 2; runs while compiling only",
)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What Cargo.lock says of one package, for all platforms.
#[derive(serde::Deserialize)]
struct Locked {
    name: String,
    version: String,
    /// A package of the workspace has none.
    source: Option<String>,
}

fn locked() -> Vec<Locked> {
    #[derive(serde::Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    toml::from_str::<Lock>(&fs::read_to_string(root().join("Cargo.lock")).unwrap()).unwrap().package
}

/// The part of a version that semantic versioning keeps compatible: `2` of 2.0.1, `0.4` of 0.4.3.
fn series(version: &str) -> String {
    let kept = if version.starts_with("0.") { 2 } else { 1 };
    version.split('.').take(kept).collect::<Vec<_>>().join(".")
}

/// Names and licences of all packages of this platform; those of others need not have been downloaded.
fn licences() -> Vec<(String, Option<String>)> {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version=1", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (text(&package["name"]).unwrap(), text(&package["license"]))).collect()
}

/// Whether an SPDX expression can be met with [`LICENCES`] alone. Older crates write `/` for `OR`.
fn is_allowed(expression: &str) -> bool {
    // `AND` binds more strongly than `OR`, and an exception belongs to the licence before it.
    let expression = expression.replace('/', " OR ");
    match enclosed(&expression) {
        Some((before, inner, after)) => {
            // A group becomes one licence that is on the list, or one that is not.
            let value = if is_allowed(inner) { LICENCES[0] } else { "none" };
            is_allowed(&format!("{before}{value}{after}"))
        }
        None => {
            expression.split(" OR ").any(|all| all.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
        }
    }
}

/// The innermost group that closes first, with what is before and behind it.
fn enclosed(expression: &str) -> Option<(&str, &str, &str)> {
    let close = expression.find(')')?;
    let open = expression[..close].rfind('(')?;
    Some((&expression[..open], &expression[open + 1..close], &expression[close + 1..]))
}

#[test]
fn licences_are_allowed() {
    let licences = licences();
    let is_refused = |licence: &Option<String>| !licence.as_deref().is_some_and(is_allowed);
    let refused: Vec<_> = licences.iter().filter(|(_, licence)| is_refused(licence)).collect();
    assert!(licences.len() > 100, "found {} packages", licences.len());
    assert!(refused.is_empty(), "licences that are not on the list: {refused:?}");
}

#[test]
fn expressions_of_licences() {
    for (expression, want) in [
        ("MIT", true),
        ("GPL-2.0-only", false),
        ("GPL-2.0-only OR MIT", true),
        ("MIT AND GPL-2.0-only", false),
        ("Unlicense/MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-2.0-only", false),
        ("GPL-2.0-only AND (MIT OR Zlib) OR BSD-3-Clause", true),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression), want, "{expression}");
    }
}

#[test]
fn crates_in_two_versions_are_known() {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut packages: BTreeMap<String, usize> = BTreeMap::new();
    for package in locked() {
        *packages.entry(package.name.clone()).or_default() += 1;
        all.entry(package.name).or_default().insert(series(&package.version));
    }
    all.retain(|name, _| packages[name] > 1);
    let known: BTreeMap<String, BTreeSet<String>> = TWO_VERSIONS
        .iter()
        .map(|(name, versions, _)| ((*name).to_owned(), versions.iter().map(ToString::to_string).collect()))
        .collect();
    assert_eq!(all, known, "left: Cargo.lock, right: the list in tests/dependencies.rs");
}

#[test]
fn crates_come_from_the_registry() {
    let elsewhere: Vec<_> = locked()
        .into_iter()
        .filter_map(|package| package.source.map(|source| (package.name, source)))
        .filter(|(_, source)| !source.starts_with("registry+"))
        .collect();
    assert!(elsewhere.is_empty(), "packages that are not from a registry: {elsewhere:?}");
}
