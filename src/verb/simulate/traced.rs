//! Accesses of a real workload: a trace, or a log of strace, line by line in the model, with sharing and
//! without.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use erofs_builder::image_file::Stream;
use erofs_sim::strace::{self, Mountpoint};
use erofs_sim::trace::{self, Record};
use erofs_sim::{Member, Setup, SimError, Simulated, Simulation, TraceError};

use super::args::{Args, backend_name};
use super::plan::failed;
use super::report::Report;
use crate::exit::{WrongUse, one_line};
use crate::output;
use crate::verb::source::shown;

/// Reads a trace in the model.
pub(super) fn run_trace(setup: Setup<'_>, args: &Args, path: &Path) -> anyhow::Result<Report> {
    let mut reader = trace::Reader::new(open(path)?);
    let simulated = replay(setup, args, path, true, &mut reader, trace::Reader::line)?;
    let access = format!("trace:{}", path.to_string_lossy());
    Ok(Report::of(&simulated, access, Some(backend_name(setup.backend))))
}

/// Reads a log of strace in the model.
pub(super) fn run_strace(setup: Setup<'_>, args: &Args, path: &Path) -> anyhow::Result<Report> {
    let mounts = mountpoints(setup.members, args)?;
    let mut reader = strace::Reader::new(open(path)?, &mounts);
    let simulated = replay(setup, args, path, false, &mut reader, strace::Reader::line)?;
    if reader.strange_lines() != 0 {
        let lines = crate::words::counted(reader.strange_lines(), "line is", "lines are");
        output::complain(crate::verb::NAME, &format!("{}: {lines} not of strace, and left out", shown(path)));
    }
    if reader.records() == 0 {
        let want = "absolute paths below one of them, or paths relative to a directory that the log opens";
        let dirs: Vec<&str> = args.mountpoint.iter().filter_map(|spec| spec.split('=').next()).collect();
        let dirs = dirs.join(", ");
        return Err(WrongUse(format!(
            "{}: found no access to a file below {dirs}, want {want}",
            shown(path)
        ))
        .into());
    }
    let access = format!("strace:{}", path.to_string_lossy());
    Ok(Report::of(&simulated, access, Some(backend_name(setup.backend))))
}

/// Why a list of accesses was not replayed.
enum Stopped {
    /// The simulation says so.
    Sim(SimError),
    /// The list cannot be read, or its copy not written.
    Other(anyhow::Error),
}

impl From<SimError> for Stopped {
    fn from(error: SimError) -> Self {
        Self::Sim(error)
    }
}

impl Stopped {
    fn in_words(self, path: &Path) -> anyhow::Error {
        match self {
            Self::Sim(SimError::Access { line, problem }) => {
                WrongUse(format!("{}: line {line}: {problem}", shown(path))).into()
            }
            Self::Sim(error) => failed(error),
            Self::Other(error) => error,
        }
    }
}

/// Replays what `reader` reads from the file at `path`, of which `line` says at which line it is, and writes
/// it to `--trace-out`.
fn replay<R>(
    setup: Setup<'_>,
    args: &Args,
    path: &Path,
    strict: bool,
    reader: &mut R,
    line: fn(&R) -> u64,
) -> anyhow::Result<Simulated>
where
    R: Iterator<Item = Result<Record, TraceError>>,
{
    let mut out = args.trace_out.as_ref().map(|path| Stream::create(path).map(BufWriter::new)).transpose()?;
    let next = || {
        let record = match reader.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(Stopped::Other(unread(path, &error)))),
        };
        let written = out.as_mut().map_or(Ok(()), |out| out.write_all(&record.line()));
        Some(written.map(|()| (line(reader), record)).map_err(|error| Stopped::Other(error.into())))
    };
    let simulated = Simulation::new(setup).replay(strict, next).map_err(|stopped| stopped.in_words(path))?;
    if let Some(out) = out {
        for warning in out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()? {
            output::complain(crate::verb::NAME, &one_line(&format!("warning: {warning}")));
        }
    }
    Ok(simulated)
}

/// An error of reading a list: the system's, or a wrong line.
fn unread(path: &Path, error: &TraceError) -> anyhow::Error {
    let text = format!("{}: {error}", shown(path));
    if matches!(error, TraceError::Io { .. }) { anyhow!(text) } else { WrongUse(text).into() }
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| shown(path))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// Where the command line says that images are mounted.
fn mountpoints(members: &[Member], args: &Args) -> Result<Vec<Mountpoint>, WrongUse> {
    let wrong = |spec: &str, want: &str| WrongUse(format!("--mountpoint {spec}: {want}"));
    if args.mountpoint.is_empty() {
        return Err(WrongUse("--access strace: found no mountpoint, want --mountpoint DIR=IMAGE".into()));
    }
    let one = |spec: &String| {
        let (dir, image) = spec.split_once('=').ok_or_else(|| wrong(spec, "want DIR=IMAGE"))?;
        if !dir.starts_with('/') {
            return Err(wrong(spec, "want a directory from / on"));
        }
        if !members.iter().any(|member| member.path == Path::new(image)) {
            return Err(wrong(spec, "found an image that is not among those of the command line"));
        }
        Ok(Mountpoint { dir: dir.as_bytes().to_vec(), image: image.as_bytes().to_vec() })
    };
    args.mountpoint.iter().map(one).collect()
}
