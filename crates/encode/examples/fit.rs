//! Measures an encoder over a tree:
//! `fit ALGORITHM LEVEL PCLUSTER_BYTES DIRECTORY [THREADS [SQUEEZE [check] [fragments]]]`.
//!
//! Walks the tree, reads every file and encodes it under the rules of a classic image (pclusters that end on
//! blocks, plain blocks where nothing is gained, files without gain plain), writes nothing, and prints the
//! bytes that the data would take, the wall and CPU time. SQUEEZE is how many bytes per block a file may end
//! behind a block boundary to be tried again by the stronger encoder; `check` decodes everything again
//! (zstd). With `fragments` what is left of a file when no more than three pclusters' worth remains is joined
//! with that of the other files and encoded behind them, as `-E fragments` does.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for measuring, which may stop at the first error"
)]

use std::collections::HashSet;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use erofs_encode::{Params, Prefix, PrefixEncoder, by_name, encoder, encoder_stronger, is_noise};

const BLOCK: usize = 4096;
const SEGMENT: u64 = 16 << 20;
/// What is left of a file becomes a fragment when it has at most as much content as so many pclusters.
const FRAGMENT_REACH: usize = 3;

struct Task {
    path: PathBuf,
    at: u64,
    length: usize,
    /// It is the whole file.
    whole: bool,
    /// It ends with the file.
    is_end: bool,
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
                tasks.push(Task {
                    path: path.clone(),
                    at,
                    length,
                    whole: size <= SEGMENT,
                    is_end: size - at <= SEGMENT,
                });
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

impl Totals {
    fn add(&mut self, other: &Self) {
        self.input += other.input;
        self.payload += other.payload;
        self.pclusters += other.pclusters;
        self.slack += other.slack;
        self.tail += other.tail;
        self.squeezed += other.squeezed;
    }
}

impl Worker {
    /// Encodes a file or a segment until what is left becomes a fragment, and gives that.
    fn head<'a>(&mut self, src: &'a [u8], is_end: bool) -> &'a [u8] {
        self.encoder.begin_segment();
        let mut at = 0;
        while at < src.len() {
            if is_end && src.len() - at <= FRAGMENT_REACH * self.pcluster {
                break;
            }
            at += self.pcluster(&src[at..]);
        }
        self.totals.input += at as u64;
        &src[at..]
    }

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

/// What to measure and how.
struct Settings {
    params: Params,
    threads: usize,
    squeeze: usize,
    check: bool,
    fragments: bool,
}

impl Settings {
    fn worker(&self) -> Worker {
        Worker {
            encoder: encoder(&self.params).unwrap(),
            stronger: encoder_stronger(&self.params).unwrap(),
            pcluster: self.params.max_output,
            squeeze: self.squeeze,
            check: self.check.then_some(check_zstd as Check),
            output: vec![0; self.params.max_output],
            totals: Totals::default(),
        }
    }

    /// Has the threads do `work` for the numbers below `count`.
    fn run(&self, count: usize, work: impl Fn(&mut Worker, usize) + Sync) -> Totals {
        let next = AtomicUsize::new(0);
        let sum = Mutex::new(Totals::default());
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    let mut worker = self.worker();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        work(&mut worker, number);
                    }
                    sum.lock().unwrap().add(&worker.totals);
                });
            }
        });
        sum.into_inner().unwrap()
    }

    fn measure(&self, tasks: &[Task]) -> Totals {
        if !self.fragments {
            return self.run(tasks.len(), |worker, number| {
                worker.file(&tasks[number].read(), tasks[number].whole);
            });
        }
        let tails = Mutex::new(vec![Vec::new(); tasks.len()]);
        let mut sum = self.run(tasks.len(), |worker, number| {
            let content = tasks[number].read();
            let tail = worker.head(&content, tasks[number].is_end).to_vec();
            tails.lock().unwrap()[number] = tail;
        });
        // Equal pieces are stored once.
        let tails = tails.into_inner().unwrap();
        let mut seen = HashSet::new();
        let packed: Vec<u8> = tails.iter().filter(|tail| seen.insert(*tail)).flatten().copied().collect();
        let segments: Vec<&[u8]> = packed.chunks(usize::try_from(SEGMENT).unwrap()).collect();
        sum.add(&self.run(segments.len(), |worker, number| worker.file(segments[number], false)));
        sum
    }
}

impl Task {
    fn read(&self) -> Vec<u8> {
        let mut content = vec![0; self.length];
        std::fs::File::open(&self.path).unwrap().read_exact_at(&mut content, self.at).unwrap();
        content
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |place: usize| arguments[place].parse::<usize>().unwrap();
    let word = |wanted: &str| arguments.iter().skip(7).any(|word| word == wanted);
    let algorithm = by_name(&arguments[1]).unwrap();
    let pcluster = number(3);
    let settings = Settings {
        params: Params { level: arguments[2].parse().unwrap(), ..Params::new(algorithm, pcluster) },
        threads: arguments.get(5).map_or(2, |_| number(5)),
        squeeze: arguments.get(6).map_or(0, |_| number(6)),
        check: word("check") && algorithm.name == "zstd",
        fragments: word("fragments"),
    };
    let mut tasks = Vec::new();
    walk(Path::new(&arguments[4]), &mut HashSet::new(), &mut tasks);
    let start = Instant::now();
    let sum = settings.measure(&tasks);
    println!(
        "{} {} -C{pcluster} {}: input {} payload {} pclusters {} slack {} tail {} squeezed {} wall {:.2} s cpu {:.2} s",
        algorithm.name,
        settings.params.level,
        arguments[4],
        sum.input,
        sum.payload,
        sum.pclusters,
        sum.slack,
        sum.tail,
        sum.squeezed,
        start.elapsed().as_secs_f64(),
        cpu_seconds(),
    );
}
