//! POSIX extended regular expressions, as glibc's regcomp(3) reads them, written for the crate `regex`.

use std::fmt::Write as _;

/// What stands for an expression of regcomp(3) (`REG_EXTENDED`, C locale) in the syntax of the crate `regex`
/// on bytes without Unicode classes.
///
/// The two differ inside brackets, where POSIX has no escapes and no set operations, and in what a backslash
/// means before a letter. Whether the expression is a valid one is left to the crate.
///
/// # Errors
///
/// One line, where the crate has nothing for it: back-references (`\1`), collating symbols (`[.x.]`) and
/// equivalence classes (`[=x=]`), and a bracket or a backslash that the end of the expression cuts off.
///
/// # Example
///
/// ```
/// assert_eq!(erofs_tree::ere::to_regex(r"[\w]\.o$"), Ok(r"[\x5Cw]\.o$".to_owned()));
/// ```
pub fn to_regex(pattern: &str) -> Result<String, String> {
    let mut text = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\\' => rest = escape(rest, &mut text).map_err(|what| format!("{pattern}: {what}"))?,
            '[' => rest = bracket(rest, &mut text).map_err(|what| format!("{pattern}: {what}"))?,
            // The crate has groups that capture nothing, flags and lazy repetitions; POSIX has not.
            '(' if rest.starts_with('?') => {
                return Err(format!("{pattern}: found (?, want an expression after ("));
            }
            '*' | '+' | '?' | '}' if rest.starts_with(['?', '+', '*']) => {
                return Err(format!("{pattern}: found two repetitions in a row, want one"));
            }
            other => text.push(other),
        }
    }
    Ok(text)
}

/// What follows a backslash; returns what comes after it.
fn escape<'a>(rest: &'a str, text: &mut String) -> Result<&'a str, &'static str> {
    let c = rest.chars().next().ok_or("found \\ at the end, want a character after it")?;
    match c {
        '1'..='9' => return Err("found a back-reference, want an expression without"),
        // Extensions of glibc that the crate has as well, some with other letters.
        'w' | 'W' | 's' | 'S' | 'b' | 'B' | '<' | '>' => text.extend(['\\', c]),
        '`' => text.push_str("\\A"),
        '\'' => text.push_str("\\z"),
        c if c.is_ascii_punctuation() => text.extend(['\\', c]),
        // Before all other characters it has no meaning.
        c => text.push(c),
    }
    Ok(rest.get(c.len_utf8()..).unwrap_or_default())
}

/// What follows an opening bracket; returns what comes after the closing one.
fn bracket<'a>(rest: &'a str, text: &mut String) -> Result<&'a str, &'static str> {
    const OPEN: &str = "found [ without ], want both";
    text.push('[');
    let mut rest = rest;
    if let Some(negated) = rest.strip_prefix('^') {
        text.push('^');
        rest = negated;
    }
    let mut is_first = true;
    loop {
        let c = rest.chars().next().ok_or(OPEN)?;
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            ']' if !is_first => {
                text.push(']');
                return Ok(after);
            }
            '[' if after.starts_with(['.', '=']) => {
                return Err("found [. or [=, want characters, ranges and classes such as [:digit:]");
            }
            '[' if after.starts_with(':') => {
                let end = after.find(":]").ok_or(OPEN)? + 2;
                text.push('[');
                text.push_str(after.get(..end).unwrap_or_default());
                rest = after.get(end..).unwrap_or_default();
                is_first = false;
                continue;
            }
            // Makes a range between two items; at either end it is a character.
            '-' if !is_first && !after.starts_with(']') => text.push('-'),
            c if c.is_ascii_alphanumeric() => text.push(c),
            c => {
                for byte in c.to_string().bytes() {
                    // A String takes everything.
                    let _ = write!(text, "\\x{byte:02X}");
                }
            }
        }
        is_first = false;
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use regex::bytes::RegexBuilder;

    use super::*;

    /// Each expression with a text that regexec(3) of glibc finds it in, and one that it does not; an empty
    /// one where there is none.
    #[test]
    fn what_glibc_finds() {
        for (pattern, found, not_found) in [
            (r"\.o$", "a.o", "a.oo"),
            (r"^(usr|lib)/", "lib/x", "xlib/"),
            (r"[\.]x", r"\x", "ax"),
            (r"[\d]", "d", "5"),
            (r"\d", "d", "5"),
            (r"[a&&b]", "&", "c"),
            (r"[]x]", "]", "a"),
            (r"[^]x]", "a", "]x"),
            (r"[[a]", "[", "b"),
            (r"[a-c-]", "-", "d"),
            (r"[-a]", "-", "b"),
            (r"[a~~b]", "~", "c"),
            (r"[[:digit:]_-]", "-", "a"),
            (r"x{2}", "xx", "x"),
            (r"\{x\}", "{x}", "x"),
            (r"\<bin\>", "a bin b", "robins"),
            (r"a\`", "\u{0}", "a"),
            (r"[ü]", "ü", "a"),
            (r"a\/b", "a/b", "ab"),
            (r"^X.*$", "X1", "aX"),
        ] {
            let text = to_regex(pattern).unwrap();
            let mut regex = RegexBuilder::new(&text);
            let regex = regex.unicode(false).build().unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(found.as_bytes()), found != "\u{0}", "{pattern} in {found}");
            assert!(!regex.is_match(not_found.as_bytes()), "{pattern} in {not_found}");
        }
    }

    #[test]
    fn what_there_is_nothing_for() {
        for (pattern, want) in [
            (r"(a)\1", "found a back-reference"),
            ("[a", "found [ without ]"),
            ("[[:digit:", "found [ without ]"),
            ("[[.x.]]", "found [. or [="),
            ("a\\", "found \\ at the end"),
            ("(?:a)", "found (?"),
            ("a*?", "found two repetitions"),
        ] {
            let error = to_regex(pattern).unwrap_err();
            assert!(error.starts_with(&format!("{pattern}: {want}")), "{error}");
        }
    }
}
