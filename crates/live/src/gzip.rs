//! The one gzip file of interest: `/proc/config.gz` (RFC 1952, one member, its checksum not looked at: the
//! kernel makes the bytes when they are read).

/// The longest configuration that is taken, in bytes; real ones have about 300 KiB.
const LIMIT: usize = 8 << 20;
/// Header fields that may follow the first ten bytes.
const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;

/// The content, or `None` where the bytes are no gzip member or hold more than 8 MiB.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = bytes.split_at_checked(10)?;
    let [0x1f, 0x8b, 8, flags, ..] = *header else { return None };
    if flags & FEXTRA != 0 {
        let (length, after) = rest.split_at_checked(2)?;
        rest = after.get(usize::from(u16::from_le_bytes(length.try_into().ok()?))..)?;
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            rest = rest.get(rest.iter().position(|byte| *byte == 0)? + 1..)?;
        }
    }
    if flags & FHCRC != 0 {
        rest = rest.get(2..)?;
    }
    miniz_oxide::inflate::decompress_to_vec_with_limit(rest, LIMIT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_with_every_header_are_unpacked() {
        let deflated = miniz_oxide::deflate::compress_to_vec(b"CONFIG_EROFS_FS=y\n", 6);
        let header = |flags, extra: &[u8]| {
            [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3], extra, &deflated, &[0; 8]].concat()
        };
        for bytes in [
            header(0, b""),
            header(FNAME, b"config\0"),
            header(FEXTRA | FNAME | FCOMMENT | FHCRC, b"\x03\0abcname\0comment\0xx"),
        ] {
            assert_eq!(unpack(&bytes).unwrap(), b"CONFIG_EROFS_FS=y\n");
        }
        for bytes in [&b""[..], b"\x1f\x8b\x08", &header(FNAME, b"")[..12], b"plain text, not packed"] {
            assert_eq!(unpack(bytes), None);
        }
        let bomb =
            [&header(0, b"")[..10], &miniz_oxide::deflate::compress_to_vec(&vec![0; LIMIT + 1], 1)].concat();
        assert_eq!(unpack(&bomb), None);
    }
}
