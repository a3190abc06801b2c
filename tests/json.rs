//! docs/json.md beside the objects that the programs print: every field that is printed is in the tables of
//! the document, and every field of the tables is printed, with the types of the tables.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use erofs_format::superblock::{self, Superblock};
use erofs_testkit::require::{need, program};
use erofs_testkit::{Backing, Mount, content, mount, place, require};
use serde_json::Value;

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
const DOCUMENT: &str = include_str!("../docs/json.md");
/// What needs another machine than that of the test.
const ELSEWHERE: char = '†';

/// A row of a table.
#[derive(Debug)]
struct Row {
    types: BTreeSet<&'static str>,
    signed: bool,
    always: bool,
    elsewhere: bool,
}

type Rows = BTreeMap<String, Row>;

impl Row {
    /// The path and the row of a line such as `` | `a.b` | string or null | its name | always | ``.
    fn parse(line: &str) -> Option<(String, Self)> {
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ").collect();
        let [path, types, meaning, present] = cells[..] else { panic!("want 4 columns: {line}") };
        let types = types.split(" or ").map(|name| {
            let known = ["string", "integer", "number", "boolean", "array", "object", "null"];
            known.into_iter().find(|known| *known == name).unwrap_or_else(|| panic!("{name}: {line}"))
        });
        let row = Self {
            types: types.collect(),
            signed: meaning.ends_with("signed"),
            always: present.trim_end_matches(ELSEWHERE).trim() == "always",
            elsewhere: present.ends_with(ELSEWHERE),
        };
        Some((path.trim_end_matches('`').to_owned(), row))
    }
}

/// The tables of the section with this heading, in their order.
fn tables(heading: &str) -> Vec<Rows> {
    let start = format!("\n## {heading}\n");
    let (_, section) = DOCUMENT.split_once(&start).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let mut tables: Vec<Rows> = Vec::new();
    for line in section.lines() {
        if line.starts_with("| field |") {
            tables.push(Rows::new());
        }
        if let Some((path, row)) = Row::parse(line) {
            let twice = tables.last_mut().unwrap().insert(path.clone(), row);
            assert!(twice.is_none(), "{heading}: {path} has two rows");
        }
    }
    tables
}

