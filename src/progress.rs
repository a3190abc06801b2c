//! Progress bars on stderr: one per stage, gone when the stage is over.

use std::fmt::Write;
use std::io::{IsTerminal as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use erofs_tree::{Progress, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const SCAN: &str = "scan     {spinner} {pos} entries  {elapsed}";
const COMPARE: &str = "compare  [{wide_bar}] {percent:>3}%  {binary_bytes} of {binary_total_bytes}  \
                       {binary_bytes_per_sec}  {eta} left";
const CONTENT: &str = "content  [{wide_bar}] {percent:>3}%  {files} files  {binary_bytes} of {binary_total_bytes}  \
                       {binary_bytes_per_sec}  {eta} left";
const WRITE: &str = "write    {spinner} {pos} inodes  {elapsed}";

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
        let show_files = move |_: &ProgressState, out: &mut dyn Write| {
            // Whoever draws the line notices if it cannot be written.
            let _ = write!(out, "{}", counter.load(Ordering::Relaxed));
        };
        let bar = |template: &str| {
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let style = style.with_key("files", show_files.clone()).progress_chars("=> ");
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
    fn the_templates_are_understood() {
        for template in [SCAN, CONTENT, WRITE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
