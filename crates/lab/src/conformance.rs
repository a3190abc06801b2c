//! The model held to the kernel: every scenario of a directory is run in the lab and in the model, and every
//! figure that both have is compared.
//!
//! Compared exactly are, for each event, the error number and the growth of the pages of files and
//! directories; at the end, for each file with content, what `mincore` and `cachestat` show, whether it is a
//! member of a key, and, page by page, the bytes in memory with those of the file that the model says they
//! were read from. Left out is what a program touches of itself when it is started. Where the kernel keeps
//! compressed data as well, the growth by events cannot tell it from the data, so the pages at the end stand
//! for them, and the rest is shown beside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use erofs_sim::Runner;
use erofs_sim::facts::{self, ImageFacts};
use erofs_sim::kernel::KernelModel;
use erofs_sim::pages::{PAGE_SIZE, pages_of};
use erofs_sim::scenario::{Backend, Event, Method, Scenario};
use erofs_sim::world::WorldError;

use crate::error::{At as _, LabError};
use crate::lab::{Lab, Limits};
use crate::plan::Located;
use crate::protocol::{CONTENT_MAX, Content, FileReport};
use crate::random;
use crate::recipe::{Programs, Recipes};
use crate::report::ScenarioReport;

/// The file of recipes in a directory of scenarios, and that of rows without a scenario.
const RECIPES: &str = "images.toml";
const OTHERS: &str = "without-scenario.toml";
/// `EINVAL` and `EBUSY`.
const INVALID: i32 = 22;
const BUSY: i32 = 16;
/// What the console shows of a kernel that crashed.
const FAULT: &str = "BUG: ";
/// How many differences of a scenario are kept.
const DIFFERENCES_MAX: usize = 20;

/// Scenarios, and the images that they need.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Number and name of each scenario, in the order of numbers.
    pub rows: Vec<(String, Located)>,
    /// Rows of the specification that no scenario shows, with the reason.
    pub others: BTreeMap<String, String>,
    recipes: Recipes,
    /// Where images and trees are.
    dir: PathBuf,
}

/// A scenario in both worlds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Its number and name.
    pub row: String,
    /// Its title.
    pub title: String,
    /// Pages of data that came into memory, on Linux and in the model.
    pub data: (i64, i64),
    /// Pages of metadata in the cache of block devices, likewise; nothing where not everything was looked up.
    pub metadata: Option<(i64, i64)>,
    /// Pages of image files, and of compressed data beside what it becomes.
    pub backing: i64,
    /// Pages of compressed data and of packed inodes.
    pub compressed: i64,
    /// How many figures were compared.
    pub figures: usize,
    /// What differs, in words.
    pub differences: Vec<String>,
    /// Whether the kernel crashed, as it has to.
    pub crashed: bool,
}

