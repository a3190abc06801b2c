//! Logs of strace, traces and scenarios of any text and any numbers: an error or a result, and nothing else.
//! What a log or an image claims may be as large as 64 bits allow.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::BTreeMap;

use erofs_sim::Runner;
use erofs_sim::facts::{FileFacts, ImageFacts};
use erofs_sim::kernel::KernelModel;
use erofs_sim::readahead::{FileAccess, Mapped};
use erofs_sim::scenario::{Event, Method, Scenario};
use erofs_sim::strace::{self, Mountpoint};
use erofs_sim::tally::{self, Tally};
use erofs_sim::trace::{self, How, Record};
use erofs_sim::world::{MountOptions, World};
use proptest::prelude::*;

/// How many steps of readahead a case may take: a hostile one takes them all.
const STEPS: u64 = 10_000;

/// Files of ordinary lengths and of the longest ones, with equal contents and without fingerprints.
fn facts() -> ImageFacts {
    let sizes = [0, 1, 5000, 1 << 20, 8 << 20, 1 << 40, i64::MAX.unsigned_abs(), u64::MAX];
    let file = |(index, size): (usize, u64)| FileFacts {
        path: format!("/{index}").into_bytes(),
        size,
        compressed: false,
        fingerprint: (index % 3 != 0).then(|| vec![u8::try_from(index / 2).unwrap()]),
    };
    let files = sizes.into_iter().enumerate().map(file).collect();
    ImageFacts { files, announces_fingerprints: true, directory_bytes: u64::MAX, ..ImageFacts::default() }
}

/// Numbers near the borders of anything.
fn number() -> impl Strategy<Value = u64> {
    let near = (0..=64_u32, -2_i64..3).prop_map(|(bit, off)| {
        let power = 1_u64.checked_shl(bit).unwrap_or(0);
        power.wrapping_add_signed(off)
    });
    prop_oneof![near, any::<u64>(), 0..20_000_u64]
}

/// Everything that a recorded access can do.
fn carry_out(world: &mut World<'_>, record: &Record) {
    let name = std::str::from_utf8(record.path.get(1..).unwrap_or_default()).unwrap_or_default();
    let Ok(file) = name.parse::<usize>() else { return };
    let Record { offset, length, call, .. } = *record;
    // An access that takes too many steps is an error; later ones go on.
    world.set_steps(STEPS);
    let done = match record.how {
        How::Pages => {
            world.touch("m", file, offset..length.map_or(u64::MAX, |len| offset.saturating_add(len)))
        }
        How::Call(method) => {
            let access = FileAccess { method, offset, length, call, mapped: Mapped::Executable };
            world.access("m", file, &access, None)
        }
    };
    drop((done, world.dontneed("m", file, offset, length), world.visible("m", file)));
}

fn world(facts: &ImageFacts) -> World<'_> {
    let mut world = World::new(KernelModel::default());
    let options = MountOptions {
        inode_share: true,
        domain: Some("d".into()),
        window_pages: Some(u64::MAX),
        ..MountOptions::default()
    };
    world.mount("m", facts, &options).unwrap();
    world
}

