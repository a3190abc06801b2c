//! The rules of sharing as they were measured on Linux 7.2, one row for each, and the model held to a naive
//! reference.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use erofs_sim::facts::{FileFacts, ImageFacts};
use erofs_sim::kernel::{KernelModel, by_name};
use erofs_sim::readahead::FileAccess;
use erofs_sim::scenario::{Backend, Method};
use erofs_sim::world::{MountOptions, Reason, World, WorldError};

const MIB: u64 = 1 << 20;

/// An image of files: size in bytes, whether compressed, fingerprint.
fn image(files: &[(u64, bool, &str)]) -> ImageFacts {
    let files = files.iter().enumerate().map(|(index, &(size, compressed, print))| FileFacts {
        path: format!("/{index}").into_bytes(),
        size,
        compressed,
        fingerprint: (!print.is_empty()).then(|| print.as_bytes().to_vec()),
    });
    ImageFacts {
        files: files.collect(),
        announces_fingerprints: true,
        directory_bytes: 4096,
        ..ImageFacts::default()
    }
}

fn on(backend: Backend, domain: &str) -> MountOptions {
    MountOptions {
        backend,
        device: None,
        inode_share: true,
        domain: Some(domain.into()),
        ..MountOptions::default()
    }
}

fn shared() -> MountOptions {
    on(Backend::Block, "dom1")
}

/// KiB that reading a whole file adds.
fn read(world: &mut World<'_>, mount: &str, file: usize) -> u64 {
    by(world, mount, file, Method::Read)
}

fn by(world: &mut World<'_>, mount: &str, file: usize, method: Method) -> u64 {
    world.access(mount, file, &FileAccess::whole(method), None).unwrap().added * 4
}

/// Reads the first bytes of file 0.
fn part(world: &mut World<'_>, mount: &str, method: Method, length: u64) {
    let access = FileAccess { length: Some(length), ..FileAccess::whole(method) };
    world.access(mount, 0, &access, None).unwrap();
}

/// KiB added by reading file 0 of two images one after the other, mounted with these options.
fn pair(first: &(&ImageFacts, MountOptions), second: &(&ImageFacts, MountOptions)) -> (u64, u64) {
    let mut world = World::new(KernelModel::default());
    world.mount("m1", first.0, &first.1).unwrap();
    world.mount("m2", second.0, &second.1).unwrap();
    (read(&mut world, "m1", 0), read(&mut world, "m2", 0))
}

#[test]
fn methods_share_or_do_not() {
    let big = image(&[(8 * MIB, false, "k")]);
    let later = by_name("splice").unwrap();
    for (method, on_7_2, on_later) in [
        (Method::Read, 0, 0),
        (Method::Mmap, 0, 0),
        (Method::Exec, 0, 0),
        (Method::Willneed, 0, 0),
        (Method::Sendfile, 8192, 0),
        (Method::Splice, 8192, 0),
        (Method::CopyUp, 8192, 0),
    ] {
        for (kernel, want) in [(KernelModel::default(), on_7_2), (later, on_later)] {
            let mut world = World::new(kernel);
            world.mount("m1", &big, &shared()).unwrap();
            world.mount("m2", &big, &shared()).unwrap();
            assert_eq!(read(&mut world, "m1", 0), 8192);
            assert_eq!(by(&mut world, "m2", 0, method), want, "{method:?} on {}", kernel.name);
        }
    }
}

#[test]
fn three_copies_of_one_content() {
    let big = image(&[(8 * MIB, false, "k")]);
    let mut world = World::new(KernelModel::default());
    world.mount("m1", &big, &shared()).unwrap();
    world.mount("m2", &big, &shared()).unwrap();
    let added = [
        by(&mut world, "m1", 0, Method::Sendfile),
        by(&mut world, "m2", 0, Method::Sendfile),
        read(&mut world, "m1", 0),
        read(&mut world, "m2", 0),
    ];
    assert_eq!(added, [8192, 8192, 8192, 0]);
    assert_eq!(
        world.visible("m2", 0).unwrap(),
        (2048, 2048),
        "mincore and cachestat look at different pages"
    );
}

