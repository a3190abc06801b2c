//! `erofs-ishare ls`: the names in an image, and what they stand for.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;

use erofs_image::{Fingerprint, Follow, Image, ImageError, Inode, Step, Xattr, printable};
use serde_json::{Map, Value, json};

use super::Done;
use super::source::ImageArgs;
use super::text::{hex, mode_string, put_bytes, rfc3339, value_text};
use crate::output;

/// List a directory of an image, or one file
///
/// Names are in the order of the image, which is that of their bytes. What a terminal would not show as it is
/// comes as \xNN, and a backslash twice; --null gives the bytes themselves. What cannot be read is named on
/// stderr, and the rest is still listed.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// The path inside the image; symbolic links on the way are followed, at its end they are listed
    #[arg(default_value = "/")]
    path: OsString,

    /// One line with mode, links, owner, group, size or device number, time (UTC), and name
    #[arg(short, long)]
    long: bool,

    /// Everything below as well, with whole paths
    #[arg(short = 'R', long)]
    recursive: bool,

    /// Extended attributes, each on a line of its own; those that the kernel hides are marked
    #[arg(long)]
    xattrs: bool,

    /// Names as they are, each ended by a NUL byte
    #[arg(short = '0', long, conflicts_with_all = ["long", "xattrs", "json"])]
    null: bool,

    /// One JSON object with a list of entries
    #[arg(long, conflicts_with = "long")]
    json: bool,
}

/// What is printed of an entry, and how.
struct Listing<'a> {
    image: &'a Image,
    args: &'a Args,
    out: output::Out,
    printed: u64,
    failed: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let image = args.image.open()?;
    let path = args.path.as_bytes();
    let start = image.resolve(path, Follow::Parents).map_err(|error| args.image.wrap(&error))?;
    let mut listing = Listing { image: &image, args, out: output::stdout(), printed: 0, failed: false };
    if args.json {
        let mut head = Map::new();
        put_bytes(&mut head, "image", args.image.image.as_os_str().as_bytes());
        put_bytes(&mut head, "path", path);
        let head = Value::Object(head).to_string();
        write!(listing.out, "{},\n\"entries\": [", head.trim_end_matches('}'))?;
    }
    listing.all(path, start)?;
    if args.json {
        listing.out.write_all(b"\n]}\n")?;
    }
    listing.out.flush()?;
    Ok(Done::unless(listing.failed))
}

