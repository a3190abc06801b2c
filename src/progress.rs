//! Progress bars on stderr: one per stage, gone when the stage is over.

use std::fmt::Write;
use std::io::{IsTerminal as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use erofs_tree::{Progress, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::words::{counted, size};

const SCAN: &str = "scan     {spinner} {pos} entries  {elapsed}";
const COMPARE: &str = "{compare}";
const CONTENT: &str = "{content}";
const WRITE: &str = "write    {spinner} {pos} inodes  {elapsed}";
/// The width of a terminal that does not say it, in columns.
const COLUMNS: usize = 80;
/// The shortest bar that is drawn, without its brackets; a part of the line that would leave less is left
/// out.
const BAR_MIN: usize = 10;
/// Before this, a rate is no more than a guess, and so is the time that is left.
const RATE_AFTER: Duration = Duration::from_secs(2);

/// What is shown of a stage that knows its end.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    bytes: u64,
    total: u64,
    /// Where files are counted.
    files: Option<u64>,
    /// Bytes per second, and the time that is left, once they are known.
    rate: Option<(u64, Duration)>,
}

impl Shown {
    fn of(state: &ProgressState, files: Option<u64>) -> Self {
        let known = state.elapsed() >= RATE_AFTER && state.pos() > 0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::as_conversions,
            reason = "no rate is below 0 or near 2^64"
        )]
        let rate = known.then(|| (state.per_sec() as u64, state.eta()));
        Self { bytes: state.pos(), total: state.len().unwrap_or(0), files, rate }
    }

    /// The line for a terminal of so many columns: the bar, then as much as has room beside it, the most
    /// important first.
    fn line(self, name: &str, columns: usize) -> String {
        let Self { bytes, total, files, rate } = self;
        let percent = u128::from(bytes) * 100 / u128::from(total.max(1));
        let percent = if total == 0 { 100 } else { percent.min(100) };
        let mut parts = [
            rate.and_then(|(_, left)| time_left(left)),
            Some(format!("{} of {}", size(bytes), size(total))),
            files.map(|files| counted(files, "file", "files")),
            rate.map(|(rate, _)| format!("{}/s", size(rate))),
        ];
        let begin = format!("{name:<9}[");
        let end = format!("] {percent:>3}%");
        // The last column stays free: some terminals break the line there.
        let mut room = columns.saturating_sub(begin.len() + end.len() + BAR_MIN + 1);
        for part in &mut parts {
            *part = part.take_if(|part| part.len() + 2 <= room);
            room -= part.as_ref().map_or(0, |part| part.len() + 2);
        }
        // Read from left to right: files, bytes, rate, time.
        let [left, amount, files, rate] = parts;
        let mut line = format!("{begin}{}{end}", bar(percent, BAR_MIN + room));
        for part in [files, amount, rate, left].into_iter().flatten() {
            line.push_str("  ");
            line.push_str(&part);
        }
        line
    }
}

/// A bar of so many columns.
fn bar(percent: u128, columns: usize) -> String {
    let filled = usize::try_from(percent).unwrap_or(100) * columns / 100;
    let head = if filled < columns { ">" } else { "" };
    format!("{:<columns$}", format!("{}{head}", "=".repeat(filled)))
}

/// The time that is left in words; nothing for less than a second, which is what nobody can know.
fn time_left(left: Duration) -> Option<String> {
    let seconds = left.as_secs();
    let words = match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => return None,
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    };
    Some(format!("{words} left"))
}

/// How many columns the terminal behind stderr has now.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// Bars for the stages of a build.
///
/// They have no colours, so `NO_COLOR` asks for what they are anyway.
#[derive(Debug)]
pub struct Bars {
    scan: ProgressBar,
    compare: ProgressBar,
    content: ProgressBar,
    write: ProgressBar,
    /// Files of which the content is done; what the bar itself counts is bytes.
    files: Arc<AtomicU64>,
    /// The stage that is running, as [`Stage`] numbers them.
    running: AtomicU64,
}

impl Bars {
    /// Bars on stderr, if it is a terminal that can redraw a line.
    pub fn on_terminal() -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        (stderr().is_terminal() && !dumb).then(|| Self::drawn_by(ProgressDrawTarget::stderr))
    }

    fn drawn_by(target: impl Fn() -> ProgressDrawTarget) -> Self {
        let files = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&files);
        // The caller that draws the line notices if it cannot be written.
        let show_compare = |state: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str(&Shown::of(state, None).line("compare", columns()));
        };
        let show_content = move |state: &ProgressState, out: &mut dyn Write| {
            let files = Some(counter.load(Ordering::Relaxed));
            let _ = out.write_str(&Shown::of(state, files).line("content", columns()));
        };
        let bar = |template: &str| {
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let style = style.with_key("compare", show_compare).with_key("content", show_content.clone());
            let bar = ProgressBar::hidden();
            bar.set_style(style);
            bar.set_draw_target(target());
            bar
        };
        Self {
            scan: bar(SCAN),
            compare: bar(COMPARE),
            content: bar(CONTENT),
            write: bar(WRITE),
            running: AtomicU64::new(number(Stage::Scan)),
            files,
        }
    }

    fn bar(&self, stage: u64) -> &ProgressBar {
        match stage {
            SCAN_NUMBER => &self.scan,
            COMPARE_NUMBER => &self.compare,
            CONTENT_NUMBER => &self.content,
            _ => &self.write,
        }
    }
}