#[test]
fn what_makes_two_files_match() {
    let plain = image(&[(MIB, false, "k")]);
    let compressed = image(&[(MIB, true, "k")]);
    let other = image(&[(MIB, false, "other")]);
    let none = image(&[(MIB, false, "")]);
    let longer = image(&[(MIB + 1, false, "k")]);
    let silent = ImageFacts { announces_fingerprints: false, ..plain.clone() };
    let private = MountOptions { inode_share: false, ..shared() };
    let b = Backend::Block;
    for (row, first, second, want) in [
        ("2.1 same value, same domain", (&plain, shared()), (&plain, shared()), 0),
        ("2.2 other domain", (&plain, shared()), (&plain, on(b, "dom2")), 1024),
        ("2.2 a domain that begins alike", (&plain, shared()), (&plain, on(b, "dom1x")), 1024),
        ("2.3 one mount without inode_share", (&plain, shared()), (&plain, private), 1024),
        ("2.7 an image that does not announce them", (&plain, shared()), (&silent, shared()), 1024),
        ("2.9 a file without a fingerprint", (&none, shared()), (&none, shared()), 1024),
        ("2.14 other content", (&plain, shared()), (&other, shared()), 1024),
        ("3.1 other size", (&plain, shared()), (&longer, shared()), 1028),
        ("3.8 compressed and plain", (&plain, shared()), (&compressed, shared()), 1024),
        ("3.9 both compressed", (&compressed, shared()), (&compressed, shared()), 0),
        ("3.13 block and file", (&plain, shared()), (&plain, on(Backend::File, "dom1")), 1024),
        (
            "3.14 compressed, block and file",
            (&compressed, shared()),
            (&compressed, on(Backend::File, "dom1")),
            0,
        ),
        ("3.15 disk and loop", (&plain, shared()), (&plain, on(Backend::Loop, "dom1")), 0),
        ("3.15 disk and dm-verity", (&plain, shared()), (&plain, on(Backend::Verity, "dom1")), 0),
        (
            "3.16 file with and without directio",
            (&plain, on(Backend::File, "dom1")),
            (&plain, on(Backend::FileDirectio, "dom1")),
            0,
        ),
    ] {
        assert_eq!(pair(&first, &second), (1024, want), "{row}");
    }
    let twins = image(&[(MIB, false, "k"), (MIB, false, "k")]);
    let mut world = World::new(KernelModel::default());
    world.mount("m", &twins, &shared()).unwrap();
    assert_eq!((read(&mut world, "m", 0), read(&mut world, "m", 1)), (1024, 0), "3.17 twins in one image");
}

#[test]
fn an_undelimited_key_can_be_taken_for_another() {
    let (one, two) = (image(&[(MIB, false, "bc")]), image(&[(MIB, false, "c")]));
    for (kernel, want) in [("7.0", 0), ("7.2", 1024)] {
        let mut world = World::new(by_name(kernel).unwrap());
        world.mount("m1", &one, &on(Backend::Block, "a")).unwrap();
        world.mount("m2", &two, &on(Backend::Block, "ab")).unwrap();
        assert_eq!(read(&mut world, "m1", 0), 1024);
        assert_eq!(read(&mut world, "m2", 0), want, "{kernel}");
    }
}

#[test]
fn mounts_that_the_kernel_refuses() {
    let facts = image(&[(1, false, "k")]);
    let mut world = World::new(KernelModel::default());
    for (domain, inode_share) in [(None, true), (Some(String::new()), true), (Some(String::new()), false)] {
        let options = MountOptions { inode_share, domain, ..MountOptions::default() };
        assert!(matches!(world.mount("m", &facts, &options), Err(WorldError::Refused { .. })));
    }
    world.mount("m", &facts, &MountOptions::default()).unwrap();
    assert!(matches!(world.mount("m", &facts, &shared()), Err(WorldError::Taken { .. })));
    world.remount("m", true).unwrap();
    assert_eq!(world.lookup("m", 0), Err(WorldError::Crash { mount: "m".into() }), "8.1");
    assert!(matches!(world.lookup("m", 9), Err(WorldError::Name { .. })));
    assert!(matches!(world.umount("nowhere"), Err(WorldError::Name { .. })));
}

#[test]
fn one_device_is_one_superblock() {
    let facts = image(&[(MIB, false, "k")]);
    let at = |inode_share| MountOptions { device: Some("vda".into()), inode_share, ..shared() };
    let mut world = World::new(KernelModel::default());
    world.mount("m1", &facts, &at(false)).unwrap();
    world.mount("m2", &facts, &at(true)).unwrap();
    world.mount("m3", &facts, &shared()).unwrap();
    assert_eq!(read(&mut world, "m3", 0), 1024);
    assert_eq!(read(&mut world, "m2", 0), 1024, "2.20: the options of the second mount count for nothing");
    assert_eq!(read(&mut world, "m1", 0), 0, "and its pages are those of the first");
    assert_eq!(world.umount("m1").unwrap().dropped, 0);
    assert_eq!(world.umount("m2").unwrap().dropped, 256);
}

