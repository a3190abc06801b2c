//! A strict tar parser without I/O, for untrusted archives.
//!
//! [`Parser`] takes the headers of an archive as blocks of 512 bytes, and yields an [`Entry`] for each file:
//! its metadata, and where its content is in the archive. It opens, reads and writes nothing. [`entries`] is
//! the same for an archive in memory.
//!
//! Read are the forms of Unix V7, POSIX (ustar and pax), and GNU tar: long names, numbers in base 256, sparse
//! files of its old headers and of the versions 0.0, 0.1 and 1.0, extended attributes as star, GNU tar and
//! libarchive have them.
//!
//! # Rules
//!
//! - What GNU tar, bsdtar and Python's tarfile do not read in the same way is an error with its offset,
//!   [`Error::Differs`]; with [`Options::lenient`] it is read as this page says.
//! - A header of PAX records (`x`, `X`) is for the next file, past long names (`L`, `K`) and past global
//!   headers (lenient) in front of it. Of two such headers, and of two long names, the last counts (lenient).
//! - A PAX record counts more than the header; of the same record with two values the last counts (lenient).
//!   Another size than the one of the header, if that is not 0, is counted ([`Parser::contradictions`]).
//! - A path of PAX records counts more than another one as a long name (lenient).
//! - Global records: owners and times (lenient); names, sizes and attributes are refused.
//! - Only regular files have a content. Directories, symbolic links, devices and pipes have none, whatever
//!   size they state, in a PAX record (lenient) or in the header. A hard link has none, but one in a pax
//!   archive that states a size has (lenient).
//! - A regular file whose path ends with a slash is a directory: if its type is NUL, its size 0 and the slash
//!   in its own header, or lenient. Other types of GNU tar are directories of incremental archives (`D`) and
//!   volume labels (`V`), which are skipped (both lenient). Volumes (`M`) are refused; types that nobody
//!   knows are regular files (lenient).
//! - Maps of sparse files are in order, without overlap, and as long as what is stored. They end where the
//!   file ends, or what is behind them is a hole (lenient); segments but the last are multiples of 512 bytes,
//!   or follow each other without padding (lenient).
//! - The archive ends with two blocks of zeros and has nothing but zeros behind them. Lenient, it ends with
//!   one, or with the input, and what follows is ignored.
//!
//! Three differences between programs are no errors: attributes in libarchive's form alone, which GNU tar
//! ignores; times before 1970 with a fraction, which libarchive 3.6 reads wrong; and the size of sparse files
//! as a PAX record, with which Python's tarfile loses its place.
//!
//! Files in reading order: `error`, `options`, `entry` (what comes out), `number`, `text`, `header`,
//! `records` (pieces), `sparse`, `globals`, `known` (PAX records), `build` (an entry), `parser`.
//!
//! Invariant: memory is taken for bytes that came, never for a length that is claimed, and is bounded by
//! [`Options`]; the work for a block is bounded too. No input makes it panic.
//!
//! # Example
//!
//! ```
//! use erofs_tar::{Kind, Options, Parser};
//!
//! // What `tar` would write: a directory and the end marker.
//! let mut header = [0; 512];
//! header[..5].copy_from_slice(b"docs/");
//! header[100..107].copy_from_slice(b"0000755");
//! header[156] = b'5';
//! header[257..265].copy_from_slice(b"ustar\x0000");
//! header[148..156].fill(b' ');
//! let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
//! header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
//! let archive = [header, [0; 512], [0; 512]].concat();
//!
//! let mut parser = Parser::new(Options::default());
//! let mut found = Vec::new();
//! while let Some(block) = archive[parser.offset() as usize..].first_chunk() {
//!     // After an entry, the offset is behind its content.
//!     found.extend(parser.push(block)?);
//! }
//! parser.finish(archive.len() as u64, &[])?;
//! assert_eq!(found.len(), 1);
//! assert_eq!((found[0].path.as_slice(), found[0].mode), (&b"docs/"[..], 0o755));
//! assert_eq!(found[0].kind, Kind::Directory);
//! # Ok::<(), erofs_tar::Error>(())
//! ```

#![forbid(unsafe_code)]

mod build;
mod entry;
mod error;
mod globals;
mod header;
mod known;
mod number;
mod options;
mod parser;
mod records;
mod sparse;
mod text;

pub use entry::{Entry, Kind, Record, Segment, Time, Xattr};
pub use error::{Error, Fault};
pub use header::BLOCK;
pub use options::Options;
pub use parser::{Parser, entries};
