//! No bytes in a protocol file make the parser panic or hang, and every refusal says where and why.

#![no_main]

use std::path::Path;

use harness::client::protocol::Protocol;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Protocol::parse(text, Path::new("fuzz.toml"), "fuzz") {
        assert!(error.place.is_some() && !error.message.is_empty());
    }
});
