//! One event as an EDN map: `{:index 4, :time 17, :process 0, :type :ok, :f :read, :value 3}`.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::Keys;
use crate::history::import::Seen;

/// Appends one event.
pub(super) fn event(seen: &Seen<'_>, keys: Keys, out: &mut String) {
    let _ = write!(out, "{{:index {}, :time {}, :process ", seen.position, super::time(seen));
    name_or_value(&seen.process, out);
    let _ = write!(out, ", :type :{}, :f ", seen.kind);
    name(seen.f, out);
    out.push_str(", :value ");
    let tuple = keys == Keys::Tuples && seen.process.is_number();
    if tuple {
        out.push('[');
        value(&seen.key.to_json(), out);
        out.push(' ');
    }
    match seen.f {
        "txn" => transaction(seen.value, out),
        _ => value(seen.value, out),
    }
    if tuple {
        out.push(']');
    }
    for (at, (field, what)) in seen.more.iter().enumerate() {
        // A key that comes twice makes a map unreadable; the last one counts, as in JSON.
        if seen.more[at + 1..].iter().any(|(later, _)| later == field) {
            continue;
        }
        out.push_str(", :");
        out.extend(field.chars().map(|letter| if in_name(letter) { letter } else { '_' }));
        out.push(' ');
        value(what, out);
    }
    out.push('}');
}

/// `[[:r :x 1] …]`: what each part of a transaction does is a keyword, and so is its register where it is a name, as
/// Knossos's models spell them.
fn transaction(json: &Json, out: &mut String) {
    let Json::Array(parts) = json else { return value(json, out) };
    out.push('[');
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        match part {
            Json::Array(items) if items.first().is_some_and(Json::is_string) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(' ');
                    }
                    match at {
                        0 | 1 => name_or_value(item, out),
                        _ => value(item, out),
                    }
                }
                out.push(']');
            }
            other => value(other, out),
        }
    }
    out.push(']');
}

fn value(json: &Json, out: &mut String) {
    match json {
        Json::Null => out.push_str("nil"),
        Json::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Json::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Json::String(text) => string(text, out),
        Json::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                value(item, out);
            }
            out.push(']');
        }
        Json::Object(map) => {
            out.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                name(key, out);
                out.push(' ');
                value(item, out);
            }
            out.push('}');
        }
    }
}

fn name_or_value(json: &Json, out: &mut String) {
    match json {
        Json::String(text) => name(text, out),
        other => value(other, out),
    }
}

/// A keyword where the text can be one, else a string.
fn name(text: &str, out: &mut String) {
    if text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.chars().all(in_name) {
        out.push(':');
        out.push_str(text);
    } else {
        string(text, out);
    }
}

fn in_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '?' | '!' | '*' | '+' | '.' | '=')
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}