impl Suite {
    /// Reads the scenarios in `dir` and makes their images in `images`.
    ///
    /// # Errors
    /// When a file cannot be read, or an image not made.
    pub fn load(dir: &Path, images: &Path, programs: &Programs) -> Result<Self, LabError> {
        let recipes = Recipes::load(&dir.join(RECIPES))?;
        let mut rows = Vec::new();
        for entry in fs::read_dir(dir).at("list", dir)? {
            let path = entry.at("list", dir)?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|end| end == "toml")
                && name.starts_with(|first: char| first.is_ascii_digit())
            {
                let scenario = Located::load(&path)?.scenario;
                rows.push((name, Located { scenario, base: images.to_path_buf() }));
            }
        }
        rows.sort_by_key(|(name, _)| number(name));
        let wanted = rows.iter().flat_map(|(_, row)| row.scenario.images.values());
        let wanted: BTreeSet<String> =
            wanted.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
        recipes.make(&wanted, images, programs)?;
        let others = dir.join(OTHERS);
        let text = fs::read_to_string(&others).at("read", &others)?;
        let fail = |error: toml::de::Error| error.to_string().replace('\n', " ");
        let others =
            toml::from_str(&text).map_err(|error| LabError::Format { path: others, reason: fail(error) })?;
        Ok(Self { rows, others, recipes, dir: images.to_path_buf() })
    }

    /// Makes the images that random scenarios need in `images`, from the recipes in `dir`, and the scenarios
    /// of these seeds, each of at least so many events.
    ///
    /// # Errors
    /// When an image cannot be made.
    pub fn random(
        dir: &Path,
        images: &Path,
        programs: &Programs,
        seeds: impl IntoIterator<Item = u64>,
        events: usize,
    ) -> Result<Self, LabError> {
        let recipes = Recipes::load(&dir.join(RECIPES))?;
        recipes.make(&random::images().collect(), images, programs)?;
        let row = |seed: u64| {
            let scenario = random::scenario(seed, events);
            (format!("seed {seed}"), Located { scenario, base: images.to_path_buf() })
        };
        let rows = seeds.into_iter().map(row).collect();
        Ok(Self { rows, others: BTreeMap::new(), recipes, dir: images.to_path_buf() })
    }

    /// The same scenarios in parts of at most so many, so that each part runs in a virtual machine of its
    /// own.
    pub fn parts(&self, most: usize) -> impl Iterator<Item = Self> {
        self.rows.chunks(most.max(1)).map(|rows| Self { rows: rows.to_vec(), ..self.clone() })
    }

    /// Runs every scenario in the lab and in the model. A scenario that crashes the kernel has a machine of
    /// its own.
    ///
    /// # Errors
    /// When an image cannot be read, or the lab fails.
    pub fn compare(&self, lab: &Lab, limits: Limits) -> Result<(String, Vec<Compared>), LabError> {
        let facts = self.facts()?;
        let crashes = |row: &Located| {
            let mut runner = Runner::new(KernelModel::default(), images_of(&facts, row));
            row.scenario
                .events
                .iter()
                .any(|event| matches!(runner.event(event), Err(WorldError::Crash { .. })))
        };
        let crashing: Vec<bool> = self.rows.iter().map(|(_, row)| crashes(row)).collect();
        let rows = self.rows.iter().zip(&crashing);
        let whole: Vec<Located> =
            rows.filter(|(_, crashes)| !**crashes).map(|((_, row), _)| row.clone()).collect();
        let report = lab.run(&whole, limits)?;
        let mut measured = report.scenarios.iter();
        let mut compared = Vec::new();
        for ((name, row), crashes) in self.rows.iter().zip(crashing) {
            let mut result = if crashes {
                crash(lab, row, limits)?
            } else if let Some(real) = measured.next() {
                Comparison::new(self, row, real, images_of(&facts, row)).finish()?
            } else {
                Compared::default()
            };
            result.row.clone_from(name);
            result.title.clone_from(&row.scenario.title);
            compared.push(result);
        }
        Ok((report.kernel, compared))
    }

    /// The facts of the images of every scenario, by their files and those of their devices.
    fn facts(&self) -> Result<Facts, LabError> {
        let mut all: BTreeMap<Vec<PathBuf>, ImageFacts> = BTreeMap::new();
        let mut sets = Facts::new();
        for (_, row) in &self.rows {
            let mut images = BTreeMap::new();
            for (name, path) in &row.scenario.images {
                let mut paths = vec![row.base.join(path)];
                let blobs = row.scenario.events.iter().find_map(|event| {
                    let Event::Mount { image, devices, .. } = event else { return None };
                    (image == name).then_some(devices)
                });
                // What only holds the data of another image is none itself.
                let Some(blobs) = blobs else { continue };
                paths.extend(
                    blobs.iter().filter_map(|blob| Some(row.base.join(row.scenario.images.get(blob)?))),
                );
                let facts = match all.get(&paths) {
                    Some(facts) => facts.clone(),
                    None => read_facts(&paths)?,
                };
                all.insert(paths, facts.clone());
                images.insert(name.clone(), facts);
            }
            sets.insert(row.scenario.title.clone(), images);
        }
        Ok(sets)
    }
}

/// The facts of the images of each scenario, by its title.
type Facts = BTreeMap<String, BTreeMap<String, ImageFacts>>;

fn images_of<'f>(facts: &'f Facts, row: &Located) -> &'f BTreeMap<String, ImageFacts> {
    static NONE: BTreeMap<String, ImageFacts> = BTreeMap::new();
    facts.get(&row.scenario.title).unwrap_or(&NONE)
}

fn read_facts(paths: &[PathBuf]) -> Result<ImageFacts, LabError> {
    let Some((image, devices)) = paths.split_first() else { return Ok(ImageFacts::default()) };
    facts::read(image, devices)
        .map_err(|error| LabError::Image { path: image.clone(), reason: error.to_string() })
}

