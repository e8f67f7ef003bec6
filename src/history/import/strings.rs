//! Strings as JSON and EDN both write them: from `"` to `"`, with escapes after `\`.

use std::io::Read;

use super::Trouble;
use super::bytes::Bytes;
use super::json::show;

/// How long one string or symbol may be, bytes.
pub(super) const MAX_TOKEN: usize = 16 * 1024 * 1024;

/// Whose strings they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// On one line; `/` may be escaped.
    Json,
    /// May go on over the end of a line.
    Edn,
}

/// Reads a string, of which the opening quote is the current byte, into `token`.
#[inline]
pub(super) fn string<R: Read>(
    bytes: &mut Bytes<R>,
    token: &mut Vec<u8>,
    dialect: Dialect,
) -> Result<(), Trouble> {
    let began = bytes.line;
    bytes.bump();
    token.clear();
    loop {
        let rest = bytes.rest();
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n')).unwrap_or(rest.len());
        token.extend_from_slice(&rest[..plain]);
        bytes.skip(plain);
        if token.len() > MAX_TOKEN {
            return Err(Trouble::Malformed(bytes.line, "this string is longer than 16 MiB".into()));
        }
        match (bytes.peek(), dialect) {
            (Some(b'"'), _) => {
                bytes.bump();
                return Ok(());
            }
            (Some(b'\\'), _) => {
                bytes.bump();
                escape(bytes, token, dialect)?;
            }
            (Some(b'\n'), Dialect::Edn) => {
                token.push(b'\n');
                bytes.bump_any();
            }
            (None, Dialect::Edn) => {
                return Err(Trouble::Malformed(began, "expected `\"` to close this string".into()));
            }
            (found @ (None | Some(b'\n')), Dialect::Json) => {
                return Err(expected(bytes, "`\"` at the string's end", found));
            }
            // The window ended here; what follows is in the next one.
            (Some(_), _) => {}
        }
    }
}

fn expected<R: Read>(bytes: &Bytes<R>, what: &str, found: Option<u8>) -> Trouble {
    Trouble::Malformed(bytes.line, format!("expected {what}, found {}", show(found)))
}

/// What comes after a `\`.
fn escape<R: Read>(bytes: &mut Bytes<R>, token: &mut Vec<u8>, dialect: Dialect) -> Result<(), Trouble> {
    let found = bytes.peek();
    let letter = match found {
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'n') => '\n',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') if dialect == Dialect::Json => '/',
        Some(b'u') => {
            bytes.bump();
            let letter = letter(bytes)?;
            token.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        _ => return Err(expected(bytes, "an escape such as `\\n` or `\\u00e9`", found)),
    };
    bytes.bump();
    token.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

/// The letter whose code stands after `\u`: one beyond 16 bits is two halves, `\ud83e\udd80`, in JSON as in Java's
/// strings, which EDN has. A half without its other one is no letter.
fn letter<R: Read>(bytes: &mut Bytes<R>) -> Result<char, Trouble> {
    let high = hex(bytes)?;
    if !(0xD800..0xDC00).contains(&high) || bytes.peek() != Some(b'\\') {
        return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    bytes.bump();
    match bytes.peek() {
        Some(b'u') => bytes.bump(),
        found => return Err(expected(bytes, "the second half of a surrogate pair", found)),
    }
    let low = hex(bytes)?;
    let whole = (0xDC00..0xE000).contains(&low).then(|| 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
    Ok(whole.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn hex<R: Read>(bytes: &mut Bytes<R>) -> Result<u32, Trouble> {
    let mut code = 0;
    for _ in 0..4 {
        let found = bytes.peek();
        let Some(digit) = found.and_then(|byte| char::from(byte).to_digit(16)) else {
            return Err(expected(bytes, "four hexadecimal digits after `\\u`", found));
        };
        code = code * 16 + digit;
        bytes.bump();
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The string, or what is wrong with it, with a window of every size.
    fn read(text: &str, dialect: Dialect) -> String {
        let with = |window| {
            let mut bytes = Bytes::with_window(text.as_bytes(), window);
            bytes.peek();
            let mut token = Vec::new();
            match string(&mut bytes, &mut token, dialect) {
                Ok(()) => String::from_utf8_lossy(&token).into_owned(),
                Err(Trouble::Malformed(line, what) | Trouble::Broken(line, what)) => {
                    format!("{line}: {what}")
                }
            }
        };
        let whole = with(1024);
        for window in 1..8 {
            assert_eq!(with(window), whole, "{text:?} in a window of {window}");
        }
        whole
    }

    #[test]
    fn both_read_the_same() {
        for (text, expected) in [
            (r#""plain""#, "plain"),
            (r#""a \"quoted\" \\ \n\t\r\b\f""#, "a \"quoted\" \\ \n\t\r\u{8}\u{c}"),
            (r#""\u00e9\ud83e\udd80é🦀""#, "é🦀é🦀"),
            (r#""\ud83e!""#, "\u{fffd}!"),
            (r#""\ud83e\u0041""#, "\u{fffd}"),
            (r#""\u00g0""#, "1: expected four hexadecimal digits after `\\u`, found `g`"),
            (r#""\x""#, "1: expected an escape such as `\\n` or `\\u00e9`, found `x`"),
            (r#""\ud83e\n""#, "1: expected the second half of a surrogate pair, found `n`"),
        ] {
            for dialect in [Dialect::Json, Dialect::Edn] {
                assert_eq!(read(text, dialect), expected, "{dialect:?} {text}");
            }
        }
    }

    #[test]
    fn they_differ_in_lines_and_slashes() {
        assert_eq!(read("\"a\nb\"", Dialect::Edn), "a\nb");
        assert_eq!(
            read("\"a\nb\"", Dialect::Json),
            "1: expected `\"` at the string's end, found the end of the line"
        );
        assert_eq!(read("\"a\nb", Dialect::Edn), "1: expected `\"` to close this string");
        assert_eq!(
            read("\"a", Dialect::Json),
            "1: expected `\"` at the string's end, found the end of the file"
        );
        assert_eq!(read(r#""\/""#, Dialect::Json), "/");
        assert_eq!(
            read(r#""\/""#, Dialect::Edn),
            "1: expected an escape such as `\\n` or `\\u00e9`, found `/`"
        );
    }
}
