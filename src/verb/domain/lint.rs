//! `domain check`: identifiers that are short, guessable, related to each other, or readable by others.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Serialize;

use super::id::{self, LENGTH_MAX};
use crate::output;
use crate::verb::Done;
use crate::verb::source::shown;

/// Bits that nobody can try out.
const BITS_MIN: usize = 128;
/// Fewer different characters than this are a pattern.
const DISTINCT_MIN: usize = 8;

/// Words that people put into names of domains.
const WORDS: [&str; 28] = [
    "admin",
    "app",
    "base",
    "cluster",
    "container",
    "debian",
    "default",
    "demo",
    "dev",
    "docker",
    "domain",
    "erofs",
    "host",
    "image",
    "k8s",
    "kube",
    "local",
    "main",
    "node",
    "pass",
    "podman",
    "prod",
    "root",
    "secret",
    "share",
    "stag",
    "tenant",
    "test",
];

/// What belongs to a machine and is no secret.
const OF_MACHINE: [&str; 4] =
    ["/etc/machine-id", "/etc/hostname", "/proc/sys/kernel/random/boot_id", "/sys/class/dmi/id/product_uuid"];

/// Say what is wrong with identifiers: short, guessable, related to each other, readable by others
///
/// The identifiers themselves are never printed. Exit status 3 if something was found.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files with one identifier each; anything that is no file is taken for an identifier, which other users
    /// then see on the command line
    #[arg(value_name = "ID|FILE", required = true)]
    ids: Vec<OsString>,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What is wrong with an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Which: its file, or its place on the command line.
    id: String,
    /// The rule.
    rule: &'static str,
    /// In a sentence.
    text: String,
}

#[derive(Debug, Serialize)]
struct Report {
    checked: usize,
    findings: Vec<Finding>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let mut ids = Vec::new();
    let mut findings = Vec::new();
    for (index, argument) in args.ids.iter().enumerate() {
        let path = Path::new(argument);
        if path.exists() || argument.as_bytes().contains(&b'/') {
            let kept = id::read(path)?;
            if kept.mode & 0o077 != 0 {
                let text = format!("others can read the file: mode {:03o}, want 600", kept.mode & 0o777);
                findings.push(Finding { id: shown(path), rule: "readable", text });
            }
            ids.push((shown(path), kept.id));
        } else {
            let label = format!("argument {}", index + 1);
            let text = "it stands on a command line, where every user of the machine sees it; want a file";
            findings.push(Finding { id: label.clone(), rule: "command-line", text: text.to_owned() });
            ids.push((label, argument.to_string_lossy().into_owned()));
        }
    }
    for (label, id) in &ids {
        let of_id = alone(id, &of_machine());
        findings.extend(of_id.into_iter().map(|(rule, text)| Finding { id: label.clone(), rule, text }));
    }
    findings.extend(related(&ids));
    say(args, &Report { checked: ids.len(), findings })
}

fn say(args: &Args, report: &Report) -> anyhow::Result<Done> {
    let mut out = output::stdout();
    if args.json {
        output::json(&mut out, report)?;
    } else {
        for Finding { id, rule, text } in &report.findings {
            writeln!(out, "{id}: {rule}: {text}")?;
        }
    }
    out.flush()?;
    Ok(if report.findings.is_empty() { Done::Whole } else { Done::Gate })
}

/// Values of this machine that are no secrets.
fn of_machine() -> Vec<String> {
    let read = OF_MACHINE.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    read.map(|text| plain(text.trim())).filter(|text| text.len() >= 4).collect()
}

/// In lower case and without hyphens, as two forms of one value have in common.
fn plain(text: &str) -> String {
    text.chars().filter(|&c| c != '-').flat_map(char::to_lowercase).collect()
}

/// What is wrong with an identifier by itself.
fn alone(id: &str, of_machine: &[String]) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if id.len() > LENGTH_MAX {
        found.push((
            "long",
            format!("found {} bytes, want at most {LENGTH_MAX}, as fsconfig takes it", id.len()),
        ));
    }
    if let Some(c) = id.chars().find(|c| !c.is_ascii_graphic() || ",\\\"'".contains(*c)) {
        let text = format!(
            "it has the character {:?}, which mount options cannot carry everywhere",
            c.escape_default().to_string()
        );
        found.push(("characters", text));
    }
    let bits = bits(id);
    if bits < BITS_MIN {
        found.push((
            "short",
            format!("at most {bits} of the {BITS_MIN} bits that are wanted: others could try them all"),
        ));
    }
    if let Some(why) = guessable(id, of_machine) {
        found.push(("guessable", why));
    }
    found
}

