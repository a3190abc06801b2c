//! `erofs-ishare`: looks into EROFS images.

use std::process::ExitCode;

fn main() -> ExitCode {
    erofs_cli::verb::main(std::env::args_os())
}
