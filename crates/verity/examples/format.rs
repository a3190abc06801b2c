//! Makes the hash tree of a file and prints its root hash, to be measured beside `veritysetup format`:
//! `cargo run --release -p erofs-verity --example format DATA TREE [THREADS]`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use erofs_verity::{BlockSize, FileBytes, Params, ReadAt as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(data), Some(tree)) = (arguments.next(), arguments.next()) else {
        return Err("found fewer than two arguments, want DATA TREE [THREADS]".into());
    };
    let threads = arguments.next().map_or(Ok(0), |threads| threads.to_string_lossy().parse())?;
    let data = FileBytes::open(Path::new(&data))?;
    let blocks = data.len() / BlockSize::DEFAULT.bytes();
    let params = Params::derived(uuid::Uuid::nil(), blocks);
    let formatted = erofs_verity::format(&data, blocks, &params, &File::create(tree)?, 0, threads)?;
    writeln!(std::io::stdout(), "{}", formatted.root)?;
    Ok(())
}
