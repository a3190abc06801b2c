//! Accesses of a real workload: a trace, or a log of strace, line by line in the model, with sharing and without.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use erofs_builder::image_file::Stream;
use erofs_image::{Follow, Image, printable};
use erofs_sim::error::TraceError;
use erofs_sim::facts::{self, ImageFacts};
use erofs_sim::pages::bytes_of;
use erofs_sim::readahead::{FileAccess, Mapped};
use erofs_sim::strace::{self, Mountpoint};
use erofs_sim::survey::{Directory, Findings, Survey, Why};
use erofs_sim::tally::Cause;
use erofs_sim::trace::{self, How, Record};
use erofs_sim::world::{MountOptions, World};

use super::args::Args;
use super::beside::Beside;
use super::plan::{Planned, check_feature};
use super::report::{ImageReport, Report};
use super::whole::{Asked, finish};
use crate::exit::{WrongUse, one_line};
use crate::output;
use crate::verb::source::shown;

/// The image that a command line gave, and the files of it that were found.
struct Opened {
    facts: ImageFacts,
    /// The number of each file, by each of its names.
    files: HashMap<Vec<u8>, usize>,
    /// Paths that lead over symbolic links. Nothing for what is no file.
    others: HashMap<Vec<u8>, Option<usize>>,
    /// The number of each file, by inode; read when it is needed first.
    inodes: Option<HashMap<u64, usize>>,
}

/// One line of a trace with its place.
struct Line<'a> {
    file: &'a Path,
    number: u64,
}

impl Line<'_> {
    fn wrong(&self, text: &str) -> anyhow::Error {
        WrongUse(format!("{}: line {}: {text}", shown(self.file), self.number)).into()
    }
}

/// Reads a trace in the model.
pub(super) fn run_trace(asked: Asked<'_>, args: &Args, path: &Path) -> anyhow::Result<Report> {
    let reader = trace::Reader::new(open(path)?);
    let access = format!("trace:{}", path.to_string_lossy());
    let mut run = Run::new(asked, args, true)?;
    run.all(path, reader, trace::Reader::line)?;
    run.report(access)
}

/// Reads a log of strace in the model.
pub(super) fn run_strace(asked: Asked<'_>, args: &Args, path: &Path) -> anyhow::Result<Report> {
    let mounts = mountpoints(asked.plan, args)?;
    let reader = strace::Reader::new(open(path)?, &mounts);
    let access = format!("strace:{}", path.to_string_lossy());
    let mut run = Run::new(asked, args, false)?;
    let reader = run.all(path, reader, strace::Reader::line)?;
    if reader.strange_lines() != 0 {
        let lines = crate::words::counted(reader.strange_lines(), "line is", "lines are");
        output::complain(crate::verb::NAME, &format!("{}: {lines} not of strace, and left out", shown(path)));
    }
    run.report(access)
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| shown(path))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// Where the command line says that images are mounted.
fn mountpoints(plan: &[Planned], args: &Args) -> Result<Vec<Mountpoint>, WrongUse> {
    let wrong = |spec: &str, want: &str| WrongUse(format!("--mountpoint {spec}: {want}"));
    if args.mountpoint.is_empty() {
        return Err(WrongUse("--access strace: found no mountpoint, want --mountpoint DIR=IMAGE".into()));
    }
    let one = |spec: &String| {
        let (dir, image) = spec.split_once('=').ok_or_else(|| wrong(spec, "want DIR=IMAGE"))?;
        if !dir.starts_with('/') {
            return Err(wrong(spec, "want a directory from / on"));
        }
        if !plan.iter().any(|planned| planned.path == Path::new(image)) {
            return Err(wrong(spec, "found an image that is not among those of the command line"));
        }
        Ok(Mountpoint { dir: dir.as_bytes().to_vec(), image: image.as_bytes().to_vec() })
    };
    args.mountpoint.iter().map(one).collect()
}

/// Both sides of a run, and what was counted.
struct Run<'a> {
    asked: Asked<'a>,
    opened: Vec<Opened>,
    names: HashMap<Vec<u8>, usize>,
    images: Vec<ImageReport>,
    beside: Beside,
    findings: Findings,
    dirs: BTreeMap<Vec<u8>, (u64, u64)>,
    touched: BTreeSet<(usize, usize)>,
    /// What is counted in a group already.
    named: BTreeSet<(Cause, usize, usize)>,
    /// A range past the end of a file is an error.
    strict: bool,
    out: Option<BufWriter<Stream>>,
}