/// A table, and what was met of it so far.
struct Table {
    heading: &'static str,
    rows: Rows,
    seen: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Table {
    fn new(heading: &'static str, index: usize) -> Self {
        let rows = tables(heading).into_iter().nth(index).unwrap();
        Self { heading, rows, seen: BTreeMap::new() }
    }

    /// Compares an object with the table.
    #[track_caller]
    fn compare(&mut self, value: &Value) {
        assert!(value.is_object(), "{}: {value}", self.heading);
        self.value("", value);
    }

    fn value(&mut self, path: &str, value: &Value) {
        let heading = self.heading;
        if !path.is_empty() {
            let Some(row) = self.rows.get(path) else { panic!("{heading}: {path} is not in docs/json.md") };
            let kind = kind(value);
            assert!(row.types.contains(kind), "{heading}: {path}: found {kind}, want {:?}", row.types);
            let negative = value.as_i64().is_some_and(|number| number < 0);
            assert!(!negative || row.signed, "{heading}: {path}: found {value}, want 0 or more");
            self.seen.entry(path.to_owned()).or_default().insert(kind);
        }
        match value {
            Value::Object(fields) => {
                let free = format!("{path}.*");
                let of = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                if self.rows.contains_key(&free) {
                    fields.values().for_each(|value| self.value(&free, value));
                    return;
                }
                let quoted =
                    |key: &String| if key.contains('.') { format!("\"{key}\"") } else { key.clone() };
                let keys: BTreeSet<String> = fields.keys().map(|key| of(&quoted(key))).collect();
                for (wanted, row) in
                    self.rows.iter().filter(|(path, row)| row.always && !path.ends_with("[]"))
                {
                    let absent = parent(wanted) == path && !keys.contains(wanted);
                    assert!(!absent, "{heading}: {wanted} is absent, want it always: {row:?}");
                }
                fields.iter().for_each(|(key, value)| self.value(&of(&quoted(key)), value));
            }
            Value::Array(elements) => {
                for element in elements {
                    self.value(&format!("{path}[]"), element);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Demands that every row was met with every type.
    fn end(self) {
        let mut absent = Vec::new();
        for (path, row) in self.rows.iter().filter(|(_, row)| !row.elsewhere) {
            let seen = self.seen.get(path).cloned().unwrap_or_default();
            absent.extend(row.types.difference(&seen).map(|kind| format!("{path} as {kind}")));
        }
        assert!(absent.is_empty(), "{}: never printed: {}", self.heading, absent.join(", "));
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The object that has a field; empty for the outermost.
fn parent(path: &str) -> &str {
    if path.starts_with('"') {
        return "";
    }
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// Runs a program that prints JSON, whatever it makes of its task.
#[track_caller]
fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Value {
    parse(&Command::new(program).args(arguments).output().unwrap())
}

#[track_caller]
fn parse(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A directory with a source tree in it.
struct Room {
    dir: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let room = Self { dir: place::disk_scratch().unwrap() };
        let source = room.path("source");
        fs::create_dir_all(source.join("dir")).unwrap();
        for (name, length) in [("a", 20_000), ("b", 20_000), ("dir/c", 5000), ("dir/empty", 0), ("one", 1)] {
            let seed = if name == "b" { u64::from(b'a') } else { name.bytes().map(u64::from).sum() };
            fs::write(source.join(name), content::noise(seed, length)).unwrap();
        }
        fs::write(source.join("text"), "Many words are the same words. ".repeat(3000)).unwrap();
        fs::hard_link(source.join("a"), source.join("dir/link")).unwrap();
        symlink("dir/c", source.join("symlink")).unwrap();
        room
    }

    fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join(name.as_ref())
    }

    /// Builds the image `name` of the source tree and returns the summary.
    fn build(&self, name: impl AsRef<OsStr>, options: &[&str]) -> Value {
        let mut mkfs = Command::new(MKFS);
        mkfs.arg("--json").args(options).arg(self.path(name)).arg(self.path("source"));
        parse(&mkfs.output().unwrap())
    }

    /// Runs a verb; a word that begins with `@` is a path in the room.
    fn ishare(&self, line: &str) -> Value {
        let word = |word: &str| match word.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => word.into(),
        };
        run(ISHARE, line.split(' ').map(word))
    }

    /// Writes the image `to`, which is `from` with another superblock.
    fn with_superblock(&self, from: &str, to: &str, change: impl FnOnce(&mut Superblock)) {
        let mut bytes = fs::read(self.path(from)).unwrap();
        let at = usize::try_from(superblock::OFFSET).unwrap();
        let mut record = Superblock::decode(&bytes[at..]).unwrap();
        change(&mut record);
        record.compat &= !erofs_format::feature::compat::SB_CHKSUM;
        let record = record.encode().unwrap();
        bytes[at..at + record.len()].copy_from_slice(&record);
        fs::write(self.path(to), bytes).unwrap();
    }
}

/// The verbs with `--json` are those with a section.
#[test]
fn every_program_that_prints_json_has_its_section() {
    let help = |words: &[&str]| {
        let output = Command::new(ISHARE).args(words).arg("--help").output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let verbs = |text: &str| -> Vec<String> {
        let list = text.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
        let names =
            list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(String::from));
        names.filter(|name| !name.is_empty() && name != "help").collect()
    };
    let mut with = BTreeSet::from(["mkfs-erofs".to_owned()]);
    let mut total = 0;
    for verb in verbs(&help(&[])) {
        let text = help(&[&verb]);
        let below = if text.contains("Commands:\n") { verbs(&text) } else { Vec::new() };
        let lines: Vec<Vec<&str>> = if below.is_empty() {
            vec![vec![&verb]]
        } else {
            below.iter().map(|word| vec![verb.as_str(), word.as_str()]).collect()
        };
        for words in lines {
            total += 1;
            if help(&words).lines().any(|line| line.trim_start().starts_with("--json")) {
                with.insert(format!("erofs-ishare {}", words.join(" ")));
            }
        }
    }
    let headings = DOCUMENT.lines().filter_map(|line| line.strip_prefix("## "));
    let sections: BTreeSet<String> =
        headings.filter(|heading| !heading.starts_with("Sidecar")).map(String::from).collect();
    assert_eq!(sections, with);
    assert!(total > 12, "{total}");
}

#[test]
fn mkfs_erofs() {
    let Some(()) = need("JSON of a build with trusted attributes", require::root()) else { return };
    let room = Room::new();
    let mut table = Table::new("mkfs-erofs", 0);
    table.compare(&room.build("plain", &[]));
    let tree = format!("--verity={}", room.path("tree").display());
    let all = ["-zlz4", "-Efragments", "-C65536", "--ishare-key", "-m4096:zstd", "--mount-point=/"];
    table.compare(&room.build("full", &[&all[..], &["--verity"]].concat()));
    table.compare(&room.build("beside", &["-zlz4", &tree]));
    table.end();
    room.build("sidecars", &["--verity", "--verity-sidecar=containerd,oci"]);
    for (index, name) in ["sidecars.dmverity", "sidecars.annotations.json"].into_iter().enumerate() {
        let mut table = Table::new("Sidecar files of mkfs-erofs", index);
        table.compare(&serde_json::from_slice(&fs::read(room.path(name)).unwrap()).unwrap());
        table.end();
    }
}

#[test]
fn inspect() {
    let Some(()) = need("JSON of inspect", require::root()) else { return };
    let room = Room::new();
    let mut table = Table::new("erofs-ishare inspect", 0);
    room.build("plain", &[]);
    room.build("shared", &["-zlz4", "--ishare-key"]);
    room.build("original", &[]);
    room.ishare("index --json -o @companion @original");
    // A table of prefixes has, of each, two bytes of length and one for the namespace.
    let mut bytes = fs::read(room.path("shared")).unwrap();
    let at = usize::try_from(superblock::OFFSET).unwrap();
    let start = Superblock::decode(&bytes[at..]).unwrap().xattr_prefix_start;
    bytes[start as usize * 4 + 2] = 0x70;
    fs::write(room.path("no-namespace"), bytes).unwrap();
    room.with_superblock("no-namespace", "no-namespace", |_| ());
    for line in ["@plain", "@shared", "--device @original @companion", "@no-namespace"] {
        table.compare(&room.ishare(&format!("inspect --json {line}")));
    }
    for name in ["chunk-past-end", "dirent-past-block"] {
        let image = place::workspace().join("testdata/hostile").join(format!("{name}.img"));
        table.compare(&run(ISHARE, [OsStr::new("inspect"), OsStr::new("--json"), image.as_os_str()]));
    }
    table.end();
}

#[test]
fn ls() {
    let Some(()) = need("JSON of ls", require::root()) else { return };
    let room = Room::new();
    let odd = |text: &[u8]| OsString::from_vec(text.to_vec());
    let source = room.path("source");
    fs::create_dir(source.join(odd(b"odd\xff"))).unwrap();
    symlink(odd(b"to\xff"), source.join("odd-link")).unwrap();
    for name in ["a", "b"] {
        for attribute in [OsString::from("user.plain"), odd(b"user.odd\xff")] {
            xattr::set(source.join(name), attribute, b"value").unwrap();
        }
    }
    let device = Command::new("mknod").arg(source.join("null")).args(["c", "1", "3"]).status().unwrap();
    assert!(device.success());
    let image = odd(b"image\xff");
    room.build(&image, &["--ishare-key", "-x1"]);
    let mut table = Table::new("erofs-ishare ls", 0);
    let image = room.path(&image);
    for (options, path) in [(&["-R", "--xattrs"][..], odd(b"/")), (&[], odd(b"/")), (&[], odd(b"/odd\xff"))] {
        let words = ["ls", "--json"].iter().chain(options).map(OsString::from);
        table.compare(&run(ISHARE, words.chain([image.clone().into_os_string(), path])));
    }
    table.end();
}

#[test]
fn extract_and_index() {
    let Some(()) = need("JSON of extract and index", require::root()) else { return };
    let room = Room::new();
    room.build("image", &[]);
    let mut table = Table::new("erofs-ishare extract", 0);
    table.compare(&room.ishare("extract --json -o @out @image"));
    table.end();
    let whiteout = room.path("source/deleted");
    let device = Command::new("mknod").arg(whiteout).args(["c", "0", "0"]).status().unwrap();
    assert!(device.success());
    room.build("layer", &[]);
    let mut table = Table::new("erofs-ishare index", 0);
    for line in ["-o @companion @image", "--plain-metadata -o @plain @image", "--overlay -o @overlay @layer"]
    {
        table.compare(&room.ishare(&format!("index --json {line}")));
    }
    table.end();
}

#[test]
fn verify() {
    let check = "JSON of verify with a signature";
    let Some(()) = need(check, require::root()) else { return };
    let Some(openssl) = need(check, program("openssl")) else { return };
    let room = Room::new();
    let mut table = Table::new("erofs-ishare verify", 0);
    for entry in fs::read_dir(place::workspace().join("testdata/hostile/verify")).unwrap() {
        let image = entry.unwrap().path();
        table.compare(&run(ISHARE, [OsStr::new("verify"), OsStr::new("--json"), image.as_os_str()]));
    }
    // Linux may take other bytes for attributes that stand outside of the metabox.
    for name in ["a", "b", "dir/c"] {
        xattr::set(room.path("source").join(name), "user.name", &[7; 100]).unwrap();
    }
    room.build("metabox", &["-m4096:zstd", "-x1"]);
    let bit = erofs_format::feature::compat::SHARED_EA_IN_METABOX;
    room.with_superblock("metabox", "outside", |record| record.compat &= !bit);
    table.compare(&room.ishare("verify --json @outside"));
    // A block of the contents differs, and the fingerprint does not say so.
    room.build("image", &["--ishare-key"]);
    let mut bytes = fs::read(room.path("image")).unwrap();
    let block = &content::noise(u64::from(b'a'), 20_000)[4096..8192];
    let at = bytes.chunks(4096).position(|found| found == block).unwrap() * 4096;
    bytes[at] ^= 1;
    fs::write(room.path("forged"), bytes).unwrap();
    let roothash = format!("--verity-roothash={}", room.path("golden.roothash").display());
    room.build("golden", &["--ishare-key", "--verity", &roothash]);
    let key =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "cert", "-subj", "/CN=x"];
    let made = Command::new(openssl).current_dir(room.dir.path()).args(key).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut signer = Command::new(ISHARE);
    signer.current_dir(room.dir.path()).arg("sign").arg("--roothash=golden.roothash");
    assert!(
        signer
            .args(["--key=key", "--certificate=cert", "--output=golden.roothash.p7s"])
            .status()
            .unwrap()
            .success()
    );
    for line in
        ["--domain @image @forged", "@missing", "--verity --certificate @cert @golden", "--verity @golden"]
    {
        table.compare(&room.ishare(&format!("verify --json {line}")));
    }
    table.end();
}

#[test]
fn simulate() {
    let Some(()) = need("JSON of simulate", require::root()) else { return };
    let room = Room::new();
    for (name, options) in [("a.img", &["--ishare-key"][..]), ("b.img", &["--ishare-key"]), ("c.img", &[])] {
        room.build(name, options);
    }
    fs::write(room.path("trace"), format!("{} /a 0 4096 read\n", room.path("a.img").display())).unwrap();
    let scenario = r#"
title = "two mounts"
event = [
  { do = "mount", mount = "m1", image = "a", domain = "d" },
  { do = "mount", mount = "m2", image = "b", domain = "d", backend = "file" },
  { do = "read-all", mount = "m1" },
  { do = "read", mount = "m2", path = "/a" },
  { do = "remount", mount = "m1", inode_share = false },
  { do = "umount", mount = "m1" },
  { do = "umount", mount = "m1" },
]

[images]
a = "a.img"
b = "b.img"
"#;
    fs::write(room.path("scenario.toml"), scenario).unwrap();
    let mut table = Table::new("erofs-ishare simulate", 0);
    for line in [
        "@a.img @b.img",
        "--verify --allow-unshared @a.img @b.img @c.img",
        "--domain=x=@a.img --domain=y=@b.img",
        "--access=trace:@trace @a.img",
        "--scenario @scenario.toml",
    ] {
        let line = line.replace("=@", &format!("={}/", room.dir.path().display()));
        let line = line.replace(":@", &format!(":{}/", room.dir.path().display()));
        table.compare(&room.ishare(&format!("simulate --json {line}")));
    }
    table.end();
}

#[test]
fn measure() {
    let Some(_) = need("JSON of measure on real mounts", mount::both()) else { return };
    let room = Room::new();
    room.build("image", &["--ishare-key"]);
    let report = |points: &[&Path]| {
        let words = ["measure", "--json"].map(OsStr::new).into_iter();
        run(ISHARE, words.chain(points.iter().map(|point| point.as_os_str())))
    };
    let mut table = Table::new("erofs-ishare measure", 0);
    let by_loop = Mount::new(&room.path("image"), Backing::Loop).unwrap();
    let by_file = Mount::new(&room.path("image"), Backing::File).unwrap();
    let again = Mount::bind(by_loop.path()).unwrap();
    fs::read(by_loop.path().join("a")).unwrap();
    table.compare(&report(&[by_loop.path(), again.path(), by_file.path()]));
    drop((by_loop, again));
    // Nothing names the image of the mount any more.
    fs::remove_file(room.path("image")).unwrap();
    table.compare(&report(&[by_file.path()]));
    table.end();
}

#[test]
fn doctor() {
    let room = Room::new();
    let machine = |name: &str, files: &[(&str, &str)]| {
        for (path, text) in files {
            let path = room.path(name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    };
    let config = "CONFIG_EROFS_FS=y\nCONFIG_EROFS_FS_XATTR=y\nCONFIG_EROFS_FS_PAGE_CACHE_SHARE=y\n";
    let mounts = "40 27 7:0 / /a ro - erofs /dev/loop0 ro\n";
    machine(
        "sharing",
        &[
            ("proc/sys/kernel/osrelease", "7.2.13\n"),
            ("proc/self/mountinfo", mounts),
            ("proc/filesystems", "\terofs\n"),
            ("boot/config-7.2.13", config),
        ],
    );
    machine("bare", &[("proc/self/mountinfo", mounts)]);
    let mut table = Table::new("erofs-ishare doctor", 0);
    for line in ["--root @sharing", "--root @bare", "--root /"] {
        table.compare(&room.ishare(&format!("doctor --json {line}")));
    }
    table.end();
}

#[test]
fn domain_check() {
    let room = Room::new();
    let mut table = Table::new("erofs-ishare domain check", 0);
    let file = room.path("id");
    fs::write(&file, "secret\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    table.compare(&room.ishare("domain check --json @id"));
    table.end();
}
