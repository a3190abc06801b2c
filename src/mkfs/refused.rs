//! What mkfs.erofs has and this version has not: refused by name, never ignored.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::personality::Personality;

/// Whether a flag of mkfs.erofs takes a value.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    /// Behind an equals sign, or none.
    Maybe,
    Value,
}

/// One flag of mkfs.erofs that is refused.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    takes: Takes,
    why: &'static str,
    /// The values that change nothing about a directory, which mkfs.erofs takes; `None` for a flag that is
    /// always refused.
    without_effect: Option<fn(&str) -> bool>,
}

const fn row(name: &'static str, takes: Takes, why: &'static str) -> Row {
    Row { name, takes, why, without_effect: None }
}

/// A row of a flag that changes nothing about a directory with these values.
const fn idle(row: Row, values: fn(&str) -> bool) -> Row {
    Row { without_effect: Some(values), ..row }
}

const DEBUGGING: &str = "random compression, which is for debugging, is not in this version";
const FILTERS: &str =
    "compressed archives are recognised without it, and copies of what is unpacked are not in this version";
const REBUILD: &str = "images as sources and incremental builds are not in this version";
const ANDROID: &str = "Android's configuration files are not in this version";

/// The flags; those of one letter are short.
const FLAGS: &[Row] = &[
    row("random-pclusterblks", Takes::Nothing, DEBUGGING),
    row("random-algorithms", Takes::Nothing, DEBUGGING),
    // Without a file to which the decompressed archive is copied there is nothing to do.
    idle(row("gzip", Takes::Nothing, FILTERS), |_| true),
    idle(row("ungzip", Takes::Maybe, FILTERS), str::is_empty),
    idle(row("unlzma", Takes::Maybe, FILTERS), str::is_empty),
    idle(row("unxz", Takes::Maybe, FILTERS), str::is_empty),
    row("gzinfo", Takes::Maybe, "indexes of gzip streams are not in this version"),
    // Of a directory mkfs.erofs strips them as well.
    idle(
        row("ovlfs-strip", Takes::Maybe, "stripping of overlayfs metadata is not in this version"),
        |value| !matches!(value, "" | "1"),
    ),
    // How data is imported is a matter of tarballs and images; a directory is always stored as a whole.
    idle(row("clean", Takes::Maybe, REBUILD), |value| {
        matches!(value, "" | "data" | "rvsp") || value.parse::<i32>().is_ok()
    }),
    row("incremental", Takes::Maybe, REBUILD),
    row("s3", Takes::Value, "S3 buckets as sources are not in this version"),
    row("oci", Takes::Maybe, "registries as sources are not in this version"),
    row("blobdev", Takes::Value, "extra devices are not in this version"),
    row("vmdk-desc", Takes::Value, "VMDK descriptors are not in this version"),
    row(
        "file-contexts",
        Takes::Value,
        "SELinux file contexts are not in this version; labels of SOURCE are kept",
    ),
    row("product-out", Takes::Value, ANDROID),
    row("fs-config-file", Takes::Value, ANDROID),
    row("block-list-file", Takes::Value, ANDROID),
];

/// Adds the flags to a command, out of sight.
pub(super) fn add_to(command: Command) -> Command {
    command.args(FLAGS.iter().map(argument))
}

fn argument(flag: &Row) -> Arg {
    let argument = Arg::new(flag.name).hide(true);
    let mut letters = flag.name.chars();
    let argument = match (letters.next(), letters.next()) {
        (Some(letter), None) => argument.short(letter),
        _ => argument.long(flag.name),
    };
    let any = clap::value_parser!(OsString);
    match flag.takes {
        Takes::Nothing => argument.action(ArgAction::SetTrue),
        Takes::Maybe => {
            argument.num_args(0..=1).require_equals(true).default_missing_value("").value_parser(any)
        }
        Takes::Value => argument.allow_hyphen_values(true).value_parser(any),
    }
}

/// What to say about the first refused flag on the command line, if there is one.
pub(super) fn found(matches: &ArgMatches, personality: Personality) -> Option<String> {
    let typed = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
    let is_idle = |flag: &Row| {
        let value = match flag.takes {
            Takes::Nothing => None,
            Takes::Maybe | Takes::Value => matches.get_one::<OsString>(flag.name),
        };
        let value = value.map(|value| value.to_string_lossy()).unwrap_or_default();
        personality.takes_options_without_effect && flag.without_effect.is_some_and(|values| values(&value))
    };
    let flag = FLAGS.iter().find(|flag| typed(flag.name) && !is_idle(flag))?;
    let dashes = if flag.name.len() == 1 { "-" } else { "--" };
    Some(format!("{dashes}{}: {}", flag.name, flag.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_found_in_each_of_its_spellings() {
        for flag in FLAGS {
            let spelled = match (flag.name.len(), flag.takes) {
                (1, _) => vec![format!("-{}x", flag.name), format!("-{}-1", flag.name)],
                (_, Takes::Nothing) => vec![format!("--{}", flag.name)],
                (_, Takes::Maybe) => vec![format!("--{}", flag.name), format!("--{}=x", flag.name)],
                (_, Takes::Value) => vec![format!("--{}=x", flag.name)],
            };
            for typed in spelled {
                let matches = add_to(Command::new("x")).try_get_matches_from(["x", &typed]).unwrap();
                let text = found(&matches, Personality::OWN).unwrap();
                assert!(typed.starts_with(text.split(':').next().unwrap()), "{typed}: {text}");
                assert!(text.contains("not in this version"), "{text}");
            }
        }
        let nothing = add_to(Command::new("x")).try_get_matches_from(["x"]).unwrap();
        assert!(found(&nothing, Personality::OWN).is_none());
    }
}
