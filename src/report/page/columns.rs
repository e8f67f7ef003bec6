//! The operations of a run as the page carries them: column by column, so that a million of them stay below 20 MB.
//!
//! A column is a stream of LEB128 numbers (seven bits a byte, the last byte below 128), written in base64. What grows is
//! written as differences, what may be negative as zigzag numbers, names as their place in a table. What is mostly the
//! same as before, or mostly absent (the node a client talks to, errors), is written only where it is not, and a flag of
//! the column `what` tells which. `script/data.js` reads it back, and the two have to be changed together.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::history::{Delivery, History, Number, Op, Outcome, Value};
use crate::report::style::{clean, one_line};

/// Longest value that is shown, in characters; the history has it whole.
const VALUE_WIDTH: usize = 160;
/// Longest error that is shown, in characters.
const ERROR_WIDTH: usize = 240;
/// How much text one table may hold, in bytes. What comes later is shown as "not in this page".
const TABLE_BYTES: usize = 4 << 20;
/// Integers up to here are exact in a script, with room for a bit that marks them.
const EXACT: u64 = 1 << 50;

/// What is shown for text that no longer fitted.
const LEFT_OUT: &str = "(not in this page; history.jsonl has it)";

/// One number stream.
#[derive(Default)]
struct Column(Vec<u8>);

impl Column {
    fn push(&mut self, mut number: u64) {
        while number > 127 {
            self.0.push(number as u8 | 128);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn push_signed(&mut self, number: i64) {
        self.push(zigzag(number));
    }
}

/// 0, -1, 1, -2 … as 0, 1, 2, 3 …
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// Names, each once, in order of appearance.
#[derive(Default)]
struct Table {
    names: Vec<String>,
    ids: HashMap<Box<str>, u64>,
    bytes: usize,
    left_out: Option<u64>,
}

impl Table {
    /// The place of `name`; as text that fits one line and holds no control characters.
    fn id(&mut self, name: &str, width: usize) -> u64 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        // Once something was left out everything new is: a later, shorter name must not look like the first of its kind.
        if let Some(left_out) = self.left_out {
            return left_out;
        }
        if self.bytes + name.len().min(4 * width) > TABLE_BYTES {
            self.names.push(LEFT_OUT.to_owned());
            let left_out = self.names.len() as u64 - 1;
            self.left_out = Some(left_out);
            return left_out;
        }
        let shown = clean(&one_line(name, width));
        // What is remembered to find it again takes as much room as what is shown.
        self.bytes += shown.len();
        self.names.push(shown);
        let id = self.names.len() as u64 - 1;
        self.ids.insert(name.into(), id);
        id
    }

    /// The same, with 0 for nothing.
    fn id_or_none(&mut self, name: Option<&str>, width: usize) -> u64 {
        name.map_or(0, |name| self.id(name, width) + 1)
    }
}

/// All columns and tables of a history's operations, being filled.
#[derive(Default)]
struct Columns {
    begun: Column,
    took: Column,
    index: Column,
    process: Column,
    what: Column,
    node: Column,
    key: Column,
    value: Column,
    origin: Column,
    ts: Column,
    error: Column,
    functions: Table,
    nodes: Table,
    keys: Table,
    texts: Table,
    origins: Table,
    errors: Table,
    last_us: u64,
    last_index: i64,
    last_ts: i64,
    /// The node of each process's last operation.
    node_of: HashMap<u64, u64>,
    rows: u64,
    last_error: u64,
    /// The end of the last operation, µs.
    end_us: u64,
}

impl Columns {
    fn value(&mut self, value: &Value) {
        let text = |columns: &mut Self, text: &str| {
            let id = columns.texts.id(text, VALUE_WIDTH);
            columns.value.push(2 + (id << 1));
        };
        match value {
            Value::Nil => self.value.push(0),
            Value::Number(Number::Int(int)) if int.unsigned_abs() < EXACT / 2 => {
                self.value.push(1 + (zigzag(*int) << 1));
            }
            other => text(self, &other.to_string()),
        }
    }

    fn moment(&mut self, begun_ns: u64, returned_ns: Option<u64>, index: u64) {
        let begun_us = begun_ns / 1000;
        self.begun.push(begun_us - self.last_us);
        self.last_us = begun_us;
        // 0: never.
        self.took.push(returned_ns.map_or(0, |ns| 1 + (ns / 1000).saturating_sub(begun_us)));
        self.end_us = self.end_us.max(returned_ns.map_or(begun_us, |ns| ns / 1000));
        self.index.push_signed(index as i64 - self.last_index);
        self.last_index = index as i64;
    }

    /// Who did what, and where: `version` is 0 for none, 1 for one of the node's own, 2 for another's.
    fn who(&mut self, process: u64, node: Option<&str>, f: &str, outcome: Outcome, version: u64) {
        let node = self.nodes.id_or_none(node, VALUE_WIDTH);
        let same = self.node_of.insert(process, node) == Some(node);
        if !same {
            self.node.push(node);
        }
        let f = self.functions.id(f, VALUE_WIDTH);
        let outcome = match outcome {
            Outcome::Ok => 0,
            Outcome::Fail => 1,
            Outcome::Info => 2,
        };
        self.process.push(process);
        self.what.push(((f * 3 + outcome) * 3 + version) * 2 + u64::from(same));
    }