#[test]
fn the_order_of_lookups_decides() {
    let short = image(&[(MIB / 2, false, "k")]);
    let long = image(&[(MIB, false, "k")]);
    let mut world = World::new(KernelModel::default());
    world.mount("short", &short, &shared()).unwrap();
    for mount in ["a", "b"] {
        world.mount(mount, &long, &shared()).unwrap();
    }
    assert_eq!(world.lookup("short", 0).unwrap(), None, "3.1: a stat is enough");
    assert_eq!(world.lookup("a", 0).unwrap(), Some(Reason::OtherSize));
    assert_eq!(
        (read(&mut world, "a", 0), read(&mut world, "b", 0)),
        (1024, 1024),
        "3.2: losers do not share either"
    );
    world.umount("short").unwrap();
    assert_eq!(world.lookup("a", 0).unwrap(), Some(Reason::OtherSize), "3.3: a loser stays one");
    world.drop_caches(1);
    assert_eq!((read(&mut world, "a", 0), read(&mut world, "b", 0)), (1024, 1024));
    world.drop_caches(3);
    assert_eq!(
        (read(&mut world, "a", 0), read(&mut world, "b", 0)),
        (1024, 0),
        "after leaving memory they share"
    );
}

#[test]
fn who_was_looked_up_last_provides() {
    let facts = image(&[(8 * MIB, false, "k")]);
    let mut world = World::new(KernelModel::default());
    world.mount("a", &facts, &shared()).unwrap();
    world.mount("b", &facts, &shared()).unwrap();
    part(&mut world, "a", Method::Read, 100_000);
    assert_eq!(world.provider("a", 0).unwrap(), Some("a"));
    world.lookup("b", 0).unwrap();
    assert_eq!(world.provider("a", 0).unwrap(), Some("b"), "3.5");
    assert_eq!(read(&mut world, "a", 0), 7936, "3.7: only what is missing comes from b");
    world.umount("b").unwrap();
    assert_eq!(world.provider("a", 0).unwrap(), Some("a"));
}

#[test]
fn lifetime() {
    let facts = image(&[(MIB, false, "k")]);
    let start = |mounts: &[&str]| {
        let mut world = World::new(KernelModel::default());
        for mount in mounts {
            world.mount(mount, &facts, &shared()).unwrap();
        }
        world
    };
    let mut world = start(&["m1", "m2"]);
    world.lookup("m2", 0).unwrap();
    read(&mut world, "m1", 0);
    assert_eq!(world.umount("m1").unwrap().dropped, 0, "4.1");
    assert_eq!(read(&mut world, "m2", 0), 0);

    let mut world = start(&["m1", "m2"]);
    read(&mut world, "m1", 0);
    assert_eq!(world.umount("m1").unwrap().dropped, 256, "4.2");
    assert_eq!(read(&mut world, "m2", 0), 1024);

    let mut world = start(&["m1", "m2"]);
    read(&mut world, "m1", 0);
    assert_eq!(world.drop_caches(1).dropped, 256, "4.4");
    read(&mut world, "m1", 0);
    assert_eq!(world.drop_caches(2).dropped, 256, "4.6");

    let mut world = start(&["m1", "m2"]);
    read(&mut world, "m1", 0);
    world.open("m2", 0).unwrap();
    world.drop_caches(2);
    assert_eq!(world.resident(), 256, "4.7: an open file pins its key");
    world.close("m2", 0).unwrap();
    part(&mut world, "m1", Method::Sendfile, 4096);
    world.drop_caches(2);
    assert!(world.resident() >= 256, "4.8: so does a file with pages of its own");

    let mut world = start(&["m1", "m2"]);
    read(&mut world, "m1", 0);
    assert_eq!(world.dontneed("m2", 0, 0, Some(MIB / 2)).unwrap().dropped, 128, "4.9");
    assert_eq!(world.dontneed("m2", 0, 0, None).unwrap().dropped, 128);
    assert_eq!(read(&mut world, "m1", 0), 1024);

    let mut world = start(&["m1", "m2"]);
    read(&mut world, "m1", 0);
    world.remount("m2", false).unwrap();
    assert_eq!(read(&mut world, "m2", 0), 1024, "2.22");
}

#[test]
fn sizes_in_pages() {
    for (size, want) in [(1, 4), (100, 4), (4096, 4), (4097, 8), (5000, 8), (130 << 10, 132)] {
        let facts = image(&[(size, false, "k")]);
        assert_eq!(pair(&(&facts, shared()), &(&facts, shared())), (want, 0), "5.1: {size} bytes");
    }
}

