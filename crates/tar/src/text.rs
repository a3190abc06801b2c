//! Values of PAX records: decimal numbers, times, and the two encodings of extended attributes.

use crate::entry::Time;

/// A number of decimal digits alone.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A time as pax(1) has it: seconds since the epoch, which may be negative, with a decimal fraction. What is
/// finer than a nanosecond is dropped, towards the past.
pub(crate) fn time(text: &[u8]) -> Option<Time> {
    let (is_negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let point = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = point.map_or(Some((text, &[][..])), |at| text.split_at_checked(at))?;
    let fraction = fraction.strip_prefix(b".").unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let nine = fraction.iter().chain([b'0'; 9].iter()).take(9);
    let nanoseconds = nine.fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let is_finer = fraction.iter().skip(9).any(|&digit| digit != b'0');
    if !is_negative {
        return Some(Time { seconds, nanoseconds });
    }
    match nanoseconds + u32::from(is_finer) {
        0 => Some(Time { seconds: -seconds, nanoseconds: 0 }),
        below => Some(Time { seconds: (-seconds).checked_sub(1)?, nanoseconds: 1_000_000_000 - below }),
    }
}

/// Undoes `%` and two hexadecimal digits, as libarchive writes names of attributes.
pub(crate) fn percent(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit =
            |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let high = digit(bytes.next())?;
        decoded.push(high * 16 + digit(bytes.next())?);
    }
    Some(decoded)
}

/// Undoes base 64 of RFC 4648, with or without the padding, which libarchive leaves out.
pub(crate) fn base_64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = text.get(..text.len() - padding)?;
    if digits.len() % 4 == 1 || padding > 0 && (!text.len().is_multiple_of(4) || padding > 2) {
        return None;
    }
    let mut decoded = Vec::new();
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for &byte in group {
            bits = bits << 6 | sextet(byte)?;
        }
        bits <<= 6 * (4 - group.len());
        let [third, second, first, _] = bits.to_le_bytes();
        decoded.extend([first, second, third].iter().take(group.len() - 1));
    }
    Some(decoded)
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for text in [&b""[..], b"18446744073709551616", b"-1", b"+1", b" 1", b"1 ", b"0x1"] {
            assert_eq!(decimal(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn times() {
        let cases: [(&[u8], i64, u32); 11] = [
            (b"0", 0, 0),
            (b"12.5", 12, 500_000_000),
            (b"12.000000001", 12, 1),
            (b"12.0000000019", 12, 1),
            (b"5.", 5, 0),
            (b"-1", -1, 0),
            (b"-0.5", -1, 500_000_000),
            (b"-1.5", -2, 500_000_000),
            (b"-1.0000000001", -2, 999_999_999),
            (b"-0", 0, 0),
            (b"-9223372036854775807.0", -i64::MAX, 0),
        ];
        for (text, seconds, nanoseconds) in cases {
            assert_eq!(time(text), Some(Time { seconds, nanoseconds }), "{}", text.escape_ascii());
        }
        let wrong: [&[u8]; 9] =
            [b"", b"-", b".5", b"1e3", b"+1", b" 1", b"1.2.3", b"--1", b"9223372036854775808"];
        for text in wrong {
            assert_eq!(time(text), None, "{}", text.escape_ascii());
        }
        assert_eq!(time(b"-9223372036854775807.5").map(|time| time.seconds), Some(i64::MIN));
    }

    #[test]
    fn encodings() {
        assert_eq!(percent(b"user.a%3Db%25").unwrap(), b"user.a=b%");
        assert_eq!(percent(b"%ff%FF").unwrap(), b"\xff\xff");
        assert_eq!((percent(b"%"), percent(b"%4"), percent(b"%xx")), (None, None, None));
        for (text, bytes) in [
            (&b""[..], &b""[..]),
            (b"AA", b"\0"),
            (b"AA==", b"\0"),
            (b"AP8", b"\0\xff"),
            (b"AP8=", b"\0\xff"),
            (b"aGVs", b"hel"),
            (b"+/+/aGU", b"\xfb\xff\xbfhe"),
        ] {
            assert_eq!(base_64(text).unwrap(), bytes, "{}", text.escape_ascii());
        }
        for text in [&b"A"[..], b"AAAAA", b"A===", b"AA=", b"=", b"A=A=", b"AA\n", b"*AAA", b"AAAA===="] {
            assert_eq!(base_64(text), None, "{}", text.escape_ascii());
        }
    }
}
