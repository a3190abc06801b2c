//! Values on the command line: numbers as `strtol` with base 0 reads them, sizes, times, UUIDs.

use erofs_format::BlockBits;

/// What is wrong with a value, in one line. Clap puts the value and the option before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    found: String,
    want: &'static str,
}

impl std::fmt::Display for ValueError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "found {:?}, want {}", self.found, self.want)
    }
}

impl std::error::Error for ValueError {}

fn wrong(found: &str, want: &'static str) -> ValueError {
    ValueError { found: found.to_owned(), want }
}

/// Decimal, `0x` hexadecimal or `0` octal digits without a sign.
fn digits(text: &str) -> Option<u64> {
    let (radix, digits) = if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        (16, hex)
    } else if text.len() > 1 && text.starts_with('0') {
        (8, &text[1..])
    } else {
        (10, text)
    };
    // from_str_radix takes a plus sign.
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() }
}

/// 0 to 4294967295, in decimal, hexadecimal (`0x1f`) or octal (`037`).
///
/// # Errors
/// When the text is anything else.
pub fn unsigned(text: &str) -> Result<u32, ValueError> {
    let want = "a number from 0 to 4294967295";
    digits(text).and_then(|number| u32::try_from(number).ok()).ok_or_else(|| wrong(text, want))
}

/// A user or group identifier: 0 to 4294967294, because the last one stands for none.
///
/// # Errors
/// When the text is anything else.
pub fn owner(text: &str) -> Result<u32, ValueError> {
    let found = unsigned(text).ok().filter(|&id| id != u32::MAX);
    found.ok_or_else(|| wrong(text, "a number from 0 to 4294967294"))
}

/// A number of 64 bits with a sign.
///
/// # Errors
/// When the text is anything else.
pub fn signed(text: &str) -> Result<i64, ValueError> {
    let number = match text.strip_prefix('-') {
        Some(rest) => digits(rest).and_then(|number| 0_i64.checked_sub_unsigned(number)),
        None => digits(text).and_then(|number| i64::try_from(number).ok()),
    };
    number.ok_or_else(|| wrong(text, "a number"))
}

/// Seconds since 1970-01-01 00:00:00 UTC, not before.
///
/// # Errors
/// When the text is anything else.
pub fn seconds(text: &str) -> Result<i64, ValueError> {
    let found = digits(text).and_then(|number| i64::try_from(number).ok());
    found.ok_or_else(|| wrong(text, "seconds since 1970, 0 to 9223372036854775807"))
}

/// `SOURCE_DATE_EPOCH`: the same in decimal digits alone
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
///
/// # Errors
/// When the text is anything else.
pub fn source_date_epoch(text: &str) -> Result<i64, ValueError> {
    let decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let found = if decimal { text.parse().ok() } else { None };
    found.ok_or_else(|| wrong(text, "seconds since 1970 in decimal digits"))
}

/// A number of bytes, which may end with `K`, `M` or `G` for 2^10, 2^20 or 2^30.
///
/// # Errors
/// When the text is anything else, or more than 2^64 - 1.
pub fn bytes(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = match text.as_bytes().last().copied() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let found = digits(number).and_then(|number| number.checked_mul(unit));
    found.ok_or_else(|| wrong(text, "a number of bytes, such as 4096 or 4K"))
}

/// A number of bytes as [`bytes`] reads it, 0 to 4294967295.
///
/// # Errors
/// When the text is anything else.
pub fn size(text: &str) -> Result<u32, ValueError> {
    let found = bytes(text).ok().and_then(|size| u32::try_from(size).ok());
    found.ok_or_else(|| wrong(text, "a number of bytes from 0 to 4294967295, such as 4096 or 4K"))
}

/// A block size in bytes.
///
/// # Errors
/// When it is no power of two from 512 to 65536.
pub fn block_size(text: &str) -> Result<BlockBits, ValueError> {
    let found = bytes(text).ok().and_then(BlockBits::from_size);
    found.ok_or_else(|| wrong(text, "a power of two from 512 to 65536"))
}

/// A chunk size in bytes, as a power of two of bytes.
///
/// # Errors
/// When it is no power of two from 512 to 2^31.
pub fn chunk_bits(text: &str) -> Result<u8, ValueError> {
    let found = bytes(text).ok().filter(|size| size.is_power_of_two() && (512..=1 << 31).contains(size));
    let bits = found.and_then(|size| u8::try_from(size.trailing_zeros()).ok());
    bits.ok_or_else(|| wrong(text, "a power of two from 512 to 2147483648"))
}

/// How much the program says: 0 (errors only) to 9.
///
/// # Errors
/// When the text is anything else.
pub fn verbosity(text: &str) -> Result<u8, ValueError> {
    let found = unsigned(text).ok().and_then(|level| u8::try_from(level).ok()).filter(|&level| level <= 9);
    found.ok_or_else(|| wrong(text, "a number from 0 to 9"))
}

