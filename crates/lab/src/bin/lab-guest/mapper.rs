//! Devices of the device mapper: a disk that dm-verity checks against a hash tree on another one.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::sys;

/// Where the device mapper takes its orders.
const CONTROL: &str = "/dev/mapper/control";
/// `struct dm_ioctl` and `struct dm_target_spec` (`include/uapi/linux/dm-ioctl.h`): their lengths and places
/// in them.
const HEADER_LEN: usize = 312;
const TARGET_LEN: usize = 40;
const FLAGS_AT: usize = 28;
const DEVICE_AT: usize = 40;
const NAME_AT: usize = 48;
const NAME_MAX: usize = 127;
/// The version of the interface that is asked for.
const VERSION: [u32; 3] = [4, 0, 0];
const READ_ONLY: u32 = 1;
/// The orders.
const DEV_CREATE: u8 = 3;
const DEV_REMOVE: u8 = 4;
const DEV_SUSPEND: u8 = 6;
const TABLE_LOAD: u8 = 9;
/// Bytes of a block and of a sector.
const BLOCK: u64 = 4096;
const SECTOR: u64 = 512;

/// What dm-verity checks.
#[derive(Debug)]
pub(crate) struct Verity<'a> {
    /// The device with the data.
    pub(crate) data: &'a Path,
    /// That with the hash tree, from its first block on.
    pub(crate) hashes: &'a Path,
    /// Blocks of data.
    pub(crate) blocks: u64,
    /// The root hash in hexadecimal digits.
    pub(crate) root: &'a str,
}

/// Makes a device called `name`; returns the path of its node.
pub(crate) fn create(name: &str, verity: &Verity<'_>) -> io::Result<PathBuf> {
    let Verity { data, hashes, blocks, root } = verity;
    let control = control()?;
    let mut request = request(name, READ_ONLY, &[])?;
    sys::device_mapper(&control, DEV_CREATE, &mut request)?;
    let minor = minor(&request);
    let (data, hashes) = (data.display(), hashes.display());
    let parameters = format!("1 {data} {hashes} {BLOCK} {BLOCK} {blocks} 0 sha256 {root} -");
    let target = target(blocks * (BLOCK / SECTOR), &parameters)?;
    sys::device_mapper(&control, TABLE_LOAD, &mut self::request(name, READ_ONLY, &target)?)?;
    // Without the flag that says so, nothing is suspended: the device begins to work.
    sys::device_mapper(&control, DEV_SUSPEND, &mut self::request(name, 0, &[])?)?;
    Ok(PathBuf::from(format!("/dev/dm-{minor}")))
}

/// Takes a device away.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    sys::device_mapper(&control()?, DEV_REMOVE, &mut request(name, 0, &[])?)
}

fn control() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(CONTROL)
}

/// An order about the device called `name`, with one target behind it or none.
fn request(name: &str, flags: u32, target: &[u8]) -> io::Result<Vec<u8>> {
    if name.len() > NAME_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = vec![0; HEADER_LEN];
    let len = u32::try_from(HEADER_LEN + target.len()).map_err(io::Error::other)?;
    let start = u32::try_from(HEADER_LEN).map_err(io::Error::other)?;
    let words = [VERSION[0], VERSION[1], VERSION[2], len, start, u32::from(!target.is_empty())];
    for (at, word) in words.into_iter().enumerate() {
        put(&mut bytes, 4 * at, &word.to_le_bytes());
    }
    put(&mut bytes, FLAGS_AT, &flags.to_le_bytes());
    put(&mut bytes, NAME_AT, name.as_bytes());
    bytes.extend_from_slice(target);
    Ok(bytes)
}

/// A target of the kind `verity` over all `sectors`.
fn target(sectors: u64, parameters: &str) -> io::Result<Vec<u8>> {
    let len = (TARGET_LEN + parameters.len() + 1).next_multiple_of(8);
    let mut bytes = vec![0; len];
    put(&mut bytes, 8, &sectors.to_le_bytes());
    put(&mut bytes, 20, &u32::try_from(len).map_err(io::Error::other)?.to_le_bytes());
    put(&mut bytes, 24, b"verity");
    put(&mut bytes, TARGET_LEN, parameters.as_bytes());
    Ok(bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(to, from)| *to = *from);
}

/// The minor number in the device number of an answer (`huge_encode_dev`).
fn minor(answer: &[u8]) -> u64 {
    let field = answer.get(DEVICE_AT..DEVICE_AT + 8).and_then(|bytes| bytes.try_into().ok());
    let device = u64::from_le_bytes(field.unwrap_or_default());
    (device & 0xff) | ((device >> 12) & 0xf_ff00)
}
