//! What came of a simulation, as plain values; bytes of memory are whole pages.

use crate::contents::Contents;
use crate::kernel::KernelModel;
use crate::member::Member;
use crate::overheads::Overheads;
use crate::pages::bytes_of;
use crate::scenario::Backend;
use crate::survey::Findings;
use crate::world::{Effect, WorldError};

/// What an image, or a mount of a scenario, costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCost {
    /// The image and its domain.
    pub member: Member,
    /// The name of the mount in a scenario.
    pub mount: Option<String>,
    /// Files that were read.
    pub files: u64,
    /// Pages without sharing.
    pub pages: u64,
    /// Bytes that it adds with sharing to what the images before it brought in.
    pub added_bytes: u64,
    /// Bytes of metadata.
    pub metadata_bytes: u64,
}

impl ImageCost {
    /// Bytes without sharing.
    pub fn private_bytes(&self) -> u64 {
        bytes_of(self.pages)
    }
}

/// What an event of a scenario did.
#[derive(Debug, Clone)]
pub struct EventCost {
    /// With sharing.
    pub with: Effect,
    /// Without.
    pub without: Effect,
    /// What the kernel refuses.
    pub error: Option<WorldError>,
}

/// What came of a simulation.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The kernel.
    pub kernel: KernelModel,
    /// The images, or the mounts of a scenario, in order.
    pub images: Vec<ImageCost>,
    /// Bytes without sharing; of a scenario the most at any time.
    pub private_bytes: u64,
    /// Bytes with sharing; of a scenario the most at any time.
    pub shared_bytes: u64,
    /// Why it costs what it costs.
    pub findings: Findings,
    /// What images take besides, and store more than once.
    pub overheads: Overheads,
    /// The backends of the mounts.
    pub backends: Vec<Backend>,
    /// What the contents say, if they were read.
    pub contents: Option<Contents>,
    /// What each event of a scenario did.
    pub events: Vec<EventCost>,
}
