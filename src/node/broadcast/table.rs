//! The peer table: who there is, and where this process reaches each.
//!
//! Each process has a table of its own, since each may reach the same peer at another address. The ids are the same in all.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

/// Most processes a table may have. A message costs the square of it.
const MAX_PEERS: usize = 64;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The process.
    pub id: Arc<str>,
    /// Where it is reached; in a process's own row, where it listens.
    #[serde(default = "loopback")]
    pub host: String,
    /// At which port, UDP or TCP.
    pub port: u16,
}

fn loopback() -> String {
    "127.0.0.1".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    peers: Vec<Row>,
}

/// The rows sorted by id, and which of them is `id`'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// All processes, sorted by id.
    pub rows: Vec<Row>,
    /// The row of this process.
    pub me: usize,
}

impl Table {
    /// Reads the table in `path` for the process `id`.
    ///
    /// # Errors
    /// A sentence that names the file, what was found and what was expected.
    pub fn read(path: &Path, id: &str) -> Result<Table, String> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        Table::parse(&text, id).map_err(|problem| format!("{name}: {problem}"))
    }

    /// JSON, or lines of `ID HOST PORT`.
    fn parse(text: &str, id: &str) -> Result<Table, String> {
        let json = |error: serde_json::Error| {
            format!("{error}; expected {{\"peers\": [{{\"id\", \"host\", \"port\"}}, …]}}")
        };
        let mut rows = match text.trim_start().chars().next() {
            Some('{') => serde_json::from_str::<Document>(text).map_err(json)?.peers,
            Some('[') => serde_json::from_str(text).map_err(json)?,
            _ => parse_lines(text)?,
        };
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        if let Some(pair) = rows.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(format!("{:?} is there twice", pair[0].id));
        }
        if let Some(row) = rows.iter().find(|row| !is_id(&row.id)) {
            return Err(format!("the id {:?} is not 1 to 64 letters, digits, `-`, `_` or `.`", row.id));
        }
        if let Some(row) = rows.iter().find(|row| row.port == 0) {
            return Err(format!("{} has port 0: the others could not find it", row.id));
        }
        if rows.len() > MAX_PEERS {
            return Err(format!("{} processes, expected at most {MAX_PEERS}", rows.len()));
        }
        match rows.iter().position(|row| *row.id == *id) {
            Some(me) => Ok(Table { rows, me }),
            None => {
                let mut known = String::new();
                for row in &rows {
                    // Writing to a string cannot fail.
                    let _ = write!(known, "{}{}", if known.is_empty() { "" } else { ", " }, row.id);
                }
                Err(format!("there is no {id:?}, only {known}: its own row says where it listens"))
            }
        }
    }
}

fn parse_lines(text: &str) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), words.get(2).and_then(|port| port.parse().ok())) {
            ([], _) => {}
            ([id, host, _], Some(port)) => rows.push(Row { id: (*id).into(), host: (*host).into(), port }),
            _ => return Err(format!("line {}: {:?}, expected ID HOST PORT", at + 1, line.trim())),
        }
    }
    Ok(rows)
}

fn is_id(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, host: &str, port: u16) -> Row {
        Row { id: id.into(), host: host.into(), port }
    }

    #[test]
    fn a_table_is_json_or_lines() {
        let rows = vec![row("p1", "127.0.0.1", 9001), row("p2", "h", 9002)];
        for text in [
            "# who\np2 h 9002\n\n  p1 127.0.0.1 9001 # me\n",
            r#" {"peers": [{"id": "p2", "host": "h", "port": 9002}, {"id": "p1", "port": 9001}]}"#,
            r#"[{"id": "p2", "host": "h", "port": 9002}, {"id": "p1", "port": 9001}]"#,
        ] {
            assert_eq!(Table::parse(text, "p1"), Ok(Table { rows: rows.clone(), me: 0 }), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said() {
        for (text, problem) in [
            ("", "there is no \"p1\", only : its own row says where it listens"),
            ("p2 h 1\np3 h 2", "there is no \"p1\", only p2, p3: its own row says where it listens"),
            ("p1 h 1\np1 h 2", "\"p1\" is there twice"),
            ("p1 h 0", "p1 has port 0: the others could not find it"),
            ("p1 h 70000", "line 1: \"p1 h 70000\", expected ID HOST PORT"),
            ("\np1 h", "line 2: \"p1 h\", expected ID HOST PORT"),
            ("p1 h 1\np,2 h 2", "the id \"p,2\" is not 1 to 64 letters, digits, `-`, `_` or `.`"),
            (
                "{\"peers\": [{\"id\": \"p1\", \"prt\": 1}]}",
                "unknown field `prt`, expected one of `id`, `host`, `port` at line 1 column 29; \
                 expected {\"peers\": [{\"id\", \"host\", \"port\"}, …]}",
            ),
        ] {
            assert_eq!(Table::parse(text, "p1"), Err(problem.to_owned()), "{text}");
        }
    }
}
