//! Everything is read: images one after the other, and nothing kept of each but sums.

use crate::error::SimError;
use crate::facts;
use crate::overheads::Overheads;
use crate::pages::PAGE_SIZE;
use crate::scenario::Method;
use crate::setup::{Setup, check_feature};
use crate::simulated::{ImageCost, Simulated};
use crate::survey::Survey;
use crate::tally::{Access, Tally};

/// Reads every file of every image in the model.
pub(crate) fn read_all(setup: Setup<'_>, method: Method) -> Result<Simulated, SimError> {
    let Setup { members, kernel, backend, .. } = setup;
    let mut tally = Tally::new(Access { kernel, backend, method });
    let (mut survey, mut overheads) = (Survey::default(), Overheads::default());
    facts::read_in_order(members, |number, facts| {
        let Some(member) = members.get(number) else { return Ok(()) };
        let facts = facts.map_err(|error| SimError::image(&member.path, error))?;
        check_feature(setup.allow_unshared, &member.path, &facts)?;
        survey.begin(number, &facts, &member.domain);
        tally.add_each(&facts, Some(&member.domain), |file, outcome| survey.file(file, outcome));
        overheads.add(number, &facts, true);
        Ok::<(), SimError>(())
    })?;
    let rows = members.iter().zip(tally.images()).zip(&overheads.metadata_bytes);
    let images: Vec<ImageCost> = rows
        .map(|((member, tally), metadata_bytes)| ImageCost {
            member: member.clone(),
            mount: None,
            files: tally.all.files,
            pages: tally.all.bytes / PAGE_SIZE,
            added_bytes: tally.added.bytes,
            metadata_bytes: *metadata_bytes,
        })
        .collect();
    setup.finish(images, overheads, survey.finish())
}
