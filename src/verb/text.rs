//! Values of an image as text and as JSON: modes, times, names of any bytes.

use std::fmt::Write as _;

use erofs_format::filetype::FileType;
use erofs_image::Inode;
use serde_json::{Map, Value, json};

/// The mode as `ls -l` shows it: type, permissions, set-id and sticky bits.
pub(super) fn mode_string(inode: &Inode) -> String {
    let kind = match inode.file_type {
        FileType::Regular => '-',
        FileType::Directory => 'd',
        FileType::CharDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::Symlink => 'l',
    };
    let bits = inode.permissions();
    let mut text = String::from(kind);
    for (shift, special, with, without) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let class = bits >> shift;
        text.push(if class & 4 != 0 { 'r' } else { '-' });
        text.push(if class & 2 != 0 { 'w' } else { '-' });
        text.push(match (class & 1 != 0, bits & special != 0) {
            (true, true) => with,
            (false, true) => without,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

const SECONDS_PER_DAY: i64 = 86_400;
/// Days from 1 March of year 0 to 1 January 1970, in the proleptic Gregorian calendar.
const EPOCH_DAYS: i64 = 719_468;
const DAYS_PER_ERA: i64 = 146_097;

/// A time in UTC as RFC 3339 writes it; the fraction is left out where it is 0. Years past four digits are
/// written out.
pub(super) fn rfc3339(sec: i64, nsec: u32) -> String {
    let (year, month, day) = civil(sec.div_euclid(SECONDS_PER_DAY));
    let second = sec.rem_euclid(SECONDS_PER_DAY);
    let mut text = format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    if nsec != 0 {
        // Writing to a string cannot fail.
        write!(text, ".{nsec:09}").unwrap_or_default();
    }
    text.push('Z');
    text
}

/// Year, month and day of a day that is counted from 1970. Years begin in March here, so that the day that is
/// added in leap years comes last, and eras are the 400 years after which the calendar repeats.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Puts bytes under `key`: as text, and where they are not UTF-8 also in hexadecimal under `key_hex`, because
/// the text then does not lead back to them.
pub(super) fn put_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    object.insert(key.to_owned(), json!(String::from_utf8_lossy(bytes)));
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{key}_hex"), json!(hex(bytes)));
    }
}

/// Bytes in hexadecimal, lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// An xattr's value for people: in quotes where it is printable text, else in hexadecimal, as `getfattr`
/// does.
pub(super) fn value_text(value: &[u8]) -> String {
    let plain = |text: &&str| text.chars().all(|c| !c.is_control() && c != '"' && c != '\\');
    match std::str::from_utf8(value).ok().filter(plain) {
        Some(text) => format!("\"{text}\""),
        None => format!("0x{}", hex(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (sec, nsec, want) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_700_000_000, 5, "2023-11-14T22:13:20.000000005Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00Z"),
            (253_402_300_800, 0, "10000-01-01T00:00:00Z"),
            (i64::MAX, 0, "292277026596-12-04T15:30:07Z"),
            (i64::MIN, 0, "-292277022657-01-27T08:29:52Z"),
        ] {
            assert_eq!(rfc3339(sec, nsec), want);
        }
    }

    #[test]
    fn bytes_lead_back_from_json() {
        let mut object = Map::new();
        put_bytes(&mut object, "name", b"plain");
        put_bytes(&mut object, "other", b"a\xff");
        assert_eq!(
            Value::Object(object),
            json!({ "name": "plain", "other": "a\u{fffd}", "other_hex": "61ff" })
        );
    }

    #[test]
    fn values_are_text_or_hexadecimal() {
        for (value, want) in [(&b"abc"[..], "\"abc\""), (b"a\0", "0x6100"), (b"\xff", "0xff"), (b"", "\"\"")]
        {
            assert_eq!(value_text(value), want);
        }
    }
}
