//! Accesses of a real workload, one after the other in the model, with sharing and without.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use erofs_image::{Follow, Image, ImageError};

use crate::error::{AccessError, SimError};
use crate::facts::{self, FileFacts, ImageFacts};
use crate::member::Member;
use crate::overheads::Overheads;
use crate::pages::bytes_of;
use crate::readahead::{FileAccess, Mapped};
use crate::setup::{Setup, check_feature};
use crate::simulated::{ImageCost, Simulated};
use crate::survey::{Directory, Findings, Survey, Why, dir_of};
use crate::tally::Cause;
use crate::trace::{How, Record};
use crate::world::{MountOptions, World};

/// One access of a list: the number of its line, from 1 on, and what is read.
pub type Access = (u64, Record);

/// Replays the accesses that `next` gives. With `strict`, what is not in the images is an error, as in a
/// trace; a log of system calls also names paths that are in no image.
pub(crate) fn replay<E: From<SimError>>(
    setup: Setup<'_>,
    strict: bool,
    next: impl FnMut() -> Option<Result<Access, E>>,
) -> Result<Simulated, E> {
    let mut run = Run::new(setup, strict)?;
    run.all(next)?;
    Ok(run.report()?)
}

/// An image, and the files of it that were found.
struct Opened {
    facts: ImageFacts,
    /// The number of each file, by each of its names.
    files: HashMap<Vec<u8>, usize>,
    /// Paths that lead over symbolic links. Nothing for what is no file.
    others: HashMap<Vec<u8>, Option<usize>>,
    /// The number of each file, by inode; read when it is needed first.
    inodes: Option<HashMap<u64, usize>>,
}

/// Both sides of a run, and what was counted.
struct Run<'a> {
    setup: Setup<'a>,
    opened: Vec<Opened>,
    names: HashMap<Vec<u8>, usize>,
    images: Vec<ImageCost>,
    overheads: Overheads,
    findings: Findings,
    dirs: BTreeMap<Vec<u8>, (u64, u64)>,
    touched: BTreeSet<(usize, usize)>,
    /// What is counted in a group already.
    named: BTreeSet<(Cause, usize, usize)>,
    /// A range past the end of a file is an error.
    strict: bool,
}

impl<'a> Run<'a> {
    fn new(setup: Setup<'a>, strict: bool) -> Result<Self, SimError> {
        let mut run = Self {
            setup,
            opened: Vec::new(),
            names: names(setup.members),
            images: Vec::new(),
            overheads: Overheads::default(),
            findings: Findings::default(),
            dirs: BTreeMap::new(),
            touched: BTreeSet::new(),
            named: BTreeSet::new(),
            strict,
        };
        let mut survey = Survey::default();
        facts::read_in_order(setup.members, |number, facts| {
            let Some(member) = setup.members.get(number) else { return Ok(()) };
            let facts = facts.map_err(|error| SimError::image(&member.path, error))?;
            check_feature(setup.allow_unshared, &member.path, &facts)?;
            let metadata_bytes = run.overheads.add(number, &facts, true);
            run.images.push(ImageCost {
                member: member.clone(),
                mount: None,
                files: 0,
                pages: 0,
                added_bytes: 0,
                metadata_bytes,
            });
            let files = facts.by_name().into_iter().map(|(name, file)| (name.to_vec(), file)).collect();
            survey.store(number, &facts, &member.domain);
            run.opened.push(Opened { facts, files, others: HashMap::new(), inodes: None });
            Ok::<(), SimError>(())
        })?;
        run.findings.stored_across = survey.finish().stored_across;
        Ok(run)
    }

    /// Takes every access.
    fn all<E: From<SimError>>(
        &mut self,
        mut next: impl FnMut() -> Option<Result<Access, E>>,
    ) -> Result<(), E> {
        let facts: Vec<ImageFacts> =
            self.opened.iter_mut().map(|opened| std::mem::take(&mut opened.facts)).collect();
        let (mut shared, mut private) = (self.world(&facts, true)?, self.world(&facts, false)?);
        while let Some(access) = next() {
            self.take(&facts, (&mut shared, &mut private), &access?)?;
        }
        Ok(())
    }