/// What a row is sorted by: the numbers that its name begins with, then the rest.
fn number(name: &str) -> (u32, u32, String) {
    let (numbers, rest) = name.split_once('-').unwrap_or((name, ""));
    let (section, row) = numbers.split_once('.').unwrap_or((numbers, ""));
    (section.parse().unwrap_or(u32::MAX), row.parse().unwrap_or(u32::MAX), rest.to_owned())
}

/// Runs a scenario that has to end with a crash of the kernel.
fn crash(lab: &Lab, row: &Located, limits: Limits) -> Result<Compared, LabError> {
    match lab.run(std::slice::from_ref(row), limits) {
        Err(LabError::Machine { console, .. }) if console.contains(FAULT) => {
            Ok(Compared { figures: 1, crashed: true, ..Compared::default() })
        }
        Err(error) => Err(error),
        Ok(_) => {
            let differences = vec!["only the model says that the kernel crashes".to_owned()];
            Ok(Compared { figures: 1, differences, ..Compared::default() })
        }
    }
}

/// A scenario that is being compared.
struct Comparison<'a> {
    suite: &'a Suite,
    scenario: &'a Scenario,
    real: &'a ScenarioReport,
    images: &'a BTreeMap<String, ImageFacts>,
    runner: Runner<'a>,
    /// The image of each mount.
    mounts: BTreeMap<String, &'a ImageFacts>,
    /// Whether pages of compressed data stay in memory.
    keeps_compressed: bool,
    sources: BTreeMap<PathBuf, Vec<u8>>,
    result: Compared,
}

impl<'a> Comparison<'a> {
    fn new(
        suite: &'a Suite,
        row: &'a Located,
        real: &'a ScenarioReport,
        images: &'a BTreeMap<String, ImageFacts>,
    ) -> Self {
        let keeps = |event: &Event| {
            let Event::Mount { image, options, .. } = event else { return false };
            let Some(facts) = images.get(image) else { return false };
            let compressed = facts.files.iter().any(|file| file.compressed);
            let disabled = options.iter().any(|option| option == "cache_strategy=disabled");
            facts.totals.special_bytes > 0 || (compressed && !disabled)
        };
        Self {
            suite,
            scenario: &row.scenario,
            real,
            images,
            runner: Runner::new(KernelModel::default(), images),
            mounts: BTreeMap::new(),
            keeps_compressed: row.scenario.events.iter().any(keeps),
            sources: BTreeMap::new(),
            result: Compared::default(),
        }
    }

    fn finish(mut self) -> Result<Compared, LabError> {
        for number in 0..self.scenario.events.len() {
            self.event(number);
        }
        self.metadata();
        for mount in &self.real.mounts {
            if let Err(error) = self.runner.look_at_all(&mount.mount) {
                self.differ(format!("looking at {}: {error}", mount.mount));
            }
        }
        let mut frames = 0;
        for file in &self.real.files {
            frames += self.file(file)?;
        }
        if self.keeps_compressed {
            let frames_real = i64::try_from(self.real.frames).unwrap_or(i64::MAX);
            self.result.data = (frames_real, frames_real + frames);
        }
        Ok(self.result)
    }

    fn differ(&mut self, what: String) {
        if self.result.differences.len() < DIFFERENCES_MAX {
            self.result.differences.push(what);
        }
    }

    fn event(&mut self, number: usize) {
        let (Some(event), Some(real)) = (self.scenario.events.get(number), self.real.events.get(number))
        else {
            return self.differ(format!("event {}: Linux did not do it", number + 1));
        };
        let listed = self.runner.world().directory_pages();
        let outcome = self.runner.event(event);
        let errno = match &outcome {
            Ok(_) => None,
            Err(WorldError::Refused { .. }) => Some(INVALID),
            Err(WorldError::Busy { .. }) => Some(BUSY),
            Err(
                error @ (WorldError::Crash { .. }
                | WorldError::Name { .. }
                | WorldError::Taken { .. }
                | WorldError::Steps { .. }),
            ) => {
                return self.differ(format!("event {}: {error}", number + 1));
            }
        };
        self.result.figures += 1;
        if errno != real.measured.errno {
            let found = real.measured.error.clone().unwrap_or_else(|| "no error".to_owned());
            self.differ(format!("event {}: {found}, model: error {errno:?}", number + 1));
        }
        let effect = outcome.unwrap_or_default();
        let signed = |pages: u64| i64::try_from(pages).unwrap_or(i64::MAX);
        if let (Event::Mount { mount, image, .. }, None) = (event, errno)
            && let Some(facts) = self.images.get(image)
        {
            self.mounts.insert(mount.clone(), facts);
        }
        let directories = signed(self.runner.world().directory_pages()) - signed(listed);
        let model = signed(effect.added) - signed(effect.dropped) + directories;
        self.result.backing += real.measured.backing_pages;
        let started = matches!(event, Event::Read { method: Method::Exec, .. });
        if self.keeps_compressed {
            self.result.compressed += real.data_pages - model;
        } else if !started {
            self.result.figures += 1;
            self.result.data.0 += real.data_pages.max(0) - directories.max(0);
            self.result.data.1 += signed(effect.added);
            if model != real.data_pages {
                self.differ(format!("event {}: {} pages, model: {model}", number + 1, real.data_pages));
            }
        }
    }

