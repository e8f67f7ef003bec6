//! No bytes in a workload file make the parser panic or hang, and every refusal says why.

#![no_main]

use std::path::Path;

use harness::workload::{Overrides, Workload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let overrides = Overrides { seed: Some(1), ..Overrides::default() };
    if let Err(errors) = Workload::parse(text, Path::new("fuzz.toml"), &overrides) {
        assert!(!errors.list.is_empty());
        assert!(!errors.render(false).is_empty());
    }
});
