//! A small HTTP/1.1 client: one connection at a time, no retries, no redirects, no pool behind one's back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// The longest answer taken in, bytes. A peer's whole store has to fit.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where a node listens: `http://host:port`, with an optional path in front of every endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    authority: String,
    prefix: String,
}

impl Url {
    /// Reads `http://host:port`; the scheme may be left out, the port (80) too.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let wrong = |why: &str| Err(format!("{text:?} is no node address: {why}, expected http://host:port"));
        if rest.contains("://") {
            return wrong("its scheme is not http");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() || authority.contains(['?', '#', '@', ' ']) {
            return wrong("the host is missing or malformed");
        }
        // The last colon of `[::1]` belongs to the host.
        let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let authority = match port {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => authority.to_owned(),
            Some(_) => return wrong("the port is not a number from 0 to 65535"),
            None => format!("{authority}:80"),
        };
        let path = path.trim_end_matches('/');
        let prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Url { text: text.to_owned(), authority, prefix })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody listens there; certainly nothing was sent.
    #[error("connection refused")]
    Refused,
    /// No connection, for another reason.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke, or what came back was not HTTP.
    #[error("{0}")]
    Broken(String),
    /// No answer in the time given to it.
    #[error("no answer in time")]
    TimedOut,
}

/// An open connection; closed at once when dropped, an answer still under way included.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
    url: Url,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to `url`. The caller bounds the time.
    ///
    /// # Errors
    /// [`HttpError::Refused`], [`HttpError::Connect`] or [`HttpError::Broken`].
    pub async fn open(url: &Url) -> Result<Self, HttpError> {
        let stream = TcpStream::connect(&url.authority).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => HttpError::Refused,
            _ => HttpError::Connect(error),
        })?;
        stream.set_nodelay(true).map_err(HttpError::Connect)?;
        let (sender, driver) = handshake(Io(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(async move {
            // Its error reaches the request that waits on it.
            let _ = driver.await;
        });
        Ok(Connection { sender, driver: driver.abort_handle(), url: url.clone() })
    }

    /// Whether another request can be tried on it.
    pub fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends one request (a `POST` of JSON where there is a body, else a `GET`) and takes in the whole answer. The
    /// caller bounds the time.
    ///
    /// # Errors
    /// [`HttpError::Broken`], also for an answer longer than 64 MiB.
    pub async fn call(&mut self, path: &str, body: Option<Bytes>) -> Result<(StatusCode, Bytes), HttpError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        self.send(method, path, body).await
    }

    /// As [`Connection::call`], by another method.
    ///
    /// # Errors
    /// The same.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        self.sender.ready().await.map_err(broken)?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.prefix))
            .header(header::HOST, &self.url.authority)
            .header(header::ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| HttpError::Broken(format!("cannot form the request: {error}")))?;
        let answer: Response<Incoming> = self.sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| HttpError::Broken(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }
}

fn broken(error: hyper::Error) -> HttpError {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        text = format!("{text}: {source}");
    }
    HttpError::Broken(text)
}

/// `%`-escapes everything but letters, digits and `-._~`: safe anywhere in a query.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// tokio's sockets as hyper wants them.
struct Io(TcpStream);

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // A copy through the stack costs less than it reads: it spares us hyper's unsafe buffer access.
        let mut space = [std::mem::MaybeUninit::uninit(); 8 << 10];
        let wanted = cursor.remaining().min(space.len());
        let mut buffer = ReadBuf::uninit(&mut space[..wanted]);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        cursor.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_students_write_them() {
        let parts = |text: &str| {
            let url = Url::parse(text).unwrap();
            (url.authority, url.prefix)
        };
        assert_eq!(parts("http://127.0.0.1:8000"), ("127.0.0.1:8000".into(), "".into()));
        assert_eq!(parts(" localhost:8001/ "), ("localhost:8001".into(), "".into()));
        assert_eq!(parts("http://h/api/"), ("h:80".into(), "/api".into()));
        assert_eq!(parts("http://[::1]:8000"), ("[::1]:8000".into(), "".into()));
        assert_eq!(parts("http://[::1]"), ("[::1]:80".into(), "".into()));
        for wrong in ["", "https://h:1", "http://", "h:port", "h:70000", ":8000", "http://a b:1"] {
            assert!(Url::parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(
            Url::parse("h:eighty").unwrap_err(),
            "\"h:eighty\" is no node address: the port is not a number from 0 to 65535, expected http://host:port"
        );
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escape("k1"), "k1");
        assert_eq!(escape("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }
}
