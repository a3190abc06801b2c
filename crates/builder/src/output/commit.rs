//! How outputs get their names: all of a set, or none.
//!
//! The bytes of every file of the set are on the disk by then, so only names change. Each new file changes
//! places with the older one (`RENAME_EXCHANGE`); when one of these steps fails, those before it are undone
//! in reverse. The older files are removed when all steps are done. A signal waits until then.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::leftover::{self, Leftover};
use super::place::{Found, Place, find, type_of};
use super::temporary::{self, Named};
use crate::error::BuildError;

/// How many names are tried for a file that is moved aside.
const ATTEMPTS: u32 = 1000;

/// An output whose bytes are on the disk; it has no name yet. Dropped, it never was.
#[derive(Debug)]
pub struct Complete {
    pub(crate) file: Arc<File>,
    /// As it was given.
    pub(crate) path: PathBuf,
    pub(crate) form: Form,
}

/// How an output comes to be where it belongs.
#[derive(Debug)]
pub(crate) enum Form {
    /// It becomes the file of this name.
    New { place: Place, temporary: Option<Named> },
    /// It was written in place, and loses its content again if the set is not completed.
    InPlace(Option<Leftover>),
}

/// A file that makes way for a set because it does not belong to it.
#[derive(Debug)]
pub struct Aside {
    place: Place,
    to: Place,
    path: PathBuf,
}

impl Aside {
    /// The file at `path` is to get the name with `suffix`, or with a number behind that if there is one
    /// already; `None` if there is no such file.
    pub fn of(path: &Path, suffix: &str) -> Option<Self> {
        let Ok(Found::Something(place, _)) = find(path) else { return None };
        let to = (0..ATTEMPTS).map(|number| {
            let mut name = place.name.clone();
            name.push(suffix);
            if number > 0 {
                name.push(format!(".{number}"));
            }
            place.beside(name)
        });
        let to = to.into_iter().find(|to| !to.is_taken())?;
        Some(Self { place, to, path: path.to_path_buf() })
    }

    /// The name that the file gets.
    pub fn name(&self) -> &OsString {
        &self.to.name
    }
}

/// Outputs that belong together.
#[derive(Debug, Default)]
pub struct Set {
    files: Vec<Complete>,
    aside: Vec<Aside>,
}

/// A change of names that can be undone.
enum Step<'a> {
    /// The two names changed places.
    Exchanged(&'a Place, &'a Place),
    /// The first name became the second.
    Moved(&'a Place, &'a Place),
    /// The older file is kept under the first name, and the second is that of the new one.
    Replaced(Place, &'a Place),
}

impl Set {
    /// Adds an output. They get their names in this order.
    pub fn add(&mut self, file: Complete) {
        self.files.push(file);
    }

    /// Adds a file that makes way.
    pub fn move_aside(&mut self, aside: Aside) {
        self.aside.push(aside);
    }

    /// Gives all outputs their names. Returns what the user should know: folders that could not be synced.
    ///
    /// # Errors
    /// When a name cannot be given. All names then are what they were.
    pub fn commit(self) -> Result<Vec<String>, BuildError> {
        let Self { mut files, aside } = self;
        let alone = files.len() == 1 && aside.is_empty();
        if alone && let [Complete { file, path, form: Form::New { place, temporary: None } }] = &files[..] {
            let linked = temporary::link_new(file, place);
            if linked.map_err(|cause| failed(path, "cannot be given its name", cause))? {
                return Ok(synced(&files, &aside));
            }
        }
        for Complete { file, path, form } in &mut files {
            if let Form::New { place, temporary: temporary @ None } = form {
                let named = temporary::link(file, &place.folder);
                *temporary =
                    Some(named.map_err(|cause| failed(path, "cannot be given a temporary name", cause))?);
            }
        }
        let mut steps = Vec::new();
        let mut table = leftover::lock();
        let outcome = change(&files, &aside, alone, &mut steps);
        if let Err((path, cause)) = outcome {
            let cause = match undo(&steps) {
                None => cause,
                Some(undoing) => {
                    let text =
                        format!("{cause}; some files of the set are new, which cannot be undone: {undoing}");
                    io::Error::new(cause.kind(), text)
                }
            };
            // Dropping what is left over takes the table.
            drop(table);
            return Err(failed(path, "cannot be given its name", cause));
        }
        for Complete { form, .. } in &files {
            match form {
                Form::InPlace(Some(leftover)) => table.forget(leftover),
                // Its temporary name is gone; with a set, the older file has it now and goes with it.
                Form::New { temporary: Some(named), .. } if alone => table.forget(&named.leftover),
                Form::InPlace(None) | Form::New { .. } => {}
            }
        }
        clean(&steps);
        drop(table);
        drop(steps);
        // Removes the older files.
        for Complete { form, .. } in &mut files {
            if let Form::New { temporary, .. } = form {
                drop(temporary.take());
            }
        }
        Ok(synced(&files, &aside))
    }
}

