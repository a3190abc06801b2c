//! Global PAX records, which are for all entries that follow.

use std::collections::BTreeMap;

use crate::entry::Record;
use crate::error::{Error, Fault};
use crate::options::Options;

/// The last record of each keyword.
pub(crate) type Globals = BTreeMap<Vec<u8>, Record>;

/// What a global record does to the entries that follow.
enum Effect {
    None,
    /// It changes their metadata.
    Metadata,
    /// It changes their names or contents, or takes memory again for each of them.
    Unwanted,
}

fn effect(key: &[u8]) -> Effect {
    let prefixes: [&[u8]; 4] = [b"GNU.sparse.", b"GNU.volume.", b"SCHILY.xattr.", b"LIBARCHIVE.xattr."];
    match key {
        b"uid" | b"gid" | b"mtime" => Effect::Metadata,
        b"path" | b"linkpath" | b"size" | b"SCHILY.realsize" => Effect::Unwanted,
        _ if prefixes.iter().any(|prefix| key.starts_with(prefix)) => Effect::Unwanted,
        _ => Effect::None,
    }
}

/// Adds the records of one header.
///
/// # Errors
/// [`Error::Refused`] for names, sizes and attributes of all files; [`Error::Differs`] for owners and times,
/// which bsdtar does not take from global records; [`Error::Limit`].
pub(crate) fn add(globals: &mut Globals, records: Vec<Record>, options: &Options) -> Result<(), Error> {
    for record in records {
        let fault = |want| Fault::new(record.offset, "global pax record", &record.key, want);
        match effect(&record.key) {
            Effect::None => {}
            Effect::Metadata if options.lenient => {}
            Effect::Metadata => return Err(Error::Differs(fault("owners and times for each entry"))),
            Effect::Unwanted => {
                return Err(Error::Refused(fault("names, sizes and attributes for each entry")));
            }
        }
        // An empty value takes a record back.
        if record.value.is_empty() {
            globals.remove(&record.key);
        } else {
            globals.insert(record.key.clone(), record);
        }
    }
    let length: usize = globals.values().map(|record| record.key.len() + record.value.len()).sum();
    match globals.values().map(|record| record.offset).max() {
        Some(offset) if length > options.max_pax => {
            let want = "fewer bytes of global records (max_pax)";
            Err(Error::Limit(Fault::number(offset, "global pax records", length, want)))
        }
        _ => Ok(()),
    }
}
