//! What Linux does with the images of the builder when it shares page cache, measured page by page in a
//! virtual machine. All scenarios run one after the other in one machine, and each test looks at its own.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

#[path = "common/lab.rs"]
mod common_lab;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use erofs_lab::conformance::Suite;
use erofs_lab::protocol::Content;
use erofs_lab::recipe::{self, Programs};
use erofs_lab::{Lab, LabError, Limits, Located, Report, ScenarioReport};
use erofs_sim::Runner;
use erofs_sim::kernel::KernelModel;
use erofs_sim::scenario::{Event, Method};
use erofs_testkit::content::{noise, sparse};
use erofs_testkit::require::{self, Absent, need};
use erofs_testkit::{peers, place};

/// The builder under test.
const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";
/// `EINVAL`.
const INVALID: Option<i32> = Some(22);
/// Pages of the files `/big` and `/mid`.
const BIG: i64 = 2048;
const MID: i64 = 256;

/// Partial reads of `/big` through one open file: offset, length, method, and the KiB that they bring into
/// memory. Reads are in calls of 64 KiB.
const PARTIAL: [(u64, u64, &str, i64); 14] = [
    (0, 1, "read", 16),
    (0, 4096, "read", 16),
    (0, 64 << 10, "read", 128),
    (0, 128 << 10, "read", 256),
    (0, (128 << 10) + 1, "read", 384),
    (0, 256 << 10, "read", 384),
    (0, 1 << 20, "read", 1152),
    (4 << 20, 1, "read", 4),
    (4 << 20, 4096, "read", 4),
    (4 << 20, 64 << 10, "read", 64),
    (0, 1, "mmap", 128),
    (4 << 20, 1, "mmap", 128),
    (8_388_607, 1, "mmap", 68),
    (0, 8 << 20, "willneed", 128),
];

/// The seeds of the random scenarios, and how many events each has: some two minutes on a slow machine.
const RANDOM_SEEDS: std::ops::Range<u64> = 1..11;
const RANDOM_EVENTS: usize = 100;

/// Lengths in bytes of files in `/sizes`, and their pages.
const SIZES: [(usize, i64); 6] = [(1, 1), (100, 1), (4096, 1), (4097, 2), (5000, 2), (130 << 10, 33)];

/// A scenario that is being written. Paths of mounts `a1`, `b2` and so on begin with the name of their image.
struct Draft {
    title: &'static str,
    events: String,
}

impl Draft {
    fn new(title: &'static str) -> Self {
        Self { title, events: String::new() }
    }

    fn event(mut self, what: &str, rest: &str) -> Self {
        writeln!(self.events, "  {{ do = '{what}', {rest} }},").unwrap();
        self
    }

    fn mount(self, name: &str, rest: &str) -> Self {
        let image = &name[..1];
        self.event("mount", &format!("mount = '{name}', image = '{image}', {rest}"))
    }

    /// Two mounts in one domain, of which everything is looked up.
    fn pair(self) -> Self {
        let mounted = self.mount("a", "domain = 'prod'").mount("b", "domain = 'prod'");
        mounted.event("stat-all", "mount = 'a'").event("stat-all", "mount = 'b'")
    }

    fn on(self, what: &str, mount: &str, path: &str) -> Self {
        self.event(what, &format!("mount = '{mount}', path = '{path}'"))
    }

    fn read(self, mount: &str, path: &str) -> Self {
        self.by("read", mount, path)
    }

    fn by(self, method: &str, mount: &str, path: &str) -> Self {
        self.event("read", &format!("mount = '{mount}', path = '{path}', method = '{method}'"))
    }

    fn drop_caches(self, value: u8) -> Self {
        self.event("drop-caches", &format!("value = {value}"))
    }

    fn finish(self, dir: &Path) -> Located {
        let Self { title, events } = self;
        let images = "a = 'a.img'\nb = 'b.img'\ns = 's.img'\nt = 't.img'";
        let text = format!("title = '{title}'\nevent = [\n{events}]\n[images]\n{images}\n");
        Located::parse(&text, &dir.join("scenario.toml")).unwrap()
    }
}

