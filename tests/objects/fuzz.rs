//! Mutated histories and noise for every reader of histories: no panic, no hang, no more memory than the text justifies,
//! and every refusal says where.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::BufReader;
use std::path::Path;

use harness::history::import::{Format, ImportError, Options, read_from};
use harness::history::reader;

use super::mutation::fuzz;

/// How long without `HARNESS_FUZZ_SECONDS`, seconds.
const BRIEFLY_S: f64 = 1.5;
/// What reading may hold: its window and tables, and so much a byte of text. A `[` is one byte and a tree's node some 80.
const BASE_BYTES: usize = 1 << 20;
const BYTES_A_BYTE: usize = 200;

/// Counts what each thread holds; below zero when it freed what others had allocated.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counters any more.
        let _ = HELD.try_with(|held| {
            held.set(held.get() + layout.size() as isize);
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        });
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get() - layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "#{",
    "#_",
    "#inst ",
    "#a ",
    "^",
    "\\",
    "\\u0000",
    "\\ud83d",
    "\\newline",
    "\"",
    ";",
    ",",
    ":",
    "::",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "é",
    "😀",
    "nil",
    "null",
    "true",
    "-",
    "+",
    "1e400",
    "-0.0",
    "1/2",
    "12N",
    "3.5M",
    "##NaN",
    "99999999999999999999",
    "4294967295",
    "4294967294",
    "18446744073709551616",
    "0x7f",
    "00",
    "1.",
    ".5",
    ":process",
    ":type",
    ":invoke",
    ":ok",
    ":fail",
    ":info",
    ":f",
    ":read",
    ":value",
    ":time",
    ":index",
    ":nemesis",
    ":key",
    "{:process 0 :type :invoke :f :read}",
    "{:process 0, :type :ok, :f :read, :value [1 2]}",
    "\"process\":",
    "\"type\":\"info\"",
    "\"f\":\"cas\"",
    "\"value\":[[[[",
    "\"index\":0,",
    "\"time\":-1,",
    "\"key\":\"k\",",
    "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n",
    "{\"process\":\"nemesis\"}",
    "INFO  jepsen.util - 0 :invoke :read nil\n",
    "jepsen.util - ",
    "jepsen.util: 1\t:ok\t:cas\t[1 2]\n",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a#a",
    "#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_#_",
];

