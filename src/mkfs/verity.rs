//! `--verity` and its companions: the dm-verity hash tree of an image, made before the image gets its name,
//! and the files that tell others where it is.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use erofs_builder::output::{Aside, Set};
use erofs_builder::{BuildError, ImageFile};
use erofs_format::superblock;
use erofs_tree::DirOptions;
use erofs_verity::{Formatted, Params, ReadAt, Salt, WriteAt};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::exit::one_line;
use crate::words::size;

/// Bytes that hold any superblock with its extensions.
const SUPERBLOCK_ROOM: usize = 512;
/// The word that stands for a tree behind the image.
const APPEND: &str = "append";

/// Flags about dm-verity.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Golden images")]
#[expect(clippy::struct_field_names, reason = "the fields have the names of the flags")]
pub struct Verity {
    /// Make the dm-verity hash tree of the image, as veritysetup format does: behind the image, or in FILE
    #[arg(
        long,
        value_name = "append|FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub verity: Option<OsString>,

    /// Salt of the hash tree, or - for none [default: derived from the UUID of the volume]
    #[arg(long, value_name = "HEX", value_parser = Salt::parse, allow_hyphen_values = true)]
    pub verity_salt: Option<Salt>,

    /// UUID in the superblock of the hash tree [default: derived from the UUID of the volume]
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    pub verity_uuid: Option<Uuid>,

    /// Write the root hash to FILE: 64 hexadecimal digits without an end of line, ready to be signed
    #[arg(long, value_name = "FILE")]
    pub verity_roothash: Option<PathBuf>,

    /// Write what others look for beside IMAGE (may be repeated)
    #[arg(long, value_name = "DIALECT", value_enum, value_delimiter = ',')]
    pub verity_sidecar: Vec<Dialect>,
}

/// Who gets to know of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Dialect {
    /// X.verity with the tree and X.roothash, for X.raw
    Systemd,
    /// IMAGE.dmverity, for a tree behind the image
    Containerd,
    /// IMAGE.annotations.json with org.erofs.dmverity.*, for a tree behind the image
    Oci,
}

/// A UUID that names something: all zeros would be taken for none.
fn uuid(text: &str) -> Result<Uuid, String> {
    let found = Uuid::try_parse(text).ok().filter(|uuid| !uuid.is_nil());
    found.ok_or_else(|| format!("found {text:?}, want a UUID that is not all zeros"))
}

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The file of the tree; behind the image if there is none.
    tree: Option<PathBuf>,
    salt: Option<Salt>,
    uuid: Option<Uuid>,
    roothash: Option<PathBuf>,
    /// Files beside the image, by what is in them.
    sidecars: Vec<(Dialect, PathBuf)>,
    threads: usize,
}

/// A tree that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    formatted: Formatted,
    /// Where the hash area begins in its file.
    hash_offset: u64,
    tree: Option<PathBuf>,
}

/// Where a tree will be found when it is made, and what the user should know.
pub(super) type Outcome = Arc<Mutex<Option<(Made, Vec<String>)>>>;

/// What a signature adds to the name of the file with the root hash, for systemd.
const SIGNATURE: &str = ".p7s";
/// What a signature of another root hash gets instead.
const STALE: &str = ".stale";
/// A root hash takes no more bytes than this, with whatever may be behind it.
const ROOT_MAX: u64 = 256;

/// The outputs beside the image, none of which has been written yet.
struct Beside {
    tree: Option<ImageFile>,
    roothash: Option<ImageFile>,
    sidecars: Vec<(Dialect, ImageFile)>,
}

