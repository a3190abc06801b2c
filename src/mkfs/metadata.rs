//! The flags of compressed metadata: what was typed, and what it means.

use erofs_builder::options::{AlgorithmOptions, MetaboxOptions};

use super::algorithm::algorithm;
use crate::value;

/// Flags about metadata.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Compression")]
pub struct Metadata {
    /// Store all inodes in one that is compressed, in pclusters of up to BYTES (Linux 6.17): with the first
    /// algorithm of
    /// -z, the one with number N there, or another one; without any the metadata stays uncompressed
    #[arg(short = 'm', value_name = "BYTES[:N|:ALG[,LEVEL]]", allow_hyphen_values = true)]
    pub metabox: Option<String>,

    /// Compress directories (1), or leave them as they are (0, the default); needs -z
    #[arg(long = "zD", value_name = "0|1", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = ["0", "1"])]
    pub directories: Option<String>,

    /// Accepted for scripts: inodes (i) and directories (d) always stand together in one part of the image
    #[arg(long = "MZ", value_name = "0|i|id", num_args = 0..=1, require_equals = true, default_missing_value = "id",
          value_parser = zone)]
    pub zone: Option<()>,
}

/// What may follow `--MZ`.
fn zone(typed: &str) -> Result<(), String> {
    let known = typed == "0" || typed.bytes().all(|byte| matches!(byte, b'i' | b'd'));
    match (known, typed.contains('d') && !typed.contains('i')) {
        (true, false) => Ok(()),
        (true, true) => {
            Err("found d without i, want i too: directories stand in the metadata zone with inodes".into())
        }
        (false, _) => Err(format!("found {typed:?}, want 0, i or id")),
    }
}

impl Metadata {
    /// Whether directories are to be compressed.
    pub(super) fn packs_directories(&self) -> bool {
        self.directories.as_deref() == Some("1")
    }

    /// What `-m` means beside the algorithms of `-z`.
    pub(super) fn metabox(&self, listed: &[AlgorithmOptions]) -> Result<Option<MetaboxOptions>, String> {
        self.metabox.as_deref().map(|typed| metabox("-m", typed, listed)).transpose()
    }
}

/// Reads `BYTES[:N|:ALG[,LEVEL]]`, the value of `flag`, where N is the number of one of the algorithms
/// `listed`.
///
/// # Errors
/// What is wrong, in one line. The size is compared with the block size when the image is built.
pub(crate) fn metabox(
    flag: &str,
    typed: &str,
    listed: &[AlgorithmOptions],
) -> Result<MetaboxOptions, String> {
    let (size, named) = typed.split_once(':').map_or((typed, ""), |(size, named)| (size, named));
    let pcluster_size = value::size(size).map_err(|error| format!("{flag}: {error}"))?;
    let number = if named.is_empty() { Some(0) } else { named.parse::<usize>().ok() };
    let algorithm = match number {
        None => Some(algorithm(flag, named)?),
        // Without any algorithm at all metadata is not compressed either, as in mkfs.erofs.
        Some(0) => listed.first().copied(),
        Some(number) => Some(*listed.get(number).ok_or_else(|| {
            format!(
                "{flag}: found algorithm {number}, want a number below {}, or a name",
                listed.len().max(1)
            )
        })?),
    };
    Ok(MetaboxOptions { pcluster_size, algorithm })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Size, name of the algorithm and level; `None` for what is refused.
    type Want = Option<(u32, Option<(&'static str, i32)>)>;

    #[test]
    fn sizes_and_algorithms() {
        let listed = [algorithm("-z", "lz4").unwrap(), algorithm("-z", "zstd,9").unwrap()];
        let rows: [(&str, Want); 14] = [
            ("4096", Some((4096, Some(("lz4", 0))))),
            ("4096:", Some((4096, Some(("lz4", 0))))),
            ("8192:0", Some((8192, Some(("lz4", 0))))),
            ("8192:1", Some((8192, Some(("zstd", 9))))),
            ("4k:zstd,level=5", Some((4096, Some(("zstd", 5))))),
            ("0x1000:zstd,level=5", Some((4096, Some(("zstd", 5))))),
            ("16384:deflate,3", Some((16_384, Some(("deflate", 3))))),
            ("8192:2", None),
            ("8192:-1", None),
            ("8192:none", None),
            ("8192:zstd,99", None),
            ("", None),
            ("-4096", None),
            ("4096:lz4:lz4", None),
        ];
        for (typed, want) in rows {
            let found = metabox("-m", typed, &listed).ok().map(|found| {
                (found.pcluster_size, found.algorithm.map(|chosen| (chosen.algorithm.name, chosen.level)))
            });
            let named = |(size, chosen): (u32, Option<(&'static str, i32)>)| {
                // LZ4 has one level, whatever its number is.
                (size, chosen.map(|(name, level)| (name, if name == "lz4" { 0 } else { level })))
            };
            assert_eq!(found.map(named), want.map(named), "{typed}");
        }
        assert!(metabox("-m", "4096", &[]).unwrap().algorithm.is_none());
        assert_eq!(metabox("-m", "4096:zstd", &[]).unwrap().algorithm.unwrap().algorithm.name, "zstd");
    }

    #[test]
    fn zones() {
        for (typed, good) in
            [("0", true), ("i", true), ("id", true), ("di", true), ("d", false), ("x", false), ("1", false)]
        {
            assert_eq!(zone(typed).is_ok(), good, "{typed}");
        }
    }
}
