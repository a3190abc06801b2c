//! What samples of the page cache show, as a list of accesses: one line each, `IMAGE PATH OFFSET LENGTH
//! METHOD`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use erofs_sim::pages::PageSet;

use crate::resident::FilePages;

/// How pages are said to have come into memory; the page cache does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceMethod {
    /// Not said: these pages were in memory, and no others of the file that are not named.
    Pages,
    /// By `read`.
    Read,
    /// Through mappings.
    Mmap,
}

impl TraceMethod {
    /// Its name in a trace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Read => "read",
            Self::Mmap => "mmap",
        }
    }
}

/// The pages of an image that samples have shown so far.
#[derive(Debug, Default)]
pub struct Seen {
    files: HashMap<Vec<u8>, PageSet>,
}

impl Seen {
    /// Writes a line for every run of pages that no sample has shown before, and returns how many lines and
    /// pages those were. `page` is the size of a page in bytes.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_new(
        &mut self,
        out: &mut dyn Write,
        image: &[u8],
        files: &[FilePages],
        page: u64,
        method: TraceMethod,
    ) -> io::Result<(u64, u64)> {
        let image = escape(image);
        let (mut lines, mut pages) = (0, 0);
        for file in files.iter().filter(|file| file.resident() > 0) {
            let known = self.files.entry(file.path.clone()).or_default();
            let path = escape(&file.path);
            let runs = file.runs.iter().flatten();
            let runs: Vec<_> = runs.flat_map(|run| known.gaps(run.clone())).collect();
            for run in runs {
                pages += known.insert(run.clone());
                lines += 1;
                let offset = run.start * page;
                let length = (run.end * page).min(file.size).saturating_sub(offset);
                writeln!(out, "{image} {path} {offset} {length} {}", method.name())?;
            }
        }
        Ok((lines, pages))
    }
}

/// A name as one field of a line: bytes that are not visible ASCII, and the backslash, as a backslash and
/// three octal digits; so is a number sign at the start, which would make the line a comment.
pub fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for (index, &byte) in name.iter().enumerate() {
        if byte.is_ascii_graphic() && byte != b'\\' && (byte != b'#' || index > 0) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(text, "\\{byte:03o}").unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    #[test]
    fn names_are_one_field() {
        for (name, want) in [
            (&b"/usr/lib/libc.so.6"[..], "/usr/lib/libc.so.6"),
            (b"/a b\tc\nd\\e", "/a\\040b\\011c\\012d\\134e"),
            (b"#x#", "\\043x#"),
            (b"/\xc3\xbc\x7f", "/\\303\\274\\177"),
        ] {
            assert_eq!(escape(name), want);
        }
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of runs may have one run")]
    fn lines_are_new_pages_in_the_order_of_samples() {
        let file = |path: &str, size, runs: &[Range<u64>]| FilePages {
            path: path.into(),
            size,
            runs: Some(runs.to_vec()),
            own: None,
            shared: false,
        };
        let mut seen = Seen::default();
        let mut text = Vec::new();
        let samples = [
            vec![file("/a", 20_000, &[0..2, 4..5]), file("/b c", 1, &[0..1])],
            vec![file("/a", 20_000, &[1..5]), file("/b c", 1, &[])],
            vec![file("/a", 20_000, &[0..5]), file("/d", 9000, &[1..3])],
        ];
        let mut counts = Vec::new();
        for (files, method) in samples.iter().zip([TraceMethod::Pages, TraceMethod::Read, TraceMethod::Mmap])
        {
            counts.push(seen.write_new(&mut text, b"i.img", files, 4096, method).unwrap());
        }
        assert_eq!(counts, [(3, 4), (1, 2), (1, 2)]);
        let want = "i.img /a 0 8192 pages\n\
            i.img /a 16384 3616 pages\n\
            i.img /b\\040c 0 1 pages\n\
            i.img /a 8192 8192 read\n\
            i.img /d 4096 4904 mmap\n";
        assert_eq!(String::from_utf8(text).unwrap(), want);
    }
}
