//! From scenarios to what a virtual machine needs: which disks, which image files, which event finds its
//! image where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use erofs_sim::scenario::{Backend, Event, Scenario};

use crate::error::{At as _, LabError};
use crate::protocol::{Place, Plan, Step};

/// A scenario, and the directory that the paths of its images are relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The scenario.
    pub scenario: Scenario,
    /// The directory.
    pub base: PathBuf,
}

impl Located {
    /// Reads a scenario from a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read or is no scenario.
    pub fn load(path: &Path) -> Result<Self, LabError> {
        Self::parse(&std::fs::read_to_string(path).at("read", path)?, path)
    }

    /// Reads a scenario from TOML that is, or could be, in the file at `path`.
    ///
    /// # Errors
    /// When the text is no scenario.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LabError> {
        let scenario = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1)
            });
            let reason = format!("line {line}: {}", error.message().replace('\n', ", "));
            LabError::Format { path: path.to_path_buf(), reason }
        })?;
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { scenario, base })
    }
}

/// What is attached to the virtual machine, and what the guest does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    /// What the guest does.
    pub(crate) plan: Plan,
    /// Images that are attached as disks, with their serial numbers. An image may be attached several times.
    pub(crate) disks: Vec<(String, PathBuf)>,
    /// Images that lie as files on the shelf, by their names there.
    pub(crate) shelf: Vec<(String, PathBuf)>,
    /// Images that dm-verity checks, with the serial numbers of the disks for their hash trees.
    pub(crate) verity: Vec<(String, PathBuf)>,
}

/// Decides where each image of the scenarios is.
///
/// # Errors
/// When an image is missing, or a scenario speaks of something that does not exist.
pub(crate) fn set_up(scenarios: &[Located]) -> Result<Setup, LabError> {
    let mut places = Places::default();
    let mut steps = Vec::new();
    for located in scenarios {
        steps.push(places.scenario(located)?);
    }
    let serials = places.disks.iter().map(|(path, copy)| (places.serial(path, *copy), path.clone()));
    let disks = serials.collect();
    let shelf: Vec<_> = places.shelf.iter().map(|path| (places.file(path), path.clone())).collect();
    let verity = places.verity.iter().map(|path| (places.hashes(path), path.clone())).collect();
    let plan = Plan { shelf: !shelf.is_empty(), scenarios: steps, programs: Vec::new() };
    Ok(Setup { plan, disks, shelf, verity })
}

/// The device below all of dm-verity, which no event names.
const BELOW_VERITY: &str = "below dm-verity";

/// The places that were given away, for all scenarios together.
#[derive(Debug, Default)]
struct Places {
    /// Every image, in the order of first use: its number names it in the guest.
    images: Vec<PathBuf>,
    /// Images as disks; one that is attached several times has several numbers.
    disks: BTreeSet<(PathBuf, usize)>,
    /// Images as files.
    shelf: BTreeSet<PathBuf>,
    /// Images with a hash tree.
    verity: BTreeSet<PathBuf>,
}

impl Places {
    fn number(&self, image: &Path) -> usize {
        self.images.iter().position(|known| known == image).unwrap_or_default()
    }

    fn serial(&self, image: &Path, copy: usize) -> String {
        format!("image{}-{copy}", self.number(image))
    }

    fn file(&self, image: &Path) -> String {
        format!("image{}", self.number(image))
    }

    fn hashes(&self, image: &Path) -> String {
        format!("hashes{}", self.number(image))
    }

    fn scenario(&mut self, located: &Located) -> Result<Vec<Step>, LabError> {
        let Located { scenario, base } = located;
        // Devices of each image in this scenario: a device that has no name is one of its own.
        let mut devices: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut steps = Vec::new();
        for (at, event) in scenario.events.iter().enumerate() {
            let fail = |reason| LabError::Event { title: scenario.title.clone(), event: at + 1, reason };
            let mut places = Vec::new();
            if let Event::Mount { mount, image, backend, device, devices: blobs, .. } = event {
                known.insert(mount);
                let device = device.as_ref().map_or(format!("event {at}"), |name| format!("device {name}"));
                for image in std::iter::once(image).chain(blobs) {
                    let path = scenario.images.get(image).map(|path| base.join(path));
                    let path = path.ok_or_else(|| fail(format!("there is no image called {image}")))?;
                    let path = path.canonicalize().at("find the image", &path)?;
                    places.push(self.place(&path, *backend, device.clone(), &mut devices));
                }
            } else if let Event::Overlay { mount, lower, over } = event {
                for below in [Some(lower), over.as_ref()].into_iter().flatten() {
                    if !known.contains(below.as_str()) {
                        return Err(fail(format!("no earlier event mounts {below}")));
                    }
                }
                known.insert(mount);
            } else if let Some(mount) = event.mount()
                && !known.contains(mount)
            {
                return Err(fail(format!("no earlier event mounts {mount}")));
            }
            let mut places = places.into_iter();
            steps.push(Step { event: event.clone(), place: places.next(), devices: places.collect() });
        }
        Ok(steps)
    }

