//! A scenario: images, and what is done with them in order. Plain values; the same file drives the model and
//! a real kernel, so that both can be compared.
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

/// The system calls that a [`Method`] stands for, where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Syscall {
    /// `read`: `pread64`, as it is done where nothing is said.
    Pread,
    /// `read`: `read` at the position of the open file.
    Read,
    /// `read`: `readv` into two buffers.
    Readv,
    /// `read`: `preadv2`.
    Preadv2,
    /// `read`: `IORING_OP_READ` of an `io_uring`.
    IoUring,
    /// `read`: `pread64` after `fcntl(F_SETFL, O_DIRECT)`.
    DirectFlag,
    /// `mmap`: shared, as it is done where nothing is said.
    MapShared,
    /// `mmap`: private.
    MapPrivate,
    /// `mmap`: private and executable.
    MapExec,
    /// `mmap`: private, and every page is written.
    MapWritten,
    /// `willneed`: `POSIX_FADV_WILLNEED`, as it is done where nothing is said.
    Fadvise,
    /// `willneed`: `readahead`.
    Readahead,
    /// `willneed`: `MADV_WILLNEED`.
    Madvise,
    /// `mmap`: `MADV_POPULATE_READ`.
    Populate,
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
        /// The images that hold the data of this one, in the order of its device table (`device=`).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        devices: Vec<String>,
        /// Further mount options, as `mount -o` takes them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
        /// The readahead window of its block device in KiB, which private pages are read by; 128 where
        /// nothing is said, and for mounts of image files.
        #[serde(default)]
        window_kib: Option<u64>,
    },
    /// An overlay with an empty upper directory in memory, over a mount.
    Overlay {
        /// The name of the overlay from now on.
        mount: String,
        /// The mount whose files it shows.
        lower: String,
        /// A mount whose files say by `trusted.overlay.metacopy` and `.redirect` that their data is that of
        /// the same path in `lower`, which is not shown itself then.
        #[serde(default)]
        over: Option<String>,
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
        /// Whether it may be in use (`umount -l`).
        #[serde(default)]
        lazy: bool,
    },
    /// The directories of a mount are read, and no file is looked up.
    List {
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
        /// The name of this open file, by which later events read through it; a file may be open several
        /// times.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<String>,
    },
    /// A whole file is mapped, every page of it touched, and the mapping kept.
    Map {
        /// The mount.
        mount: String,
        /// The file.
        path: String,
    },
    /// A mapping that was kept ends.
    Unmap {
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
        /// The name that it was opened with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<String>,
    },
    /// Bytes of a file are asked for, by one open file in calls of `call` bytes. The kernel reads ahead for
    /// each open file on its own.
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
        /// The exact system call, where a method has several. To the model they are the same, but for
        /// `map-exec`.
        #[serde(default)]
        syscall: Option<Syscall>,
        /// The name of the open file that is read through; one that is opened for this event where nothing is
        /// said. Not for `exec` and `copy-up`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<String>,
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
    /// The readahead window of shared pages is set (`read_ahead_kb` of the hidden device).
    Window {
        /// The window in KiB.
        kib: u64,
    },
    /// A number is written to `/proc/sys/vm/drop_caches`, as often as it takes in a quiet machine until
    /// nothing more goes: in a busy one, the kernel itself goes on as long as a sweep frees several objects.
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
    /// Bytes of a file are asked for, in calls of the length that is the default.
    pub fn read(mount: String, path: String, offset: u64, length: Option<u64>, method: Method) -> Self {
        Self::Read { mount, path, offset, length, method, call: default_call(), syscall: None, stream: None }
    }

    /// The mount that an event is about, if it is about one.
    pub fn mount(&self) -> Option<&str> {
        match self {
            Self::Mount { mount, .. }
            | Self::Remount { mount, .. }
            | Self::Umount { mount, .. }
            | Self::Stat { mount, .. }
            | Self::StatAll { mount }
            | Self::Open { mount, .. }
            | Self::Close { mount, .. }
            | Self::Read { mount, .. }
            | Self::ReadAll { mount, .. }
            | Self::Dontneed { mount, .. }
            | Self::Overlay { mount, .. }
            | Self::List { mount }
            | Self::Map { mount, .. }
            | Self::Unmap { mount, .. } => Some(mount),
            Self::Window { .. } | Self::DropCaches { .. } => None,
        }
    }

    /// The file that it is about, the first byte, and how many bytes from there on; none is up to the end.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other event is about no file")]
    pub fn subject(&self) -> Option<(&str, (u64, Option<u64>))> {
        match self {
            Self::Stat { path, .. }
            | Self::Open { path, .. }
            | Self::Close { path, .. }
            | Self::Map { path, .. }
            | Self::Unmap { path, .. }
            // What is dropped may lie anywhere.
            | Self::Dontneed { path, .. } => Some((path, (0, None))),
            Self::Read { path, offset, length, .. } => Some((path, (*offset, *length))),
            _ => None,
        }
    }
}
