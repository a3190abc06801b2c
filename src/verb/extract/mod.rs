//! `erofs-ishare extract`: files of an image become files of the host, with everything that the image says
//! about them.

mod attributes;
mod target;
mod trouble;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use erofs_format::Nid;
use erofs_format::filetype::FileType;
use erofs_image::{Budget, Cause, Follow, Image, ImageError, Inode, Piece, Step, printable};
use serde::Serialize;

use self::attributes::{Attributes, On};
use self::target::Target;
use self::trouble::{Trouble, host};
use super::Done;
use super::source::{ImageArgs, shown};
use crate::exit::one_line;
use crate::output;
use crate::words::counted;

/// Copy files out of an image
///
/// Everything that the image says is restored: types, modes, owners, times, extended attributes and ACLs,
/// hard links, and holes. A directory's content goes into DIR, a single file below it. Nothing is written
/// outside DIR, whatever the image says, and nothing that exists is replaced without --overwrite. What cannot
/// be restored is named on stderr; the rest is still done, and the exit status is 1.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// The path inside the image; symbolic links on the way are followed inside the image
    #[arg(default_value = "/")]
    path: OsString,

    /// The directory to extract into; it is made if it does not exist
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Replace existing files, and put files into existing directories
    #[arg(long)]
    overwrite: bool,

    /// Restore owners and groups, and with them set-id bits and capabilities of programs (the default for
    /// root)
    #[arg(long, overrides_with = "no_same_owner")]
    same_owner: bool,

    /// Leave everything to the user who extracts, without set-id bits and capabilities, which would give
    /// programs the rights of another owner than their own (the default for others than root; GNU tar
    /// restores both for root)
    #[arg(long)]
    no_same_owner: bool,

    /// Restore no extended attributes and no ACLs
    #[arg(long)]
    no_xattrs: bool,

    /// No summary
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,

    /// The summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Summary {
    files: u64,
    directories: u64,
    symlinks: u64,
    special_files: u64,
    hard_links: u64,
    bytes: u64,
    xattrs: u64,
    xattrs_skipped: u64,
    errors: u64,
}

struct Extraction<'a> {
    args: &'a Args,
    image: &'a Image,
    target: Target,
    attributes: Attributes<'a>,
    /// Where inodes with several names were extracted to.
    links: HashMap<Nid, Vec<Vec<u8>>>,
    /// Everything deeper than this is below a directory that could not be made.
    skip_below: Option<usize>,
    /// The bytes that may be read; holes cost nothing.
    contents: Budget,
    summary: Summary,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let image = args.image.open()?;
    let path = args.path.as_bytes();
    let start = image.resolve(path, Follow::Parents).map_err(|error| args.image.wrap(&error))?;
    let target = Target::open(&args.output).with_context(|| shown(&args.output))?;
    let privileged = rustix::process::geteuid().is_root();
    let attributes = Attributes {
        image: &image,
        owner: args.same_owner || (privileged && !args.no_same_owner),
        xattrs: !args.no_xattrs,
        privileged,
    };
    let mut extraction = Extraction {
        args,
        image: &image,
        target,
        attributes,
        links: HashMap::new(),
        skip_below: None,
        contents: Budget::contents(&image.limits()),
        summary: Summary::default(),
    };
    extraction.all(path, start)?;
    extraction.finish()
}