#[test]
fn listed_pages_come_in_alone() {
    let big = image(&[(8 * MIB, false, "k"), (MIB, false, "")]);
    let mut world = World::new(KernelModel::default());
    world.mount("m1", &big, &shared()).unwrap();
    world.mount("m2", &big, &shared()).unwrap();
    assert_eq!(world.touch("m1", 0, 4096..8193).unwrap().added, 2);
    assert_eq!(world.touch("m2", 0, 0..8192).unwrap().added, 1, "the page at 4096 is there");
    assert_eq!(world.touch("m2", 1, 0..u64::MAX).unwrap().added, 256, "no further than the file");
    by(&mut world, "m1", 0, Method::Sendfile);
    let own: Vec<_> = world.private_files().collect();
    assert_eq!(own, [("m1", 0, None, 2048), ("m2", 1, Some(Reason::NoFingerprint), 256)]);
}

#[test]
fn what_is_dropped_ends_with_whole_pages_or_with_the_file() {
    let facts = image(&[(10_000, false, "k")]);
    for (offset, length, want) in [
        (0, Some(10_000), 3),
        (0, Some(9_999), 2),
        (0, Some(10_001), 2),
        (0, Some(12_288), 3),
        (1, Some(4096), 0),
        (1, Some(8191), 1),
        (0, Some(0), 3),
        (4096, None, 2),
        (20_000, Some(1), 0),
        (u64::MAX, Some(u64::MAX), 0),
        (4096, Some(u64::MAX), 2),
    ] {
        let mut world = World::new(KernelModel::default());
        world.mount("m", &facts, &shared()).unwrap();
        read(&mut world, "m", 0);
        assert_eq!(world.dontneed("m", 0, offset, length).unwrap().dropped, want, "{offset}, {length:?}");
    }
}

#[test]
fn an_overlay_keeps_what_is_below_it() {
    let facts = image(&[(MIB, false, "k")]);
    let mut world = World::new(KernelModel::default());
    world.mount("m", &facts, &shared()).unwrap();
    world.overlay("o", "m", None).unwrap();
    assert_eq!(read(&mut world, "o", 0), 1024);
    world.open("o", 0).unwrap();
    assert_eq!(world.umount("m").unwrap().dropped, 0, "the overlay is not the mount");
    assert_eq!(read(&mut world, "o", 0), 0);
    assert!(matches!(world.umount("o"), Err(WorldError::Busy { .. })));
    world.close("o", 0).unwrap();
    assert_eq!(world.umount("o").unwrap().dropped, 256);
}

#[test]
fn a_mount_is_busy_by_its_own_files() {
    let facts = image(&[(MIB, false, "k")]);
    let options = MountOptions { device: Some("x".into()), ..shared() };
    let mut world = World::new(KernelModel::default());
    world.mount("m1", &facts, &options).unwrap();
    world.mount("m2", &facts, &options).unwrap();
    read(&mut world, "m1", 0);
    world.open("m1", 0).unwrap();
    assert!(matches!(world.umount("m1"), Err(WorldError::Busy { .. })), "of two mounts of one device");
    assert_eq!(world.umount("m2").unwrap().dropped, 0);
    world.close("m1", 0).unwrap();
    assert_eq!(world.umount("m1").unwrap().dropped, 256);
}

#[test]
fn an_open_file_reads_ahead_for_itself() {
    let facts = image(&[(8 * MIB, false, "k")]);
    let mut world = World::new(KernelModel::default());
    world.mount("m", &facts, &shared()).unwrap();
    let at = |offset| FileAccess { offset, length: Some(4096), ..FileAccess::whole(Method::Read) };
    let mut stream = world.open("m", 0).unwrap();
    world.set_window(8192);
    let mut through =
        |world: &mut World<'_>, offset| world.access("m", 0, &at(offset), Some(&mut stream)).unwrap().added;
    // The second read follows the first; through a file of its own it would be one at random.
    assert_eq!((through(&mut world, 4 << 20), through(&mut world, (4 << 20) + 4096)), (1, 4));
    assert_eq!(world.access("m", 0, &at(5 << 20), None).unwrap().added, 1);
    assert_eq!(world.access("m", 0, &at((5 << 20) + 4096), None).unwrap().added, 1);
}

#[test]
fn what_an_image_claims_costs_no_more_than_a_limit() {
    let facts = image(&[(1 << 62, false, "k"), (1 << 62, false, "")]);
    let mut world = World::new(KernelModel::default());
    world.mount("m", &facts, &shared()).unwrap();
    let access = FileAccess { call: 1, ..FileAccess::whole(Method::Read) };
    assert!(matches!(world.access("m", 0, &access, None), Err(WorldError::Steps { .. })));
    let access = FileAccess::whole(Method::Mmap);
    assert!(matches!(world.access("m", 1, &access, None), Err(WorldError::Steps { .. })));
    assert_eq!(world.access("m", 0, &FileAccess { length: Some(1), ..access }, None).unwrap().added, 0);
}
