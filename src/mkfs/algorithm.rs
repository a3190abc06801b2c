//! An algorithm as it is typed: its name, level and dictionary.

use erofs_builder::options::AlgorithmOptions;
use erofs_encode::EncodeError;

use crate::value;

/// Reads `ALG[,LEVEL|,level=N|,dictsize=N]`, of the value of `flag`.
pub(super) fn algorithm(flag: &str, typed: &str) -> Result<AlgorithmOptions, String> {
    let mut words = typed.split(',');
    let name = words.next().unwrap_or_default();
    let row = erofs_encode::by_name(name).ok_or_else(|| {
        let names: Vec<&str> = erofs_encode::TABLE.iter().map(|row| row.name).collect();
        format!("{flag}: found the algorithm {name:?}, want {}", names.join(", "))
    })?;
    let mut chosen = AlgorithmOptions { algorithm: row, level: row.default_level, dict_size: None };
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
        } else {
            chosen.level = number(word)?;
        }
    }
    let check = erofs_encode::Params {
        level: chosen.level,
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
