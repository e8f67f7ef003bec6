//! No bytes make the reader of a run's `history.jsonl` panic, hang or take memory without end.

#![no_main]

use std::io::BufReader;
use std::path::Path;

use harness::history::reader::read_from;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Err(error) = read_from(BufReader::new(text), Path::new("h")) {
        assert!(error.line.is_some());
    }
});
