//! The user's side: lines in on stdin, lines out on stdout.

use std::io::{self, BufRead as _, Read as _, Write as _};

use tokio::sync::mpsc::{self, Receiver};

use super::core::Line;
use super::message::MAX_TEXT_BYTES;
use crate::node::serve::NodeError;

/// Prints lines and makes sure that they are out.
///
/// # Errors
/// What is delivered and cannot be printed is lost, so the process has to end.
pub fn print(lines: &[Line]) -> Result<(), NodeError> {
    if lines.is_empty() {
        return Ok(());
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    print_text(&text)
}

/// Prints one line of another kind.
///
/// # Errors
/// As [`print`].
pub fn print_text(text: &str) -> Result<(), NodeError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| NodeError::System("print to stdout", error))
}

/// Reads stdin on a thread of its own until it ends. A line is read only when the one before was taken: whoever writes
/// faster than messages are delivered has to wait. `Err`: a line that is no message, and why.
///
/// # Errors
/// [`NodeError::System`] when there is no thread to be had.
pub fn read_lines() -> Result<Receiver<Result<String, String>>, NodeError> {
    let (sender, receiver) = mpsc::channel(1);
    let read = move || {
        let mut input = io::stdin().lock();
        while let Some(line) = read_line(&mut input) {
            if line.as_ref().is_ok_and(String::is_empty) {
                continue;
            }
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("stdin".into());
    thread.spawn(read).map_err(|error| NodeError::System("start the thread for stdin", error))?;
    Ok(receiver)
}

/// The next line, without its end; `None`: there is none any more.
fn read_line(input: &mut impl io::BufRead) -> Option<Result<String, String>> {
    let mut line = Vec::new();
    // Two more for the end of the line.
    let limit = MAX_TEXT_BYTES as u64 + 2;
    input.take(limit).read_until(b'\n', &mut line).ok().filter(|length| *length > 0)?;
    let is_cut = line.len() as u64 == limit && !line.ends_with(b"\n");
    if is_cut {
        skip_line(input);
    }
    if line.ends_with(b"\n") {
        line.pop();
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    if is_cut || line.len() > MAX_TEXT_BYTES {
        return Some(Err(format!("the line has more than {MAX_TEXT_BYTES} bytes")));
    }
    Some(String::from_utf8(line).map_err(|error| format!("the line is not UTF-8: {}", error.utf8_error())))
}

/// Reads the rest of a line, piece by piece.
fn skip_line(input: &mut impl io::BufRead) {
    let mut rest = Vec::new();
    while !rest.ends_with(b"\n") {
        rest.clear();
        // The end, or an error that the next line will meet as well.
        if input.take(MAX_TEXT_BYTES as u64).read_until(b'\n', &mut rest).unwrap_or(0) == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_none_is_told() {
        let long = "x".repeat(MAX_TEXT_BYTES);
        let text = format!("a b \r\n\n{long}\n{long}\r\n{long}y\n{long}{long}{long}\n\u{e9}\nend");
        let mut bytes = text.into_bytes();
        bytes.splice(0..0, *b"\xff\n");
        let mut input = bytes.as_slice();
        let lines: Vec<_> = std::iter::from_fn(|| read_line(&mut input)).collect();
        let ok = |text: &str| Ok(text.to_owned());
        let too_long = Err("the line has more than 8192 bytes".to_owned());
        assert!(lines[0].as_ref().is_err_and(|why| why.starts_with("the line is not UTF-8: invalid")));
        let rest = [ok("a b "), ok(""), ok(&long), ok(&long), too_long.clone(), too_long, ok("é"), ok("end")];
        assert_eq!(lines[1..], rest);
    }
}
