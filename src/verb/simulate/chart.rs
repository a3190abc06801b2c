//! Charts as inline SVG: lines for memory as images are added, bars for parts of a whole. Numbers in, text
//! out; colours are classes that the page gives a meaning to, in light and in dark.

use std::fmt::Write as _;

use super::escape::escaped;
use crate::words::size;

/// Width of a chart in its own units, and what of it the names of bars take.
const WIDTH: f64 = 760.0;
const NAMES: f64 = 250.0;
const VALUES: f64 = 150.0;
/// Height of a row of a bar chart.
const ROW: f64 = 26.0;
/// Height and margins of a line chart.
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 86.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 40.0;
/// How many characters of a name fit before a bar.
const NAME_CHARS: usize = 34;
/// How many lines with numbers a line chart has.
const TICKS: u32 = 4;

/// A bar: its name, the whole of it, and the part that stands before the rest.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) whole: u64,
    pub(super) part: u64,
    /// What the bar is, in words.
    pub(super) says: String,
}

/// Horizontal bars. `id` is unique on the page, `title` names the chart to those who do not see it.
pub(super) fn bars(id: &str, title: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.whole).max().unwrap_or(0);
    let height = ROW * count(bars.len()) + 8.0;
    let mut svg = open(id, title, height);
    for (index, bar) in bars.iter().enumerate() {
        let y = ROW * count(index) + 4.0;
        let scale = |bytes: u64| (WIDTH - NAMES - VALUES) * ratio(bytes, most);
        let (whole, part) = (scale(bar.whole), scale(bar.part));
        let says = escaped(&format!("{}: {}", bar.name, bar.says));
        let name = escaped(&short(&bar.name));
        let value = escaped(&size(bar.whole));
        let text = y + 15.0;
        let after = NAMES + whole + 8.0;
        add(&mut svg, format_args!("<g><title>{says}</title>"));
        let end = NAMES - 10.0;
        add(&mut svg, format_args!("<text class=\"name\" x=\"{end:.1}\" y=\"{text:.1}\">{name}</text>"));
        rect(&mut svg, "saved", (NAMES, y), whole);
        rect(&mut svg, "kept", (NAMES, y), part);
        add(
            &mut svg,
            format_args!("<text class=\"value\" x=\"{after:.1}\" y=\"{text:.1}\">{value}</text></g>"),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn rect(svg: &mut String, class: &str, (x, y): (f64, f64), width: f64) {
    let height = ROW - 7.0;
    add(
        svg,
        format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"/>"
        ),
    );
}

/// Memory after each image, without sharing and with it.
pub(super) fn growth(id: &str, title: &str, steps: &[(String, u64, u64)]) -> String {
    let most = steps.iter().map(|step| step.1.max(step.2)).max().unwrap_or(0);
    let mut svg = open(id, title, HEIGHT);
    let y = |bytes: u64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - ratio(bytes, most));
    let x = |index: usize| LEFT + (WIDTH - LEFT - RIGHT) * count(index) / count(steps.len().max(1));
    let right = WIDTH - RIGHT;
    for tick in 0..=TICKS {
        let bytes = u64::try_from(u128::from(most) * u128::from(tick) / u128::from(TICKS)).unwrap_or(most);
        let (at, label) = (y(bytes), escaped(&size(bytes)));
        let text = at + 4.0;
        add(
            &mut svg,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            ),
        );
        let end = LEFT - 8.0;
        add(&mut svg, format_args!("<text class=\"name\" x=\"{end:.1}\" y=\"{text:.1}\">{label}</text>"));
    }
    let points = |pick: fn(&(String, u64, u64)) -> u64| {
        let first = format!("{:.1},{:.1}", x(0), y(0));
        steps.iter().enumerate().fold(first, |mut text, (index, step)| {
            add(&mut text, format_args!(" {:.1},{:.1}", x(index + 1), y(pick(step))));
            text
        })
    };
    let (without, with) = (points(|step| step.1), points(|step| step.2));
    let base = y(0);
    add(&mut svg, format_args!("<polygon class=\"area\" points=\"{with} {right:.1},{base:.1}\"/>"));
    add(&mut svg, format_args!("<polyline class=\"without\" points=\"{without}\"/>"));
    add(&mut svg, format_args!("<polyline class=\"with\" points=\"{with}\"/>"));
    growth_labels(&mut svg, steps, &x, &y);
    svg.push_str("</svg>");
    svg
}

