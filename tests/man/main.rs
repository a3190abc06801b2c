//! The pages and completions in `man/` are made from the flags and from the texts in `sections.rs`. This test
//! says whether they are in step; `UPDATE_GOLDEN=1 cargo test --test man` writes them.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

mod page;
mod sections;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::{Shell, generate};

use sections::Section;

/// The two commands and what their pages say beyond the flags.
fn commands() -> [(Command, &'static [Section]); 2] {
    [
        (erofs_cli::mkfs::command(), sections::MKFS_EROFS),
        (<erofs_cli::verb::Cli as clap::CommandFactory>::command(), sections::EROFS_ISHARE),
    ]
}

/// Every file that belongs into `man/`, by name.
fn wanted() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (command, sections) in commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let (name, text) = completion(shell, command.clone());
            files.insert(name, text);
        }
        files.extend(page::pages(command, sections));
    }
    files
}

fn completion(shell: Shell, mut command: Command) -> (String, Vec<u8>) {
    use clap_complete::Generator as _;
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    generate(shell, &mut command, &name, &mut text);
    (shell.file_name(&name), text)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

fn present() -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder()).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn pages_and_completions_are_in_step() {
    let wanted = wanted();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for name in present().keys().filter(|name| !wanted.contains_key(*name)) {
            fs::remove_file(folder().join(name)).unwrap();
        }
        for (name, text) in &wanted {
            fs::write(folder().join(name), text).unwrap();
        }
    }
    let present = present();
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    let how = "UPDATE_GOLDEN=1 cargo test --test man writes them";
    assert_eq!(names(&present), names(&wanted), "other files in man/ than there should be; {how}");
    let stale: Vec<&String> = wanted.keys().filter(|name| present.get(*name) != wanted.get(*name)).collect();
    assert!(stale.is_empty(), "not in step with the flags: {stale:?}; {how}");
}

/// What a page promises must be in it whatever becomes of the generator.
#[test]
fn pages_have_every_flag_and_section() {
    for (command, sections) in commands() {
        let page = &wanted()[&format!("{}.1", command.get_name())];
        // In a page a hyphen that is meant as such is written with a backslash.
        let page = String::from_utf8(page.clone()).unwrap().replace("\\-", "-");
        for argument in command.get_arguments() {
            let short = argument.get_short().map(|letter| format!("-{letter}"));
            let long = argument.get_long().map(|name| format!("--{name}"));
            for flag in short.into_iter().chain(long) {
                assert!(page.contains(&flag), "{}: no {flag}", command.get_name());
            }
        }
        for section in sections {
            assert!(
                page.contains(&format!("\n.SH \"{}\"\n", section.title))
                    || page.contains(&format!("\n.SH {}\n", section.title)),
                "{}: no {}",
                command.get_name(),
                section.title
            );
        }
    }
}

/// Documents with command lines.
const DOCUMENTS: [&str; 4] =
    ["README.md", "CONTRIBUTING.md", "docs/usage.md", "docs/building-without-root.md"];

/// Lines of the documents and of the pages that are command lines of ours, with what a shell would make of
/// them.
fn examples() -> Vec<Vec<String>> {
    let document = |name| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let documents: Vec<String> = DOCUMENTS.into_iter().map(document).collect();
    let of_documents = documents
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("    $ ").or(line.strip_prefix("    ")));
    let of_pages = commands()
        .into_iter()
        .flat_map(|(_, sections)| sections.iter().flat_map(|section| section.blocks))
        .filter_map(|block| if let sections::Block::Code(lines) = block { Some(lines.lines()) } else { None })
        .flatten();
    let words = |line: &str| -> Vec<String> {
        line.split_whitespace().map(String::from).take_while(|word| word != "|").collect()
    };
    let ours = |words: &Vec<String>| {
        words.first().is_some_and(|name| name == "mkfs-erofs" || name == "erofs-ishare")
    };
    of_documents.chain(of_pages).map(words).filter(ours).collect()
}

#[test]
fn examples_are_valid_command_lines() {
    let examples = examples();
    assert!(examples.len() >= 20, "{examples:?}");
    for words in examples {
        let parsed = if words[0] == "mkfs-erofs" {
            erofs_cli::mkfs::Args::read(&words).map(drop).map_err(|failure| format!("{failure:?}"))
        } else {
            let parsed = <erofs_cli::verb::Cli as clap::Parser>::try_parse_from(&words);
            parsed.map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(parsed, Ok(()), "{words:?}");
    }
}