/// As many bits as an identifier of this length and these kinds of characters can have.
fn bits(id: &str) -> usize {
    let all = |test: fn(char) -> bool| id.chars().all(test);
    // Hundredths of the binary logarithm of how many characters there are.
    let each = if all(|c| c.is_ascii_digit()) {
        332
    } else if all(|c| matches!(c, '0'..='9' | 'a'..='f' | '-'))
        || all(|c| matches!(c, '0'..='9' | 'A'..='F' | '-'))
    {
        400
    } else if all(|c| c.is_ascii_lowercase()) || all(|c| c.is_ascii_uppercase()) {
        470
    } else if all(|c| c.is_ascii_alphanumeric() && !c.is_ascii_uppercase()) {
        517
    } else {
        600
    };
    id.chars().filter(|&c| c != '-').count() * each / 100
}

/// Why an identifier could be guessed, if it could.
fn guessable(id: &str, of_machine: &[String]) -> Option<String> {
    let simple = plain(id);
    if of_machine.iter().any(|value| simple.contains(value.as_str())) {
        return Some("it has a name or number of this machine in it, which is no secret".to_owned());
    }
    // What is left without the words has to be enough by itself.
    let rest = WORDS.iter().fold(id.to_lowercase(), |rest, word| rest.replace(word, ""));
    if rest.len() < id.to_lowercase().len() && bits(&rest) < BITS_MIN {
        return Some("it is made of words".to_owned());
    }
    let mut distinct: Vec<char> = simple.chars().collect();
    let steps = distinct.windows(2).filter(|pair| {
        let step = i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0]));
        (-1..=1).contains(&step)
    });
    let steps = steps.count();
    let length = distinct.len();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < DISTINCT_MIN || steps * 2 > length {
        return Some("its characters follow a pattern".to_owned());
    }
    let half = simple.len() / 2;
    if simple.is_char_boundary(half) && half > 0 && simple[..half] == simple[simple.len() - half..] {
        return Some("it repeats itself".to_owned());
    }
    None
}

/// What is wrong with several identifiers together.
fn related(ids: &[(String, String)]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, (label, id)) in ids.iter().enumerate() {
        for (other, other_id) in &ids[..index] {
            let text = if id == other_id {
                ("equal", format!("the same as {other}: both are one domain"))
            } else if id.starts_with(other_id.as_str()) || other_id.starts_with(id.as_str()) {
                // Before 7.2.7 the key had nothing between the identifier and the fingerprint.
                let text =
                    format!("one begins with the other ({other}): before Linux 7.2.7 keys could coincide");
                ("prefix", text)
            } else {
                continue;
            };
            found.push(Finding { id: label.clone(), rule: text.0, text: text.1 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 64 digits as `domain new` makes them.
    const GOOD: &str = "9f3c1e7a50b2d8466aa19e0c47f5d3b8e21c08f97d46a35b1b90ce72f4853d6a";

    #[test]
    fn rules() {
        let machine = vec!["box7".to_owned(), plain("5F0c2f7e-9d31-4b06-a1c8-0e94d7b36f52")];
        let rows: &[(&str, &[&str])] = &[
            (GOOD, &[]),
            ("Zk3v9QpW0xTn5LrB7cHy2Ds8", &[]),
            ("", &["short", "guessable"]),
            ("prod", &["short", "guessable"]),
            ("production-domain-of-the-erofs-cluster", &["guessable"]),
            ("48151623420815162342108", &["short"]),
            ("00000000000000000000000000000000000000000000", &["guessable"]),
            ("0123456789abcdef0123456789abcdef", &["guessable"]),
            ("9f3c1e7a50b2d8469f3c1e7a50b2d846", &["guessable"]),
            ("5f0c2f7e9d314b06a1c80e94d7b36f52", &["guessable"]),
            ("9f3c1e7a50b2d8466aa19e0c47f5d3b8-box7", &["guessable"]),
            ("9f3c1e7a50b2d8466aa19e0c47f5d3b8,x", &["characters"]),
            ("9f3c1e7a50b2d8466aa19e0c47f5d3b8 x", &["characters"]),
        ];
        for (id, want) in rows {
            let found: Vec<_> = alone(id, &machine).into_iter().map(|(rule, _)| rule).collect();
            assert_eq!(found, *want, "{id}");
        }
        assert_eq!(alone(&GOOD.repeat(4), &[])[0].0, "long");
    }

    #[test]
    fn nothing_that_is_said_has_the_identifier_in_it() {
        for id in ["sesame-door", "9f3c1e7a50b2d8469f3c1e7a50b2d846"] {
            assert!(alone(id, &[]).iter().all(|(_, text)| !text.contains(id)), "{id}");
        }
    }

    #[test]
    fn relations() {
        let ids = [("a", GOOD), ("b", &GOOD[..40]), ("c", GOOD), ("d", "other")];
        let ids: Vec<_> = ids.iter().map(|(label, id)| ((*label).to_owned(), (*id).to_owned())).collect();
        let found: Vec<_> = related(&ids).into_iter().map(|finding| (finding.id, finding.rule)).collect();
        let want = [("b", "prefix"), ("c", "equal"), ("c", "prefix")];
        assert_eq!(found, want.map(|(label, rule)| (label.to_owned(), rule)));
    }
}