/// Every scenario of this file.
fn scenarios() -> Vec<Draft> {
    [matches(), methods(), lifetimes(), amounts()].into_iter().flatten().collect()
}

/// Which files share.
fn matches() -> Vec<Draft> {
    let new = Draft::new;
    vec![
        new("one domain")
            .pair()
            .read("a", "/big")
            .read("b", "/big")
            .by("mmap", "b", "/mid")
            .read("a", "/mid"),
        new("two domains")
            .mount("a", "domain = 'dom1'")
            .mount("b", "domain = 'dom1x'")
            .event("stat-all", "mount = 'a'")
            .event("stat-all", "mount = 'b'")
            .read("a", "/big")
            .read("b", "/big"),
        new("without the option")
            .mount("a", "domain = 'prod'")
            .mount("b", "domain = 'prod', inode_share = false")
            .event("stat-all", "mount = 'a'")
            .event("stat-all", "mount = 'b'")
            .read("a", "/big")
            .read("b", "/big"),
        new("refused")
            .mount("a", "inode_share = true")
            .mount("a", "domain = ''")
            .mount("a", "backend = 'file', inode_share = true"),
        backends("block and loop", "block", "loop"),
        backends("block and file", "block", "file"),
        backends("file and file past its cache", "file", "file-directio"),
        new("one device")
            .mount("a1", "device = 'x'")
            .mount("a2", "device = 'x', domain = 'prod'")
            .mount("b", "domain = 'prod'")
            .read("a1", "/big")
            .read("a2", "/big")
            .read("b", "/big"),
    ]
}

/// Which calls share.
fn methods() -> Vec<Draft> {
    let new = Draft::new;
    vec![
        new("splice")
            .pair()
            .by("sendfile", "a", "/mid")
            .by("splice", "b", "/mid")
            .read("a", "/mid")
            .read("b", "/mid"),
        new("copy-up")
            .pair()
            .read("a", "/mid")
            .by("copy-up", "a", "/mid")
            .by("exec", "b", "/program")
            .by("exec", "a", "/program"),
    ]
}

/// How long pages stay.
fn lifetimes() -> Vec<Draft> {
    let new = Draft::new;
    vec![
        new("losers")
            .mount("s", "domain = 'prod'")
            .mount("t", "domain = 'prod'")
            .on("stat", "s", "/f")
            .event("stat-all", "mount = 't'")
            .read("t", "/f")
            .read("t", "/g")
            .event("umount", "mount = 's'")
            .drop_caches(1)
            .read("t", "/f")
            .read("t", "/g"),
        new("losers, evicted")
            .mount("s", "domain = 'prod'")
            .mount("t", "domain = 'prod'")
            .on("stat", "s", "/f")
            .event("stat-all", "mount = 't'")
            .event("umount", "mount = 's'")
            .drop_caches(3)
            .drop_caches(3)
            .read("t", "/f")
            .read("t", "/g"),
        new("umount")
            .mount("a", "domain = 'prod'")
            .mount("b", "domain = 'prod'")
            .on("stat", "b", "/big")
            .read("a", "/big")
            .read("a", "/mid")
            .event("umount", "mount = 'a'")
            .read("b", "/big")
            .read("b", "/mid"),
        new("dontneed")
            .pair()
            .read("a", "/mid")
            .event("dontneed", "mount = 'b', path = '/mid', length = 524288")
            .on("dontneed", "b", "/mid")
            .read("a", "/mid")
            .on("open", "b", "/mid")
            .drop_caches(2)
            .drop_caches(2)
            .read("a", "/mid")
            .on("close", "b", "/mid"),
    ]
}

/// How many pages come in.
fn amounts() -> Vec<Draft> {
    let new = Draft::new;
    let mut partial = new("partial reads").pair();
    for (offset, length, method, _) in PARTIAL {
        let range = format!("offset = {offset}, length = {length}");
        partial = partial
            .event("read", &format!("mount = 'a', path = '/big', method = '{method}', {range}"))
            .on("dontneed", "a", "/big");
    }
    let mut sizes = new("sizes").pair();
    for (size, _) in SIZES {
        sizes = sizes.read("a", &format!("/sizes/{size}")).read("b", &format!("/sizes/{size}"));
    }
    vec![
        partial,
        sizes,
        new("holes and twins").pair().read("a", "/hole").read("a", "/twin1").read("a", "/twin2"),
        new("everything")
            .mount("a", "domain = 'prod'")
            .mount("b", "domain = 'prod'")
            .event("read-all", "mount = 'a'")
            .event("read-all", "mount = 'b'"),
    ]
}

