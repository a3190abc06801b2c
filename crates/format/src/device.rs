//! The device table: 128-byte slots for the devices beside the primary one (`struct erofs_deviceslot`; Linux
//! 5.16).
//!
//! ```text
//! 0 tag[64]   64 blocks_lo   68 uniaddr_lo   72 blocks_hi   74 uniaddr_hi   76 reserved[52]
//! ```
//!
//! Device 0 is the primary one. Addresses without a device number live in a unified space, in which device n
//! covers `uniaddr` to `uniaddr + blocks`.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FormatError;

/// The length of a slot and the unit of `devt_slotoff`, in bytes.
pub const SLOT_SIZE: usize = 128;

#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Record {
    tag: [u8; 64],
    blocks_lo: U32,
    uniaddr_lo: U32,
    blocks_hi: U16,
    uniaddr_hi: U16,
    reserved: [u8; 52],
}

const _: () = assert!(size_of::<Record>() == SLOT_SIZE);

/// One extra device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSlot {
    /// A user's mark, such as a digest; the kernel reads it as a path only where no device was given.
    pub tag: [u8; 64],
    /// Length of the device in blocks.
    pub blocks: u64,
    /// First block in the unified address space; 0 where it has none.
    pub uniaddr: u64,
}

impl DeviceSlot {
    /// Reads the slot at the start of `bytes`, which stand at byte `at`; the upper halves count only with the
    /// 48-bit feature (`wide`).
    pub fn decode(bytes: &[u8], at: u64, wide: bool) -> Result<Self, FormatError> {
        let (record, _) = Record::read_from_prefix(bytes)
            .map_err(|_| FormatError::short("device slot", at, bytes.len(), SLOT_SIZE))?;
        let join = |low: U32, high: U16| {
            let high = if wide { u64::from(high.get()) } else { 0 };
            u64::from(low.get()) | (high << 32)
        };
        Ok(Self {
            tag: record.tag,
            blocks: join(record.blocks_lo, record.blocks_hi),
            uniaddr: join(record.uniaddr_lo, record.uniaddr_hi),
        })
    }

    /// The bytes of the slot; an error past 2^48 blocks.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let split = |what, value: u64| {
            let high =
                u16::try_from(value >> 32).map_err(|_| FormatError::limit(what, value, "fewer than 2^48"))?;
            let low = u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX);
            Ok((U32::new(low), U16::new(high)))
        };
        let (blocks_lo, blocks_hi) = split("blocks of a device", self.blocks)?;
        let (uniaddr_lo, uniaddr_hi) = split("unified address of a device", self.uniaddr)?;
        let record =
            Record { tag: self.tag, blocks_lo, uniaddr_lo, blocks_hi, uniaddr_hi, reserved: [0; 52] };
        Ok(record.as_bytes().to_vec())
    }
}

/// The mask of a chunk index's device number, for so many extra devices (`sbi->device_id_mask`).
pub fn device_id_mask(extra_devices: u16) -> u16 {
    let slots = u32::from(extra_devices).saturating_add(1).next_power_of_two();
    u16::try_from(slots.saturating_sub(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_undoes_encoding() {
        let slot = DeviceSlot { tag: [7; 64], blocks: 5 << 32, uniaddr: 9 };
        let bytes = slot.encode().unwrap();
        assert_eq!(DeviceSlot::decode(&bytes, 0, true).unwrap(), slot);
        assert_eq!(DeviceSlot::decode(&bytes, 0, false).unwrap().blocks, 0);
        assert!(DeviceSlot::decode(&bytes[..127], 0, true).is_err());
        assert!(DeviceSlot { blocks: 1 << 48, ..slot }.encode().is_err());
    }

    #[test]
    fn masks_cover_the_devices() {
        for (devices, mask) in [(0, 0), (1, 1), (2, 3), (3, 3), (4, 7), (65535, 65535)] {
            assert_eq!(device_id_mask(devices), mask, "{devices}");
        }
    }
}
