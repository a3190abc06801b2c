//! Reasons, hints, directories and duplicates of small sets of images.

use erofs_sim::facts::{FileFacts, ImageFacts};
use erofs_sim::kernel::KernelModel;
use erofs_sim::scenario::{Backend, Method};
use erofs_sim::survey::{Findings, Hint, Survey, Why};
use erofs_sim::tally::{Access, Cause, Tally};
use erofs_sim::world::Reason;

fn image(files: &[(&str, u64, bool, &str)]) -> ImageFacts {
    let files = files.iter().map(|&(path, size, compressed, print)| FileFacts {
        path: path.into(),
        size,
        compressed,
        fingerprint: (!print.is_empty()).then(|| print.into()),
    });
    ImageFacts { files: files.collect(), announces_fingerprints: true, ..ImageFacts::default() }
}

fn survey(images: &[(&str, ImageFacts)]) -> Findings {
    let access = Access { kernel: KernelModel::default(), backend: Backend::Block, method: Method::Read };
    let (mut tally, mut survey) = (Tally::new(access), Survey::default());
    for (number, (domain, facts)) in images.iter().enumerate() {
        survey.begin(number, facts, domain);
        tally.add_each(facts, Some(domain), |file, outcome| survey.file(file, outcome));
    }
    survey.finish()
}

#[test]
fn every_reason_is_counted_apart() {
    let first = image(&[("/usr/lib/a", 5000, false, "k"), ("/b", 1, false, "")]);
    let longer = image(&[("/usr/lib/a", 9000, false, "k")]);
    let other = image(&[("/usr/lib/a", 5000, true, "k")]);
    let found =
        survey(&[("d", first.clone()), ("d", longer.clone()), ("d", longer), ("d", other), ("e", first)]);
    let private = |reason| Why::Cause(Cause::Private(reason));
    for (why, files, bytes, image) in [
        (private(Reason::NoFingerprint), 2, 8192, 0),
        (private(Reason::OtherSize), 1, 12_288, 1),
        (Why::FirstComer, 1, 12_288, 2),
        (private(Reason::OtherClass), 1, 8192, 3),
        (Why::OtherDomain, 1, 8192, 4),
    ] {
        let group = &found.not_shared[&why];
        assert_eq!((group.count.files, group.count.bytes), (files, bytes), "{why:?}");
        assert_eq!(group.largest[0].image, image, "{why:?}");
    }
    assert_eq!(found.not_shared.len(), 5);
    // What another image has stored already: the fingerprint decides, in whatever domain.
    assert_eq!((found.stored_across.files, found.stored_across.bytes), (4, 9000 + 9000 + 5000 + 5000));
    let dirs: Vec<_> = found
        .directories
        .iter()
        .map(|dir| (String::from_utf8(dir.path.clone()).unwrap(), dir.private_bytes, dir.shared_bytes))
        .collect();
    assert_eq!(dirs, [("/usr/lib".to_owned(), 49_152, 49_152), ("/".to_owned(), 8192, 8192)]);
}

#[test]
fn pairs_at_one_path_are_compared() {
    let first = image(&[
        ("/stamp", 5000, false, "sha256:a"),
        ("/grown", 5000, false, "sha256:b"),
        ("/packed", 9000, false, "sha256:c"),
        ("/same", 1, false, "sha256:d"),
    ]);
    let second = image(&[
        ("/stamp", 5000, false, "x"),
        ("/grown", 6000, false, "y"),
        ("/packed", 9000, true, "sha256:c"),
        ("/same", 1, false, "sha256:d"),
        ("/new", 1, false, "z"),
    ]);
    let found = survey(&[("d", first), ("d", second)]);
    let pairs = |hint| {
        let group = &found.hints[&hint];
        let first = &group.largest[0];
        (group.count.files, String::from_utf8(first.path.clone()).unwrap(), first.image, first.other)
    };
    assert_eq!(pairs(Hint::SameSizeOtherContent), (1, "/stamp".into(), 1, Some(0)));
    assert_eq!(pairs(Hint::CompressedInOne), (1, "/packed".into(), 1, Some(0)));
    assert_eq!(found.hints.len(), 2);
    assert_eq!(
        found.mixed_kinds,
        [("d".to_owned(), vec!["sha256".to_owned(), "1 byte without a name".to_owned()])]
    );
    assert!(!found.paths_left_out);
}

#[test]
fn the_largest_files_stand_first() {
    let files: Vec<(String, u64)> = (1..9).map(|n| (format!("/{n}"), n * 1000)).collect();
    let rows: Vec<(&str, u64, bool, &str)> =
        files.iter().map(|(path, size)| (path.as_str(), *size, false, "")).collect();
    let found = survey(&[("d", image(&rows))]);
    let group = &found.not_shared[&Why::Cause(Cause::Private(Reason::NoFingerprint))];
    let sizes: Vec<u64> = group.largest.iter().map(|file| file.size).collect();
    assert_eq!(sizes, [8000, 7000, 6000, 5000, 4000]);
    assert_eq!(group.count.files, 8);
}
