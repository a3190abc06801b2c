//! The model against a naive reference implementation: lists that are searched from end to end and sets of
//! single pages, written from the rules alone. Random events, equal results after each.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::BTreeSet;

use erofs_sim::facts::{FileFacts, ImageFacts};
use erofs_sim::kernel::{KernelModel, TABLE};
use erofs_sim::readahead::FileAccess;
use erofs_sim::scenario::{Backend, Method};
use erofs_sim::world::{MountOptions, World, class_of};

/// A file in memory.
struct Inode {
    mount: usize,
    file: usize,
    group: Option<u64>,
    own: BTreeSet<u64>,
    open: u32,
}

/// A hidden inode.
struct Group {
    number: u64,
    domain: usize,
    print: u8,
    size: u64,
    class: erofs_sim::world::Class,
    pages: BTreeSet<u64>,
}

struct Reference {
    kernel: KernelModel,
    /// Image, backend, domain; whether it shares.
    mounts: Vec<Option<(usize, Backend, usize, bool)>>,
    inodes: Vec<Inode>,
    groups: Vec<Group>,
    next: u64,
}

/// Size in pages, compressed, fingerprint (0: none).
const FILES: [(u64, bool, u8); 8] = [
    (3, false, 1),
    (3, false, 1),
    (4, false, 1),
    (3, true, 1),
    (2, false, 2),
    (2, false, 0),
    (5, true, 2),
    (5, true, 2),
];
const BACKENDS: [Backend; 4] = [Backend::Block, Backend::Loop, Backend::File, Backend::FileDirectio];

impl Reference {
    fn look_up(&mut self, mount: usize, file: usize) -> usize {
        if let Some(at) = self.inodes.iter().position(|inode| (inode.mount, inode.file) == (mount, file)) {
            return at;
        }
        let (_, backend, domain, shares) = self.mounts[mount].unwrap();
        let (size, compressed, print) = FILES[file];
        let class = class_of(compressed, backend);
        let mut group = None;
        if shares && print != 0 {
            let known = self.groups.iter().find(|group| group.domain == domain && group.print == print);
            match known {
                Some(known) if known.size == size && known.class == class => group = Some(known.number),
                Some(_) => {}
                None => {
                    self.next += 1;
                    let pages = BTreeSet::new();
                    self.groups.push(Group { number: self.next, domain, print, size, class, pages });
                    group = Some(self.next);
                }
            }
        }
        self.inodes.push(Inode { mount, file, group, own: BTreeSet::new(), open: 0 });
        self.inodes.len() - 1
    }

    fn pages(&mut self, at: usize, shared: bool) -> &mut BTreeSet<u64> {
        let inode = &mut self.inodes[at];
        match inode.group.filter(|_| shared) {
            Some(number) => &mut self.groups.iter_mut().find(|group| group.number == number).unwrap().pages,
            None => &mut inode.own,
        }
    }

    fn read(&mut self, mount: usize, file: usize, method: Method) {
        let at = self.look_up(mount, file);
        let splices = matches!(method, Method::Sendfile | Method::Splice | Method::CopyUp);
        let shared = !splices || self.kernel.shared_splice;
        self.pages(at, shared).extend(0..FILES[file].0);
    }

    fn forget(&mut self, gone: impl Fn(&Inode) -> bool) {
        self.inodes.retain(|inode| !gone(inode));
        let inodes = &self.inodes;
        self.groups.retain(|group| inodes.iter().any(|inode| inode.group == Some(group.number)));
    }

    fn drop_caches(&mut self, value: u8) {
        if value != 2 {
            self.groups.iter_mut().for_each(|group| group.pages.clear());
            self.inodes.iter_mut().for_each(|inode| inode.own.clear());
        }
        if value != 1 {
            self.forget(|inode| inode.open == 0 && inode.own.is_empty());
        }
    }

    fn resident(&self) -> u64 {
        let groups: usize = self.groups.iter().map(|group| group.pages.len()).sum();
        let own: usize = self.inodes.iter().map(|inode| inode.own.len()).sum();
        (groups + own) as u64
    }
}

fn images() -> [ImageFacts; 2] {
    let file = |(index, &(pages, compressed, print)): (usize, &(u64, bool, u8))| FileFacts {
        path: vec![b'/', b'a' + u8::try_from(index).unwrap()],
        size: pages * 4096,
        compressed,
        fingerprint: (print != 0).then(|| vec![print]),
    };
    let files: Vec<FileFacts> = FILES.iter().enumerate().map(file).collect();
    let facts =
        ImageFacts { files, announces_fingerprints: true, directory_bytes: 0, ..ImageFacts::default() };
    [ImageFacts { announces_fingerprints: false, ..facts.clone() }, facts]
}

#[test]
#[expect(clippy::too_many_lines, reason = "one arm for each event, in the world and in its reference")]
fn random_events_have_equal_results() {
    let images = images();
    for seed in 1..=300_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let kernel = TABLE[random(TABLE.len())];
        let mut world = World::new(kernel);
        let mut reference =
            Reference { kernel, mounts: Vec::new(), inodes: Vec::new(), groups: Vec::new(), next: 0 };
        for step in 0..120 {
            let live: Vec<usize> =
                (0..reference.mounts.len()).filter(|&m| reference.mounts[m].is_some()).collect();
            let what = if live.len() < 2 { 0 } else { random(12) };
            let mount = if live.is_empty() { 0 } else { live[random(live.len())] };
            let (name, file) = (mount.to_string(), random(FILES.len()));
            match what {
                0 => {
                    let (image, backend, domain) = (random(8).min(1), BACKENDS[random(4)], random(2));
                    let inode_share = random(4) != 0;
                    let name = reference.mounts.len().to_string();
                    let options = MountOptions {
                        backend,
                        device: None,
                        inode_share,
                        domain: Some(format!("domain {domain}")),
                        ..MountOptions::default()
                    };
                    world.mount(&name, &images[image], &options).unwrap();
                    reference.mounts.push(Some((image, backend, domain, inode_share && image == 1)));
                }
                1 => {
                    let busy = reference.inodes.iter().any(|inode| inode.mount == mount && inode.open > 0);
                    assert_eq!(world.umount(&name).is_err(), busy, "seed {seed}, step {step}");
                    if !busy {
                        reference.mounts[mount] = None;
                        reference.forget(|inode| inode.mount == mount);
                    }
                }
                2 => {
                    let value = 1 + u8::try_from(random(3)).unwrap();
                    world.drop_caches(value);
                    reference.drop_caches(value);
                }
                3 => {
                    world.dontneed(&name, file, 0, None).unwrap();
                    let at = reference.look_up(mount, file);
                    reference.pages(at, true).clear();
                }
                4 => {
                    world.open(&name, file).unwrap();
                    let at = reference.look_up(mount, file);
                    reference.inodes[at].open += 1;
                }
                5 => {
                    world.close(&name, file).unwrap();
                    if let Some(inode) =
                        reference.inodes.iter_mut().find(|i| (i.mount, i.file) == (mount, file))
                    {
                        inode.open = inode.open.saturating_sub(1);
                    }
                }
                6 | 7 => {
                    world.lookup(&name, file).unwrap();
                    reference.look_up(mount, file);
                }
                _ => {
                    let method = [Method::Read, Method::Mmap, Method::Sendfile, Method::Splice][random(4)];
                    world.access(&name, file, &FileAccess::whole(method), None).unwrap();
                    reference.read(mount, file, method);
                }
            }
            assert_eq!(world.resident(), reference.resident(), "seed {seed}, step {step}, event {what}");
        }
    }
}