/// The same files under two kinds of mount.
fn backends(title: &'static str, first: &str, second: &str) -> Draft {
    Draft::new(title)
        .mount("a", &format!("backend = '{first}', domain = 'prod'"))
        .mount("b", &format!("backend = '{second}', domain = 'prod'"))
        .event("stat-all", "mount = 'a'")
        .event("stat-all", "mount = 'b'")
        .read("a", "/big")
        .read("b", "/big")
}

/// The images: `a` and `b` hold the same files, and `b` one more. In `s` and `t` every file has the same
/// fingerprint, though `s` has a shorter one.
fn build(dir: &Path, program: &Path) {
    let source = place::scratch().unwrap();
    let tree = source.path().join("ab");
    fs::create_dir_all(tree.join("sizes")).unwrap();
    fs::write(tree.join("big"), noise(1, 8 << 20)).unwrap();
    fs::write(tree.join("mid"), noise(2, 1 << 20)).unwrap();
    fs::write(tree.join("twin1"), noise(3, 100_000)).unwrap();
    fs::write(tree.join("twin2"), noise(3, 100_000)).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    sparse(&tree.join("hole"), 1 << 20, &[(65_536, noise(4, 128 << 10))]).unwrap();
    fs::copy(program, tree.join("program")).unwrap();
    for (size, _) in SIZES {
        fs::write(tree.join(format!("sizes/{size}")), noise(size as u64, size)).unwrap();
    }
    let make = |name: &str, options: &[&str], tree: &Path| {
        peers::build(MKFS, options, &dir.join(name), tree).unwrap();
    };
    make("a.img", &[KEY_OPTION], &tree);
    fs::write(tree.join("more"), noise(5, 10_000)).unwrap();
    make("b.img", &[KEY_OPTION, "--chunksize=4096", "-T1"], &tree);

    let claimed = |name: &str, files: &[(&str, usize)]| {
        let tree = source.path().join(name);
        fs::create_dir(&tree).unwrap();
        for (file, size) in files {
            fs::write(tree.join(file), noise(6, *size)).unwrap();
            xattr::set(tree.join(file), "trusted.erofs.fingerprint", b"claimed").unwrap();
        }
        make(&format!("{name}.img"), &[KEY_OPTION, "--ishare-digest=source"], &tree);
    };
    claimed("s", &[("f", 512 << 10)]);
    claimed("t", &[("f", 1 << 20), ("g", 1 << 20)]);
}

/// What all scenarios did.
fn measure() -> Result<Report, LabError> {
    let lab = Lab::prepare(&place::target_dir().join("lab"))?;
    let dir = place::disk_scratch().unwrap();
    build(dir.path(), &lab.static_program());
    let list: Vec<_> = scenarios().into_iter().map(|draft| draft.finish(dir.path())).collect();
    lab.run(&list, Limits::default())
}

/// The same, measured once; nothing when this machine cannot tell.
fn measured(check: &str) -> Option<&'static Report> {
    static REPORT: OnceLock<Result<Report, LabError>> = OnceLock::new();
    need(check, require::root())?;
    match REPORT.get_or_init(measure) {
        Ok(report) => Some(report),
        Err(LabError::Absent { what }) => need(check, Err(Absent::because(what))),
        Err(error) => panic!("{error}"),
    }
}

/// What one scenario did, or nothing when this machine cannot tell.
fn scenario(title: &str) -> Option<&'static ScenarioReport> {
    let report = measured(&format!("page cache sharing on a real kernel: {title}"))?;
    let found = report.scenarios.iter().find(|scenario| scenario.title == title);
    let found = found.unwrap_or_else(|| panic!("there is no scenario {title}"));
    assert_eq!(found.drift_pages, 0, "{title} begins where another one ended");
    Some(found)
}

