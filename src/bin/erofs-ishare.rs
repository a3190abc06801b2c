//! `erofs-ishare`: looks into EROFS images.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    erofs_cli::verb::main(std::env::args_os())
}
