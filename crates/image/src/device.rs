//! The primary device and the extra ones: an address of an extent becomes bytes, as Linux's `erofs_map_dev`
//! does it.

use std::fmt;
use std::sync::Arc;

use erofs_format::device::{DeviceSlot, SLOT_SIZE, device_id_mask};
use erofs_format::feature::incompat;
use erofs_format::superblock::Superblock;
use erofs_format::{BlkAddr, BlockBits};

use crate::error::{Cause, ImageError, Result};
use crate::read_at::ReadAt;
use crate::space::{length_of, read_exactly};

/// What messages call the primary device.
pub(crate) const PRIMARY: &str = "the image";

/// Why the primary device cannot stand in for an extra one.
const SHORT: &str = "the image ends before that device's unified addresses";

/// The devices of an image.
pub struct Devices {
    primary: Arc<dyn ReadAt>,
    given: Vec<Arc<dyn ReadAt>>,
    slots: Vec<DeviceSlot>,
    block_bits: BlockBits,
    mask: u16,
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices")
            .field("given", &self.given.len())
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

impl Devices {
    /// Reads the device table. `given` are the extra devices in the order of the table: all of them, or none,
    /// in which case the primary device is taken to hold the whole unified address space.
    pub(crate) fn open(
        primary: Arc<dyn ReadAt>,
        given: Vec<Arc<dyn ReadAt>>,
        superblock: &Superblock,
    ) -> Result<Self> {
        let has_table = superblock.incompat & incompat::DEVICE_TABLE != 0;
        let count = if has_table { superblock.extra_devices } else { 0 };
        if !given.is_empty() && given.len() != usize::from(count) {
            return Err(Cause::DeviceCount { given: given.len(), wanted: usize::from(count) }.into());
        }
        let wide = superblock.incompat & incompat::BIT48 != 0;
        let mut slots = Vec::new();
        for index in 0..count {
            let slot_size = u64::try_from(SLOT_SIZE).unwrap_or(u64::MAX);
            let number = u64::from(superblock.devt_slotoff).saturating_add(u64::from(index));
            let at = number.saturating_mul(slot_size);
            let mut bytes = [0; SLOT_SIZE];
            read_exactly(primary.as_ref(), PRIMARY, "device slot", at, &mut bytes)?;
            slots.push(DeviceSlot::decode(&bytes, at, wide)?);
        }
        let mask = if count == 0 { 0 } else { device_id_mask(count) };
        Ok(Self { primary, given, slots, block_bits: superblock.block_bits, mask })
    }

    /// The device table.
    pub fn slots(&self) -> &[DeviceSlot] {
        &self.slots
    }

    /// The primary device.
    pub(crate) fn primary(&self) -> &Arc<dyn ReadAt> {
        &self.primary
    }

    /// The bits of a chunk index's device number that count.
    pub(crate) fn mask(&self) -> u16 {
        self.mask
    }

    /// Block size.
    pub(crate) fn block_bits(&self) -> BlockBits {
        self.block_bits
    }

    /// How many bytes all devices have together.
    pub fn total_len(&self) -> u64 {
        self.given.iter().fold(self.primary.len(), |sum, device| sum.saturating_add(device.len()))
    }

    /// Fills `buf` with file data from byte `byte` of device `device`; device 0 is the unified space.
    pub(crate) fn read(&self, device: u16, byte: u64, buf: &mut [u8]) -> Result<()> {
        if device != 0 {
            return self.read_extra(device, byte, buf);
        }
        for (slot, number) in self.slots.iter().zip(1..) {
            let start = self.block_bits.byte_of(BlkAddr(slot.uniaddr))?;
            let length = self.block_bits.byte_of(BlkAddr(slot.blocks))?;
            let inside = byte.checked_sub(start).filter(|rest| slot.uniaddr != 0 && *rest < length);
            let Some(rest) = inside else { continue };
            match self.given.get(usize::from(number).saturating_sub(1)) {
                Some(source) => {
                    return read_exactly(source.as_ref(), &device_name(number), "file data", rest, buf);
                }
                // Without extra devices the primary one is the whole unified space, if it is long enough.
                None if byte.saturating_add(length_of(buf)) > self.primary.len() => {
                    return Err(self.absent(number, SHORT));
                }
                None => {}
            }
        }
        read_exactly(self.primary.as_ref(), PRIMARY, "file data", byte, buf)
    }

