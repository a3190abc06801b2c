//! The report as one page for a browser: text, tables and charts, without a script and without anything from
//! elsewhere.

use std::fmt::Write as _;

use super::chart::{self, Bar};
use super::escape::escaped;
use super::named::Largest;
use super::print::{heading, image_set};
use super::report::{Report, Total};
use crate::words::{counted, grouped, size};

/// How many images and events are listed; the charts have all of them.
const ROWS_MAX: usize = 500;

/// A bar is drawn for what is not less than so manyth of the longest.
const BAR_SHARE: u64 = 400;

/// Colours by what they mean. The page follows what the reader's system prefers.
const STYLE: &str = "\
:root{color-scheme:light dark;--page:#fff;--text:#1b1f24;--quiet:#59636e;--line:#d5dae0;--soft:#f3f5f8;--kept:#1f6feb;\
--saved:#c3d9f9;--without:#b35900;--with:#1f6feb;--area:#1f6feb1f}\
@media (prefers-color-scheme:dark){:root{--page:#14181d;--text:#e4e8ec;--quiet:#9aa5b1;--line:#38414b;--soft:#1d232a;\
--kept:#5b9dff;--saved:#29415f;--without:#f0a04b;--with:#5b9dff;--area:#5b9dff26}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:62rem;padding:2rem 1.25rem 4rem;background:var(--page);color:var(--text);\
font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .25rem}h2{font-size:1.2rem;margin:2.5rem 0 .5rem}\
h3{font-size:1rem;margin:1.25rem 0 .25rem}p{margin:.4rem 0;max-width:46rem}.quiet{color:var(--quiet)}\
.figures{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.25rem 0 0;padding:0;list-style:none}\
.figures li{flex:1 1 11rem;background:var(--soft);border-radius:8px;padding:.7rem 1rem}\
.figures b{display:block;font-size:1.45rem;font-weight:650;font-variant-numeric:tabular-nums}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.35rem .75rem .35rem 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600;color:var(--quiet)}.n{text-align:right;white-space:nowrap}\
td.path{overflow-wrap:anywhere;font-family:ui-monospace,SFMono-Regular,Menlo,monospace;font-size:.87rem}\
svg{display:block;width:100%;height:auto;margin:.5rem 0}svg text{fill:var(--text);font-size:13px}\
svg .name{text-anchor:end}svg .middle{text-anchor:middle;fill:var(--quiet)}svg .value{fill:var(--quiet)}\
.kept{fill:var(--kept)}.saved{fill:var(--saved)}.grid{stroke:var(--line)}.area{fill:var(--area)}\
.without,.with{fill:none;stroke-width:2.5;stroke-linejoin:round}.without{stroke:var(--without);stroke-dasharray:7 4}\
.with{stroke:var(--with)}.without-dot{fill:var(--without)}.with-dot{fill:var(--with)}\
.key{display:inline-block;width:.85em;height:.85em;border-radius:3px;margin:0 .35em 0 0;vertical-align:-.08em}\
.key.kept{background:var(--kept)}.key.saved{background:var(--saved);margin-left:1.2em}\
details{margin:.3rem 0}summary{cursor:pointer;color:var(--quiet)}\
@media print{body{max-width:none}}";

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = escaped(&heading(report));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Page cache of EROFS images: {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Page cache of EROFS images</h1>\n<p class=\"quiet\">{title}</p>\n"
    );
    figures(&mut page, report);
    sets(&mut page, report);
    growth(&mut page, report);
    directories(&mut page, report);
    reasons(&mut page, report);
    advice(&mut page, report);
    events(&mut page, report);
    beside(&mut page, report);
    let version = env!("CARGO_PKG_VERSION");
    add(
        &mut page,
        format_args!("<p class=\"quiet\">erofs-ishare {version} simulate</p>\n</main>\n</body>\n</html>\n"),
    );
    page
}

fn add(page: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    page.write_fmt(what).unwrap_or_default();
}