/// Changes all names; stops at the first that cannot be changed.
fn change<'a>(
    files: &'a [Complete],
    aside: &'a [Aside],
    alone: bool,
    steps: &mut Vec<Step<'a>>,
) -> Result<(), (&'a Path, io::Error)> {
    for Aside { place, to, path } in aside {
        rename(place, to, RenameFlags::empty()).map_err(|error| (path.as_path(), error.into()))?;
        steps.push(Step::Moved(place, to));
    }
    for Complete { path, form, .. } in files {
        if let Form::New { place, temporary: Some(named) } = form {
            let step = if alone {
                rename(&named.place, place, RenameFlags::empty())
                    .map(|()| Step::Moved(&named.place, place))
                    .map_err(io::Error::from)
            } else {
                replace(&named.place, place)
            };
            steps.push(step.map_err(|error| (path.as_path(), error))?);
        }
    }
    Ok(())
}

/// Gives the new file its name in a way that can be undone.
fn replace<'a>(temporary: &'a Place, place: &'a Place) -> io::Result<Step<'a>> {
    let (folder, name) = place.at();
    // Names can be exchanged with directories, too.
    if let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        && type_of(&stat) == FileType::Directory
    {
        return Err(Errno::ISDIR.into());
    }
    match rename(temporary, place, RenameFlags::EXCHANGE) {
        Ok(()) => return Ok(Step::Exchanged(temporary, place)),
        Err(Errno::NOENT) => {
            rename(temporary, place, RenameFlags::empty())?;
            return Ok(Step::Moved(temporary, place));
        }
        // File systems that cannot exchange names, and filters of system calls.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    keep(temporary, place)
}

/// The same where names cannot be exchanged: the older file is kept under a name of its own, as a hard link
/// if the file system has these, so that the name is always there.
fn keep<'a>(temporary: &Place, place: &'a Place) -> io::Result<Step<'a>> {
    let mut name = temporary.name.clone();
    name.push("~");
    let backup = place.beside(name);
    let ((folder, from), (_, to)) = (place.at(), backup.at());
    if rustix::fs::linkat(folder, from, folder, to, AtFlags::empty()).is_err() {
        rename(place, &backup, RenameFlags::empty())?;
    }
    match rename(temporary, place, RenameFlags::empty()) {
        Ok(()) => Ok(Step::Replaced(backup, place)),
        Err(error) => {
            rename(&backup, place, RenameFlags::empty())?;
            remove(&backup);
            Err(error.into())
        }
    }
}

