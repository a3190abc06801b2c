//! The table of algorithms: one row each, and the way from parameters to an encoder.

use crate::codec::{Algorithm, Params, PrefixEncoder};
use crate::error::EncodeError;

/// Every algorithm, in the order of `-z help`.
pub static TABLE: [Algorithm; 6] = [
    crate::lz4::LZ4,
    crate::lz4::LZ4HC,
    crate::zstd::ZSTD,
    crate::deflate::DEFLATE,
    crate::deflate::LIBDEFLATE,
    crate::lzma::LZMA,
];

/// The algorithm that the command line calls `name`.
pub fn by_name(name: &str) -> Option<&'static Algorithm> {
    TABLE.iter().find(|algorithm| algorithm.name == name)
}

/// An encoder for `params`.
///
/// # Errors
///
/// When the level or the dictionary size is out of range, the algorithm cannot be written by this build, or
/// there is not enough memory.
pub fn encoder(params: &Params) -> Result<Box<dyn PrefixEncoder>, EncodeError> {
    check(params)?;
    (params.algorithm.open)(params)
}

/// A slower encoder of smaller output for `params`, for the last pcluster of a file when it ends a little
/// behind a block boundary; `None` where the algorithm has nothing stronger than the level already given.
///
/// What counts is whether all of the input fits: such an encoder may answer "nothing fits" when a shorter
/// prefix would.
///
/// # Errors
///
/// Those of [`encoder`].
pub fn encoder_stronger(params: &Params) -> Result<Option<Box<dyn PrefixEncoder>>, EncodeError> {
    check(params)?;
    (params.algorithm.open_stronger)(params)
}

/// About how many bytes of memory an encoder for `params` takes, at most.
pub fn memory(params: &Params) -> usize {
    (params.algorithm.memory)(params)
}

fn check(params: &Params) -> Result<(), EncodeError> {
    let algorithm = params.algorithm;
    if !(algorithm.has_level)(params.level) {
        return Err(EncodeError::Level {
            algorithm: algorithm.name,
            found: params.level,
            want: algorithm.levels,
        });
    }
    let Some(dictionary) = algorithm.dictionary else {
        return Ok(());
    };
    let size = params.dict_size;
    let in_range = (dictionary.min..=dictionary.max).contains(&size);
    if in_range && (!dictionary.power_of_two || size.is_power_of_two()) {
        return Ok(());
    }
    Err(EncodeError::Dictionary { algorithm: algorithm.name, found: size, want: dictionary.help })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_defaults_within_range() {
        for (row, algorithm) in TABLE.iter().enumerate() {
            assert_eq!(TABLE.iter().position(|other| other.name == algorithm.name), Some(row));
            for max_output in [4096, 65536, 1 << 20] {
                check(&Params::new(algorithm, max_output)).unwrap();
            }
        }
    }

    #[test]
    fn wrong_levels_and_dictionaries_are_refused_in_one_line() {
        let zstd = by_name("zstd").unwrap();
        let params = Params { level: 23, ..Params::new(zstd, 65536) };
        assert_eq!(encoder(&params).err().unwrap().to_string(), "zstd: level 23, want 1 to 22");
        let params = Params { dict_size: 3000, ..Params::new(zstd, 65536) };
        assert_eq!(
            encoder(&params).err().unwrap().to_string(),
            "zstd: dictionary of 3000 bytes, want a power of two from 1 KiB to 1 MiB"
        );
        let libdeflate = by_name("libdeflate").unwrap();
        for (level, dict_size, right) in [(9, 4096, true), (10, 32_768, true), (10, 4096, false)] {
            let params = Params { level, dict_size, ..Params::new(libdeflate, 65536) };
            assert_eq!(encoder(&params).is_ok(), right, "level {level}, dictionary of {dict_size} bytes");
        }
    }
}