/// What `-U` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeUuid {
    /// A new one each time.
    Random,
    /// This one; `clear` is the one of zeros.
    Given([u8; 16]),
}

/// `random`, `clear`, or a UUID.
///
/// # Errors
/// When the text is anything else.
pub fn volume_uuid(text: &str) -> Result<VolumeUuid, ValueError> {
    match text {
        "random" => Ok(VolumeUuid::Random),
        "clear" => Ok(VolumeUuid::Given([0; 16])),
        _ => hyphenated(text).map(|uuid| VolumeUuid::Given(uuid.into_bytes())).ok_or_else(|| {
            wrong(text, "random, clear, or a UUID such as c1b9d5a2-f162-11cf-9ece-0020afc76f16")
        }),
    }
}

/// A UUID that is not nil.
///
/// # Errors
/// When the text is anything else.
pub fn namespace(text: &str) -> Result<uuid::Uuid, ValueError> {
    let found = hyphenated(text).filter(|uuid| !uuid.is_nil());
    found.ok_or_else(|| wrong(text, "a UUID such as c1b9d5a2-f162-11cf-9ece-0020afc76f16, not all zeros"))
}

fn hyphenated(text: &str) -> Option<uuid::Uuid> {
    // The other forms that the crate reads have other lengths.
    let form = text.len() == uuid::fmt::Hyphenated::LENGTH;
    if form { uuid::Uuid::try_parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_like_strtol_with_base_0() {
        for (text, want) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("017", Some(15)),
            ("00", Some(0)),
            ("0x1f", Some(31)),
            ("0XfF", Some(255)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("08", None),
            ("", None),
            ("0x", None),
            ("+1", None),
            ("0+1", None),
            ("-1", None),
            ("1 ", None),
            ("1k", None),
        ] {
            assert_eq!(unsigned(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn signs() {
        for (text, want) in [
            ("-1", Some(-1)),
            ("-0x10", Some(-16)),
            ("2147483647", Some(2_147_483_647)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("--1", None),
            ("-", None),
        ] {
            assert_eq!(signed(text).ok(), want, "{text:?}");
        }
        assert_eq!(owner("4294967294").ok(), Some(u32::MAX - 1));
        assert!(owner("4294967295").is_err());
        assert!(owner("-1").is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, want) in [
            ("4096", Some(4096)),
            ("4k", Some(4096)),
            ("0x10K", Some(16384)),
            ("2M", Some(2 << 20)),
            ("1G", Some(1 << 30)),
            ("17179869184G", None),
            ("K", None),
            ("1KiB", None),
            ("", None),
        ] {
            assert_eq!(bytes(text).ok(), want, "{text:?}");
        }
        for (text, want) in
            [("512", Some(9)), ("64K", Some(16)), ("128K", None), ("256", None), ("4097", None), ("0", None)]
        {
            assert_eq!(block_size(text).ok().map(BlockBits::bits), want, "{text:?}");
        }
        for (text, want) in [("4096", Some(12)), ("2G", Some(31)), ("4G", None), ("3000", None), ("1", None)]
        {
            assert_eq!(chunk_bits(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn sizes_of_32_bits() {
        for (text, want) in [("64k", Some(65_536)), ("3G", Some(3 << 30)), ("4G", None), ("-1", None)] {
            assert_eq!(size(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(seconds("0x10"), Ok(16));
        assert!(seconds("-1").is_err());
        assert!(seconds("18446744073709551615").is_err());
        assert_eq!(source_date_epoch("010"), Ok(10));
        for text in ["", " 1", "0x10", "1.5", "-1", "now", "9223372036854775808"] {
            assert!(source_date_epoch(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn uuids_have_hyphens() {
        assert_eq!(volume_uuid("random"), Ok(VolumeUuid::Random));
        assert_eq!(volume_uuid("clear"), Ok(VolumeUuid::Given([0; 16])));
        let Ok(VolumeUuid::Given(bytes)) = volume_uuid("C1b9d5a2-f162-11cf-9ece-0020afc76f16") else {
            panic!("a UUID is refused");
        };
        assert_eq!(bytes[..2], [0xc1, 0xb9]);
        for text in
            ["", "c1b9d5a2f16211cf9ece0020afc76f16", "{c1b9d5a2-f162-11cf-9ece-0020afc76f16}", "Random"]
        {
            assert!(volume_uuid(text).is_err(), "{text:?}");
        }
        assert!(namespace("00000000-0000-0000-0000-000000000000").is_err());
        assert!(namespace("6ba7b811-9dad-11d1-80b4-00c04fd430c8").is_ok());
    }

    #[test]
    fn messages_show_what_was_found() {
        assert_eq!(
            block_size("1000").unwrap_err().to_string(),
            "found \"1000\", want a power of two from 512 to 65536"
        );
        assert_eq!(verbosity("10").unwrap_err().to_string(), "found \"10\", want a number from 0 to 9");
    }
}
