//! An algorithm as it is typed: its name, level and dictionary.

use erofs_builder::options::AlgorithmOptions;
use erofs_encode::{EncodeError, LzmaBits};

use crate::value;

/// Reads `ALG[,LEVEL|,level=N|,dictsize=N]`, of the value of `flag`; `lzma` also has `,lc=N`, `,lp=N` and
/// `,pb=N`. Level 0 is the default one where the algorithm has no other, as in the libraries.
pub(super) fn algorithm(flag: &str, typed: &str) -> Result<AlgorithmOptions, String> {
    let mut words = typed.split(',');
    let name = words.next().unwrap_or_default();
    let row = erofs_encode::by_name(name).ok_or_else(|| {
        let names: Vec<&str> = erofs_encode::TABLE.iter().map(|row| row.name).collect();
        format!("{flag}: found the algorithm {name:?}, want {}", names.join(", "))
    })?;
    let mut chosen = AlgorithmOptions {
        algorithm: row,
        level: row.default_level,
        dict_size: None,
        lzma: LzmaBits::default(),
    };
    for word in words {
        let number = |text: &str| {
            text.parse::<i32>()
                .map_err(|_| format!("{flag} {name}: found level {text:?}, want {}", row.levels))
        };
        if let Some(size) = word.strip_prefix("dictsize=") {
            let size = value::size(size).map_err(|error| format!("{flag} {name},dictsize: {error}"))?;
            chosen.dict_size = Some(size);
        } else if let Some(level) = word.strip_prefix("level=") {
            chosen.level = number(level)?;
        } else if let Some(field) = lzma_field(&mut chosen, word) {
            let (_, bits) = word.split_once('=').unwrap_or_default();
            let bits = bits
                .parse::<u8>()
                .map_err(|_| format!("{flag} {name}: found {word:?}, want a number of bits"))?;
            *field = Some(bits);
        } else {
            chosen.level = number(word)?;
        }
    }
    if chosen.level == 0 && !(row.has_level)(0) {
        chosen.level = row.default_level;
    }
    let check = erofs_encode::Params {
        level: chosen.level,
        lzma: chosen.lzma,
        dict_size: chosen.dict_size.unwrap_or_else(|| erofs_encode::Params::new(row, 65_536).dict_size),
        ..erofs_encode::Params::new(row, 65_536)
    };
    match erofs_encode::encoder(&check) {
        // Whether there is enough memory shows where files are encoded.
        Ok(_) | Err(EncodeError::Memory { .. }) => {}
        Err(error) => return Err(format!("{flag} {error}")),
    }
    Ok(chosen)
}

/// The bits of LZMA that a word such as `lc=3` sets.
fn lzma_field<'a>(chosen: &'a mut AlgorithmOptions, word: &str) -> Option<&'a mut Option<u8>> {
    if chosen.algorithm.name != "lzma" {
        return None;
    }
    match word.split_once('=')?.0 {
        "lc" => Some(&mut chosen.lzma.lc),
        "lp" => Some(&mut chosen.lzma.lp),
        "pb" => Some(&mut chosen.lzma.pb),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_bits() {
        let bits = LzmaBits { lc: Some(3), lp: Some(0), pb: Some(2) };
        for (typed, want) in [
            ("lz4hc,level=0", Some((9, LzmaBits::default()))),
            ("zstd,0", Some((3, LzmaBits::default()))),
            ("libdeflate,level=0", Some((1, LzmaBits::default()))),
            ("deflate,level=0", Some((0, LzmaBits::default()))),
            ("lzma,level=0", Some((0, LzmaBits::default()))),
            ("lzma,level=6,lc=3,lp=0,pb=2", Some((6, bits))),
            ("lzma,dictsize=64k", Some((6, LzmaBits::default()))),
            ("lzma,lc=3,lp=2", None),
            ("lzma,pb=5", None),
            ("lzma,lc=x", None),
            ("zstd,lc=3", None),
        ] {
            let found = algorithm("-z", typed);
            assert_eq!(
                found.as_ref().ok().map(|found| (found.level, found.lzma)),
                want,
                "{typed}: {found:?}"
            );
        }
    }
}
