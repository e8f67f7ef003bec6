//! What passed over the links, as far as a picture needs it.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use crate::report::results::ProofRow;

/// For so long after an operation its node may go on to tell others of it, and for so long before it what others told it may matter, ms.
const AROUND_MS: f64 = 1000.0;
/// Arrows of one picture at most.
const MOST: usize = 24;
/// From this long on in its link a message is a late one, ms.
const LATE_MS: f64 = 50.0;

/// One message: a datagram, or a piece of what a connection carried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    /// Who sent it, and to whom; see [`Messages::name`].
    pub from: u16,
    /// To whom.
    pub to: u16,
    /// Its length, bytes.
    pub bytes: u64,
    /// When its link got it, ms since the run began.
    pub sent_ms: f64,
    /// When its link handed it on; `None`: it was lost.
    pub received_ms: Option<f64>,
}

impl Message {
    fn is_odd(&self) -> bool {
        self.received_ms.is_none_or(|ms| ms - self.sent_ms >= LATE_MS)
    }
}

/// Those of a run.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Their ids, at the places that messages name.
    nodes: Vec<String>,
    list: Vec<Message>,
}

impl Messages {
    /// Reads `messages.csv`. Rows of nodes that are not among `nodes`, and whatever else is no message, are left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(mut file: impl BufRead, nodes: &[&str]) -> io::Result<Self> {
        let mut found =
            Messages { nodes: nodes.iter().map(|node| (*node).to_owned()).collect(), list: Vec::new() };
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            found.list.extend(std::str::from_utf8(&line).ok().and_then(|line| found.parse(line)));
            line.clear();
        }
        Ok(found)
    }

    fn parse(&self, line: &str) -> Option<Message> {
        let mut fields = line.trim_end().split(',');
        let mut node = || {
            let name = fields.next()?;
            u16::try_from(self.nodes.iter().position(|node| node == name)?).ok()
        };
        let (from, to) = (node()?, node()?);
        fields.next()?;
        let (bytes, sent, received) = (fields.next()?, fields.next()?, fields.next()?);
        let received_ms = if received.is_empty() { None } else { Some(finite(received)?) };
        Some(Message { from, to, bytes: bytes.parse().ok()?, sent_ms: finite(sent)?, received_ms })
    }

    /// The id of a node.
    pub fn name(&self, node: u16) -> &str {
        self.nodes.get(usize::from(node)).map_or("?", String::as_str)
    }

    /// Those that tell most of these operations, in the order in which they were sent: for each operation the first that its
    /// node sent to each other one from its beginning on, and the last it was handed by each until its end. Where that is too
    /// many, those that were lost or late come first.
    pub fn of(&self, ops: &[&ProofRow]) -> Vec<&Message> {
        let spans: Vec<Span> = ops.iter().filter_map(|op| self.span(op)).collect();
        let mut sent: BTreeMap<(usize, u16), &Message> = BTreeMap::new();
        let mut got: BTreeMap<(usize, u16), &Message> = BTreeMap::new();
        for message in &self.list {
            for (at, span) in spans.iter().enumerate() {
                if message.from == span.node && (span.from..=span.until).contains(&message.sent_ms) {
                    let known = sent.entry((at, message.to)).or_insert(message);
                    if message.sent_ms < known.sent_ms {
                        *known = message;
                    }
                }
                let Some(received) = message.received_ms.filter(|_| message.to == span.node) else {
                    continue;
                };
                if (span.heard_from..=span.heard_until).contains(&received) {
                    let known = got.entry((at, message.from)).or_insert(message);
                    if Some(received) > known.received_ms {
                        *known = message;
                    }
                }
            }
        }
        let mut chosen: Vec<&Message> = sent.into_values().chain(got.into_values()).collect();
        chosen.sort_by(|one, other| {
            one.sent_ms
                .total_cmp(&other.sent_ms)
                .then_with(|| (one.from, one.to).cmp(&(other.from, other.to)))
        });
        chosen.dedup_by(|one, other| std::ptr::eq(*one, *other));
        if chosen.len() > MOST {
            chosen.sort_by_key(|message| !message.is_odd());
            chosen.truncate(MOST);
            chosen.sort_by(|one, other| one.sent_ms.total_cmp(&other.sent_ms));
        }
        chosen
    }

    fn span(&self, op: &ProofRow) -> Option<Span> {
        let name = op.node.as_ref()?;
        let node = u16::try_from(self.nodes.iter().position(|node| node == name)?).ok()?;
        let end = op.returned_ms.unwrap_or(op.invoked_ms);
        // Of what changes something others are told, later too; of what does not, nobody.
        let changes =
            op.process.is_some() && !matches!(op.f.as_str(), "read" | "get" | "snapshot" | "history");
        let until = if changes { end + AROUND_MS } else { end };
        Some(Span {
            node,
            from: op.invoked_ms,
            until,
            heard_from: op.invoked_ms - AROUND_MS,
            heard_until: end,
        })
    }
}