    fn op(&mut self, op: &Op) {
        self.moment(op.invoked_ns, op.returned_ns, op.index);
        let origin = op.version.as_ref().map(|version| &*version.origin);
        let version = match origin {
            None => 0,
            Some(origin) if op.node.as_deref() == Some(origin) => 1,
            Some(_) => 2,
        };
        self.who(op.process + 1, op.node.as_deref(), &op.f, op.outcome, version);
        let key = self.keys.id_or_none(op.key.as_deref(), VALUE_WIDTH);
        self.key.push(key);
        match (&op.snapshot, &op.entries) {
            (Some(held), _) => self.value(&Value::Json(format!("{} keys", held.len()).into())),
            (_, Some(entries)) => self.value(&Value::Json(format!("{} entries", entries.len()).into())),
            _ => self.value(&op.value),
        }
        if let Some(found) = &op.version {
            if version == 2 {
                let origin = self.origins.id(&found.origin, VALUE_WIDTH);
                self.origin.push(origin);
            }
            match found.ts {
                Number::Int(int) if int.unsigned_abs() < EXACT / 4 => {
                    self.ts.push(zigzag(int - self.last_ts) << 1);
                    self.last_ts = int;
                }
                other => {
                    let id = self.texts.id(&other.to_string(), VALUE_WIDTH);
                    self.ts.push((id << 1) | 1);
                }
            }
        }
        if let Some(error) = &op.error {
            let id = self.errors.id(error, ERROR_WIDTH);
            self.error.push(self.rows - self.last_error);
            self.error.push(id);
            self.last_error = self.rows;
        }
        self.rows += 1;
    }

    /// A delivery is a moment: nobody asked for it.
    fn delivery(&mut self, delivery: &Delivery) {
        self.moment(delivery.time_ns, Some(delivery.time_ns), delivery.index);
        let process = delivery.subscriber.map_or(0, |process| process + 1);
        self.who(process, Some(&delivery.node), "deliver", Outcome::Ok, 0);
        let key = self.keys.id_or_none(delivery.key.as_deref(), VALUE_WIDTH);
        self.key.push(key);
        self.value(&delivery.entry.value);
        self.rows += 1;
    }
}

enum Row<'a> {
    Op(&'a Op),
    Delivery(&'a Delivery),
}

/// Operations and deliveries by when they began.
fn rows(history: &History) -> Vec<(u64, Row<'_>)> {
    let ops = history.ops.iter().map(|op| (op.invoked_ns, Row::Op(op)));
    let deliveries = history.deliveries.iter().map(|delivery| (delivery.time_ns, Row::Delivery(delivery)));
    let mut rows: Vec<_> = ops.chain(deliveries).collect();
    rows.sort_by_key(|(ns, _)| *ns);
    rows
}

/// The columns as elements of the page, and what the script has to know of them beside.
pub(super) fn embed(history: &History, out: &mut String) -> Map<String, Json> {
    let mut columns = Columns::default();
    for node in &history.contract.nodes {
        columns.nodes.id(node, VALUE_WIDTH);
    }
    let rows = rows(history);
    for (_, row) in &rows {
        match row {
            Row::Op(op) => columns.op(op),
            Row::Delivery(delivery) => columns.delivery(delivery),
        }
    }
    for (name, column) in [
        ("begun", &columns.begun),
        ("took", &columns.took),
        ("index", &columns.index),
        ("process", &columns.process),
        ("what", &columns.what),
        ("node", &columns.node),
        ("key", &columns.key),
        ("value", &columns.value),
        ("origin", &columns.origin),
        ("ts", &columns.ts),
        ("error", &columns.error),
    ] {
        let _ = write!(out, "<script type=\"text/plain\" id=\"column-{name}\">");
        base64(&column.0, out);
        out.push_str("</script>\n");
    }
    let tables = json!({
        "count": rows.len(),
        "end_us": columns.end_us,
        "functions": columns.functions.names,
        "nodes": columns.nodes.names,
        "keys": columns.keys.names,
        "texts": columns.texts.names,
        "origins": columns.origins.names,
        "errors": columns.errors.names,
    });
    match tables {
        Json::Object(tables) => tables,
        _ => Map::new(),
    }
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.reserve(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            let mut out = String::new();
            base64(plain.as_bytes(), &mut out);
            assert_eq!(out, coded);
        }
    }

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        let mut column = Column::default();
        for number in [0, 127, 128, 300, u64::MAX] {
            column.push(number);
        }
        column.push_signed(-2);
        assert_eq!(column.0[..6], [0, 127, 0x80, 1, 0xac, 2]);
        assert_eq!(column.0.len(), 6 + 10 + 1);
        assert_eq!(column.0.last(), Some(&3));
        assert_eq!([0, -1, 1, i64::MIN].map(zigzag), [0, 1, 2, u64::MAX]);
    }

    #[test]
    fn a_table_has_a_limit_and_says_so() {
        let mut table = Table::default();
        let long = "x".repeat(VALUE_WIDTH);
        for number in 0..40_000 {
            table.id(&format!("{number} {long}"), VALUE_WIDTH);
        }
        assert!(table.bytes <= TABLE_BYTES && table.names.len() < 40_000);
        assert_eq!(table.names.last().map(String::as_str), Some(LEFT_OUT));
        let last = table.names.len() as u64 - 1;
        assert_eq!(table.id("something new that has no room either", 160), last);
        assert_eq!(table.id(&format!("0 {long}"), VALUE_WIDTH), 0, "what is there is found");
    }
}