impl Extraction<'_> {
    fn all(&mut self, path: &[u8], start: Inode) -> anyhow::Result<()> {
        for step in self.image.walk(path, start) {
            let (path, outcome) = match step {
                Ok(step) => {
                    let outcome = self.step(&step);
                    (step.path, outcome)
                }
                Err(error) => (error.path().unwrap_or_default().to_vec(), Err(Trouble::Image(error))),
            };
            self.settle(&path, outcome)?;
        }
        self.leave_to(0)?;
        if start.is_dir() {
            self.summary.directories += 1;
            let fd = self.target.here().try_clone_to_owned().context("directory")?;
            let (count, troubles) = self.attributes.apply(&On::Open(fd.as_fd()), &start);
            self.account(path, count, troubles)?;
        }
        Ok(())
    }

    /// Says what went wrong, and goes on if there is use in it.
    fn settle(&mut self, path: &[u8], outcome: Result<(), Trouble>) -> anyhow::Result<()> {
        match outcome {
            Ok(()) => return Ok(()),
            Err(Trouble::Image(error)) => self.args.image.complain(&error.at_path(path)),
            Err(Trouble::Host(text)) => {
                output::complain(super::NAME, &one_line(&format!("{}: {text}", printable(path))));
            }
            Err(Trouble::DeviceAbsent(error)) => return Err(self.args.image.wrap(&error.at_path(path))),
            Err(Trouble::End(error)) => return Err(error.context(printable(path))),
        }
        self.summary.errors += 1;
        Ok(())
    }

    fn account(
        &mut self,
        path: &[u8],
        count: attributes::XattrCount,
        troubles: Vec<Trouble>,
    ) -> anyhow::Result<()> {
        self.summary.xattrs += count.restored;
        self.summary.xattrs_skipped += count.skipped;
        troubles.into_iter().try_for_each(|trouble| self.settle(path, Err(trouble)))
    }

    /// Leaves directories until `depth` of them are open, and gives each the attributes that its content
    /// would have changed.
    fn leave_to(&mut self, depth: usize) -> anyhow::Result<()> {
        while self.target.depth() > depth {
            let left = self.target.leave().context("going back to the parent directory")?;
            let (count, troubles) = self.attributes.apply(&On::Open(left.directory.as_fd()), &left.inode);
            self.account(&left.path, count, troubles)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Trouble> {
        if step.depth == 0 && step.inode.is_dir() {
            return Ok(());
        }
        if self.skip_below.is_some_and(|depth| step.depth > depth) {
            return Ok(());
        }
        self.skip_below = None;
        self.leave_to(step.depth.saturating_sub(1)).map_err(Trouble::End)?;
        if step.inode.is_dir() {
            return self.directory(step);
        }
        if !step.first && self.hard_link(step)? {
            return Ok(());
        }
        self.single(step)?;
        if step.inode.record.nlink > 1 {
            let mut path = self.target.names();
            path.push(step.name().to_vec());
            self.links.insert(step.inode.nid, path);
        }
        Ok(())
    }

    fn directory(&mut self, step: &Step) -> Result<(), Trouble> {
        match self.target.enter(step.name(), &step.path, step.inode, self.args.overwrite) {
            Ok(()) => {
                self.summary.directories += 1;
                Ok(())
            }
            Err(error) => {
                self.skip_below = Some(step.depth);
                Err(host("directory", &error))
            }
        }
    }

    /// Links to the first name of the inode, if that was extracted.
    fn hard_link(&mut self, step: &Step) -> Result<bool, Trouble> {
        let Some(first) = self.links.get(&step.inode.nid) else { return Ok(false) };
        self.make_room(step.name())?;
        self.target.link(first, step.name()).map_err(|error| host("hard link", &error))?;
        self.summary.hard_links += 1;
        Ok(true)
    }

    /// Removes what stands in the way, if that is wanted. A directory never is removed.
    fn make_room(&self, name: &[u8]) -> Result<(), Trouble> {
        if !self.args.overwrite {
            return Ok(());
        }
        if self.args.image.is_file_at(self.target.here(), name) {
            return Err(Trouble::Host("replace: is the image that is read".to_owned()));
        }
        self.target.remove(name).map_err(|error| host("replace", &error))
    }

    fn single(&mut self, step: &Step) -> Result<(), Trouble> {
        self.make_room(step.name())?;
        let inode = &step.inode;
        let name = step.name();
        let (count, troubles) = match inode.file_type {
            FileType::Regular => self.file(name, inode)?,
            FileType::Symlink => {
                let link_target = self.image.link_target(inode)?;
                let made = self.target.symlink(name, &link_target);
                let made = made.map_err(|error| host("symbolic link", &error))?;
                self.summary.symlinks += 1;
                self.attributes.apply(&On::Place(made), inode)
            }
            FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
                let made = self.target.special(name, inode);
                let made = made.map_err(|error| host(inode.file_type.name(), &error))?;
                self.summary.special_files += 1;
                self.attributes.apply(&On::Place(made), inode)
            }
            FileType::Directory => {
                return Err(ImageError::from(Cause::NotAFile { found: inode.file_type.name() }).into());
            }
        };
        self.account(&step.path, count, troubles).map_err(Trouble::End)
    }

    fn file(
        &mut self,
        name: &[u8],
        inode: &Inode,
    ) -> Result<(attributes::XattrCount, Vec<Trouble>), Trouble> {
        let file = self.target.file(name).map_err(|error| host("regular file", &error))?;
        if let Err(trouble) = self.content(inode, &file) {
            // A file that is not whole must not look as if it were. If it cannot be removed, the error still
            // is said.
            drop(self.target.remove(name));
            return Err(trouble);
        }
        self.summary.files += 1;
        self.summary.bytes += inode.size();
        Ok(self.attributes.apply(&On::Open(file.as_fd()), inode))
    }

    fn content(&self, inode: &Inode, file: &File) -> Result<(), Trouble> {
        let mut at = 0;
        self.image.data(inode)?.copy(|piece| {
            let length = match piece {
                Piece::Hole(length) => length,
                Piece::Bytes(bytes) => {
                    let length = bytes.len() as u64;
                    self.contents.take(length)?;
                    file.write_all_at(bytes, at).map_err(|error| host("write", &error))?;
                    length
                }
            };
            at += length;
            Ok::<(), Trouble>(())
        })?;
        file.set_len(inode.size()).map_err(|error| host("set the size", &error))
    }

    fn finish(self) -> anyhow::Result<Done> {
        let summary = &self.summary;
        let mut out = output::stdout();
        if self.args.json {
            output::json(&mut out, summary)?;
        } else if !self.args.quiet {
            let skipped = match summary.xattrs_skipped {
                0 => String::new(),
                count => format!(
                    ", {} skipped, which only root or the owner can have",
                    counted(count, "extended attribute", "extended attributes")
                ),
            };
            let text = format!(
                "{}: {} ({}), {}, {}, {}, {}{skipped}\n",
                shown(&self.args.output),
                counted(summary.files, "file", "files"),
                counted(summary.bytes, "byte", "bytes"),
                counted(summary.directories, "directory", "directories"),
                counted(summary.symlinks, "symbolic link", "symbolic links"),
                counted(summary.special_files, "special file", "special files"),
                counted(summary.hard_links, "hard link", "hard links"),
            );
            io::Write::write_all(&mut out, text.as_bytes())?;
        }
        io::Write::flush(&mut out)?;
        Ok(Done::unless(summary.errors > 0))
    }
}
