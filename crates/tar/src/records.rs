//! PAX records: `LENGTH KEY=VALUE` and a newline, where LENGTH counts all of it.

use crate::entry::Record;
use crate::error::{Error, Fault};
use crate::text::decimal;

/// The most digits of a length.
const DIGITS: usize = 19;

/// Reads the records of a header whose content begins at `offset` in the archive. With `lenient`, zeros
/// behind them are no error.
pub(crate) fn parse(content: &[u8], offset: u64, lenient: bool) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let at = offset + (content.len() - rest.len()) as u64;
        if rest.iter().all(|&byte| byte == 0) {
            if lenient {
                break;
            }
            return Err(Error::Differs(Fault::new(at, "pax record", rest, "no zeros behind the records")));
        }
        let (length, key, value) = record(rest).ok_or_else(|| {
            let want = "its length in digits, a blank, a key, an equals sign, a value and a newline";
            Error::Invalid(Fault::new(at, "pax record", rest, want))
        })?;
        records.push(Record { key: key.into(), value: value.into(), offset: at });
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(records)
}

/// The length, key and value of the first record.
fn record(content: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let blank = content.iter().take(DIGITS + 1).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(content.get(..blank)?)?).ok()?;
    let text = content.get(..length)?.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (text.get(..equals)?, text.get(equals + 1..)?);
    let is_key = !key.is_empty() && !key.contains(&0) && !key.starts_with(b" ");
    is_key.then_some((length, key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(content: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, u64)> {
        let records = parse(content, 1000, false).unwrap();
        records.into_iter().map(|record| (record.key, record.value, record.offset)).collect()
    }

    #[test]
    fn values_may_hold_any_byte() {
        assert_eq!(pairs(b"11 path=pq\n"), [(b"path".into(), b"pq".into(), 1000)]);
        let two = [(b"a".into(), b"=\n\0\xff".into(), 1000), (b"b".into(), b"".into(), 1010)];
        assert_eq!(pairs(b"10 a==\n\0\xff\n5 b=\n"), two);
        assert_eq!(pairs(b"012 path=pq\n").len(), 1);
        assert_eq!(pairs(b""), []);
    }

    #[test]
    fn what_is_no_record() {
        let cases: [&[u8]; 16] = [
            b"13 path=pq\n",
            b"10 path=pq\n",
            b"0 path=pq\n",
            b"2 path=pq\n",
            b"11 path=pqX",
            b"11 pathxpq\n",
            b"7 =pqr\n",
            b"12  path=pq\n",
            b"11 path=pq\nx",
            b" 11 path=pq\n",
            b"-11 path=pq\n",
            b"99999999999999999999 path=pq\n",
            b"11",
            b"11 ",
            b"9 p\0h=pq\n",
            b"11\tpath=pq\n",
        ];
        for content in cases {
            let error = parse(content, 0, true).unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{}: {error}", content.escape_ascii());
        }
        let error = parse(b"11 path=pq\n11 path=pqX", 512, false).unwrap_err();
        assert_eq!(error.offset(), 523);
    }

    #[test]
    fn zeros_behind_records() {
        let content = b"11 path=pq\n\0\0";
        assert!(matches!(parse(content, 0, false), Err(Error::Differs(fault)) if fault.offset == 11));
        assert_eq!(parse(content, 0, true).unwrap().len(), 1);
    }
}
