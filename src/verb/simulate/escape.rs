//! Text in HTML and SVG.

/// Text that cannot end an element or an attribute, nor steer a terminal that shows the page.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Marks that turn the direction of text around would make a name look like another one.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe.extend(c.escape_unicode());
            }
            c if c.is_control() => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        for (text, want) in [
            ("plain/name.so", "plain/name.so"),
            ("</svg><script>", "&lt;/svg&gt;&lt;script&gt;"),
            ("a\"b'c&d", "a&quot;b&#39;c&amp;d"),
            ("\u{1b}[2J\n", "\\u{1b}[2J\\n"),
            ("a\u{202e}gpj", "a\\u{202e}gpj"),
        ] {
            assert_eq!(escaped(text), want);
        }
    }
}
