//! Percent-encoding, strictly: a `%` that is not followed by two hexadecimal digits is an error and not itself.

/// The bytes that `text` stands for; `None` if an encoded byte is malformed.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(*rest.next()?)? << 4 | digit(*rest.next()?)?,
            byte => byte,
        });
    }
    Some(bytes)
}

/// [`decode`], for text.
pub(super) fn decode_text(text: &str) -> Option<String> {
    String::from_utf8(decode(text)?).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_text_is_decoded() {
        assert_eq!(decode("a%2Fb%00%ff+"), Some(b"a/b\x00\xff+".to_vec()));
        assert_eq!(decode_text("%C3%A4"), Some("\u{e4}".to_owned()));
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["%", "%4", "%zz", "a%+1", "%%41"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode_text("%ff"), None);
    }
}
