//! Measures an encoder over a tree: `fit ALGORITHM LEVEL PCLUSTER_BYTES DIRECTORY [THREADS [SQUEEZE [check]]]`.
//!
//! Walks the tree, reads every file and encodes it under the rules of a classic image (pclusters that end on blocks, plain blocks
//! where nothing is gained, files without gain plain), writes nothing, and prints the bytes that the data would take,
//! the wall and CPU time. SQUEEZE is how many bytes per block a file may end behind a block boundary to be tried again by
//! the stronger encoder; `check` decodes everything again (zstd).
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for measuring, which may stop at the first error"
)]

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use erofs_encode::{Params, Prefix, PrefixEncoder, by_name, encoder, encoder_stronger, is_noise};

const BLOCK: usize = 4096;
const SEGMENT: u64 = 16 << 20;

struct Task {
    path: PathBuf,
    at: u64,
    length: usize,
    whole: bool,
}

#[derive(Default)]
struct Totals {
    input: u64,
    payload: u64,
    pclusters: u64,
    slack: u64,
    tail: u64,
    squeezed: u64,
}

fn walk(directory: &Path, seen: &mut HashSet<(u64, u64)>, tasks: &mut Vec<Task>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            walk(&path, seen, tasks);
        } else if metadata.is_file() && metadata.len() > 0 && seen.insert((metadata.dev(), metadata.ino())) {
            let size = metadata.len();
            for at in (0..size).step_by(usize::try_from(SEGMENT).unwrap()) {
                let length = usize::try_from(SEGMENT.min(size - at)).unwrap();
                tasks.push(Task { path: path.clone(), at, length, whole: size <= SEGMENT });
            }
        }
    }
}

/// Decodes and compares.
type Check = fn(&[u8], &[u8]);

struct Worker {
    encoder: Box<dyn PrefixEncoder>,
    stronger: Option<Box<dyn PrefixEncoder>>,
    pcluster: usize,
    squeeze: usize,
    check: Option<Check>,
    output: Vec<u8>,
    totals: Totals,
}

impl Worker {
    fn file(&mut self, src: &[u8], whole: bool) {
        self.totals.input += src.len() as u64;
        if whole && src.len() <= BLOCK {
            self.totals.payload += src.len() as u64;
            return;
        }
        let before = self.totals.payload;
        self.encoder.begin_segment();
        let mut at = 0;
        while at < src.len() {
            at += self.pcluster(&src[at..]);
        }
        // The rule of mkfs.erofs: no gain over a plain file, index included.
        let index = src.len().div_ceil(BLOCK) * 2 + 16;
        if whole && usize::try_from(self.totals.payload - before).unwrap() + index >= src.len() {
            self.totals.payload = before + src.len() as u64;
        }
    }

    fn pcluster(&mut self, src: &[u8]) -> usize {
        if src.len() <= BLOCK {
            self.totals.payload += BLOCK as u64;
            return src.len();
        }
        let mut prefix = Prefix::default();
        if !is_noise(src, self.pcluster) {
            prefix = self.encoder.encode_prefix(src, &mut self.output);
        }
        let blocks = prefix.written.div_ceil(BLOCK);
        if prefix.consumed == 0 || blocks * BLOCK >= prefix.consumed {
            let plain = if prefix.consumed == 0 { self.pcluster } else { prefix.consumed.min(self.pcluster) };
            let plain = if plain < src.len() { (plain / BLOCK).max(1) * BLOCK } else { src.len() };
            self.totals.payload += (plain.div_ceil(BLOCK) * BLOCK) as u64;
            return plain;
        }
        let mut size = prefix.written;
        if let Some(check) = self.check {
            check(&self.output[..size], &src[..prefix.consumed]);
        }
        let mut blocks = size.div_ceil(BLOCK);
        if prefix.consumed == src.len() {
            let over = size - (blocks - 1) * BLOCK;
            if blocks > 1
                && over <= self.squeeze * blocks.min(8)
                && let Some(stronger) = &mut self.stronger
            {
                let shorter = stronger.encode_prefix(src, &mut self.output[..(blocks - 1) * BLOCK]);
                if shorter.consumed == src.len() {
                    if let Some(check) = self.check {
                        check(&self.output[..shorter.written], src);
                    }
                    blocks -= 1;
                    size = shorter.written;
                    self.totals.squeezed += 1;
                }
            }
            self.totals.tail += (blocks * BLOCK - size) as u64;
        } else {
            self.totals.slack += (blocks * BLOCK - size) as u64;
        }
        self.totals.pclusters += 1;
        self.totals.payload += (blocks * BLOCK) as u64;
        prefix.consumed
    }
}

fn cpu_seconds() -> f64 {
    // User and system time are the 14th and 15th field, in ticks of 10 ms, behind the name in parentheses.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
    f64::from(ticks) / 100.0
}

fn check_zstd(encoded: &[u8], want: &[u8]) {
    let mut decoded = Vec::with_capacity(want.len());
    zstd_safe::decompress(&mut decoded, encoded).unwrap();
    assert!(decoded == want);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |place: usize| arguments[place].parse::<usize>().unwrap();
    let algorithm = by_name(&arguments[1]).unwrap();
    let pcluster = number(3);
    let threads = arguments.get(5).map_or(2, |_| number(5));
    let squeeze = arguments.get(6).map_or(0, |_| number(6));
    let check = arguments.get(7).is_some_and(|word| word == "check" && algorithm.name == "zstd");
    let params = Params { level: arguments[2].parse().unwrap(), ..Params::new(algorithm, pcluster) };
    let start = Instant::now();
    let mut tasks = Vec::new();
    walk(Path::new(&arguments[4]), &mut HashSet::new(), &mut tasks);
    let next = AtomicUsize::new(0);
    let sum = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut worker = Worker {
                    encoder: encoder(&params).unwrap(),
                    stronger: encoder_stronger(&params).ok().flatten(),
                    pcluster,
                    squeeze,
                    check: check.then_some(check_zstd as Check),
                    output: vec![0; pcluster],
                    totals: Totals::default(),
                };
                let mut content = Vec::new();
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    content.resize(task.length, 0);
                    let mut file = std::fs::File::open(&task.path).unwrap();
                    if task.whole {
                        file.read_exact(&mut content).unwrap();
                    } else {
                        file.read_exact_at(&mut content, task.at).unwrap();
                    }
                    worker.file(&content, task.whole);
                }
                let mut sum = sum.lock().unwrap();
                sum.input += worker.totals.input;
                sum.payload += worker.totals.payload;
                sum.pclusters += worker.totals.pclusters;
                sum.slack += worker.totals.slack;
                sum.tail += worker.totals.tail;
                sum.squeezed += worker.totals.squeezed;
            });
        }
    });
    let wall = start.elapsed().as_secs_f64();
    let sum = sum.into_inner().unwrap();
    println!(
        "{} {} -C{pcluster} {}: input {} payload {} pclusters {} slack {} tail {} squeezed {} wall {wall:.2} s cpu {:.2} s",
        algorithm.name,
        params.level,
        arguments[4],
        sum.input,
        sum.payload,
        sum.pclusters,
        sum.slack,
        sum.tail,
        sum.squeezed,
        cpu_seconds(),
    );
}
