//! The sum over images against the model that keeps every page: equal for random sets of images.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use erofs_sim::facts::{FileFacts, ImageFacts};
use erofs_sim::kernel::KernelModel;
use erofs_sim::readahead::FileAccess;
use erofs_sim::scenario::{Backend, Method};
use erofs_sim::tally::{Access, Cause, Outcome, Tally};
use erofs_sim::world::{MountOptions, Reason, World};

fn random_image(seed: u64) -> ImageFacts {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut file = |number: u64| {
        let print = random(12);
        // Mostly the size belongs to the fingerprint, as it should.
        let size = if random(9) == 0 { random(30_000) } else { print * 3000 };
        let compressed = random(7) == 0;
        let fingerprint = (print != 0 && size != 0).then(|| vec![u8::try_from(print).unwrap()]);
        FileFacts { path: format!("/{number}").into_bytes(), size, compressed, fingerprint }
    };
    ImageFacts {
        files: (0..30).map(&mut file).collect(),
        announces_fingerprints: !seed.is_multiple_of(5),
        directory_bytes: 4096,
        ..ImageFacts::default()
    }
}

#[test]
fn the_sum_is_what_the_model_counts() {
    for seed in 0..60 {
        for (backend, method) in [
            (Backend::Block, Method::Read),
            (Backend::File, Method::Mmap),
            (Backend::Block, Method::Sendfile),
        ] {
            let kernel = KernelModel::default();
            let images: Vec<ImageFacts> = (0..5).map(|n| random_image(seed * 5 + n)).collect();
            let mut tally = Tally::new(Access { kernel, backend, method });
            let mut world = World::new(kernel);
            for (number, facts) in images.iter().enumerate() {
                let domain = ["a", "b"][number % 2];
                let mount = number.to_string();
                let options = MountOptions {
                    backend,
                    device: None,
                    inode_share: true,
                    domain: Some(domain.into()),
                    ..MountOptions::default()
                };
                world.mount(&mount, facts, &options).unwrap();
                let before = world.resident();
                for (file, known) in facts.files.iter().enumerate() {
                    if known.size != 0 {
                        world.access(&mount, file, &FileAccess::whole(method), None).unwrap();
                    }
                }
                let added = tally.add(facts, Some(domain)).added.bytes;
                assert_eq!(
                    added,
                    (world.resident() - before) * 4096,
                    "seed {seed}, {method:?}, image {number}"
                );
            }
            assert_eq!(tally.total().added.bytes, world.resident() * 4096);
        }
    }
}

#[test]
fn reasons_are_told_apart() {
    let file = |path: &str, size, compressed, print: &str| FileFacts {
        path: path.into(),
        size,
        compressed,
        fingerprint: (!print.is_empty()).then(|| print.into()),
    };
    let one = ImageFacts {
        files: vec![
            file("/a", 5000, false, "a"),
            file("/b", 100, false, "b"),
            file("/c", 100, false, ""),
            file("/empty", 0, false, ""),
        ],
        announces_fingerprints: true,
        directory_bytes: 4096,
        ..ImageFacts::default()
    };
    let two = ImageFacts {
        files: vec![file("/a", 5000, true, "a"), file("/b", 200, false, "b"), file("/c", 100, false, "c")],
        ..one.clone()
    };
    let access = Access { kernel: KernelModel::default(), backend: Backend::Block, method: Method::Read };
    let mut tally = Tally::new(access);
    tally.add(&one, Some("d"));
    tally.add(&two, Some("d"));
    tally.add(&two, None);
    let total = tally.total();
    assert_eq!((total.all.files, total.all.bytes), (9, 3 * 8192 + 6 * 4096));
    let private = |reason| total.private.get(&Cause::Private(reason)).map(|count| (count.files, count.bytes));
    assert_eq!(private(Reason::OtherClass), Some((1, 8192)));
    assert_eq!(private(Reason::OtherSize), Some((1, 4096)));
    assert_eq!(private(Reason::NoFingerprint), Some((1, 4096)));
    assert_eq!(private(Reason::MountDoesNotShare), Some((3, 16_384)));
    let examples = &tally.examples()[&Cause::Private(Reason::MountDoesNotShare)];
    let paths: Vec<&[u8]> = examples.iter().map(|example| example.path.as_slice()).collect();
    assert_eq!(paths, [&b"/a"[..], b"/b", b"/c"], "largest first");
}

#[test]
fn outcomes_are_told_file_by_file() {
    let file = |path: &str, size, print: &str| FileFacts {
        path: path.into(),
        size,
        compressed: false,
        fingerprint: (!print.is_empty()).then(|| print.into()),
    };
    let facts = ImageFacts {
        files: vec![
            file("/a", 1, "a"),
            file("/b", 1, "a"),
            file("/c", 2, "a"),
            file("/d", 1, ""),
            file("/e", 0, ""),
        ],
        announces_fingerprints: true,
        ..ImageFacts::default()
    };
    let private = |reason| Outcome::Private(Cause::Private(reason));
    let (other, none) = (private(Reason::OtherSize), private(Reason::NoFingerprint));
    let cut = Outcome::Private(Cause::Method);
    for (method, first, second) in [
        (
            Method::Read,
            [Outcome::First, Outcome::Joined, other, none],
            [Outcome::Joined, Outcome::Joined, other, none],
        ),
        (Method::Splice, [cut, cut, other, none], [cut, cut, other, none]),
    ] {
        let mut tally =
            Tally::new(Access { kernel: KernelModel::default(), backend: Backend::Block, method });
        for want in [first, second] {
            let mut told = Vec::new();
            tally.add_each(&facts, Some("d"), |file, outcome| told.push((file.path.clone(), outcome)));
            let paths = ["/a", "/b", "/c", "/d"].map(|path| path.as_bytes().to_vec());
            assert_eq!(told, paths.into_iter().zip(want).collect::<Vec<_>>(), "{method:?}");
        }
        assert_eq!(tally.keys(), 1);
    }
}
