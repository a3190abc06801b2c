//! Random scenarios: from a seed, events on images of one tree, so that model and kernel can be compared
//! where nobody thought of it.
//!
//! What the model does not say anything about is left out: programs that are started, compressed files,
//! `io_uring` (whose reads end early when a page is on its way), what `splice` asks for beyond the pipe, and
//! the copy of a file with holes through an overlay. Directories are listed again after everything that takes
//! them from memory, because a lookup alone reads only some of their pages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use erofs_sim::pages::PAGE_SIZE;
use erofs_sim::scenario::{Backend, Event, Method, Scenario, Syscall};

/// The images, all of the tree called `random` in `testdata/scenarios/images.toml`; only the last announces
/// no fingerprints.
const IMAGES: [&str; 4] = ["random-a", "random-b", "random-chunks", "random-private"];
/// The files of that tree, with their sizes.
const FILES: [(&str, u64); 10] = [
    ("/big", 8 << 20),
    ("/deep/six", 6 << 20),
    ("/deep/odd3", (3 << 20) + 5000),
    ("/odd1", 1_049_353),
    ("/mid", 1 << 20),
    ("/twin1", 100_000),
    ("/twin2", 100_000),
    ("/edge", 128 << 10),
    ("/small", 5000),
    ("/one", 1),
];
/// More mounts than these would need more disks than a virtual machine has.
const MOUNTS_MAX: usize = 14;
/// How many mounts there are at a time, at most.
const MOUNTED_MAX: usize = 5;
/// How many calls a read is made of, at most.
const CALLS_MAX: u64 = 2048;
/// What `splice` moves at once whatever the offset is, in bytes: a pipe has 16 places.
const SPLICE_MAX: u64 = 60 << 10;

/// A stream of pseudo-random numbers (`xorshift64*`).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // The first state must not be 0, and neighbouring seeds must not begin alike.
        let mut random = Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| {
            random.next();
        });
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end.max(1)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(u64::try_from(from.len()).unwrap_or(u64::MAX));
        from.get(usize::try_from(at).unwrap_or(0)).cloned()
    }
}

/// A mount or an overlay, and what is in use of it.
#[derive(Debug, Clone)]
struct Mount {
    name: String,
    is_overlay: bool,
    /// It was mounted with a domain, so that it may be remounted.
    has_domain: bool,
    open: Vec<(String, String)>,
    maps: Vec<String>,
}

/// A scenario that is being made.
struct Draft {
    random: Random,
    mounts: Vec<Mount>,
    mounted: usize,
    streams: usize,
    /// Where the last access was: many begin near it.
    last: (String, u64),
    events: Vec<Event>,
}

/// The scenario of a seed, of at least so many events: mounts, reads of ranges by every method, open files
/// that read on, mappings that stay, what drops pages and inodes, ends of mounts.
pub fn scenario(seed: u64, events: usize) -> Scenario {
    let mut draft = Draft {
        random: Random::new(seed),
        mounts: Vec::new(),
        mounted: 0,
        streams: 0,
        last: (String::new(), 0),
        events: Vec::new(),
    };
    while draft.events.len() < events {
        draft.event();
    }
    let images = IMAGES.map(|name| (name.to_owned(), PathBuf::from(format!("{name}.img"))));
    Scenario { title: format!("random events of seed {seed}"), images: images.into(), events: draft.events }
}

/// The names of the images that random scenarios need.
pub fn images() -> impl Iterator<Item = String> {
    IMAGES.iter().map(ToString::to_string)
}

impl Draft {
    fn event(&mut self) {
        if self.mounts.len() < 2 && self.mounted < MOUNTS_MAX {
            return self.mount();
        }
        match self.random.below(100) {
            0..3 if self.mounts.len() < MOUNTED_MAX && self.mounted < MOUNTS_MAX => self.mount(),
            3..5 => self.overlay(),
            5..7 => self.umount(),
            7 => self.remount(),
            8..11 => self.drop_caches(),
            11..13 => self.window(),
            13..18 => self.on_file(|mount, path| Event::Stat { mount, path }),
            18 => self.on_mount(|mount| Event::StatAll { mount }),
            19 => self.on_mount(|mount| Event::ReadAll { mount, method: Method::Read }),
            20..26 => self.open(),
            26..28 => self.close(),
            28..30 => self.map(),
            30..32 => self.unmap(),
            32..42 => self.dontneed(),
            _ => self.read(),
        }
    }

