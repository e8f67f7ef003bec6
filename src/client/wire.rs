//! Reading HTTP/1.x answers from bytes, as liberally as is safe: students write their own servers.

use httparse::{ParserConfig, Status};

/// More header bytes than this are no answer.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
/// The longest line that gives a chunk's size, extensions included.
const MAX_CHUNK_LINE_BYTES: usize = 4096;

/// Status line and headers, as far as they matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub status: u16,
    /// Bytes it took, empty line included.
    pub len: usize,
    pub body: Framing,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
}

/// How the body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// The head at the start of `bytes`; `None`: more is needed.
///
/// # Errors
/// A sentence about what is not HTTP.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .ignore_invalid_headers_in_responses(true);
    let len = match config.parse_response(&mut response, bytes) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if bytes.len() > MAX_HEAD_BYTES => {
            return Err("headers of more than 64 KiB".into());
        }
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("not HTTP: {error}")),
    };
    let status = response.code.unwrap_or_default();
    let (mut length, mut chunked) = (None, false);
    let (mut close, mut keep) = (false, false);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).unwrap_or_default().trim();
            let parsed = text.parse::<usize>().map_err(|_| format!("Content-Length: {text}"))?;
            if length.is_some_and(|length| length != parsed) {
                return Err("two lengths that differ".into());
            }
            length = Some(parsed);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = has_token(header.value, b"chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            close |= has_token(header.value, b"close");
            keep |= has_token(header.value, b"keep-alive");
        }
    }
    let body = match length {
        _ if status / 100 == 1 || status == 204 || status == 304 => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    let keep_alive =
        !close && body != Framing::UntilClose && (response.version == Some(1) || keep) && status != 101;
    Ok(Some(Head { status, len, body, keep_alive }))
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// Takes a chunked body apart as it arrives.
#[derive(Debug, Default)]
pub(super) struct Dechunker {
    /// What was taken apart so far.
    pub body: Vec<u8>,
    trailers: bool,
}

impl Dechunker {
    /// Goes on at `at` in `bytes`, moving it past what was used up; whether the body is complete.
    ///
    /// # Errors
    /// A sentence about what is wrong, or that the body is longer than `limit_bytes`.
    pub fn advance(&mut self, bytes: &[u8], at: &mut usize, limit_bytes: usize) -> Result<bool, String> {
        loop {
            let rest = &bytes[*at..];
            let Some(newline) = memchr::memchr(b'\n', rest) else {
                if rest.len() > MAX_CHUNK_LINE_BYTES {
                    return Err("a chunk without a size".into());
                }
                return Ok(false);
            };
            let line = rest[..newline].trim_ascii();
            if self.trailers {
                *at += newline + 1;
                if line.is_empty() {
                    return Ok(true);
                }
                continue;
            }
            let size = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let size = size.ok_or("a chunk without a size")?;
            if self.body.len().saturating_add(size) > limit_bytes {
                return Err(too_long(limit_bytes));
            }
            if size == 0 {
                self.trailers = true;
                *at += newline + 1;
                continue;
            }
            let data = newline + 1;
            let after = match &rest[data..] {
                rest if rest.len() <= size => return Ok(false),
                rest if rest[size] == b'\n' => 1,
                rest if rest[size] == b'\r' && rest.get(size + 1) == Some(&b'\n') => 2,
                rest if rest[size] == b'\r' && rest.len() == size + 1 => return Ok(false),
                _ => return Err("a chunk longer than its size".into()),
            };
            self.body.extend_from_slice(&rest[data..data + size]);
            *at += data + size + after;
        }
    }
}

/// What is said of an answer beyond its limit.
pub(super) fn too_long(limit_bytes: usize) -> String {
    format!("an answer of more than {} KiB", limit_bytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Head {
        head(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn framing_follows_the_headers() {
        let head = parsed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((head.status, head.len, head.body, head.keep_alive), (200, 38, Framing::Length(5), true));
        assert_eq!(parsed("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n").body, Framing::Chunked);
        assert_eq!(parsed("HTTP/1.1 204 No Content\r\n\r\n").body, Framing::Length(0));
        let old = parsed("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert!(!old.keep_alive);
        assert!(parsed("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n").keep_alive);
        assert!(!parsed("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").keep_alive);
        let endless = parsed("HTTP/1.1 200 OK\n\n");
        assert_eq!((endless.body, endless.keep_alive), (Framing::UntilClose, false));
        assert_eq!(head_of("HTTP/1.1 200 OK\r\nContent-"), Ok(None));
    }

    fn head_of(text: &str) -> Result<Option<Head>, String> {
        head(text.as_bytes())
    }

    #[test]
    fn what_is_no_http_is_told() {
        assert!(head_of("hello\r\n\r\n").is_err());
        assert!(head_of("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").is_err());
        assert!(head_of("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").is_err());
        assert!(head_of(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD_BYTES))).is_err());
    }

    #[test]
    fn chunks_come_apart_wherever_they_are_cut() {
        let whole = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n";
        for cut in 0..=whole.len() {
            let (mut chunks, mut at) = (Dechunker::default(), 0);
            let early = chunks.advance(&whole[..cut], &mut at, 100).unwrap();
            assert_eq!(early, cut == whole.len(), "cut at {cut}");
            assert!(early || chunks.advance(whole, &mut at, 100).unwrap());
            assert_eq!((chunks.body.as_slice(), at), (b"hello world".as_slice(), whole.len()));
        }
    }

    #[test]
    fn bad_chunks_are_told() {
        let advance = |bytes: &[u8], limit| Dechunker::default().advance(bytes, &mut 0, limit);
        assert!(advance(b"xyz\r\n", 100).is_err());
        assert!(advance(b"2\r\nhello\r\n", 100).is_err());
        assert!(advance(b"ffffffffffffffff\r\n", 100).is_err());
        assert!(advance(b"65\r\n", 100).is_err());
        assert!(advance(&[b'1'; 5000], 100).is_err());
    }
}
