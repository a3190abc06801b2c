//! What the model says of the images behind mounts that were looked at, to be compared with what is in
//! memory.

use std::collections::{HashMap, HashSet};

use erofs_sim::facts::ImageFacts;
use erofs_sim::kernel::KernelModel;
use erofs_sim::pages::{PageSet, bytes_of, pages_of};
use erofs_sim::readahead::FileAccess;
use erofs_sim::scenario::{Backend, Method};
use erofs_sim::world::{MountOptions, World};

use crate::error::Result;
use crate::resident::{FilePages, MountPages};

/// How much is read by one call, in bytes. It makes no difference to files that are read to their end.
const CALL: u64 = 1 << 20;

/// A mount, and what is known of its image. Of mounts with the same device only one belongs here.
#[derive(Debug, Clone, Copy)]
pub struct Mounted<'a> {
    /// What it has in memory.
    pub pages: &'a MountPages,
    /// The image, where it could be read.
    pub facts: Option<&'a ImageFacts>,
    /// What lies under it.
    pub backend: Backend,
    /// The domain, if the mount shares. The kernel does not show it, so it is somebody's word.
    pub domain: Option<&'a str>,
}

/// Bytes of page cache for the contents of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// If no mount shared.
    pub private_bytes: u64,
    /// As the mounts are.
    pub shared_bytes: u64,
}

/// What one mount is expected to cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountPrediction {
    /// All its files.
    pub all_bytes: u64,
    /// Those that no mount before it has brought in.
    pub adds_bytes: u64,
    /// Its directories.
    pub directory_bytes: u64,
}

/// What the model says, mounts in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prediction {
    /// If every file of every mount were read completely.
    pub all_files: Sum,
    /// If the files that have pages in memory were read completely, and no others.
    pub resident_files: Sum,
    /// Each mount, if every file were read.
    pub mounts: Vec<MountPrediction>,
}

