//! The keys that are in memory, with class and size of the file that made each: one compact record per key.
//!
//! A record is a slice of one long buffer, and the table holds nothing but where it starts. With a
//! fingerprint of 39 bytes that comes to some 75 bytes per key, while the table grows some 100.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::world::Class;

/// A set of keys.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    hasher: DefaultHashBuilder,
    /// Where each record starts in the buffer.
    table: HashTable<usize>,
    records: Vec<u8>,
}

/// What stands before a key: 8 bytes of size, 1 of class, 4 of the key's length.
const HEAD: usize = 13;

impl Keys {
    /// Class and size of the file that made `key`, if there is one; else it is made with those given.
    pub(crate) fn find_or_add(&mut self, key: &[u8], class: Class, size: u64) -> Option<(Class, u64)> {
        let hash = self.hasher.hash_one(key);
        let (records, hasher) = (&self.records, &self.hasher);
        if let Some(at) = self.table.find(hash, |at| key_at(records, *at) == key) {
            return decode(records, *at);
        }
        let at = records.len();
        let rehash = |at: &usize| hasher.hash_one(key_at(records, *at));
        self.table.insert_unique(hash, at, rehash);
        self.records.extend_from_slice(&size.to_le_bytes());
        self.records.push(number_of(class));
        // No key is longer than a mount option and a block together.
        let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
        self.records.extend_from_slice(&length.to_le_bytes());
        self.records.extend_from_slice(key);
        None
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

fn key_at(records: &[u8], at: usize) -> &[u8] {
    let record = records.get(at..).unwrap_or_default();
    let length = record.get(HEAD - 4..).and_then(<[u8]>::first_chunk).copied().map_or(0, u32::from_le_bytes);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    record.get(HEAD..HEAD.saturating_add(length)).unwrap_or_default()
}

fn decode(records: &[u8], at: usize) -> Option<(Class, u64)> {
    let record = records.get(at..)?;
    let class = [Class::Compressed, Class::PlainBlock, Class::PlainFile]
        .into_iter()
        .find(|class| Some(&number_of(*class)) == record.get(8))?;
    Some((class, u64::from_le_bytes(*record.first_chunk()?)))
}

fn number_of(class: Class) -> u8 {
    match class {
        Class::Compressed => 0,
        Class::PlainBlock => 1,
        Class::PlainFile => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn keys_behave_like_a_plain_map() {
        let classes = [Class::Compressed, Class::PlainBlock, Class::PlainFile];
        let (mut keys, mut plain) = (Keys::default(), BTreeMap::new());
        let mut state = 5_u64;
        for step in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Short and long keys, some of which begin like others.
            let key = vec![
                u8::try_from(state >> 60).unwrap_or(0);
                usize::try_from((state >> 40) % 400).unwrap_or(0)
            ];
            let class = classes[usize::try_from((state >> 30) % 3).unwrap_or(0)];
            assert_eq!(
                keys.find_or_add(&key, class, state),
                plain.get(&key).copied(),
                "step {step}: {} bytes",
                key.len()
            );
            plain.entry(key).or_insert((class, state));
            assert_eq!(keys.len(), plain.len());
        }
    }
}