    fn absent(&self, device: u16, reason: &'static str) -> ImageError {
        let slot = self.slots.get(usize::from(device).saturating_sub(1));
        let tag = slot.and_then(|slot| slot.tag.split(|byte| *byte == 0).next()).unwrap_or_default().to_vec();
        Cause::DeviceAbsent { device, tag, extra: self.slots.len(), reason }.into()
    }

    fn read_extra(&self, device: u16, byte: u64, buf: &mut [u8]) -> Result<()> {
        let index = usize::from(device).saturating_sub(1);
        let slot = self.slots.get(index);
        let slot = slot.ok_or_else(|| self.absent(device, "the device table has no such slot"))?;
        if let Some(source) = self.given.get(index) {
            return read_exactly(source.as_ref(), &device_name(device), "file data", byte, buf);
        }
        // Without devices Linux takes the primary one for the whole unified space. Where it cannot be that,
        // the bytes that stand there are not those of the file, so this stops here.
        let start = self.block_bits.byte_of(BlkAddr(slot.uniaddr))?;
        let length = self.block_bits.byte_of(BlkAddr(slot.blocks))?;
        let end = start.checked_add(length).filter(|end| *end <= self.primary.len());
        if slot.uniaddr == 0 || end.is_none() {
            return Err(self.absent(device, SHORT));
        }
        let byte = byte.saturating_add(start);
        read_exactly(self.primary.as_ref(), PRIMARY, "file data", byte, buf)
    }
}

/// What messages call an extra device.
fn device_name(number: u16) -> String {
    format!("device {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(uniaddr: u64, blocks: u64) -> DeviceSlot {
        DeviceSlot { tag: [0; 64], blocks, uniaddr }
    }

    fn devices(primary_blocks: u8, given: usize, slots: Vec<DeviceSlot>) -> Devices {
        let block = |number: u8| vec![number; 512];
        let primary: Vec<u8> = (0..primary_blocks).flat_map(block).collect();
        let extra =
            |index: usize| -> Arc<dyn ReadAt> { Arc::new(vec![0xa0 + u8::try_from(index).unwrap(); 1024]) };
        Devices {
            primary: Arc::new(primary),
            given: (0..given).map(extra).collect(),
            slots,
            block_bits: BlockBits::new(9).unwrap(),
            mask: 3,
        }
    }

    fn byte(devices: &Devices, device: u16, block: u64) -> std::result::Result<u8, String> {
        let mut buf = [0; 1];
        devices.read(device, block * 512, &mut buf).map(|()| buf[0]).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_lead_to_devices_as_in_linux() {
        let split = devices(4, 2, vec![slot(4, 2), slot(6, 2)]);
        let whole = devices(8, 0, vec![slot(4, 2), slot(6, 2)]);
        let bare = devices(4, 2, vec![slot(0, 2), slot(0, 2)]);
        for (name, devices, device, block, want) in [
            ("primary", &split, 0, 3, 3),
            ("unified, first", &split, 0, 4, 0xa0),
            ("unified, second", &split, 0, 7, 0xa1),
            ("by number", &split, 2, 1, 0xa1),
            ("one device for all, by number", &whole, 2, 1, 7),
            ("one device for all, unified", &whole, 0, 5, 5),
            ("no unified addresses", &bare, 0, 1, 1),
            ("no unified addresses, by number", &bare, 1, 1, 0xa0),
        ] {
            assert_eq!(byte(devices, device, block), Ok(want), "{name}");
        }
    }

    #[test]
    fn wrong_addresses_are_errors() {
        let split = devices(4, 2, vec![slot(4, 2), slot(6, 2)]);
        let alone = devices(4, 0, vec![slot(4, 2), slot(0, 2)]);
        for (devices, device, block, want) in [
            (
                &split,
                0,
                8,
                "file data at byte 4096: found 1 byte, want an end within the image, which has 2048 bytes",
            ),
            (
                &split,
                1,
                2,
                "file data at byte 1024: found 1 byte, want an end within device 1, which has 1024 bytes",
            ),
            (
                &split,
                3,
                0,
                "data on extra device 3: found no such device, want 2 given (the device table has no such slot)",
            ),
            (
                &alone,
                1,
                0,
                "data on extra device 1: found no such device, want 2 given (the image ends before that device\'s unified addresses)",
            ),
            (
                &alone,
                2,
                0,
                "data on extra device 2: found no such device, want 2 given (the image ends before that device\'s unified addresses)",
            ),
        ] {
            assert_eq!(byte(devices, device, block), Err(want.to_owned()));
        }
    }
}
