//! `erofs-ishare domain`: the identifiers that say which mounts share page cache, and mounts that keep them
//! secret.

mod id;
mod lint;
mod mount;
mod print;

use clap::Subcommand;

use super::Done;

/// Make, check and use identifiers of domains
///
/// Mounts with the same `domain_id` share page cache, and whoever can have an image mounted in a domain
/// decides what its other mounts read. So an identifier that separates those who do not trust each other is a
/// secret: it should be long, random, and never on a command line, where every user sees it. Linux shows it
/// in no table of mounts.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    New(id::Args),
    Check(lint::Args),
    Mount(mount::Args),
    MountCommand(print::CommandArgs),
    Unit(print::UnitArgs),
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    match &args.what {
        What::New(args) => id::run(args),
        What::Check(args) => lint::run(args),
        What::Mount(args) => mount::run(args),
        What::MountCommand(args) => print::command(args),
        What::Unit(args) => print::unit(args),
    }
}