impl<'a> Run<'a> {
    fn new(asked: Asked<'a>, args: &Args, strict: bool) -> anyhow::Result<Self> {
        let create = |path: &std::path::PathBuf| Stream::create(path).map(BufWriter::new);
        let mut run = Self {
            asked,
            opened: Vec::new(),
            names: names(asked.plan),
            images: Vec::new(),
            beside: Beside::default(),
            findings: Findings::default(),
            dirs: BTreeMap::new(),
            touched: BTreeSet::new(),
            named: BTreeSet::new(),
            strict,
            out: args.trace_out.as_ref().map(create).transpose()?,
        };
        let mut survey = Survey::default();
        facts::read_in_order(asked.plan, |number, facts| {
            let Some(planned) = asked.plan.get(number) else { return Ok(()) };
            let facts = facts.map_err(|error| anyhow!("{}: {error}", shown(&planned.path)))?;
            check_feature(asked.allow_unshared, &planned.path, &facts)?;
            run.beside.add(number, &facts, true);
            run.images.push(ImageReport {
                path: planned.shown(),
                mount: None,
                domain: planned.domain.clone(),
                files: 0,
                pages: 0,
                marginal_bytes: 0,
                metadata_bytes: run.beside.metadata_bytes.last().copied().unwrap_or(0),
            });
            let files = facts.by_name().into_iter().map(|(name, file)| (name.to_vec(), file)).collect();
            survey.store(number, &facts, &planned.domain);
            run.opened.push(Opened { facts, files, others: HashMap::new(), inodes: None });
            anyhow::Ok(())
        })?;
        run.findings.stored_across = survey.finish().stored_across;
        Ok(run)
    }

    /// Takes every access of a trace; gives the reader back at its end.
    fn all<R>(&mut self, path: &Path, mut reader: R, line: fn(&R) -> u64) -> anyhow::Result<R>
    where
        R: Iterator<Item = Result<Record, TraceError>>,
    {
        let facts: Vec<ImageFacts> =
            self.opened.iter_mut().map(|opened| std::mem::take(&mut opened.facts)).collect();
        let (mut shared, mut private) = (self.world(&facts, true)?, self.world(&facts, false)?);
        while let Some(record) = reader.next() {
            let record = match record {
                Ok(record) => record,
                Err(error @ TraceError::Io { .. }) => return Err(anyhow!("{}: {error}", shown(path))),
                Err(error) => return Err(WrongUse(format!("{}: {error}", shown(path))).into()),
            };
            if let Some(out) = &mut self.out {
                out.write_all(&record.line())?;
            }
            let line = Line { file: path, number: line(&reader) };
            self.take(&facts, (&mut shared, &mut private), &record, &line)?;
        }
        if let Some(out) = self.out.take() {
            for warning in out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()? {
                output::complain(crate::verb::NAME, &one_line(&format!("warning: {warning}")));
            }
        }
        Ok(reader)
    }

