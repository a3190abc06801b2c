//! `domain mount`: mounts an image so that the domain's identifier goes from its file to the kernel and
//! nowhere else.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::id;
use crate::exit::{WrongUse, one_line};
use crate::output;
use crate::verb::source::shown;
use crate::verb::{Done, NAME};

/// Room for what the kernel says about a failed mount.
const MESSAGE: usize = 4096;

/// Options that belong to a mount and not to the file system, which has no words for them.
const ATTRIBUTES: [(&str, MountAttrFlags); 6] = [
    ("nosuid", MountAttrFlags::MOUNT_ATTR_NOSUID),
    ("nodev", MountAttrFlags::MOUNT_ATTR_NODEV),
    ("noexec", MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ("noatime", MountAttrFlags::MOUNT_ATTR_NOATIME),
    ("nodiratime", MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
];

/// Mount an image in a domain without showing the identifier to other users
///
/// The identifier is read from its file and given to the kernel by fsconfig(2): it is on no command line and
/// in no environment, and Linux shows it in no table of mounts. Needs root, and Linux 7.0 or newer.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to mount and how.
    #[command(flatten)]
    pub(super) what: What,
}

/// An option of the file system and its value, if it has one.
type Setting<'a> = (&'a str, Option<&'a str>);

/// What to mount and how.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The file with the identifier, as `domain new --output` makes it
    #[arg(long, value_name = "FILE")]
    pub(super) domain_file: PathBuf,

    /// Options of the mount, separated by commas: those of EROFS such as directio, and nosuid, nodev, noexec
    #[arg(short = 'o', long, value_name = "OPTION", value_delimiter = ',')]
    pub(super) options: Vec<String>,

    /// The image: a file, or a block device
    pub(super) image: PathBuf,

    /// Where to mount it
    pub(super) directory: PathBuf,
}

impl What {
    /// The options for the file system, and those of the mount itself.
    pub(super) fn sorted(&self) -> Result<(Vec<Setting<'_>>, MountAttrFlags), WrongUse> {
        let mut options = Vec::new();
        let mut attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
        for option in self.options.iter().filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').map_or((option.as_str(), None), |(k, v)| (k, Some(v)));
            match (key, value) {
                ("domain_id", _) => {
                    // The value is not repeated: it may be the secret.
                    return Err(WrongUse(
                        "-o domain_id: want the identifier in the file of --domain-file".into(),
                    ));
                }
                ("loop", _) => {
                    let text =
                        "-o loop: want the device that losetup shows, or the file itself with directio";
                    return Err(WrongUse(text.into()));
                }
                ("rw", None) => return Err(WrongUse("-o rw: EROFS is read only".into())),
                ("ro" | "defaults" | "inode_share", None) => {}
                _ => match ATTRIBUTES.iter().find(|(name, _)| *name == key && value.is_none()) {
                    Some((_, flag)) => attributes |= *flag,
                    None => options.push((key, value)),
                },
            }
        }
        Ok((options, attributes))
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let what = &args.what;
    let (options, attributes) = what.sorted()?;
    let kept = id::read(&what.domain_file)?;
    if kept.mode & 0o077 != 0 {
        let text = format!(
            "warning: {}: others can read it: mode {:03o}",
            shown(&what.domain_file),
            kept.mode & 0o777
        );
        output::complain(NAME, &one_line(&text));
    }
    let image = what.image.canonicalize().with_context(|| shown(&what.image))?;
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).context("erofs cannot be mounted here")?;
    let said = |action: String, error: rustix::io::Errno| {
        let message = message(&context, &kept.id);
        anyhow!("{}: {action}: {}{message}", shown(&what.image), std::io::Error::from(error))
    };
    set(&context, "source", Some(image.as_os_str())).map_err(|error| said("source".into(), error))?;
    set(&context, "ro", None).map_err(|error| said("option ro".into(), error))?;
    for (key, value) in options {
        set(&context, key, value.map(OsStr::new)).map_err(|error| said(format!("option {key}"), error))?;
    }
    let unknown = "option inode_share, which Linux has from 7.0 on (CONFIG_EROFS_FS_PAGE_CACHE_SHARE)";
    set(&context, "inode_share", None).map_err(|error| said(unknown.into(), error))?;
    set(&context, "domain_id", Some(OsStr::new(&kept.id)))
        .map_err(|error| said("option domain_id".into(), error))?;
    fsconfig_create(context.as_fd()).map_err(|error| said("cannot be mounted".into(), error))?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|error| said("cannot be mounted".into(), error))?;
    attach(&mount, &what.directory)?;
    Ok(Done::Whole)
}

fn attach(mount: &OwnedFd, directory: &Path) -> anyhow::Result<()> {
    let moved = move_mount(mount.as_fd(), c"", CWD, directory, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
    match moved {
        Ok(()) => Ok(()),
        Err(error) => bail!("{}: cannot be mounted on: {}", shown(directory), std::io::Error::from(error)),
    }
}

fn set(context: &OwnedFd, key: &str, value: Option<&OsStr>) -> rustix::io::Result<()> {
    match value {
        None => fsconfig_set_flag(context.as_fd(), key),
        Some(value) => fsconfig_set_string(context.as_fd(), key, value.as_bytes()),
    }
}

/// What the kernel says about the failure, behind a colon; the identifier is not repeated, should it be in
/// there.
fn message(context: &OwnedFd, id: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0_u8; MESSAGE];
    // Each read is one message, and the last one fails.
    while let Ok(length @ 1..) = rustix::io::read(context.as_fd(), &mut bytes) {
        let line = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).trim().replace(id, "...");
        // The first letter says whether it is an error, a warning or information.
        text = format!("{text}: {}", line.split_once(' ').map_or(line.as_str(), |(_, line)| line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_sorted_and_secrets_refused() {
        let what = |options: &[&str]| What {
            domain_file: PathBuf::new(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            image: PathBuf::new(),
            directory: PathBuf::new(),
        };
        let given = what(&["ro", "directio", "nosuid", "device=/dev/x", "", "inode_share"]);
        let (options, attributes) = given.sorted().unwrap();
        assert_eq!(options, [("directio", None), ("device", Some("/dev/x"))]);
        assert_eq!(attributes, MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID);
        for option in ["domain_id=sesame", "loop", "rw"] {
            let WrongUse(text) = what(&[option]).sorted().unwrap_err();
            assert!(!text.contains("sesame"), "{text}");
        }
    }
}
