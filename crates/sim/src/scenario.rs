//! A scenario: images, and what is done with them in order. Plain values; the same file drives the model and a real
//! kernel, so that both can be compared.
//!
//! ```toml
//! title = "a second reader costs nothing"
//!
//! [images]
//! a = "a.img"
//!
//! [[event]]
//! do = "mount"
//! mount = "m1"
//! image = "a"
//! domain = "prod"
//!
//! [[event]]
//! do = "read"
//! mount = "m1"
//! path = "/usr/lib/libc.so"
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is done, and with which images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows.
    pub title: String,
    /// The name of each image, and its file relative to the scenario's.
    pub images: BTreeMap<String, PathBuf>,
    /// What happens, in order.
    #[serde(rename = "event")]
    pub events: Vec<Event>,
}

/// What lies under a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// A disk, partition or other block device.
    #[default]
    Block,
    /// A loop device with direct I/O.
    Loop,
    /// A loop device without direct I/O: the image file is cached as well.
    LoopBuffered,
    /// A dm-verity device.
    Verity,
    /// The image file itself.
    File,
    /// The image file itself, read past its own page cache (`directio`).
    FileDirectio,
}

/// How bytes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// `read`, `pread`, `readv`, `io_uring`.
    #[default]
    Read,
    /// Every page of the range is touched through a mapping.
    Mmap,
    /// The program is started: its header is read, its pages are mapped.
    Exec,
    /// `readahead` or `POSIX_FADV_WILLNEED`.
    Willneed,
    /// `sendfile`.
    Sendfile,
    /// `splice` to a pipe.
    Splice,
    /// An overlay copies the file up.
    CopyUp,
}

/// One thing that happens. A mount is called by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// An image is mounted.
    Mount {
        /// The name of the mount from now on.
        mount: String,
        /// The image.
        image: String,
        /// What lies under it.
        #[serde(default)]
        backend: Backend,
        /// The device, where several mounts are of the same one; its own otherwise.
        #[serde(default)]
        device: Option<String>,
        /// Whether `inode_share` is given; by default it is, if a domain is.
        #[serde(default)]
        inode_share: Option<bool>,
        /// `domain_id`.
        #[serde(default)]
        domain: Option<String>,
    },
    /// The options of a mount are changed.
    Remount {
        /// The mount.
        mount: String,
        /// Whether `inode_share` is given.
        inode_share: bool,
        /// `domain_id`; ignored by the kernel.
        #[serde(default)]
        domain: Option<String>,
    },
    /// A mount ends.
    Umount {
        /// The mount.
        mount: String,
    },
    /// A file is looked up, as `stat` does it.
    Stat {
        /// The mount.
        mount: String,
        /// The file.
        path: String,
    },
    /// Every file of a mount is looked up, in the order of a walk.
    StatAll {
        /// The mount.
        mount: String,
    },
    /// A file is opened and stays open.
    Open {
        /// The mount.
        mount: String,
        /// The file.
        path: String,
    },
    /// A file that was opened is closed.
    Close {
        /// The mount.
        mount: String,
        /// The file.
        path: String,
    },
    /// Bytes of a file are asked for, by one open file in calls of `call` bytes.
    Read {
        /// The mount.
        mount: String,
        /// The file.
        path: String,
        /// First byte.
        #[serde(default)]
        offset: u64,
        /// How many bytes; to the end of the file where nothing is said.
        #[serde(default)]
        length: Option<u64>,
        /// How.
        #[serde(default)]
        method: Method,
        /// The length of each call in bytes.
        #[serde(default = "default_call")]
        call: u64,
    },
    /// Every file of a mount is read completely, in the order of a walk.
    ReadAll {
        /// The mount.
        mount: String,
        /// How.
        #[serde(default)]
        method: Method,
    },
    /// `POSIX_FADV_DONTNEED` on a range of a file.
    Dontneed {
        /// The mount.
        mount: String,
        /// The file.
        path: String,
        /// First byte.
        #[serde(default)]
        offset: u64,
        /// How many bytes; to the end of the file where nothing is said.
        #[serde(default)]
        length: Option<u64>,
    },
    /// A number is written to `/proc/sys/vm/drop_caches`.
    DropCaches {
        /// 1: pages, 2: inodes, 3: both.
        value: u8,
    },
}

/// What `cat` and `cp` use today is larger; what was measured used this.
fn default_call() -> u64 {
    64 << 10
}

impl Event {
    /// The mount that an event is about, if it is about one.
    pub fn mount(&self) -> Option<&str> {
        match self {
            Self::Mount { mount, .. }
            | Self::Remount { mount, .. }
            | Self::Umount { mount }
            | Self::Stat { mount, .. }
            | Self::StatAll { mount }
            | Self::Open { mount, .. }
            | Self::Close { mount, .. }
            | Self::Read { mount, .. }
            | Self::ReadAll { mount, .. }
            | Self::Dontneed { mount, .. } => Some(mount),
            Self::DropCaches { .. } => None,
        }
    }
}
