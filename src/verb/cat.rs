//! `erofs-ishare cat`: the content of files on stdout.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;

use erofs_image::{Cause, Follow, Image, ImageError, Piece};

use super::Done;
use super::source::ImageArgs;
use crate::output;

/// Write the content of files in an image to stdout
///
/// Symbolic links are followed inside the image. What cannot be read is named on stderr, and the rest is
/// still written.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// Paths inside the image
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
}

/// Why a copy ended early.
enum Stop {
    Image(ImageError),
    Output(std::io::Error),
}

impl From<ImageError> for Stop {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let image = args.image.open()?;
    let mut out = output::stdout();
    let mut failed = false;
    for path in &args.paths {
        let path = path.as_bytes();
        match copy(&image, path, &mut out) {
            Ok(()) => {}
            Err(Stop::Image(error)) => {
                args.image.complain(&error.at_path(path));
                failed = true;
            }
            Err(Stop::Output(error)) => return Err(anyhow::Error::new(error).context("stdout")),
        }
    }
    out.flush()?;
    Ok(Done::unless(failed))
}

fn copy(image: &Image, path: &[u8], out: &mut dyn Write) -> Result<(), Stop> {
    let inode = image.resolve(path, Follow::All)?;
    if !inode.is_file() {
        return Err(Stop::Image(Cause::NotAFile { found: inode.file_type.name() }.into()));
    }
    image.data(&inode)?.copy(|piece| match piece {
        Piece::Bytes(bytes) => out.write_all(bytes).map_err(Stop::Output),
        Piece::Hole(length) => write_zeros(out, length).map_err(Stop::Output),
    })
}

fn write_zeros(out: &mut dyn Write, mut length: u64) -> std::io::Result<()> {
    let zeros = [0; 1 << 13];
    while length > 0 {
        let now = usize::try_from(length).unwrap_or(usize::MAX).min(zeros.len());
        out.write_all(&zeros[..now])?;
        length -= now as u64;
    }
    Ok(())
}