    /// Compares the metadata of mounts by block device, if all of it was read and nothing dropped.
    fn metadata(&mut self) {
        let events = &self.scenario.events;
        let block = |event: &Event| {
            if let Event::Mount { backend, device, .. } = event {
                return device.is_none()
                    && matches!(backend, Backend::Block | Backend::Verity | Backend::Loop);
            }
            !matches!(event, Event::DropCaches { .. } | Event::Umount { .. } | Event::Overlay { .. })
        };
        let walked = |mount: &String| {
            events
                .iter()
                .any(|event| matches!(event, Event::ReadAll { mount: walked, .. } if walked == mount))
        };
        if events.iter().all(block) && self.mounts.keys().all(walked) {
            let model: u64 = self.mounts.values().map(|facts| facts.totals.device_bytes / PAGE_SIZE).sum();
            let real = self.real.events.iter().map(|event| event.measured.buffer_pages).sum();
            self.result.metadata = Some((real, i64::try_from(model).unwrap_or(i64::MAX)));
        }
    }

    /// Compares a file at the end; returns by how many frames the model is above Linux.
    fn file(&mut self, file: &FileReport) -> Result<i64, LabError> {
        let what = format!("{}:{}", file.mount, file.path);
        let overlay = !self.mounts.contains_key(&file.mount);
        let mount = file.mount.clone();
        let world = self.runner.world();
        let found = self.runner.file(&file.mount, &file.path).and_then(|index| {
            let (mincore, cachestat) = world.visible(&mount, index)?;
            let member = world.is_member(&mount, index)?;
            Ok((index, mincore, if overlay { 0 } else { cachestat }, member))
        });
        let (index, mincore, cachestat, member) = match found {
            Ok(found) => found,
            Err(error) => {
                self.differ(format!("{what}: {error}"));
                return Ok(0);
            }
        };
        self.result.figures += 3;
        let real = (file.mincore_pages, file.cachestat_pages, file.shared);
        if real != (mincore, cachestat, member) {
            let model = (mincore, cachestat, member);
            self.differ(format!("{what}: mincore, cachestat, member: {real:?}, model: {model:?}"));
        } else if let Some(content) = file.content.filter(|_| file.size <= CONTENT_MAX) {
            self.result.figures += usize::try_from(mincore).unwrap_or(usize::MAX);
            if content != self.content(&mount, index)? {
                self.differ(format!("{what}: what is in memory comes from elsewhere than the model says"));
            }
        }
        let signed = |pages: u64| i64::try_from(pages).unwrap_or(i64::MAX);
        Ok(if file.same_frames.is_none() { signed(mincore) - signed(file.mincore_pages) } else { 0 })
    }

    /// The checksum of a file's pages in memory, as the model says they are.
    fn content(&mut self, mount: &str, index: usize) -> Result<u64, LabError> {
        let mut content = Content::default();
        let world = self.runner.world();
        let pages: Vec<u64> = world
            .pages_in_memory(mount, index)
            .ok()
            .flatten()
            .map(|set| set.pages().collect())
            .unwrap_or_default();
        for page in pages {
            let source = world.page_source(mount, index, page).ok().flatten();
            let Some((facts, file)) = source else { continue };
            let name =
                self.images.iter().find(|(_, known)| std::ptr::eq(*known, facts)).map(|(name, _)| name);
            let image =
                name.and_then(|name| self.scenario.images.get(name)).and_then(|path| path.file_stem());
            let image = image.unwrap_or_default().to_string_lossy();
            let path = facts.files.get(file).map(|file| String::from_utf8_lossy(&file.path).into_owned());
            let path = self.suite.recipes.source(&image, &self.suite.dir, &path.unwrap_or_default());
            let path = path.unwrap_or_default();
            if !self.sources.contains_key(&path) {
                let bytes = fs::read(&path).at("read", &path)?;
                self.sources.insert(path.clone(), bytes);
            }
            let bytes = self.sources.get(&path).map(Vec::as_slice).unwrap_or_default();
            content.page(page, &page_of(bytes, page));
        }
        Ok(content.finish())
    }
}