/// When an operation's node may have sent, or have been told, what it has to do with.
struct Span {
    node: u16,
    from: f64,
    until: f64,
    heard_from: f64,
    heard_until: f64,
}

fn finite(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(process: Option<u64>, node: &str, invoked_ms: f64, returned_ms: f64) -> ProofRow {
        let row = serde_json::json!({"op": 1, "process": process, "node": node, "f": "write", "key": "k", "value": 1,
            "version": null, "outcome": "ok", "invoked_ms": invoked_ms, "returned_ms": returned_ms});
        serde_json::from_value(row).unwrap()
    }

    fn shown(messages: &Messages, ops: &[&ProofRow]) -> Vec<String> {
        let show = |message: &&Message| {
            let (from, to) = (messages.name(message.from), messages.name(message.to));
            format!("{from}>{to} {}", message.sent_ms)
        };
        messages.of(ops).iter().map(show).collect()
    }

    #[test]
    fn the_first_that_a_node_sent_and_the_last_it_got_are_shown() {
        let file = "from,to,kind,bytes,sent_ms,received_ms\nA,B,tcp,9,5.0,5.1\nA,B,tcp,9,10.5,\nA,B,tcp,9,11.0,11.1\n\
            A,C,tcp,9,900.0,900.2\nC,A,tcp,9,2.0,12.0\nB,A,tcp,9,10.0,10.1\nB,A,tcp,9,11.2,11.3\nB,C,tcp,9,11.2,11.3\n\
            Z,A,tcp,9,11.2,11.3\nA,B,tcp,nine,11.2,11.3\nA,B,tcp,9,inf,\nA,B,tcp\n\n\u{fffd}";
        let messages = Messages::read(file.as_bytes(), &["A", "B", "C"]).unwrap();
        assert_eq!(messages.list.len(), 8);
        let write = op(Some(1), "A", 10.0, 20.0);
        assert_eq!(shown(&messages, &[&write]), ["C>A 2", "A>B 10.5", "B>A 11.2", "A>C 900"]);
        let read = ProofRow { f: "read".into(), ..write.clone() };
        assert_eq!(shown(&messages, &[&read]), ["C>A 2", "A>B 10.5", "B>A 11.2"]);
        assert_eq!(messages.of(&[&write])[1].received_ms, None);
        let delivery = op(None, "C", 12.0, 12.0);
        assert_eq!(shown(&messages, &[&delivery]), ["B>C 11.2"]);
        assert!(messages.of(&[&op(Some(1), "Z", 10.0, 20.0)]).is_empty());
    }

    #[test]
    fn of_too_many_those_that_were_lost_are_shown() {
        let row = |at: usize| {
            format!("A,{at},udp,1,{at}.0,{}\n", if at == 40 { String::new() } else { format!("{at}.5") })
        };
        let file: String = (0..60).map(row).collect();
        let names: Vec<String> = (0..60).map(|at| at.to_string()).collect();
        let nodes: Vec<&str> = names.iter().map(String::as_str).chain(["A"]).collect();
        let messages = Messages::read(file.as_bytes(), &nodes).unwrap();
        let chosen = messages.of(&[&op(Some(1), "A", 0.0, 100.0)]);
        assert_eq!(chosen.len(), MOST);
        assert!(chosen.iter().any(|message| message.received_ms.is_none()));
    }
}
