//! Which file of a crate takes which names from which other file, and the circles of that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::source::{Crate, Import};

/// How many re-exports may follow each other: a guard against names that refer to themselves.
const STEPS: usize = 16;

/// Names by the file that takes them and the file that defines them.
pub(crate) type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

/// What a path leads to.
enum Target {
    Module(usize),
    /// A name that this module defines.
    Item(usize),
}

/// The arrows between the files of a crate.
pub(crate) fn arrows(krate: &Crate) -> Arrows {
    let mut arrows = Arrows::new();
    for (number, module) in krate.modules.iter().enumerate() {
        // A name that is only passed on is no use of it.
        let used = |import: &&Import| !import.is_public || module.words.contains(&import.name);
        let imported = module.imports.iter().filter(used).map(|import| &import.path);
        let mut add = |target: Target, name: &str| {
            if let Target::Item(target) = target
                && krate.modules[target].file != module.file
            {
                let files = (module.file.clone(), krate.modules[target].file.clone());
                arrows.entry(files).or_default().insert(name.to_owned());
            }
        };
        for path in imported.chain(&module.paths) {
            if let Some((target, name)) = follow(krate, number, path, STEPS) {
                add(target, name);
            }
        }
        for word in &module.words {
            if let Some(target) = through_globs(krate, number, word, STEPS) {
                add(target, word);
            }
        }
    }
    arrows
}

/// What a name means inside a module because of its imports of all names of others.
fn through_globs(krate: &Crate, at: usize, name: &str, steps: usize) -> Option<Target> {
    let globs = krate.modules[at].imports.iter().filter(|import| import.name == "*");
    let mut targets = globs.filter_map(|import| match follow(krate, at, &import.path, steps)?.0 {
        Target::Module(target) => look_up(krate, target, name, steps),
        Target::Item(_) => None,
    });
    targets.next()
}

/// Follows a path as the module `from` writes it, and returns what it leads to and the name of that; none for
/// what is not of this crate.
fn follow<'p>(krate: &Crate, from: usize, path: &'p [String], steps: usize) -> Option<(Target, &'p str)> {
    let mut at = from;
    for (index, segment) in path.iter().enumerate() {
        at = match segment.as_str() {
            "crate" => 0,
            "self" => at,
            "super" => krate.modules[at].parent?,
            name => match look_up(krate, at, name, steps)? {
                Target::Module(module) => module,
                item @ Target::Item(_) => return Some((item, name)),
            },
        };
        if index + 1 == path.len() {
            return Some((Target::Module(at), segment));
        }
    }
    None
}

/// What a name means inside a module.
fn look_up(krate: &Crate, at: usize, name: &str, steps: usize) -> Option<Target> {
    let module = &krate.modules[at];
    let steps = steps.checked_sub(1)?;
    if let Some(child) = module.children.get(name) {
        return Some(Target::Module(*child));
    }
    if module.items.iter().any(|item| item == name) {
        return Some(Target::Item(at));
    }
    let named = module.imports.iter().filter(|import| import.name == name);
    let mut through_names = named.filter_map(|import| Some(follow(krate, at, &import.path, steps)?.0));
    through_names.next().or_else(|| through_globs(krate, at, name, steps))
}

/// The circles, each as large as it can be: a text with a line for every arrow in it.
pub(crate) fn circles(arrows: &Arrows) -> Vec<String> {
    let files: BTreeSet<&str> = arrows.keys().flat_map(|(from, to)| [from.as_str(), to.as_str()]).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        files.iter().map(|file| (*file, reach(arrows, file))).collect();
    let mut left = files;
    let mut circles = Vec::new();
    while let Some(file) = left.pop_first() {
        let circle: BTreeSet<&str> =
            reached[file].iter().copied().filter(|other| reached[other].contains(file)).collect();
        if !circle.is_empty() {
            circles.push(described(arrows, &circle));
        }
        left.retain(|other| !circle.contains(other));
    }
    circles
}

/// The files that a file imports, directly or through others.
fn reach<'a>(arrows: &'a Arrows, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for (_, to) in arrows.keys().filter(|(from, _)| from == file) {
            if reached.insert(to.as_str()) {
                open.push(to);
            }
        }
    }
    reached
}

fn described(arrows: &Arrows, circle: &BTreeSet<&str>) -> String {
    let mut text = format!("{} files import each other in a circle:\n", circle.len());
    for ((from, to), names) in arrows {
        if circle.contains(from.as_str()) && circle.contains(to.as_str()) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let _ = writeln!(text, "  {from} -> {to}: {}", names.join(", "));
        }
    }
    text
}
