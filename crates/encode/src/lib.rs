//! Encoders for the compression algorithms of EROFS that fill an output of a fixed size.
//!
//! `codec` holds the trait and the parameters, `table` one row per algorithm, and behind each row stands a module.

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

pub use codec::{MAX_INPUT, Params, Prefix, PrefixEncoder};
pub use error::EncodeError;
pub use sample::is_noise;
pub use table::{Algorithm, Dictionary, TABLE, by_name, encoder, encoder_stronger, memory};
