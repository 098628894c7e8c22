//! Makes what strangers sent harmless: no line breaks, no escape sequences, no reordered text, no megabytes.

use std::fmt::Write as _;

/// The longest field, in bytes.
const FIELD_MAX: usize = 4096;

/// `bytes` as text in which a backslash begins an escape: `\\`, `\xNN` for a byte, `\u{NNNN}` for a character.
pub(crate) fn clean(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().min(FIELD_MAX));
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if text.len() >= FIELD_MAX {
                text.push('…');
                return text;
            }
            push(&mut text, c);
        }
        for byte in chunk.invalid() {
            if text.len() >= FIELD_MAX {
                text.push('…');
                return text;
            }
            // Writing to a string can't fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn push(text: &mut String, c: char) {
    let _ = match c {
        '\\' => text.write_str("\\\\"),
        c if c.is_ascii_control() => write!(text, "\\x{:02x}", u32::from(c)),
        c if c.is_control() || reorders(c) => write!(text, "\\u{{{:x}}}", u32::from(c)),
        c => text.write_char(c),
    };
}

/// Invisible characters, line separators and those that change the direction of text.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_do_harm_is_escaped_and_the_rest_stays() {
        for (bytes, text) in [
            (&b"/a/b?c=%20"[..], "/a/b?c=%20"),
            ("/grün/日本".as_bytes(), "/grün/日本"),
            (b"a\r\nb\0\x7f", r"a\x0d\x0ab\x00\x7f"),
            (b"\x1b[31m", r"\x1b[31m"),
            (b"\xff\xc3(", r"\xff\xc3("),
            (
                "\u{202e}\u{9b}\u{2028}".as_bytes(),
                r"\u{202e}\u{9b}\u{2028}",
            ),
            (br"a\x1b", r"a\\x1b"),
            (b"", ""),
        ] {
            assert_eq!(clean(bytes), text);
        }
    }

    #[test]
    fn a_field_is_capped() {
        for bytes in [
            vec![b'a'; 1 << 20],
            vec![0xFF; 1 << 20],
            "ü".repeat(1 << 19).into_bytes(),
        ] {
            let text = clean(&bytes);
            assert!(text.ends_with('…'));
            assert!(text.len() <= FIELD_MAX + 16, "{}", text.len());
        }
        assert_eq!(clean(&[b'a'; FIELD_MAX]), "a".repeat(FIELD_MAX));
    }
}
