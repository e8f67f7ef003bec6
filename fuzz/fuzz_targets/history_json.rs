//! No bytes make the reader of JSON histories, an array or one event after another
//! panic, hang or take memory without end, and every refusal says where and why.

#![no_main]

use std::path::Path;

use harness::history::import::{Format, Options, read_from};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    match read_from(text, Path::new("h"), Options { format: Some(Format::Jsonl), keyed: None }) {
        Ok(calls) => assert!(calls.calls.iter().all(|call| call.invoke < call.ret)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