/// A page of a file, with zeros behind its end.
fn page_of(bytes: &[u8], page: u64) -> Vec<u8> {
    let size = usize::try_from(PAGE_SIZE).unwrap_or(0);
    let start = usize::try_from(page.saturating_mul(PAGE_SIZE)).unwrap_or(usize::MAX);
    let end = start.saturating_add(size).min(bytes.len());
    let mut found = bytes.get(start..end).unwrap_or_default().to_vec();
    debug_assert!(page < pages_of(u64::try_from(bytes.len()).unwrap_or(0)).max(1), "no page behind the end");
    found.resize(size, 0);
    found
}

/// The table of all rows, as a document.
pub fn document(kernel: &str, others: &BTreeMap<String, String>, rows: &[Compared]) -> String {
    let sum = |pick: fn(&Compared) -> usize| rows.iter().map(pick).sum::<usize>();
    let (figures, differences) = (sum(|row| row.figures), sum(|row| row.differences.len()));
    let mut text = format!(
        "# The model beside Linux\n\n\
        Made by `tools/lab.sh conformance --write docs/conformance.md` on Linux {kernel}. Do not edit.\n\n\
        Each row is a scenario of `testdata/scenarios`, run by a real kernel in a virtual machine and by the model of\n\
        `erofs-ishare simulate`. Compared are, for each event, the error number and the growth of the page cache in\n\
        pages of 4096 bytes; at the end, for each file, what `mincore` and `cachestat` show, whether it is a member of\n\
        a key, and, page by page, whether the bytes in memory are those of the file that the model says they were read\n\
        from.\n\n\
        {figures} figures were compared in {} scenarios; {differences} differ.\n\n\
        *Data pages* are those that came into memory for files. *Metadata pages* are those of block devices, for\n\
        scenarios that read everything of mounts by block device. *Image file* are pages of image files, which mounts\n\
        without direct I/O keep as well, and of the metadata of mounts by file. *Compressed* are pages of compressed\n\
        data and of packed inodes, which the model does not count: where there are any, *data pages* are those in\n\
        memory at the end.\n",
        rows.len()
    );
    let mut section = None;
    for row in rows {
        let (number, ..) = number(&row.row);
        if section != Some(number) {
            section = Some(number);
            text.push_str("\n## ");
            text.push_str(&heading(number));
            text += "\n\n| row | what happens | data pages: Linux | model | error | metadata pages: Linux | model | error \
                | image file | compressed |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";
        }
        text += &line(row);
    }
    text += "\n## Rows without a scenario\n\n| row | why |\n|---|---|\n";
    let mut others: Vec<_> = others.iter().collect();
    others.sort_by_key(|(row, _)| number(row));
    for (row, why) in others {
        text.extend(["| ", row, " | ", why, " |\n"]);
    }
    text
}

fn heading(section: u32) -> String {
    let known = [
        "",
        "Ways to read",
        "What makes files match",
        "Mismatches, layouts, backends",
        "Lifetime",
        "Amounts",
        "Stacks",
    ];
    let name =
        usize::try_from(section).ok().and_then(|section| known.get(section)).copied().unwrap_or_default();
    format!("{section}. {name}")
}

fn line(row: &Compared) -> String {
    let (number, name) = row.row.split_once('-').unwrap_or((&row.row, ""));
    let title = format!("{} (`{number}-{name}`)", row.title);
    if row.crashed {
        return format!("| {number} | {title} | crash | crash | | | | | | |\n");
    }
    let Compared { data, metadata, backing, compressed, .. } = row;
    let metadata =
        metadata.map_or("| | |".to_owned(), |(real, model)| format!("{real} | {model} | {} |", model - real));
    let shown = |pages: i64| if pages == 0 { String::new() } else { pages.to_string() };
    let error = data.1 - data.0;
    let (backing, compressed) = (shown(*backing), shown(*compressed));
    format!(
        "| {number} | {title} | {} | {} | {error} | {metadata} {backing} | {compressed} |\n",
        data.0, data.1
    )
}
