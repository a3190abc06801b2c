//! Images and files by name.

use erofs_sim::survey::Named;
use erofs_sim::{Member, Simulated};
use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub(super) struct Largest {
    pub(super) image: String,
    pub(super) path: String,
    pub(super) bytes: u64,
}

/// The path of an image as reports have it.
pub(super) fn shown_path(member: &Member) -> String {
    member.path.to_string_lossy().into_owned()
}

/// The path of the image with this number.
pub(super) fn shown_name(simulated: &Simulated, image: usize) -> String {
    simulated.images.get(image).map(|cost| shown_path(&cost.member)).unwrap_or_default()
}

/// Files by name.
pub(super) fn largest(simulated: &Simulated, files: &[Named]) -> Vec<Largest> {
    let named = |file: &Named| Largest {
        image: shown_name(simulated, file.image),
        path: String::from_utf8_lossy(&file.path).into_owned(),
        bytes: file.size,
    };
    files.iter().map(named).collect()
}
