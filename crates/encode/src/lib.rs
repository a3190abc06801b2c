//! Encoders for the compression algorithms of EROFS that fill an output of a fixed size.
//!
//! `codec` holds the trait, what an algorithm says of itself, and the parameters; each algorithm is a module
//! with a row of its own; `table` lists the rows.
//!
//! # Example
//!
//! ```
//! use erofs_encode::{Params, by_name, encoder};
//!
//! let content = b"as much of this as fits, ".repeat(100_000);
//! let zstd = by_name("zstd").expect("a row of the table");
//! let mut encoder = encoder(&Params::new(zstd, 4096))?;
//!
//! // Fills a block of 4096 bytes with the longest prefix that fits.
//! let mut block = [0; 4096];
//! let prefix = encoder.encode_prefix(&content, &mut block);
//! assert!(prefix.consumed > 100_000 && prefix.written <= block.len());
//! # Ok::<(), erofs_encode::EncodeError>(())
//! ```

mod codec;
mod deflate;
mod error;
mod lz4;
mod lzma;
mod mixed;
mod sample;
mod search;
mod table;
mod zstd;

pub use codec::{Algorithm, Dictionary, LzmaBits, MAX_INPUT, Params, Prefix, PrefixEncoder};
pub use error::EncodeError;
pub use sample::is_noise;
pub use table::{TABLE, by_name, encoder, encoder_stronger, memory};
