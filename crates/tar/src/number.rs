//! Numbers in headers: octal digits, and base 256 where these do not suffice.

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) value: i64,
    /// Whether GNU tar, bsdtar and Python's tarfile read the same value.
    pub(crate) is_clear: bool,
}

/// Reads a field: blanks, octal digits, and NUL or a blank if there is room; or base 256, with 0x80 in the
/// first byte, 0xff if it is negative. Zeros alone are 0. None if it is neither or does not fit.
pub(crate) fn number(field: &[u8]) -> Option<Number> {
    match field.first()? {
        0x80 => base_256(field.get(1..)?, 0),
        0xff => base_256(field.get(1..)?, -1),
        _ => octal(field),
    }
}

fn base_256(bytes: &[u8], start: i64) -> Option<Number> {
    let mut value = start;
    for &byte in bytes {
        value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
    }
    Some(Number { value, is_clear: true })
}

fn octal(field: &[u8]) -> Option<Number> {
    let is_blank = |byte: &u8| matches!(byte, 0 | b' ');
    let spaces = field.iter().take_while(|&&byte| byte == b' ').count();
    let text = field.get(spaces..)?;
    let count = text.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (digits, rest) = text.split_at_checked(count)?;
    // GNU tar skips a NUL in front, others stop at it; and all blanks are an error to it.
    let is_clear =
        !text.is_empty() && rest.iter().all(is_blank) && !(spaces == 0 && count == 0 && rest.contains(&b' '));
    if rest.first().is_some_and(|byte| !is_blank(byte)) {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(Number { value, is_clear })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_all_programs_read() {
        let cases: [(&[u8], i64); 14] = [
            (b"0000644\0", 0o644),
            (b"000644 \0", 0o644),
            (b"  644 \0\0", 0o644),
            (b"77777777", 0o77_777_777),
            (b"777777777777", 0o777_777_777_777),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"   \0\0\0\0\0", 0),
            (b"644\0\0\0\0\0", 0o644),
            (b"644 \0  \0", 0o644),
            (b"\x80\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", i64::MIN),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
            (b"\xff\0\0\0\0\0\0\0", -(1 << 56)),
        ];
        for (field, value) in cases {
            assert_eq!(number(field), Some(Number { value, is_clear: true }), "{}", field.escape_ascii());
        }
    }

    #[test]
    fn values_that_programs_read_differently() {
        let cases: [(&[u8], i64); 6] = [
            (b"        ", 0),
            (b"\x00000012", 0),
            (b"12 34\0\0\0", 0o12),
            (b"12\x0034\0\0\0", 0o12),
            (b"\0       ", 0),
            (b" \x00 12\0\0\0", 0),
        ];
        for (field, value) in cases {
            assert_eq!(number(field), Some(Number { value, is_clear: false }), "{}", field.escape_ascii());
        }
    }

    #[test]
    fn fields_that_are_no_numbers() {
        let cases: [&[u8]; 10] = [
            b"",
            b"12x\0\0\0\0\0",
            b"-12\0\0\0\0\0",
            b"+12\0\0\0\0\0",
            b"8\0\0\0\0\0\0\0",
            b"\x81\0\0\0\0\0\0\x05",
            b"\xfe\0\0\0\0\0\0\x05",
            b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
            b"\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0",
            b"\t12\0\0\0\0\0",
        ];
        for field in cases {
            assert_eq!(number(field), None, "{}", field.escape_ascii());
        }
    }
}
