//! The file types of directory entries, and the type bits of `i_mode`.

use crate::error::{FormatError, Rule};

/// The mask of the type bits in a mode (`S_IFMT`).
pub const MODE_TYPE_MASK: u16 = 0o170_000;
/// The mask of the permission bits in a mode, set-id and sticky bits included.
pub const MODE_PERMISSION_MASK: u16 = 0o7777;

/// The type of a file, as a directory entry stores it (`EROFS_FT_*`; the numbers are those of `FT_*` in
/// Linux's `fs_types.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A symbolic link.
    Symlink,
}

/// Type, number in a directory entry, type bits of a mode, word for people.
const TABLE: [(FileType, u8, u16, &str); 7] = [
    (FileType::Regular, 1, 0o100_000, "regular file"),
    (FileType::Directory, 2, 0o040_000, "directory"),
    (FileType::CharDevice, 3, 0o020_000, "character device"),
    (FileType::BlockDevice, 4, 0o060_000, "block device"),
    (FileType::Fifo, 5, 0o010_000, "fifo"),
    (FileType::Socket, 6, 0o140_000, "socket"),
    (FileType::Symlink, 7, 0o120_000, "symbolic link"),
];

impl FileType {
    fn row(self) -> (Self, u8, u16, &'static str) {
        // The table holds every variant, so the fallback is never reached; it keeps the function total.
        TABLE.into_iter().find(|row| row.0 == self).unwrap_or(TABLE[0])
    }

    /// The number that a directory entry stores.
    pub fn number(self) -> u8 {
        self.row().1
    }

    /// The type bits of a mode.
    pub fn mode_bits(self) -> u16 {
        self.row().2
    }

    /// The word for people.
    pub fn name(self) -> &'static str {
        self.row().3
    }

    /// The type behind a directory entry's number; `None` for 0 (unknown) and for numbers above 7.
    pub fn from_number(number: u8) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// The type behind a mode, which the inode at byte `at` carries.
    pub fn from_mode(mode: u16, at: u64) -> Result<Self, FormatError> {
        let bits = mode & MODE_TYPE_MASK;
        TABLE.iter().find(|row| row.2 == bits).map(|row| row.0).ok_or_else(|| {
            FormatError::field("inode.i_mode", at, format!("{mode:#o}"), "one of the seven file types")
                .of(Rule::Inode)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_modes_lead_back_to_the_type() {
        for (file_type, number, bits, _) in TABLE {
            assert_eq!(file_type.number(), number);
            assert_eq!(FileType::from_number(number), Some(file_type));
            assert_eq!(FileType::from_mode(bits | 0o4755, 0).unwrap(), file_type);
        }
        assert_eq!(FileType::from_number(0), None);
        assert_eq!(FileType::from_number(8), None);
        assert!(FileType::from_mode(0o755, 4).unwrap_err().to_string().contains("byte 4"));
    }
}
