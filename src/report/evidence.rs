//! Evidence, which is JSON, in words.

use serde_json::{Map, Value as Json};

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

/// What proves that a fault took effect: `B by signal 9 (pid 4012)`, `A stopped`, `4 links: 812 bytes held`.
///
/// The known parts of the nemesis's evidence have phrases of their own; any other part is shown as it is.
pub fn of_fault(evidence: &Json) -> String {
    let Some(parts) = evidence.as_object() else { return in_words(evidence) };
    let mut phrases = Vec::new();
    let mut other = Map::new();
    for (name, value) in parts {
        match (name.as_str(), value) {
            ("why_not", Json::String(why)) => phrases.insert(0, why.clone()),
            ("exits", Json::Object(exits)) => {
                phrases.extend(
                    exits.iter().map(|(node, exit)| format!("{node} ended by {}", how_it_ended(exit))),
                );
            }
            ("stopped", Json::Array(nodes)) if nodes.is_empty() => {}
            ("stopped", Json::Array(nodes)) => {
                let nodes: Vec<String> = nodes.iter().map(scalar).collect();
                phrases.push(format!("{} seen stopped", nodes.join(", ")));
            }
            ("links", Json::Object(links)) => phrases.push(on_links(links)),
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
    if !other.is_empty() {
        phrases.push(in_words(&Json::Object(other)));
    }
    phrases.join("; ")
}

fn how_it_ended(exit: &Json) -> String {
    let pid = exit.get("pid").and_then(Json::as_u64).map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let number = |name: &str| exit.get(name).and_then(Json::as_i64);
    match (number("signal"), number("code")) {
        (Some(signal), _) => format!("signal {signal}{pid}"),
        (None, Some(code)) => format!("itself with exit code {code}{pid}"),
        (None, None) => format!("something unknown{pid}"),
    }
}

/// Counters of all links of a fault together, those that counted nothing left out.
fn on_links(links: &Map<String, Json>) -> String {
    const COUNTERS: [(&str, &str); 5] = [
        ("held_bytes", "bytes held"),
        ("held_connections", "connections held"),
        ("delayed_bytes", "bytes delayed"),
        ("reset_connections", "connections reset"),
        ("bypasses", "connections past the link"),
    ];
    let sum = |name: &str| links.values().filter_map(|link| link.get(name)?.as_u64()).sum::<u64>();
    let counted: Vec<String> = COUNTERS
        .iter()
        .map(|(name, words)| (sum(name), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    let which = match links.keys().collect::<Vec<_>>().as_slice() {
        [only] => (*only).clone(),
        several => format!("{} links", several.len()),
    };
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
            (json!({"stopped": ["A", "C"], "cycles": 17}), "A, C seen stopped; cycles 17"),
            (
                json!({"links": {"A→B": {"delivered_bytes": 0, "held_bytes": 812, "held_connections": 2}}, "idle": false}),
                "A→B: 812 bytes held, 2 connections held",
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
    fn numbers_lose_their_noise() {
        assert_eq!(
            in_words(&json!({"p50_ms": 0.5100001, "keys": 8, "nodes": ["A", "B"], "x": null, "all": true})),
            "p50 ms 0.51, keys 8, nodes A B, all yes"
        );
    }
}