    fn mount(&mut self) {
        let name = format!("m{}", self.mounted);
        self.mounted += 1;
        let backends = [
            Backend::Block,
            Backend::Block,
            Backend::Block,
            Backend::Loop,
            Backend::LoopBuffered,
            Backend::Verity,
            Backend::File,
            Backend::FileDirectio,
        ];
        let backend = self.random.pick(&backends).unwrap_or_default();
        let domains = [Some("one"), Some("one"), Some("one"), Some("one"), Some("two"), None];
        let domain = self.random.pick(&domains).flatten().map(str::to_owned);
        let windows = [None, None, None, Some(0), Some(4), Some(16), Some(512), Some(1024), Some(8192)];
        self.mounts.push(Mount {
            name: name.clone(),
            is_overlay: false,
            has_domain: domain.is_some(),
            open: Vec::new(),
            maps: Vec::new(),
        });
        self.events.push(Event::Mount {
            mount: name.clone(),
            image: self.random.pick(&IMAGES).unwrap_or_default().to_owned(),
            backend,
            // Two mounts of one device are two of one superblock.
            device: self.random.one_in(5).then(|| "common".to_owned()),
            inode_share: None,
            domain,
            devices: Vec::new(),
            options: Vec::new(),
            window_kib: self.random.pick(&windows).flatten(),
        });
        self.events.push(Event::List { mount: name });
    }

    fn overlay(&mut self) {
        let lowers: Vec<String> =
            self.mounts.iter().filter(|mount| !mount.is_overlay).map(|mount| mount.name.clone()).collect();
        let (Some(lower), true) = (self.random.pick(&lowers), self.mounts.len() < MOUNTED_MAX) else {
            return;
        };
        let mount = format!("o{}", self.mounted);
        self.mounted += 1;
        self.mounts.push(Mount {
            name: mount.clone(),
            is_overlay: true,
            has_domain: false,
            open: Vec::new(),
            maps: Vec::new(),
        });
        self.events.push(Event::Overlay { mount: mount.clone(), lower, over: None });
        self.events.push(Event::List { mount });
    }

    /// Ends a mount. One that is in use stays, unless it goes on without a name, and then nothing of it can
    /// be closed.
    fn umount(&mut self) {
        let Some(mount) = self.random.pick(&self.mounts) else { return };
        let busy = !mount.open.is_empty() || !mount.maps.is_empty();
        let lazy = busy && self.random.one_in(3);
        if !busy || lazy {
            self.mounts.retain(|other| other.name != mount.name);
        }
        self.events.push(Event::Umount { mount: mount.name, lazy });
    }

    fn remount(&mut self) {
        let mounts: Vec<Mount> = self.mounts.iter().filter(|mount| mount.has_domain).cloned().collect();
        let Some(mount) = self.random.pick(&mounts) else { return };
        let inode_share = self.random.one_in(2);
        self.events.push(Event::Remount { mount: mount.name, inode_share, domain: None });
    }

    fn drop_caches(&mut self) {
        let value = 1 + u8::try_from(self.random.below(3)).unwrap_or(0);
        self.events.push(Event::DropCaches { value });
        if value != 2 {
            let lists = self.mounts.iter().map(|mount| Event::List { mount: mount.name.clone() });
            self.events.extend(lists);
        }
    }

    fn window(&mut self) {
        let kib = self.random.pick(&[0, 8, 64, 128, 128, 128, 256, 512, 8192]).unwrap_or(128);
        self.events.push(Event::Window { kib });
    }

    fn any_mount(&mut self) -> Option<String> {
        self.random.pick(&self.mounts).map(|mount| mount.name)
    }

    fn on_mount(&mut self, event: fn(String) -> Event) {
        let mount = self.any_mount();
        self.events.extend(mount.map(event));
    }