    fn world<'f>(&self, facts: &'f [ImageFacts], share: bool) -> anyhow::Result<World<'f>> {
        let mut world = World::new(self.asked.kernel);
        for (number, (facts, planned)) in facts.iter().zip(self.asked.plan).enumerate() {
            let options = MountOptions {
                backend: self.asked.backend,
                inode_share: share,
                domain: Some(planned.domain.clone()),
                ..MountOptions::default()
            };
            world.mount(&number.to_string(), facts, &options)?;
        }
        Ok(world)
    }

    fn take(
        &mut self,
        facts: &[ImageFacts],
        (shared, private): (&mut World<'_>, &mut World<'_>),
        record: &Record,
        line: &Line<'_>,
    ) -> anyhow::Result<()> {
        let Some(image) = image_named(&self.names, &record.image) else {
            let found = printable(&record.image);
            return Err(line.wrong(&format!("image: found {found}, want one of the command line")));
        };
        let Some(file) = self.file(image, &record.path)? else {
            // A log has paths that lead nowhere in the image; a trace names files that were read.
            if !self.strict {
                return Ok(());
            }
            let path = printable(&record.path);
            return Err(line.wrong(&format!("path: found {path}, want a regular file of the image")));
        };
        let Some(known) = facts.get(image).and_then(|facts| facts.files.get(file)) else { return Ok(()) };
        let end = record.length.map_or(known.size, |length| record.offset.saturating_add(length));
        if self.strict && (end > known.size || record.offset > known.size) {
            let (from, size) = (record.offset, known.size);
            return Err(line.wrong(&format!(
                "range: found bytes {from} to {end}, want an end within the {size} bytes of {}",
                printable(&record.path)
            )));
        }
        let mount = image.to_string();
        let Record { offset, length, call, .. } = *record;
        let act = |world: &mut World<'_>| match record.how {
            How::Pages => world.touch(&mount, file, offset..end.min(known.size)),
            How::Call(method) => {
                let access = FileAccess { method, offset, length, call, mapped: Mapped::Data };
                world.access(&mount, file, &access, None)
            }
        };
        let reason = shared.lookup(&mount, file)?;
        let own = shared.visible(&mount, file)?.1;
        let (with, without) = (act(shared)?.added, act(private)?.added);
        let copied = shared.visible(&mount, file)?.1 > own;
        let cause = reason.map(Cause::Private).or(copied.then_some(Cause::Method));
        self.count(image, file, known, (with, without), cause);
        Ok(())
    }

    fn count(
        &mut self,
        image: usize,
        file: usize,
        known: &facts::FileFacts,
        (with, without): (u64, u64),
        cause: Option<Cause>,
    ) {
        let first = self.touched.insert((image, file));
        if let Some(report) = self.images.get_mut(image) {
            report.files += u64::from(first);
            report.pages = report.pages.saturating_add(without);
            report.marginal_bytes = report.marginal_bytes.saturating_add(bytes_of(with));
        }
        let dir = self.dirs.entry(erofs_sim::survey::dir_of(&known.path).to_vec()).or_default();
        dir.0 = dir.0.saturating_add(bytes_of(without));
        dir.1 = dir.1.saturating_add(bytes_of(with));
        if let Some(cause) = cause
            && with != 0
        {
            let group = self.findings.not_shared.entry(Why::Cause(cause)).or_default();
            if self.named.insert((cause, image, file)) {
                group.count_part(image, known, bytes_of(with));
            } else {
                group.count.bytes = group.count.bytes.saturating_add(bytes_of(with));
            }
        }
    }

    /// The number of the file that a path leads to, over symbolic links inside the image.
    fn file(&mut self, image: usize, path: &[u8]) -> anyhow::Result<Option<usize>> {
        let (Some(opened), Some(planned)) = (self.opened.get_mut(image), self.asked.plan.get(image)) else {
            return Ok(None);
        };
        if let Some(known) = opened.files.get(path) {
            return Ok(Some(*known));
        }
        if let Some(known) = opened.others.get(path) {
            return Ok(*known);
        }
        let found = opened.resolve(planned, path);
        let found = found.map_err(|error| anyhow!("{}: {error}", shown(&planned.path)))?;
        opened.others.insert(path.to_vec(), found);
        Ok(found)
    }

    fn report(mut self, access: String) -> anyhow::Result<Report> {
        let row = |(path, (private_bytes, shared_bytes))| Directory { path, private_bytes, shared_bytes };
        let mut rows: Vec<Directory> = std::mem::take(&mut self.dirs).into_iter().map(row).collect();
        rows.sort_by(|a, b| (b.private_bytes, &a.path).cmp(&(a.private_bytes, &b.path)));
        self.findings.directories = rows;
        finish(self.asked, access, self.images, self.beside, &self.findings)
    }
}

impl Opened {
    fn resolve(&mut self, planned: &Planned, path: &[u8]) -> Result<Option<usize>, erofs_image::ImageError> {
        let image = planned.open()?;
        let Ok(inode) = image.resolve(path, Follow::All) else { return Ok(None) };
        let inodes = match &mut self.inodes {
            Some(inodes) => inodes,
            None => self.inodes.insert(number_of_inodes(&image)?),
        };
        Ok(inodes.get(&inode.nid.0).copied())
    }
}

/// The number of each regular file, in the order in which facts have them.
fn number_of_inodes(image: &Image) -> Result<HashMap<u64, usize>, erofs_image::ImageError> {
    let mut numbers = HashMap::new();
    for step in image.walk_all()? {
        let step = step?;
        if step.first && step.inode.is_file() {
            let next = numbers.len();
            numbers.insert(step.inode.nid.0, next);
        }
    }
    Ok(numbers)
}

/// By which names a trace may call the images: their paths, as they were given and from `/` on without links, and the
/// last names of these where they differ.
fn names(plan: &[Planned]) -> HashMap<Vec<u8>, usize> {
    let mut last: HashMap<Vec<u8>, Option<usize>> = HashMap::new();
    for (number, planned) in plan.iter().enumerate() {
        if let Some(name) = planned.path.file_name() {
            let name = name.as_encoded_bytes().to_vec();
            last.entry(name).and_modify(|known| *known = None).or_insert(Some(number));
        }
    }
    let mut names: HashMap<Vec<u8>, usize> =
        last.into_iter().filter_map(|(name, number)| Some((name, number?))).collect();
    for (number, planned) in plan.iter().enumerate() {
        let real = planned.path.canonicalize().ok();
        for path in std::iter::once(&planned.path).chain(&real) {
            names.insert(path.as_os_str().as_encoded_bytes().to_vec(), number);
        }
    }
    names
}

/// The image that a trace means: one of these names, or a path of another place or machine whose last name is one.
fn image_named(names: &HashMap<Vec<u8>, usize>, name: &[u8]) -> Option<usize> {
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    names.get(name).or_else(|| names.get(last)).copied()
}
