//! Archives as sources: the flags, what they mean, and the source that they give.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::Context as _;
use erofs_builder::{BuildOptions, ImageFile, Summary};
use erofs_tree::{Exclude, Progress, ShapeOptions, Shaped, TarOptions, TarSource, TarStream, Timestamp};

use super::personality::Personality;

/// What standard input is called in messages.
const STDIN: &str = "standard input";
/// Headers of an archive come in blocks of 512 bytes, so that reading is buffered.
const BUFFER: usize = 128 << 10;

/// Flags about archives.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Archives as sources")]
pub struct Archive {
    /// Take a tar archive as SOURCE, or standard input without SOURCE; gzip, Zstandard, xz and lzip are
    /// recognised. --tar is the same as --tar=f, a full image; there are no other kinds in this version
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "f")]
    pub tar: Option<String>,

    /// Take whiteouts of AUFS and OCI layers (.wh.NAME, .wh..wh..opq) in the archive as those of overlayfs
    #[arg(long)]
    pub aufs: bool,

    /// Order of contents: path, as those of a directory; or none, as in the archive, which is read once and
    /// not copied to a temporary file [default: path]
    #[arg(long, value_name = "ORDER")]
    pub sort: Option<String>,

    /// Take archives that GNU tar, bsdtar or Python read differently, and such without an end marker
    #[arg(long)]
    pub tar_lenient: bool,
}

/// How the archive is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    options: TarOptions,
    /// Whether contents are stored in the order of the archive.
    in_order: bool,
}

impl Archive {
    /// What the flags mean; nothing if SOURCE is a directory. `directory` is what other flags say of one.
    ///
    /// # Errors
    /// What is wrong with the command line, in one line.
    pub(super) fn plan(
        &self,
        personality: Personality,
        directory: &erofs_tree::DirOptions,
        build: &BuildOptions,
    ) -> Result<Option<Plan>, String> {
        let Some(kind) = &self.tar else { return self.without(personality).map(|()| None) };
        if kind != "f" {
            return Err(format!(
                "--tar={kind}: found another KIND than f; only full images are in this version"
            ));
        }
        let in_order = match self.sort.as_deref() {
            None | Some("path") => false,
            Some("none") => true,
            // mkfs.erofs takes any other word for path.
            Some(_) if personality.takes_options_without_effect => false,
            Some(word) => return Err(format!("--sort: found {word}, want path or none")),
        };
        let dedupe = build.content.compression.as_ref().is_some_and(|compression| compression.dedupe);
        // mkfs.erofs keeps the order only where that costs nothing.
        let in_order = in_order && !(dedupe && personality.takes_options_without_effect);
        let format = erofs_tree::TarFormat { lenient: self.tar_lenient, ..erofs_tree::TarFormat::default() };
        let options = TarOptions {
            format,
            whiteouts: self.aufs,
            hard_dereference: directory.hard_dereference,
            no_xattrs: !directory.read_xattrs,
            made: Timestamp { sec: build.layout.build_time, nsec: 0 },
        };
        Ok(Some(Plan { options, in_order }))
    }

    /// Refuses flags of archives without --tar.
    fn without(&self, personality: Personality) -> Result<(), String> {
        if personality.takes_options_without_effect {
            return Ok(());
        }
        let flags =
            [("--aufs", self.aufs), ("--sort", self.sort.is_some()), ("--tar-lenient", self.tar_lenient)];
        match flags.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(format!("{flag}: needs --tar")),
            None => Ok(()),
        }
    }
}

impl Plan {
    /// Builds the image of the archive at `path`, or of standard input.
    pub(super) fn build(
        &self,
        path: Option<&Path>,
        image: ImageFile,
        (shape, exclude): (ShapeOptions, Exclude),
        options: &BuildOptions,
        progress: &dyn Progress,
    ) -> Result<Summary, anyhow::Error> {
        if self.in_order {
            let (file, name) = match path {
                Some(path) => (File::open(path).with_context(|| crate::files::shown(path))?, path),
                None => (stdin()?, Path::new(STDIN)),
            };
            let input = BufReader::with_capacity(BUFFER, file);
            let stream = TarStream::<BufReader<File>>::decompressed(input, name, &self.options)?;
            let mut stream = Shaped::new(stream, shape, exclude);
            return Ok(erofs_builder::build_stream(&mut stream, image, options, progress)?);
        }
        let source = match path {
            Some(path) => TarSource::open(path, self.options.clone())?,
            None => TarSource::spooled(stdin()?, STDIN, self.options.clone())?,
        };
        let mut source = Shaped::new(source, shape, exclude);
        Ok(erofs_builder::build(&mut source, image, options, progress)?)
    }
}

/// Standard input without a buffer of this process in front of it.
fn stdin() -> Result<File, anyhow::Error> {
    let owned = std::io::stdin().as_fd().try_clone_to_owned();
    Ok(File::from(owned.context(STDIN)?))
}
