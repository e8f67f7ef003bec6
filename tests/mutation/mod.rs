//! Mutated texts and noise for a parser, for as long as `HARNESS_FUZZ_SECONDS` says, from `HARNESS_FUZZ_SEED` on: no
//! panic, no hang. `.ci/soak` runs it for a minute with a seed from the clock.

use std::ops::Range;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use harness::seed::Rng;

/// A text that takes longer hangs, for whoever wrote it. Generous: the machine may be busy.
const HANG: Duration = Duration::from_secs(60);

fn environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// A place in `text`, as often as not at the border of a word, where most of the decisions are.
fn place(rng: &mut Rng, text: &[u8]) -> usize {
    let at = rng.below(text.len() as u64 + 1) as usize;
    if rng.below(2) == 0 {
        return at;
    }
    (at..text.len()).find(|place| !text[*place].is_ascii_alphanumeric()).unwrap_or(text.len())
}

fn some(rng: &mut Rng, text: &[u8], longest: u64) -> Range<usize> {
    let from = place(rng, text);
    from..(from + rng.below(longest + 1) as usize).min(text.len())
}

/// One change: something gone, put in, repeated, moved, or taken over from `other`.
fn mutate(rng: &mut Rng, text: &mut Vec<u8>, other: &[u8], pieces: &[&str]) {
    let gone = some(rng, text, 20);
    let put: Vec<u8> = match rng.below(6) {
        0 => Vec::new(),
        1 => other[some(rng, other, 60)].to_vec(),
        2 => text[some(rng, text, 40)].to_vec(),
        3 => match rng.below(2) {
            0 => vec![rng.below(256) as u8],
            _ => char::from_u32(rng.below(0x500) as u32).unwrap_or('x').to_string().into_bytes(),
        },
        _ => rng.pick(pieces).unwrap().as_bytes().to_vec(),
    };
    let gone = if rng.below(3) == 0 { gone.start..gone.start } else { gone };
    text.splice(gone, put);
}

/// The text with this number.
pub fn text(number: u64, corpus: &[Vec<u8>], pieces: &[&str]) -> Vec<u8> {
    let rng = &mut Rng::new(number, "fuzz");
    if rng.below(16) == 0 {
        let length = rng.below(400);
        return (0..length).map(|_| rng.below(256) as u8).collect();
    }
    let mut text = rng.pick(corpus).unwrap().clone();
    let other = rng.pick(corpus).unwrap();
    for _ in 0..=rng.below(8) {
        mutate(rng, &mut text, other, pieces);
    }
    text
}

/// Lets `judge` look at texts until the time is up (`briefly_s` seconds without the variable); it says whether a text
/// was understood.
pub fn fuzz(
    corpus: Vec<Vec<u8>>,
    pieces: &'static [&'static str],
    briefly_s: f64,
    judge: fn(&[u8], u64) -> bool,
) {
    let seconds = environment("HARNESS_FUZZ_SECONDS").unwrap_or(briefly_s);
    let base: u64 = environment("HARNESS_FUZZ_SEED").unwrap_or(1);
    let (send, texts) = mpsc::channel();
    let fuzz = std::thread::spawn(move || {
        let began = Instant::now();
        let (mut number, mut accepted, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
        // Time itself is tested: how much is tried is what was asked for.
        while number == 0 || began.elapsed().as_secs_f64() < seconds {
            let text = text(base.wrapping_add(number), &corpus, pieces);
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
        let text = String::from_utf8_lossy(&text).into_owned();
        panic!("broke down, HARNESS_FUZZ_SEED={}, on:\n{text}", base.wrapping_add(number));
    };
    println!("{tried} texts, {accepted} of them understood, the slowest took {slowest:?}");
    assert!(accepted < tried, "no mutation was a mistake");
}
