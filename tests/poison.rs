//! One image that lies, in the domain of another: what its victim reads on a real kernel, and that
//! `erofs-ishare verify
//! --domain` refuses the same two files before anybody mounts them. The attacks are those of
//! `docs/threat-model.md`.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

#[path = "common/lab.rs"]
mod common_lab;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use erofs_algo::fingerprint;
use erofs_lab::protocol::Content;
use erofs_lab::{Limits, Located, ScenarioReport};
use erofs_testkit::content::noise;
use erofs_testkit::require::{self, need};
use erofs_testkit::{peers, place};
use serde_json::Value;

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

/// The attribute that has the fingerprint.
const NAME: &str = "trusted.erofs.fingerprint";
/// Length of the file that everything is about.
const LENGTH: usize = 1 << 20;
/// Seeds of what the victim and the attacker have in it.
const OWN: u64 = 1;
const EVIL: u64 = 2;
const PAGE: usize = 4096;
/// `EIO`.
const BROKEN: i32 = 5;

/// What the victim finds in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// What its own image holds.
    Own,
    /// What the attacker's image holds.
    Evil,
    /// The pages that it read before the attacker came are its own, the others are the attacker's.
    Mixture,
    /// Its own bytes, from pages that it shares with nobody.
    OwnUnshared,
    /// An error, though its own image and device are whole.
    Error,
}

struct Case {
    name: &'static str,
    /// The files of `v` and `a`, without `.img`.
    images: (&'static str, &'static str),
    /// What happens to the file: a word and mounts, see [`event`].
    events: &'static [&'static str],
    reads: Reads,
    /// What `verify --domain` has to say of both, among other things. Nothing for images that are right.
    codes: &'static [&'static str],
}

const FORGED: &[&str] = &["fingerprint-wrong", "domain-conflict"];
const PAIR: (&str, &str) = ("honest", "forged");

