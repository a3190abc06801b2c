//! `domain mount-command` and `domain unit`: how to mount with a domain from a script, and from systemd.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::mount::What;
use crate::exit::one_line;
use crate::output;
use crate::verb::Done;
use crate::verb::source::shown;

/// Print the command that mounts an image in a domain
///
/// It names the file with the identifier. A command line of mount(8) would have to carry the identifier
/// itself, where every user sees it while the command runs; the same holds for mount -o "$(cat FILE)", and
/// fstab is readable by all.
#[derive(Debug, clap::Args)]
pub(super) struct CommandArgs {
    #[command(flatten)]
    what: What,
}

/// Print a systemd unit that mounts an image in a domain
///
/// A unit of type mount would carry the identifier in its options, which every user can read, and mount(8)
/// would have it on its command line. So this is a service, which gets the file with the identifier as a
/// credential that only itself can read. Mounts that need the image should name it in Requires= and After=.
#[derive(Debug, clap::Args)]
pub(super) struct UnitArgs {
    #[command(flatten)]
    what: What,

    /// Where the program is on the machine that mounts
    #[arg(long, value_name = "PATH", default_value = "/usr/bin/erofs-ishare")]
    program: PathBuf,
}

pub(super) fn command(args: &CommandArgs) -> anyhow::Result<Done> {
    let words = words(&args.what, &shell(text(&args.what.domain_file)?), shell)?;
    let mut out = output::stdout();
    writeln!(out, "erofs-ishare {words}")?;
    out.flush()?;
    Ok(Done::Whole)
}

pub(super) fn unit(args: &UnitArgs) -> anyhow::Result<Done> {
    let What { domain_file, image, directory, .. } = &args.what;
    for path in [domain_file, image, directory, &args.program] {
        if !path.is_absolute() {
            bail!("{}: found a relative path, want an absolute one, as units need it", shown(path));
        }
    }
    let words = words(&args.what, "%d/domain", quoted)?;
    let (program, at) = (quoted(text(&args.program)?), quoted(text(directory)?));
    let lines = [
        "[Unit]".to_owned(),
        format!("Description=EROFS image {} with shared page cache", specifier(text(image)?)),
        format!("RequiresMountsFor={} {}", path_word(text(image)?), path_word(text(domain_file)?)),
        "Before=local-fs.target".to_owned(),
        "DefaultDependencies=no".to_owned(),
        "Conflicts=umount.target".to_owned(),
        "Before=umount.target".to_owned(),
        String::new(),
        "[Service]".to_owned(),
        "Type=oneshot".to_owned(),
        "RemainAfterExit=yes".to_owned(),
        "# Only the service reads the identifier; it is on no command line and in no environment.".to_owned(),
        format!("LoadCredential=domain:{}", specifier(text(domain_file)?)),
        format!("ExecStart={program} {words}"),
        format!("ExecStop=/usr/bin/umount {at}"),
        String::new(),
        "[Install]".to_owned(),
        "WantedBy=local-fs.target".to_owned(),
    ];
    let mut out = output::stdout();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(Done::Whole)
}

/// The words behind the name of the program. `domain_file` is quoted already.
fn words(what: &What, domain_file: &str, quote: fn(&str) -> String) -> anyhow::Result<String> {
    // Refuses what the mount would refuse, and identifiers on the command line above all.
    what.sorted()?;
    let mut words = format!("domain mount --domain-file {domain_file}");
    if !what.options.is_empty() {
        let options = what.options.join(",");
        if options.contains(char::is_control) {
            bail!("-o: found control characters in {}", one_line(&options));
        }
        words = format!("{words} -o {}", quote(&options));
    }
    let (image, directory) = (quote(text(&what.image)?), quote(text(&what.directory)?));
    Ok(format!("{words} {image} {directory}"))
}

/// A path as text of one line.
fn text(path: &Path) -> anyhow::Result<&str> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.with_context(|| format!("{}: found a name that no unit or script can carry as text", shown(path)))
}

/// A word for a shell.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A percent sign begins a specifier in units, two stand for one.
fn specifier(word: &str) -> String {
    word.replace('%', "%%")
}

/// A word of a command line in a unit, where a dollar sign begins a variable (systemd.service(5)).
fn quoted(word: &str) -> String {
    path_word(word).replace('$', "$$")
}

/// A word of another line of a unit, where a dollar sign is a letter like others (systemd.syntax(7)).
fn path_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let escaped = specifier(word).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        for (word, of_shell, of_unit) in [
            ("/a/b-1.img", "/a/b-1.img", "/a/b-1.img"),
            ("", "''", "\"\""),
            ("a b", "'a b'", "\"a b\""),
            ("it's", "'it'\\''s'", "\"it's\""),
            ("$(x)%i", "'$(x)%i'", "\"$$(x)%%i\""),
            ("a\\\"b", "'a\\\"b'", "\"a\\\\\\\"b\""),
        ] {
            assert_eq!((shell(word).as_str(), quoted(word).as_str()), (of_shell, of_unit));
        }
        assert_eq!((path_word("/a$b%"), path_word("/a b")), ("\"/a$b%%\"".into(), "\"/a b\"".into()));
    }
}
