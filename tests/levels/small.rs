//! Small random histories.

use harness::history::calls::{Call, Calls, OPEN};
use harness::history::{Outcome, Value};
use harness::seed::Rng;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Read,
    Write,
    /// Expecting the first value, writing the second.
    Cas(i64),
}

/// An operation. Values are numbers, and 0 is nil.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub process: u32,
    pub key: u32,
    pub invoke: u32,
    pub ret: u32,
    pub what: What,
    pub value: i64,
    pub outcome: Outcome,
}

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub keys: u64,
    /// Whether each value is written once at most.
    pub distinct: bool,
    pub cas: bool,
}

/// Draws a history of at most 8 operations.
pub fn draw(rng: &mut Rng, shape: Shape) -> Vec<Op> {
    let operations = rng.between(2, 8) as usize;
    let mut clients: Vec<(u32, Option<usize>)> =
        (0..rng.between(1, 4) as u32).map(|process| (process, None)).collect();
    let mut next_process = clients.len() as u32;
    let mut ops: Vec<Op> = Vec::new();
    let mut position = 0;
    let mut written = 0;
    while ops.len() < operations || clients.iter().any(|(_, open)| open.is_some()) {
        let client = rng.below(clients.len() as u64) as usize;
        let (process, open) = clients[client];
        match open {
            None if ops.len() == operations => continue,
            None => {
                let mut what = if rng.below(2) == 0 { What::Read } else { What::Write };
                let mut value = rng.below(4) as i64;
                if shape.cas && rng.below(4) == 0 {
                    what = What::Cas(rng.below(4) as i64);
                }
                if what != What::Read {
                    written += 1;
                    value = if shape.distinct { written } else { 1 + rng.below(3) as i64 };
                    if written > 4 {
                        (what, value) = (What::Read, rng.below(5) as i64);
                    }
                }
                let key = rng.below(shape.keys) as u32;
                clients[client].1 = Some(ops.len());
                ops.push(Op {
                    process,
                    key,
                    invoke: position,
                    ret: OPEN,
                    what,
                    value,
                    outcome: Outcome::Info,
                });
            }
            Some(op) => {
                clients[client].1 = None;
                match rng.below(16) {
                    0 => {
                        ops[op].outcome = Outcome::Fail;
                        ops[op].ret = position;
                    }
                    1..=3 => {
                        // Most are retired; a careless test may go on.
                        if rng.below(3) > 0 {
                            clients[client].0 = next_process;
                            next_process += 1;
                        }
                    }
                    _ => {
                        ops[op].outcome = Outcome::Ok;
                        ops[op].ret = position;
                    }
                }
            }
        }
        position += 1;
    }
    ops
}

fn value(number: i64) -> Value {
    if number == 0 { Value::Nil } else { Value::int(number) }
}

/// As the checks want it.
pub fn compact(ops: &[Op]) -> Calls {
    let mut calls = Calls::new();
    for op in ops {
        let (f, input, output) = match op.what {
            What::Read => ("read", Value::Nil, value(op.value)),
            What::Write => ("write", value(op.value), value(op.value)),
            What::Cas(from) => {
                let text = if from == 0 { "null".into() } else { from.to_string() };
                let pair = Value::Json(format!("[{text},{}]", op.value).into());
                ("cas", pair.clone(), pair)
            }
        };
        let output = if op.outcome == Outcome::Ok { output } else { Value::Nil };
        let call = Call {
            process: op.process,
            key: calls.text_key(&format!("k{}", op.key)),
            input: calls.values.intern(input),
            output: calls.values.intern(output),
            invoke: op.invoke,
            ret: op.ret,
            f: calls.function(f),
            outcome: op.outcome,
        };
        calls.calls.push(call);
    }
    calls
}

/// The history with everything outside `kept` relaxed.
pub fn relaxed(ops: &[Op], kept: &[u32]) -> Vec<Op> {
    let relax = |(at, op): (usize, &Op)| match kept.contains(&(at as u32)) {
        true => *op,
        false => Op { outcome: Outcome::Info, ret: OPEN, ..*op },
    };
    ops.iter().enumerate().map(relax).collect()
}