    /// Where the image at `path` is for a mount.
    fn place(
        &mut self,
        path: &Path,
        backend: Backend,
        device: String,
        devices: &mut BTreeMap<PathBuf, Vec<String>>,
    ) -> Place {
        if !self.images.iter().any(|known| known == path) {
            self.images.push(path.to_path_buf());
        }
        match backend {
            Backend::Block => Place::Disk(self.disk(path, device, devices)),
            Backend::File | Backend::FileDirectio => {
                self.shelf.insert(path.to_path_buf());
                Place::File(self.file(path))
            }
            Backend::Loop | Backend::LoopBuffered => {
                self.shelf.insert(path.to_path_buf());
                let file = self.file(path);
                // A device shows one image, so the same name for two images names two devices.
                let device = format!("{file}, {device}");
                Place::Loop { file, device }
            }
            Backend::Verity => {
                // Any number of devices can be made over one disk, but none over one that is mounted.
                let data = self.disk(path, BELOW_VERITY.to_owned(), devices);
                self.verity.insert(path.to_path_buf());
                let hashes = self.hashes(path);
                let device = format!("{data}, {device}");
                // The tree is not there yet: what is in it is filled in when it has been made.
                Place::Verity { data, hashes, blocks: 0, root: String::new(), device }
            }
        }
    }

    /// The disk with the image at `path` that is this device in the scenario.
    fn disk(&mut self, path: &Path, device: String, devices: &mut BTreeMap<PathBuf, Vec<String>>) -> String {
        let copies = devices.entry(path.to_path_buf()).or_default();
        let copy = copies.iter().position(|known| *known == device).unwrap_or_else(|| {
            copies.push(device);
            copies.len() - 1
        });
        self.disks.insert((path.to_path_buf(), copy));
        self.serial(path, copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: &str = "title = 't'\n[images]\na = 'Cargo.toml'\nb = 'src/lib.rs'\n";

    fn located(events: &str) -> Located {
        let scenario = toml::from_str(&format!("{IMAGES}{events}")).unwrap();
        Located { scenario, base: env!("CARGO_MANIFEST_DIR").into() }
    }

    fn mount(name: &str, image: &str, rest: &str) -> String {
        format!("[[event]]\ndo = 'mount'\nmount = '{name}'\nimage = '{image}'\n{rest}\n")
    }

    #[test]
    fn each_mount_has_a_device_of_its_own_unless_it_names_one() {
        let first = located(
            &[mount("1", "a", ""), mount("2", "a", ""), mount("3", "b", ""), mount("4", "a", "device = 'x'")]
                .concat(),
        );
        let second = located(&[mount("1", "a", "device = 'x'"), mount("2", "a", "device = 'x'")].concat());
        let setup = set_up(&[first, second]).unwrap();
        let places: Vec<Vec<_>> = setup
            .plan
            .scenarios
            .iter()
            .map(|steps| {
                steps
                    .iter()
                    .map(|step| match &step.place {
                        Some(Place::Disk(serial)) => serial.clone(),
                        other => panic!("{other:?}"),
                    })
                    .collect()
            })
            .collect();
        assert_eq!(places, [vec!["image0-0", "image0-1", "image1-0", "image0-2"], vec!["image0-0"; 2]]);
        assert_eq!(setup.disks.len(), 4);
        assert!(!setup.plan.shelf);
    }

    #[test]
    fn files_and_loop_devices_come_from_the_shelf() {
        let events = [
            mount("1", "a", "backend = 'file'"),
            mount("2", "b", "backend = 'loop'\ndevice = 'x'"),
            mount("3", "a", "backend = 'loop-buffered'\ndevice = 'x'"),
        ];
        let setup = set_up(&[located(&events.concat())]).unwrap();
        let places: Vec<_> = setup.plan.scenarios[0].iter().map(|step| step.place.clone().unwrap()).collect();
        let looped = |file: &str| Place::Loop { file: file.into(), device: format!("{file}, device x") };
        assert_eq!(places, [Place::File("image0".into()), looped("image1"), looped("image0")]);
        assert_eq!(setup.shelf.len(), 2);
        assert!(setup.disks.is_empty());
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let rows = [
            (mount("1", "c", ""), "event 1: there is no image called c"),
            (mount("1", "a", "devices = ['d']"), "event 1: there is no image called d"),
            (
                "[[event]]\ndo = 'stat'\nmount = 'm'\npath = '/f'\n".to_owned(),
                "event 1: no earlier event mounts m",
            ),
        ];
        for (events, want) in rows {
            let error = set_up(&[located(&events)]).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        let mut missing = located(&mount("1", "a", ""));
        missing.base = "/nowhere".into();
        assert!(set_up(&[missing]).unwrap_err().to_string().contains("/nowhere/Cargo.toml"));
    }
}
