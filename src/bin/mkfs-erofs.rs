//! `mkfs-erofs`: parse, run, one line of error, exit code. Installed as `mkfs.erofs` it is the same program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    erofs_cli::mkfs::main(std::env::args_os())
}
