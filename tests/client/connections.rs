//! What certainly happened, certainly did not, and cannot be known, by what becomes of the connection.

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use harness::client::{Client, Protocol};
use harness::history::{Outcome, Value};

use crate::serve::{HASTY, PATIENT, answering, both, http, lab2, nobody, read, request, server, write};

const OK: &str = r#"{"ok":true,"node":"A","key":"k1","value":17,"ts":9,"origin":"B"}"#;

#[tokio::test]
async fn refused_is_certainly_not_done() {
    let (written, read) = both(nobody(), PATIENT).await;
    assert_eq!((written.outcome, read.outcome), (Outcome::Fail, Outcome::Fail));
    assert!(written.error.unwrap().contains("connection refused by 127.0.0.1:"));
    assert_eq!(written.value, Value::int(17));
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_for_a_write() {
    // Holds every connection, as a stopped process does; the requests are taken by the kernel alone.
    let address = server(|_, stream| {
        stream.peek(&mut [0]).unwrap();
        std::thread::park();
    });
    let (written, read) = both(address, HASTY).await;
    assert_eq!((written.outcome, read.outcome), (Outcome::Info, Outcome::Fail));
    assert_eq!(written.error.unwrap(), "no answer within 300ms");
}

#[tokio::test]
async fn closed_or_reset_after_sending_is_unknown_for_a_write() {
    let close = |_, mut stream| {
        request(&mut stream);
    };
    let reset = |_, stream: std::net::TcpStream| {
        // Closing with unread bytes resets.
        stream.peek(&mut [0]).unwrap();
    };
    for address in [server(close), server(reset)] {
        let (written, read) = both(address, PATIENT).await;
        assert_eq!((written.outcome, read.outcome), (Outcome::Info, Outcome::Fail));
        assert!(written.error.unwrap().contains("connection"));
    }
}

#[tokio::test]
async fn closed_in_mid_answer_is_unknown_for_a_write() {
    let halves: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\":true",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ok\"\r\n",
    ];
    for half in halves {
        let address = server(move |_, mut stream| {
            request(&mut stream);
            stream.write_all(half).unwrap();
        });
        let (written, read) = both(address, PATIENT).await;
        assert_eq!((written.outcome, read.outcome), (Outcome::Info, Outcome::Fail));
        assert_eq!(written.error.unwrap(), "the connection was closed in mid-answer");
    }
}

#[tokio::test]
async fn an_answer_that_trickles_ends_with_the_timeout() {
    let address = server(|_, mut stream| {
        request(&mut stream);
        // A byte now and then, for longer than anyone waits.
        for byte in http(200, "x".repeat(10_000)) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            // time itself is tested
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    });
    let (written, read) = both(address, HASTY).await;
    assert_eq!((written.outcome, read.outcome), (Outcome::Info, Outcome::Fail));
}

#[tokio::test]
async fn an_answer_too_late_is_not_taken_for_the_next() {
    let (send, asked) = mpsc::channel();
    let (late, answers) = (Mutex::new(asked), http(200, OK));
    let address = server(move |number, mut stream| {
        while request(&mut stream).is_some() {
            if number == 0 {
                // Until the client has given up.
                late.lock().unwrap().recv().unwrap();
            }
            let _ = stream.write_all(&answers);
        }
    });
    let mut client = Client::new(lab2(), address, HASTY);
    assert_eq!(write(&mut client).await.outcome, Outcome::Info);
    send.send(()).unwrap();
    assert_eq!(read(&mut client).await.value, Value::int(17));
}

