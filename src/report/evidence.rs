//! Evidence, which is JSON, in words.

use serde_json::{Map, Value as Json};

use super::figures::duration;

/// Evidence as words: `{"pid":12,"signal":9}` becomes `pid 12, signal 9`, nested names are joined by spaces.
pub fn in_words(json: &Json) -> String {
    fn walk(name: &str, json: &Json, out: &mut Vec<String>) {
        match json {
            Json::Object(map) => {
                for (key, value) in map {
                    let key = key.replace('_', " ");
                    walk(&if name.is_empty() { key } else { format!("{name} {key}") }, value, out);
                }
            }
            Json::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                items.iter().for_each(|item| walk(name, item, out));
            }
            Json::Array(items) => {
                let words: Vec<String> = items.iter().map(scalar).collect();
                out.push(format!("{name} {}", words.join(" ")).trim().to_owned());
            }
            Json::Null => {}
            other => out.push(format!("{name} {}", scalar(other)).trim().to_owned()),
        }
    }
    let mut words = Vec::new();
    walk("", json, &mut words);
    words.join(", ")
}

/// A number with its noise cut off, a string without its quotes.
pub fn scalar(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Json::Number(number) if number.is_f64() => {
            let text = format!("{:.3}", number.as_f64().unwrap_or_default());
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Json::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

/// What a check had to judge, in words: `86 keys on 3 replicas`. Counts of nothing are left out, unless there is nothing
/// else.
pub fn of_check(evidence: &Map<String, Json>) -> String {
    let count = |name: &str| evidence.get(name).and_then(Json::as_u64);
    let shaken = count("acked_before_crash").or_else(|| count("acked_before_fault"));
    let largest = evidence.values().filter_map(Json::as_u64).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in evidence {
        let phrase = match (name.as_str(), value.as_u64()) {
            // They say something only where they differ from what is said already.
            ("judged", Some(judged)) if judged == largest || shaken == Some(judged) => {
                continue;
            }
            ("versioned_writes", versioned) if versioned == count("acked_writes") => continue,
            // Of messages none of which met, any order would have been right.
            ("concurrent", Some(0)) => "0 concurrent".to_owned(),
            (_, Some(0)) if largest > 0 => continue,
            (name, Some(number)) => counted(name, number),
            (name, None) => in_words(&Json::Object(Map::from_iter([(name.to_owned(), value.clone())]))),
        };
        let joint = match (out.is_empty(), name.as_str()) {
            (true, _) => "",
            (false, "replicas") if count("keys").is_some() => " on ",
            (false, "restarts") if shaken.is_some() => "; ",
            (false, _) => ", ",
        };
        out.push_str(joint);
        out.push_str(&phrase);
    }
    out
}

/// `1 key`, `8 keys`: what is counted by the checks there are, one of it and several of it.
const COUNTED: [(&str, &str, &str); 18] = [
    ("operations", "operation", "operations"),
    ("reads", "read", "reads"),
    ("keys", "key", "keys"),
    ("replicas", "replica", "replicas"),
    (
        "undecided_keys",
        "key left undecided: a write may still come",
        "keys left undecided: writes may still come",
    ),
    ("foreign_keys", "key of the nodes' own passed over", "keys of the nodes' own passed over"),
    ("acked_writes", "acknowledged write", "acknowledged writes"),
    ("versioned_writes", "of them with a version", "of them with a version"),
    ("ordered_pairs", "pair of events in order", "pairs of events in order"),
    ("ties", "tie", "ties"),
    ("final_states", "final state", "final states"),
    ("reads_after_own_write", "read after an own write", "reads after own writes"),
    ("reads_after_read", "read after an own read", "reads after own reads"),
    ("writes_after_write", "write after an own write", "writes after own writes"),
    ("writes_after_read", "write after an own read", "writes after own reads"),
    (
        "acked_before_crash",
        "write acknowledged before its node crashed",
        "writes acknowledged before their node crashed",
    ),
    ("acked_before_fault", "write acknowledged before a fault", "writes acknowledged before a fault"),
    ("restarts", "restart", "restarts"),
];

fn counted(name: &str, count: u64) -> String {
    let known = COUNTED.iter().find(|(known, ..)| *known == name);
    match (known, name) {
        (Some((_, one, _)), _) if count == 1 => format!("1 {one}"),
        (Some((_, _, several)), _) => format!("{count} {several}"),
        (None, "judged") => format!("{count} of them judged"),
        (None, "seen_after_restart") if count == 1 => "seen again once".to_owned(),
        (None, "seen_after_restart") => format!("seen again {count} times"),
        (None, "stale_reads") => format!("{count} of them stale"),
        (None, _) => {
            let name = name.replace('_', " ");
            let one = match name.strip_suffix("ies") {
                Some(stem) => format!("{stem}y"),
                None => name.strip_suffix('s').unwrap_or(&name).to_owned(),
            };
            format!("{count} {}", if count == 1 { one } else { name })
        }
    }
}

/// What proves that a fault took effect: `B ended by signal 9 (pid 4012)`, `A seen stopped`, `4 links: 812 bytes held`.
///
/// The known parts of the nemesis's evidence have phrases of their own; any other part is shown as it is.
pub fn of_fault(evidence: &Json) -> String {
    let Some(parts) = evidence.as_object() else { return in_words(evidence) };
    let proved: Vec<&str> = {
        let exits = parts.get("exits").and_then(Json::as_object);
        let stopped = parts.get("stopped").and_then(Json::as_array);
        let exits = exits.into_iter().flat_map(|exits| exits.keys().map(String::as_str));
        exits.chain(stopped.into_iter().flatten().filter_map(Json::as_str)).collect()
    };
    let mut phrases = Vec::new();
    let mut other = Map::new();
    for (name, value) in parts {
        match (name.as_str(), value) {
            ("why_not", Json::String(why)) => phrases.insert(0, why.clone()),
            ("exits", Json::Object(exits)) => phrases.extend(how_they_ended(exits)),
            ("stopped", Json::Array(nodes)) if nodes.is_empty() => {}
            ("stopped", Json::Array(nodes)) => {
                let nodes: Vec<String> = nodes.iter().map(scalar).collect();
                phrases.push(format!("{} seen stopped", nodes.join(", ")));
            }
            // What was sent matters only while it is not known what came of it.
            ("signalled", Json::Object(nodes)) => {
                let open = nodes.iter().filter(|(node, _)| !proved.contains(&node.as_str()));
                let open: Vec<String> =
                    open.map(|(node, pid)| format!("{node} (pid {})", scalar(pid))).collect();
                if !open.is_empty() {
                    phrases.push(format!("signal sent to {}", open.join(", ")));
                }
            }
            ("cycles", Json::Number(cycles)) => phrases.push(format!("stopped and continued {cycles} times")),
            ("links", Json::Object(links)) => phrases.push(on_links(links)),
            ("links", Json::Array(links)) if links.is_empty() => {}
            ("links", Json::Array(links)) => {
                phrases.push(links_named(&links.iter().map(scalar).collect::<Vec<_>>()))
            }
            // What the verdict makes of it is told there.
            ("aimless" | "drawn", Json::Bool(_)) => {}
            ("waited_ms", Json::Number(ms)) => {
                let waited = duration(ms.as_f64().unwrap_or_default());
                phrases.push(format!("began {waited} after its time"));
            }
            ("writes_under_way", Json::Number(count)) => phrases.push(match count.as_u64() {
                Some(0) => "no write was under way then".to_owned(),
                Some(1) => "1 write under way then".to_owned(),
                _ => format!("{count} writes under way then"),
            }),
            ("idle", Json::Bool(idle)) => {
                if *idle {
                    phrases.push("nothing tried to cross".to_owned());
                }
            }
            _ => {
                other.insert(name.clone(), value.clone());
            }
        }
    }
    let other = in_words(&Json::Object(other));
    if !other.is_empty() {
        phrases.push(other);
    }
    phrases.join("; ")
}

/// `A, C ended by signal 9 (pids 12, 14)`: nodes that ended in one way together.
fn how_they_ended(exits: &Map<String, Json>) -> Vec<String> {
    let mut ways: Vec<(String, Vec<&str>, Vec<String>)> = Vec::new();
    for (node, exit) in exits {
        let number = |name: &str| exit.get(name).and_then(Json::as_i64);
        let how = match (number("signal"), number("code")) {
            (Some(signal), _) => format!("by signal {signal}"),
            (None, Some(code)) => format!("by itself with exit code {code}"),
            (None, None) => "by something unknown".to_owned(),
        };
        let at = ways.iter().position(|(known, ..)| *known == how).unwrap_or_else(|| {
            ways.push((how, Vec::new(), Vec::new()));
            ways.len() - 1
        });
        ways[at].1.push(node);
        ways[at].2.extend(number("pid").map(|pid| pid.to_string()));
    }
    let phrase = |(how, nodes, pids): (String, Vec<&str>, Vec<String>)| {
        let pids = match pids.as_slice() {
            [] => String::new(),
            [only] => format!(" (pid {only})"),
            several => format!(" (pids {})", several.join(", ")),
        };
        format!("{} ended {how}{pids}", nodes.join(", "))
    };
    ways.into_iter().map(phrase).collect()
}

fn links_named(names: &[String]) -> String {
    match names {
        [only] => only.clone(),
        several => format!("{} links", several.len()),
    }
}

/// Counters of all links of a fault together, those that counted nothing left out.
fn on_links(links: &Map<String, Json>) -> String {
    const COUNTERS: [(&str, &str); 11] = [
        ("held_bytes", "bytes held"),
        ("held_connections", "connections held"),
        ("delayed_bytes", "bytes delayed"),
        ("reset_connections", "connections reset"),
        ("cut_datagrams", "datagrams lost"),
        ("delayed_datagrams", "datagrams delayed"),
        ("dropped_datagrams", "datagrams dropped"),
        ("duplicated_datagrams", "datagrams duplicated"),
        ("reordered_datagrams", "datagrams reordered"),
        ("corrupted_datagrams", "datagrams damaged"),
        ("bypasses", "connections or datagrams past the link"),
    ];
    let sum = |name: &str| links.values().filter_map(|link| link.get(name)?.as_u64()).sum::<u64>();
    let counted: Vec<String> = COUNTERS
        .iter()
        .map(|(name, words)| (sum(name), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    let which = links_named(&links.keys().cloned().collect::<Vec<_>>());
    if counted.is_empty() { which } else { format!("{which}: {}", counted.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_nemesis_s_evidence_reads_well() {
        let cases = [
            (json!({"exits": {"B": {"pid": 12, "signal": 9, "code": null}}}), "B ended by signal 9 (pid 12)"),
            (
                json!({"exits": {"B": {"pid": 12, "signal": null, "code": 0}}}),
                "B ended by itself with exit code 0 (pid 12)",
            ),
            (
                json!({"stopped": ["A", "C"], "cycles": 17}),
                "A, C seen stopped; stopped and continued 17 times",
            ),
            (
                json!({"exits": {"A": {"pid": 12, "signal": 9}, "B": {"pid": 13, "signal": 9}},
                    "signalled": {"A": 12, "B": 13}, "links": []}),
                "A, B ended by signal 9 (pids 12, 13)",
            ),
            (json!({"signalled": {"A": 12}, "links": ["A→B", "B→A"]}), "signal sent to A (pid 12); 2 links"),
            (json!({"signalled": {}, "links": {"A→B": {"held_bytes": 1}}}), "A→B: 1 bytes held"),
            (
                json!({"links": {"A→B": {"delivered_bytes": 0, "held_bytes": 812, "held_connections": 2}}, "idle": false}),
                "A→B: 812 bytes held, 2 connections held",
            ),
            (
                json!({"links": {"A→B": {"datagrams": 90, "dropped_datagrams": 10}}, "idle": false}),
                "A→B: 10 datagrams dropped",
            ),
            (json!({"links": {"A→B": {"held_bytes": 1}, "B→A": {"held_bytes": 2}}}), "2 links: 3 bytes held"),
            (json!({"links": {"A→B": {"held_bytes": 0}}, "idle": true}), "A→B; nothing tried to cross"),
            (
                json!({"stopped": [], "why_not": "B's processes were never seen stopped"}),
                "B's processes were never seen stopped",
            ),
            (json!(null), ""),
        ];
        for (evidence, words) in cases {
            assert_eq!(of_fault(&evidence), words);
        }
    }

    #[test]
    fn what_a_check_judged_reads_well() {
        let cases = [
            (
                json!({"keys": 87, "replicas": 3, "undecided_keys": 0, "foreign_keys": 0}),
                "87 keys on 3 replicas",
            ),
            (
                json!({"keys": 1, "replicas": 2, "undecided_keys": 1}),
                "1 key on 2 replicas, 1 key left undecided: a write may still come",
            ),
            (
                json!({"acked_writes": 738, "versioned_writes": 738, "ties": 1, "final_states": 258}),
                "738 acknowledged writes, 1 tie, 258 final states",
            ),
            (
                json!({"acked_writes": 738, "versioned_writes": 700}),
                "738 acknowledged writes, 700 of them with a version",
            ),
            (json!({"reads_after_read": 9, "judged": 9}), "9 reads after own reads"),
            (json!({"reads_after_read": 9, "judged": 7}), "9 reads after own reads, 7 of them judged"),
            (
                json!({"acked_before_crash": 94, "judged": 94, "seen_after_restart": 27, "restarts": 1}),
                "94 writes acknowledged before their node crashed, seen again 27 times; 1 restart",
            ),
            (json!({"writes": 0, "reads": 0}), "0 writes, 0 reads"),
            (json!({"topics": ["a", "b"], "entries": 4}), "topics a b, 4 entries"),
        ];
        for (evidence, words) in cases {
            assert_eq!(of_check(evidence.as_object().unwrap()), words);
        }
    }

    #[test]
    fn numbers_lose_their_noise() {
        assert_eq!(
            in_words(&json!({"p50_ms": 0.5100001, "keys": 8, "nodes": ["A", "B"], "x": null, "all": true})),
            "p50 ms 0.51, keys 8, nodes A B, all yes"
        );
    }
}
