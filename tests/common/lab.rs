//! The kernel lab for tests that can do without, where it is not required.

use erofs_lab::{Lab, LabError};
use erofs_testkit::place;
use erofs_testkit::require::{Absent, need, root};

/// The lab, ready to run; `None`, noted as `check` not made, where this machine cannot have one.
pub(super) fn lab(check: &str) -> Option<Lab> {
    need(check, root())?;
    match Lab::prepare(&place::target_dir().join("lab")) {
        Ok(lab) => Some(lab),
        Err(LabError::Absent { what }) => need(check, Err(Absent::because(what))),
        Err(error) => panic!("{error}"),
    }
}
