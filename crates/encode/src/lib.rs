//! Encoders for the compression algorithms of EROFS that fill an output of a fixed size.
//!
//! `codec` holds the trait, what an algorithm says of itself, and the parameters; each algorithm is a module with
//! a row of its own; `table` lists the rows.

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

pub use codec::{Algorithm, Dictionary, MAX_INPUT, Params, Prefix, PrefixEncoder};
pub use error::EncodeError;
pub use sample::is_noise;
pub use table::{TABLE, by_name, encoder, encoder_stronger, memory};
