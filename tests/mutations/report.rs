//! What came of all images: numbers, and every image on which the judges disagree.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::forms::Form;
use crate::judge::{Verdict, Verified};
use crate::kernel::Seen;
use crate::say;

/// How many images of each kind of conflict are printed.
const SHOWN: usize = 20;

#[derive(Default)]
pub(crate) struct Report {
    /// By verify, kernel and fsck.erofs.
    matrix: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// Images that the kernel reads and verify calls wrong, by the only kind of finding.
    strict: BTreeMap<&'static str, u64>,
    conflicts: BTreeMap<&'static str, Vec<String>>,
    /// Images that only fsck.erofs calls wrong.
    fsck_alone: Vec<String>,
    images: u64,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        which: usize,
        form: &Form,
        number: u64,
        what: &str,
        image: &[u8],
        verdict: &Verdict,
    ) {
        self.images += 1;
        let verified = match &verdict.verified {
            Verified::Right => "right",
            Verified::Wrong(..) => "wrong",
            Verified::Unread(_) => "not read",
            Verified::Panicked => "panic",
        };
        let kernel = match &verdict.kernel {
            Seen::Refused(_) => "not mounted",
            Seen::View(view) if view.troubles.is_empty() => "read",
            Seen::View(_) => "trouble",
            Seen::Lost => "lost",
        };
        let fsck = match verdict.fsck {
            Some(true) => "right",
            Some(false) => "wrong",
            None => "none",
        };
        *self.matrix.entry((verified, kernel, fsck)).or_default() += 1;
        if let (Verified::Wrong(codes, _), true) = (&verdict.verified, verdict.is_read())
            && let [code] = codes.as_slice()
        {
            *self.strict.entry(code).or_default() += 1;
        }
        let name = &form.name;
        let unchanged = what == "unchanged";
        let line = format!("image {number} ({name}): {what}\n{}", detail(verdict));
        let conflict = verdict.conflict().or_else(|| {
            let fine = verdict.verified == Verified::Right && verdict.fsck != Some(false);
            (unchanged && !fine).then_some("an unchanged image is not right")
        });
        if let Some(conflict) = conflict {
            keep(which, number, image);
            say(&format!("{conflict}: {line}"));
            self.conflicts.entry(conflict).or_default().push(line);
        } else if verdict.verified == Verified::Right && verdict.fsck == Some(false) {
            self.fsck_alone.push(line);
        }
        if self.images.is_multiple_of(1000) {
            say(&format!(
                "{} images, {} conflicts",
                self.images,
                self.conflicts.values().map(Vec::len).sum::<usize>()
            ));
        }
    }

    pub(crate) fn is_right(&self) -> bool {
        self.conflicts.is_empty()
    }

    pub(crate) fn print(&self, forms: &[Form]) {
        say(&format!("{} images of {} forms", self.images, forms.len()));
        say(&format!("{:>10} {:>12} {:>11} {:>8}", "verify", "Linux", "fsck.erofs", "images"));
        for ((verified, kernel, fsck), count) in &self.matrix {
            say(&format!("{verified:>10} {kernel:>12} {fsck:>11} {count:>8}"));
        }
        say("read by Linux, and wrong for one reason:");
        for (code, count) in &self.strict {
            say(&format!("{count:>8} {code}"));
        }
        say(&format!("{} wrong for fsck.erofs alone, such as", self.fsck_alone.len()));
        for line in self.fsck_alone.iter().take(5) {
            say(line);
        }
        for (conflict, images) in &self.conflicts {
            say(&format!("CONFLICT {conflict}: {} images", images.len()));
            for line in images.iter().take(SHOWN) {
                say(line);
            }
        }
    }
}

/// The lines of a verdict that say in what the judges differ.
fn detail(verdict: &Verdict) -> String {
    let mut lines = Vec::new();
    match &verdict.verified {
        Verified::Right => lines.push("  verify: right".to_owned()),
        Verified::Wrong(_, first) => lines.push(format!("  verify: {first}")),
        Verified::Unread(error) => lines.push(format!("  verify: not read: {error}")),
        Verified::Panicked => lines.push("  verify: panic".to_owned()),
    }
    match &verdict.kernel {
        Seen::Refused(reason) => lines.push(format!("  Linux does not mount it: {reason}")),
        Seen::Lost => lines.push("  Linux does not come back".to_owned()),
        Seen::View(view) => {
            lines.extend(view.troubles.iter().take(3).map(|trouble| format!("  Linux: {trouble}")));
            let ours = verdict.ours.clone().unwrap_or_default();
            lines.extend(ours.troubles.iter().take(3).map(|trouble| format!("  we: {trouble}")));
            let only = |one: &[String], other: &[String]| -> Vec<String> {
                one.iter().filter(|line| !other.contains(line)).take(2).cloned().collect()
            };
            if verdict.ours.is_some() {
                lines.extend(
                    only(&view.lines, &ours.lines).iter().map(|line| format!("  only Linux: {line}")),
                );
                lines.extend(only(&ours.lines, &view.lines).iter().map(|line| format!("  only we: {line}")));
            }
        }
    }
    lines.extend(verdict.verb.iter().map(|verb| format!("  {verb}")));
    lines.push(format!("  fsck.erofs: {:?}", verdict.fsck));
    lines.join("\n")
}

/// Keeps an image for a look at it.
fn keep(which: usize, number: u64, image: &[u8]) {
    if let Some(folder) = std::env::var_os("EROFS_MUTATION_KEEP").map(PathBuf::from) {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number}-form{which}.img")), image).unwrap();
    }
}