/// The growth of data pages by the last events of a scenario.
#[track_caller]
fn assert_last(report: &ScenarioReport, want: &[i64]) {
    let found = report.data_pages();
    assert_eq!(found[found.len() - want.len()..], *want, "{report}");
}

/// Pages that `mincore` shows, pages of the file's own, and frames in common with an earlier file.
#[track_caller]
fn assert_file(report: &ScenarioReport, mount: &str, path: &str, want: (i64, i64, i64)) {
    let file = report.file(mount, path).unwrap_or_else(|| panic!("no {mount}:{path}\n{report}"));
    let common = file.same_frames.as_ref().map_or(0, |same| same.pages);
    let found = [file.mincore_pages, file.cachestat_pages, common].map(|pages| i64::try_from(pages).unwrap());
    assert_eq!((found[0], found[1], found[2]), want, "{mount}:{path}\n{report}");
    assert!(found[0] == found[1] || file.shared, "{mount}:{path} is a member\n{report}");
}

#[test]
fn a_second_reader_adds_nothing() {
    let Some(report) = scenario("one domain") else { return };
    assert_last(report, &[BIG, 0, MID, 0]);
    assert_file(report, "a", "/big", (BIG, 0, 0));
    assert_file(report, "b", "/big", (BIG, 0, BIG));
    assert_file(report, "b", "/mid", (MID, 0, MID));
}

#[test]
fn domains_do_not_share() {
    let Some(report) = scenario("two domains") else { return };
    assert_last(report, &[BIG, BIG]);
    assert_file(report, "b", "/big", (BIG, 0, 0));
}

#[test]
fn without_the_option_pages_are_private() {
    let Some(report) = scenario("without the option") else { return };
    assert_last(report, &[BIG, BIG]);
    assert_file(report, "b", "/big", (BIG, BIG, 0));
    assert!(!report.file("b", "/big").unwrap().shared);
}

#[test]
fn the_option_needs_a_domain() {
    let Some(report) = scenario("refused") else { return };
    let errors: Vec<_> = report.events.iter().map(|event| event.measured.errno).collect();
    assert_eq!(errors, [INVALID; 3], "{report}");
    assert!(report.mounts.is_empty());
}

#[test]
fn sendfile_and_splice_make_private_copies() {
    let Some(report) = scenario("splice") else { return };
    assert_last(report, &[MID, MID, MID, 0]);
    assert_file(report, "a", "/mid", (MID, MID, 0));
    assert_file(report, "b", "/mid", (MID, MID, MID));
}

#[test]
fn copy_up_makes_a_private_copy_and_exec_none() {
    let Some(report) = scenario("copy-up") else { return };
    assert_file(report, "a", "/mid", (MID, MID, 0));
    let pages = report.data_pages();
    let program = pages[6];
    assert!(program > 0, "{report}");
    assert_last(report, &[MID, MID, program, 0]);
    assert_file(report, "b", "/program", (program, 0, program));
}

#[test]
fn a_hole_has_pages_and_twins_share() {
    let Some(report) = scenario("holes and twins") else { return };
    assert_last(report, &[256, 25, 0]);
    assert_file(report, "a", "/twin2", (25, 0, 25));
}

#[test]
fn files_of_other_length_stay_private() {
    let Some(report) = scenario("losers") else { return };
    // Neither the end of the winner nor that of the pages makes them members. A directory's page goes with
    // each.
    assert_last(report, &[MID, MID, -1, -2 * MID - 1, MID, MID]);
    assert_file(report, "t", "/f", (MID, MID, 0));
    assert_file(report, "t", "/g", (MID, MID, 0));
    let Some(report) = scenario("losers, evicted") else { return };
    let pages = report.data_pages();
    assert_eq!(pages[8], 0, "{report}");
    assert_file(report, "t", "/f", (MID, 0, 0));
    assert_file(report, "t", "/g", (MID, 0, MID));
}

#[test]
fn pages_live_as_long_as_a_file_that_was_looked_up() {
    let Some(report) = scenario("umount") else { return };
    let pages = report.data_pages();
    // The directory of the mount goes with it.
    assert_eq!(pages[5..], [-MID - 1, 0, MID], "{report}");
}

