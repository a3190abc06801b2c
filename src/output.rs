//! The only place that prints: text and JSON to stdout, one line of error to stderr.
//!
//! A reader that closes the pipe early has what it wanted, so a broken pipe on stdout is success.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::exit::{Failure, one_line};

/// Stdout, locked and buffered; dropping it loses nothing only after [`Write::flush`].
pub type Out = BufWriter<StdoutLock<'static>>;

/// Stdout for a verb that prints much.
pub fn stdout() -> Out {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Where the report of a build goes: to stderr if stdout is an output of the build itself.
pub fn report(stdout_is_taken: bool) -> Box<dyn Write> {
    if stdout_is_taken { Box::new(io::stderr().lock()) } else { Box::new(stdout()) }
}

/// Prints `value` as one JSON object over several lines.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    out.write_all(&text)?;
    Ok(())
}

/// One line on stderr, in the form `program: message`. Nothing can be done when stderr itself fails.
pub fn complain(program: &str, message: &str) {
    drop(writeln!(io::stderr().lock(), "{program}: {message}"));
}

/// Says what kept a program from its work, and returns its exit code. Help and version, which clap hands over
/// the same way, go to stdout.
pub fn failure(program: &str, failure: &Failure) -> u8 {
    match failure {
        // A closed stdout or stderr changes nothing about the outcome.
        Failure::Parse(error) => drop(error.print()),
        Failure::Usage(text) => complain(program, &one_line(text)),
        Failure::Failed(error) => complain(program, &one_line(&format!("{error:#}"))),
    }
    failure.code()
}

/// Whether the cause of an error is a reader that closed its pipe.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_broken_pipe_is_found_below_its_context() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&Err::<(), _>(broken).context("write").unwrap_err()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }

    #[test]
    fn json_is_an_object_and_a_line_end() {
        let mut text = Vec::new();
        json(&mut text, &serde_json::json!({ "a": 1 })).unwrap();
        assert_eq!(text, b"{\n  \"a\": 1\n}\n");
    }
}