/// Lets the model read the files. `None` where one of the images is not known.
///
/// # Errors
/// What the model's kernel refuses, such as a domain without a name.
pub fn predict(kernel: KernelModel, mounts: &[Mounted<'_>]) -> Result<Option<Prediction>> {
    let resident: Vec<HashSet<usize>> = mounts.iter().map(resident_files).collect();
    let Some((all_files, mounts_alone)) = read_files(kernel, mounts, |_, _| true)? else { return Ok(None) };
    let in_memory = |mount: usize, file| resident[mount].contains(&file);
    let resident_files = read_files(kernel, mounts, in_memory)?.map(|(sum, _)| sum).unwrap_or_default();
    Ok(Some(Prediction { all_files, resident_files, mounts: mounts_alone }))
}

/// The numbers of the files that have pages in memory; nothing of an image that is not known.
fn resident_files(mount: &Mounted<'_>) -> HashSet<usize> {
    let names = mount.facts.map(ImageFacts::by_name).unwrap_or_default();
    let resident = mount.pages.files.iter().filter(|file| file.resident() > 0);
    resident.filter_map(|file| names.get(file.path.as_slice()).copied()).collect()
}

/// Mounts every image in a new machine and reads the files that are wanted completely, mount after mount.
fn read_files(
    kernel: KernelModel,
    mounts: &[Mounted<'_>],
    wanted: impl Fn(usize, usize) -> bool,
) -> Result<Option<(Sum, Vec<MountPrediction>)>> {
    let mut world = World::new(kernel);
    let mut sum = Sum::default();
    let mut predictions = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let Some(facts) = mount.facts else { return Ok(None) };
        let options = MountOptions {
            backend: mount.backend,
            inode_share: mount.domain.is_some(),
            domain: mount.domain.map(str::to_owned),
            ..MountOptions::default()
        };
        let name = index.to_string();
        world.mount(&name, facts, &options)?;
        let mut prediction = MountPrediction { directory_bytes: facts.directory_bytes, ..Default::default() };
        for (number, file) in facts.files.iter().enumerate().filter(|(number, _)| wanted(index, *number)) {
            let access = FileAccess { call: CALL, ..FileAccess::whole(Method::Read) };
            let effect = world.access(&name, number, &access, None)?;
            prediction.all_bytes = prediction.all_bytes.saturating_add(bytes_of(pages_of(file.size)));
            prediction.adds_bytes = prediction.adds_bytes.saturating_add(bytes_of(effect.added));
        }
        sum.private_bytes = sum.private_bytes.saturating_add(prediction.all_bytes);
        sum.shared_bytes = sum.shared_bytes.saturating_add(prediction.adds_bytes);
        predictions.push(prediction);
    }
    Ok(Some((sum, predictions)))
}

/// Files by which a mount and an image differ: those that only one of them has, by any of their names, or
/// with other lengths. More than none means that the image is not the one that is mounted.
pub fn differences(pages: &MountPages, facts: &ImageFacts) -> u64 {
    let names = facts.by_name();
    let sizes = facts.files.iter().map(|file| file.size).enumerate().filter(|(_, size)| *size > 0);
    let mut image: HashMap<usize, u64> = sizes.collect();
    let differs = |file: &&FilePages| {
        let number = names.get(file.path.as_slice());
        number.and_then(|number| image.remove(number)) != Some(file.size)
    };
    let mounted = pages.files.iter().filter(differs).count();
    (mounted + image.len()) as u64
}

/// How many pages are in memory: what reads find, once for all files of the same domain and fingerprint that
/// share, and the private copies. Exact where no mount shares; where one does, it is the model's word for who
/// shares with whom, and files of unknown images count for themselves.
pub fn pages_by_fingerprint(kernel: KernelModel, mounts: &[Mounted<'_>]) -> u64 {
    let mut shared: HashMap<(&str, &[u8]), PageSet> = HashMap::new();
    let mut pages = 0;
    for mount in mounts {
        let names = mount.facts.map(ImageFacts::by_name).unwrap_or_default();
        let value = |path: &[u8]| {
            let file = mount.facts?.files.get(*names.get(path)?)?;
            file.fingerprint.as_deref()
        };
        for file in &mount.pages.files {
            pages += if kernel.shared_splice { 0 } else { file.private_copies() };
            let key = mount.domain.zip(value(&file.path)).filter(|_| file.shared);
            match key {
                Some(key) => {
                    let set = shared.entry(key).or_default();
                    pages += file.runs.iter().flatten().map(|run| set.insert(run.clone())).sum::<u64>();
                }
                None => pages += file.resident(),
            }
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use erofs_sim::facts::FileFacts;

    fn facts(files: &[(&str, u64, &str)]) -> ImageFacts {
        let file = |&(path, size, value): &(&str, u64, &str)| FileFacts {
            path: path.into(),
            size,
            compressed: false,
            fingerprint: (!value.is_empty()).then(|| value.into()),
        };
        ImageFacts {
            files: files.iter().map(file).collect(),
            announces_fingerprints: true,
            directory_bytes: 4096,
            ..ImageFacts::default()
        }
    }

    fn pages(files: &[(&str, u64, std::ops::Range<u64>, u64)], shared: bool) -> MountPages {
        let file = |(path, size, run, own): &(&str, u64, std::ops::Range<u64>, u64)| FilePages {
            path: (*path).into(),
            size: *size,
            runs: Some(if run.is_empty() { vec![] } else { vec![run.clone()] }),
            own: Some(*own),
            shared,
        };
        MountPages { files: files.iter().map(file).collect(), ..MountPages::default() }
    }

    #[test]
    fn predictions_are_sums_of_whole_files() {
        let a = facts(&[("/x", 20_000, "X"), ("/y", 12_000, "Y"), ("/z", 1, "")]);
        let b = facts(&[("/x", 20_000, "X"), ("/y", 12_000, "Y2")]);
        let in_a = pages(&[("/x", 20_000, 0..4, 0), ("/y", 12_000, 0..0, 0), ("/z", 1, 0..1, 1)], true);
        let in_b = pages(&[("/x", 20_000, 2..5, 2), ("/y", 12_000, 0..0, 0)], true);
        for (domain, all, resident, union) in [
            // Five pages of x are seen in all, one of z, and two copies that sendfile made.
            (Some("d"), 9 + 3, 5 + 1, 5 + 1 + 1 + 2),
            (None, 9 + 8, 5 + 1 + 5, 4 + 1 + 3 + 1 + 2),
        ] {
            let mounted =
                |pages, facts| Mounted { pages, facts: Some(facts), backend: Backend::Loop, domain };
            let mounts = [mounted(&in_a, &a), mounted(&in_b, &b)];
            let kernel = KernelModel::default();
            let found = predict(kernel, &mounts).unwrap().unwrap();
            assert_eq!(found.all_files, Sum { private_bytes: 17 * 4096, shared_bytes: all * 4096 });
            assert_eq!(found.resident_files, Sum { private_bytes: 11 * 4096, shared_bytes: resident * 4096 });
            assert_eq!(found.mounts[0].all_bytes, 9 * 4096);
            assert_eq!(pages_by_fingerprint(kernel, &mounts), union);
        }
    }

    #[test]
    fn plain_files_of_other_backends_share_nothing() {
        let mut image = facts(&[("/x", 20_000, "X")]);
        image.files.push(FileFacts {
            path: b"/c".into(),
            size: 1,
            compressed: true,
            fingerprint: Some(b"C".into()),
        });
        let empty = MountPages::default();
        let mounted = |backend| Mounted { pages: &empty, facts: Some(&image), backend, domain: Some("d") };
        for (second, shared) in [(Backend::Block, 6), (Backend::LoopBuffered, 6), (Backend::File, 11)] {
            let mounts = [mounted(Backend::Loop), mounted(second)];
            let found = predict(KernelModel::default(), &mounts).unwrap().unwrap();
            assert_eq!(found.all_files.shared_bytes, shared * 4096, "{second:?}");
        }
        let unknown = Mounted { facts: None, ..mounted(Backend::Loop) };
        assert_eq!(predict(KernelModel::default(), &[mounted(Backend::Loop), unknown]).unwrap(), None);
    }

    #[test]
    fn another_image_is_noticed() {
        let image = facts(&[("/x", 20_000, "X"), ("/empty", 0, ""), ("/y", 1, "")]);
        for (files, want) in [
            (&[("/x", 20_000, 0..0, 0), ("/y", 1, 0..0, 0)][..], 0),
            (&[("/x", 20_001, 0..0, 0), ("/y", 1, 0..0, 0)], 1),
            (&[("/z", 20_000, 0..0, 0), ("/y", 1, 0..0, 0)], 2),
            (&[], 2),
        ] {
            assert_eq!(differences(&pages(files, false), &image), want);
        }
    }
}
