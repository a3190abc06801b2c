//! Mutated images: the running kernel, fsck.erofs and `erofs-ishare verify` judge each, and an image that
//! verify calls right is one that the kernel reads without an error, with the names, attributes and bytes
//! that our reader finds.
//!
//! ```text
//! forms (one right image for each form of the format) ─► spots (where each field is) ─► mutate (by seed and number)
//!                                                                                           │
//!                      report ◄─ verify, our reader (here) and the kernel, in a process of its own, and fsck.erofs
//! ```
//!
//! This program is its own test harness, because it starts itself again for each mount: a kernel that hangs
//! or crashes takes that process and not the test. It is set by the environment:
//!
//! - `EROFS_MUTATIONS`: how many images, 1500 if not given;
//! - `EROFS_MUTATION_SEED`: where the numbers come from, 1 if not given; equal seeds make equal images;
//! - `EROFS_MUTATION_FORM`: only forms whose name contains this;
//! - `EROFS_MUTATION_ONLY`: only the image of this number;
//! - `EROFS_MUTATION_KEEP`: a folder where images are kept on which the judges disagree.
//!
//! An hour by hand: `EROFS_MUTATIONS=100000 EROFS_MUTATION_SEED=7 cargo test --release --test mutations`.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

mod forms;
mod judge;
mod kernel;
mod mutate;
mod report;
mod spots;
mod view;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use erofs_testkit::mount::{self, Backing};
use erofs_testkit::peers;
use erofs_testkit::require::need;

use forms::Form;
use judge::Judges;
use report::Report;

/// The name by which a filter on the command line finds the test.
const NAME: &str = "mutated_images_that_verify_calls_right_are_read_by_linux";

/// What the environment asks for.
struct Settings {
    count: u64,
    seed: u64,
    form: String,
    only: Option<u64>,
}

impl Settings {
    fn read() -> Self {
        let number = |name: &str| {
            let value = std::env::var(name).ok()?;
            Some(value.parse::<u64>().unwrap_or_else(|_| panic!("{name}: found {value}, want a number")))
        };
        Self {
            count: number("EROFS_MUTATIONS").unwrap_or(1500),
            seed: number("EROFS_MUTATION_SEED").unwrap_or(1),
            form: std::env::var("EROFS_MUTATION_FORM").unwrap_or_default(),
            only: number("EROFS_MUTATION_ONLY"),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, folder] = arguments.as_slice()
        && mode == kernel::MODE
    {
        kernel::serve(std::path::Path::new(folder));
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        say(&format!("{NAME}: test"));
        return ExitCode::SUCCESS;
    }
    // What the harness of other tests takes: names, among the values of options, which are numbers.
    let is_name = |argument: &&String| !argument.starts_with('-') && argument.parse::<u64>().is_err();
    let mut names = arguments.iter().filter(is_name).peekable();
    let ignored = arguments.iter().any(|argument| argument == "--ignored");
    if ignored || names.peek().is_some() && !names.any(|name| NAME.contains(name.as_str())) {
        return ExitCode::SUCCESS;
    }
    run(&Settings::read())
}

/// One line on stdout.
fn say(line: &str) {
    drop(std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes()));
}

fn run(settings: &Settings) -> ExitCode {
    let Some(()) = need("the kernel reads mutated images", mount::supported(Backing::Loop)) else {
        return ExitCode::SUCCESS;
    };
    let peers = need("fsck.erofs reads mutated images", peers::find());
    let scratch = erofs_testkit::place::disk_scratch().unwrap();
    let forms: Vec<Form> =
        forms::all(peers).into_iter().filter(|form| form.name.contains(&settings.form)).collect();
    assert!(!forms.is_empty(), "no form is called {}", settings.form);
    let workers = thread::available_parallelism().map_or(1, usize::from).min(4);
    say(&format!(
        "{} forms, {} images from seed {}, {workers} at a time",
        forms.len(),
        settings.count,
        settings.seed
    ));
    let (next, report) = (AtomicU64::new(0), Mutex::new(Report::default()));
    thread::scope(|scope| {
        for worker in 0..workers {
            let (forms, next, report, scratch) = (&forms, &next, &report, scratch.path());
            scope.spawn(move || {
                let mut judges = Judges::new(&scratch.join(format!("worker-{worker}")), peers);
                while let Some(number) = taken(next, settings, forms.len()) {
                    judge_one(&mut judges, forms, settings, number, report);
                }
            });
        }
    });
    let report = report.into_inner().unwrap();
    report.print(&forms);
    if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number of the next image. The first ones are the forms themselves, unchanged.
fn taken(next: &AtomicU64, settings: &Settings, forms: usize) -> Option<u64> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    match settings.only {
        Some(only) => (number == 0).then_some(only),
        None => (number < settings.count + forms as u64).then_some(number),
    }
}

fn judge_one(judges: &mut Judges, forms: &[Form], settings: &Settings, number: u64, report: &Mutex<Report>) {
    let which = usize::try_from(number % forms.len() as u64).unwrap();
    let form = &forms[which];
    let (image, what) = if number < forms.len() as u64 {
        (form.image.clone(), "unchanged".to_owned())
    } else {
        mutate::mutated(form, settings.seed, number)
    };
    let verdict = judges.judge(form, &image, number);
    if settings.only.is_some() {
        say(&format!("{}: {what}\n{verdict:#?}", form.name));
    }
    report.lock().unwrap().add(which, form, number, &what, &image, &verdict);
}