fn figures(page: &mut String, report: &Report) {
    let Total { private_bytes, shared_bytes, saved_bytes, saved_percent } = report.total;
    let (without, with, saved) = (size(private_bytes), size(shared_bytes), size(saved_bytes));
    let metadata = size(report.metadata_bytes);
    add(
        page,
        format_args!(
            "<ul class=\"figures\"><li><b>{without}</b>without sharing</li><li><b>{with}</b>with sharing</li>\
             <li><b>{saved_percent:.1} %</b>saved, {saved}</li><li><b>{metadata}</b>metadata, never shared</li></ul>\n"
        ),
    );
}

/// A table; `numbers` columns at the end are right-aligned, the first may be a path.
fn table(page: &mut String, head: &[&str], numbers: usize, path: bool, rows: &[Vec<String>]) {
    let text = head.len().saturating_sub(numbers);
    page.push_str("<div class=\"scroll\"><table><thead><tr>");
    for (index, name) in head.iter().enumerate() {
        let class = if index < text { "" } else { " class=\"n\"" };
        add(page, format_args!("<th scope=\"col\"{class}>{}</th>", escaped(name)));
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in rows.iter().take(ROWS_MAX) {
        page.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let class = match index {
                0 if path => " class=\"path\"",
                index if index < text => "",
                _ => " class=\"n\"",
            };
            add(page, format_args!("<td{class}>{}</td>", escaped(cell)));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
    if rows.len() > ROWS_MAX {
        let more = u64::try_from(rows.len() - ROWS_MAX).unwrap_or(u64::MAX);
        add(page, format_args!("<p class=\"quiet\">and {} more</p>\n", grouped(more)));
    }
}

fn sets(page: &mut String, report: &Report) {
    page.push_str("<h2>Image sets</h2>\n");
    let mut rows = Vec::new();
    let mut set = |name: String, total: Total| {
        rows.push(vec![name, "no".into(), size(total.private_bytes), "\u{2013}".into()]);
        let percent = format!("{:.1} %", total.saved_percent);
        rows.push(vec![String::new(), "yes".into(), size(total.shared_bytes), percent]);
    };
    for domain in &report.domains {
        set(image_set(report, domain), domain.total);
    }
    if report.domains.len() != 1 || report.title.is_some() {
        set("total".into(), report.total);
    }
    table(page, &["Image set", "Page cache share", "Memory", "Reduction"], 2, false, &rows);
}

fn growth(page: &mut String, report: &Report) {
    page.push_str("<h2>Memory as images are added</h2>\n");
    let (mut without, mut with) = (0, 0);
    let steps: Vec<(String, u64, u64)> = report
        .images
        .iter()
        .map(|image| {
            without = u64::saturating_add(without, image.private_bytes());
            with = u64::saturating_add(with, image.marginal_bytes);
            (image.path.clone(), without, with)
        })
        .collect();
    page.push_str(&chart::growth("growth", "Memory after each image, without sharing and with it", &steps));
    let rows: Vec<Vec<String>> = report
        .images
        .iter()
        .map(|image| {
            let name = image.mount.as_ref().map_or(String::new(), |mount| format!("{mount}: "));
            let (all, adds) = (size(image.private_bytes()), size(image.marginal_bytes));
            vec![format!("{name}{}", image.path), image.domain.clone(), grouped(image.files), all, adds]
        })
        .collect();
    table(page, &["Image", "Domain", "Files", "All", "It adds"], 3, true, &rows);
}

fn directories(page: &mut String, report: &Report) {
    if report.directories.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Where the bytes go</h2>\n<p class=\"quiet\"><span class=\"key kept\"></span>in memory with sharing\
         <span class=\"key saved\"></span>saved by it</p>\n",
    );
    let bar = |dir: &super::report::Directory| Bar {
        name: dir.path.clone(),
        whole: dir.private_bytes,
        part: dir.shared_bytes.min(dir.private_bytes),
        says: format!("{} with sharing, {} without", size(dir.shared_bytes), size(dir.private_bytes)),
    };
    let most = report.directories.iter().map(|dir| dir.private_bytes).max().unwrap_or(0);
    let seen = |dir: &&super::report::Directory| dir.private_bytes >= most / BAR_SHARE;
    let bars: Vec<Bar> = report.directories.iter().filter(seen).map(bar).collect();
    page.push_str(&chart::bars("directories", "Memory by directory, with sharing and saved by it", &bars));
}

fn reasons(page: &mut String, report: &Report) {
    page.push_str("<h2>What does not share, and why</h2>\n");
    if report.not_shared.is_empty() {
        page.push_str("<p>Every file shares.</p>\n");
        return;
    }
    let bar = |row: &super::report::NotShared| Bar {
        name: row.code.replace('_', " "),
        whole: row.bytes,
        part: row.bytes,
        says: row.reason.to_owned(),
    };
    let bars: Vec<Bar> = report.not_shared.iter().map(bar).collect();
    page.push_str(&chart::bars("reasons", "Memory that is not shared, by reason", &bars));
    for row in &report.not_shared {
        let (name, reason) = (escaped(&row.code.replace('_', " ")), escaped(row.reason));
        let files = counted(row.files, "file", "files");
        add(page, format_args!("<h3>{name}</h3>\n<p>{files}, {}: {reason}.</p>\n", size(row.bytes)));
        largest(page, &row.largest);
    }
}

fn largest(page: &mut String, files: &[Largest]) {
    if files.is_empty() {
        return;
    }
    page.push_str("<details><summary>the largest files</summary>\n");
    let row = |file: &Largest| vec![file.path.clone(), file.image.clone(), size(file.bytes)];
    table(page, &["File", "Image", "Bytes"], 1, true, &files.iter().map(row).collect::<Vec<_>>());
    page.push_str("</details>\n");
}

fn advice(page: &mut String, report: &Report) {
    if report.advice.is_empty() {
        return;
    }
    page.push_str("<h2>What could be done</h2>\n");
    for advice in &report.advice {
        let (name, text) = (escaped(&advice.code.replace('_', " ")), escaped(&advice.text));
        add(page, format_args!("<h3>{name}</h3>\n<p>{text}.</p>\n"));
        largest(page, &advice.largest);
    }
}

fn events(page: &mut String, report: &Report) {
    if report.events.is_empty() {
        return;
    }
    page.push_str("<h2>Events</h2>\n");
    let pages = |added: u64, dropped: u64| match (added, dropped) {
        (0, 0) => "0".to_owned(),
        (added, 0) => format!("+{}", grouped(added)),
        (0, dropped) => format!("\u{2212}{}", grouped(dropped)),
        (added, dropped) => format!("+{} \u{2212}{}", grouped(added), grouped(dropped)),
    };
    let row = |event: &super::report::EventReport| match &event.error {
        Some(error) => vec![format!("{}: {error}", event.what), String::new(), String::new()],
        None => vec![
            event.what.clone(),
            pages(event.added_pages, event.dropped_pages),
            pages(event.unshared_added_pages, event.unshared_dropped_pages),
        ],
    };
    let rows: Vec<Vec<String>> = report.events.iter().map(row).collect();
    table(page, &["Event", "Pages", "Without sharing"], 2, true, &rows);
}

fn beside(page: &mut String, report: &Report) {
    let (metadata, found) = (report.metadata, report.duplicates);
    page.push_str("<h2>Beside the data of files</h2>\n");
    let mut rows = vec![
        vec!["Directories, in each mount".to_owned(), size(metadata.directories_bytes)],
        vec!["Superblocks, inodes, attributes, ends of files".into(), size(metadata.device_bytes)],
        vec!["Packed inodes and metaboxes".into(), size(metadata.special_bytes)],
    ];
    if found.within_images_files + found.across_images_files != 0 {
        let by = found.by;
        rows.push(vec![
            format!("Stored more than once within images, by {by}"),
            size(found.within_images_bytes),
        ]);
        rows.push(vec![
            format!("Stored more than once across images, by {by}"),
            size(found.across_images_bytes),
        ]);
    }
    table(page, &["What", "Bytes"], 1, false, &rows);
}
