//! What the host and the guest say to each other: a plan on the way in, lines of JSON on the way out.

use erofs_sim::scenario::Event;
use serde::{Deserialize, Serialize};

/// What every line of the guest begins with; other lines are those of the virtual machine's program.
pub const PREFIX: &str = "@lab ";
/// The name of the port that the guest speaks through.
pub const PORT_NAME: &str = "lab";
/// Where the plan lies in the guest's initial file system.
pub const PLAN_PATH: &str = "/plan.json";
/// Where busybox lies in the guest's initial file system, if programs are to run.
pub const BUSYBOX_PATH: &str = "/busybox";
/// The serial number of the disk that holds images as files.
pub const SHELF_SERIAL: &str = "shelf";

/// What the guest is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whether there is a disk [`SHELF_SERIAL`].
    pub shelf: bool,
    /// The events of each scenario.
    pub scenarios: Vec<Vec<Step>>,
    /// What runs behind the events of each scenario. Where there is something, files are reported with their
    /// pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Program>,
}

/// A shell script that runs in a mount as in a container: with a layer to write to above it, which is gone
/// afterwards, and with `/proc`, `/dev`, `/tmp` and `/run` as programs expect them. `/run/busybox` is what
/// the image may not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The mount.
    pub mount: String,
    /// What `/bin/sh` of the mount carries out.
    pub script: String,
    /// How long it may take in seconds.
    pub seconds: u64,
}

/// How a [`Program`] ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramReport {
    /// The mount.
    pub mount: String,
    /// Its status; nothing if it was killed.
    pub status: Option<i32>,
    /// The end of what it said.
    pub output: String,
}

/// An event, and for a mount what lies under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The event.
    pub event: Event,
    /// Where the image of a mount is.
    pub place: Option<Place>,
    /// Where the images are that hold its data, in the order of its device table.
    #[serde(default)]
    pub devices: Vec<Place>,
}

/// Where the image of a mount is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On the disk with this serial number.
    Disk(String),
    /// In a file of the shelf.
    File(String),
    /// In a file of the shelf, which a loop device shows. Mounts with the same device name share the device.
    Loop {
        /// The name of the file on the shelf.
        file: String,
        /// The device, by a name that is unique in the scenario.
        device: String,
    },
    /// On a disk that dm-verity checks, with SHA-256 and no salt, in blocks of 4096 bytes.
    Verity {
        /// The serial number of the disk with the image.
        data: String,
        /// That of the disk with the hash tree.
        hashes: String,
        /// Length of the image in blocks.
        blocks: u64,
        /// The root hash in hexadecimal digits.
        root: String,
        /// The device, by a name that is unique in the scenario.
        device: String,
    },
}

/// What an event did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReport {
    /// Growth of `nr_file_pages`: everything in the page cache, in pages of 4096 bytes.
    pub file_pages: i64,
    /// Growth of `Buffers`: pages of block devices, which hold the metadata of mounts by block device.
    pub buffer_pages: i64,
    /// Growth of the pages of image files, under mounts straight from a file or through loop devices.
    pub backing_pages: i64,
    /// Growth of `pgpgin`: KiB that were read from disks; under a loop device, both devices count.
    pub read_kib: i64,
    /// The error number, if the kernel refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The error in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl EventReport {
    /// Growth of the pages of files and directories inside the mounts.
    pub fn data_pages(&self) -> i64 {
        self.file_pages - self.buffer_pages - self.backing_pages
    }
}

/// A regular file that is not empty, at the end of a scenario. Finding out looks every file up, so that a
/// file which the scenario never looked up joins its key at this point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// The mount.
    pub mount: String,
    /// The path in the mount.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Whether it is a member of a key: its pages are those of the hidden inode (such a file has no label
    /// `ioctl`).
    pub shared: bool,
    /// Pages that `mincore` shows: the shared ones of a member, else the file's own.
    pub mincore_pages: u64,
    /// Pages that `cachestat` shows: always the file's own.
    pub cachestat_pages: u64,
    /// [`Content`] of the pages that `mincore` shows; nothing for files of more than [`CONTENT_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<u64>,
    /// The pages that `mincore` shows, as runs of a first page and a count; only where programs ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<(u64, u64)>,
    /// The first file before this one that holds some of the frames which `mincore` shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_frames: Option<SameFrames>,
}

/// The largest file whose content is looked at, in bytes.
pub const CONTENT_MAX: u64 = 16 << 20;

/// A checksum of pages with their numbers, which host and guest both compute (FNV-1a over words). It tells
/// apart what two images hold, and is no protection against anyone.
#[derive(Debug, Clone, Copy)]
pub struct Content(u64);

impl Default for Content {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Content {
    /// Adds a page; what lies behind the end of a file counts as zeros.
    pub fn page(&mut self, number: u64, bytes: &[u8]) {
        self.word(number);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.word(u64::from_le_bytes(last));
        }
    }

    /// The checksum.
    pub fn finish(self) -> u64 {
        self.0
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    }
}

/// Frames that two files both hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SameFrames {
    /// The mount of the other file.
    pub mount: String,
    /// Its path.
    pub path: String,
    /// How many frames are the same, page by page.
    pub pages: u64,
}

/// A mount at the end of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountReport {
    /// Its name.
    pub mount: String,
    /// Pages of its directories.
    pub directory_pages: u64,
}

/// One line of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    /// The guest is up.
    Started {
        /// The release of the kernel.
        kernel: String,
    },
    /// A scenario begins.
    Scenario {
        /// Pages in the page cache beyond those before the first scenario.
        drift_pages: i64,
    },
    /// An event of it is over.
    Event(EventReport),
    /// A program of it is over.
    Program(ProgramReport),
    /// A file at its end.
    File(FileReport),
    /// A mount at its end.
    Mount(MountReport),
    /// A scenario is over.
    End {
        /// How many different frames `mincore` shows in all files together.
        frames: u64,
    },
    /// Every scenario is over.
    Done,
    /// The guest cannot go on.
    Fault {
        /// Why.
        reason: String,
    },
}
