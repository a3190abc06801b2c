//! What is in front of the data: the superblock, the configurations of algorithms with the device table, and
//! the table of long xattr prefixes.

use erofs_format::compression::records_at;

use crate::error::BuildError;
use crate::layout::prefixes::Prefixes;
use crate::layout::zone::Zone;
use crate::options::BuildOptions;

/// The places of the front.
#[derive(Debug)]
pub(crate) struct Front {
    /// Where the configurations are.
    pub(crate) records_at: u64,
    /// Where the table of prefixes is, and its bytes.
    pub(crate) prefix_table: (u64, Vec<u8>),
    /// First byte of the data area, at a block.
    pub(crate) data_at: u64,
}

impl Front {
    /// The front of an image with `records` bytes of configurations.
    pub(crate) fn new(options: &BuildOptions, prefixes: &Prefixes, records: u64) -> Result<Self, BuildError> {
        let records_at = records_at(u8::from(options.layout.metabox.is_some()));
        let mut zone = Zone::new(options.content.block_bits, records_at + records);
        let table = prefixes.table()?;
        let table_at = zone.append(table.len() as u64);
        Ok(Self { records_at, prefix_table: (table_at, table), data_at: zone.end() })
    }
}