#[test]
fn dontneed_drops_the_pages_of_all() {
    let Some(report) = scenario("dontneed") else { return };
    assert_last(report, &[MID, -MID / 2, -MID / 2, MID, 0, 0, 0, 0, 0]);
}

#[test]
fn plain_files_share_on_the_same_kind_of_backend() {
    for (title, second) in
        [("block and loop", 0), ("block and file", BIG), ("file and file past its cache", 0)]
    {
        let Some(report) = scenario(title) else { return };
        assert_last(report, &[BIG, second]);
        assert_file(report, "b", "/big", (BIG, second, BIG - second));
    }
}

#[test]
fn the_first_mount_of_a_device_decides() {
    let Some(report) = scenario("one device") else { return };
    assert_file(report, "a2", "/big", (BIG, BIG, BIG));
    assert_file(report, "b", "/big", (BIG, 0, 0));
}

#[test]
fn everything_read_costs_each_content_once() {
    let Some(report) = scenario("everything") else { return };
    let distinct = |mount: &str| -> i64 {
        let files = report.files.iter().filter(|file| file.mount == mount && file.path != "/twin2");
        files.map(|file| i64::try_from(file.size.div_ceil(4096)).unwrap()).sum()
    };
    let dirs = 2;
    assert_last(report, &[distinct("a") + dirs, 3 + dirs]);
    assert_eq!(i64::try_from(report.frames).unwrap(), distinct("b"), "{report}");
}

#[test]
fn partial_reads_bring_in_what_the_window_says() {
    let Some(report) = scenario("partial reads") else { return };
    let pages = report.data_pages();
    for (at, (offset, length, method, kib)) in PARTIAL.into_iter().enumerate() {
        let (read, dropped) = (pages[4 + 2 * at], pages[5 + 2 * at]);
        assert_eq!((read * 4, dropped), (kib, -read), "{method} of {length} bytes from {offset}");
    }
}

#[test]
fn a_file_costs_whole_pages() {
    let Some(report) = scenario("sizes") else { return };
    let pages = report.data_pages();
    for (at, (size, want)) in SIZES.into_iter().enumerate() {
        assert_eq!(pages[4 + 2 * at..6 + 2 * at], [want, 0], "{size} bytes");
    }
}

/// The model of `erofs-sim` runs every scenario of this file: each event that reads or drops data must have
/// the same effect, and at the end every file must have the same pages, shared and its own. Left out are
/// programs that were started, whose pages depend on what they do, and events that also bring in or drop
/// pages of directories.
#[test]
fn the_model_says_the_same() {
    let Some(report) = measured("the model of page cache sharing against a real kernel") else { return };
    let dir = place::disk_scratch().unwrap();
    // A program of another length than the real one has other pages, but nobody looks at them.
    let program = dir.path().join("program");
    fs::write(&program, noise(9, 1 << 20)).unwrap();
    build(dir.path(), &program);
    let facts = |name: &str| {
        erofs_sim::facts::read(&dir.path().join(format!("{name}.img")), &[] as &[&Path]).unwrap()
    };
    let images = ["a", "b", "s", "t"].map(|name| (name.to_owned(), facts(name))).into();
    let mut compared = 0;
    for (draft, real) in scenarios().into_iter().zip(&report.scenarios) {
        let Located { scenario, .. } = draft.finish(dir.path());
        let mut runner = Runner::new(KernelModel::default(), &images);
        for (event, real) in scenario.events.iter().zip(&real.events) {
            let what = format!("{}: {event:?}", scenario.title);
            let effect = match runner.event(event) {
                Ok(effect) => effect,
                Err(error) => {
                    assert!(real.measured.errno.is_some(), "{what}: only the model refuses it: {error}");
                    continue;
                }
            };
            assert_eq!(real.measured.errno, None, "{what}: only the kernel refuses it");
            let data = matches!(event, Event::Read { .. } | Event::Dontneed { .. });
            let started = matches!(event, Event::Read { method: Method::Exec, .. });
            let listed =
                scenario.events.iter().any(|event| matches!(event, Event::StatAll { mount } if mount == "a"));
            if data && !started && listed {
                let model = i64::try_from(effect.added).unwrap() - i64::try_from(effect.dropped).unwrap();
                assert_eq!(model, real.data_pages, "{what}");
                compared += 1;
            }
        }
        for mount in &real.mounts {
            runner.look_at_all(&mount.mount).unwrap();
        }
        for file in real.files.iter().filter(|file| file.path != "/program") {
            let what = format!("{}: {}:{}", scenario.title, file.mount, file.path);
            let index = runner.file(&file.mount, &file.path).unwrap();
            let model = runner.world().visible(&file.mount, index).unwrap();
            assert_eq!(model, (file.mincore_pages, file.cachestat_pages), "{what}");
            compared += 1;
        }
    }
    assert!(compared > 300, "only {compared} figures were compared");
}