const CASES: [Case; 21] = [
    Case {
        name: "an honest neighbour",
        images: ("honest", "neighbour"),
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Own,
        codes: &[],
    },
    Case {
        name: "who reads first fills the pages of all",
        images: PAIR,
        events: &["mount v", "mount a", "stat v", "stat a", "read a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "who is looked up last supplies",
        images: PAIR,
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "the victim is looked up last",
        images: PAIR,
        events: &["mount v", "mount a", "stat a", "stat v", "read v"],
        reads: Reads::Own,
        codes: FORGED,
    },
    Case {
        name: "a mixture of two sources",
        images: PAIR,
        events: &["mount v", "mount a", "stat v", "read v 102400", "stat a", "read v"],
        reads: Reads::Mixture,
        codes: FORGED,
    },
    Case {
        name: "good pages are driven out of an open file",
        images: PAIR,
        events: &[
            "mount v",
            "mount a",
            "stat v",
            "open v",
            "read v",
            "stat a",
            "dontneed a",
            "read v",
            "close v",
        ],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "it outlives the attacker's mount",
        images: PAIR,
        events: &["mount v", "mount a", "stat v", "stat a", "read a", "umount a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "it ends when the pages are dropped",
        images: PAIR,
        events: &["mount v", "mount a", "stat v", "stat a", "read a", "umount a", "drop", "drop", "read v"],
        reads: Reads::Own,
        codes: FORGED,
    },
    Case {
        name: "dm-verity under the victim alone",
        images: PAIR,
        events: &["mount v verity", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "dm-verity under both does not judge fingerprints",
        images: PAIR,
        events: &["mount v verity", "mount a verity", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "another domain keeps it out",
        images: PAIR,
        events: &["mount v verity", "mount a block other", "stat v", "stat a", "read v"],
        reads: Reads::Own,
        codes: FORGED,
    },
    Case {
        name: "image files without block devices",
        images: PAIR,
        events: &["mount v file", "mount a file", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "through an overlay",
        images: PAIR,
        events: &["mount v", "mount a", "overlay o v", "stat o", "stat a", "read o"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "compressed files",
        images: ("honest-lz4", "forged-lz4"),
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "another layout",
        images: ("honest", "forged-chunks"),
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "another name of the attribute",
        images: ("honest", "forged-name"),
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: FORGED,
    },
    Case {
        name: "values of no kind that can be made again",
        images: ("opaque", "opaque-evil"),
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: &["domain-conflict"],
    },
    Case {
        name: "a shorter file is looked up first",
        images: ("honest", "forged-short"),
        events: &["mount v", "mount a", "stat a", "stat v", "read v"],
        reads: Reads::OwnUnshared,
        codes: FORGED,
    },
    Case {
        name: "a device that ends too early",
        images: ("honest", "cut"),
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Error,
        codes: &["truncated", "bounds"],
    },
    Case {
        name: "a tarball brings the fingerprint along",
        images: ("honest", "smuggled-tar"),
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: &["fingerprint-duplicate", "fingerprint-wrong", "domain-conflict"],
    },
    Case {
        name: "a directory brings the fingerprint along",
        images: ("honest", "smuggled-tree"),
        events: &["mount v", "mount a", "stat v", "stat a", "read v"],
        reads: Reads::Evil,
        codes: &["fingerprint-duplicate", "fingerprint-wrong", "domain-conflict"],
    },
];

/// An event of a scenario: `mount` has a backend and a domain behind the mount, `overlay` the mount below,
/// `read` may have a length. The file is always `/f`.
fn event(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let word = |at: usize| words.get(at).copied();
    let (verb, mount) = (words[0], word(1).unwrap_or_default());
    match verb {
        "mount" => {
            let (backend, domain) = (word(2).unwrap_or("block"), word(3).unwrap_or("prod"));
            format!(
                "do = 'mount', mount = '{mount}', image = '{mount}', backend = '{backend}', domain = '{domain}'"
            )
        }
        "overlay" => format!("do = 'overlay', mount = '{mount}', lower = '{}'", word(2).unwrap()),
        "umount" => format!("do = 'umount', mount = '{mount}'"),
        "drop" => "do = 'drop-caches', value = 3".to_owned(),
        _ => {
            let length = word(2).map(|length| format!(", length = {length}")).unwrap_or_default();
            format!("do = '{verb}', mount = '{mount}', path = '/f'{length}")
        }
    }
}

impl Case {
    fn scenario(&self, dir: &Path) -> Located {
        let (victim, attacker) = self.images;
        let mut events = String::new();
        for text in self.events {
            writeln!(events, "  {{ {} }},", event(text)).unwrap();
        }
        let text = format!(
            "title = \"{}\"\nevent = [\n{events}]\n[images]\nv = '{victim}.img'\na = '{attacker}.img'\n",
            self.name
        );
        Located::parse(&text, &dir.join("scenario.toml")).unwrap()
    }

    /// The mount that the victim reads through.
    fn mount(&self) -> &'static str {
        if self.events.contains(&"read o") { "o" } else { "v" }
    }
}

fn value(bytes: &[u8]) -> Vec<u8> {
    fingerprint::of(fingerprint::TABLE[0], uuid::Uuid::nil(), bytes).value
}

/// Text that compressors shorten, of a seed.
fn text(seed: u64) -> Vec<u8> {
    let lines = (0..).flat_map(|line: u64| format!("line {line} of text {seed}\n").into_bytes());
    lines.take(LENGTH).collect()
}

/// A record of a tar archive in the form of POSIX: the header of an entry, and its data in whole blocks.
fn tar_record(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", data.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(257, "ustar\0");
    put(263, "00");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(data);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// A tar archive with the file `f`, which says that it has an attribute.
fn tar(attribute: &str, value: &[u8], content: &[u8]) -> Vec<u8> {
    let rest = [b" SCHILY.xattr.", attribute.as_bytes(), b"=", value, b"\n"].concat();
    // The length of a record has its own digits in it.
    let length = (1..9999).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
    let record = [length.to_string().as_bytes(), &rest].concat();
    [tar_record("pax", b'x', &record), tar_record("f", b'0', content), vec![0; 1024]].concat()
}

/// Makes a tree with the file and an attribute; its folder.
fn tree(dir: &Path, name: &str, content: &[u8], attribute: Option<(&str, &[u8])>) -> std::path::PathBuf {
    let folder = dir.join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("f"), content).unwrap();
    if let Some((attribute, value)) = attribute {
        xattr::set(folder.join("f"), attribute, value).unwrap();
    }
    folder
}

/// The images that our builder makes. A builder who means harm has whatever fingerprints it wants.
fn build(dir: &Path) {
    let trees = place::scratch().unwrap();
    let make = |name: &str, options: &[&str], content: &[u8], attribute: Option<(&str, &[u8])>| {
        let folder = tree(trees.path(), name, content, attribute);
        let key = attribute.map_or(NAME, |attribute| attribute.0);
        let key = format!("--ishare-key={key}");
        let taken = if attribute.is_some() { "--ishare-digest=source" } else { "--ishare-digest=sha256" };
        let options = [&["--quiet", "-T0", "--all-root", &key, taken], options].concat();
        peers::build(MKFS, &options, &dir.join(format!("{name}.img")), &folder).unwrap();
    };
    let (own, evil) = (noise(OWN, LENGTH), noise(EVIL, LENGTH));
    let claimed = value(&own);
    make("honest", &[], &own, None);
    make("neighbour", &["--chunksize=4096", "-T7"], &own, None);
    make("forged", &[], &evil, Some((NAME, &claimed)));
    make("forged-chunks", &["--chunksize=4096"], &evil, Some((NAME, &claimed)));
    make("forged-name", &[], &evil, Some(("user.other.name", &claimed)));
    make("forged-short", &[], &evil[..LENGTH / 2], Some((NAME, &claimed)));
    make("honest-lz4", &["-zlz4"], &text(OWN), None);
    make("forged-lz4", &["-zlz4"], &text(EVIL), Some((NAME, &value(&text(OWN)))));
    make("opaque", &[], &own, Some((NAME, b"release-7")));
    make("opaque-evil", &[], &evil, Some((NAME, b"release-7")));
    let whole = fs::read(dir.join("honest.img")).unwrap();
    fs::write(dir.join("cut.img"), cut(whole, &own)).unwrap();
}

/// An image that says of its file that it lies behind everything else, and ends 16 pages later.
fn cut(mut image: Vec<u8>, content: &[u8]) -> Vec<u8> {
    const COMPAT: usize = 1024 + 8;
    const BLOCKS: usize = 1024 + 36;
    let block = |bytes: usize| u32::try_from(bytes / PAGE).unwrap().to_le_bytes();
    let pages = content.len().div_ceil(PAGE);
    let at = image.chunks(PAGE).position(|page| page == &content[..PAGE]).unwrap() * PAGE;
    let end = image.len();
    // The address of the data is in bytes 16 to 19 of an inode, whose place is a multiple of 32.
    let inodes = (at + pages * PAGE..end).step_by(32);
    let found: Vec<usize> =
        inodes.map(|inode| inode + 16).filter(|&field| image[field..field + 4] == block(at)).collect();
    assert_eq!(found.len(), 1, "inodes with this address");
    image[found[0]..found[0] + 4].copy_from_slice(&block(end));
    image[BLOCKS..BLOCKS + 4].copy_from_slice(&block(end + pages * PAGE));
    // Without a checksum of the superblock.
    image[COMPAT] &= !1;
    image.extend_from_slice(&content[..16 * PAGE]);
    image
}

/// What `mkfs.erofs` makes of a source that brings the victim's fingerprint along. It sorts both values, and
/// Linux takes the first, so the attacker chooses contents whose own one is the later.
fn smuggle(dir: &Path, peers: &peers::Peers) {
    let trees = place::scratch().unwrap();
    let claimed = value(&noise(OWN, LENGTH));
    let evil = smuggled();
    let archive = trees.path().join("evil.tar");
    fs::write(&archive, tar(NAME, &claimed, &evil)).unwrap();
    let digest = format!("--xattr-inode-digest={NAME}");
    peers.build(&["-T0", "--tar=f", &digest], &dir.join("smuggled-tar.img"), &archive).unwrap();
    let folder = tree(trees.path(), "evil", &evil, Some(("user.fp", &claimed)));
    let digest = "--xattr-inode-digest=user.fp";
    peers.build(&["-T0", digest], &dir.join("smuggled-tree.img"), &folder).unwrap();
}

/// What the smuggled images hold.
fn smuggled() -> Vec<u8> {
    let claimed = value(&noise(OWN, LENGTH));
    (100..200).map(|seed| noise(seed, LENGTH)).find(|content| value(content) > claimed).unwrap()
}

/// What the file holds in the image of the victim or the attacker.
fn content(image: &str) -> Vec<u8> {
    match image {
        "honest-lz4" => text(OWN),
        "forged-lz4" => text(EVIL),
        "smuggled-tar" | "smuggled-tree" => smuggled(),
        name if name.starts_with("forged") || name.ends_with("evil") => noise(EVIL, LENGTH),
        _ => noise(OWN, LENGTH),
    }
}

/// The checksum of pages from the first on, as the lab has it.
fn checksum(bytes: &[u8]) -> u64 {
    let mut content = Content::default();
    for (number, page) in (0..).zip(bytes.chunks(PAGE)) {
        content.page(number, page);
    }
    content.finish()
}

/// The codes of what is wrong with the images one by one, and of what is between them.
fn codes(output: &Output) -> [Vec<String>; 3] {
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    [&json["images"][0]["findings"], &json["images"][1]["findings"], &json["domain"]].map(|findings| {
        let code = |finding: &Value| finding["code"].as_str().unwrap().to_owned();
        findings.as_array().unwrap().iter().map(code).collect()
    })
}

/// Both images are refused together, and the victim's is right by itself.
fn assert_refused(case: &Case, dir: &Path) {
    let (victim, attacker) = case.images;
    let path = |name: &str| dir.join(format!("{name}.img"));
    let words = ["verify", "--domain", "--json"].map(AsRef::<Path>::as_ref);
    let output = Command::new(ISHARE).args(words).args([path(victim), path(attacker)]).output().unwrap();
    let [own, evil, domain] = codes(&output);
    let name = case.name;
    assert!(own.is_empty(), "{name}: {own:?}");
    let want = if case.codes.is_empty() { 0 } else { 4 };
    assert_eq!(output.status.code(), Some(want), "{name}: {evil:?} {domain:?}");
    for code in case.codes {
        assert!(evil.iter().chain(&domain).any(|found| found == code), "{name}: {code}: {evil:?} {domain:?}");
    }
    if case.codes.is_empty() {
        assert!(evil.is_empty() && domain.is_empty(), "{name}: {evil:?} {domain:?}");
    }
}

/// What the victim found on the real kernel.
fn assert_seen(case: &Case, report: &ScenarioReport) {
    let name = case.name;
    let errors: Vec<_> = report.events.iter().filter_map(|event| event.measured.errno).collect();
    let file = report.file(case.mount(), "/f").unwrap_or_else(|| panic!("{name}: no file\n{report}"));
    if case.reads == Reads::Error {
        assert_eq!(errors, [BROKEN], "{name}\n{report}");
        return;
    }
    assert!(errors.is_empty(), "{name}\n{report}");
    let (own, evil) = (content(case.images.0), content(case.images.1));
    let found = file.content.unwrap();
    assert_eq!(file.mincore_pages, (LENGTH / PAGE) as u64, "{name}\n{report}");
    assert_eq!(file.shared, case.reads != Reads::OwnUnshared, "{name}\n{report}");
    let want = match case.reads {
        Reads::Own | Reads::OwnUnshared => own,
        Reads::Evil => evil,
        // 100 KiB in calls of 64 KiB, with what is read ahead.
        Reads::Mixture => [&own[..64 * PAGE], &evil[64 * PAGE..]].concat(),
        Reads::Error => Vec::new(),
    };
    assert_eq!(found, checksum(&want), "{name}: {:?}\n{report}", case.reads);
}

/// The threat model names the case for each attack.
#[test]
fn every_attack_is_in_the_threat_model() {
    let text = fs::read_to_string(place::workspace().join("docs/threat-model.md")).unwrap();
    for case in CASES.iter().filter(|case| !case.codes.is_empty()) {
        assert!(text.contains(&format!("\"{}\"", case.name)), "{}", case.name);
    }
}

#[test]
fn attacks_work_and_are_refused_beforehand() {
    let check = "poisoned domains";
    let Some(()) = need(check, require::root()) else { return };
    let dir = place::disk_scratch().unwrap();
    build(dir.path());
    let smugglers = need("poisoned domains by mkfs.erofs", peers::find());
    if let Some(peers) = smugglers {
        smuggle(dir.path(), peers);
    }
    let cases = CASES.iter().filter(|case| smugglers.is_some() || !case.images.1.starts_with("smuggled"));
    let cases: Vec<&Case> = cases.collect();
    for case in &cases {
        assert_refused(case, dir.path());
    }
    let check = "poisoned domains on a real kernel";
    let Some(lab) = common_lab::lab(check) else { return };
    let scenarios: Vec<Located> = cases.iter().map(|case| case.scenario(dir.path())).collect();
    let report = lab.run(&scenarios, Limits::default()).unwrap();
    for (case, seen) in cases.iter().zip(&report.scenarios) {
        assert_seen(case, seen);
    }
    assert_eq!(report.scenarios.len(), cases.len());
}
