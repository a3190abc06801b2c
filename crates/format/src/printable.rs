//! Names and paths in messages.

/// A name or path for people and terminals: printable UTF-8 as it is, everything else (control characters,
/// bytes that are not UTF-8) as `\xNN` per byte, and a backslash doubled, so that the result leads back to
/// the bytes.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                plain if is_safe(plain) => text.push(plain),
                other => {
                    let mut buffer = [0; 4];
                    push_hex(&mut text, other.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        push_hex(&mut text, chunk.invalid());
    }
    text
}

/// Whether a terminal shows the character and does nothing else: no controls, and none of the marks that turn
/// the direction of text or separate lines.
fn is_safe(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str("\\x");
        text.extend([byte >> 4, byte & 0xf].into_iter().filter_map(|half| char::from_digit(half.into(), 16)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printed_without_harm() {
        for (name, want) in [
            (&b"plain"[..], "plain"),
            ("Größe".as_bytes(), "Größe"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"a\\b", "a\\\\b"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("\u{202e}x".as_bytes(), "\\xe2\\x80\\xaex"),
            ("\u{9b}".as_bytes(), "\\xc2\\x9b"),
        ] {
            assert_eq!(printable(name), want);
        }
    }
}
