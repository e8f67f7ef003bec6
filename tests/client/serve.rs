//! Servers made for one test each: raw sockets on threads, so that they can answer as wrongly as nodes do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::client::{Answer, Client, Protocol, Request};
use harness::history::Value;

/// Longer than any operation here should take, also on a busy machine.
pub const PATIENT: Duration = Duration::from_secs(20);
/// For operations that must time out.
pub const HASTY: Duration = Duration::from_millis(300);

/// Serves each connection on a thread of its own; `serve` is told its number, from 0.
pub fn server(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(number, stream.unwrap()));
        }
    });
    address
}

/// One request's head and body as text; `None` when the client has closed the connection.
pub fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(text);
        }
    }
}

/// A server that answers every request with these bytes, and keeps the connection.
pub fn answering(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    server(move |_, mut stream| while request(&mut stream).is_some() && stream.write_all(&bytes).is_ok() {})
}

/// A whole answer with a length.
pub fn http(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn lab2() -> Arc<Protocol> {
    Protocol::load("lab2", Path::new(".")).unwrap()
}

pub async fn write(client: &mut Client) -> Answer {
    client.perform(&Request::new("write", "k1", &Value::int(17))).await
}

pub async fn read(client: &mut Client) -> Answer {
    client.perform(&Request::new("read", "k1", &Value::Nil)).await
}

/// What a write and a read come to at a fresh client of lab2.
pub async fn both(address: SocketAddr, timeout: Duration) -> (Answer, Answer) {
    let mut client = Client::new(lab2(), address, timeout);
    let written = write(&mut client).await;
    (written, read(&mut client).await)
}
