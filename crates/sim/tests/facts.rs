//! Images read on several threads: the order, and what a bad one does to the others.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::fs;
use std::path::PathBuf;

use erofs_sim::facts::{read, read_in_order};

/// Files of which none is an image, each for a reason of its own.
fn bad_images(count: usize) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..count).map(|number| dir.path().join(number.to_string())).collect();
    for (number, path) in paths.iter().enumerate().filter(|(number, _)| number % 5 != 0) {
        fs::write(path, vec![0; number]).unwrap();
    }
    (dir, paths)
}

#[test]
fn images_come_in_the_order_of_their_paths() {
    for count in [0, 1, 2, 3, 100] {
        let (_dir, paths) = bad_images(count);
        let alone = paths.iter().map(|path| read(path, &[] as &[PathBuf]).unwrap_err().to_string());
        let want: Vec<(usize, String)> = alone.enumerate().collect();
        let mut got = Vec::new();
        let done = read_in_order(&paths, |number, facts| {
            got.push((number, facts.unwrap_err().to_string()));
            Ok::<(), ()>(())
        });
        assert_eq!((done, got), (Ok(()), want), "{count} images");
    }
}

#[test]
fn an_error_ends_the_reading() {
    let (_dir, paths) = bad_images(100);
    for stop in [0, 1, 50, 99] {
        let mut calls = 0;
        let done = read_in_order(&paths, |number, _| {
            calls += 1;
            if number == stop { Err(number) } else { Ok(()) }
        });
        assert_eq!((done, calls), (Err(stop), stop + 1));
    }
}
