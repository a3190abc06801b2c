//! The report as text for people, and as comma-separated values.

use std::io::Write;

use super::named::Largest;
use super::report::{Domain, Duplicates, ImageReport, Report};
use crate::exit::one_line;
use crate::words::{counted, size};

/// How many images of a set are named in the table.
const NAMES_MAX: usize = 4;
/// How many directories are listed.
const DIRECTORIES_MAX: usize = 8;

/// Everything, for people.
pub(super) fn text(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    writeln!(out, "{}", one_line(&heading(report)))?;
    table(out, report)?;
    images(out, report)?;
    events(out, report)?;
    directories(out, report)?;
    for cause in &report.not_shared {
        let files = counted(cause.files, "file", "files");
        writeln!(out, "\nnot shared: {files}, {}: {}", size(cause.bytes), cause.reason)?;
        files_of(out, &cause.largest)?;
    }
    duplicates(out, &report.duplicates)?;
    let metadata = report.metadata;
    writeln!(
        out,
        "\nmetadata takes {} more, in each mount its own: directories {}, other pages of the device {}",
        size(report.metadata_bytes),
        size(metadata.directories_bytes),
        size(metadata.device_bytes)
    )?;
    for advice in &report.advice {
        writeln!(out, "\nadvice: {}", one_line(&advice.text))?;
        files_of(out, &advice.largest)?;
    }
    Ok(())
}

/// What was simulated, in a line.
pub(super) fn heading(report: &Report) -> String {
    let what = match (report.access.as_str(), &report.title) {
        (_, Some(title)) => format!("scenario \"{title}\""),
        ("all" | "read", None) => "every file read completely".to_owned(),
        ("mmap", None) => "every file mapped and touched completely".to_owned(),
        ("sendfile", None) => "every file sent completely by sendfile".to_owned(),
        (trace, None) => format!("accesses of {trace}"),
    };
    let backend = report.backend.map(|name| format!(", backend {name}")).unwrap_or_default();
    format!("Linux {}, {what}{backend}", report.kernel)
}

/// The name of a domain, and its images where they are few.
pub(super) fn image_set(report: &Report, domain: &Domain) -> String {
    let own = report.images.iter().filter(|image| image.domain == domain.name);
    if domain.images > NAMES_MAX {
        let count = u64::try_from(domain.images).unwrap_or(u64::MAX);
        return format!("{}: {}", domain.name, counted(count, "image", "images"));
    }
    let last = |image: &ImageReport| image.path.rsplit('/').next().unwrap_or_default().to_owned();
    format!("{}: {}", domain.name, own.map(last).collect::<Vec<_>>().join(", "))
}

fn table(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    let total = ("total".to_owned(), report.total);
    let mut rows: Vec<_> =
        report.domains.iter().map(|domain| (image_set(report, domain), domain.total)).collect();
    if rows.len() != 1 || report.title.is_some() {
        rows.push(total);
    }
    let width = rows.iter().map(|row| one_line(&row.0).chars().count()).max().unwrap_or(0).max(24);
    writeln!(
        out,
        "\n{:<width$} {:>16} {:>14} {:>10}",
        "image set", "page cache share", "memory", "reduction"
    )?;
    for (name, total) in rows {
        let name = one_line(&name);
        writeln!(out, "{name:<width$} {:>16} {:>14} {:>10}", "no", size(total.private_bytes), "-")?;
        let percent = format!("{:.1} %", total.saved_percent);
        writeln!(out, "{:<width$} {:>16} {:>14} {percent:>10}", "", "yes", size(total.shared_bytes))?;
    }
    Ok(())
}

fn images(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    let name = |image: &ImageReport| match &image.mount {
        Some(mount) => one_line(&format!("{mount} ({})", image.path)),
        None => one_line(&image.path),
    };
    let width = report.images.iter().map(|image| name(image).chars().count()).max().unwrap_or(0).max(24);
    writeln!(out, "\n{:<width$} {:>9} {:>14} {:>14}", "image", "files", "all", "it adds")?;
    for image in &report.images {
        let (all, adds) = (size(image.private_bytes()), size(image.marginal_bytes));
        writeln!(out, "{:<width$} {:>9} {all:>14} {adds:>14}", name(image), image.files)?;
    }
    Ok(())
}

fn events(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    if report.events.is_empty() {
        return Ok(());
    }
    let width = report.events.iter().map(|event| one_line(&event.what).chars().count()).max().unwrap_or(0);
    writeln!(out, "\n{:>5} {:<width$} {:>12} {:>12}", "", "event", "pages", "not shared")?;
    for event in &report.events {
        let pages = |added: u64, dropped: u64| match (added, dropped) {
            (0, 0) => "0".to_owned(),
            (added, 0) => format!("+{added}"),
            (0, dropped) => format!("-{dropped}"),
            (added, dropped) => format!("+{added} -{dropped}"),
        };
        let shared = pages(event.added_pages, event.dropped_pages);
        let alone = pages(event.unshared_added_pages, event.unshared_dropped_pages);
        let what = one_line(&event.what);
        match &event.error {
            None => writeln!(out, "{:>5} {what:<width$} {shared:>12} {alone:>12}", event.event)?,
            Some(error) => writeln!(out, "{:>5} {what:<width$} {}", event.event, one_line(error))?,
        }
    }
    Ok(())
}

fn directories(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    if report.directories.is_empty() {
        return Ok(());
    }
    let shown = || report.directories.iter().take(DIRECTORIES_MAX);
    let width = shown().map(|dir| one_line(&dir.path).chars().count()).max().unwrap_or(0).max(24);
    writeln!(out, "\n{:<width$} {:>14} {:>14}", "directory", "not shared", "shared")?;
    for dir in shown() {
        let (private, shared) = (size(dir.private_bytes), size(dir.shared_bytes));
        writeln!(out, "{:<width$} {private:>14} {shared:>14}", one_line(&dir.path))?;
    }
    Ok(())
}

fn duplicates(out: &mut dyn Write, found: &Duplicates) -> anyhow::Result<()> {
    if found.across_images_files + found.within_images_files == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\nstored more than once, by {}: {} in {} within images, {} in {} across images",
        found.by,
        size(found.within_images_bytes),
        counted(found.within_images_files, "file", "files"),
        size(found.across_images_bytes),
        counted(found.across_images_files, "file", "files")
    )?;
    Ok(())
}

fn files_of(out: &mut dyn Write, files: &[Largest]) -> anyhow::Result<()> {
    for file in files {
        let line = one_line(&format!("{}:{}", file.image, file.path));
        writeln!(out, "  {:>12}  {line}", size(file.bytes))?;
    }
    Ok(())
}

/// One line per image.
pub(super) fn csv(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    writeln!(out, "image,domain,files,pages,marginal_bytes")?;
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    for image in &report.images {
        let (path, domain) = (quoted(&image.path), quoted(&image.domain));
        writeln!(out, "{path},{domain},{},{},{}", image.files, image.pages, image.marginal_bytes)?;
    }
    Ok(())
}
