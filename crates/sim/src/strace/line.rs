//! One line of `strace -f`: the process, and the call with its arguments and result. Text in, values out.

use crate::trace::unescape;

/// The most arguments of a call that are distinguished.
const ARGUMENTS_MAX: usize = 16;

/// Results are signed numbers of 64 bits, and those below 0 are errors, however they are written.
const RESULT_MAX: u64 = i64::MAX.unsigned_abs();

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// A call that has ended, as the text from its name on.
    Whole(&'a [u8]),
    /// The first part of a call that has not ended yet.
    Unfinished(&'a [u8]),
    /// The rest of a call that ends now.
    Resumed(&'a [u8]),
    /// The process is gone.
    Exited,
    /// Nothing that counts: signals, and messages of strace itself.
    Nothing,
    /// Not a line of strace.
    Strange,
}

/// Takes the process and, where they stand, times from the beginning of a line.
pub(super) fn split(line: &[u8]) -> (u64, Said<'_>) {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"strace:") {
        return (0, Said::Nothing);
    }
    let (pid, rest) = process(line);
    let rest = without_times(rest);
    (pid, said(rest))
}

/// `[pid 12] rest` on a terminal, `12 rest` in a file, and nothing with one process.
fn process(line: &[u8]) -> (u64, &[u8]) {
    if let Some(rest) = line.strip_prefix(b"[pid")
        && let Some(end) = rest.iter().position(|byte| *byte == b']')
        && let Some(pid) = rest.get(..end).and_then(|pid| number(pid.trim_ascii()))
    {
        return (pid, rest.get(end + 1..).unwrap_or_default().trim_ascii_start());
    }
    let word = first_word(line);
    match number(word) {
        Some(pid) => (pid, line.get(word.len()..).unwrap_or_default().trim_ascii_start()),
        None => (0, line),
    }
}

/// The options `-t`, `-tt`, `-ttt` and `-r` put times before each call.
fn without_times(line: &[u8]) -> &[u8] {
    let mut rest = line;
    loop {
        let word = first_word(rest);
        let time = word.iter().all(|byte| byte.is_ascii_digit() || b".:".contains(byte));
        if word.is_empty() || !time {
            return rest;
        }
        rest = rest.get(word.len()..).unwrap_or_default().trim_ascii_start();
    }
}

fn first_word(text: &[u8]) -> &[u8] {
    text.split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

fn said(text: &[u8]) -> Said<'_> {
    if text.starts_with(b"+++ exited") || text.starts_with(b"+++ killed") {
        return Said::Exited;
    }
    if text.starts_with(b"---") || text.starts_with(b"+++") {
        return Said::Nothing;
    }
    if let Some(rest) = text.strip_prefix(b"<... ") {
        let mark = b" resumed>";
        return match rest.windows(mark.len()).position(|window| window == mark) {
            Some(at) => Said::Resumed(rest.get(at + mark.len()..).unwrap_or_default()),
            None => Said::Strange,
        };
    }
    let name = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if name == 0 || text.get(name) != Some(&b'(') {
        return Said::Strange;
    }
    match text.strip_suffix(b"<unfinished ...>") {
        Some(first) => Said::Unfinished(first),
        None => Said::Whole(text),
    }
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// Its name.
    pub(super) name: &'a [u8],
    /// Its arguments as they are written.
    pub(super) arguments: Vec<&'a [u8]>,
    /// What it returned, at most [`RESULT_MAX`]; nothing for errors and for what is no number.
    pub(super) result: Option<u64>,
}

impl<'a> Call<'a> {
    /// Reads the text of a call: name, arguments, result. Errors of the call count as no call.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let name = text.get(..open)?;
        let (arguments, rest) = arguments(text.get(open + 1..)?)?;
        let result = rest.trim_ascii_start().strip_prefix(b"=")?;
        let result = number_before(result.trim_ascii_start()).filter(|result| *result <= RESULT_MAX);
        Some(Self { name, arguments, result })
    }

    /// An argument.
    pub(super) fn argument(&self, index: usize) -> &'a [u8] {
        self.arguments.get(index).copied().unwrap_or_default()
    }

    /// An argument that is a number that is not negative.
    pub(super) fn number(&self, index: usize) -> Option<u64> {
        number_before(self.argument(index))
    }

    /// An argument that is a place in a file behind a pointer: `[4096]`, or `[0] => [4096]`. Nothing for
    /// `NULL`.
    pub(super) fn pointed(&self, index: usize) -> Option<u64> {
        number_before(self.argument(index).strip_prefix(b"[")?)
    }

    /// An argument that is a path: its bytes without quotes.
    pub(super) fn path(&self, index: usize) -> Option<Vec<u8>> {
        unescape(self.argument(index).strip_prefix(b"\"")?.strip_suffix(b"\"")?)
    }

    /// Whether an argument has this word among its flags.
    pub(super) fn has(&self, index: usize, flag: &[u8]) -> bool {
        let word = |byte: &u8| !(byte.is_ascii_alphanumeric() || *byte == b'_');
        self.argument(index).split(word).any(|found| found == flag)
    }

    /// Whether any argument has this word.
    pub(super) fn any_has(&self, flag: &[u8]) -> bool {
        (0..self.arguments.len()).any(|index| self.has(index, flag))
    }
}