    fn file(&mut self) -> (String, u64) {
        // Often the same as before, so that accesses meet.
        let known = FILES.iter().find(|(path, _)| *path == self.last.0 && !self.random.one_in(3));
        let (path, size) = known.copied().or_else(|| self.random.pick(&FILES)).unwrap_or(("/one", 1));
        (path.to_owned(), size)
    }

    fn on_file(&mut self, event: fn(String, String) -> Event) {
        let (mount, (path, _)) = (self.any_mount(), self.file());
        self.events.extend(mount.map(|mount| event(mount, path)));
    }

    fn open(&mut self) {
        let (path, _) = self.file();
        let stream = format!("s{}", self.streams);
        self.streams += 1;
        let Some(name) = self.any_mount() else { return };
        let Some(mount) = self.mounts.iter_mut().find(|mount| mount.name == name) else { return };
        mount.open.push((path.clone(), stream.clone()));
        self.events.push(Event::Open { mount: name, path, stream: Some(stream) });
    }

    fn close(&mut self) {
        let open: Vec<(String, (String, String))> = self.opened().collect();
        let Some((mount, (path, stream))) = self.random.pick(&open) else { return };
        for known in self.mounts.iter_mut().filter(|known| known.name == mount) {
            known.open.retain(|(_, other)| *other != stream);
        }
        self.events.push(Event::Close { mount, path, stream: Some(stream) });
    }

    /// Every open file, with its mount.
    fn opened(&self) -> impl Iterator<Item = (String, (String, String))> {
        self.mounts.iter().flat_map(|mount| mount.open.iter().map(|open| (mount.name.clone(), open.clone())))
    }

    fn map(&mut self) {
        let (path, _) = self.file();
        let Some(name) = self.any_mount() else { return };
        let Some(mount) = self.mounts.iter_mut().find(|mount| mount.name == name) else { return };
        mount.maps.push(path.clone());
        self.events.push(Event::Map { mount: name, path });
    }

    fn unmap(&mut self) {
        let mapped: Vec<(String, String)> = self
            .mounts
            .iter()
            .flat_map(|mount| mount.maps.iter().map(|path| (mount.name.clone(), path.clone())))
            .collect();
        let Some((mount, path)) = self.random.pick(&mapped) else { return };
        for known in self.mounts.iter_mut().filter(|known| known.name == mount) {
            if let Some(at) = known.maps.iter().position(|other| *other == path) {
                known.maps.remove(at);
            }
        }
        self.events.push(Event::Unmap { mount, path });
    }

    /// A place in a file, and how many bytes from there on.
    fn range(&mut self, path: &str, size: u64) -> (u64, Option<u64>) {
        let random = &mut self.random;
        let end = if self.last.0 == path { self.last.1.min(size - 1) } else { 0 };
        let offset = match random.below(10) {
            0..3 => 0,
            3..6 => end,
            6 => size.saturating_sub(1 + random.below(4 * PAGE_SIZE)),
            7 => random.below(size) / PAGE_SIZE * PAGE_SIZE,
            8 => end.saturating_sub(random.below(64 << 10)),
            _ => random.below(size),
        };
        let most = size - offset;
        let length = match random.below(8) {
            0 => 1,
            1 => PAGE_SIZE,
            2 => 64 << 10,
            3 => 1 + random.below(16 * PAGE_SIZE),
            4 => (1 + random.below(64)) * PAGE_SIZE,
            5 => 1 + random.below(1 << 20),
            6 => 1 + random.below(most),
            _ => most,
        };
        let length = length.min(most);
        self.last = (path.to_owned(), offset + length);
        (offset, (length != most || random.one_in(2)).then_some(length))
    }

    fn dontneed(&mut self) {
        let (path, size) = self.file();
        let (offset, length) = self.range(&path, size);
        // What is dropped may end past the end of the file, and a length of 0 is none.
        let length = if self.random.one_in(10) { Some(0) } else { length };
        let further = if self.random.one_in(10) { self.random.below(3 * PAGE_SIZE) } else { 0 };
        let length = length.map(|length| if length == 0 { 0 } else { length + further });
        let Some(mount) = self.any_mount() else { return };
        self.events.push(Event::Dontneed { mount, path, offset, length });
    }

