//! `mkfs-erofs`: parse, run, one line of error, exit code. Installed as `mkfs.erofs` it is the same program.

use std::process::ExitCode;

fn main() -> ExitCode {
    erofs_cli::mkfs::main(std::env::args_os())
}
