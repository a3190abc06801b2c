//! Random trees with random options: everyone who reads an image finds the tree in it, however many threads
//! made it.
//!
//! A tree that fails is made smaller and printed with its options, and its seed is kept beside this file.
//! `PROPTEST_CASES` asks for more cases than a minute's.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::fs;
use std::path::Path;
use std::process::Command;

use erofs_testkit::random::{OptionsSpec, TreeSpec};
use erofs_testkit::require::need;
use erofs_testkit::{Backing, Expect, Mount, mount, peers, place, random};
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

/// The builder under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
/// The reader and verifier under test.
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
/// The attribute of fingerprints.
const KEY: &str = "trusted.erofs.fingerprint";

type Judged = Result<(), TestCaseError>;

fn failed(what: &str, error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(format!("{what}: {error}"))
}

fn compare(source: &Path, copy: &Path, expect: &Expect, what: &str) -> Judged {
    let differences = erofs_testkit::compare(source, copy, expect).map_err(|error| failed(what, error))?;
    if differences.is_empty() { Ok(()) } else { Err(failed(what, format!("{differences:#?}"))) }
}

/// Builds an image with so many threads.
fn build(options: &OptionsSpec, workers: u32, image: &Path, source: &Path) -> Judged {
    let mut words = options.words.clone();
    words.push(format!("--workers={workers}"));
    match peers::build(MKFS, &words, image, source) {
        Ok(_) => Ok(()),
        Err(error) => Err(failed("build", error)),
    }
}

fn judge(tree: &TreeSpec, options: &OptionsSpec, backings: &[Backing]) -> Judged {
    let source = place::scratch().unwrap();
    let dir = place::disk_scratch().unwrap();
    tree.make(source.path()).map_err(|error| failed("source", error))?;
    let image = dir.path().join("image");
    build(options, 2, &image, source.path())?;
    let bytes = fs::read(&image).unwrap();
    let again = dir.path().join("again");
    for workers in [1, 5] {
        build(options, workers, &again, source.path())?;
        if fs::read(&again).unwrap() != bytes {
            return Err(failed("workers", format!("{workers} workers give other bytes than 2")));
        }
    }
    for &backing in backings {
        let mounted = Mount::new(&image, backing).map_err(|error| failed("mount", error))?;
        compare(source.path(), mounted.path(), &options.expect, &format!("mounted by {backing:?}"))?;
        // What is mounted is a source like any other.
        build(options, 2, &again, mounted.path())?;
        if fs::read(&again).unwrap() != bytes {
            return Err(failed("rebuild", "the mounted tree gives another image"));
        }
    }
    peers::run(Command::new(ISHARE).arg("verify").arg(&image)).map_err(|error| failed("verify", error))?;
    // Where the source could be made there is room for its attributes, too.
    let scratch = place::scratch().unwrap();
    let copy = scratch.path().join("copy");
    peers::run(Command::new(ISHARE).args(["extract", "--quiet", "-o"]).arg(&copy).arg(&image))
        .map_err(|error| failed("extract", error))?;
    compare(source.path(), &copy, &options.expect, "extracted")
}

#[test]
fn random_trees_with_random_options() {
    let Some(backings) = need("the kernel reads random trees", mount::both()) else { return };
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100);
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/random.proptest-regressions",
        ))),
        ..Config::default()
    });
    let inputs = (random::tree(80), random::options(KEY));
    let outcome = runner.run(&inputs, |(tree, options)| judge(&tree, &options, &backings));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