    fn world<'f>(&self, facts: &'f [ImageFacts], share: bool) -> Result<World<'f>, SimError> {
        let mut world = World::new(self.setup.kernel);
        for (number, (facts, member)) in facts.iter().zip(self.setup.members).enumerate() {
            let options = MountOptions {
                backend: self.setup.backend,
                inode_share: share,
                domain: Some(member.domain.clone()),
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
        (line, record): &Access,
    ) -> Result<(), SimError> {
        let wrong = |problem| SimError::Access { line: *line, problem };
        let Some(image) = image_named(&self.names, &record.image) else {
            return Err(wrong(AccessError::Image { name: record.image.clone() }));
        };
        let Some(file) = self.file(image, &record.path)? else {
            // A log has paths that lead nowhere in the image; a trace names files that were read.
            if !self.strict {
                return Ok(());
            }
            return Err(wrong(AccessError::Path { path: record.path.clone() }));
        };
        let Some(known) = facts.get(image).and_then(|facts| facts.files.get(file)) else { return Ok(()) };
        let end = record.length.map_or(known.size, |length| record.offset.saturating_add(length));
        if self.strict && (end > known.size || record.offset > known.size) {
            let (path, from, size) = (record.path.clone(), record.offset, known.size);
            return Err(wrong(AccessError::Range { path, from, end, size }));
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
        known: &FileFacts,
        (with, without): (u64, u64),
        cause: Option<Cause>,
    ) {
        let first = self.touched.insert((image, file));
        if let Some(report) = self.images.get_mut(image) {
            report.files += u64::from(first);
            report.pages = report.pages.saturating_add(without);
            report.added_bytes = report.added_bytes.saturating_add(bytes_of(with));
        }
        let dir = self.dirs.entry(dir_of(&known.path).to_vec()).or_default();
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
    fn file(&mut self, image: usize, path: &[u8]) -> Result<Option<usize>, SimError> {
        let (Some(opened), Some(member)) = (self.opened.get_mut(image), self.setup.members.get(image)) else {
            return Ok(None);
        };
        if let Some(known) = opened.files.get(path) {
            return Ok(Some(*known));
        }
        if let Some(known) = opened.others.get(path) {
            return Ok(*known);
        }
        let found = opened.resolve(member, path);
        let found = found.map_err(|error| SimError::image(&member.path, error))?;
        opened.others.insert(path.to_vec(), found);
        Ok(found)
    }

    fn report(mut self) -> Result<Simulated, SimError> {
        let row = |(path, (private_bytes, shared_bytes))| Directory { path, private_bytes, shared_bytes };
        let mut rows: Vec<Directory> = std::mem::take(&mut self.dirs).into_iter().map(row).collect();
        rows.sort_by(|a, b| (b.private_bytes, &a.path).cmp(&(a.private_bytes, &b.path)));
        self.findings.directories = rows;
        self.setup.finish(self.images, self.overheads, self.findings)
    }
}

impl Opened {
    fn resolve(&mut self, member: &Member, path: &[u8]) -> Result<Option<usize>, ImageError> {
        let image = member.open()?;
        let Ok(inode) = image.resolve(path, Follow::All) else { return Ok(None) };
        let inodes = match &mut self.inodes {
            Some(inodes) => inodes,
            None => self.inodes.insert(number_of_inodes(&image)?),
        };
        Ok(inodes.get(&inode.nid.0).copied())
    }
}

/// The number of each regular file, in the order in which facts have them.
fn number_of_inodes(image: &Image) -> Result<HashMap<u64, usize>, ImageError> {
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

/// By which names a trace may call the images: their paths, as they were given and from `/` on without links,
/// and the last names of these where they differ.
fn names(members: &[Member]) -> HashMap<Vec<u8>, usize> {
    let mut last: HashMap<Vec<u8>, Option<usize>> = HashMap::new();
    for (number, member) in members.iter().enumerate() {
        if let Some(name) = member.path.file_name() {
            let name = name.as_encoded_bytes().to_vec();
            last.entry(name).and_modify(|known| *known = None).or_insert(Some(number));
        }
    }
    let mut names: HashMap<Vec<u8>, usize> =
        last.into_iter().filter_map(|(name, number)| Some((name, number?))).collect();
    for (number, member) in members.iter().enumerate() {
        let real = member.path.canonicalize().ok();
        for path in std::iter::once(&member.path).chain(&real) {
            names.insert(path.as_os_str().as_encoded_bytes().to_vec(), number);
        }
    }
    names
}

/// The image that a trace means: one of these names, or a path of another place or machine whose last name is
/// one.
fn image_named(names: &HashMap<Vec<u8>, usize>, name: &[u8]) -> Option<usize> {
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    names.get(name).or_else(|| names.get(last)).copied()
}