const SCAN_NUMBER: u64 = 0;
const COMPARE_NUMBER: u64 = 1;
const CONTENT_NUMBER: u64 = 2;
const WRITE_NUMBER: u64 = 3;

fn number(stage: Stage) -> u64 {
    match stage {
        Stage::Scan => SCAN_NUMBER,
        Stage::Compare => COMPARE_NUMBER,
        Stage::Content => CONTENT_NUMBER,
        Stage::Write => WRITE_NUMBER,
    }
}

impl Progress for Bars {
    fn begin(&self, stage: Stage, _total_entries: u64, total_bytes: u64) {
        let number = number(stage);
        self.running.store(number, Ordering::Relaxed);
        let bar = self.bar(number);
        if matches!(number, COMPARE_NUMBER | CONTENT_NUMBER) {
            bar.set_length(total_bytes);
        }
        bar.reset();
    }

    fn advance(&self, entries: u64, bytes: u64) {
        match self.running.load(Ordering::Relaxed) {
            SCAN_NUMBER => self.scan.inc(entries),
            COMPARE_NUMBER => self.compare.inc(bytes),
            CONTENT_NUMBER => {
                self.files.fetch_add(entries, Ordering::Relaxed);
                self.content.inc(bytes);
            }
            _ => self.write.inc(entries),
        }
    }

    fn end(&self, stage: Stage) {
        self.bar(number(stage)).finish_and_clear();
    }
}

impl Drop for Bars {
    /// A build that fails in the middle of a stage leaves no bar above its message.
    fn drop(&mut self) {
        for bar in [&self.scan, &self.compare, &self.content, &self.write] {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_counts_what_it_shows() {
        let bars = Bars::drawn_by(ProgressDrawTarget::hidden);
        bars.begin(Stage::Scan, 0, 0);
        bars.advance(3, 0);
        bars.advance(4, 0);
        bars.end(Stage::Scan);
        bars.begin(Stage::Compare, 2, 4000);
        bars.advance(1, 4000);
        bars.end(Stage::Compare);
        bars.begin(Stage::Content, 2, 5000);
        bars.advance(1, 4096);
        bars.advance(1, 904);
        assert!(!bars.content.is_finished());
        bars.end(Stage::Content);
        bars.begin(Stage::Write, 10, 320);
        bars.advance(10, 320);
        bars.end(Stage::Write);
        assert_eq!(bars.scan.position(), 7);
        assert_eq!((bars.compare.position(), bars.compare.length()), (4000, Some(4000)));
        assert_eq!((bars.content.position(), bars.content.length()), (5000, Some(5000)));
        assert_eq!(bars.files.load(Ordering::Relaxed), 2);
        assert_eq!(bars.write.position(), 10);
        assert!(bars.scan.is_finished() && bars.content.is_finished() && bars.write.is_finished());
    }

    #[test]
    fn a_line_fits_and_promises_nothing_that_is_not_known() {
        let rate = |seconds| Some((100 << 20, Duration::from_secs(seconds)));
        let half = Shown { bytes: 5 << 29, total: 5 << 30, files: Some(12_345), rate: rate(75) };
        let done = Shown { bytes: 10, total: 10, ..Shown::default() };
        for (shown, columns, behind) in [
            (half, 100, "  12,345 files  2.5 GiB of 5.0 GiB  100.0 MiB/s  1m 15s left"),
            (half, 80, "  12,345 files  2.5 GiB of 5.0 GiB  1m 15s left"),
            (half, 60, "  2.5 GiB of 5.0 GiB  1m 15s left"),
            (half, 40, "  1m 15s left"),
            (half, 20, ""),
            (Shown { rate: None, files: None, ..half }, 40, ""),
            (Shown { rate: rate(0), files: None, ..half }, 60, "  2.5 GiB of 5.0 GiB  100.0 MiB/s"),
            (done, 60, "  10 bytes of 10 bytes"),
            (Shown::default(), 40, ""),
        ] {
            let line = shown.line("content", columns);
            let percent = if shown.bytes == shown.total { "100" } else { " 50" };
            let (bar, rest) = line.strip_prefix("content  [").and_then(|line| line.split_once("] ")).unwrap();
            assert_eq!(rest, format!("{percent}%{behind}"));
            assert_eq!(line.len(), columns.max(27) - 1, "{line}");
            let head = if percent == "100" { "" } else { ">" };
            assert_eq!(bar.trim_start_matches('=').trim_end(), head, "{line}");
        }
        for (seconds, want) in
            [(0, None), (59, Some("59s left")), (60, Some("1m 00s left")), (7260, Some("2h 01m left"))]
        {
            assert_eq!(time_left(Duration::from_secs(seconds)).as_deref(), want);
        }
    }

    #[test]
    fn the_templates_are_understood() {
        for template in [SCAN, COMPARE, CONTENT, WRITE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