impl Verity {
    /// What the flags ask for.
    ///
    /// # Errors
    /// When they contradict each other or `--offset`.
    pub(super) fn plan(&self, image: &Path, offset: u64, threads: usize) -> Result<Option<Wanted>, String> {
        let Self { verity, verity_salt, verity_uuid, verity_roothash, verity_sidecar } = self;
        let asked = verity.is_some()
            || verity_salt.is_some()
            || verity_uuid.is_some()
            || verity_roothash.is_some()
            || !verity_sidecar.is_empty();
        if !asked {
            return Ok(None);
        }
        if offset != 0 {
            return Err(
                "--verity: contradicts --offset, because dm-verity covers a device from its start".into()
            );
        }
        let dialects: BTreeSet<Dialect> = verity_sidecar.iter().copied().collect();
        let beside = dialects.contains(&Dialect::Systemd);
        let tree = match verity.as_deref().filter(|word| !word.is_empty()) {
            None if beside => Some(systemd(image, ".verity")),
            None => None,
            Some(word) if word == APPEND && beside => {
                return Err("--verity-sidecar=systemd: contradicts --verity=append, it wants a file".into());
            }
            Some(word) if word == APPEND => None,
            Some(file) => Some(PathBuf::from(file)),
        };
        if tree.is_some() && (dialects.contains(&Dialect::Containerd) || dialects.contains(&Dialect::Oci)) {
            return Err(
                "--verity-sidecar: containerd and oci want the tree behind the image, and this one is \
                        in a file"
                    .into(),
            );
        }
        let name = |dialect| match dialect {
            Dialect::Systemd => systemd(image, ".roothash"),
            Dialect::Containerd => appended(image, ".dmverity"),
            Dialect::Oci => appended(image, ".annotations.json"),
        };
        let sidecars: Vec<_> = dialects.into_iter().map(|dialect| (dialect, name(dialect))).collect();
        let (salt, uuid) = (verity_salt.clone(), *verity_uuid);
        Ok(Some(Wanted { tree, salt, uuid, roothash: verity_roothash.clone(), sidecars, threads }))
    }
}

/// The name that systemd looks for: `.raw` is replaced, any other name gets the suffix.
fn systemd(image: &Path, suffix: &str) -> PathBuf {
    let name = image.as_os_str().as_bytes();
    let stem = name.strip_suffix(b".raw").filter(|stem| !stem.is_empty() && !stem.ends_with(b"/"));
    appended(Path::new(OsStr::from_bytes(stem.unwrap_or(name))), suffix)
}

