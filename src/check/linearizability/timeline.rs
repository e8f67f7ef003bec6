//! Operations as a picture: processes as rows, time as columns.
//!
//! ```text
//! p0 ├─ write 17 ─┤
//! p1                ├─ write 18 ─┤
//! p3                               ├─ read 17 ─┤
//! ```

use std::fmt::Write as _;

use crate::history::calls::{Calls, OPEN};

/// Beyond so many operations a picture no longer helps.
const MOST: usize = 16;

/// Draws these calls. Columns follow the order of events; their distance means nothing. What never completed goes
/// on to the right. `None` when there are too many, or none.
pub fn timeline(calls: &Calls, indices: &[u32]) -> Option<String> {
    if indices.is_empty() || indices.len() > MOST {
        return None;
    }
    let mut shown: Vec<(u32, String)> = indices
        .iter()
        .map(|index| {
            let said = calls.describe(&calls.calls[*index as usize]);
            // The row already names the process.
            (*index, said.split_once(' ').map_or(said.clone(), |(_, rest)| rest.to_owned()))
        })
        .collect();
    shown.sort_by_key(|(index, _)| calls.calls[*index as usize].invoke);
    shown.dedup_by_key(|(index, _)| *index);
    let mut events: Vec<(u32, usize, bool)> = Vec::new();
    for (at, (index, _)) in shown.iter().enumerate() {
        let call = &calls.calls[*index as usize];
        events.push((call.invoke, at, false));
        if call.ret != OPEN {
            events.push((call.ret, at, true));
        }
    }
    events.sort_unstable();
    let mut spans = vec![(0, usize::MAX); shown.len()];
    let mut column = 0;
    for (_, at, completes) in events {
        if completes {
            column = (column + 2).max(spans[at].0 + shown[at].1.chars().count() + 5);
            spans[at].1 = column;
        } else {
            column += 2;
            spans[at].0 = column;
        }
    }
    let mut processes: Vec<u32> =
        shown.iter().map(|(index, _)| calls.calls[*index as usize].process).collect();
    processes.sort_unstable();
    processes.dedup();
    let margin = processes.iter().map(|process| process.to_string().len() + 1).max().unwrap_or(2);
    let mut picture = String::new();
    for process in processes {
        let mut row = String::new();
        for (at, (index, label)) in shown.iter().enumerate() {
            if calls.calls[*index as usize].process != process {
                continue;
            }
            let (from, to) = spans[at];
            let gap = from.saturating_sub(row.chars().count());
            row.extend(std::iter::repeat_n(' ', gap));
            let _ = write!(row, "├─ {label} ");
            if to == usize::MAX {
                row.push_str("─ …");
            } else {
                let rest = to.saturating_sub(row.chars().count()).max(1);
                row.extend(std::iter::repeat_n('─', rest));
                row.push('┤');
            }
        }
        let _ = writeln!(picture, "{:<margin$}{}", format!("p{process}"), row.trim_end());
    }
    Some(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::import::{Options, read_from};

    #[test]
    fn overlap_is_seen() {
        let text =
            "{:process 0 :type :invoke :f :write :value 17}{:process 1 :type :invoke :f :write :value 18}
            {:process 0 :type :ok :f :write :value 17}{:process 0 :type :invoke :f :read}
            {:process 0 :type :ok :f :read :value 18}{:process 12 :type :invoke :f :cas :value [1 2]}";
        let Ok(calls) = read_from(text.as_bytes(), std::path::Path::new("h"), Options::default()) else {
            panic!("it can be read")
        };
        let expected = "\
p0   ├─ write 17 ─┤ ├─ read 18 ─┤
p1     ├─ write 18 (outcome unknown) ─ …
p12                               ├─ cas [1,2] (outcome unknown) ─ …
";
        assert_eq!(timeline(&calls, &[0, 1, 2, 3]).unwrap_or_default(), expected);
        assert_eq!(timeline(&calls, &[]), None);
    }
}
