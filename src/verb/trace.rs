//! `erofs-ishare trace`: what a running workload has read, as a list that `simulate` takes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use erofs_live::resident::page_size;
use erofs_live::trace::{Seen, TraceMethod};

use super::Done;
use super::live::{self, LiveMount};
use super::source::shown;
use crate::exit::{WrongUse, one_line};
use crate::files::{self, Item};
use crate::output;
use crate::words::counted;

/// Write down which parts of the files of live mounts are in memory, as a list of accesses
///
/// What is in memory is what was read, what the kernel read ahead, and what has not been dropped since; start
/// from freshly mounted images for a trace of one workload. Each line of the list is IMAGE PATH OFFSET LENGTH
/// METHOD: image and path with octal escapes for all but visible ASCII, the range in bytes. Needs root: to
/// others mincore says that everything is in memory.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the images are mounted
    #[arg(value_name = "MOUNTPOINT", required = true)]
    mounts: Vec<PathBuf>,

    /// The list; - is stdout
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// The name of a mount's image in the list, if not that of the file that the kernel shows (may be
    /// repeated)
    #[arg(long, value_name = "MOUNTPOINT=IMAGE")]
    image: Vec<String>,

    /// How the list says that the pages came into memory, which the page cache does not tell
    #[arg(long, value_enum, default_value_t = Method::Pages)]
    method: Method,

    /// Look again and again, with so many seconds between, and add what is new
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "duration")]
    interval: Option<Duration>,

    /// Stop after so many seconds; the list is complete after every look
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "interval")]
    duration: Option<Duration>,
}

/// How pages are said to have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Not said: the model takes these pages and reads nothing ahead
    Pages,
    /// By read
    Read,
    /// Through mappings
    Mmap,
}

/// A mount, the name of its image in the list, and what was seen of it.
struct Traced {
    mount: LiveMount,
    image: PathBuf,
    seen: Seen,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let mut traced = Vec::new();
    for mount in live::find(&args.mounts, &args.image)? {
        let image = mount.image().map_err(|why| {
            WrongUse(format!(
                "{}: its image is not known ({why}), want --image MOUNTPOINT=IMAGE",
                shown(&mount.given)
            ))
        })?;
        traced.push(Traced { mount, image, seen: Seen::default() });
    }
    // Writing over the image of a mounted file system would change it for all who use it.
    let read: Vec<Item> = traced.iter().flat_map(|traced| traced.mount.items()).collect();
    files::keep_apart(&read, &[Item::new("--output", &args.output)])?;
    let mut out: Box<dyn Write> = if args.output == Path::new("-") {
        Box::new(output::stdout())
    } else {
        let file = File::create(&args.output).with_context(|| shown(&args.output))?;
        Box::new(BufWriter::new(file))
    };
    writeln!(out, "# pages in memory, looked at by {} trace", super::NAME)?;
    writeln!(out, "# image path offset length method")?;
    let method = match args.method {
        Method::Pages => TraceMethod::Pages,
        Method::Read => TraceMethod::Read,
        Method::Mmap => TraceMethod::Mmap,
    };
    let start = Instant::now();
    let (mut lines, mut pages, mut looks, mut whole) = (0, 0, 0_u64, true);
    loop {
        for Traced { mount, image, seen } in &mut traced {
            let (found, complete) = mount.look(None)?;
            whole &= complete;
            let image = image.as_os_str().as_bytes();
            let new = seen.write_new(&mut *out, image, &found.files, page_size(), method)?;
            lines += new.0;
            pages += new.1;
        }
        out.flush().with_context(|| shown(&args.output))?;
        looks += 1;
        let (Some(interval), Some(duration)) = (args.interval, args.duration) else { break };
        let left = duration.saturating_sub(start.elapsed());
        if left < interval {
            break;
        }
        std::thread::sleep(interval);
    }
    let (lines, pages) = (counted(lines, "line", "lines"), counted(pages, "page", "pages"));
    let looks = counted(looks, "look", "looks");
    output::complain(super::NAME, &one_line(&format!("{}: {lines}, {pages}, {looks}", shown(&args.output))));
    Ok(Done::unless(!whole))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "want seconds, more than 0 and at most 1000000".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(seconds > 0.0 && seconds <= 1e6) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}
