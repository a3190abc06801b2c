//! Images of several directories over each other, against what the kernel's overlayfs makes of them.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Command;

use erofs_builder::{BuildOptions, ImageFile};
use erofs_testkit::compare::assert_same;
use erofs_testkit::content::Stream as Random;
use erofs_testkit::random::{Kind, NodeSpec, TreeSpec};
use erofs_testkit::require::{Absent, need};
use erofs_testkit::{Backing, Expect, Mount, mount, place};
use erofs_tree::{DirOptions, DirSource, Layers, Silent, Whiteouts};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

/// Names in every directory, so that layers have names in common.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "a.b"];

/// Overlayfs of a kernel which knows whiteouts that are files, and escapes its attributes.
fn overlayfs() -> Result<(), Absent> {
    mount::supported(Backing::Loop)?;
    drop(Command::new("modprobe").arg("overlay").output());
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !systems.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        return Err(Absent::because("the running kernel has no overlayfs"));
    }
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(6), Some(8)) {
        return Err(Absent::because(format!("found Linux {release}, want 6.8 or newer")));
    }
    Ok(())
}

fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap()
}

fn spec(random: &mut Random) -> TreeSpec {
    let node = |seed: u64| {
        let kind = match random.below(12) {
            0..5 => Kind::Directory,
            5..8 => Kind::File(seed, below(random, 9000)),
            8 => Kind::Symlink(1 + below(random, 50)),
            9 => Kind::Device(1, 3),
            10 => Kind::Fifo,
            _ => Kind::Link(below(random, 100)),
        };
        let attribute = ["user.a", "trusted.overlay.overlay.opaque", "trusted.overlayer"][below(random, 3)];
        let owner = u32::try_from(random.below(3000)).unwrap();
        NodeSpec {
            parent: below(random, 100),
            name: NAMES[below(random, NAMES.len())].into(),
            kind,
            mode: 0o700 | u32::try_from(random.below(0o100)).unwrap(),
            owner: (owner, owner + 1),
            mtime: (1_700_000_000 + i64::try_from(seed).unwrap(), 5),
            xattrs: vec![(attribute.to_owned(), seed, below(random, 20))],
        }
    };
    TreeSpec { nodes: (0..60).map(node).collect() }
}

/// Deletes and hides at random in directories that `top` and `bottom` have. Of others overlayfs hands out the
/// names as they are, whiteouts among them. Returns how many marks it set.
fn mark(random: &mut Random, top: &Path, bottom: &Path) -> usize {
    let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let set = |path: &Path, name: &str, value: &str| {
        setxattr(path, format!("trusted.overlay.{name}"), value.as_bytes(), XattrFlags::CREATE).unwrap();
    };
    if random.below(8) == 0 {
        set(top, "opaque", "y");
        return 1;
    }
    let has_files = random.below(3) == 0;
    if has_files {
        set(top, "opaque", "x");
    }
    let mut marks = 0;
    for name in NAMES {
        let (above, under) = (top.join(name), bottom.join(name));
        if is_directory(&above) && is_directory(&under) {
            marks += mark(random, &above, &under);
        } else if fs::symlink_metadata(&above).is_err() && random.below(2) == 0 {
            if has_files && random.below(2) == 0 {
                fs::write(&above, "").unwrap();
                set(&above, "whiteout", "");
            } else {
                mknodat(CWD, &above, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
                assert!(fs::symlink_metadata(&above).unwrap().file_type().is_char_device());
            }
            marks += 1;
        }
    }
    marks
}

#[test]
fn layers_are_merged_as_overlayfs_does() {
    if need("a merge of layers against overlayfs", overlayfs()).is_none() {
        return;
    }
    let mut random = Random::new(2026);
    let mut marks = 0;
    for round in 0..40 {
        let folders = [place::scratch().unwrap(), place::scratch().unwrap()];
        let [bottom, top] = folders.each_ref().map(tempfile::TempDir::path);
        for folder in [bottom, top] {
            spec(&mut random).make(folder).unwrap();
        }
        marks += if round == 0 { 0 } else { mark(&mut random, top, bottom) };
        let options = format!("ro,lowerdir={}:{}", top.display(), bottom.display());
        let overlay = Mount::with_options("overlay", Path::new("overlay"), &options).unwrap();

        let layer = |folder| DirSource::new(folder, DirOptions::default()).unwrap();
        let mut layers = Layers::new(vec![layer(bottom), layer(top)], Whiteouts::Overlay);
        let work = place::disk_scratch().unwrap();
        let path = work.path().join("image");
        let image = ImageFile::create(&path, 0).unwrap();
        erofs_builder::build(&mut layers, image, &BuildOptions::default(), &Silent).unwrap();
        let mounted = Mount::new(&path, Backing::Loop).unwrap();
        assert_same(overlay.path(), mounted.path(), &Expect::default(), &format!("round {round}"));
    }
    assert!(marks > 50, "{marks}");
}
