//! How a command ends: the exit codes, all of them, and what becomes of a failure.

/// The work is done.
pub const OK: u8 = 0;
/// The work failed: something could not be read, written, or stored.
pub const FAILED: u8 = 1;
/// The command line, or an environment variable that belongs to it, was wrong. Nothing was done.
pub const USAGE: u8 = 2;

/// The work is done, and its result is not within the limits that the command line sets.
pub const GATE: u8 = 3;

/// Of checks, as in fsck(8): something is wrong.
pub const FSCK_WRONG: u8 = 4;
/// Of checks, as in fsck(8): something could not be read.
pub const FSCK_FAILED: u8 = 8;
/// Of checks, as in fsck(8): the command line was wrong.
pub const FSCK_USAGE: u8 = 16;

/// The code of fsck(8) for one of ours.
pub fn of_fsck(code: u8) -> u8 {
    match code {
        OK => OK,
        USAGE => FSCK_USAGE,
        _ => FSCK_FAILED,
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// The command line as clap sees it; `--help` and `--version` come this way as well.
    Parse(clap::Error),
    /// Something else about the command line, in one line.
    Usage(String),
    /// The work itself failed; the causes are joined to one line.
    Failed(anyhow::Error),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Parse(error) if error.use_stderr() => USAGE,
            Self::Parse(_) => OK,
            Self::Usage(_) => USAGE,
            Self::Failed(_) => FAILED,
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Parse(error)
    }
}

/// An error of the command line that only the verb itself can see.
#[derive(Debug)]
pub struct WrongUse(pub String);

impl std::fmt::Display for WrongUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<WrongUse>() {
            Ok(WrongUse(text)) => Self::Usage(text),
            Err(error) => Self::Failed(error),
        }
    }
}

/// The text with its control characters escaped, so that names from a hostile source can neither end the line
/// nor steer the terminal.
pub fn one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_documented_codes() {
        let parse = |arguments: &[&str]| {
            let command = clap::Command::new("program").version("1");
            Failure::from(command.try_get_matches_from(arguments).unwrap_err())
        };
        for (failure, code) in [
            (parse(&["program", "--help"]), OK),
            (parse(&["program", "--version"]), OK),
            (parse(&["program", "--wrong"]), USAGE),
            (Failure::Usage("wrong".into()), USAGE),
            (Failure::from(anyhow::anyhow!("disk full")), FAILED),
            (Failure::from(anyhow::Error::new(WrongUse("wrong".into()))), USAGE),
        ] {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
    }

    #[test]
    fn messages_stay_on_their_line() {
        for (text, line) in [
            ("plain", "plain"),
            ("a\nb", "a\\nb"),
            ("gr\u{fc}n \u{1b}[2J", "gr\u{fc}n \\u{1b}[2J"),
            ("\u{85}", "\\u{85}"),
        ] {
            assert_eq!(one_line(text), line);
        }
    }
}
