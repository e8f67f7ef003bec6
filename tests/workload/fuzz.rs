//! Mutated workloads and protocols, and noise: no panic, no hang, and every mistake has its place in the file.

use std::path::{Path, PathBuf};

use harness::client::protocol::Protocol;
use harness::workload::{Overrides, Workload};

use super::mutation::fuzz;
use super::shipped;

/// How long without `HARNESS_FUZZ_SECONDS`, seconds.
const BRIEFLY_S: f64 = 2.0;
/// Pieces that mean something somewhere.
pub const PIECES: &[&str] = &[
    "\"",
    "'",
    "'''",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "=",
    ".",
    ",",
    "\n",
    "\r\n",
    "#",
    "\\",
    "\\u0000",
    "\\U0010ffff",
    "\0",
    "\t",
    "é",
    "\u{7f}",
    "😀",
    "\u{feff}",
    "\u{202e}",
    "nan",
    "-inf",
    "1e400",
    "-1",
    "0",
    "0x7f",
    "1_000",
    "99999999999999999999",
    "0.000000001",
    "18446744073709551615",
    "1979-05-27",
    "07:32:00",
    "true",
    "\"1s\"",
    "\"0s\"",
    "\"-1s\"",
    "\"1000000h\"",
    "\"1ns\"",
    "\"99999999999999999999s\"",
    "\"all\"",
    "\"majority\"",
    "\"never\"",
    "{{ id }}",
    "{{ peers[9].url }}",
    "{{ 9 ** 9 ** 9 }}",
    "{% for i in range(100000000) %}x{% endfor %}",
    "{{ 'x' * 1000000000 }}",
    "{{ node }}",
    "[[fault]]\n",
    "[fault]\n",
    "[[fault]]\nat = \"1s\"\nfor = \"1ms\"\nevery = \"1ms\"\nkill = \"one\"\n",
    "[chaos]\n",
    "every = \"10ms\"\n",
    "partition = \"ring\"\n",
    "partition = [[\"A\"], [\"A\"]]\n",
    "slow = { node = \"A\", running = 0 }\n",
    "nodes = []\n",
    "nodes = [\"../..\"]\n",
    "keys = 4294967295\n",
    "rate = 1e300\n",
    "clients = 4294967295\n",
    "burst = 0\n",
    "a.b.c = 1\n",
    "vars = { a = \"{{ b }}\", b = \"{{ a }}\" }\n",
    "port = 65535\n",
    "name = \"..\"\n",
];

/// What comes of `text`: a workload, or mistakes of which each says where it is.
fn judge(text: &[u8], seed: u64) -> bool {
    let text = &String::from_utf8_lossy(text);
    let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
    match Workload::parse(text, Path::new("fuzz.toml"), &overrides) {
        Ok(workload) => {
            // What was understood must be understood again, with the same meaning.
            let again = Workload::parse(&workload.resolved, Path::new("fuzz.toml"), &Overrides::default());
            let again = again.unwrap_or_else(|errors| panic!("the resolved workload is wrong: {errors}"));
            assert_eq!(again.faults, workload.faults, "the resolved workload means something else");
            true
        }
        Err(errors) => {
            assert!(!errors.list.is_empty(), "refused without a reason");
            for problem in &errors.list {
                assert!(!problem.title.is_empty(), "a mistake without a name");
                // What is not there has no line.
                let absent = problem.title.starts_with("the workload has no ");
                assert!(problem.at.is_some() || absent, "no place: {}", problem.title);
            }
            let shown = errors.render(false);
            let placed = errors.list.iter().take(20).filter(|problem| problem.at.is_some()).count();
            let lines = shown.lines().filter(|line| {
                let place =
                    line.trim_start().strip_prefix("--> fuzz.toml:").and_then(|place| place.split_once(':'));
                place.is_some_and(|(line, column)| {
                    line.parse().is_ok_and(|line: u32| line > 0) && column.parse::<u32>().is_ok()
                })
            });
            assert_eq!(lines.count(), placed, "each mistake has its line:\n{shown}");
            assert!(!errors.render(true).is_empty());
            false
        }
    }
}

/// A protocol, or a mistake that says where it is.
fn judge_protocol(text: &[u8], _: u64) -> bool {
    let text = &String::from_utf8_lossy(text);
    match Protocol::parse(text, Path::new("fuzz.toml"), "fuzz") {
        Ok(protocol) => {
            assert!(protocol.operations().all(|name| protocol.has(name)));
            true
        }
        Err(error) => {
            assert!(!error.mistakes.is_empty(), "refused without a mistake");
            for mistake in &error.mistakes {
                assert!(!mistake.message.is_empty(), "refused without a reason");
                let (line, column) = mistake.place.unwrap_or_else(|| panic!("no place: {error}"));
                assert!(line > 0 && column > 0, "{error}");
                assert!(mistake.span.as_ref().is_none_or(|span| span.end <= text.len()));
            }
            false
        }
    }
}

fn corpus(files: &[PathBuf]) -> Vec<Vec<u8>> {
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn nothing_in_a_file_panics_or_hangs() {
    fuzz(corpus(&shipped()), PIECES, BRIEFLY_S, judge);
}

#[test]
fn nothing_in_a_protocol_panics_or_hangs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads/protocols");
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    fuzz(corpus(&files), PIECES, BRIEFLY_S / 2.0, judge_protocol);
}
