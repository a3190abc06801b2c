//! Man pages: what clap knows of a command, then the sections that are written by hand.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::sections::{Block, Section};

/// The page of a command and those of its verbs, by file name.
pub(crate) fn pages(mut command: Command, sections: &[Section]) -> Vec<(String, Vec<u8>)> {
    command = command.disable_help_subcommand(true);
    command.build();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let mut pages: Vec<_> = verbs.map(|verb| page(verb, &[])).collect();
    pages.push(page(command, sections));
    pages
}

fn page(mut command: Command, sections: &[Section]) -> (String, Vec<u8>) {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let (has_flags, has_verbs) = (command.get_arguments().next().is_some(), command.has_subcommands());
    let usage = command.render_usage().to_string();
    let source = format!("mkfs-erofs {}", env!("CARGO_PKG_VERSION"));
    // The date is empty, which the generator would leave out.
    let title = format!(".TH \"{}\" \"1\" \"\" \"{source}\" \"User Commands\"\n", name.to_uppercase());
    let man = Man::new(command);
    let mut text = title.into_bytes();
    man.render_name_section(&mut text).unwrap();
    synopsis(&usage).to_writer(&mut text).unwrap();
    man.render_description_section(&mut text).unwrap();
    if has_flags {
        man.render_options_section(&mut text).unwrap();
    }
    if has_verbs {
        man.render_subcommands_section(&mut text).unwrap();
    }
    let mut roff = Roff::new();
    for section in sections {
        roff.control("SH", [section.title]);
        for block in section.blocks {
            add(&mut roff, block);
        }
    }
    roff.to_writer(&mut text).unwrap();
    (format!("{name}.1"), text)
}

/// One line, as help has it; the generator would list every flag.
fn synopsis(usage: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([roman(usage.trim_start_matches("Usage: "))]);
    roff
}

fn add(roff: &mut Roff, block: &Block) {
    match block {
        Block::Text(text) => {
            roff.control("PP", []);
            roff.text([roman(*text)]);
        }
        Block::Item(term, text) => {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*text)]);
        }
        Block::Code(lines) => {
            roff.control("PP", []);
            roff.control("RS", ["4"]);
            roff.control("nf", []);
            for line in lines.lines() {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
            roff.control("RE", []);
        }
    }
}
