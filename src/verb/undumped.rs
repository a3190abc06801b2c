//! No core dumps while a private key is in memory.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit,
};

/// While it lives, the process writes no core dump and cannot be traced by others than root.
#[derive(Debug)]
pub(super) struct Undumped {
    dumpable: DumpableBehavior,
    core: Rlimit,
}

impl Undumped {
    /// Turns core dumps off: by `PR_SET_DUMPABLE`, and for files also by `RLIMIT_CORE`, which programs that
    /// get dumps through a pipe (core(5)) are not held to.
    ///
    /// # Errors
    /// When the system refuses that.
    pub(super) fn begin() -> io::Result<Self> {
        let dumpable = dumpable_behavior()?;
        let core = getrlimit(Resource::Core);
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let undumped = Self { dumpable, core };
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: core.maximum })?;
        Ok(undumped)
    }
}

impl Drop for Undumped {
    /// Others, such as `/proc/self/fd` for users, work again.
    fn drop(&mut self) {
        // What was allowed before is allowed again; without it there would only be no dump.
        let _refused = setrlimit(Resource::Core, self.core);
        let _refused = set_dumpable_behavior(self.dumpable);
    }
}
