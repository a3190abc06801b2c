//! The images of the scenarios in `testdata/scenarios`: made from a list of recipes, so that none is
//! kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::error::{At as _, LabError};
use crate::lab::run;

/// The words that text is made of.
const WORDS: [&str; 8] = ["page", "cache", "inode", "mount", "share", "block", "image", "domain"];

/// Where the superblock has its lowest compatible features and the number of the prefix of fingerprints.
const COMPAT_AT: u64 = 1024 + 8;
const ISHARE_PREFIX_AT: u64 = 1024 + 0x69;
/// The feature of images with fingerprints.
const ISHARE_XATTRS: u8 = 0x20;

/// The programs that make images.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `mkfs-erofs`.
    pub mkfs: PathBuf,
    /// `mkfs.erofs` of erofs-utils, for what it alone can do.
    pub peer: PathBuf,
    /// A static program that images carry.
    pub program: PathBuf,
}

/// All recipes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipes {
    /// Trees by name: a path and what is there.
    tree: BTreeMap<String, BTreeMap<String, Content>>,
    /// Images by name.
    image: BTreeMap<String, Recipe>,
}

/// An image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    /// The tree that is in it.
    tree: String,
    /// Whether `mkfs.erofs` makes it and not `mkfs-erofs`.
    #[serde(default)]
    peer: bool,
    /// Options of the program; `{blob}` stands for the path of the image called as this one with `-blob`.
    options: Vec<String>,
    /// Whether the image is changed to announce its first long xattr prefix as that of fingerprints. No
    /// builder makes an image with values that Linux passes over; this takes the attributes of the tree as
    /// they are.
    #[serde(default)]
    announce: bool,
}

/// What a file holds: noise or text of a seed and a size, the program, or nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Content {
    /// The seed of noise, which no compressor shortens.
    noise: Option<u64>,
    /// The seed of text.
    text: Option<u64>,
    /// Whether it is the program.
    program: bool,
    /// Bytes, for noise and text; for anything else a hole.
    size: u64,
    /// Where noise or text begins, with a hole before it and behind it.
    at: u64,
    /// How many bytes of noise or text there are; the whole file where nothing is said.
    data: Option<u64>,
    /// The path of another file that this one is a hard link to.
    link: Option<String>,
    /// Permissions.
    mode: Option<u32>,
    /// Owner and group.
    owner: Option<u32>,
    /// Time of change in seconds.
    mtime: Option<u64>,
    /// Extended attributes and their values.
    xattrs: BTreeMap<String, String>,
    /// Extended attributes whose value is so many bytes long.
    long_xattrs: BTreeMap<String, usize>,
}

impl Recipes {
    /// Reads the recipes in a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn load(path: &Path) -> Result<Self, LabError> {
        let text = fs::read_to_string(path).at("read", path)?;
        toml::from_str(&text).map_err(|error| LabError::Format {
            path: path.to_path_buf(),
            reason: error.to_string().replace('\n', " "),
        })
    }

    /// Makes the images that are `wanted` in `dir`, and their trees in `dir/trees`, for which extended
    /// attributes of every namespace must be possible there.
    ///
    /// # Errors
    /// When there is no such recipe, or a tree or image cannot be made.
    pub fn make(&self, wanted: &BTreeSet<String>, dir: &Path, programs: &Programs) -> Result<(), LabError> {
        let trees = dir.join("trees");
        for name in wanted.iter().filter(|name| !name.ends_with("-blob")) {
            let unknown =
                || LabError::Recipe { name: name.clone(), reason: "there is none of this name".into() };
            let recipe = self.image.get(name).ok_or_else(unknown)?;
            let tree = trees.join(&recipe.tree);
            if !tree.exists() {
                let unknown = || LabError::Recipe { name: name.clone(), reason: "its tree has none".into() };
                make_tree(&tree, self.tree.get(&recipe.tree).ok_or_else(unknown)?, &programs.program)?;
            }
            let blob = dir.join(format!("{name}-blob.img"));
            let options =
                recipe.options.iter().map(|option| option.replace("{blob}", &blob.display().to_string()));
            let program = if recipe.peer { &programs.peer } else { &programs.mkfs };
            let image = dir.join(format!("{name}.img"));
            run(Command::new(program).args(options).arg(&image).arg(&tree))
                .map_err(|reason| LabError::Recipe { name: name.clone(), reason })?;
            if recipe.announce {
                announce(&image)?;
            }
        }
        Ok(())
    }

    /// The path below `dir` of a file as it was before it got into the image called `name`.
    pub fn source(&self, name: &str, dir: &Path, path: &str) -> Option<PathBuf> {
        let recipe = self.image.get(name)?;
        Some(dir.join("trees").join(&recipe.tree).join(path.trim_start_matches('/')))
    }
}