/// A line of a log, with numbers for `#`.
fn line() -> impl Strategy<Value = String> {
    let calls = [
        "1 openat(AT_FDCWD, \"/m/4\", O_RDONLY) = 3",
        "1 openat(AT_FDCWD, \"/m/#\", O_RDONLY) = #",
        "1 lseek(3, #, SEEK_SET) = #",
        "1 _llseek(3, #, [#], SEEK_SET) = #",
        "1 read(3, \"x\"..., #) = #",
        "1 pread64(3, \"x\"..., #, #) = #",
        "1 preadv2(3, [], 1, #, 0) = #",
        "1 sendfile(1, 3, [#] => [#], #) = #",
        "1 copy_file_range(3, [#], 4, NULL, #, 0) = #",
        "1 mmap(NULL, #, PROT_READ, MAP_SHARED, 3, #) = 0x7f",
        "1 mmap2(NULL, #, PROT_READ, MAP_SHARED, 3, #) = #",
        "1 readahead(3, #, #) = #",
        "1 fadvise64(3, #, #, POSIX_FADV_WILLNEED) = #",
        "1 close_range(#, #) = #",
        "1 dup2(#, #) = #",
        "1 clone(child_stack=NULL, flags=CLONE_FILES) = #",
        "# read(#, \"\", #) = #",
        "1 read(3, <unfinished ...>",
        "1 <... read resumed>\"\", #) = #",
        "1 vfork( <unfinished ...>",
        "# execve(\"/m/#\", [], 0x0) = #",
        "1 +++ exited with # +++",
    ];
    (prop::sample::select(calls.to_vec()), prop::collection::vec(number(), 4)).prop_map(|(call, numbers)| {
        let mut numbers = numbers.into_iter();
        call.split('#').enumerate().fold(String::new(), |text, (at, part)| {
            let number = if at == 0 { String::new() } else { numbers.next().unwrap_or(0).to_string() };
            text + &number + part
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn logs_of_any_numbers_are_read(lines in prop::collection::vec(line(), 1..20)) {
        let (facts, mounts) = (facts(), [Mountpoint { dir: b"/m".to_vec(), image: b"i".to_vec() }]);
        let mut world = world(&facts);
        for record in strace::Reader::new(lines.join("\n").as_bytes(), &mounts) {
            carry_out(&mut world, &record.unwrap());
        }
    }

    #[test]
    fn logs_of_any_text_are_read(log in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mounts = [Mountpoint { dir: b"/".to_vec(), image: b"i".to_vec() }];
        prop_assert!(strace::Reader::new(log.as_slice(), &mounts).all(|record| record.is_ok()));
    }

    #[test]
    fn traces_of_any_numbers_are_read(
        records in prop::collection::vec(
            (0..9_usize, number(), prop::option::of(number()), 0..8_usize, number()),
            1..20,
        ),
    ) {
        let facts = facts();
        let mut world = world(&facts);
        for (file, offset, length, method, call) in records {
            let length = length.map_or_else(|| "-".to_owned(), |length| length.to_string());
            let names = ["read", "mmap", "exec", "willneed", "sendfile", "splice", "copy-up", "pages"];
            let line = format!("i /{file} {offset} {length} {} {call}\n", names[method]);
            for record in trace::Reader::new(line.as_bytes()) {
                match record {
                    Ok(record) => {
                        prop_assert_eq!(String::from_utf8(record.line()).unwrap().contains("pages"), method == 7);
                        carry_out(&mut world, &record);
                    }
                    Err(error) => prop_assert!(call == 0, "{}", error),
                }
            }
        }
    }

    #[test]
    fn traces_of_any_text_are_an_error_or_read(text in prop::collection::vec(any::<u8>(), 0..500)) {
        let read: Vec<_> = trace::Reader::new(text.as_slice()).collect();
        prop_assert!(read.iter().rev().skip(1).all(Result::is_ok), "nothing comes after an error");
    }

    #[test]
    fn scenarios_of_any_numbers_are_run(
        events in prop::collection::vec((0..8_usize, 0..8_usize, number(), prop::option::of(number()), number()), 1..20),
    ) {
        let images = BTreeMap::from([("i".to_owned(), facts())]);
        let mut runner = Runner::new(KernelModel::default(), &images);
        for (kind, file, offset, length, call) in events {
            // TOML has no numbers above those with a sign.
            let signed = |number: u64| number & i64::MAX.unsigned_abs();
            let length = length.map(|length| format!(", length = {}", signed(length))).unwrap_or_default();
            let (offset, call) = (signed(offset), signed(call));
            let on = format!("mount = 'm', path = '/{file}'");
            let event = match kind {
                0 => format!("do = 'mount', mount = 'm', image = 'i', domain = 'd', window_kib = {call}"),
                1 => format!("do = 'window', kib = {call}"),
                2 => format!("do = 'dontneed', {on}, offset = {offset}{length}"),
                3 => format!("do = 'map', {on}"),
                4 => "do = 'drop-caches', value = 3".to_owned(),
                _ => {
                    let methods = ["read", "mmap", "willneed", "splice", "copy-up"];
                    let method = methods[usize::try_from(call % 5).unwrap()];
                    format!("do = 'read', {on}, offset = {offset}{length}, call = {call}, method = '{method}'")
                }
            };
            let text = format!("title = 't'\nevent = [{{ {event} }}]\n[images]\ni = 'i'\n");
            let scenario: Scenario = toml::from_str(&text).unwrap();
            runner.set_steps(STEPS);
            drop(runner.event(&scenario.events[0]));
            drop(runner.event(&Event::Stat { mount: "m".into(), path: format!("/{file}") }));
        }
    }
}

#[test]
fn sums_of_what_images_claim_stop_at_the_largest_number() {
    let facts = facts();
    let access = tally::Access {
        kernel: KernelModel::default(),
        backend: erofs_sim::scenario::Backend::Block,
        method: Method::Read,
    };
    let mut tally = Tally::new(access);
    let added = tally.add(&facts, Some("d")).added.bytes;
    assert_eq!(added, u64::MAX);
}