/// Dots where there are few images, names of the lines at their ends, and what the horizontal axis is.
fn growth_labels(
    svg: &mut String,
    steps: &[(String, u64, u64)],
    x: &dyn Fn(usize) -> f64,
    y: &dyn Fn(u64) -> f64,
) {
    if steps.len() <= 60 {
        for (index, (name, without, with)) in steps.iter().enumerate() {
            let at = x(index + 1);
            for (class, bytes, word) in
                [("without-dot", *without, "without sharing"), ("with-dot", *with, "with sharing")]
            {
                let says = escaped(&format!("after {name}: {} {word}", size(bytes)));
                let high = y(bytes);
                add(
                    svg,
                    format_args!(
                        "<circle class=\"{class}\" cx=\"{at:.1}\" cy=\"{high:.1}\" r=\"3.5\"><title>{says}</title></circle>"
                    ),
                );
            }
        }
    }
    if let Some((_, without, with)) = steps.last() {
        let from = x(steps.len()) + 10.0;
        let (above, below) = (y(*without) + 4.0, y(*with) + 4.0);
        // Lines that end close to each other would write over each other.
        let below = if below - above < 15.0 { above + 15.0 } else { below };
        add(
            svg,
            format_args!("<text class=\"label\" x=\"{from:.1}\" y=\"{above:.1}\">without sharing</text>"),
        );
        add(svg, format_args!("<text class=\"label\" x=\"{from:.1}\" y=\"{below:.1}\">with sharing</text>"));
    }
    let (middle, bottom) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 10.0);
    let images = crate::words::counted(u64::try_from(steps.len()).unwrap_or(u64::MAX), "image", "images");
    add(
        svg,
        format_args!(
            "<text class=\"middle\" x=\"{middle:.1}\" y=\"{bottom:.1}\">{images}, in the order of mounting</text>"
        ),
    );
}

fn open(id: &str, title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-title\"><title id=\"{id}-title\">{title}</title>"
    )
}

fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    text.write_fmt(what).unwrap_or_default();
}

#[expect(clippy::cast_precision_loss, reason = "places on a screen")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "places on a screen")]
fn count(number: usize) -> f64 {
    number as f64
}

/// The end of a name that is too long: it tells more than the beginning.
fn short(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME_CHARS {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length + 1 - NAME_CHARS).collect();
    format!("\u{2026}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_hold_whatever_numbers_there_are() {
        for (whole, part) in [(0, 0), (1, 0), (u64::MAX, u64::MAX), (10, 20)] {
            let bar = Bar { name: "<a>\u{1b}".into(), whole, part, says: "\"x\" & y".into() };
            let text = bars("b", "t", &[bar.clone(), bar]);
            assert!(text.ends_with("</svg>") && !text.contains("NaN") && !text.contains("inf"), "{text}");
            assert!(!text.contains("<a>") && !text.contains('\u{1b}'));
            let step = ("<i>".to_owned(), whole, part);
            for steps in [vec![], vec![step.clone()], vec![step; 100]] {
                let text = growth("g", "t", &steps);
                assert!(!text.contains("NaN") && !text.contains("inf") && !text.contains("<i>"), "{text}");
            }
        }
        assert_eq!(bars("b", "t", &[]).matches("<rect").count(), 0);
    }

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(short("/usr/lib"), "/usr/lib");
        let long = format!("{}end", "x".repeat(100));
        assert_eq!(short(&long).chars().count(), NAME_CHARS);
        assert!(short(&long).ends_with("xend"));
    }
}
