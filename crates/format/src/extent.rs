//! An extent: a run of a file's bytes and where they are; the answer to `erofs_map_blocks` of Linux's `data.c`.

/// Where the bytes of an extent are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: they are zeros.
    Hole,
    /// On a device, from this byte on. Device 0 with `unified` set means that the address lies in the unified space
    /// of all devices.
    Device {
        /// Number of the device; 0 is the primary one or, where the image has a device table, the unified space.
        device: u16,
        /// First byte.
        byte: u64,
    },
    /// In the metadata area that holds the inode, from this byte of that area's device or metabox on.
    Inline {
        /// First byte.
        byte: u64,
    },
}

/// A run of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte in the file.
    pub start: u64,
    /// How many bytes; never 0, never past the end of the file.
    pub length: u64,
    /// Where they are.
    pub place: Place,
}