/// The path that `-y` writes behind a descriptor: `3</etc/passwd>`.
pub(super) fn decoration(argument: &[u8]) -> Option<Vec<u8>> {
    let digits = argument.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let path = argument.get(digits..)?.strip_prefix(b"<")?.strip_suffix(b">")?;
    unescape(path).filter(|path| path.starts_with(b"/"))
}

/// The number at the beginning of a text: decimal, or hexadecimal behind `0x`.
fn number_before(text: &[u8]) -> Option<u64> {
    let (radix, text) = match text.strip_prefix(b"0x") {
        Some(hex) => (16, hex),
        None => (10, text),
    };
    let length = text.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    u64::from_str_radix(std::str::from_utf8(text.get(..length)?).ok()?, radix).ok()
}

fn number(text: &[u8]) -> Option<u64> {
    if text.iter().all(u8::is_ascii_digit) { number_before(text) } else { None }
}

/// Arguments up to the bracket that closes them, and what follows it. Brackets and commas inside of
/// strings and of other brackets do not count.
fn arguments(text: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut found: Vec<&[u8]> = Vec::new();
    let (mut start, mut depth, mut quoted, mut escaped) = (0, 0_u32, false, false);
    for (at, byte) in text.iter().enumerate() {
        if quoted {
            quoted = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'(' | b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b')' if depth != 0 => depth -= 1,
            b',' | b')' if depth == 0 => {
                if found.len() < ARGUMENTS_MAX {
                    found.push(text.get(start..at)?.trim_ascii());
                }
                start = at + 1;
                if *byte == b')' {
                    return Some((found, text.get(start..)?));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split() {
        for (line, pid, want) in [
            (&b"12 close(3) = 0"[..], 12, Said::Whole(b"close(3) = 0")),
            (b"[pid  12] close(3) = 0", 12, Said::Whole(b"close(3) = 0")),
            (b"close(3) = 0", 0, Said::Whole(b"close(3) = 0")),
            (b"7 12:00:01.5 close(3)", 7, Said::Whole(b"close(3)")),
            (b"7  1700000000.123456 (x)", 7, Said::Strange),
            (b"7 vfork( <unfinished ...>", 7, Said::Unfinished(b"vfork( ")),
            (b"7 <... vfork resumed>) = 8", 7, Said::Resumed(b") = 8")),
            (b"7 <... vfork", 7, Said::Strange),
            (b"7 +++ exited with 0 +++", 7, Said::Exited),
            (b"7 +++ killed by SIGKILL +++", 7, Said::Exited),
            (b"7 --- SIGCHLD {si_signo=SIGCHLD} ---", 7, Said::Nothing),
            (b"strace: Process 8 attached", 0, Said::Nothing),
            (b"", 0, Said::Nothing),
            (b"7", 7, Said::Strange),
            (b"hello", 0, Said::Strange),
        ] {
            assert_eq!(split(line), (pid, want), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn calls_are_read() {
        let text = br#"openat(AT_FDCWD, "/a\",)\n\303", O_RDONLY|O_CLOEXEC) = 3</a>"#;
        let call = Call::parse(text).unwrap();
        assert_eq!((call.name, call.result), (&b"openat"[..], Some(3)));
        assert_eq!(call.path(1).unwrap(), b"/a\",)\n\xc3");
        assert!(call.has(2, b"O_CLOEXEC") && !call.has(2, b"O_RDWR"));
        let call = Call::parse(b"preadv(3, [{iov_base=\"x\", iov_len=2}, {}], 2, 0x10) = 0x7f").unwrap();
        assert_eq!((call.arguments.len(), call.number(3), call.result), (4, Some(16), Some(127)));
        let call = Call::parse(b"sendfile(1, 3, [100] => [150], 50) = -1 EAGAIN (later)").unwrap();
        assert_eq!((call.pointed(2), call.result), (Some(100), None));
        assert_eq!(decoration(b"3</etc/a\\040b>"), Some(b"/etc/a b".to_vec()));
        assert_eq!(decoration(b"3<socket:[1]>"), None);
        let call = Call::parse(b"read(3, \"x\"..., 100) = 18446744073709551615").unwrap();
        assert_eq!(call.result, None, "-1 without its sign");
        for broken in [&b"close(3"[..], b"close", b"f(\"", b"f(}]) 0", b"f(\"\\"] {
            assert_eq!(Call::parse(broken), None);
        }
    }
}