fn appended(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Wanted {
    /// The files beside the image, with the flags that ask for them.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let tree = self.tree.iter().map(|path| ("--verity", path));
        let roothash = self.roothash.iter().map(|path| ("--verity-roothash", path));
        let sidecars = self.sidecars.iter().map(|(_, path)| ("--verity-sidecar", path));
        tree.chain(roothash).chain(sidecars).map(|(flag, path)| (flag, path.as_path()))
    }

    /// Prepares all files, and has the tree made as the image's last step. `source` learns which files must
    /// not become part of the image.
    ///
    /// # Errors
    /// When one of the files cannot be written. Nothing was changed then.
    pub(super) fn attach(
        self,
        image: ImageFile,
        source: &mut DirOptions,
    ) -> Result<(ImageFile, Outcome), BuildError> {
        let create = |path: &PathBuf| {
            let file = ImageFile::create(path, 0)?;
            source.skip.push(file.path().to_owned());
            source.skip_files.extend(file.identity());
            Ok(file)
        };
        let beside = self.prepare(create)?;
        let outcome = Outcome::default();
        let told = Arc::clone(&outcome);
        let image = image.with_last_step(Box::new(move |image, length| {
            let (made, length, set, warnings) = self.make(image, length, beside)?;
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some((made, warnings));
            Ok((length, set))
        }));
        Ok((image, outcome))
    }

    fn prepare(
        &self,
        mut create: impl FnMut(&PathBuf) -> Result<ImageFile, BuildError>,
    ) -> Result<Beside, BuildError> {
        let tree = self.tree.as_ref().map(&mut create).transpose()?;
        let roothash = self.roothash.as_ref().map(&mut create).transpose()?;
        let sidecars = self.sidecars.iter().map(|(dialect, path)| Ok((*dialect, create(path)?)));
        Ok(Beside { tree, roothash, sidecars: sidecars.collect::<Result<_, BuildError>>()? })
    }

    /// Makes the tree and the files beside the image; returns the length of the image with what is behind it,
    /// what gets its name together with the image, and what the user should know.
    fn make(
        &self,
        image: &ImageFile,
        length: u64,
        beside: Beside,
    ) -> Result<(Made, u64, Set, Vec<String>), BuildError> {
        let failed = |cause: io::Error| BuildError::Write {
            path: image.path().to_path_buf(),
            action: "cannot be given a hash tree",
            cause,
        };
        let mut record = [0; SUPERBLOCK_ROOM];
        image.read_at(superblock::OFFSET, &mut record)?;
        let volume = superblock::Superblock::decode(&record)?.uuid;
        let block = erofs_verity::BlockSize::DEFAULT.bytes();
        let data_bytes = length.next_multiple_of(block);
        // A device may hold something else there.
        image.write_at(length, &vec![0; usize::try_from(data_bytes - length).unwrap_or_default()])?;
        let blocks = data_bytes / block;
        let mut params = Params::derived(Uuid::from_bytes(volume), blocks);
        params.salt = self.salt.clone().unwrap_or(params.salt);
        params.uuid = self.uuid.unwrap_or(params.uuid);
        let data = Data { image, length: data_bytes };
        let tree_at = |out: &ImageFile, at| {
            erofs_verity::format(&data, blocks, &params, &Out(out), at, self.threads)
                .map_err(|error| failed(io::Error::other(error)))
        };
        let mut set = Set::default();
        let Beside { tree, roothash, sidecars } = beside;
        let (formatted, hash_offset, length) = if let Some(file) = tree {
            file.begin()?;
            let formatted = tree_at(&file, 0)?;
            set.add(file.complete(formatted.end)?);
            (formatted, 0, data_bytes)
        } else {
            let formatted = tree_at(image, data_bytes)?;
            let end = formatted.end;
            (formatted, data_bytes, end)
        };
        let made = Made { formatted, hash_offset, tree: self.tree.clone() };
        let mut warnings = Vec::new();
        // A file with the bare root hash is what systemd looks for.
        let roothash = roothash.map(|file| (Dialect::Systemd, file));
        for (dialect, file) in roothash.into_iter().chain(sidecars) {
            let text = Self::text(dialect, &made);
            if dialect == Dialect::Systemd {
                retire_signature(file.path(), &text, &mut set, &mut warnings);
            }
            set.add(file.fill(text.as_bytes())?);
        }
        Ok((made, length, set, warnings))
    }

    /// The small files and what is in them.
    fn text(dialect: Dialect, made: &Made) -> String {
        let root = made.formatted.root.to_string();
        let object = |value: &serde_json::Value| format!("{value:#}\n");
        match dialect {
            Dialect::Systemd => root,
            // The keys of containerd's DmverityMetadata; the rest it reads from the superblock.
            Dialect::Containerd => object(&json!({ "roothash": root, "hashoffset": made.hash_offset })),
            // The draft of the EROFS image specification, section 2.3: values of annotations are texts.
            Dialect::Oci => object(&json!({
                "org.erofs.dmverity.hash_offset": made.hash_offset.to_string(),
                "org.erofs.dmverity.root_digest": format!("sha256:{root}"),
                "org.erofs.dmverity.block_size":
                    made.formatted.superblock.params.data_block.bytes().to_string(),
            })),
        }
    }
}

/// Has the signature beside the root hash in `file` make way, if that is another root hash than `root` so
/// far.
fn retire_signature(file: &Path, root: &str, set: &mut Set, warnings: &mut Vec<String>) {
    let mut older = Vec::new();
    // A file that cannot be read holds no root hash for which the signature could be.
    let read = File::open(file).and_then(|file| file.take(ROOT_MAX).read_to_end(&mut older));
    if read.is_ok() && String::from_utf8_lossy(&older).trim().eq_ignore_ascii_case(root) {
        return;
    }
    let signature = appended(file, SIGNATURE);
    if let Some(aside) = Aside::of(&signature, STALE) {
        let (path, name) = (signature.to_string_lossy(), aside.name().to_string_lossy());
        warnings.push(format!("{path}: signs another root hash, and is renamed to {name}"));
        set.move_aside(aside);
    }
}

/// The image as far as the tree covers it.
struct Data<'a> {
    image: &'a ImageFile,
    length: u64,
}

impl ReadAt for Data<'_> {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.image.read_at(at, bytes).map_err(io::Error::other)
    }
}

/// The file that takes the tree.
struct Out<'a>(&'a ImageFile);

impl WriteAt for Out<'_> {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(at, bytes).map_err(io::Error::other)
    }
}

