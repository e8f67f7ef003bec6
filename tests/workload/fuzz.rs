//! Mutated workloads and noise, for as long as `HARNESS_FUZZ_SECONDS` says: no panic, no hang, and every mistake has its
//! place in the file. `.ci/soak` runs it for a minute, with `HARNESS_FUZZ_SEED` from the clock.

use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use harness::seed::Rng;
use harness::workload::{Overrides, Workload};

use super::shipped;

/// How long without the variable, seconds.
const BRIEFLY_S: f64 = 2.0;
/// A text that takes longer hangs, for whoever typed it. Generous: the machine may be busy.
const HANG: Duration = Duration::from_secs(60);
/// Pieces that mean something somewhere.
const PIECES: &[&str] = &[
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

fn environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// A place in `text`, as often as not at the border of a word, where most of the decisions are.
fn place(rng: &mut Rng, text: &[char]) -> usize {
    let at = rng.below(text.len() as u64 + 1) as usize;
    if rng.below(2) == 0 {
        return at;
    }
    let border = |place: &usize| !text[*place].is_alphanumeric();
    (at..text.len()).find(border).unwrap_or(text.len())
}

fn some(rng: &mut Rng, text: &[char], longest: u64) -> Range<usize> {
    let from = place(rng, text);
    from..(from + rng.below(longest + 1) as usize).min(text.len())
}

/// One change: something gone, put in, repeated, moved, or taken over from `other`.
fn mutate(rng: &mut Rng, text: &mut Vec<char>, other: &[char]) {
    let gone = some(rng, text, 20);
    let put: Vec<char> = match rng.below(6) {
        0 => Vec::new(),
        1 => other[some(rng, other, 60)].to_vec(),
        2 => text[some(rng, text, 40)].to_vec(),
        3 => vec![char::from_u32(rng.below(0x500) as u32).unwrap_or('x')],
        _ => rng.pick(PIECES).unwrap().chars().collect(),
    };
    if rng.below(3) == 0 {
        text.splice(gone.start..gone.start, put);
    } else {
        text.splice(gone, put);
    }
}

fn noise(rng: &mut Rng) -> String {
    let length = rng.below(400) as usize;
    let bytes: Vec<u8> = (0..length).map(|_| rng.below(256) as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(rng: &mut Rng, corpus: &[Vec<char>]) -> String {
    if rng.below(16) == 0 {
        return noise(rng);
    }
    let mut text = rng.pick(corpus).unwrap().clone();
    let other = rng.pick(corpus).unwrap();
    for _ in 0..=rng.below(8) {
        mutate(rng, &mut text, other);
    }
    text.into_iter().collect()
}

/// What comes of `text`: a workload, or mistakes of which each says where it is.
fn judge(text: &str, seed: u64) -> bool {
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

#[test]
fn nothing_in_a_file_panics_or_hangs() {
    let seconds = environment("HARNESS_FUZZ_SECONDS").unwrap_or(BRIEFLY_S);
    let base: u64 = environment("HARNESS_FUZZ_SEED").unwrap_or(1);
    let read =
        |path: &std::path::PathBuf| std::fs::read_to_string(path).unwrap().chars().collect::<Vec<char>>();
    let corpus: Vec<Vec<char>> = shipped().iter().map(read).collect();
    let (send, texts) = mpsc::channel();
    let fuzz = std::thread::spawn(move || {
        let began = Instant::now();
        let (mut number, mut accepted, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
        // Time itself is tested: how much is tried is what was asked for.
        while number == 0 || began.elapsed().as_secs_f64() < seconds {
            let text = text(&mut Rng::new(base.wrapping_add(number), "fuzz"), &corpus);
            send.send((number, text.clone())).unwrap();
            let begun = Instant::now();
            accepted += u64::from(judge(&text, number));
            slowest = slowest.max(begun.elapsed());
            number += 1;
        }
        (number, accepted, slowest)
    });
    let mut last = None;
    loop {
        match texts.recv_timeout(HANG) {
            Ok(text) => last = Some(text),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("hangs, HARNESS_FUZZ_SEED={base}: {last:?}"),
        }
    }
    let Ok((tried, accepted, slowest)) = fuzz.join() else {
        let (number, text) = last.unwrap();
        panic!("broke down, HARNESS_FUZZ_SEED={}, on:\n{text}", base.wrapping_add(number));
    };
    println!("{tried} texts, {accepted} of them workloads, the slowest took {slowest:?}");
    assert!(accepted < tried, "no mutation was a mistake");
}