impl Listing<'_> {
    fn all(&mut self, path: &[u8], start: Inode) -> anyhow::Result<()> {
        if !self.args.recursive && start.is_dir() {
            return self.directory(&start);
        }
        for step in self.image.walk(path, start) {
            match step {
                Ok(step) => self.step(&step)?,
                Err(error) => self.fail(&error),
            }
        }
        Ok(())
    }

    fn directory(&mut self, dir: &Inode) -> anyhow::Result<()> {
        let entries = self.image.entries(dir).map_err(|error| self.args.image.wrap(&error))?;
        for entry in entries {
            match entry {
                Ok(entry) if entry.is_dot() => {}
                Ok(entry) => match self.image.inode(entry.nid) {
                    Ok(inode) => self.entry(&entry.name, &inode)?,
                    Err(error) => self.fail(&error.at_path(&entry.name)),
                },
                Err(error) => self.fail(&error),
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: &ImageError) {
        self.args.image.complain(error);
        self.failed = true;
    }

    fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        self.entry(&step.path, &step.inode)
    }

    /// Prints an entry; what of it cannot be read is reported and left out.
    fn entry(&mut self, name: &[u8], inode: &Inode) -> anyhow::Result<()> {
        let xattrs = if self.args.xattrs { self.xattrs(name, inode) } else { Vec::new() };
        let wants_target = inode.is_symlink() && (self.args.long || self.args.json);
        let target = if wants_target { self.target(name, inode) } else { None };
        if self.args.json {
            self.object(name, inode, target.as_deref(), &xattrs)?;
        } else if self.args.null {
            self.out.write_all(name)?;
            self.out.write_all(b"\0")?;
        } else {
            self.line(name, inode, target.as_deref(), &xattrs)?;
        }
        self.printed += 1;
        Ok(())
    }

    fn target(&mut self, name: &[u8], inode: &Inode) -> Option<Vec<u8>> {
        self.image.link_target(inode).map_err(|error| self.fail(&error.at_path(name))).ok()
    }

    fn xattrs(&mut self, name: &[u8], inode: &Inode) -> Vec<Xattr> {
        let all = self.image.xattrs(inode).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        all.map_err(|error| self.fail(&error.at_path(name))).unwrap_or_default()
    }

    fn line(
        &mut self,
        name: &[u8],
        inode: &Inode,
        target: Option<&[u8]>,
        xattrs: &[Xattr],
    ) -> anyhow::Result<()> {
        if self.args.long {
            let size = match inode.device() {
                Some((major, minor)) => format!("{major},{minor}"),
                None => inode.size().to_string(),
            };
            let record = &inode.record;
            write!(
                self.out,
                "{} {:>3} {:>5} {:>5} {size:>10} {} ",
                mode_string(inode),
                record.nlink,
                record.uid,
                record.gid,
                rfc3339(inode.mtime_sec, inode.mtime_nsec)
            )?;
        }
        write!(self.out, "{}", printable(name))?;
        if let Some(target) = target {
            write!(self.out, " -> {}", printable(target))?;
        }
        writeln!(self.out)?;
        for xattr in xattrs {
            let mark = if xattr.hidden { " (hidden)" } else { "" };
            writeln!(self.out, "    {}={}{mark}", printable(&xattr.name), value_text(&xattr.value))?;
        }
        Ok(())
    }

    fn object(
        &mut self,
        name: &[u8],
        inode: &Inode,
        target: Option<&[u8]>,
        xattrs: &[Xattr],
    ) -> anyhow::Result<()> {
        let mut object = Map::new();
        put_bytes(&mut object, if self.args.recursive { "path" } else { "name" }, name);
        let record = &inode.record;
        let fixed = json!({
            "nid": inode.nid.0,
            "type": inode.file_type.name(),
            "mode": format!("{:04o}", inode.permissions()),
            "nlink": record.nlink,
            "uid": record.uid,
            "gid": record.gid,
            "size": inode.size(),
            "mtime": rfc3339(inode.mtime_sec, inode.mtime_nsec),
            "layout": inode.has_data().then(|| inode.layout().name()),
        });
        if let Value::Object(fixed) = fixed {
            object.extend(fixed);
        }
        if let Some((major, minor)) = inode.device() {
            object.insert("device".into(), json!({ "major": major, "minor": minor }));
        }
        if let Some(target) = target {
            put_bytes(&mut object, "target", target);
        }
        match self.image.fingerprint(inode) {
            Ok(Fingerprint::Value(value)) => put_bytes_hex(&mut object, "fingerprint", &value),
            Ok(Fingerprint::Private(_)) => {}
            Err(error) => self.fail(&error.at_path(name)),
        }
        if self.args.xattrs {
            object.insert("xattrs".into(), xattrs.iter().map(xattr_object).collect());
        }
        let comma = if self.printed == 0 { "" } else { "," };
        write!(self.out, "{comma}\n{}", Value::Object(object))?;
        Ok(())
    }
}

fn put_bytes_hex(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    object.insert(format!("{key}_hex"), json!(hex(bytes)));
}

fn xattr_object(xattr: &Xattr) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "name", &xattr.name);
    put_bytes_hex(&mut object, "value", &xattr.value);
    object.insert("hidden".into(), json!(xattr.hidden));
    object.insert("shared".into(), json!(xattr.shared));
    Value::Object(object)
}
