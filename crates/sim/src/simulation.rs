//! The entry of this crate: a set of images, and three ways to read it.

use std::path::Path;

use crate::error::SimError;
use crate::kernel::KernelModel;
use crate::replay::{self, Access};
use crate::scenario::{Method, Scenario};
use crate::setup::Setup;
use crate::simulated::Simulated;
use crate::{timeline, whole};

/// A set of images in the model of Linux's page cache.
#[derive(Debug, Clone, Copy)]
pub struct Simulation<'a>(Setup<'a>);

impl<'a> Simulation<'a> {
    /// A simulation of images that are all mounted, each once, in their order.
    pub fn new(setup: Setup<'a>) -> Self {
        Self(setup)
    }

    /// Reads every file of every image completely, by `method`: the most that sharing can save.
    ///
    /// # Errors
    /// An image that cannot be read, or that announces no fingerprints where that is not allowed.
    pub fn read_all(self, method: Method) -> Result<Simulated, SimError> {
        whole::read_all(self.0, method)
    }

    /// Replays the accesses that `next` gives, each with the number of its line, until it gives none. With
    /// `strict`, an access to a file or a range that the images do not have is an error, as in a trace; else
    /// it is passed over, as in a log of system calls, which are about other files too.
    ///
    /// # Errors
    /// Those of `next`, those of [`Self::read_all`], and an access that is not one of the set.
    pub fn replay<E: From<SimError>>(
        self,
        strict: bool,
        next: impl FnMut() -> Option<Result<Access, E>>,
    ) -> Result<Simulated, E> {
        replay::replay(self.0, strict, next)
    }

    /// Does what a scenario says, event by event; it names its own images, relative to `directory`. What the
    /// kernel refuses is part of the result.
    ///
    /// # Errors
    /// Those of [`Self::read_all`], and an event about something that is not there.
    pub fn play(
        scenario: &Scenario,
        directory: &Path,
        kernel: KernelModel,
        allow_unshared: bool,
    ) -> Result<Simulated, SimError> {
        timeline::play(scenario, directory, kernel, allow_unshared)
    }
}