/// Every scenario of `testdata/scenarios` in the model and on Linux: no figure may differ.
/// `docs/conformance.md` is the table of it, made by `tools/lab.sh conformance`.
#[test]
fn the_model_says_what_linux_does_in_every_scenario() {
    let check = "the scenarios of testdata/scenarios on a real kernel";
    let Some(peers) = need(check, peers::find()) else { return };
    let Some(lab) = common_lab::lab(check) else { return };
    let programs = Programs { mkfs: MKFS.into(), peer: peers.mkfs.clone(), program: lab.static_program() };
    let images = recipe::scratch().unwrap();
    let dir = place::workspace().join("testdata/scenarios");
    let suite = Suite::load(&dir, images.path(), &programs).unwrap();
    // Slow machines take several times as long as the two minutes that it takes otherwise.
    let limits = Limits { time: Duration::from_secs(900), ..Limits::default() };
    let (_, rows) = suite.compare(&lab, limits).unwrap();
    let differences = rows.iter().flat_map(|row| row.differences.iter().map(move |what| (&row.row, what)));
    let differences: Vec<String> = differences.map(|(row, what)| format!("{row}: {what}")).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(rows.len() > 90, "only {} scenarios", rows.len());
    let figures: usize = rows.iter().map(|row| row.figures).sum();
    assert!(figures > 100_000, "only {figures} figures were compared");
    // The table has a line for each of them.
    let table = fs::read_to_string(place::workspace().join("docs/conformance.md")).unwrap();
    for (name, row) in suite.rows.iter().map(|(name, row)| (name, &row.scenario.title)) {
        assert!(table.contains(row) && table.contains(name), "docs/conformance.md does not have {name}");
    }
}

/// Block sizes up to that of a page.
const BLOCK_SIZES: [usize; 4] = [512, 1024, 2048, 4096];

/// Files of data and holes in units of each block size, and of every length near a border, with what is in
/// them.
fn patterns(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for unit in BLOCK_SIZES {
        // Four pages, of which each bit of a number says whether a unit is data.
        let units = (4 << 12) / unit;
        for number in 0..40_u64 {
            let bits = noise(number * 8 + unit as u64, units);
            let pieces: Vec<(u64, Vec<u8>)> = (0..units)
                .filter(|at| bits[*at].is_multiple_of(2))
                .map(|at| ((at * unit) as u64, noise(number << 20 | (at * unit) as u64, unit)))
                .collect();
            // The last unit is a part of one in every third file.
            let len = (units * unit) as u64 - if number % 3 == 0 { unit as u64 / 3 } else { 0 };
            let name = format!("{unit}-{number}");
            let pieces: Vec<_> = pieces
                .into_iter()
                .map(|(at, bytes)| {
                    (at, bytes[..bytes.len().min(usize::try_from(len - at).unwrap())].to_vec())
                })
                .collect();
            sparse(&dir.join(&name), len, &pieces).unwrap();
            files.push(name);
        }
        for size in [1, unit - 1, unit, unit + 1, 3 * unit + 7, 4095, 4097, 4096 + unit, 20_000 + unit] {
            let name = format!("{unit}-of-{size}");
            fs::write(dir.join(&name), noise((unit * size) as u64, size)).unwrap();
            files.push(name);
        }
    }
    files.sort();
    files.dedup();
    files.into_iter().map(|name| (format!("/{name}"), fs::read(dir.join(&name)).unwrap())).collect()
}