    fn read(&mut self) {
        let open: Vec<(String, (String, String))> = self.opened().collect();
        let through = if self.random.one_in(2) { self.random.pick(&open) } else { None };
        let (mount, path, stream) = match through {
            Some((mount, (path, stream))) => (Some(mount), path, Some(stream)),
            None => (self.any_mount(), self.file().0, None),
        };
        let Some(mount) = mount else { return };
        let size = FILES.iter().find(|(known, _)| *known == path).map_or(1, |(_, size)| *size);
        let (offset, length) = self.range(&path, size);
        let (method, syscall) = self.method(stream.is_some());
        let (offset, length) = match (method, syscall) {
            // The whole file is copied, whatever is asked for.
            (Method::CopyUp, _) => (0, None),
            // Advice on memory begins with a page.
            (_, Some(Syscall::Madvise)) => (offset / PAGE_SIZE * PAGE_SIZE, length),
            _ => (offset, length),
        };
        let call = self.call(method, length.unwrap_or(size - offset));
        self.events.push(Event::Read { mount, path, offset, length, method, call, syscall, stream });
    }

    fn method(&mut self, through_stream: bool) -> (Method, Option<Syscall>) {
        let random = &mut self.random;
        let (method, syscalls): (Method, &[Syscall]) = match random.below(20) {
            0..10 => (
                Method::Read,
                &[Syscall::Pread, Syscall::Pread, Syscall::Read, Syscall::Readv, Syscall::Preadv2],
            ),
            10..15 => (
                Method::Mmap,
                &[
                    Syscall::MapShared,
                    Syscall::MapShared,
                    Syscall::MapPrivate,
                    Syscall::MapExec,
                    Syscall::MapWritten,
                    Syscall::Populate,
                ],
            ),
            15..17 => (Method::Willneed, &[Syscall::Fadvise, Syscall::Readahead, Syscall::Madvise]),
            17 => (Method::Sendfile, &[]),
            18 => (Method::Splice, &[]),
            _ if through_stream => (Method::Read, &[Syscall::Pread]),
            _ => (Method::CopyUp, &[]),
        };
        (method, random.pick(syscalls))
    }

    /// The length of each call for a read of so many bytes.
    fn call(&mut self, method: Method, length: u64) -> u64 {
        let calls = [512, 4096, 16 << 10, 64 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20];
        let call = match self.random.below(4) {
            0 => 1 + self.random.below(300 << 10),
            _ => self.random.pick(&calls).unwrap_or(4096),
        };
        match method {
            Method::Sendfile | Method::Splice => call.min(SPLICE_MAX),
            Method::Read | Method::Mmap | Method::Exec | Method::Willneed | Method::CopyUp => call,
        }
        .max(length.div_ceil(CALLS_MAX))
    }
}

/// How often each kind of event occurs in a scenario, for messages.
pub fn census(scenario: &Scenario) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in &scenario.events {
        let name = serde_json::to_value(event).ok();
        let name = name.and_then(|value| value.get("do")?.as_str().map(str::to_owned)).unwrap_or_default();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_scenario() {
        assert_eq!(scenario(7, 100), scenario(7, 100));
        assert_ne!(scenario(7, 100).events, scenario(8, 100).events);
    }

    #[test]
    fn scenarios_are_what_their_files_say() {
        for seed in 0..200 {
            let made = scenario(seed, 100);
            let text = toml::to_string(&made).unwrap();
            assert_eq!(toml::from_str::<Scenario>(&text).unwrap(), made, "seed {seed}");
            assert!((100..110).contains(&made.events.len()), "seed {seed}");
        }
    }

    #[test]
    fn every_kind_of_event_occurs() {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for seed in 0..50 {
            for (name, count) in census(&scenario(seed, 100)) {
                *counts.entry(name).or_default() += count;
            }
        }
        let wanted = [
            "close",
            "dontneed",
            "drop-caches",
            "list",
            "map",
            "mount",
            "open",
            "overlay",
            "read",
            "read-all",
            "remount",
            "stat",
            "stat-all",
            "umount",
            "unmap",
            "window",
        ];
        assert_eq!(counts.keys().map(String::as_str).collect::<Vec<_>>(), wanted);
        assert!(counts.values().all(|count| *count >= 20), "{counts:?}");
    }
}