fn corpus() -> Vec<Vec<u8>> {
    let texts = [
        "[{:process 0, :type :invoke, :f :write, :value 3, :time 5, :index 0}\n\
         {:process :nemesis :type :info :f :kill :value nil}\n\
         #jepsen.history.Op{:process 1 :type :invoke :f :cas :value [3 4] :error #{:a \"b\"}},\n\
         {:process 0 #_ {:x 1} :type :ok :f :write :value 3 :time 7}\n\
         {:process 1, :type :fail, :f :cas :value [3 4] :at #inst \"2020-01-01\"} #_ {:process 7}]",
        "{:process 0 :type :invoke :f :read :value [:x nil]}\n{:process 0 :type :ok :f :read :value [:x 4]}\n\
         {:process 0, :type :invoke, :f :append, :key \"7\", :value \"x\\u00e9\"}\n; end",
        "{:process 3 :type :invoke :f :txn :value [[:r :x nil] [:w :y 2]]}{:process 3 :type :ok :f :txn :value ((:r :x 1) [:w :y 2])}",
        "[{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":3},\n\
         {\"process\":2,\"type\":\"invoke\",\"f\":\"read\",\"value\":null,\"extra\":{\"a\":[1,{\"b\":\"\\u00e9\\n\"}]}},\n\
         {\"process\":0,\"type\":\"ok\",\"f\":\"write\",\"value\":3.25}]",
        "{\"index\":12,\"time\":1873465021,\"process\":3,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"k1\",\"value\":17,\"node\":\"B\"}\n\
         {\"index\":13,\"time\":1873465022,\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"phase\",\"value\":\"settle\"}\n\
         {\"index\":15,\"time\":1874002210,\"process\":3,\"type\":\"ok\",\"f\":\"write\",\"key\":\"k1\",\"value\":17,\"node\":\"B\",\"version\":{\"ts\":9,\"origin\":\"B\"}}\n\
         {\"index\":16,\"time\":1874002211,\"process\":4,\"type\":\"invoke\",\"f\":\"snapshot\",\"value\":null,\"node\":\"A\"}\n\
         {\"index\":17,\"time\":1874002212,\"process\":4,\"type\":\"ok\",\"f\":\"snapshot\",\"value\":{\"k1\":{\"value\":17,\"version\":{\"ts\":9,\"origin\":\"B\"}}},\"node\":\"A\"}\n",
        "2020 INFO [worker] jepsen.util: 0 :invoke :write 3\nINFO  jepsen.util - :nemesis :info :kill nil\nother things\n\
         INFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]\nINFO jepsen.util - 0 :ok :write 3\nINFO jepsen.util - 1 :info :cas :timed-out\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Reads `text` in each format and as a run's history; whether its own format understood it.
fn judge(text: &[u8], number: u64) -> bool {
    let mut understood = false;
    let formats = Format::ALL.iter().map(|(format, _)| Some(*format)).chain([None]);
    for format in formats {
        for keyed in [None, Some(number.is_multiple_of(2))] {
            within_bounds(text, || match read_from(text, Path::new("h"), Options { format, keyed }) {
                Ok(calls) => {
                    let sorted = calls.calls.windows(2).all(|pair| pair[0].invoke < pair[1].invoke);
                    assert!(sorted && calls.calls.iter().all(|call| call.invoke < call.ret));
                    for call in &calls.calls {
                        assert!(!calls.describe(call).is_empty());
                    }
                    understood |= format.is_none();
                }
                Err(error) => {
                    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
                    match &error {
                        ImportError::Malformed { line, what, .. }
                        | ImportError::Broken { line, what, .. } => {
                            assert!((1..=lines).contains(line) && !what.is_empty(), "{error}");
                        }
                        ImportError::Unrecognised { .. } => assert_eq!(format, None),
                        ImportError::Empty { .. } => assert!(text.trim_ascii().is_empty(), "{error}"),
                        ImportError::Io { .. } => panic!("nothing was read from a file: {error}"),
                        ImportError::Refused(_) => panic!("nobody watched: {error}"),
                    }
                }
            });
        }
    }
    within_bounds(text, || {
        if let Err(error) = reader::read_from(BufReader::new(text), Path::new("h")) {
            assert!(error.line.is_some() && !error.to_string().is_empty(), "{error}");
        }
    });
    understood
}

/// Runs `read`, which may hold no more than the text justifies.
fn within_bounds(text: &[u8], read: impl FnOnce()) {
    let before = HELD.get();
    PEAK.set(before);
    read();
    let held = (PEAK.get() - before) as usize;
    let most = BASE_BYTES + BYTES_A_BYTE * text.len();
    assert!(held <= most, "{held} bytes for a text of {}", text.len());
}

#[test]
fn nothing_in_a_history_panics_hangs_or_takes_much_memory() {
    fuzz(corpus(), PIECES, BRIEFLY_S, judge);
}

/// What mutations of small texts do not reach: a great deal of one thing, on a small stack.
#[test]
fn a_great_deal_of_anything_is_refused_or_read() {
    let some = [
        "[", "(", "{", "#{", "#", "#a ", "#_", "#_ [", "^", "^ a", "{:a ", "{\"a\":", "\"", "\\", "\\\"",
        "\\u", "9", "-", "1.", "1e", ":", "a", ";", "\0", "\u{feff}", "é", "\n", "}", ")]", "\"a\",", "nil ",
        "null,", "[],", "{}", "[[", "0/", "##",
    ];
    let fronts = [
        "",
        "{:process 0 :type :invoke :f :write :value ",
        "{:process ",
        "[{:process 0 :type :invoke :f :write :value ",
        "{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":",
        "{\"process\":0,\"type\":\"invoke\",\"f\":\"",
        "[{\"process\":",
        "{\"index\":0,\"time\":0,\"process\":1,\"type\":\"ok\",\"f\":\"write\",\"extra\":",
        "INFO jepsen.util - 0 :invoke :write ",
    ];
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let thread = small.spawn(move || {
        for front in fronts {
            for piece in some {
                let text = [front, &piece.repeat(5_000)].concat();
                judge(text.as_bytes(), 1);
            }
            judge(&[front.as_bytes(), &[0xff; 5_000]].concat(), 1);
        }
    });
    thread.unwrap().join().unwrap();
}

/// The measure of memory must be able to fail.
#[test]
fn memory_is_measured() {
    let wasteful = std::panic::catch_unwind(|| within_bounds(b"x", || drop(vec![0_u8; 2 << 20])));
    assert!(wasteful.is_err());
    within_bounds(b"x", || drop(vec![0_u8; 1 << 19]));
}