#[tokio::test]
async fn a_connection_is_kept() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = server(move |_, mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        while request(&mut stream).is_some() {
            stream.write_all(&http(200, OK)).unwrap();
        }
    });
    let mut client = Client::new(lab2(), address, PATIENT);
    for _ in 0..20 {
        assert_eq!(read(&mut client).await.outcome, Outcome::Ok);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    client.disconnect();
    assert_eq!(read(&mut client).await.outcome, Outcome::Ok);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_protocol_may_ask_for_a_connection_each() {
    let address = server(|_, mut stream| {
        let asked = request(&mut stream).unwrap();
        assert!(asked.contains("\r\nConnection: close\r\n"), "{asked}");
        stream.write_all(&http(200, OK)).unwrap();
        assert_eq!(request(&mut stream), None);
    });
    let text = "keep-alive = false\n[read]\npath = \"/{{ key }}\"\nvalue = \"/value\"\n";
    let protocol = Protocol::parse(text, "one.toml".as_ref(), "one").unwrap();
    let mut client = Client::new(Arc::new(protocol), address, PATIENT);
    for _ in 0..5 {
        assert_eq!(read(&mut client).await.outcome, Outcome::Ok);
    }
}

#[tokio::test]
async fn a_kept_connection_closed_in_between_is_opened_anew_in_silence() {
    let (send, closed) = mpsc::channel();
    let send = Mutex::new(send);
    let address = server(move |_, mut stream| {
        request(&mut stream);
        stream.write_all(&http(200, OK)).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        send.lock().unwrap().send(()).unwrap();
    });
    let mut client = Client::new(lab2(), address, PATIENT);
    for number in 0..50 {
        // A write, because had anything been sent its outcome would be unknown.
        let written = write(&mut client).await;
        assert_eq!(written.outcome, Outcome::Ok, "write {number}: {:?}", written.error);
        closed.recv().unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_ends_of_answers_are_understood_in_each_of_their_ways() {
    let ways: [Vec<u8>; 6] = [
        format!("HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6\r\n\r\n{OK}").into_bytes(),
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{OK}").into_bytes(),
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{OK}", OK.len())
            .into_bytes(),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{OK}\r\n0\r\n\r\n", OK.len())
            .into_bytes(),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{OK}", OK.len())
            .into_bytes(),
        format!("HTTP/1.1 200\ncontent-length : {}\nBad Header\n\n{OK}", OK.len()).into_bytes(),
    ];
    for way in ways {
        let shown = String::from_utf8_lossy(&way).into_owned();
        let closes = shown.contains("close") || shown.contains("HTTP/1.0");
        let address = server(move |_, mut stream| {
            while request(&mut stream).is_some() {
                stream.write_all(&way).unwrap();
                if closes {
                    return;
                }
            }
        });
        let mut client = Client::new(lab2(), address, PATIENT);
        for _ in 0..3 {
            let written = write(&mut client).await;
            assert_eq!(written.outcome, Outcome::Ok, "{shown}: {:?}", written.error);
            let read = read(&mut client).await;
            assert_eq!(read.value, Value::int(17), "{shown}: {:?}", read.error);
        }
    }
}

#[tokio::test]
async fn a_node_on_the_other_loopback_is_found() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("no IPv6 here: nothing to test");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    // Bound and not listening, it refuses, and nobody else can have it meanwhile.
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    if other.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).is_err() {
        eprintln!("somebody has the port on 127.0.0.1: nothing to test");
        return;
    }
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while request(&mut stream).is_some() {
                stream.write_all(&http(200, OK)).unwrap();
            }
        }
    });
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut client = Client::new(lab2(), address, PATIENT);
    assert_eq!(read(&mut client).await.value, Value::int(17));
}

#[tokio::test]
async fn any_http_answer_is_a_sign_of_life() {
    for status in [200, 404, 500] {
        let address = answering(http(status, "whatever"));
        assert_eq!(Client::new(lab2(), address, PATIENT).ready().await, Ok(()));
    }
    let refused = Client::new(lab2(), nobody(), PATIENT).ready().await;
    assert!(refused.unwrap_err().contains("refused"));
    let no_http = Client::new(lab2(), answering("hello\r\n\r\n"), PATIENT).ready().await;
    assert!(no_http.unwrap_err().contains("not HTTP"));
}