/// Sets the feature that says that there are fingerprints, of the first prefix (`struct erofs_super_block`).
fn announce(image: &Path) -> Result<(), LabError> {
    let file = File::options().read(true).write(true).open(image).at("open", image)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, COMPAT_AT).at("read", image)?;
    file.write_all_at(&[byte[0] | ISHARE_XATTRS], COMPAT_AT).at("write", image)?;
    file.write_all_at(&[0], ISHARE_PREFIX_AT).at("write", image)
}

fn make_tree(root: &Path, files: &BTreeMap<String, Content>, program: &Path) -> Result<(), LabError> {
    fs::create_dir_all(root).at("make", root)?;
    // Links come behind what they link to.
    let (links, files): (Vec<_>, Vec<_>) = files.iter().partition(|(_, content)| content.link.is_some());
    for (path, content) in files.into_iter().chain(links) {
        let path = root.join(path);
        let parent = path.parent().unwrap_or(root);
        fs::create_dir_all(parent).at("make", parent)?;
        if let Some(target) = &content.link {
            fs::hard_link(root.join(target), &path).at("link", &path)?;
            continue;
        }
        if content.program {
            fs::copy(program, &path).at("copy", program)?;
        } else {
            write_file(&path, content)?;
        }
        set_attributes(&path, content)?;
    }
    Ok(())
}

fn write_file(path: &Path, content: &Content) -> Result<(), LabError> {
    let file = File::create(path).at("make", path)?;
    file.set_len(content.size).at("size", path)?;
    let len = content.data.unwrap_or(content.size);
    let bytes = match (content.noise, content.text) {
        (Some(seed), _) => noise(seed, len),
        (None, Some(seed)) => text(seed, len),
        (None, None) => Vec::new(),
    };
    file.write_all_at(&bytes, content.at).at("write", path)
}

fn set_attributes(path: &Path, content: &Content) -> Result<(), LabError> {
    for (name, value) in &content.xattrs {
        xattr::set(path, name, value.as_bytes()).at("set an attribute of", path)?;
    }
    for (name, len) in &content.long_xattrs {
        xattr::set(path, name, &vec![b'v'; *len]).at("set an attribute of", path)?;
    }
    if let Some(owner) = content.owner {
        chown(path, Some(owner), Some(owner)).at("own", path)?;
    }
    if let Some(mode) = content.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("set the mode of", path)?;
    }
    if let Some(seconds) = content.mtime {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let times = FileTimes::new().set_modified(time);
        File::options().write(true).open(path).and_then(|file| file.set_times(times)).at("date", path)?;
    }
    Ok(())
}

/// The next number of a stream of pseudo-random ones (`xorshift64*`).
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn noise(seed: u64, len: u64) -> Vec<u8> {
    // The first state must not be 0.
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = std::iter::repeat_with(|| next(&mut state).to_le_bytes()).flatten();
    words.take(usize::try_from(len).unwrap_or(0)).collect()
}

fn text(seed: u64, len: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = std::iter::repeat_with(|| {
        let at = usize::try_from(next(&mut state) >> 61).unwrap_or(0);
        WORDS[at % WORDS.len()].bytes().chain(*b" ")
    });
    words.flatten().take(usize::try_from(len).unwrap_or(0)).collect()
}

/// A directory for images and their trees: in memory where the machine has `/dev/shm`, because that file
/// system takes extended attributes of every namespace up to the kernel's limits.
///
/// # Errors
/// When no directory can be made there.
pub fn scratch() -> Result<tempfile::TempDir, LabError> {
    let shm = Path::new("/dev/shm");
    let base = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("erofs-lab-").tempdir_in(&base).at("make a directory in", &base)
}