/// Undoes the steps, the last one first. Returns the first failure, if there is one.
fn undo(steps: &[Step<'_>]) -> Option<Errno> {
    let undone = steps.iter().rev().map(|step| match step {
        Step::Exchanged(one, other) => rename(one, other, RenameFlags::EXCHANGE),
        Step::Moved(from, to) => rename(to, from, RenameFlags::empty()),
        Step::Replaced(backup, place) => rename(backup, place, RenameFlags::empty()),
    });
    // All of them are undone, whether or not one fails.
    undone.filter_map(Result::err).fold(None, |first, error| first.or(Some(error)))
}

/// Removes names under which older files were kept.
fn clean(steps: &[Step<'_>]) {
    for step in steps {
        if let Step::Replaced(backup, _) = step {
            remove(backup);
        }
    }
}

fn remove(place: &Place) {
    let (folder, name) = place.at();
    // At worst a file stays that nobody needs.
    let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
}

fn rename(from: &Place, to: &Place, flags: RenameFlags) -> rustix::io::Result<()> {
    let ((from_folder, from), (to_folder, to)) = (from.at(), to.at());
    if flags.is_empty() {
        rustix::fs::renameat(from_folder, from, to_folder, to)
    } else {
        rustix::fs::renameat_with(from_folder, from, to_folder, to, flags)
    }
}

/// Syncs the folders of new names, each once. Returns what the user should know: the files are there, but
/// whether their names outlive a crash is open.
fn synced(files: &[Complete], aside: &[Aside]) -> Vec<String> {
    let files = files.iter().filter_map(|file| match &file.form {
        Form::New { place, .. } => Some((&file.path, place)),
        Form::InPlace(_) => None,
    });
    let moved = aside.iter().map(|aside| (&aside.path, &aside.place));
    let mut folders = BTreeMap::new();
    for (path, place) in files.chain(moved) {
        let identity = rustix::fs::fstat(&place.folder).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        folders.entry(identity).or_insert((path, place));
    }
    let mut warnings = Vec::new();
    for (path, place) in folders.into_values() {
        if let Err(error) = sync(place) {
            let path = erofs_tree::show_path(path);
            warnings.push(format!(
                "{path}: is complete, but its folder cannot be synced, so a crash may take its name: {error}"
            ));
        }
    }
    warnings
}

fn sync(place: &Place) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = File::from(rustix::fs::openat(&place.folder, ".", flags, Mode::empty())?);
    match folder.sync_all() {
        // Some file systems have nothing to sync in a folder.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        outcome => outcome,
    }
}

fn failed(path: &Path, action: &'static str, cause: io::Error) -> BuildError {
    BuildError::Write { path: path.to_path_buf(), action, cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageFile;

    /// Complete outputs with this content.
    fn set(dir: &Path, names: &[&str]) -> Set {
        let mut set = Set::default();
        for name in names {
            let file = ImageFile::create(&dir.join(name), 0).unwrap();
            file.begin().unwrap();
            file.write_at(0, b"new").unwrap();
            set.add(file.complete(3).unwrap());
        }
        set
    }

    /// Names and contents of the files in a folder.
    fn files(dir: &Path) -> Vec<(String, String)> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        let mut files: Vec<_> = files
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_set_gets_all_its_names_or_none() {
        for old in [&["a", "b", "c"][..], &["a", "c"], &["b"], &[]] {
            let dir = tempfile::tempdir().unwrap();
            for name in old.iter().chain(&["c.sig"]) {
                std::fs::write(dir.path().join(name), "old").unwrap();
            }
            let before = files(dir.path());
            // The last name turns out to be that of a directory, which no file can replace.
            let mut failing = set(dir.path(), &["a", "b", "c", "d"]);
            failing.move_aside(Aside::of(&dir.path().join("c.sig"), ".stale").unwrap());
            assert!(Aside::of(&dir.path().join("d.sig"), ".stale").is_none());
            std::fs::create_dir_all(dir.path().join("d/full")).unwrap();
            let error = failing.commit().unwrap_err().to_string();
            if before.len() < 2 {
                assert!(error.contains("/d: cannot be given its name"), "{error}");
            }
            std::fs::remove_dir_all(dir.path().join("d")).unwrap();
            assert_eq!(files(dir.path()), before, "{error}");
            let mut working = set(dir.path(), &["a", "b", "c", "d"]);
            working.move_aside(Aside::of(&dir.path().join("c.sig"), ".stale").unwrap());
            assert_eq!(working.commit().unwrap(), [""; 0]);
            let mut want: Vec<_> =
                ["a", "b", "c", "d"].map(|name| (name.to_owned(), "new".to_owned())).into();
            want.insert(3, ("c.sig.stale".to_owned(), "old".to_owned()));
            assert_eq!(files(dir.path()), want);
        }
    }

    #[test]
    fn file_systems_without_exchange_keep_the_older_file_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| match find(&dir.path().join(name)).unwrap() {
            Found::Something(place, _) | Found::Nothing(place) | Found::Descriptor(place) => place,
        };
        let write = |name: &str| std::fs::write(dir.path().join(name), name).unwrap();
        write("old");
        write("temporary");
        let (old, temporary) = (place("old"), place("temporary"));
        let step = keep(&temporary, &old).unwrap();
        let kept = [("old".to_owned(), "temporary".to_owned()), ("temporary~".to_owned(), "old".to_owned())];
        assert_eq!(files(dir.path()), kept);
        assert!(undo(&[step]).is_none());
        assert_eq!(files(dir.path()), [("old".to_owned(), "old".to_owned())]);
        write("temporary");
        clean(&[keep(&temporary, &old).unwrap()]);
        assert_eq!(files(dir.path()), [("old".to_owned(), "temporary".to_owned())]);
        // Nothing to replace it with: the older file stays.
        assert!(keep(&temporary, &old).is_err());
        assert_eq!(files(dir.path()), [("old".to_owned(), "temporary".to_owned())]);
    }
}