/// The checksum of a file whose pages are all in memory.
fn content_of(bytes: &[u8]) -> u64 {
    let mut content = Content::default();
    for (number, page) in bytes.chunks(4096).enumerate() {
        let mut whole = page.to_vec();
        whole.resize(4096, 0);
        content.page(number as u64, &whole);
    }
    content.finish()
}

/// Linux 7.2.13 and 7.3.4 read a shared file wrong, or crash, when a page of it has its bytes in several
/// places: no image of the builder, and no companion, may lead there. Read through mounts that share, every
/// file is what it was.
#[test]
fn shared_files_of_small_blocks_are_read_as_they_are() {
    let check = "files of blocks below 4096 bytes, through shared pages";
    let Some(lab) = common_lab::lab(check) else { return };
    let (dir, source) = (place::disk_scratch().unwrap(), place::scratch().unwrap());
    let files = patterns(source.path());
    let mut drafts = Vec::new();
    for size in BLOCK_SIZES {
        let make = |name: &str, options: &[&str]| {
            let block = format!("-b{size}");
            let options = [options, &[block.as_str()]].concat();
            peers::build(MKFS, &options, &dir.path().join(name), source.path()).unwrap();
        };
        make(&format!("plain-{size}.img"), &[KEY_OPTION]);
        make(&format!("chunks-{size}.img"), &[KEY_OPTION, "--chunksize=4096"]);
        make(&format!("original-{size}.img"), &[]);
        let [original, companion] =
            ["original", "companion"].map(|name| dir.path().join(format!("{name}-{size}.img")));
        let mut index = Command::new(env!("CARGO_BIN_EXE_erofs-ishare"));
        let done = index.arg("index").arg(&original).arg("-o").arg(&companion).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for (name, rest) in [
            ("plain", ""),
            ("plain", "backend = 'file', "),
            ("chunks", ""),
            ("companion", "devices = ['original'], "),
        ] {
            for method in ["read", "mmap"] {
                let title = format!("{name}, blocks of {size} bytes, {rest}{method}");
                let text = format!(
                    "title = \"{title}\"\nevent = [\n\
                     {{ do = 'mount', mount = 'm', image = 'image', domain = '{method}', {rest} }},\n\
                     {{ do = 'read-all', mount = 'm', method = '{method}' }},\n]\n\
                     [images]\nimage = '{name}-{size}.img'\noriginal = 'original-{size}.img'\n"
                );
                drafts.push(Located::parse(&text, &dir.path().join("scenario.toml")).unwrap());
            }
        }
    }
    let report = lab.run(&drafts, Limits { time: Duration::from_secs(900), ..Limits::default() }).unwrap();
    for scenario in &report.scenarios {
        let found: Vec<_> = scenario.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(found.len(), files.len(), "{}", scenario.title);
        for (path, bytes) in &files {
            let file = scenario.file("m", path).unwrap();
            assert!(file.shared, "{}: {path}", scenario.title);
            assert_eq!(file.content, Some(content_of(bytes)), "{}: {path}", scenario.title);
        }
    }
}

/// Random scenarios in the model and on Linux: no figure may differ. `tools/lab.sh random` runs as many as
/// one likes; a seed that differs is a scenario, and its place is in `testdata/scenarios`.
#[test]
fn the_model_says_what_linux_does_in_random_scenarios() {
    let Some(lab) = common_lab::lab("random scenarios on a real kernel") else { return };
    let programs = Programs { mkfs: MKFS.into(), peer: "".into(), program: lab.static_program() };
    let images = recipe::scratch().unwrap();
    let dir = place::workspace().join("testdata/scenarios");
    let suite = Suite::random(&dir, images.path(), &programs, RANDOM_SEEDS, RANDOM_EVENTS).unwrap();
    let limits = Limits { time: Duration::from_secs(900), ..Limits::default() };
    let (_, rows) = suite.compare(&lab, limits).unwrap();
    let differences = rows.iter().flat_map(|row| row.differences.iter().map(move |what| (&row.row, what)));
    let differences: Vec<String> = differences.map(|(row, what)| format!("{row}: {what}")).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    let figures: usize = rows.iter().map(|row| row.figures).sum();
    assert!(figures > 10_000, "only {figures} figures were compared");
}