/// What `--json` prints about the tree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerityReport {
    /// The root hash.
    pub root_hash: String,
    /// The file that holds the hash area; null if it is the image itself.
    pub hash_file: Option<String>,
    /// Where the hash area begins in its file, with its superblock.
    pub hash_offset: u64,
    /// Length of the hash area.
    pub hash_bytes: u64,
    /// The hash: sha256.
    pub algorithm: &'static str,
    /// How many blocks of data the tree covers.
    pub data_blocks: u64,
    /// Size of a block of data.
    pub data_block_size: u64,
    /// Size of a block of the tree.
    pub hash_block_size: u64,
    /// Salt in hexadecimal digits, or `-`.
    pub salt: String,
    /// UUID in the superblock of the hash area.
    pub uuid: String,
}

impl From<Made> for VerityReport {
    fn from(made: Made) -> Self {
        let Made { formatted: Formatted { root, superblock, end }, hash_offset, tree } = made;
        Self {
            root_hash: root.to_string(),
            hash_file: tree.map(|path| path.to_string_lossy().into_owned()),
            hash_offset,
            hash_bytes: end - hash_offset,
            algorithm: erofs_verity::params::ALGORITHM,
            data_blocks: superblock.data_blocks,
            data_block_size: superblock.params.data_block.bytes(),
            hash_block_size: superblock.params.hash_block.bytes(),
            salt: superblock.params.salt.to_hex(),
            uuid: superblock.params.uuid.to_string(),
        }
    }
}

impl VerityReport {
    /// For people.
    pub(super) fn text(&self) -> String {
        let place = match &self.hash_file {
            None => format!("behind the image, at byte {}", self.hash_offset),
            Some(file) => format!("in {}", one_line(file)),
        };
        format!("{}, tree of {} {place}", self.root_hash, size(self.hash_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(image: &str, change: impl FnOnce(&mut Verity)) -> Result<Option<Wanted>, String> {
        let mut flags = Verity {
            verity: None,
            verity_salt: None,
            verity_uuid: None,
            verity_roothash: None,
            verity_sidecar: Vec::new(),
        };
        change(&mut flags);
        flags.plan(Path::new(image), 0, 1)
    }

    fn files(image: &str, change: impl FnOnce(&mut Verity)) -> Vec<String> {
        let wanted = plan(image, change).unwrap().unwrap();
        wanted.files().map(|(_, path)| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn files_have_the_names_that_others_look_for() {
        use Dialect::{Containerd, Oci, Systemd};
        assert!(plan("a.raw", |_| ()).unwrap().is_none());
        assert!(files("a.raw", |f| f.verity = Some("".into())).is_empty());
        assert!(files("a.raw", |f| f.verity = Some("append".into())).is_empty());
        assert_eq!(files("a.raw", |f| f.verity = Some("tree".into())), ["tree"]);
        let systemd = |f: &mut Verity| f.verity_sidecar = vec![Systemd, Systemd];
        assert_eq!(files("d/a.raw", systemd), ["d/a.verity", "d/a.roothash"]);
        assert_eq!(files("d/a.img", systemd), ["d/a.img.verity", "d/a.img.roothash"]);
        assert_eq!(files("d/.raw", systemd), ["d/.raw.verity", "d/.raw.roothash"]);
        let others = |f: &mut Verity| f.verity_sidecar = vec![Oci, Containerd];
        assert_eq!(files("l.erofs", others), ["l.erofs.dmverity", "l.erofs.annotations.json"]);
    }

    #[test]
    fn contradictions_are_refused() {
        use Dialect::{Oci, Systemd};
        type Row = (fn(&mut Verity), &'static str);
        let rows: &[Row] = &[
            (|f| (f.verity, f.verity_sidecar) = (Some("append".into()), vec![Systemd]), "it wants a file"),
            (|f| (f.verity, f.verity_sidecar) = (Some("t".into()), vec![Oci]), "behind the image"),
            (|f| f.verity_sidecar = vec![Oci, Systemd], "behind the image"),
        ];
        for (change, words) in rows {
            let error = plan("a", change).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(uuid("00000000-0000-0000-0000-000000000000").is_err() && uuid("x").is_err());
    }
}
